/* Pauses over the Redis store: in force at once on the node that sets one and soon on all, kept over restarts
 * and loss of Redis' memory, ended by time or an operator, widened where there is no place for one more. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/store/pause_list.h"
#include "tests/lib/store_rig.h"

/* A short pause, and long enough for all that is asked of it on a machine that is slow for a while. */
#define MOMENT_MS 3000

/* How often this process waited for its disk. */
static unsigned syncs;

int
fsync(int fd)
{
    syncs++;
    return fdatasync(fd);
}

static bool
paused_on_1(struct rig *r)
{
    const struct pause *pauses;

    return store_pauses(r->nodes[1].store, &pauses) == 1;
}

static bool
not_paused_on_1(struct rig *r)
{
    return !paused_on_1(r);
}

static void
a_pause_reaches_all_and_outlives_flushall(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708", .actor = "n 0"};
    struct charge_request internal;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED); /* locally, at once */
    assert_int_equal(charge(r, 1, 1), VERDICT_PAUSED); /* by Redis */
    assert_int_equal(r->verdict.pause.class, CLASS_BLOCK_TENANT);
    assert_string_equal(r->verdict.pause.reason, "550 5.7.708");
    make_request(r, 1, false, &internal);
    r->answers = 0;
    store_charge(r->nodes[1].store, &internal, on_charge, r);
    assert_true(turn_until(r, answered));
    assert_int_equal(r->verdict.kind, VERDICT_GRANTED);
    assert_true(turn_until(r, paused_on_1));

    cli(r, "FLUSHALL");
    assert_int_equal(charge(r, 1, 1), VERDICT_PAUSED);
    assert_true(turn_until(r, all_up));
    while (cli(r, "EXISTS sendgov:{t%%7B%%7Dx}:g") == 0
        || cli(r, "HEXISTS sendgov:{t%%7B%%7Dx}:g p:0:contoso:e") == 0)
        loop_turn(r->loop, 20); /* put back by a heartbeat */

    r->answers = 0;
    store_resume(r->nodes[0].store, SCOPE_ROUTE, "contoso", "uid=0", "clean", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    assert_true(turn_until(r, not_paused_on_1)); /* and node 1 does not bring it back */
    r->answers = 0;
    store_resume(r->nodes[0].store, SCOPE_ROUTE, "contoso", "uid=0", "again", on_done, r);
    assert_true(turn_until(r, answered));
    assert_false(r->ok);
}

static void
restart_node(struct rig *r, size_t node)
{
    store_free(&r->nodes[node].store);
    open_node(r, node);
}

/* Its field in Redis ends like that of a pause of external mail. */
static void
a_pause_of_an_instance_named_e_is_kept(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "e", .extent = PAUSE_ALL,
        .class = CLASS_BLOCK_CONNECTOR, .reason = "550 5.7.750"};
    const struct pause *known;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    assert_true(turn_until(r, paused_on_1));
    store_pauses(r->nodes[1].store, &known);
    assert_string_equal(known->instance, "e");
    assert_int_equal(known->extent, PAUSE_ALL);
    assert_int_equal(known->class, CLASS_BLOCK_CONNECTOR);
    restart_node(r, 0);
    restart_node(r, 1);
    assert_int_equal(store_pauses(r->nodes[0].store, &known), 1);
    assert_int_equal(store_pauses(r->nodes[1].store, &known), 1);
    cli(r, "FLUSHALL");
    while (cli(r, "EXISTS sendgov:{t%%7B%%7Dx}:g") == 0
        || cli(r, "HEXISTS sendgov:{t%%7B%%7Dx}:g p:0:e") == 0)
        loop_turn(r->loop, 20);
}

static void
timed_pauses_end(void **state)
{
    struct rig *r = *state;
    int64_t now = clock_utc_ms();
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL, .reason = "a moment",
        .actor = "uid=0"};

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    store_pause(r->nodes[0].store, &p, MOMENT_MS, NULL);
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED);
    assert_int_equal(charge(r, 1, 1), VERDICT_PAUSED);
    assert_true(r->verdict.retry_after_ms <= MOMENT_MS);
    while (charge(r, 1, 1) == VERDICT_PAUSED)
        assert_true(clock_utc_ms() < now + WAIT_MS);
    assert_true(clock_utc_ms() >= now + MOMENT_MS - 10);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* Before Redis was met its time is not known: nothing ends, whatever this machine's clock says. Then it ends
 * by Redis' time. */
