/* loop_part: what stream, listener, worker and dial share with loop and nobody else needs. */
#ifndef SENDGOV_NET_LOOP_PART_H
#define SENDGOV_NET_LOOP_PART_H

#include "relay/net/loop.h"

/* Every libevent callback of ours begins with this: the turn's clock starts when the wait is over. */
void loop_enter(struct loop *loop);
/* As task_defer, but after all tasks of the turn: where streams send what was gathered. */
void loop_defer_flush(struct loop *loop, struct task *t);
/* Runs in the next turn, which then does not wait: for work that must let the sockets have their turn
 * between. */
void loop_defer_next(struct loop *loop, struct task *t);
/* Memory of at least n bytes, shared by everybody; its content does not survive returning to the loop. */
char *loop_scratch(struct loop *loop, size_t n);

/* Something that outlives its owner (a stream that still sends). loop_free drops what is left. Embedded. */
struct orphan {
    struct list link;
    void (*drop)(void *object);
    void *object;
};
void loop_adopt(struct loop *loop, struct orphan *o, void (*drop)(void *object), void *object);

#endif
