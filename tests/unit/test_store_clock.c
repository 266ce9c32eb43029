/* The Redis store when Redis' clock jumped: no decision until the time is plausible again or an operator
 * confirms it, whatever is restarted or reloaded meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/store/journal.h"
#include "relay/store/store_redis_part.h"
#include "tests/lib/store_rig.h"

/* As if Redis' clock had gone back while the node was down: it remembers charges of a later time. */
static void
restart_before_own_charges(struct rig *r, int64_t ms)
{
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    cli(r, "HSET sendgov:{t%%7B%%7Dx}:g charged %lld", (long long)clock_utc_ms() + ms);
    turn_for(r, 2200); /* a heartbeat hears of it */
    store_free(&r->nodes[0].store);
    open_node(r, 0);
}

static bool
node_0_doubts_time(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return !s.up && s.error == STORE_CLOCK;
}

static void
a_time_before_own_charges_is_doubted_until_confirmed(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    restart_before_own_charges(r, 3600000);
    assert_true(turn_until(r, node_0_doubts_time));
    for (int64_t until = clock_mono_ms() + 6000; clock_mono_ms() < until; loop_turn(r->loop, 20))
        assert_true(node_0_doubts_time(r));
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_CLOCK);
    r->answers = 0;
    store_open(r->nodes[0].store, "uid=0", "test", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(turn_until(r, all_open));
    turn_for(r, 2200);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

static void
a_time_before_own_charges_is_believed_once_it_passed_them(void **state)
{
    struct rig *r = *state;
    int64_t from;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    from = clock_mono_ms();
    restart_before_own_charges(r, 8000);
    assert_true(turn_until(r, node_0_doubts_time));
    assert_true(turn_until(r, all_open));
    assert_true(clock_mono_ms() - from >= 8000 - 1000);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* As if Redis' clock had jumped an hour ahead since the node last heard it. */
static void
let_journal_lag(struct rig *r)
{
    struct err err;
    struct journal *j = journal_open(r->nodes[0].folder, &err);
    struct journal_time t = journal_time(j);

    assert_true(t.redis_us > 0);
    t.redis_us -= UINT64_C(3600000000);
    journal_set_time(j, &t);
    journal_close(&j);
}

static void
check_clock_is_off(struct rig *r)
{
    struct store_status s;

    turn_for(r, 2200); /* some heartbeats */
    store_status(r->nodes[0].store, &s);
    assert_false(s.up);
    assert_int_equal(s.error, STORE_CLOCK);
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
}

/* Neither a restart nor a reload makes a jump of Redis' clock good; an operator does. */
static void
a_clock_jump_outlives_restart_and_reload(void **state)
{
    struct rig *r = *state;
    struct store_plan *plan;
    struct err err;

    add_limit(r, "minute", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 60000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 5), VERDICT_GRANTED);
    turn_for(r, 1200);
    store_free(&r->nodes[0].store);
    let_journal_lag(r);
    open_node(r, 0);
    check_clock_is_off(r);
    r->conf.command_ms += 10;
    plan = store_prepare(r->nodes[0].store, &r->conf, &err);
    assert_non_null(plan);
    store_commit(r->nodes[0].store, &plan);
    check_clock_is_off(r);
    r->answers = 0;
    store_open(r->nodes[0].store, "test", "the clock is right", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    store_free(&r->nodes[0].store);
    open_node(r, 0); /* and what the operator said is remembered too */
    assert_true(turn_until(r, all_open));
}

static bool
node_0_takes_slot(struct rig *r)
{
    return take_lease(r, 0, 3);
}

/* Memory was lost while the clock was ahead: what was to wait for moments waits until then, or for the
 * operator. */
static void
an_operator_opens_what_waits_for_a_time_that_was_ahead(void **state)
{
    struct rig *r = *state;
    long long ahead_ms = (long long)clock_utc_ms() + 30LL * 86400000;

    add_limit(r, "minute", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 60000);
    begin(r, 1);
    cli(r, "HSET sendgov:{t%%7B%%7Dx}:g slots_at %lld open_at %lld lost 1", ahead_ms, ahead_ms);
    assert_false(take_lease(r, 0, 3));
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    r->answers = 0;
    store_open(r->nodes[0].store, "test", "the clock is right", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(turn_until(r, node_0_takes_slot));
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* One heartbeat a second; Redis' clock gains so much in each. Returns how many are believed. */
static unsigned
believed(uint64_t shortest_us, uint64_t gain_us, unsigned beats)
{
    struct redis_clock c = {0};
    uint64_t time_us = 1000000000000;
    int64_t mono_us = 5000000;
    unsigned n = 0;

    redis_clock_set_shortest(&c, shortest_us);
    assert_true(redis_clock_learn(&c, time_us, mono_us, mono_us + 200));
    for (; n < beats; n++) {
        mono_us += 1000000;
        time_us += 1000000 + gain_us;
        if (!redis_clock_learn(&c, time_us, mono_us, mono_us + 200))
            break;
    }
    return n;
}

/* What a clock gains in a minute must be less than a window of a minute is kept longer: 1 s. */
static void
small_gains_do_not_add_up(void **state)
{
    (void)state;
    assert_int_equal(believed(60000000, 0, 100000), 100000);
    assert_int_equal(believed(60000000, 900, 100000), 100000); /* drift */
    assert_int_equal(believed(60000000, 400000, 10), 1);
    assert_int_equal(believed(60000000, 600000, 10), 0);
    assert_true(believed(60000000, 83000, 1000) < 7); /* slewed by 8.3 % */
    assert_true(believed(10000000, 20000, 1000) < 8);
    assert_int_equal(believed(1000000, 15000, 10), 0);
    assert_int_equal(believed(1000000, 11000, 10), 1);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_time_before_own_charges_is_doubted_until_confirmed),
        CASE(a_time_before_own_charges_is_believed_once_it_passed_them),
        CASE(a_clock_jump_outlives_restart_and_reload),
        CASE(an_operator_opens_what_waits_for_a_time_that_was_ahead),
        cmocka_unit_test(small_gains_do_not_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