static void
a_pause_before_redis_is_met_does_not_end_unseen(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL, .reason = "a moment"};
    struct charge_request request;
    int64_t began_mono_ms;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    make_request(r, 1, true, &request);
    open_node(r, 0);
    began_mono_ms = clock_mono_ms();
    assert_int_equal(store_pause(r->nodes[0].store, &p, 50, NULL), PAUSE_SET);
    while (clock_mono_ms() < began_mono_ms + 60)
        assert_non_null(store_pause_for(r->nodes[0].store, &request));
    assert_non_null(store_pause_for(r->nodes[0].store, &request));
    assert_true(turn_until(r, all_open));
    while (charge(r, 0, 1) == VERDICT_PAUSED)
        assert_true(clock_mono_ms() < began_mono_ms + WAIT_MS);
}

/* Redis has done what is sent to it now, and stops before it reads more. */
static void
let_redis_work_a_moment(struct rig *r)
{
    kill(r->server.pid, SIGCONT);
    while (cli(r, "HEXISTS sendgov:{t%%7B%%7Dx}:g p:0:contoso:e") == 0)
        continue;
    kill(r->server.pid, SIGSTOP);
}

static bool
block_is_in_redis(struct rig *r)
{
    return cli(r, "EVAL %s 0", "local text = redis.call('HGET', 'sendgov:{t%7B%7Dx}:g', 'p:0:contoso:e')"
        " return string.sub(text, 1, 4) == 'e 0 '") == 1;
}

/* A block takes the place of a moment's pause before Redis answered of that one, and Redis dies before it
 * reads of the block. */
static void
an_older_answer_is_not_the_newer_pauses(void **state)
{
    struct rig *r = *state;
    struct pause moment = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .reason = "a moment"};
    struct pause block = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708"};
    const struct pause *known;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    kill(r->server.pid, SIGSTOP);
    store_pause(r->nodes[0].store, &moment, 3600000, NULL);
    loop_turn(r->loop, 0);
    let_redis_work_a_moment(r);
    assert_int_equal(store_pause(r->nodes[0].store, &block, 0, NULL), PAUSE_SET);
    for (int i = 0; i < 5; i++)
        loop_turn(r->loop, 20);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_open));
    assert_true(turn_until(r, block_is_in_redis));
    assert_int_equal(store_pauses(r->nodes[0].store, &known), 1);
    assert_int_equal(known->class, CLASS_BLOCK_TENANT);
    assert_int_equal(known->until_utc_ms, 0);
}

/* A replica that had not heard of the block yet becomes the Redis. */
static void
a_redis_that_went_back_is_told_of_the_block(void **state)
{
    struct rig *r = *state;
    struct pause block = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708"};
    long long ends_ms = clock_utc_ms() + 3600000;
    char older[64];

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    store_pause(r->nodes[0].store, &block, 0, NULL);
    assert_true(turn_until(r, paused_on_1));
    snprintf(older, sizeof(older), "e %lld %lld ok uid=0 x", ends_ms, ends_ms - 3601000);
    cli(r, "HSET sendgov:{t%%7B%%7Dx}:g p:0:contoso:e %s", older);
    assert_false(block_is_in_redis(r));
    cli(r, "HINCRBY sendgov:{t%%7B%%7Dx}:g pauses 1");
    assert_true(turn_until(r, block_is_in_redis));
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED);
    assert_int_equal(r->verdict.retry_after_ms, -1);
}

static enum verdict_kind
charge_internal(struct rig *r, size_t node)
{
    struct charge_request internal;

    make_request(r, 1, false, &internal);
    r->answers = 0;
    store_charge(r->nodes[node].store, &internal, on_charge, r);
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

static bool
one_pause_on_both(struct rig *r)
{
    const struct pause *pauses;

    return store_pauses(r->nodes[0].store, &pauses) == 1 && store_pauses(r->nodes[1].store, &pauses) == 1;
}

/* A moment's pause of all mail and a block of external mail stand on one route in either order: the moment's
 * end is that of internal mail's pause only, on both nodes. */
static void
check_two_extents(struct rig *r, bool block_first)
{
    struct pause block = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708"};
    struct pause moment = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL,
        .class = CLASS_AUTH, .reason = "535 5.7.139"};

    store_pause(r->nodes[0].store, block_first ? &block : &moment, block_first ? 0 : MOMENT_MS, NULL);
    store_pause(r->nodes[0].store, block_first ? &moment : &block, block_first ? MOMENT_MS : 0, NULL);
    assert_int_equal(charge_internal(r, 0), VERDICT_PAUSED);
    assert_int_equal(charge_internal(r, 1), VERDICT_PAUSED);
    for (size_t node = 0; node < 2; node++) {
        assert_int_equal(charge(r, node, 1), VERDICT_PAUSED);
        assert_int_equal(r->verdict.pause.class, CLASS_BLOCK_TENANT); /* which lasts longer */
        assert_int_equal(r->verdict.retry_after_ms, -1);
    }
    assert_true(turn_until(r, one_pause_on_both));
    for (size_t node = 0; node < 2; node++) {
        assert_int_equal(charge_internal(r, node), VERDICT_GRANTED);
        assert_int_equal(charge(r, node, 1), VERDICT_PAUSED);
        assert_int_equal(r->verdict.pause.class, CLASS_BLOCK_TENANT);
    }
}

