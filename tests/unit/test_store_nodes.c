/* Several nodes on one Redis: the strictest of their limits holds for all, what one of them was told is said
 * before mail leaves, and a node that is there twice is refused. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "tests/lib/store_rig.h"

static struct limit_conf lower[1];

/* The limit that node 0 names. */
static const char *
differs(struct rig *r)
{
    static struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.differs;
}

static bool
node_0_agrees(struct rig *r)
{
    return differs(r)[0] == '\0';
}

static void
the_lowest_cap_among_nodes_holds(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].value = 2;
    store_set_limits(r->nodes[1].store, lower, 1); /* a reload on one node only */
    assert_true(turn_until(r, node_0_sees_2));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.cap, 2);
    assert_int_equal(use(r, 0, 0)->nodes_cap, 2);
    assert_string_equal(differs(r), "hour");
    store_set_limits(r->nodes[1].store, r->limits, 1);
    while (charge(r, 0, 1) != VERDICT_GRANTED) /* raised again, and the use is kept */
        assert_int_equal(r->verdict.used, 2);
    assert_int_equal(use(r, 0, 0)->used, 3);
}

/* 5 in an hour on one node, 5 in a minute on the other: 5 in an hour on both. */
static void
the_longest_period_among_nodes_holds(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 5, 3600000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].period_ms = 60000;
    store_set_limits(r->nodes[1].store, lower, 1);
    assert_true(turn_until(r, node_0_sees_2));
    r->answers = 0;
    for (size_t node = 0; node < 2; node++) {
        assert_int_equal(charge(r, node, 1), VERDICT_GRANTED);
        assert_int_equal(charge(r, node, 1), VERDICT_GRANTED);
    }
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    for (size_t node = 0; node < 2; node++) {
        assert_int_equal(charge(r, node, 1), VERDICT_OVER);
        assert_true(r->verdict.retry_after_ms > 3500000);
        assert_int_equal(use(r, node, 0)->period_ms, 3600000);
    }
}

/* The same figures of another thing are a difference. */
static void
another_unit_or_kind_is_a_difference(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 5, 3600000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].unit = UNIT_RECIPIENTS;
    store_set_limits(r->nodes[1].store, lower, 1);
    assert_true(turn_until(r, node_0_sees_2));
    assert_string_equal(differs(r), "hour");
    store_set_limits(r->nodes[1].store, r->limits, 1);
    assert_true(turn_until(r, node_0_agrees));
    lower[0] = r->limits[0];
    lower[0].kind = LIMIT_RATE;
    store_set_limits(r->nodes[1].store, lower, 1);
    assert_true(turn_until(r, node_0_sees_2));
}

/* Of a spike the lower floor and the lower factor are in force. */
static void
the_stricter_spike_holds(void **state)
{
    static const char factor[] = "return (struct.unpack('>I6', redis.call('HGET', KEYS[1], 'c:loop')))";
    struct rig *r = *state;

    add_limit(r, "loop", LIMIT_SPIKE, UNIT_EXTERNAL, 20, 3600000);
    r->limits[0].factor_milli = 2000;
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].value = 10;
    lower[0].factor_milli = 3000;
    store_set_limits(r->nodes[1].store, lower, 1);
    assert_true(turn_until(r, node_0_sees_2));
    assert_string_equal(differs(r), "loop");
    r->answers = 0;
    assert_int_equal(charge(r, 0, 30), VERDICT_GRANTED);
    assert_int_equal(r->granted, 10);
    assert_int_equal(use(r, 0, 0)->cap, 10);
    assert_int_equal(cli(r, "EVAL %s 1 sendgov:{t%%7B%%7Dx}:o", factor), 2000);
}

