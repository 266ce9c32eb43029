/* worker: helper threads for what would block the loop (password hashing, the spool).
 *
 * A job's `work` runs on a thread and touches only the job's own memory; `done` runs on the loop. The queue
 * is bounded: worker_submit says no when it is full. worker_free waits for running jobs; every job not yet
 * reported gets `done` with cancelled = true, during the call. No job may be submitted then.
 *
 * A batch worker has one thread, which is handed all jobs that wait at once, so that what is dear (a sync)
 * is paid once for all of them. With it worker_free waits until everything submitted was carried out. */
#ifndef SENDGOV_NET_WORKER_H
#define SENDGOV_NET_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "relay/base/list.h"
#include "relay/net/loop.h"

struct worker;

struct job {
    struct list link;
    void (*work)(struct job *job); /* not called by a batch worker */
    void (*done)(struct job *job, bool cancelled);
};

/* Without threads yet: what is submitted waits for worker_start. */
struct worker *worker_new(struct loop *loop, size_t queue_max, struct err *err);
/* On the thread: moves jobs it is through with from `jobs` to `finished`, which are reported together. Those
 * it leaves are handed to it again, with what came since. */
typedef void worker_batch_fn(void *arg, struct list *jobs, struct list *finished);
struct worker *worker_new_batch(struct loop *loop, size_t queue_max, worker_batch_fn *batch, void *arg,
    struct err *err);
/* Once, a batch worker with 1; the threads have the rights the process has by then. */
int worker_start(struct worker *w, int threads, struct err *err);
void worker_free(struct worker **w);
/* false: the queue is full, nothing was taken. */
bool worker_submit(struct worker *w, struct job *job);

#endif
