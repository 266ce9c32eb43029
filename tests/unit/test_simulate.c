/* The simulation of a warm-up says what the daemon's own store does: the same mail goes through both, message
 * by message there, and each day's figures are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "policy/simulate.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop.h"
#include "relay/store/store.h"

#define START_MS 1700000000000ll /* where the clock of the memory store begins: 22:13 UTC */
#define DAY_MS 86400000ll
#define DAYS_MAX 200
#define ARRIVALS_MAX 4000

struct arrival {
    int64_t at_ms;
    uint32_t recipients;
};

struct days {
    struct sim_day rows[DAYS_MAX];
    size_t n;
};

/* ---- the store, asked as flow asks it ---- */

struct real {
    struct loop *loop;
    struct store *store;
    struct limit_conf limits[2];
    struct verdict verdict;
    bool answered;
    int64_t now_ms, wake_ms; /* wake: INT64_MAX: nothing waits */
    struct arrival *waiting;
    size_t first, end;
    struct days days;
};

static void
on_charge(void *arg, const struct verdict *v)
{
    struct real *r = arg;

    r->verdict = *v;
    r->answered = true;
}

static void
charge(struct real *r, uint32_t recipients)
{
    struct plan_subject subject = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("erp"),
        .sender = SPAN_LIT("a@contoso.com"), .sender_domain = SPAN_LIT("contoso.com"), .external = true,
        .recipients = recipients, .least = 1, .warmup_step = store_warmup_step(r->store, "contoso")};
    struct charge_request request;

    assert_int_equal(plan_charge(r->limits, 2, &subject, &request), 0);
    r->answered = false;
    store_charge(r->store, &request, on_charge, r);
    while (!r->answered)
        loop_turn(r->loop, 0);
}

static struct sim_day *
today(struct real *r)
{
    return &r->days.rows[r->days.n - 1];
}

static void
move_to(struct real *r, int64_t to_ms)
{
    assert_true(to_ms >= r->now_ms);
    store_memory_advance(r->store, to_ms - r->now_ms);
    while ((uint64_t)(to_ms / DAY_MS) > today(r)->utc_day) {
        struct sim_day next = {.utc_day = today(r)->utc_day + 1, .backlog = today(r)->backlog,
            .backlog_peak = today(r)->backlog};

        assert_true(r->days.n < DAYS_MAX);
        r->days.rows[r->days.n++] = next;
    }
    r->now_ms = to_ms;
}

static void
note_sent(struct real *r, const struct arrival *a, uint32_t granted)
{
    struct sim_day *d = today(r);
    uint64_t delay_us = (uint64_t)(r->now_ms - a->at_ms) * 1000;

    d->sent += granted;
    d->backlog -= granted;
    d->cap = warmup_cap(r->limits[0].schedule, store_warmup_step(r->store, "contoso"));
    d->step = store_warmup_step(r->store, "contoso");
    if (delay_us > d->delay_longest_us)
        d->delay_longest_us = delay_us;
}

/* Message by message, the oldest first, until one is told to wait. */
static void
send_waiting(struct real *r)
{
    int64_t midnight_ms = (r->now_ms / DAY_MS + 1) * DAY_MS;

    r->wake_ms = INT64_MAX;
    while (r->first < r->end && r->wake_ms == INT64_MAX) {
        struct arrival *a = &r->waiting[r->first];

        charge(r, a->recipients);
        if (r->verdict.kind == VERDICT_GRANTED) {
            note_sent(r, a, r->verdict.granted);
            a->recipients -= r->verdict.granted;
            r->first += a->recipients == 0;
        } else {
            assert_int_equal(r->verdict.kind, VERDICT_OVER);
            assert_true(r->verdict.retry_after_ms > 0);
            r->wake_ms = r->now_ms + r->verdict.retry_after_ms;
        }
    }
    if (r->wake_ms != INT64_MAX && r->wake_ms > midnight_ms)
        r->wake_ms = midnight_ms;
}

