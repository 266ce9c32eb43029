/* worker: helper threads for what would block the loop (password hashing, later the spool).
 *
 * A job's `work` runs on a thread and touches only the job's own memory; `done` runs on the loop. The queue
 * is bounded: worker_submit says no when it is full. worker_free waits for running jobs; every job not yet
 * reported gets `done` with cancelled = true, during the call. No job may be submitted then. */
#ifndef SENDGOV_NET_WORKER_H
#define SENDGOV_NET_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "relay/base/list.h"
#include "relay/net/loop.h"

struct worker;

struct job {
    struct list link;
    void (*work)(struct job *job);
    void (*done)(struct job *job, bool cancelled);
};

struct worker *worker_new(struct loop *loop, int threads, size_t queue_max, struct err *err);
void worker_free(struct worker **w);
/* false: the queue is full, nothing was taken. */
bool worker_submit(struct worker *w, struct job *job);

#endif
