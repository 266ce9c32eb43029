/* predecessor: the process of the same node that this one takes the place of, as this one sees it.
 * successor.h is the other side, handover.h what they say. */
#ifndef SENDGOV_PREDECESSOR_H
#define SENDGOV_PREDECESSOR_H

#include "relay/base/err.h"
#include "relay/base/span.h"
#include "relay/net/loop.h"

struct predecessor;

/* *out NULL: this process was started anew. -1: the environment names descriptors that are not what they
 * should be. Takes them out of the environment. */
int predecessor_from_environment(struct predecessor **out, struct err *err);
/* The lock of the state folder, which both hold then; the caller's. -1: it is another folder's. */
int predecessor_take_lock(struct predecessor *p, const char *state_folder, struct err *err);
/* Says who this process would be (handover_identity() in process.h) and waits until it may be; blocks. */
int predecessor_ask(struct predecessor *p, const char *identity, struct err *err);
void predecessor_tell_running(struct predecessor *p);
void predecessor_tell_failed(struct predecessor *p, const char *why);
struct predecessor_ops {
    /* It met one, a line for store_hear_pause. */
    void (*pause)(void *arg, struct span line);
    /* It is dead. identity: what it was known by (store_identity). */
    void (*gone)(void *arg, const char *identity);
};
/* What it says from now on. */
void predecessor_listen(struct predecessor *p, struct loop *loop, const struct predecessor_ops *ops,
    void *arg);
/* Before the loop goes. */
void predecessor_unlisten(struct predecessor *p);
void predecessor_free(struct predecessor **p);

#endif
