/* refuse: what the governor's "no" becomes, and the "no" this node can say without asking. */
#ifndef SENDGOV_FLOW_REFUSE_H
#define SENDGOV_FLOW_REFUSE_H

#include "policy/charge.h"
#include "relay/smtp/reply.h"

struct flow;

/* More limits apply than one charge can carry: a fault of the configuration, not of the message. */
void refuse_too_many_limits(struct reply *reply_out);
/* The SMTP reply of a verdict that is not GRANTED. */
void refuse_with_verdict(const struct verdict *verdict, const struct charge_request *request,
    struct reply *reply_out);
/* True and *verdict_out for a pause this node knows of, a store that cannot decide, or a limit it was just
 * told is full. Without a store there would not even be a connection: its slot is asked there. */
bool refuse_locally(struct flow *f, const struct charge_request *request, struct verdict *verdict_out);

#endif
