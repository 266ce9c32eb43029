/* loop: the one event loop, and the order in which one turn of it ends.
 *
 * A turn: libevent delivers what is ready; then, at the end of the turn and in this order, deferred
 * tasks run (and those they defer, until none is left), streams flush what was written to them,
 * and the graveyard frees what was closed. So nobody is called back during their own call, all that was
 * written to a peer in a turn leaves in one system call, and no memory goes while somebody up the
 * stack may still hold a pointer to it.
 */
#ifndef SENDGOV_NET_LOOP_H
#define SENDGOV_NET_LOOP_H

#include <stdint.h>

#include <event2/event_struct.h>

#include "relay/base/err.h"
#include "relay/base/list.h"

struct loop;
struct metrics;
struct event_base;

struct loop *loop_new(struct metrics *metrics, struct err *err);
void loop_free(struct loop **loop);
/* Runs until loop_stop; 0, or -1 when the kernel's event facility failed. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn; waits at most wait_ms for something to happen (0: does not wait). For tests. */
void loop_turn(struct loop *loop, int wait_ms);
/* For evhttp, c-ares and the like, which bring their own events. */
struct event_base *loop_base(struct loop *loop);
/* The monotonic time this turn began. */
int64_t loop_now_ms(const struct loop *loop);

/* A deferred completion: fn(arg) runs at the end of this turn. Embedded in its owner. */
struct task {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

void task_init(struct task *t, void (*fn)(void *arg), void *arg);
/* Harmless when it already waits. */
void task_defer(struct loop *loop, struct task *t);
void task_cancel(struct task *t);

/* A one-shot deadline. Moving it later costs nothing (it re-arms itself when it rings early). */
struct timer {
    struct event ev;
    struct loop *loop;
    int64_t due_mono_ms;   /* INT64_MAX: not started */
    int64_t armed_mono_ms; /* when libevent will ring; INT64_MAX: not armed */
    void (*fn)(void *arg);
    void *arg;
};

void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *arg), void *arg);
/* In ms from now; restarts a running timer. */
void timer_start(struct timer *t, int64_t ms);
void timer_stop(struct timer *t);
/* Stops it and takes it off the loop; for the owner's close. */
void timer_fini(struct timer *t);

/* Close is not free: what was closed is put here and freed when the turn ends. Embedded. */
struct corpse {
    struct list link;
    void (*bury)(void *object);
    void *object;
};

void loop_bury(struct loop *loop, struct corpse *c, void (*bury)(void *object), void *object);

/* fn(arg, signo) on the loop, for as long as the loop lives. */
int loop_on_signal(struct loop *loop, int signo, void (*fn)(void *arg, int signo), void *arg,
    struct err *err);

#endif
