/* The Redis store when another Redis takes over: a promoted replica that has everything, one that misses the
 * last charges, and the old master that comes back and still believes that it is one. In none of them does
 * more leave than the cap; a node never counts on what its own Redis has forgotten. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "tests/lib/store_rig.h"

#define CAP 10

static struct private_redis other; /* the replica, later the master */
static char other_target[128];

static int
free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, size) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void
replicate(const char *host, const char *port)
{
    redisContext *c = redisConnectUnix(other.socket);
    redisReply *reply = redisCommand(c, "REPLICAOF %s %s", host, port);

    assert_int_equal(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    redisFree(c);
}

/* Until the replica has all that its master has. */
static void
sync_replica(struct rig *r)
{
    redisContext *c = redisConnectUnix(r->server.socket);
    long long replicas = 0;

    for (int i = 0; i < 20 && replicas == 0; i++) {
        redisReply *reply;

        freeReplyObject(redisCommand(c, "SET marker %d", i));
        reply = redisCommand(c, "WAIT 1 500");
        replicas = reply->integer;
        freeReplyObject(reply);
    }
    redisFree(c);
    assert_int_equal(replicas, 1);
}

/* A port that was free may be somebody else's a moment later. */
static void
listen_somewhere(struct rig *r, char port[8])
{
    redisContext *c = redisConnectUnix(r->server.socket);
    bool done = false;

    for (int i = 0; i < 10 && !done; i++) {
        redisReply *reply;

        snprintf(port, 8, "%d", free_port());
        reply = redisCommand(c, "CONFIG SET port %s", port);
        done = reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
    }
    redisFree(c);
    assert_true(done);
}

static void
start_replica(struct rig *r)
{
    char port[8];

    cli(r, "CONFIG SET bind 127.0.0.1");
    cli(r, "CONFIG SET repl-diskless-sync-delay 0");
    listen_somewhere(r, port);
    private_redis_start(&other, with_aof);
    snprintf(other_target, sizeof(other_target), "unix:%s", other.socket);
    replicate("127.0.0.1", port);
    sync_replica(r);
}

static void
promote(void)
{
    replicate("NO", "ONE");
}

static int
end_fencing(void **state)
{
    tear_down(state);
    private_redis_stop(&other);
    return 0;
}

/* As a reload does that names another Redis. */
static void
move_node(struct rig *r, size_t node, const char *target)
{
    struct store_conf conf = r->conf;
    struct store_plan *plan;
    struct err err;

    conf.target = target;
    plan = store_prepare(r->nodes[node].store, &conf, &err);
    assert_non_null(plan);
    store_commit(r->nodes[node].store, &plan);
}

static void
begin_with_replica(struct rig *r, size_t nodes)
{
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, CAP, 3600000);
    begin(r, nodes);
    start_replica(r);
}

static bool
node_closed_for_long(struct rig *r, size_t node)
{
    struct store_status s;

    store_status(r->nodes[node].store, &s);
    return s.up && s.closed_for_ms > 3500000;
}

static bool
node_0_closed(struct rig *r)
{
    return node_closed_for_long(r, 0);
}

static bool
node_1_closed(struct rig *r)
{
    return node_closed_for_long(r, 1);
}

static bool
node_0_open(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.up && s.closed_for_ms == 0;
}

/* A charge when nothing is closed any more. By Redis' time that is a little later than by the node's. */
static enum verdict_kind
charge_when_open(struct rig *r, size_t node, uint32_t recipients)
{
    for (int i = 0; i < 100 && charge(r, node, recipients) == VERDICT_CLOSED; i++)
        turn_for(r, 10);
    return r->verdict.kind;
}

static void
a_replica_with_everything_goes_on(void **state)
{
    struct rig *r = *state;

    begin_with_replica(r, 2);
    assert_int_equal(charge(r, 0, 3), VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 3), VERDICT_GRANTED);
    turn_for(r, 1200); /* each beats, and the replica has it */
    sync_replica(r);
    private_redis_kill(&r->server, SIGKILL);
    promote();
    move_node(r, 0, other_target);
    move_node(r, 1, other_target);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge_when_open(r, 0, 10), VERDICT_GRANTED);
    assert_int_equal(r->granted, CAP - 6);
    assert_int_equal(charge_when_open(r, 1, 1), VERDICT_OVER);
}

