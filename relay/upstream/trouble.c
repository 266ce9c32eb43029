#include "relay/upstream/trouble.h"

#include <stdio.h>

#include "relay/base/log.h"
#include "relay/base/metric.h"

#define REPEAT_MS 60000

void
trouble_init(struct trouble *t)
{
    t->last[0] = '\0';
    t->logged_mono_ms = 0;
    t->untold = 0;
    t->row = 0;
}

/* The first row whose words occur decides: OpenSSL's verify errors, then what the client machine says. */
const char *
trouble_tls_reason(const char *detail)
{
    static const struct {
        const char *words;
        const char *reason;
    } table[] = {
        {"not offered", "not_offered"},
        {"refused", "refused"},
        {"plaintext after", "injection"},
        {"has expired", "expired"},
        {"not yet valid", "not_yet_valid"},
        {"hostname mismatch", "name"},
        {"IP address mismatch", "name"},
        {"revoked", "revoked"},
        {"self-signed", "self_signed"},
        {"self signed", "self_signed"},
        {"unable to get", "unknown_ca"},
        {"certificate", "certificate"},
        {"no answer in time", "timeout"},
        {"version", "version"},
        {"unsupported protocol", "version"},
        {"handshake", "handshake"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (span_find_nocase(span_str(detail), span_str(table[i].words)) >= 0)
            return table[i].reason;
    return "other";
}

static void
log_failure(struct trouble *t, const struct pool_conf *conf, const struct lease_failure *f)
{
    struct log_line l;

    log_begin(&l, LOG_WARNING, "upstream_connect_failed");
    log_cstr(&l, "route", conf->route);
    if (conf->mailbox != NULL)
        log_cstr(&l, "mailbox", conf->mailbox);
    log_cstr(&l, "phase", tx_phase_to_str(f->phase));
    log_cstr(&l, "reason", f->detail);
    if (f->reply.code != 0) {
        log_int(&l, "code", f->reply.code);
        log_cstr(&l, "reply", f->reply.text);
    }
    if (t->untold > 0)
        log_int(&l, "repeats", t->untold);
    log_int(&l, "retry_ms", f->retry_after_ms);
    log_end(&l);
}

void
trouble_report(struct trouble *t, const struct pool_conf *conf, struct metrics *metrics,
    const struct lease_failure *failure, int64_t now_mono_ms)
{
    bool is_new = strcmp(t->last, failure->detail) != 0;

    t->row++;
    metric_add(metrics, M_UPSTREAM_CONNECTS, 1, tx_phase_to_str(failure->phase), NULL, NULL);
    if (failure->phase == TX_TLS)
        metric_add(metrics, M_UPSTREAM_TLS_FAILURES, 1, trouble_tls_reason(failure->detail), NULL, NULL);
    if (!is_new && now_mono_ms - t->logged_mono_ms < REPEAT_MS) {
        t->untold++;
        return;
    }
    if (is_new)
        t->untold = 0;
    log_failure(t, conf, failure);
    snprintf(t->last, sizeof(t->last), "%s", failure->detail);
    t->logged_mono_ms = now_mono_ms;
    t->untold = 0;
}

void
trouble_over(struct trouble *t, const struct pool_conf *conf, struct metrics *metrics)
{
    struct log_line l;

    metric_add(metrics, M_UPSTREAM_CONNECTS, 1, "ok", NULL, NULL);
    if (t->row == 0)
        return;
    log_begin(&l, LOG_NOTICE, "upstream_connected");
    log_cstr(&l, "route", conf->route);
    if (conf->mailbox != NULL)
        log_cstr(&l, "mailbox", conf->mailbox);
    log_int(&l, "failed_before", t->row);
    log_end(&l);
    trouble_init(t);
}
