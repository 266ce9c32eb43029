/* Warm-ups over the Redis store: the lower curve among nodes holds at every step, use is shown at the step of
 * its day, and a step back is not forgotten while Redis does not answer. */
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
#include "relay/base/xmalloc.h"
#include "relay/store/journal.h"
#include "tests/lib/store_rig.h"

/* ---- warm-ups of several nodes ---- */

static const struct schedule_conf growing = {.name = "growing", .curve = CURVE_GEOMETRIC, .first = 50,
    .growth_milli = 1400, .ceiling = LIMIT_UNLIMITED, .use_percent = 50};
static const uint64_t other_caps[] = {60, 65, 120, 90};
static const struct schedule_conf other = {.name = "other", .curve = CURVE_TABLE, .table = other_caps,
    .n_table = 4, .ceiling = LIMIT_UNLIMITED, .use_percent = 50};

static void
add_warmup(struct rig *r, const char *name, bool hour_cap)
{
    add_limit(r, name, LIMIT_WARMUP, UNIT_EXTERNAL, 0, hour_cap ? 3600000 : 86400000);
    r->limits[r->n_limits - 1].schedule = &growing;
    r->limits[r->n_limits - 1].hour_cap = hour_cap;
    r->limits[r->n_limits - 1].only = "contoso";
}

static struct limit_conf others_limits[2];

static void
give_node_1_the_other_curve(struct rig *r)
{
    for (size_t i = 0; i < r->n_limits; i++) {
        others_limits[i] = r->limits[i];
        others_limits[i].schedule = &other;
    }
    store_set_limits(r->nodes[1].store, others_limits, r->n_limits);
    assert_true(turn_until(r, node_0_sees_2));
}

/* Puts the route on a step, days_ago days ago, with that peak of that day. */
static void
set_warmup(struct rig *r, const char *limit, int step, int days_ago, int peak)
{
    static const char script[] = "local key = redis.call('KEYS', '*:s:0:contoso')[1]"
        " local v, at = redis.call('GET', key), 2"
        " while at <= #v do local size, name = struct.unpack('>I2Bc0', v, at)"
        " local warm = at + 3 + #name + 42"
        " if name == ARGV[1] then local step, day = struct.unpack('>I2I4', v, warm)"
        " local new = struct.pack('>I2I4I8', ARGV[2], day - ARGV[3], ARGV[4])"
        " v = v:sub(1, warm - 1) .. new .. v:sub(warm + 14) end"
        " at = at + 2 + size end redis.call('SET', key, v)";

    cli(r, "EVAL %s 0 %s %d %d %d", script, limit, step, days_ago, peak);
}

/* Only node 0 sends and knows the step; both have the same curve, so nothing is lowered. */
static void
an_idle_node_does_not_lower_a_warmup(void **state)
{
    struct rig *r = *state;

    add_warmup(r, "day", false);
    add_warmup(r, "hour", true);
    begin(r, 2);
    r->step = 10; /* 1033 a day, 130 an hour */
    assert_int_equal(charge(r, 0, 40), VERDICT_GRANTED);
    assert_int_equal(r->granted, 40);
    turn_for(r, 2200);
    assert_int_equal(charge(r, 0, 200), VERDICT_GRANTED);
    assert_int_equal(r->granted, 90);
    assert_ptr_equal(r->verdict.limit, &r->limits[1]);
    assert_int_equal(use(r, 0, 0)->cap, 1033);
    assert_int_equal(use(r, 1, 0)->cap, 1033);
}

static void
the_lower_curve_holds_at_every_step(void **state)
{
    static const uint64_t lowest[] = {50, 65, 98, 90, 90, 90};
    struct rig *r = *state;

    add_warmup(r, "day", false);
    begin(r, 2);
    give_node_1_the_other_curve(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    for (int step = 1; step <= 6; step++) {
        set_warmup(r, "day", step, 0, 0);
        assert_int_equal(use(r, 0, 0)->cap, lowest[step - 1]);
        assert_int_equal(use(r, 0, 0)->warmup_step, step);
    }
    /* The day turns with the charge: from step 1 to step 2. */
    set_warmup(r, "day", 1, 1, 50);
    assert_int_equal(use(r, 0, 0)->cap, 65);
    assert_int_equal(charge(r, 0, 500), VERDICT_GRANTED);
    assert_int_equal(r->granted, 64);
    assert_int_equal(r->verdict.cap, 65);
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.cap, 65);
}