static void
arrive(struct real *r, const struct arrival *a)
{
    bool waits;

    while (r->wake_ms <= a->at_ms) {
        move_to(r, r->wake_ms);
        send_waiting(r);
    }
    move_to(r, a->at_ms);
    waits = r->first < r->end;
    r->waiting[r->end++] = *a;
    today(r)->arrived += a->recipients;
    today(r)->backlog += a->recipients;
    if (!waits)
        send_waiting(r);
    if (today(r)->backlog > today(r)->backlog_peak)
        today(r)->backlog_peak = today(r)->backlog;
    today(r)->held += waits ? a->recipients : today(r)->backlog;
}

static void
run_real(struct real *r, const struct schedule_conf *schedule, const struct arrival *arrivals, size_t n)
{
    for (size_t i = 0; i < 2; i++)
        r->limits[i] = (struct limit_conf){.name = i == 0 ? "contoso-warmup" : "contoso-warmup-hour",
            .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL, .only = "contoso",
            .route = "contoso", .period_ms = i == 0 ? 86400000 : 3600000, .schedule = schedule,
            .hour_cap = i > 0};
    r->store = store_memory_new(r->loop);
    store_set_limits(r->store, r->limits, 2);
    r->now_ms = START_MS;
    r->wake_ms = INT64_MAX;
    r->waiting = xcalloc(n, sizeof(*r->waiting));
    r->days.n = 1;
    r->days.rows[0].utc_day = (uint64_t)(arrivals[0].at_ms / DAY_MS);
    for (size_t i = 0; i < n; i++)
        arrive(r, &arrivals[i]);
    while (r->wake_ms != INT64_MAX) {
        move_to(r, r->wake_ms);
        send_waiting(r);
    }
    free(r->waiting);
    store_free(&r->store);
}

/* ---- both ---- */

static void
keep_day(void *arg, const struct sim_day *day)
{
    struct days *d = arg;

    assert_true(d->n < DAYS_MAX);
    d->rows[d->n++] = *day;
}

static void
run_simulated(struct days *d, const struct schedule_conf *schedule, const struct arrival *arrivals, size_t n)
{
    struct sim *s = sim_new(schedule, keep_day, d);

    for (size_t i = 0; i < n; i++)
        assert_true(sim_arrive(s, (uint64_t)arrivals[i].at_ms * 1000, arrivals[i].recipients));
    sim_finish(s);
    sim_free(&s);
}

static void
assert_same_days(const struct days *a, const struct days *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct sim_day *x = &a->rows[i], *y = &b->rows[i];

        assert_int_equal(x->utc_day, y->utc_day);
        assert_int_equal(x->arrived, y->arrived);
        assert_int_equal(x->sent, y->sent);
        assert_int_equal(x->held, y->held);
        assert_int_equal(x->backlog, y->backlog);
        assert_int_equal(x->backlog_peak, y->backlog_peak);
        assert_int_equal(x->delay_longest_us, y->delay_longest_us);
        if (y->sent == 0) /* who sends nothing hears of no step */
            continue;
        assert_int_equal(x->step, y->step);
        assert_int_equal(x->cap, y->cap);
    }
}

static const struct schedule_conf new_tenant = {.curve = CURVE_GEOMETRIC, .first = 50, .growth_milli = 1400,
    .ceiling = 600, .use_percent = 50, .decay_days = 3, .restart_days = 10, .restart_percent = 50};
static const struct schedule_conf even = {.curve = CURVE_LINEAR, .first = 15, .increment = 25,
    .ceiling = LIMIT_UNLIMITED, .use_percent = 80, .decay_days = 7, .restart_days = 30};

static uint64_t random_state = 88172645463325252ull;

