/* overshoot: the watch over one promise, that no MAIL leaves without a charge valid at that moment.
 *
 * It asks nobody who decided, only the verdict and the clock: the charge was granted, for all recipients, no
 * look, and its lifetime had not passed. What was handed to the connection leaves when the streams send,
 * after the tasks of the turn; so it looks at the end of the turn, which is that moment or a little later,
 * never earlier. It cannot call MAIL back: it counts sendgov_overshoot_total and logs an error, for the
 * operator and for tests.
 */
#ifndef SENDGOV_FLOW_OVERSHOOT_H
#define SENDGOV_FLOW_OVERSHOOT_H

#include "policy/charge.h"

struct loop;
struct metrics;

/* One MAIL about to be handed over. */
struct offer {
    const char *id; /* of the message; less than MESSAGE_ID_MAX bytes */
    size_t n_recipients;
    const struct charge_request *request;
    const struct verdict *verdict;
};

/* Why an offer that leaves at this time is not covered; NULL: it is. Pure. */
const char *overshoot_reason(const struct offer *offer, int64_t now_mono_ms);
/* Call it just before the offer is handed over, in the same turn. Keeps nothing of offer. */
void overshoot_watch(struct loop *loop, struct metrics *metrics, const struct offer *offer);

#endif
