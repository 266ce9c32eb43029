/* Warm-up: the curves, the rule of the day, what days without mail cost, and that no 24 hours let more
 * through than the cap, midnight or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "relay/store/book.h"

#define HOUR_US 3600000000ull
#define LEAP_YEAR_FEBRUARY_27 1835222400000000ull /* 2028-02-27 00:00 UTC */

static const struct schedule_conf new_tenant = {.curve = CURVE_GEOMETRIC, .first = 50, .growth_milli = 1400,
    .ceiling = LIMIT_UNLIMITED, .use_percent = 50, .decay_days = 7, .restart_days = 30};

static void
caps_follow_their_curve(void **state)
{
    static const uint64_t caps[] = {5, 7, 7, 40};
    const struct schedule_conf linear = {.curve = CURVE_LINEAR, .first = 50, .increment = 25, .ceiling = 120};
    const struct schedule_conf steep = {.curve = CURVE_LINEAR, .first = 1, .increment = UINT64_MAX / 2,
        .ceiling = LIMIT_UNLIMITED};
    const struct schedule_conf table = {.curve = CURVE_TABLE, .table = caps, .n_table = 4, .ceiling = 30};

    (void)state;
    assert_int_equal(warmup_cap(&new_tenant, 1), 50);
    assert_int_equal(warmup_cap(&new_tenant, 4), 137);
    assert_int_equal(warmup_cap(&new_tenant, 30), 864336); /* 50 x 7^29 / 5^29 */
    assert_int_equal(warmup_cap(&linear, 1), 50);
    assert_int_equal(warmup_cap(&linear, 3), 100);
    assert_int_equal(warmup_cap(&linear, 4), 120);
    assert_int_equal(warmup_last_step(&linear), 4);
    assert_true(warmup_cap(&steep, 1000) == LIMIT_UNLIMITED);
    assert_int_equal(warmup_cap(&table, 0), 5);
    assert_int_equal(warmup_cap(&table, 3), 7);
    assert_int_equal(warmup_cap(&table, 900), 30);
    assert_int_equal(warmup_last_step(&table), 4);
    assert_int_equal(warmup_hour_cap(137), 18);
    assert_int_equal(warmup_hour_cap(20), 10);
}

static void
a_day_that_was_used_and_clean_is_one_step(void **state)
{
    struct warmup_state w = {.step = 1, .utc_day = 100, .peak = 25};

    (void)state;
    assert_int_equal(warmup_turn_day(&w, 100, 50, false, &new_tenant), WARMUP_STAYS);
    assert_int_equal(warmup_turn_day(&w, 101, 50, false, &new_tenant), WARMUP_ADVANCES);
    assert_int_equal(w.step, 2);
    assert_int_equal(warmup_turn_day(&w, 102, 70, false, &new_tenant), WARMUP_STAYS); /* nothing was sent */
    w.peak = 34;
    assert_int_equal(warmup_turn_day(&w, 103, 70, false, &new_tenant), WARMUP_STAYS); /* half of it is 35 */
    w.peak = 70;
    w.held = true;
    assert_int_equal(warmup_turn_day(&w, 104, 70, false, &new_tenant), WARMUP_STAYS);
    assert_false(w.held);
    w.peak = 70;
    assert_int_equal(warmup_turn_day(&w, 103, 70, false, &new_tenant), WARMUP_STAYS); /* it went back */
    assert_int_equal(w.utc_day, 104);
    assert_int_equal(warmup_turn_day(&w, 108, 70, false, &new_tenant), WARMUP_ADVANCES); /* no skip */
    assert_int_equal(w.step, 3);
}

static uint32_t
step_after(const struct schedule_conf *s, uint32_t step, uint64_t idle_days)
{
    struct warmup_state w = {.step = step, .utc_day = 100, .peak = 1000000};

    warmup_turn_day(&w, 101 + idle_days, 1000, false, s);
    return w.step;
}

static void
days_without_mail_cost_steps(void **state)
{
    struct schedule_conf half = new_tenant, never = new_tenant, only_restart = new_tenant;

    (void)state;
    half.restart_percent = 50;
    never.decay_days = never.restart_days = LIMIT_UNLIMITED;
    only_restart.decay_days = 0;
    assert_int_equal(step_after(&new_tenant, 9, 6), 10); /* the last day with mail had earned it */
    assert_int_equal(step_after(&new_tenant, 9, 7), 8);
    assert_int_equal(step_after(&new_tenant, 9, 13), 8);
    assert_int_equal(step_after(&new_tenant, 9, 14), 7);
    assert_int_equal(step_after(&new_tenant, 9, 29), 5);
    assert_int_equal(step_after(&new_tenant, 9, 30), 1);
    assert_int_equal(step_after(&new_tenant, 3, 29), 1);
    assert_int_equal(step_after(&new_tenant, 3, 40000), 1);
    assert_int_equal(step_after(&half, 9, 30), 4);
    assert_int_equal(step_after(&half, 1, 30), 2); /* at step 1 nothing can be lost */
    assert_int_equal(step_after(&half, 9, 70), 1); /* by then decay has taken more */
    assert_int_equal(step_after(&never, 9, 40000), 10);
    assert_int_equal(step_after(&only_restart, 9, 29), 10);
    assert_int_equal(step_after(&only_restart, 9, 30), 1);
}

static void
a_block_takes_one_step_a_day(void **state)
{
    struct warmup_state w = {.step = 3, .utc_day = 100, .peak = 1000};

    (void)state;
    warmup_step_back(&w);
    warmup_step_back(&w);
    assert_int_equal(w.step, 2);
    assert_int_equal(warmup_turn_day(&w, 101, 70, false, &new_tenant), WARMUP_STAYS);
    warmup_step_back(&w);
    assert_int_equal(w.step, 1);
}