/* The hour's cap follows the step of its day. */
static void
the_lower_curve_holds_for_the_hour(void **state)
{
    struct rig *r = *state;

    add_warmup(r, "day", false);
    add_warmup(r, "hour", true);
    begin(r, 2);
    give_node_1_the_other_curve(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    set_warmup(r, "day", 4, 0, 0); /* 137 and 90 a day, 18 and 12 an hour */
    assert_int_equal(charge(r, 0, 100), VERDICT_GRANTED);
    assert_int_equal(r->granted, 11);
    assert_ptr_equal(r->verdict.limit, &r->limits[1]);
    assert_int_equal(r->verdict.cap, 12);
}

/* ---- use and steps back ---- */

static const struct schedule_conf contoso_curve = {.name = "curve", .curve = CURVE_GEOMETRIC, .first = 50,
    .growth_milli = 1400, .ceiling = LIMIT_UNLIMITED, .use_percent = 50};

static void
add_route_warmup(struct rig *r)
{
    add_limit(r, "contoso-warmup", LIMIT_WARMUP, UNIT_EXTERNAL, 0, 86400000);
    add_limit(r, "contoso-warmup-hour", LIMIT_WARMUP, UNIT_EXTERNAL, 0, 3600000);
    for (size_t i = 0; i < 2; i++) {
        r->limits[i].schedule = &contoso_curve;
        r->limits[i].only = r->limits[i].route = "contoso";
    }
    r->limits[1].hour_cap = true;
}

/* A first charge of a route whose warm-up begins at this step. */
static void
charge_on_node(struct rig *r, size_t node, uint32_t recipients, uint32_t step)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .sender = SPAN_LIT("a@x"),
        .sender_domain = SPAN_LIT("x"), .external = true, .recipients = recipients, .least = 1,
        .warmup_step = step};
    struct charge_request request;

    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, &request), 0);
    r->answers = r->granted = 0;
    store_charge(r->nodes[node].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    assert_int_equal(r->verdict.kind, VERDICT_GRANTED);
    assert_int_equal(r->granted, recipients);
}

static void
charge_at_step(struct rig *r, uint32_t recipients, uint32_t step)
{
    charge_on_node(r, 0, recipients, step);
}

/* An hour cap goes by the step of its day, here 10: 1033 a day. */
static void
usage_of_an_hour_cap_has_the_step_of_its_day(void **state)
{
    struct rig *r = *state;
    const struct usage *u;

    add_route_warmup(r);
    begin(r, 1);
    charge_at_step(r, 20, 10);
    u = use(r, 0, 0);
    assert_int_equal(u->warmup_step, 10);
    assert_int_equal(u->cap, 1033);
    u = use(r, 0, 1);
    assert_int_equal(u->warmup_step, 10);
    assert_int_equal(u->cap, 130);
    assert_int_equal(u->used, 20);
    open_node(r, 1); /* it never charged: it hears of the step first */
    assert_true(turn_until(r, all_open));
    u = use(r, 1, 1);
    assert_int_equal(u->warmup_step, 10);
    assert_int_equal(u->cap, 130);
}

/* Puts the warm-up into yesterday, with this peak. */
static void
make_it_yesterday(struct rig *r, uint64_t peak)
{
    char lua[640];

    snprintf(lua, sizeof(lua), "local k = 'sendgov:{t%%7B%%7Dx}:s:0:contoso'"
        " local v, at = redis.call('GET', k), 2"
        " while at <= #v do local size, name = struct.unpack('>I2Bc0', v, at)"
        " if name == 'contoso-warmup' then local body = at + 3 + #name"
        " local step, day = struct.unpack('>I2I4', v, body + 42)"
        " v = string.sub(v, 1, body + 41) .. struct.pack('>I2I4I8', step, day - 1, %llu)"
        " .. string.sub(v, body + 56) end"
        " at = at + 2 + size end redis.call('SET', k, v) return 1", (unsigned long long)peak);
    assert_int_equal(cli(r, "EVAL %s 0", lua), 1);
}

/* After midnight and before the first charge of the day: what that charge will find, at one question. */
static void
usage_after_midnight_is_that_of_the_new_day(void **state)
{
    struct rig *r = *state;
    long long before;

    add_route_warmup(r);
    begin(r, 1);
    charge_at_step(r, 9, 1);
    for (size_t limit = 0; limit < 2; limit++) {
        make_it_yesterday(r, 40);
        before = commands_run(r, "get"); /* one a question, and none in a heartbeat */
        use(r, 0, limit);
        assert_int_equal(commands_run(r, "get") - before, 1);
        assert_int_equal(r->usage.warmup_step, 2);
        assert_int_equal(r->usage.cap, limit == 0 ? 70 : 10);
        assert_int_equal(r->usage.warmup_peak, 0);
        assert_int_equal(r->usage.used, 9);
    }
    make_it_yesterday(r, 10); /* too little to advance */
    assert_int_equal(use(r, 0, 0)->warmup_step, 1);
    assert_int_equal(r->usage.cap, 50);
}