static bool
no_pause_on_1(struct rig *r)
{
    const struct pause *pauses;

    return store_pauses(r->nodes[1].store, &pauses) == 0;
}

static void
resume_contoso(struct rig *r)
{
    r->answers = 0;
    store_resume(r->nodes[0].store, SCOPE_ROUTE, "contoso", "uid=0", "clean", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    assert_true(turn_until(r, no_pause_on_1));
}

static void
a_short_pause_of_all_mail_leaves_the_block(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    check_two_extents(r, true);
    resume_contoso(r);
    check_two_extents(r, false);
}

static bool
two_pauses_on_1(struct rig *r)
{
    const struct pause *pauses;

    return store_pauses(r->nodes[1].store, &pauses) == 2;
}

static void
resume_ends_both_extents(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708"};

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    p.extent = PAUSE_ALL;
    store_pause(r->nodes[0].store, &p, 0, NULL);
    assert_true(turn_until(r, two_pauses_on_1));
    resume_contoso(r);
    for (size_t node = 0; node < 2; node++) {
        assert_int_equal(charge_internal(r, node), VERDICT_GRANTED);
        assert_int_equal(charge(r, node, 1), VERDICT_GRANTED);
    }
}

/* Everything in flight is refused at once: one disk write, and one word to Redis for each pause. */
static void
the_pauses_of_a_turn_cost_one_write(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_MAILBOX, .instance = "relay@contoso.com", .extent = PAUSE_ALL,
        .class = CLASS_AUTH, .reason = "535 5.7.139"};
    const struct pause *pauses;
    unsigned set = 0;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    syncs = 0;
    for (int64_t began = clock_mono_ms(); clock_mono_ms() < began + 30;)
        set += store_pause(r->nodes[0].store, &p, 900000, NULL) == PAUSE_SET; /* each ends a little later */
    assert_int_equal(set, 1);
    p.scope = SCOPE_SENDER;
    for (int i = 0; i < 50; i++) {
        snprintf(p.instance, sizeof(p.instance), "u%d@contoso.com", i);
        assert_int_equal(store_pause(r->nodes[0].store, &p, 0, NULL), PAUSE_SET);
    }
    loop_turn(r->loop, 0);
    /* Each write is two: the file and its folder; the turn may have brought answers. */
    assert_in_range(syncs, 1, 4);

    snprintf(p.instance, sizeof(p.instance), "last@contoso.com");
    store_pause(r->nodes[0].store, &p, 0, NULL);
    store_free(&r->nodes[0].store); /* in the middle of a turn */
    open_node(r, 0);
    assert_int_equal(store_pauses(r->nodes[0].store, &pauses), 52);
}

static const struct pause_wider brought_by = {.client = "c{1}", .route = "contoso"};

static bool
is_stopped_by(struct rig *r, size_t node, enum limit_scope scope, const char *instance)
{
    return charge(r, node, 1) == VERDICT_PAUSED && r->verdict.pause.scope == scope
        && strcmp(r->verdict.pause.instance, instance) == 0;
}

static bool
client_is_paused_on_1(struct rig *r)
{
    return is_stopped_by(r, 1, SCOPE_CLIENT, "c{1}");
}

static bool
route_is_paused_on_1(struct rig *r)
{
    return is_stopped_by(r, 1, SCOPE_ROUTE, "contoso");
}

/* However many senders are blocked, the block of a tenant holds on all nodes, and so does something for
 * the next sender. */
static void
a_flood_of_pauses_leaves_a_place_for_the_route(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_SENDER, .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER,
        .reason = "550 5.1.8"};

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    for (int i = 0; i < 600; i++) {
        p.scope = SCOPE_SENDER;
        snprintf(p.instance, sizeof(p.instance), "u%d@contoso.com", i);
        assert_int_not_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_NO_PLACE);
        loop_turn(r->loop, 0);
    }
    assert_int_equal(p.scope, SCOPE_CLIENT);
    assert_true(is_stopped_by(r, 0, SCOPE_CLIENT, "c{1}"));
    assert_true(turn_until(r, client_is_paused_on_1));
    p = (struct pause){.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708"};
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_SET);
    r->answers = 0;
    store_resume(r->nodes[0].store, SCOPE_CLIENT, "c{1}", "uid=0", "clean", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(is_stopped_by(r, 0, SCOPE_ROUTE, "contoso"));
    /* It may remember the client's until its next heartbeat. */
    assert_true(turn_until(r, route_is_paused_on_1));
}