/* One recipient, by the limit that this node was given. */
static enum verdict_kind
charge_lower(struct rig *r, size_t node)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = 1, .least = 1};
    struct charge_request request;

    assert_int_equal(plan_charge(lower, 1, &s, &request), 0);
    r->answers = r->granted = 0;
    store_charge(r->nodes[node].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

/* The cap of the one who enforces it, on both, not the lower one of the one who only watches. */
static void
enforces_and_watches(struct rig *r, size_t enforcer, size_t watcher)
{
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 3600000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].mode = MODE_SHADOW;
    lower[0].value = 2;
    store_set_limits(r->nodes[watcher].store, lower, 1);
    assert_true(turn_until(r, node_0_sees_2));
    assert_string_equal(differs(r), "hour");
    assert_int_equal(charge(r, enforcer, 4), VERDICT_GRANTED);
    assert_int_equal(r->granted, 4);
    assert_int_equal(charge_lower(r, watcher), VERDICT_GRANTED);
    assert_int_equal(charge_lower(r, watcher), VERDICT_OVER);
    assert_int_equal(r->verdict.cap, 5);
    store_set_limits(r->nodes[enforcer].store, lower, 1);
    assert_true(turn_until(r, node_0_agrees));
    assert_int_equal(charge_lower(r, watcher), VERDICT_GRANTED);
    assert_int_equal(r->verdict.would_hold, 1);
}

static void
one_that_enforces_wins_over_shadows(void **state)
{
    enforces_and_watches(*state, 0, 1);
}

static void
one_that_enforces_wins_whoever_it_is(void **state)
{
    enforces_and_watches(*state, 1, 0);
}

static void
a_number_of_connections_that_differs_is_named(void **state)
{
    struct slot_cap cap = {SCOPE_MAILBOX, "relay@contoso.com", 3};
    struct rig *r = *state;

    begin(r, 2);
    store_set_slot_caps(r->nodes[1].store, &cap, 1);
    store_set_limits(r->nodes[1].store, r->limits, 0);
    assert_true(turn_until(r, node_0_sees_2));
    assert_string_equal(differs(r), "connections of relay@contoso.com");
}

/* A reload that raises a cap while a heartbeat is under way: the node may not use it before the
 * others were asked. */
static void
a_raised_cap_does_not_overtake_the_heartbeat(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 3600000);
    begin(r, 2);
    lower[0] = r->limits[0];
    store_set_limits(r->nodes[1].store, lower, 1);
    store_set_limits(r->nodes[0].store, r->limits, 1); /* a heartbeat of it is under way now */
    r->limits[0].value = 50;
    store_set_limits(r->nodes[0].store, r->limits, 1);
    assert_int_equal(charge(r, 0, 20), VERDICT_GRANTED);
    assert_int_equal(r->granted, 5);
}

static void
the_upstreams_word_lowers_a_cap(void **state)
{
    struct rig *r = *state;

    add_limit(r, "day", LIMIT_WINDOW, UNIT_EXTERNAL, 100, 86400000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 20), VERDICT_GRANTED);
    store_lower_cap(r->nodes[0].store, &r->limits[0], "contoso", 90, 86400000);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.cap, 18);
    assert_int_equal(use(r, 1, 0)->upstream_cap, 18);
    assert_true(r->usage.nodes_cap == LIMIT_UNLIMITED);
    assert_true(r->usage.upstream_until_ms > clock_utc_ms() + 86390000);
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
    loop_turn(r->loop, 1100); /* a heartbeat must not forget it */
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
}

static int64_t
open_at_ms(struct rig *r)
{
    return cli(r, "EVAL %s 0", "return tonumber(redis.call('HGET', 'sendgov:{t%7B%7Dx}:g', 'open_at'))");
}

/* While no node could beat, one of them may have been told of a block: it says so before mail leaves. All by
 * Redis' time, which is this machine's, however long the test is held up. */
