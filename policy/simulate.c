#include "policy/simulate.h"

#include <stdlib.h>
#include <string.h>

#include "policy/decide.h"
#include "policy/plan.h"
#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define RUNS_MAX 65536
#define LIMITS 2
#define DAY_MS (24 * 60 * 60 * 1000)

/* So many that arrived at one time and wait. */
struct run {
    uint64_t at_us, recipients;
};

struct sim {
    struct schedule_conf schedule;
    struct limit_conf limits[LIMITS];
    struct counter counters[LIMITS];
    bool has_counters, has_begun;
    uint32_t step;
    uint64_t began_us, now_us;
    uint64_t wake_us; /* when what waits asks again; UINT64_MAX: nothing waits */
    struct run *runs; /* the oldest first */
    size_t first, end;
    struct sim_day day;
    sim_day_fn *on_day;
    void *arg;
};

struct sim *
sim_new(const struct schedule_conf *schedule, sim_day_fn *on_day, void *arg)
{
    struct sim *s = xcalloc(1, sizeof(*s));

    s->schedule = *schedule;
    for (size_t i = 0; i < LIMITS; i++)
        s->limits[i] = (struct limit_conf){.name = i == 0 ? "day" : "hour", .kind = LIMIT_WARMUP,
            .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL, .period_ms = i == 0 ? DAY_MS : DAY_MS / 24,
            .schedule = &s->schedule, .hour_cap = i > 0};
    s->step = 1;
    s->wake_us = UINT64_MAX;
    s->runs = xcalloc(RUNS_MAX, sizeof(*s->runs));
    s->on_day = on_day;
    s->arg = arg;
    return s;
}

void
sim_free(struct sim **s)
{
    if (*s)
        free((*s)->runs);
    free(*s);
    *s = NULL;
}

/* ---- what waits ---- */

static void
halve(struct sim *s)
{
    size_t n = 0;

    for (size_t i = 0; i < RUNS_MAX; i += 2)
        s->runs[n++] = (struct run){s->runs[i].at_us, s->runs[i].recipients + s->runs[i + 1].recipients};
    s->end = n;
}

static void
push(struct sim *s, uint64_t recipients)
{
    if (s->end == RUNS_MAX && s->first > 0) {
        memmove(s->runs, s->runs + s->first, (s->end - s->first) * sizeof(*s->runs));
        s->end -= s->first;
        s->first = 0;
    }
    if (s->end == RUNS_MAX)
        halve(s);
    if (s->end > s->first && s->runs[s->end - 1].at_us == s->now_us)
        s->runs[s->end - 1].recipients += recipients;
    else
        s->runs[s->end++] = (struct run){s->now_us, recipients};
    s->day.backlog += recipients;
}

static void
pop(struct sim *s, uint64_t recipients)
{
    s->day.sent += recipients;
    s->day.backlog -= recipients;
    while (recipients > 0) {
        struct run *r = &s->runs[s->first];
        uint64_t n = r->recipients < recipients ? r->recipients : recipients;

        if (s->now_us - r->at_us > s->day.delay_longest_us)
            s->day.delay_longest_us = s->now_us - r->at_us;
        r->recipients -= n;
        recipients -= n;
        s->first += r->recipients == 0;
    }
    if (s->first == s->end)
        s->first = s->end = 0;
}

/* ---- the decision ---- */

static void
look_up(struct sim *s, const struct charge_request *r, struct decide_line lines[LIMITS])
{
    for (size_t i = 0; i < LIMITS; i++)
        lines[i] = (struct decide_line){.counter = s->has_counters ? &s->counters[i] : NULL,
            .cap_most = LIMIT_UNLIMITED, .burst_most = LIMIT_UNLIMITED, .began_us = s->began_us};
    decide_link_days(r, lines);
}

static void
remember(struct sim *s, const struct counter fresh[LIMITS])
{
    memcpy(s->counters, fresh, sizeof(s->counters));
    s->has_counters = true;
    s->step = s->counters[0].warm.step;
}

static void
charge(struct sim *s, struct verdict *v)
{
    struct plan_subject subject = {.route = SPAN_LIT("route"), .external = true, .least = 1,
        .recipients = s->day.backlog < UINT32_MAX ? (uint32_t)s->day.backlog : UINT32_MAX,
        .warmup_step = s->step};
    struct decide_line lines[LIMITS];
    struct counter fresh[LIMITS];
    struct charge_request r;
    enum decide_status status;
    size_t line;
    uint32_t step;

    sg_assert(plan_charge(s->limits, LIMITS, &subject, &r) == 0);
    look_up(s, &r, lines);
    while ((status = decide_charge(&r, lines, s->now_us, fresh, v, &line, &step)) != DECIDE_DONE) {
        if (status == DECIDE_FELL)
            remember(s, fresh);
        look_up(s, &r, lines);
        decide_set_step(&r, lines, line, step);
    }
    if (v->kind == VERDICT_GRANTED)
        remember(s, fresh);
}

static void
send(struct sim *s)
{
    uint64_t midnight_us = (s->now_us / US_PER_DAY + 1) * US_PER_DAY;
    struct verdict v;

    s->wake_us = UINT64_MAX;
    while (s->day.backlog > 0 && s->wake_us == UINT64_MAX) {
        charge(s, &v);
        if (v.kind == VERDICT_GRANTED)
            pop(s, v.granted);
        else if (v.retry_after_ms < 0)
            s->wake_us = midnight_us;
        else
            s->wake_us = s->now_us + (uint64_t)(v.retry_after_ms > 0 ? v.retry_after_ms : 1) * 1000;
    }
    if (s->wake_us != UINT64_MAX && s->wake_us > midnight_us)
        s->wake_us = midnight_us;
}

/* ---- time ---- */

static void
end_day(struct sim *s)
{
    uint64_t backlog = s->day.backlog;

    s->day.step = s->step;
    s->day.cap = warmup_cap(&s->schedule, s->step);
    s->on_day(s->arg, &s->day);
    s->day = (struct sim_day){.utc_day = s->day.utc_day + 1, .backlog = backlog, .backlog_peak = backlog};
}

static void
move_to(struct sim *s, uint64_t to_us)
{
    while (s->day.utc_day < to_us / US_PER_DAY)
        end_day(s);
    s->now_us = to_us;
}

static void
advance(struct sim *s, uint64_t to_us)
{
    while (s->wake_us <= to_us) {
        move_to(s, s->wake_us);
        send(s);
    }
    move_to(s, to_us);
}

bool
sim_arrive(struct sim *s, uint64_t at_us, uint64_t recipients)
{
    bool waits;

    if (!s->has_begun) {
        s->began_us = s->now_us = at_us;
        s->day.utc_day = at_us / US_PER_DAY;
        s->has_begun = true;
    }
    if (at_us < s->now_us)
        at_us = s->now_us;
    if (at_us - s->began_us >= SIM_DAYS_MAX * US_PER_DAY)
        return false;
    advance(s, at_us);
    waits = s->day.backlog > 0;
    s->day.arrived += recipients;
    push(s, recipients);
    if (!waits)
        send(s);
    s->day.held += waits ? recipients : s->day.backlog;
    if (s->day.backlog > s->day.backlog_peak)
        s->day.backlog_peak = s->day.backlog;
    return true;
}

void
sim_finish(struct sim *s)
{
    while (s->wake_us != UINT64_MAX && s->wake_us - s->began_us < SIM_DAYS_MAX * US_PER_DAY)
        advance(s, s->wake_us);
    if (s->has_begun)
        end_day(s);
}
