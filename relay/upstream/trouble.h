/* trouble: connections that did not come to be, told to the log (each reason once, its repeats counted) and
 * to the metrics. */
#ifndef SENDGOV_UPSTREAM_TROUBLE_H
#define SENDGOV_UPSTREAM_TROUBLE_H

#include "relay/upstream/pool_conf.h"
#include "relay/upstream/upstream.h"

struct trouble {
    char last[256];
    int64_t logged_mono_ms;
    unsigned untold; /* repeats of `last` since it was logged */
    unsigned row;    /* failures since the last success */
};

void trouble_init(struct trouble *t);
void trouble_report(struct trouble *t, const struct pool_conf *conf, struct metrics *metrics,
    const struct lease_failure *failure, int64_t now_mono_ms);
void trouble_over(struct trouble *t, const struct pool_conf *conf, struct metrics *metrics);
/* A short label for a failed TLS handshake or a missing STARTTLS: "expired", "name", "not_offered" ... */
const char *trouble_tls_reason(const char *detail);

#endif
