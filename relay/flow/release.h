/* release: spooled messages on their way out, by the same way as live mail.
 *
 * What the spool holds stands in the order of queue.h. A message whose turn it is is asked about locally
 * first (a pause, a store that cannot decide, a limit that was just told to be full); only then it is taken
 * from the disk and becomes a job like any other, which plans, leases, charges and sends. What refuses it
 * before anything was offered becomes a gate, at which all mail like it waits without another question
 * until the told time. */
#ifndef SENDGOV_FLOW_RELEASE_H
#define SENDGOV_FLOW_RELEASE_H

#include "relay/flow/message.h"
#include "relay/spool/queue.h"
#include "relay/spool/spool.h"
#include "relay/upstream/upstream.h"

struct flow;
struct flow_subject;
struct release;

struct release *release_new(struct flow *f);
void release_free(struct release **r);
/* No new message leaves; what is on its way does. */
void release_stop(struct flow *f);
/* Another configuration: weights of classes, rooms of pools, and what stood at a gate may ask again. */
void release_configure(struct flow *f, const struct config *before);

/* The spool's callbacks. */
void release_on_found(void *arg, const struct spool_brief *brief);
void release_on_changed(void *arg);

/* A row as it is on disk now: new, or back from a try. */
void release_put(struct flow *f, const struct spool_message *m);
/* The same in the lane of those that were refused because all their recipients are new, or back from it. */
void release_put_apart(struct flow *f, const struct spool_message *m, bool are_strangers);
void release_put_brief(struct flow *f, const struct spool_brief *b);

/* Is it on its way, from the disk or upstream? It is not to be put then: a second try would begin. Where it
 * stands next is known when it comes back. */
bool release_is_out(const struct flow *f, uint64_t seq);
void release_drop(struct flow *f, uint64_t seq);
void release_refuse(struct flow *f, uint64_t seq, const struct queue_gate *gate);
void release_passed(struct flow *f, uint64_t seq);
/* Does older mail of the same lane wait? domain: where a limit counts it. */
bool release_is_behind(struct flow *f, const struct message *m, enum recipient_class class,
    struct span domain);
bool release_has_older(struct flow *f, const struct flow_subject *subject);
/* Does the row stand where its recipients belong by the limits of now? */
bool release_is_placed(struct flow *f, const struct spool_message *m, bool are_strangers);

/* For held.h. */
void release_why(const struct flow *f, uint64_t seq, struct queue_why *out);
uint64_t release_place(const struct flow *f, uint64_t seq);
void release_counts(const struct flow *f, struct queue_counts *out);

/* Owned by the caller (free). */
struct queue_gate *release_gate_of_verdict(struct flow *f, const struct verdict *v, const char *why);
struct queue_gate *release_gate_of_upstream(struct flow *f, const struct message *m,
    const struct lease_failure *failure, const char *why);

#endif