static void
wait_for_step(struct rig *r, uint32_t step)
{
    int64_t until = clock_mono_ms() + WAIT_MS;

    while (use(r, 0, 0)->warmup_step != step) {
        assert_true(clock_mono_ms() < until);
        turn_for(r, 50);
    }
}

/* A block that comes while Redis does not answer: it is not forgotten. */
static void
a_step_back_is_told_until_redis_has_it(void **state)
{
    struct rig *r = *state;

    r->conf.command_ms = 250;
    add_route_warmup(r);
    begin(r, 1);
    charge_at_step(r, 5, 4);
    kill(r->server.pid, SIGSTOP);
    store_warmup_back(r->nodes[0].store, &r->limits[0], "contoso");
    turn_for(r, 700);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, all_open));
    wait_for_step(r, 3);
    assert_true(r->usage.warmup_held);
    store_warmup_back(r->nodes[0].store, &r->limits[0], "contoso"); /* one a day */
    turn_for(r, 1500);
    assert_int_equal(use(r, 0, 0)->warmup_step, 3);
}

/* One that comes while there is no connection at all, and a hold with it. */
static void
a_step_back_waits_for_a_connection(void **state)
{
    struct rig *r = *state;

    add_route_warmup(r);
    begin(r, 1);
    charge_at_step(r, 5, 4);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    store_warmup_back(r->nodes[0].store, &r->limits[0], "contoso");
    store_warmup_hold(r->nodes[0].store, &r->limits[0], "contoso");
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_open));
    wait_for_step(r, 3);
    assert_true(r->usage.warmup_held);
}

static uint64_t caps_after_the_reload[] = {100, 200, 300, 400};

/* A configuration is gone after a reload, and with it the caps of its schedules. */
static void
a_step_back_outlives_its_configuration(void **state)
{
    struct rig *r = *state;
    struct schedule_conf before = {.name = "steps", .curve = CURVE_TABLE, .n_table = 4,
        .ceiling = LIMIT_UNLIMITED, .use_percent = 50}, after = before;
    uint64_t *caps = xmalloc(sizeof(caps_after_the_reload));

    memcpy(caps, caps_after_the_reload, sizeof(caps_after_the_reload));
    before.table = caps;
    after.table = caps_after_the_reload;
    add_limit(r, "contoso-warmup", LIMIT_WARMUP, UNIT_EXTERNAL, 0, 86400000);
    r->limits[0].schedule = &before;
    r->limits[0].only = "contoso";
    begin(r, 1);
    charge_at_step(r, 5, 4);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    store_warmup_back(r->nodes[0].store, &r->limits[0], "contoso");
    r->limits[0].schedule = &after;
    store_set_limits(r->nodes[0].store, r->limits, 1);
    memset(caps, 0xa5, sizeof(caps_after_the_reload));
    free(caps);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_open));
    wait_for_step(r, 3);
    assert_int_equal(r->usage.cap, 300);
}

static const struct schedule_conf fading = {.name = "curve", .curve = CURVE_GEOMETRIC, .first = 50,
    .growth_milli = 1400, .ceiling = LIMIT_UNLIMITED, .use_percent = 50, .decay_days = 7, .restart_days = 30};

/* What the node wrote down so many days ago, before Redis forgot the route. */
static void
remember_step(struct rig *r, size_t node, uint32_t step, int days_ago)
{
    struct err err;
    struct journal *j = journal_open(r->nodes[node].folder, &err);

    assert_non_null(j);
    journal_set_step(j, "contoso-warmup", "contoso", step,
        (uint64_t)clock_utc_ms() - (uint64_t)days_ago * 86400000);
    journal_close(&j);
}

/* Redis keeps a route for 40 days without mail; the step that only the nodes know does not come back as if
 * nothing had been. */
static void
a_step_of_the_journal_is_as_old_as_it_is(void **state)
{
    static const struct {
        int days_ago;
        uint32_t was, is;
        uint64_t cap;
    } cases[NODES] = {{7, 5, 5, 192}, {17, 5, 3, 98}, {45, 5, 1, 50}};
    struct rig *r = *state;

    add_route_warmup(r);
    r->limits[0].schedule = r->limits[1].schedule = &fading;
    for (size_t i = 0; i < NODES; i++) {
        remember_step(r, i, cases[i].was, cases[i].days_ago);
        open_node(r, i);
        assert_true(turn_until(r, all_open));
        charge_on_node(r, i, 1, 1);
        assert_int_equal(use(r, i, 0)->warmup_step, cases[i].is);
        assert_int_equal(r->usage.cap, cases[i].cap);
        cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    }
}

