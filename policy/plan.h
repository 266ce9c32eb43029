/* plan: which limits and pauses one upstream transaction meets. Pure.
 *
 * A limit applies when its scope has an instance here (a route without a mailbox has no mailbox scope), its
 * `route` is this route or NULL, and its `only` is this instance or NULL. External limits are left out of an
 * internal transaction. The shortest window sets the charge's lifetime: 1 s, and at most a fortieth of it.
 *
 * Microsoft counts scan@contoso.com and SCAN@Contoso.com as one sender, so its instance is the canonical
 * address in lower case: another spelling is no other budget, and no way around a pause. What goes upstream
 * keeps the client's spelling.
 *
 * A recipient domain is an instance only where a limit counts it. All recipients of one request are then of
 * that domain: whoever asks makes a transaction for each such domain, and one for all others together, so
 * that a grant of g of n says all there is to say.
 */
#ifndef SENDGOV_POLICY_PLAN_H
#define SENDGOV_POLICY_PLAN_H

#include "policy/charge.h"
#include "policy/warmup.h"
#include "relay/base/span.h"

struct plan_subject {
    /* mailbox may be empty; sender is canonical, "" for the null sender */
    struct span route, mailbox, client, sender;
    struct span sender_domain;
    struct span recipient_domain; /* of all recipients; empty: none that a limit counts */
    bool external;
    uint32_t recipients;
    uint32_t least;
    uint64_t bytes;
    uint32_t warmup_step; /* the step of the route as this node knows it, 1 when it knows none */
    struct owner owner;   /* of the limits; the request hands it on */
};

/* The sender instance of mail with the null sender: bounces have limits and pauses of their own. */
#define PLAN_NULL_SENDER "<>"

/* The instance of the sender scope this canonical address belongs to ("" is the null sender). False: it is as
 * long as INSTANCE_MAX; instance_out is then what fits. */
bool plan_sender_instance(struct span sender, char instance_out[INSTANCE_MAX]);
/* Does a name of the configuration, in `only` above all, mean this instance? */
bool plan_names_instance(const char *name, enum limit_scope scope, struct span instance);

/* Does any limit count the recipients of this domain? */
bool plan_counts_domain(const struct limit_conf *limits, size_t n_limits, const struct plan_subject *subject);

/* 0, or -1 when more than CHARGE_LINES_MAX limits, or CHARGE_NEW_MAX of new recipients, would apply (the
 * configuration refuses that beforehand) or a name is as long as INSTANCE_MAX. */
int plan_charge(const struct limit_conf *limits, size_t n_limits, const struct plan_subject *subject,
    struct charge_request *request_out);

/* The cap of a warm-up limit (or of the hour cap derived from one) at this step and at the next. */
void plan_warmup_caps(const struct limit_conf *limit, uint32_t step, uint64_t *cap_out,
    uint64_t *next_cap_out);

#endif
