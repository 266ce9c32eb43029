/* Example: three failures in a row at t=0, t=1 s and t=3 s; then the next try is due between 3 s + 3.2 s
 * and 3 s + 4.8 s, and it goes alone. A pool of 8 with 6 open is told to slow down: 3 at most, nothing new
 * for 5-30 s, 4 a minute after that, 8 after five minutes.
 */
#include "relay/upstream/pace.h"

#include <limits.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 60000
#define HOLD_LEAST_MS 5000
#define HOLD_SPREAD_MS 25000
#define CREEP_MS 60000

void
pace_init(struct pace *p, uint32_t max, bool has_auth)
{
    *p = (struct pace){.max = max > 0 ? max : 1, .has_auth = has_auth, .hold_until_mono_ms = INT64_MIN,
        .retry_mono_ms = INT64_MIN};
    p->limit = p->max;
}

void
pace_inherit(struct pace *p, const struct pace *from)
{
    p->n_auth_failures = from->n_auth_failures;
    for (int i = 0; i < PACE_AUTH_FAILURES; i++)
        p->auth_failed_mono_ms[i] = from->auth_failed_mono_ms[i];
}

void
pace_on_success(struct pace *p)
{
    p->failures = 0;
    p->proven = true;
    p->retry_mono_ms = INT64_MIN;
}

/* 80-120 % of base_ms. */
static int64_t
jitter(int64_t base_ms, uint32_t random)
{
    return base_ms * 4 / 5 + (int64_t)(random % (uint32_t)(base_ms * 2 / 5 + 1));
}

void
pace_on_failure(struct pace *p, int64_t begun_mono_ms, int64_t now_mono_ms, uint32_t random)
{
    int64_t base_ms = BACKOFF_FIRST_MS;

    p->proven = false;
    if (p->failures > 0 && begun_mono_ms <= p->failed_mono_ms)
        return;
    p->failed_mono_ms = now_mono_ms;
    for (unsigned i = 0; i < p->failures && base_ms < BACKOFF_MAX_MS; i++)
        base_ms *= 2;
    p->failures++;
    p->retry_mono_ms = now_mono_ms + jitter(base_ms < BACKOFF_MAX_MS ? base_ms : BACKOFF_MAX_MS, random);
}

void
pace_on_auth_failure(struct pace *p, int64_t now_mono_ms)
{
    p->auth_failed_mono_ms[p->n_auth_failures++ % PACE_AUTH_FAILURES] = now_mono_ms;
}

bool
pace_slow_down(struct pace *p, uint32_t open, int64_t now_mono_ms, uint32_t random)
{
    uint32_t limit = pace_limit(p, now_mono_ms);

    if (now_mono_ms < p->hold_until_mono_ms)
        return false;
    if (open > 0 && open < limit)
        limit = open;
    p->limit = limit > 1 ? limit / 2 : 1;
    p->hold_until_mono_ms = now_mono_ms + HOLD_LEAST_MS + (int64_t)(random % HOLD_SPREAD_MS);
    p->limited_mono_ms = p->hold_until_mono_ms;
    return true;
}

uint32_t
pace_limit(const struct pace *p, int64_t now_mono_ms)
{
    int64_t crept;

    if (p->limit >= p->max)
        return p->max;
    if (now_mono_ms <= p->limited_mono_ms)
        return p->limit;
    crept = (now_mono_ms - p->limited_mono_ms) / CREEP_MS;
    return crept >= (int64_t)(p->max - p->limit) ? p->max : p->limit + (uint32_t)crept;
}

/* When the oldest of the last few AUTH failures is far enough back. */
static int64_t
auth_retry_mono_ms(const struct pace *p)
{
    if (p->n_auth_failures < PACE_AUTH_FAILURES)
        return INT64_MIN;
    return p->auth_failed_mono_ms[p->n_auth_failures % PACE_AUTH_FAILURES] + PACE_AUTH_WINDOW_MS;
}

static int64_t
until(int64_t then_mono_ms, int64_t now_mono_ms)
{
    return then_mono_ms > now_mono_ms ? then_mono_ms - now_mono_ms : 0;
}

int64_t
pace_backoff_ms(const struct pace *p, int64_t now_mono_ms)
{
    int64_t auth = auth_retry_mono_ms(p);

    return until(auth > p->retry_mono_ms ? auth : p->retry_mono_ms, now_mono_ms);
}

int64_t
pace_wait_ms(const struct pace *p, int64_t now_mono_ms)
{
    int64_t backoff = pace_backoff_ms(p, now_mono_ms), hold = until(p->hold_until_mono_ms, now_mono_ms);

    return backoff > hold ? backoff : hold;
}

unsigned
pace_at_once(const struct pace *p, int64_t now_mono_ms)
{
    unsigned left = PACE_AUTH_FAILURES;

    if (!p->proven)
        return 1;
    if (!p->has_auth)
        return UINT_MAX;
    for (unsigned i = 0; i < PACE_AUTH_FAILURES && i < p->n_auth_failures; i++)
        if (now_mono_ms - p->auth_failed_mono_ms[i] < PACE_AUTH_WINDOW_MS)
            left--;
    return left > 0 ? left : 1;
}

bool
pace_is_failing(const struct pace *p)
{
    return p->failures > 0;
}