static void
an_operator_holds_and_moves(void **state)
{
    struct warmup_state w = {.step = 3, .utc_day = 100, .peak = 1000};

    (void)state;
    assert_int_equal(warmup_turn_day(&w, 101, 98, true, &new_tenant), WARMUP_STAYS);
    assert_int_equal(warmup_turn_day(&w, 109, 98, true, &new_tenant), WARMUP_FALLS);
    assert_int_equal(w.step, 2);
    warmup_move(&w, &(struct warmup_move){.kind = WARMUP_MOVE_ON});
    assert_int_equal(w.step, 3);
    w.peak = 1000; /* that was the day's step */
    assert_int_equal(warmup_turn_day(&w, 110, 98, false, &new_tenant), WARMUP_STAYS);
    warmup_move(&w, &(struct warmup_move){.kind = WARMUP_MOVE_TO, .to = 5000});
    warmup_move(&w, &(struct warmup_move){.kind = WARMUP_MOVE_ON});
    assert_int_equal(w.step, WARMUP_STEP_MAX);
    warmup_move(&w, &(struct warmup_move){.kind = WARMUP_MOVE_TO, .to = 1});
    warmup_move(&w, &(struct warmup_move){.kind = WARMUP_MOVE_BACK});
    assert_int_equal(w.step, 1);
}

/* ---- through a charge ---- */

static const struct limit_conf limits[] = {
    {.name = "day", .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL,
        .period_ms = 86400000, .schedule = &new_tenant},
    {.name = "hour", .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL, .period_ms = 3600000,
        .schedule = &new_tenant, .hour_cap = true},
};

static struct verdict
charge(struct book *b, size_t n_limits, uint32_t recipients, uint64_t now_us)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = recipients,
        .least = 1};
    struct charge_request r;
    struct verdict v;

    assert_int_equal(plan_charge(limits, n_limits, &s, &r), 0);
    book_charge(b, &r, now_us, &v);
    return v;
}

#define TICK_US (10 * 60 * 1000000ull)
#define TICKS_A_DAY 144

/* As much as passes, every ten minutes, over the end of February of a leap year: the sum of no 24 hours
 * exceeds the cap in force at their end, and the caps of the days are those of step 1, 2, 3 ..., none twice
 * and none left out. */
static void
no_midnight_lets_two_days_through(void **state)
{
    struct book *b = book_new();
    uint32_t sent[6 * TICKS_A_DAY + 1];
    uint64_t start = LEAP_YEAR_FEBRUARY_27 + 12 * HOUR_US + 1;

    (void)state;
    book_set_began(b, start);
    for (size_t i = 0; i < 6 * TICKS_A_DAY; i++) {
        uint64_t now = start + i * TICK_US, day = now / US_PER_DAY - start / US_PER_DAY, sum = 0;
        struct verdict v = charge(b, 1, 1000, now);

        sent[i] = v.granted;
        assert_true(v.cap == warmup_cap(&new_tenant, (uint32_t)day + 1));
        for (size_t k = i + 1 < TICKS_A_DAY ? 0 : i + 1 - TICKS_A_DAY; k <= i; k++)
            sum += sent[k];
        assert_true(sum <= v.cap);
        if (i % TICKS_A_DAY == TICKS_A_DAY - 1)
            assert_true(sum * 100 >= v.cap * 70); /* and hardly less is let through, either */
    }
    book_free(&b);
}

/* The hour cap goes by the day's step, also over midnight. */
static void
the_hour_follows_the_step_of_its_day(void **state)
{
    struct book *b = book_new();
    uint64_t now = LEAP_YEAR_FEBRUARY_27 + 1, granted = 0;
    struct verdict v;

    (void)state;
    book_set_began(b, now);
    for (size_t hour = 0; hour < 5 * 24; hour++) {
        v = charge(b, 2, 1000, now + hour * HOUR_US * 11 / 10);
        granted += v.granted;
        assert_true(v.granted <= warmup_hour_cap(warmup_cap(&new_tenant, 1 + (uint32_t)hour / 21)));
    }
    assert_true(granted > 50 + 70 + 98);
    book_free(&b);
}

/* A charge after a pause finds the lower cap at once, also when it is refused. */
static void
a_charge_after_idle_days_meets_the_lower_cap(void **state)
{
    struct book *b = book_new();
    uint64_t day = LEAP_YEAR_FEBRUARY_27 + HOUR_US;

    (void)state;
    book_set_began(b, day);
    for (int i = 0; i < 8; i++, day += 26 * HOUR_US)
        assert_true(charge(b, 1, 100000, day).granted > 0);
    assert_int_equal(charge(b, 1, 100000, day - 26 * HOUR_US + 1).cap, 527); /* step 8 */
    day += 14 * US_PER_DAY;
    assert_int_equal(charge(b, 1, 100000, day).granted, 268); /* step 6 */
    assert_int_equal(charge(b, 1, 1, day + 1).kind, VERDICT_OVER);
    assert_int_equal(charge(b, 1, 100000, day + 31 * US_PER_DAY).granted, 50);
    book_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caps_follow_their_curve),
        cmocka_unit_test(a_day_that_was_used_and_clean_is_one_step),
        cmocka_unit_test(days_without_mail_cost_steps),
        cmocka_unit_test(a_block_takes_one_step_a_day),
        cmocka_unit_test(an_operator_holds_and_moves),
        cmocka_unit_test(no_midnight_lets_two_days_through),
        cmocka_unit_test(the_hour_follows_the_step_of_its_day),
        cmocka_unit_test(a_charge_after_idle_days_meets_the_lower_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
