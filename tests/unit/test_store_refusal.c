/* The Redis store while a real Redis refuses: each refusal is no decision under its own name, shows in the
 * status, and is over when its cause is, with no new start of the node. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "relay/base/metric.h"
#include "tests/lib/store_rig.h"

static enum store_error wanted;

static bool
refused_as_wanted(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return !s.up && s.error == wanted;
}

/* As one sees it: in the answer to a charge, in the status, in the count. Nothing is granted meanwhile. */
static void
assert_refused(struct rig *r, enum store_error error)
{
    const char *name = store_error_to_str(error);
    struct store_status s;

    wanted = error;
    if (!turn_until(r, refused_as_wanted)) {
        store_status(r->nodes[0].store, &s);
        fail_msg("%s was expected, the status is %s: %s", name, store_error_to_str(s.error), s.detail);
    }
    store_status(r->nodes[0].store, &s);
    assert_true(strlen(s.detail) > 0);
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, error);
    assert_true(metric_get(r->metrics, M_STORE_ERRORS, name, NULL, NULL) >= 1);
}

static void
assert_heals(struct rig *r)
{
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

static void
begin_charging(struct rig *r)
{
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* Settings of Redis, or of its user, that change while a node is connected. */
static void
settings_changed_under_a_node(void **state)
{
    static const struct {
        enum store_error error;
        const char *cause, *cure;
    } table[] = {
        {STORE_OOM, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"},
        {STORE_NOREPLICAS, "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"},
        {STORE_MISCONF, "CONFIG SET maxmemory-policy volatile-ttl", "CONFIG SET maxmemory-policy noeviction"},
        {STORE_NOPERM, "ACL SETUSER default -evalsha", "ACL SETUSER default +@all"},
        {STORE_NOPERM, "ACL SETUSER default -hset", "ACL SETUSER default +@all"},
        {STORE_READONLY, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"},
    };
    struct rig *r = *state;

    begin_charging(r);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        cli(r, table[i].cause);
        assert_refused(r, table[i].error);
        cli(r, table[i].cure);
        assert_heals(r);
    }
}

static void
a_volatile_redis_is_refused_while_connected(void **state)
{
    struct rig *r = *state;

    r->conf.allow_volatile = false;
    begin_charging(r);
    cli(r, "CONFIG SET appendonly no");
    assert_refused(r, STORE_MISCONF);
    cli(r, "CONFIG SET appendonly yes");
    assert_heals(r);
}

static void
a_password_set_under_a_node(void **state)
{
    struct rig *r = *state;
    redisContext *c;

    begin_charging(r);
    c = redisConnectUnix(r->server.socket); /* stays let in */
    freeReplyObject(redisCommand(c, "CONFIG SET requirepass secret"));
    freeReplyObject(redisCommand(c, "CLIENT KILL TYPE normal"));
    assert_refused(r, STORE_NOAUTH);
    freeReplyObject(redisCommand(c, "CONFIG SET requirepass %s", ""));
    redisFree(c);
    assert_heals(r);
}

/* Redis fails to write its snapshot, and takes no writes until it can. */
static void
a_snapshot_that_fails(void **state)
{
    struct rig *r = *state;
    char dump[96];

    begin_charging(r);
    snprintf(dump, sizeof(dump), "%s/dump.rdb", r->server.folder);
    assert_int_equal(mkdir(dump, 0700), 0);
    cli(r, "CONFIG SET save %s", "100000 1");
    cli(r, "BGSAVE");
    assert_refused(r, STORE_MISCONF);
    assert_int_equal(rmdir(dump), 0);
    cli(r, "BGSAVE");
    assert_heals(r);
}

/* Somebody else's script does not end. */
static void
a_long_script(void **state)
{
    struct rig *r = *state;
    redisContext *c;

    r->conf.command_ms = 500;
    begin_charging(r);
    cli(r, "CONFIG SET busy-reply-threshold 50");
    c = redisConnectUnix(r->server.socket);
    redisAppendCommand(c, "EVAL %s 0", "while true do end");
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(c, &done), REDIS_OK);
    assert_refused(r, STORE_BUSY);
    cli(r, "SCRIPT KILL");
    assert_heals(r);
    redisFree(c);
}

static void
a_redis_that_loads_its_data(void **state)
{
    static const char *const slowly[] = {"--key-load-delay", "100000",
        "--loading-process-events-interval-bytes", "1024", NULL};
    struct rig *r = *state;

    begin_charging(r);
    cli(r, "CONFIG SET rdbcompression no");
    for (int i = 0; i < 15; i++)
        cli(r, "SETRANGE filler:%d 1024 x", i);
    cli(r, "SAVE");
    private_redis_kill(&r->server, SIGKILL);
    private_redis_restart(&r->server, slowly);
    assert_refused(r, STORE_LOADING);
    assert_heals(r);
    assert_int_equal(use(r, 0, 0)->used, 2);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(settings_changed_under_a_node),
        CASE(a_volatile_redis_is_refused_while_connected),
        CASE(a_password_set_under_a_node),
        CASE(a_snapshot_that_fails),
        CASE(a_long_script),
        CASE(a_redis_that_loads_its_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