static void
after_a_silence_pauses_are_said_first(void **state)
{
    struct rig *r = *state;
    int64_t back_ms, open_before_ms, until_mono_ms;
    enum verdict_kind kind;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    private_redis_kill(&r->server, SIGKILL);
    turn_for(r, 2500);
    back_ms = clock_utc_ms();
    private_redis_restart(&r->server, with_aof);
    until_mono_ms = clock_mono_ms() + WAIT_MS;
    do {
        assert_true(clock_mono_ms() < until_mono_ms);
        open_before_ms = open_at_ms(r);
        kind = charge(r, 0, 1);
        assert_true(kind == VERDICT_NO_DECISION || kind == VERDICT_CLOSED || kind == VERDICT_GRANTED);
        store_status(r->nodes[0].store, &s);
        assert_true(s.closed_for_ms <= 1200);
    } while (kind != VERDICT_GRANTED);
    assert_true(open_at_ms(r) >= back_ms + 1200);
    assert_true((int64_t)(r->verdict.time_us / 1000) >= open_before_ms);
    assert_true((int64_t)(r->verdict.time_us / 1000) >= back_ms + 1200);
}

/* A node that is alone has nobody to wait for. */
static void
after_a_silence_one_node_goes_on(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    private_redis_kill(&r->server, SIGKILL);
    turn_for(r, 2500);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_up));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

static bool
node_1_down_other(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[1].store, &s);
    return !s.up && s.error == STORE_OTHER;
}

static void
a_second_node_of_the_same_name_is_refused(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    snprintf(r->nodes[1].name, sizeof(r->nodes[1].name), "n0");
    open_node(r, 1);
    assert_true(turn_until(r, node_1_down_other));
    assert_int_equal(charge(r, 1, 1), VERDICT_NO_DECISION);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

static bool
node_0_down_other(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return !s.up && s.error == STORE_OTHER;
}

/* A copied state folder is the same node twice: the younger process is the one, for as long as it lives. */
static bool
node_0_is_granted(struct rig *r)
{
    return charge(r, 0, 1) == VERDICT_GRANTED;
}

static void
a_copied_folder_is_refused(void **state)
{
    struct rig *r = *state;
    struct store_status s;
    char command[256];

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    snprintf(command, sizeof(command), "cp %s/* %s", r->nodes[0].folder, r->nodes[1].folder);
    assert_int_equal(system(command), 0);
    open_node(r, 1);
    assert_true(turn_until(r, node_0_down_other));
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    turn_for(r, 2200);
    store_status(r->nodes[0].store, &s);
    assert_false(s.up);
    store_free(&r->nodes[1].store);
    assert_true(turn_until(r, all_open));
    assert_true(turn_until(r, node_0_is_granted)); /* it may be closed for a moment more */
    assert_int_equal(r->verdict.used, 0);
    assert_int_equal(use(r, 0, 0)->used, 2);
}

static void
two_daemons_on_one_folder_are_refused(void **state)
{
    struct rig *r = *state;
    struct store_setup setup = {r->loop, r->dialer, r->metrics, "n9", r->nodes[0].folder, false};
    struct err err;

    begin(r, 1);
    assert_null(store_redis_new(&setup, &r->conf, &err));
    assert_non_null(strstr(err.text, "another sendgovd"));
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(the_lowest_cap_among_nodes_holds),
        CASE(the_longest_period_among_nodes_holds),
        CASE(another_unit_or_kind_is_a_difference),
        CASE(the_stricter_spike_holds),
        CASE(one_that_enforces_wins_over_shadows),
        CASE(one_that_enforces_wins_whoever_it_is),
        CASE(a_number_of_connections_that_differs_is_named),
        CASE(a_raised_cap_does_not_overtake_the_heartbeat),
        CASE(the_upstreams_word_lowers_a_cap),
        CASE(after_a_silence_pauses_are_said_first),
        CASE(after_a_silence_one_node_goes_on),
        CASE(a_second_node_of_the_same_name_is_refused),
        CASE(a_copied_folder_is_refused),
        CASE(two_daemons_on_one_folder_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
