#include "policy/counter.h"

#include <string.h>

#define WARMUP_KEPT_US (40 * US_PER_DAY) /* of silence; then only the nodes know the step */
#define SPIKE_KEPT_US (SPIKE_SLOTS * HOUR_US) /* until the last hour with use is none of the past week */

static bool
is_window(enum limit_kind kind)
{
    return kind == LIMIT_WINDOW || kind == LIMIT_WARMUP || kind == LIMIT_SPIKE;
}

enum limit_kind
counter_kind(const struct limit_conf *l)
{
    return l->kind == LIMIT_RATE && (l->value == 0 || l->period_ms == 0) ? LIMIT_WINDOW : l->kind;
}

uint64_t
counter_period_us(const struct limit_conf *l)
{
    return l->period_ms > 0 ? l->period_ms * 1000 : US_PER_DAY;
}

uint64_t
counter_burst(const struct limit_conf *l)
{
    return l->kind == LIMIT_SPIKE ? l->factor_milli : l->burst;
}

uint64_t
counter_allowed(const struct limit_conf *l, uint64_t cap)
{
    uint64_t burst = counter_kind(l) == LIMIT_RATE ? l->burst : 0;

    if (counter_kind(l) == LIMIT_SPIKE)
        return CAP_MAX;
    return cap < CAP_MAX && burst < CAP_MAX - cap ? cap + burst : CAP_MAX;
}

static void
begin_warmup(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    uint64_t today = now_us / US_PER_DAY;

    c->warm = (struct warmup_state){.step = t->step,
        .utc_day = t->step_day > 0 && t->step_day < today ? t->step_day : today};
}

static void
begin_spike(struct counter *c, uint64_t now_us)
{
    spike_init(&c->spike, now_us);
    c->warm = (struct warmup_state){0};
}

void
counter_init(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    memset(c, 0, sizeof(*c));
    c->kind = t->kind;
    c->unit = t->unit;
    if (is_window(t->kind))
        window_init(&c->window, t->period_us, now_us);
    else
        rate_init(&c->rate, t->cap, t->period_us, t->burst, now_us);
    c->window.cap_seen = c->rate.cap_seen = t->allowed;
    if (t->kind == LIMIT_WARMUP)
        begin_warmup(c, t, now_us);
    if (t->kind == LIMIT_SPIKE)
        begin_spike(c, now_us);
}

/* Nothing is known of the past but that it was long enough to fill the limit. */
void
counter_init_full(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    counter_init(c, t, now_us);
    if (is_window(t->kind)) {
        window_assume(&c->window, now_us, CAP_MAX, t->cap);
        c->window.cap_seen = CAP_MAX;
        c->window.born_us = 0;
    } else {
        c->rate.level = t->burst;
        c->rate.cap_seen = CAP_MAX;
        c->rate.born_us = 0;
    }
    c->changed = true;
}

/* All that was used is a debt, also beyond the burst: it leaks before anything passes, so what left under
 * the window and what leaves under the rate stay within N + burst together. */
static void
window_to_rate(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    uint64_t used = c->window.total, born_us = c->window.born_us;

    rate_init(&c->rate, t->cap, t->period_us, t->burst, now_us);
    c->rate.level = used;
    rate_set(&c->rate, t->cap, t->period_us, t->burst); /* keeps the sums exact */
    c->rate.born_us = born_us;
    c->rate.cap_seen = CAP_MAX; /* what the window forgot, the rate cannot know */
}

/* As if the rate had been a window that knows nothing, and is now made longer. */
static void
rate_to_window(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    const struct rate old = c->rate;
    uint64_t now = now_us > old.base_us ? now_us : old.base_us;
    uint64_t asked_us, times;

    window_init(&c->window, t->period_us, now);
    c->window.born_us = old.born_us;
    c->window.cap_seen = old.cap_seen;
    asked_us = window_reach_us(window_oldest(&c->window) * c->window.width_us, old.born_us, t->began_us);
    times = (now - asked_us) / old.period_us + 1;
    window_assume(&c->window, now, old.cap_seen > CAP_MAX / times ? CAP_MAX : times * old.cap_seen, t->cap);
}

static void
change_kind(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    if (is_window(c->kind) && !is_window(t->kind))
        window_to_rate(c, t, now_us);
    else if (!is_window(c->kind) && is_window(t->kind))
        rate_to_window(c, t, now_us);
    if (t->kind == LIMIT_WARMUP)
        begin_warmup(c, t, now_us);
    if (t->kind == LIMIT_SPIKE)
        begin_spike(c, now_us);
    c->kind = t->kind;
    c->changed = true;
}

static void
change_terms(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    if (is_window(t->kind)) {
        if (c->window.period_us == t->period_us)
            return;
        window_set_period(&c->window, t->period_us, now_us, t->cap, t->began_us);
    } else {
        if (c->rate.n == t->cap && c->rate.period_us == t->period_us && c->rate.burst == t->burst)
            return;
        rate_set(&c->rate, t->cap, t->period_us, t->burst);
    }
    c->changed = true;
}

void
counter_turn(struct counter *c, const struct counter_terms *t, uint64_t now_us)
{
    c->changed = false;
    if (is_window(c->kind))
        window_turn(&c->window, now_us);
    else
        rate_turn(&c->rate, now_us);
    if (c->kind == LIMIT_SPIKE)
        c->changed = spike_turn(&c->spike, now_us);
    if (c->unit != t->unit) {
        struct warmup_state warm = c->warm;

        counter_init_full(c, t, now_us);
        if (t->kind == LIMIT_WARMUP && warm.step > 0)
            c->warm = warm;
        return;
    }
    if (c->kind != t->kind)
        change_kind(c, t, now_us);
    change_terms(c, t, now_us);
}

uint64_t
counter_used(const struct counter *c)
{
    return is_window(c->kind) ? c->window.total : c->rate.level;
}

uint64_t
counter_most(const struct counter *c, uint64_t cap, uint64_t burst)
{
    if (c->kind == LIMIT_RATE)
        return c->rate.burst;
    return c->kind == LIMIT_SPIKE ? spike_ceiling(c->spike.usual, cap, burst) : cap;
}

void
counter_take(struct counter *c, uint64_t n, uint64_t cap, uint64_t now_us)
{
    if (is_window(c->kind))
        window_take(&c->window, n, cap);
    else
        rate_take(&c->rate, n, now_us);
    if (c->kind == LIMIT_WARMUP && c->window.total > c->warm.peak)
        c->warm.peak = c->window.total;
    if (c->kind == LIMIT_SPIKE)
        spike_take(&c->spike, n);
}

bool
counter_give(struct counter *c, uint64_t n, uint64_t at_us)
{
    bool given = is_window(c->kind) ? window_give(&c->window, n, at_us) : rate_give(&c->rate, n, at_us);

    if (given && c->kind == LIMIT_SPIKE)
        spike_give(&c->spike, n, at_us);
    return given;
}

uint64_t
counter_frees_at_us(const struct counter *c, uint64_t need)
{
    return is_window(c->kind) ? window_frees_at_us(&c->window, need) : rate_frees_at_us(&c->rate, need);
}

uint64_t
counter_kept_us(enum limit_kind kind, uint64_t period_us)
{
    if (kind == LIMIT_WARMUP)
        return WARMUP_KEPT_US + KEPT_US;
    return (kind == LIMIT_SPIKE ? SPIKE_KEPT_US : period_us) + KEPT_US;
}
