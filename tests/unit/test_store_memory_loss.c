/* The Redis store when Redis forgot counters that still count, all of them, those since a snapshot or one:
 * mail stays until they no longer count or an operator opens, and moves where nothing was lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/store/journal.h"
#include "tests/lib/store_rig.h"

static void
lost_memory_closes_until_the_operator_opens(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    cli(r, "FLUSHALL");
    /* Before any heartbeat: the epoch is not the one the node knows. */
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_true(turn_until(r, all_up));
    do { /* node 1 never charged, it only hears of it */
        assert_int_equal(charge(r, 1, 1), VERDICT_CLOSED);
        store_status(r->nodes[1].store, &s);
    } while (s.closed_for_ms == 0);
    assert_true(s.closed_for_ms > 3500000 && s.closed_for_ms <= 3601000);
    store_status(r->nodes[0].store, &s);
    assert_true(s.closed_for_ms > 3500000);
    r->answers = 0;
    store_open(r->nodes[1].store, "uid=0", "test", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

static long long
began_ms(struct rig *r)
{
    return cli(r, "EVAL %s 0", "return tonumber(redis.call('HGET', 'sendgov:{t%7B%7Dx}:g', 'began'))");
}

/* A node that remembers a charge from before the counters knows that they are not the first, even when that
 * charge is too old to close anything. */
static void
counters_after_a_charge_are_not_the_first(void **state)
{
    struct rig *r = *state;

    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 30, 1000);
    begin(r, 1);
    assert_true(began_ms(r) > clock_utc_ms() - 60000);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    store_free(&r->nodes[0].store);
    cli(r, "FLUSHALL");
    open_node(r, 1); /* it knows nothing */
    assert_true(turn_until(r, all_open));
    assert_true(began_ms(r) > 0);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(began_ms(r), 0);
}

/* A limit in shadow holds nothing, so the loss of its use does not either. */
static void
old_snapshot_is_lost_memory(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    add_limit(r, "month", LIMIT_WINDOW, UNIT_MESSAGES, 10, 31 * 86400000ull);
    r->limits[1].mode = MODE_SHADOW;
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    /* As if Redis had gone back to before the last charge: the node's number is lower than it knows. */
    assert_int_equal(cli(r, "EVAL %s 0", "local k = redis.call('KEYS', '*:n:*')[1]"
        " redis.call('HSET', k, 'seq', 1) return 1"), 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_true(turn_until(r, all_up));
    do {
        loop_turn(r->loop, 20);
        store_status(r->nodes[0].store, &s);
    } while (s.closed_for_ms == 0);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_in_range(r->verdict.retry_after_ms, 3500000, 3700000);
}

/* A snapshot of all keys, and Redis restored from it. */
static void
put_aside(struct rig *r)
{
    cli(r, "EVAL %s 0", "for _, k in ipairs(redis.call('KEYS', 'sendgov*')) do"
        " redis.call('COPY', k, 'x' .. k) end");
}

static void
put_back(struct rig *r)
{
    cli(r, "EVAL %s 0", "for _, k in ipairs(redis.call('KEYS', 'sendgov*')) do redis.call('DEL', k) end"
        " for _, k in ipairs(redis.call('KEYS', 'xsendgov*')) do"
        " redis.call('RENAME', k, string.sub(k, 2)) end");
}

/* Node 0 alone charged, and dies before Redis forgets: node 1 heard of its charges and objects
 * in its place. */
static void
lost_charges_of_a_dead_node_are_missed(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 10), VERDICT_GRANTED);
    turn_for(r, 2200); /* a heartbeat of each */
    store_free(&r->nodes[0].store);
    cli(r, "FLUSHALL");
    do {
        assert_int_not_equal(charge(r, 1, 10), VERDICT_GRANTED);
        store_status(r->nodes[1].store, &s);
    } while (!s.up || s.closed_for_ms == 0);
    assert_true(s.closed_for_ms > 3500000);
    assert_int_equal(charge(r, 1, 1), VERDICT_CLOSED);
}