/* The node whose charges are missing comes last; the others must not have begun. */
static void
lost_writes_are_missed_before_anybody_begins(void **state)
{
    struct rig *r = *state;

    begin_with_replica(r, 2);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED);
    turn_for(r, 1200);
    sync_replica(r);
    promote(); /* what follows is not replicated any more */
    assert_int_equal(charge(r, 0, CAP - 4), VERDICT_GRANTED);
    move_node(r, 1, other_target);
    for (int i = 0; i < 40; i++) {
        assert_int_not_equal(charge(r, 1, 1), VERDICT_GRANTED);
        turn_for(r, 20);
    }
    move_node(r, 0, other_target);
    assert_true(turn_until(r, node_0_closed));
    assert_true(turn_until(r, node_1_closed));
    assert_int_equal(charge(r, 1, 1), VERDICT_CLOSED);
}

/* Node 1 alone charged at the new master. Node 0 heard of nothing but the new term, is started anew, and
 * meets the old master, which never heard that it is one no more. */
static void
an_old_master_that_comes_back(void **state)
{
    struct rig *r = *state;

    begin_with_replica(r, 2);
    assert_int_equal(charge(r, 0, 2), VERDICT_GRANTED);
    turn_for(r, 1200);
    sync_replica(r);
    promote();
    move_node(r, 0, other_target);
    move_node(r, 1, other_target);
    assert_true(turn_until(r, all_open));
    store_free(&r->nodes[0].store);
    assert_int_equal(charge_when_open(r, 1, CAP), VERDICT_GRANTED);
    assert_int_equal(r->granted, CAP - 2);
    open_node(r, 0); /* at the old master */
    assert_true(turn_until(r, node_0_closed));
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    /* Back where the counters are nothing is missing. */
    move_node(r, 0, other_target);
    assert_true(turn_until(r, node_0_open));
    assert_int_equal(charge_when_open(r, 0, 1), VERDICT_OVER);
    assert_true(all_open(r));
}

/* The old master was started anew meanwhile, and a node that knows nothing of the new one began a term there:
 * it has the same number and is another. */
static void
a_fork_is_not_taken_for_what_it_split_from(void **state)
{
    struct rig *r = *state;

    begin_with_replica(r, 2);
    assert_int_equal(charge(r, 0, 2), VERDICT_GRANTED);
    turn_for(r, 1200);
    sync_replica(r);
    store_free(&r->nodes[1].store);
    promote();
    move_node(r, 0, other_target);
    assert_true(turn_until(r, node_0_open));
    store_free(&r->nodes[0].store);
    private_redis_kill(&r->server, SIGTERM);
    private_redis_restart(&r->server, with_aof);
    open_node(r, 1);
    assert_true(turn_until(r, all_open));
    open_node(r, 0);
    assert_true(turn_until(r, node_0_closed));
    assert_true(turn_until(r, node_1_closed));
}

/* A Redis that was only started anew is another server, too: nothing is missing, and alone nobody waits. */
static void
a_restart_is_a_term_without_loss(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, CAP, 3600000);
    begin(r, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
        private_redis_kill(&r->server, SIGKILL);
        private_redis_restart(&r->server, with_aof);
        assert_true(turn_until(r, none_up));
        assert_true(turn_until(r, all_open));
    }
    assert_int_equal(charge(r, 0, CAP), VERDICT_GRANTED);
    assert_int_equal(r->granted, CAP - 3);
    assert_int_equal(cli(r, "EVAL %s 0", "return tonumber(string.match(redis.call('HGET',"
        " 'sendgov:{t%7B%7Dx}:g', 'epoch'), '^%x+%.(%d+)%.%x+$'))"), 3);
    store_free(&r->nodes[0].store);
    assert_int_equal(cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"), 1);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER); /* a new term forgets no mark */
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, end_fencing)
    const struct CMUnitTest tests[] = {
        CASE(a_replica_with_everything_goes_on),
        CASE(lost_writes_are_missed_before_anybody_begins),
        CASE(an_old_master_that_comes_back),
        CASE(a_fork_is_not_taken_for_what_it_split_from),
        cmocka_unit_test_setup_teardown(a_restart_is_a_term_without_loss, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
