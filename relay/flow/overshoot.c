#include "relay/flow/overshoot.h"

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"

static const char too_late[] = "the charge's lifetime had passed";

const char *
overshoot_reason(const struct offer *offer, int64_t now_mono_ms)
{
    const struct verdict *v = offer->verdict;

    if (v->kind != VERDICT_GRANTED)
        return "there was no grant";
    if (offer->request->look)
        return "the charge was only a look";
    if (v->granted < offer->n_recipients)
        return "the grant was for fewer recipients";
    return now_mono_ms - v->sent_mono_ms > (int64_t)offer->request->lifetime_ms ? too_late : NULL;
}

static void
report(struct metrics *metrics, const struct offer *offer, const char *fault, int64_t now_mono_ms)
{
    struct log_line l;

    metric_add(metrics, M_OVERSHOOT, 1, NULL, NULL, NULL);
    log_begin(&l, LOG_ERROR, "overshoot");
    log_cstr(&l, "id", offer->id);
    log_cstr(&l, "reason", fault);
    log_int(&l, "charge_age_ms", now_mono_ms - offer->verdict->sent_mono_ms);
    log_int(&l, "lifetime_ms", offer->request->lifetime_ms);
    log_end(&l);
}

void
overshoot_watch(struct metrics *metrics, const struct offer *offer)
{
    int64_t now_mono_ms = clock_mono_ms();
    const char *fault = overshoot_reason(offer, now_mono_ms);

    if (fault != NULL)
        report(metrics, offer, fault, now_mono_ms);
}
