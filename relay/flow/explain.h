/* explain: what would become of a message if it came now, for an operator who asks. The plan, the way the
 * relay refuses and its words are those of real mail; nothing is charged, booked or remembered.
 *
 * Whoever asks sorts the recipients into transactions by explain_goes_with, plans each of these, has the
 * store look at the request, and hands the verdict to explain_verdict. What only shows when mail is really
 * sent is not foreseen: an upstream that cannot be reached or refuses, and connections that are all busy. */
#ifndef SENDGOV_FLOW_EXPLAIN_H
#define SENDGOV_FLOW_EXPLAIN_H

#include "relay/flow/flow.h"

enum explain_outcome {
    EXPLAIN_RELAYED,
    EXPLAIN_PARTLY,  /* some of its recipients now, the others are held */
    EXPLAIN_HELD,
    EXPLAIN_REFUSED,
    EXPLAIN_OUTCOME_COUNT,
};
const char *explain_outcome_to_str(enum explain_outcome o);

struct explained {
    enum explain_outcome outcome;
    struct reply answer; /* what the client hears; ID stands for the message's own */
    struct reply why;    /* the rule that holds or refuses it; code 0: none does */
};

/* Do both leave in one upstream transaction of this route? */
bool explain_goes_with(const struct flow *f, const struct route_conf *route, const struct recipient *a,
    const struct recipient *b);
/* The charge for one transaction, whose recipients are those in look->envelope; it only looks, and its people
 * are the caller's (free). Not 0: more limits apply than one charge can carry. */
int explain_plan(struct flow *f, const struct flow_look *look, struct charge_request *request_out);

struct explain_asked {
    struct flow_look look;
    const struct recipient *first;        /* of the message; NULL: it is in this transaction */
    const struct charge_request *request; /* NULL: explain_plan refused */
    const struct verdict *verdict;
};
/* What becomes of the transaction. */
void explain_verdict(struct flow *f, const struct explain_asked *asked, struct explained *out);

#endif
