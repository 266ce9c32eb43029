/* spool_thread: what the spool's thread does with a batch of questions. Nothing here is called on the loop
 * but new and free. */
#ifndef SENDGOV_SPOOL_SPOOL_THREAD_H
#define SENDGOV_SPOOL_SPOOL_THREAD_H

#include "relay/spool/spool_ask.h"

struct spool_thread;

struct spool_thread *spool_thread_new(const char *folder);
/* The thread has ended. */
void spool_thread_free(struct spool_thread **t);
/* A worker_batch_fn; arg is the spool_thread. */
void spool_thread_batch(void *arg, struct list *jobs, struct list *finished);

#endif
