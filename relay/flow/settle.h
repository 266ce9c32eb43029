/* settle: what an upstream outcome means, for the client, for the mail that follows, and for the books. Pure;
 * all failure policy of the relay stands in settle.c.
 */
#ifndef SENDGOV_FLOW_SETTLE_H
#define SENDGOV_FLOW_SETTLE_H

#include "policy/reply_class.h"
#include "relay/flow/message.h"
#include "relay/smtp/reply.h"
#include "relay/upstream/upstream.h"

struct store;
struct upstream;

/* What follows from a reply for the mail after it. */
enum settle_action {
    ACTION_NONE,
    ACTION_PAUSE,
    ACTION_LOWER_CAP, /* the tenant's own cap was lower than ours: trust the reply */
    ACTION_SLOW_DOWN,
};

struct settlement {
    /* For a client: "relayed", "spooled", "deferred", "rejected", "uncertain", the metric's labels. Of a
     * message of the spool: "relayed", "failed", "held", "uncertain". */
    const char *outcome;
    struct end_code end;
    enum reply_class class;
    const struct reply_rule *rule; /* that said so, of the message's route; NULL: none */
    enum settle_action action;
    struct pause pause;  /* ACTION_PAUSE: what is to be paused, without times */
    int64_t pause_for_ms; /* 0: until somebody resumes it */
    bool warmup_hold, warmup_back;
    struct reply answer; /* for the client */
};

/* The whole transaction was settled by the upstream (or lost). */
void settle_outcome(const struct message *m, const struct tx_outcome *outcome, struct settlement *out);
/* One recipient of a transaction in which each has its own answer: the class of its reply. What follows
 * from that for the mail after it goes into *s where it is graver than what stands there. */
enum reply_class settle_recipient(const struct message *m, enum tx_phase phase, const struct tx_recipient *r,
    struct settlement *s);
/* There was no connection. */
void settle_no_connection(const struct message *m, const struct lease_failure *failure,
    struct settlement *out);
/* The answer when a pause is in force for it, the settlement's own or what came in its place: until then it
 * says nothing of a pause. now_ms: by the store's time, as the pause. */
void settle_paused(struct settlement *s, const struct pause *in_force, int64_t now_ms);

#endif