/* ---- an operator's word ---- */

static bool
held_on_1(struct rig *r)
{
    const struct pause *p;

    return store_pauses(r->nodes[1].store, &p) == 1 && p->extent == PAUSE_GROWTH
        && strcmp(p->reason, "audit") == 0 && strcmp(p->actor, "uid=0") == 0;
}

static bool
free_on_1(struct rig *r)
{
    const struct pause *p;

    return store_pauses(r->nodes[1].store, &p) == 0;
}

/* It stops no mail, only the day's step; all nodes know it, and a Redis that forgot it is told again. */
static void
a_hold_is_known_to_all_and_told_again(void **state)
{
    struct pause hold = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_GROWTH,
        .reason = "audit", .actor = "uid=0"};
    struct rig *r = *state;

    add_route_warmup(r);
    begin(r, 2);
    charge_at_step(r, 3, 1);
    assert_int_equal(store_pause(r->nodes[0].store, &hold, 0, NULL), PAUSE_SET);
    assert_true(turn_until(r, held_on_1));
    make_it_yesterday(r, 50);
    assert_int_equal(use(r, 1, 0)->warmup_step, 1);
    cli(r, "HDEL sendgov:{t%%7B%%7Dx}:g p:0:contoso:w");
    cli(r, "HINCRBY sendgov:{t%%7B%%7Dx}:g pauses 1");
    while (cli(r, "HEXISTS sendgov:{t%%7B%%7Dx}:g p:0:contoso:w") == 0)
        turn_for(r, 50);
    charge_on_node(r, 1, 1, 1); /* turns the day */
    assert_int_equal(use(r, 1, 0)->warmup_step, 1);
    make_it_yesterday(r, 50);
    r->answers = 0;
    store_warmup_resume(r->nodes[0].store, "contoso", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    assert_true(turn_until(r, free_on_1));
    charge_on_node(r, 1, 1, 1);
    assert_int_equal(use(r, 0, 0)->warmup_step, 2);
}

static void
on_moved(void *arg, bool ok, enum store_error error, uint32_t before, uint32_t step)
{
    struct rig *r = arg;

    r->answers++;
    r->ok = ok;
    r->error = error;
    r->step = ok ? before * 1000 + step : 0;
}

static uint32_t
move(struct rig *r, size_t node, enum warmup_move_kind kind, uint32_t to)
{
    struct warmup_order order = {.limit = &r->limits[0], .route = "contoso", .move = {kind, to}};

    r->answers = 0;
    store_warmup_move(r->nodes[node].store, &order, on_moved, r);
    assert_true(turn_until(r, answered));
    return r->step;
}

/* At once and on all nodes, also from one that knows another step; it was the day's step. */
static void
an_operator_moves_a_warmup(void **state)
{
    struct rig *r = *state;

    add_route_warmup(r);
    begin(r, 2);
    charge_at_step(r, 9, 4);
    assert_int_equal(move(r, 1, WARMUP_MOVE_ON, 0), 4005);
    assert_int_equal(use(r, 0, 0)->warmup_step, 5);
    assert_int_equal(r->usage.cap, 192);
    assert_true(r->usage.warmup_held);
    make_it_yesterday(r, 192);
    charge_on_node(r, 0, 1, 1);
    assert_int_equal(use(r, 0, 0)->warmup_step, 5);
    assert_int_equal(move(r, 0, WARMUP_MOVE_TO, 2), 5002);
    assert_int_equal(move(r, 1, WARMUP_MOVE_BACK, 0), 2001);
    assert_int_equal(move(r, 1, WARMUP_MOVE_BACK, 0), 1001);
    kill(r->server.pid, SIGSTOP);
    assert_int_equal(move(r, 0, WARMUP_MOVE_ON, 0), 0);
    assert_false(r->ok);
    kill(r->server.pid, SIGCONT);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_idle_node_does_not_lower_a_warmup),
        CASE(the_lower_curve_holds_at_every_step),
        CASE(the_lower_curve_holds_for_the_hour),
        CASE(usage_of_an_hour_cap_has_the_step_of_its_day),
        CASE(usage_after_midnight_is_that_of_the_new_day),
        CASE(a_step_back_is_told_until_redis_has_it),
        CASE(a_step_back_waits_for_a_connection),
        CASE(a_step_back_outlives_its_configuration),
        CASE(a_step_of_the_journal_is_as_old_as_it_is),
        CASE(a_hold_is_known_to_all_and_told_again),
        CASE(an_operator_moves_a_warmup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
