#include "relay/flow/fate.h"

#define JITTER_PERCENT 20

static bool
is_about_it(enum reply_class class)
{
    return class == CLASS_MESSAGE || class == CLASS_TEMPORARY || class == CLASS_THROTTLE || class == CLASS_OK;
}

enum fate_kind
fate_of(const struct tx_recipient *r, enum reply_class class)
{
    switch (r->fate) {
    case TX_ACCEPTED:
        return FATE_SENT;
    case TX_UNCERTAIN:
        return FATE_UNCERTAIN;
    case TX_REFUSED_FOR_NOW:
        return is_about_it(class) ? FATE_DEFERRED : FATE_HELD;
    case TX_REFUSED_FOR_GOOD:
        break;
    }
    if (class == CLASS_MESSAGE)
        return FATE_FAILED;
    return is_about_it(class) ? FATE_DEFERRED : FATE_HELD;
}

static int64_t
backoff_ms(const struct spool_conf *conf, uint32_t attempts, uint32_t random)
{
    int64_t wait = conf->retry_first_ms, span;

    while (--attempts > 0 && wait < conf->retry_max_ms)
        wait *= 2;
    if (wait > conf->retry_max_ms)
        wait = conf->retry_max_ms;
    span = wait * JITTER_PERCENT / 100;
    return wait - span + (span > 0 ? random % (2 * span + 1) : 0);
}

static void
defer(struct fate *f, const struct spool_conf *conf, int64_t now_utc_ms, uint32_t random)
{
    struct spool_recipient *k = &f->kept;
    int64_t wait_ms;

    k->attempts++;
    wait_ms = backoff_ms(conf, k->attempts, random);
    if (k->spent_ms > conf->lifetime_ms - wait_ms) {
        f->kind = FATE_FAILED;
        f->expired = true;
        return;
    }
    k->spent_ms += wait_ms;
    k->due_utc_ms = now_utc_ms + wait_ms;
    k->state = spool_recipient_waits_as(k);
}

/* What the upstream refused because of the tenant waits for the pause that followed, and goes when that
 * ends. Where none followed it must not come back at once, for ever. */
static void
hold(struct fate *f, const struct spool_conf *conf, int64_t now_utc_ms, uint32_t random)
{
    struct spool_recipient *k = &f->kept;

    k->state = spool_recipient_waits_as(k);
    k->due_utc_ms = now_utc_ms + f->wait_ms;
    if (f->offered && !f->paused)
        k->due_utc_ms += backoff_ms(conf, ++k->attempts, random);
}

void
fate_settle(struct fate *f, const struct spool_conf *conf, int64_t now_utc_ms, uint32_t random)
{
    switch (f->kind) {
    case FATE_DEFERRED:
        defer(f, conf, now_utc_ms, random);
        break;
    case FATE_UNCERTAIN:
        spool_recipient_doubt(&f->kept, conf->uncertain_max, now_utc_ms + conf->uncertain_ms);
        break;
    case FATE_HELD:
        hold(f, conf, now_utc_ms, random);
        break;
    case FATE_OPEN:
    case FATE_SENT:
    case FATE_FAILED:
    case FATE_RESTS:
    case FATE_ELSEWHERE:
    case FATE_KIND_COUNT:
        break;
    }
}