static uint64_t
pick(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* Bursts, single messages, silent nights, and days without any mail. */
static size_t
make_arrivals(struct arrival *a, size_t n, uint32_t recipients_most)
{
    int64_t at_ms = START_MS;

    for (size_t i = 0; i < n; i++) {
        a[i] = (struct arrival){at_ms, 1 + (uint32_t)pick(recipients_most)};
        if (pick(40) == 0)
            at_ms += (int64_t)pick(10 * 3600000);
        else if (pick(300) == 0)
            at_ms += (int64_t)pick((uint64_t)(12 * DAY_MS));
        else
            at_ms += (int64_t)pick(pick(3) == 0 ? 3600000 : 60000);
    }
    return n;
}

static void
check_same(const struct schedule_conf *schedule, uint32_t recipients_most, bool is_tight)
{
    struct arrival *arrivals = xcalloc(ARRIVALS_MAX, sizeof(*arrivals));
    struct real *r = xcalloc(1, sizeof(*r));
    struct days *simulated = xcalloc(1, sizeof(*simulated));
    size_t n = make_arrivals(arrivals, 1500, recipients_most);
    uint64_t held = 0;
    struct err err;

    r->loop = loop_new(NULL, &err);
    assert_non_null(r->loop);
    run_real(r, schedule, arrivals, n);
    run_simulated(simulated, schedule, arrivals, n);
    assert_same_days(simulated, &r->days);
    for (size_t i = 0; i < simulated->n; i++)
        held += simulated->rows[i].held;
    print_message("held %llu in %zu days\n", (unsigned long long)held, simulated->n);
    assert_true(is_tight ? held > 500 : held < 10);
    assert_int_equal(simulated->rows[simulated->n - 1].backlog, 0);
    loop_free(&r->loop);
    free(r);
    free(simulated);
    free(arrivals);
}

static void
agrees_with_the_store(void **state)
{
    (void)state;
    check_same(&new_tenant, 3, true);
    check_same(&new_tenant, 20, true);
    check_same(&even, 6, true);
    check_same(&(struct schedule_conf){.curve = CURVE_LINEAR, .first = 5000, .increment = 1,
        .ceiling = LIMIT_UNLIMITED, .use_percent = 1}, 2, false);
}

/* The figures of the example at the head of simulate.h. */
static void
a_known_case(void **state)
{
    const struct arrival arrivals[] = {{1704096000000, 70}, {1704096000000 + DAY_MS, 70}}; /* 08:00 UTC */
    struct schedule_conf schedule = new_tenant;
    struct days d = {.n = 0};

    (void)state;
    schedule.ceiling = LIMIT_UNLIMITED;
    run_simulated(&d, &schedule, arrivals, 2);
    assert_int_equal(d.rows[0].cap, 50);
    assert_int_equal(d.rows[0].sent, 50);
    assert_int_equal(d.rows[0].held, 60);
    assert_int_equal(d.rows[0].backlog, 20);
    assert_int_equal(d.rows[0].backlog_peak, 60);
    assert_in_range(d.rows[0].delay_longest_us, 4 * 3600000000ull, 4 * 3700000000ull);
    assert_int_equal(d.rows[1].step, 2);
    assert_int_equal(d.rows[1].held, 70);
    assert_int_equal(d.rows[1].sent, 70);
    assert_in_range(d.rows[1].delay_longest_us, 17 * 3600000000ull, 17 * 3620000000ull);
    assert_int_equal(d.rows[2].sent, 20);
    assert_int_equal(d.n, 3);
}

/* What waits is kept as counts: more different times than there are places for cost no mail, and no delay is
 * told too short. */
static void
memory_is_bounded(void **state)
{
    const struct schedule_conf slow = {.curve = CURVE_LINEAR, .first = 1000, .increment = 1000,
        .ceiling = LIMIT_UNLIMITED, .use_percent = 50};
    struct days d = {.n = 0};
    struct sim *s = sim_new(&slow, keep_day, &d);
    uint64_t sent = 0, longest_us = 0;

    (void)state;
    for (uint64_t i = 0; i < 200000; i++)
        assert_true(sim_arrive(s, START_MS * 1000 + i, 1));
    assert_true(sim_arrive(s, START_MS * 1000 - 5, 1)); /* out of order: as the one before */
    assert_false(sim_arrive(s, START_MS * 1000 + SIM_DAYS_MAX * 86400000000ull, 1));
    sim_finish(s);
    sim_free(&s);
    for (size_t i = 0; i < d.n; i++) {
        sent += d.rows[i].sent;
        longest_us = d.rows[i].delay_longest_us > longest_us ? d.rows[i].delay_longest_us : longest_us;
    }
    assert_int_equal(sent, 200001);
    assert_true(longest_us > 17 * 86400000000ull); /* 1000 + 2000 + ... + 19000 is less than that */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_store),
        cmocka_unit_test(a_known_case),
        cmocka_unit_test(memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