/* The same with a Redis that comes back with what it knew before the charges. */
static void
a_snapshot_older_than_a_dead_nodes_charges_is_missed(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 2);
    put_aside(r);
    assert_int_equal(charge(r, 0, 10), VERDICT_GRANTED);
    turn_for(r, 2200);
    store_free(&r->nodes[0].store);
    put_back(r);
    turn_for(r, 1200);
    assert_int_not_equal(charge(r, 1, 10), VERDICT_GRANTED);
    store_status(r->nodes[1].store, &s);
    assert_true(s.closed_for_ms > 3500000);
}

static bool
node_0_closed(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.up && s.closed_for_ms > 0;
}

/* The daemon is restarted, then Redis comes back with what it knew before that: the run it names is dead. */
static void
a_snapshot_older_than_the_process_is_missed(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 1);
    put_aside(r);
    store_free(&r->nodes[0].store);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 10), VERDICT_GRANTED);
    put_back(r);
    assert_int_equal(charge(r, 0, 10), VERDICT_CLOSED);
    assert_true(turn_until(r, node_0_closed)); /* not before the former run is known to be dead */
    store_status(r->nodes[0].store, &s);
    assert_true(s.closed_for_ms > 3500000);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
}

/* The same when nothing was charged in between: nothing is lost, and mail moves again. */
static void
a_snapshot_older_than_an_idle_process_is_good(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED);
    turn_for(r, 1200);
    put_aside(r);
    store_free(&r->nodes[0].store);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    put_back(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_OTHER);
    assert_true(turn_until(r, none_up)); /* the former run may live */
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 10), VERDICT_GRANTED);
    assert_int_equal(r->granted, 6);
}

static void
a_restarted_node_remembers(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708 Service unavailable", .actor = "n0"};
    struct charge_request request;
    const struct pause *known;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    store_free(&r->nodes[0].store);
    cli(r, "FLUSHALL");
    open_node(r, 0);
    /* At once, before Redis was asked at all. */
    make_request(r, 1, true, &request);
    known = store_pause_for(r->nodes[0].store, &request);
    assert_non_null(known);
    assert_string_equal(known->reason, p.reason);
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED);
    assert_true(turn_until(r, all_up));
    request.external = false;
    assert_null(store_pause_for(r->nodes[0].store, &request));
    r->answers = 0;
    store_charge(r->nodes[0].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    assert_int_equal(r->verdict.kind, VERDICT_CLOSED); /* it also remembers that it had charged */
}

static void
a_deleted_counter_counts_as_full(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"), 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 10);
}

/* Internal mail, which the external limit does not count, comes first: the deleted counter is missed all the
 * same. */
static void
a_deleted_counter_is_missed_beside_others(void **state)
{
    struct rig *r = *state;
    struct charge_request internal;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 3600000);
    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 10, 1000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 5), VERDICT_GRANTED);
    assert_int_equal(cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"), 1);
    make_request(r, 1, false, &internal);
    do {
        r->answers = 0;
        store_charge(r->nodes[0].store, &internal, on_charge, r);
        assert_true(turn_until(r, answered));
    } while (r->verdict.kind != VERDICT_GRANTED);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 5);
}

/* Node 0 as if its last charge had been three hours ago, and the counters of that time forgotten by Redis. */
static void
age_by_three_hours(struct rig *r, const char *limit)
{
    uint64_t now_ms = (uint64_t)clock_utc_ms(), until_ms;
    struct journal *j;
    struct err err;

    store_free(&r->nodes[0].store);
    j = journal_open(r->nodes[0].folder, &err);
    assert_non_null(j);
    until_ms = journal_marked_until_ms(j, SCOPE_ROUTE, "contoso");
    assert_true(until_ms > now_ms + 7000000 && until_ms < now_ms + 7201000);
    journal_mark(j, SCOPE_ROUTE, "contoso", until_ms - 3 * 3600000);
    assert_true(journal_limit_marked_ms(j, SCOPE_ROUTE, "contoso", limit) > now_ms - 10000);
    journal_mark_limit(j, SCOPE_ROUTE, "contoso", limit, now_ms - 3 * 3600000);
    journal_close(&j);
    assert_int_equal(cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"), 1);
}

static void
an_added_limit_begins_empty_where_counters_were_forgotten(void **state)
{
    struct rig *r = *state;

    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 30, 1000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    age_by_three_hours(r, "second");
    add_limit(r, "day", LIMIT_WINDOW, UNIT_MESSAGES, 500, 86400000);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 1)->used, 1);
}