/* Other nodes took the places in Redis, and this one has not heard of it. */
static void
a_pause_redis_has_no_place_for_is_widened(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_SENDER, .instance = "late@contoso.com", .extent = PAUSE_ALL,
        .class = CLASS_BLOCK_SENDER, .reason = "550 5.1.8"};
    const struct pause *pauses;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    for (int i = 0; i < 300; i++)
        cli(r, "HSET sendgov:{t%%7B%%7Dx}:g p:3:u%d@contoso.com %s", i, "a 0 1 block-sender n1 550");
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_SET);
    assert_true(turn_until(r, client_is_paused_on_1));
    assert_true(is_stopped_by(r, 0, SCOPE_CLIENT, "c{1}"));
    for (size_t n = store_pauses(r->nodes[0].store, &pauses); n-- > 0;)
        assert_string_not_equal(pauses[n].instance, "late@contoso.com");
}

/* The log goes to a file from now on; where it went is given back. */
static int
keep_log(void)
{
    FILE *kept = tmpfile();
    int before = dup(STDERR_FILENO);

    assert_non_null(kept);
    assert_int_equal(dup2(fileno(kept), STDERR_FILENO), STDERR_FILENO);
    fclose(kept);
    return before;
}

static size_t
count_in_log(const char *event)
{
    static char text[1 << 20];
    ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);
    size_t found = 0;

    assert_in_range(n, 0, sizeof(text) - 2);
    text[n] = '\0';
    for (const char *at = text; (at = strstr(at, event)) != NULL; at++)
        found++;
    return found;
}

static size_t scripts_before;

static bool
three_heartbeats_passed(struct rig *r)
{
    return (size_t)scripts_run(r) >= scripts_before + 6; /* with the pause each */
}

/* It is tried with each heartbeat, and neither the log nor the disk hears of it again. */
static void
a_pause_without_a_place_is_said_once(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL,
        .class = CLASS_BLOCK_CONNECTOR, .reason = "550 5.7.750"};
    int64_t began_mono_ms;
    int kept_stderr;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    for (int i = 0; i < PLACES_ROUTE; i++)
        cli(r, "HSET sendgov:{t%%7B%%7Dx}:g p:0:u%d %s", i, "a 0 1 block-connector n1 550");
    kept_stderr = keep_log();
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_SET);
    for (began_mono_ms = clock_mono_ms(); count_in_log("pause_no_place") == 0;) {
        loop_turn(r->loop, 20);
        assert_true(clock_mono_ms() < began_mono_ms + WAIT_MS);
    }
    loop_turn(r->loop, 0);
    syncs = 0;
    began_mono_ms = clock_mono_ms();
    scripts_before = (size_t)scripts_run(r);
    assert_true(turn_until(r, three_heartbeats_passed));
    assert_true(clock_mono_ms() - began_mono_ms > 1500); /* not faster than it beats */
    assert_int_equal(count_in_log("pause_no_place"), 1);
    assert_int_equal(syncs, 0);
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    assert_true(is_stopped_by(r, 0, SCOPE_ROUTE, "contoso"));
}

/* Who is to be paused instead is known after a restart. */
static void
a_remembered_pause_is_widened(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_SENDER, .instance = "late@contoso.com", .extent = PAUSE_ALL,
        .class = CLASS_BLOCK_SENDER, .reason = "550 5.1.8"};
    const struct pause *pauses;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    for (int i = 0; i < PLACES_SENDER; i++)
        cli(r, "HSET sendgov:{t%%7B%%7Dx}:g p:3:u%d@contoso.com %s", i, "a 0 1 block-sender n1 550");
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_SET);
    restart_node(r, 0); /* before Redis answered */
    assert_int_equal(store_pauses(r->nodes[0].store, &pauses), 1);
    assert_string_equal(pauses->instance, "late@contoso.com");
    assert_true(turn_until(r, client_is_paused_on_1));
    assert_true(is_stopped_by(r, 0, SCOPE_CLIENT, "c{1}"));
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_pause_reaches_all_and_outlives_flushall),
        CASE(a_pause_of_an_instance_named_e_is_kept),
        CASE(timed_pauses_end),
        CASE(a_pause_before_redis_is_met_does_not_end_unseen),
        CASE(an_older_answer_is_not_the_newer_pauses),
        CASE(a_redis_that_went_back_is_told_of_the_block),
        CASE(a_short_pause_of_all_mail_leaves_the_block),
        CASE(resume_ends_both_extents),
        CASE(the_pauses_of_a_turn_cost_one_write),
        CASE(a_flood_of_pauses_leaves_a_place_for_the_route),
        CASE(a_pause_redis_has_no_place_for_is_widened),
        CASE(a_pause_without_a_place_is_said_once),
        CASE(a_remembered_pause_is_widened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
