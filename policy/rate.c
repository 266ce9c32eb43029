#include "policy/rate.h"

#include <string.h>

#define EXACT_MAX ((uint64_t)1 << 50)

/* One tick in us, and the stretched period in ticks. */
struct scale {
    uint64_t tick_us, period;
};

static struct scale
scale_of(const struct rate *r)
{
    uint64_t period_us = r->period_us + limit_lifetime_us(r->period_us) + 1000;
    struct scale s = {1, period_us};

    while (s.period > 1000 && r->burst > EXACT_MAX / s.period) {
        s.tick_us *= 1000;
        s.period = (period_us + s.tick_us - 1) / s.tick_us;
    }
    return s;
}

/* An edited limit may carry a level above its new burst; keep the products below exact. */
static void
clamp_level(struct rate *r, struct scale s)
{
    if (r->level > 4 * EXACT_MAX / s.period)
        r->level = 4 * EXACT_MAX / s.period;
}

void
rate_init(struct rate *r, uint64_t n, uint64_t period_us, uint64_t burst, uint64_t now_us)
{
    memset(r, 0, sizeof(*r));
    r->n = n;
    r->period_us = period_us;
    r->burst = burst;
    r->base_us = r->born_us = now_us;
}

void
rate_turn(struct rate *r, uint64_t now_us)
{
    struct scale s = scale_of(r);
    uint64_t ticks, leaked;

    if (now_us <= r->base_us)
        return;
    ticks = (now_us - r->base_us) / s.tick_us;
    if (r->level == 0 || ticks > (r->level * s.period - r->rest) / r->n) {
        r->level = r->rest = 0;
        r->base_us = now_us;
        return;
    }
    leaked = (ticks * r->n + r->rest) / s.period;
    r->rest = ticks * r->n + r->rest - leaked * s.period;
    r->level -= leaked;
    r->base_us += ticks * s.tick_us;
}

void
rate_set(struct rate *r, uint64_t n, uint64_t period_us, uint64_t burst)
{
    r->n = n;
    r->period_us = period_us;
    r->burst = burst;
    r->rest = 0;
    clamp_level(r, scale_of(r));
}

void
rate_take(struct rate *r, uint64_t c, uint64_t now_us)
{
    uint64_t cap = r->n + r->burst, exact = 4 * EXACT_MAX / scale_of(r).period;
    uint64_t most = cap < exact ? cap : exact;

    if (c <= most && r->level <= most - c)
        r->level += c;
    else if (r->level < most)
        r->level = most;
    r->last_us = now_us;
    if (cap > r->cap_seen)
        r->cap_seen = cap < CAP_MAX ? cap : CAP_MAX;
}

bool
rate_give(struct rate *r, uint64_t c, uint64_t at_us)
{
    if (r->last_us != at_us)
        return false;
    r->level = r->level > c ? r->level - c : 0;
    r->last_us = 0;
    return true;
}

uint64_t
rate_frees_at_us(const struct rate *r, uint64_t need)
{
    struct scale s = scale_of(r);
    uint64_t work = need * s.period - r->rest;

    return r->base_us + (work + r->n - 1) / r->n * s.tick_us;
}
