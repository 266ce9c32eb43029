/* refuse: what the governor's "no" becomes, and the "no" this node can say without asking. */
#ifndef SENDGOV_FLOW_REFUSE_H
#define SENDGOV_FLOW_REFUSE_H

#include "relay/flow/flow.h"

/* More limits apply than one charge can carry: a fault of the configuration, not of the message. */
void refuse_too_many_limits(struct flow_refusal *out);
/* A recipient of the other class than those before it, while the rest cannot be held. */
void refuse_mixed(struct flow_refusal *out);
/* A recipient of another domain, where a limit counts one of the two. */
void refuse_other_domain(struct flow_refusal *out);
/* Older mail of the same kind waits in the spool: who comes later goes behind it. */
void refuse_behind_others(struct flow_refusal *out);
/* What a verdict that is not GRANTED means. config: of the limits in it. */
void refuse_with_verdict(const struct verdict *verdict, const struct charge_request *request,
    struct config *config, struct flow_refusal *out);
/* What the client hears of a message that is kept: the reason without its advice to send again; none where
 * the code of why is 0. */
void refuse_but_keep(const char *id, const struct reply *why, struct reply *answer_out);
/* True and *verdict_out for a pause this node knows of, a store that cannot decide, or a limit it was just
 * told is full. Without a store there would not even be a connection: its slot is asked there. */
bool refuse_locally(struct flow *f, const struct charge_request *request, struct verdict *verdict_out);

#endif