static void
a_longer_limit_does_not_where_its_counter_was(void **state)
{
    struct rig *r = *state;

    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 30, 1000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    age_by_three_hours(r, "second");
    r->limits[0].period_ms = 3600000; /* does not reach back so far */
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    r->limits[0].period_ms = 1000;
    while (charge(r, 0, 1) != VERDICT_GRANTED)
        assert_int_equal(r->verdict.kind, VERDICT_OVER);
    age_by_three_hours(r, "second");
    r->limits[0].period_ms = 86400000;
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 30);
}

static struct limit_conf longer;

/* Of two nodes the longest period holds, also where it must be known what was charged within it. */
static void
another_nodes_longer_limit_does_not_either(void **state)
{
    struct rig *r = *state;

    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 30, 1000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    age_by_three_hours(r, "second");
    open_node(r, 0);
    open_node(r, 1);
    longer = r->limits[0];
    longer.period_ms = 86400000;
    store_set_limits(r->nodes[1].store, &longer, 1);
    assert_true(turn_until(r, all_open));
    assert_true(turn_until(r, node_0_sees_2));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 30);
    assert_int_equal(r->verdict.cap, 30);
}

/* Node 0 as if three hours had passed and it remembered of its charges only that the instance had some. */
static void
remember_the_instance_only(struct rig *r)
{
    uint64_t until_ms;
    struct journal *j;
    struct err err;

    store_free(&r->nodes[0].store);
    j = journal_open(r->nodes[0].folder, &err);
    assert_non_null(j);
    until_ms = journal_marked_until_ms(j, SCOPE_ROUTE, "contoso");
    journal_mark(j, SCOPE_ROUTE, "contoso", until_ms - 3 * 3600000);
    journal_mark_limit(j, SCOPE_ROUTE, "contoso", "second", 0);
    journal_close(&j);
}

/* What was counted over another node's period must be in Redis for so long. */
static void
counters_of_a_longer_period_are_missed_as_long(void **state)
{
    struct rig *r = *state;

    add_limit(r, "second", LIMIT_WINDOW, UNIT_MESSAGES, 30, 1000);
    begin(r, 2);
    longer = r->limits[0];
    longer.period_ms = 86400000;
    store_set_limits(r->nodes[1].store, &longer, 1);
    assert_true(turn_until(r, node_0_sees_2));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    remember_the_instance_only(r);
    assert_int_equal(cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"), 1);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_true(turn_until(r, node_0_sees_2));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 30);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(lost_memory_closes_until_the_operator_opens),
        CASE(counters_after_a_charge_are_not_the_first),
        CASE(old_snapshot_is_lost_memory),
        CASE(lost_charges_of_a_dead_node_are_missed),
        CASE(a_snapshot_older_than_a_dead_nodes_charges_is_missed),
        CASE(a_snapshot_older_than_the_process_is_missed),
        CASE(a_snapshot_older_than_an_idle_process_is_good),
        CASE(a_restarted_node_remembers),
        CASE(a_deleted_counter_counts_as_full),
        CASE(a_deleted_counter_is_missed_beside_others),
        CASE(an_added_limit_begins_empty_where_counters_were_forgotten),
        CASE(a_longer_limit_does_not_where_its_counter_was),
        CASE(another_nodes_longer_limit_does_not_either),
        CASE(counters_of_a_longer_period_are_missed_as_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
