#include "relay/flow/overshoot.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/message.h"
#include "relay/net/loop.h"

/* Lives from the hand-over to the end of the turn, in the loop's graveyard; refers to nothing but the
 * metrics, which outlive the loop. */
struct departure {
    struct metrics *metrics;
    char id[MESSAGE_ID_MAX];
    const char *fault; /* known at the hand-over; NULL: none */
    int64_t sent_mono_ms, lifetime_ms;
    struct corpse corpse;
};

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
report(const struct departure *d, const char *fault, int64_t age_ms)
{
    struct log_line l;

    metric_add(d->metrics, M_OVERSHOOT, 1, NULL, NULL, NULL);
    log_begin(&l, LOG_ERROR, "overshoot");
    log_cstr(&l, "id", d->id);
    log_cstr(&l, "reason", fault);
    log_int(&l, "charge_age_ms", age_ms);
    log_int(&l, "lifetime_ms", d->lifetime_ms);
    log_end(&l);
}

/* The streams of this turn have sent. */
static void
on_left(void *object)
{
    struct departure *d = object;
    int64_t age_ms = clock_mono_ms() - d->sent_mono_ms;

    if (d->fault != NULL)
        report(d, d->fault, age_ms);
    else if (age_ms > d->lifetime_ms)
        report(d, too_late, age_ms);
    free(d);
}

void
overshoot_watch(struct loop *loop, struct metrics *metrics, const struct offer *offer)
{
    struct departure *d = xcalloc(1, sizeof(*d));

    d->metrics = metrics;
    snprintf(d->id, sizeof(d->id), "%s", offer->id);
    d->fault = overshoot_reason(offer, clock_mono_ms());
    d->sent_mono_ms = offer->verdict->sent_mono_ms;
    d->lifetime_ms = offer->request->lifetime_ms;
    loop_bury(loop, &d->corpse, on_left, d);
}
