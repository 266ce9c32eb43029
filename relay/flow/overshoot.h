/* overshoot: the watch over one promise, that no MAIL leaves without a charge valid at that moment.
 *
 * It asks nobody who decided, only the verdict and the clock: the charge was granted, for all recipients, no
 * look, and its lifetime had not passed. It looks when MAIL was handed over, which is the moment it left or a
 * little later, never earlier. It cannot call MAIL back: it counts sendgov_overshoot_total and logs an error,
 * for the operator and for tests.
 */
#ifndef SENDGOV_FLOW_OVERSHOOT_H
#define SENDGOV_FLOW_OVERSHOOT_H

#include "policy/charge.h"

struct metrics;

/* One MAIL that was handed over. */
struct offer {
    const char *id; /* of the message */
    size_t n_recipients;
    const struct charge_request *request;
    const struct verdict *verdict;
};

/* Why an offer that leaves at this time is not covered; NULL: it is. Pure. */
const char *overshoot_reason(const struct offer *offer, int64_t now_mono_ms);
/* Call it right after the offer was handed over. */
void overshoot_watch(struct metrics *metrics, const struct offer *offer);

#endif
