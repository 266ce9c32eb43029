/* held: what the spool holds, for the operator: look at it, hold it, let it go. Whatever is changed on disk
 * is changed in the order of release too. Filters are copied. */
#ifndef SENDGOV_FLOW_HELD_H
#define SENDGOV_FLOW_HELD_H

#include "relay/flow/flow.h"
#include "relay/spool/queue.h"
#include "relay/spool/spool.h"

/* False: there is no spool in the configuration; nothing below may be called. */
bool held_is_on(const struct flow *f);
void held_status(const struct flow *f, struct spool_status *spool_out, struct queue_counts *queue_out);
struct handle held_list(struct flow *f, const struct spool_filter *filter, spool_listed_fn *listed,
    void *arg);
/* changed: how many messages; busy: how many were left alone because they are on their way. */
typedef void held_ordered_fn(void *arg, enum spool_result result, size_t changed, size_t busy);
/* Runs to its end even when nobody waits (done NULL). Answers exactly once, never during the call; what is
 * open when flow ends, in flow_free (SPOOL_FAILED). */
void held_order(struct flow *f, enum spool_order order, const struct spool_filter *filter, const char *actor,
    const char *why, held_ordered_fn *done, void *arg);
/* For flow_free, when the spool is gone. */
void held_abandon(struct flow *f);
/* The answer of a list is not wanted any more. */
void held_forget(struct flow *f, struct handle h);
/* Why it waits; times are of this host's monotonic clock. */
void held_why(const struct flow *f, uint64_t seq, struct queue_why *out);
/* Its place in its lane, from 1; 0: it has none now. Not for each of many. */
uint64_t held_place(const struct flow *f, uint64_t seq);

#endif
