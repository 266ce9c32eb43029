/* The Redis store over a real loop, real connections and a redis-server of the test's own: never over the cap whatever happens to
 * Redis, to the node or to the limits, and back to work when it is over. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/net/dial.h"
#include "relay/store/journal.h"
#include "relay/smtp/address.h"
#include "relay/store/store.h"
#include "tests/lib/private_redis.h"

#define NODES 3
#define WAIT_MS 10000

struct node {
    struct store *store;
    char folder[96];
    char name[16];
};

struct rig {
    struct private_redis server;
    struct metrics *metrics;
    struct loop *loop;
    struct resolver *resolver;
    struct dialer *dialer;
    struct store_conf conf;
    char target[128];
    struct node nodes[NODES];
    struct limit_conf limits[4];
    size_t n_limits;
    uint32_t step; /* of the warm-up, as the asker believes */
    /* answers */
    struct verdict verdict;
    size_t answers, granted;
    bool ok;
    enum store_error error;
    uint64_t lease;
    struct usage usage;
};

/* How often this process waited for its disk. */
static unsigned syncs;

int
fsync(int fd)
{
    syncs++;
    return fdatasync(fd);
}

/* ---- the rig ---- */

static bool
turn_until(struct rig *r, bool (*done)(struct rig *r))
{
    int64_t until = clock_mono_ms() + WAIT_MS;

    while (!done(r)) {
        if (clock_mono_ms() > until)
            return false;
        loop_turn(r->loop, 20);
    }
    return true;
}

static void
open_node(struct rig *r, size_t i)
{
    struct store_setup setup = {r->loop, r->dialer, r->metrics, r->nodes[i].name, r->nodes[i].folder};
    struct err err;

    r->nodes[i].store = store_redis_new(&setup, &r->conf, &err);
    if (!r->nodes[i].store)
        fail_msg("%s", err.text);
    store_set_limits(r->nodes[i].store, r->limits, r->n_limits);
}

static bool
all_open(struct rig *r)
{
    for (size_t i = 0; i < NODES; i++) {
        struct store_status s;

        if (!r->nodes[i].store)
            continue;
        store_status(r->nodes[i].store, &s);
        if (!s.up || s.closed_for_ms != 0)
            return false;
    }
    return true;
}

static bool
all_up(struct rig *r)
{
    for (size_t i = 0; i < NODES; i++) {
        struct store_status s;

        if (!r->nodes[i].store)
            continue;
        store_status(r->nodes[i].store, &s);
        if (!s.up)
            return false;
    }
    return true;
}

static bool
none_up(struct rig *r)
{
    for (size_t i = 0; i < NODES; i++) {
        struct store_status s;

        if (!r->nodes[i].store)
            continue;
        store_status(r->nodes[i].store, &s);
        if (s.up)
            return false;
    }
    return true;
}

static void
add_limit(struct rig *r, const char *name, enum limit_kind kind, enum limit_unit unit, uint64_t value, uint64_t period_ms)
{
    r->limits[r->n_limits++] = (struct limit_conf){.name = name, .kind = kind, .scope = SCOPE_ROUTE, .unit = unit,
        .value = value, .period_ms = period_ms, .burst = 5};
}

static const char *const with_aof[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

static int
set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    struct err err;

    private_redis_start(&r->server, with_aof);
    r->step = 1;
    r->metrics = metrics_new();
    r->loop = loop_new(r->metrics, &err);
    r->resolver = resolver_new(r->loop, &err);
    r->dialer = dialer_new(r->loop, r->resolver);
    snprintf(r->target, sizeof(r->target), "unix:%s", r->server.socket);
    r->conf = (struct store_conf){.target = r->target, .group = "t{}x", .allow_volatile = true, .connect_ms = 500,
        .command_ms = 2000, .settle_ms = 0};
    for (size_t i = 0; i < NODES; i++) {
        snprintf(r->nodes[i].name, sizeof(r->nodes[i].name), "n%zu", i);
        snprintf(r->nodes[i].folder, sizeof(r->nodes[i].folder), "%s/n%zu-XXXXXX", r->server.folder, i);
        assert_non_null(mkdtemp(r->nodes[i].folder));
    }
    *state = r;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *r = *state;

    for (size_t i = 0; i < NODES; i++)
        store_free(&r->nodes[i].store);
    dialer_free(&r->dialer);
    resolver_free(&r->resolver);
    loop_turn(r->loop, 0);
    loop_free(&r->loop);
    metrics_free(&r->metrics);
    private_redis_stop(&r->server);
    free(r);
    return 0;
}

static void
begin(struct rig *r, size_t nodes)
{
    for (size_t i = 0; i < nodes; i++)
        open_node(r, i);
    assert_true(turn_until(r, all_open));
}

/* A command of an operator at redis-cli. */
static long long
cli(struct rig *r, const char *fmt, ...)
{
    redisContext *c = redisConnectUnix(r->server.socket);
    redisReply *reply;
    long long result;
    va_list ap;

    assert_true(c && c->err == 0);
    va_start(ap, fmt);
    reply = redisvCommand(c, fmt, ap);
    va_end(ap);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", fmt, reply->str);
    result = reply->type == REDIS_REPLY_INTEGER ? reply->integer : (long long)reply->elements;
    freeReplyObject(reply);
    redisFree(c);
    return result;
}

static void
on_charge(void *arg, const struct verdict *v)
{
    struct rig *r = arg;

    r->verdict = *v;
    r->answers++;
    r->granted += v->kind == VERDICT_GRANTED ? v->granted : 0;
}

static void
make_request(struct rig *r, uint32_t recipients, bool external, struct charge_request *out)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c{1}"), .sender = SPAN_LIT("a b\n@x{y}"),
        .sender_domain = SPAN_LIT("x"), .external = external, .recipients = recipients, .least = 1, .bytes = 100,
        .warmup_step = r->step};

    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, out), 0);
}

static void
ask(struct rig *r, size_t node, uint32_t recipients)
{
    struct charge_request request;

    make_request(r, recipients, true, &request);
    store_charge(r->nodes[node].store, &request, on_charge, r);
}

static bool
answered(struct rig *r)
{
    return r->answers > 0;
}

static enum verdict_kind
charge(struct rig *r, size_t node, uint32_t recipients)
{
    r->answers = r->granted = 0;
    ask(r, node, recipients);
    assert_int_equal(r->answers, 0); /* never during the call */
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

static void
on_done(void *arg, bool ok, enum store_error error)
{
    struct rig *r = arg;

    r->ok = ok;
    r->error = error;
    r->answers++;
}

static void
on_lease(void *arg, bool granted, uint64_t lease, enum store_error error, int64_t retry_after_ms)
{
    struct rig *r = arg;

    (void)retry_after_ms;
    r->ok = granted;
    r->lease = lease;
    r->error = error;
    r->answers++;
}

static bool
take_lease(struct rig *r, size_t node, uint64_t cap)
{
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", cap};

    r->answers = 0;
    store_lease_take(r->nodes[node].store, &request, on_lease, r);
    assert_true(turn_until(r, answered));
    return r->ok;
}

static void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct rig *r = arg;

    assert_int_equal(n, 1);
    r->ok = ok;
    r->error = error;
    r->usage = *usage;
    r->answers++;
}

static const struct usage *
use(struct rig *r, size_t node, size_t limit)
{
    struct usage wanted = {.limit = &r->limits[limit], .instance = "contoso", .cap = r->limits[limit].value};

    r->answers = 0;
    store_usage(r->nodes[node].store, &wanted, 1, on_usage, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    return &r->usage;
}

/* ---- the tests ---- */

static void
counts_and_refuses(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 3), VERDICT_GRANTED);
    assert_int_equal(r->granted, 3);
    assert_true(r->verdict.seq > 0 && r->verdict.time_us > 0);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED); /* 2 of 4 */
    assert_int_equal(r->granted, 2);
    assert_ptr_equal(r->verdict.limit, &r->limits[0]);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 5);
    assert_int_equal(r->verdict.cap, 5);
    assert_true(r->verdict.retry_after_ms > 3600000 && r->verdict.retry_after_ms < 3800000);
    assert_int_equal(use(r, 0, 0)->used, 5);
}

static size_t wanted_answers;

static bool
all_answered(struct rig *r)
{
    return r->answers == wanted_answers;
}

static long long
scripts_run(struct rig *r)
{
    redisContext *c = redisConnectUnix(r->server.socket);
    redisReply *reply = redisCommand(c, "INFO commandstats");
    const char *at = strstr(reply->str, "cmdstat_evalsha:calls=");
    long long calls = at ? atoll(at + strlen("cmdstat_evalsha:calls=")) : 0;

    freeReplyObject(reply);
    redisFree(c);
    return calls;
}

static uint64_t seqs_seen[64];

static void
on_numbered(void *arg, const struct verdict *v)
{
    struct rig *r = arg;

    if (v->kind == VERDICT_GRANTED)
        for (size_t i = 0; i < r->granted; i++)
            assert_true(seqs_seen[i] != v->seq);
    on_charge(arg, v);
    if (v->kind == VERDICT_GRANTED)
        seqs_seen[r->granted - 1] = v->seq;
}

/* 40 asked in one turn, 35 fit: few scripts run, each grant has its own number, the others get their full answer. */
static void
equal_charges_of_a_turn_are_one_question(void **state)
{
    struct rig *r = *state;
    struct charge_request request;
    long long before;

    add_limit(r, "cap", LIMIT_WINDOW, UNIT_EXTERNAL, 36, 86400000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    make_request(r, 1, true, &request);
    before = scripts_run(r);
    r->answers = r->granted = 0;
    wanted_answers = 40;
    for (size_t i = 0; i < 40; i++)
        store_charge(r->nodes[0].store, &request, on_numbered, r);
    assert_true(turn_until(r, all_answered));
    assert_int_equal(r->granted, 35);
    assert_int_equal(r->verdict.kind, VERDICT_OVER);
    assert_int_equal(r->verdict.used, 36);
    assert_int_equal(use(r, 0, 0)->used, 36);
    assert_true(scripts_run(r) - before < 20); /* 2 batches, 5 alone, a heartbeat or so */
}

static void
exactly_the_cap_under_concurrency(void **state)
{
    static const uint64_t caps[] = {1, 2, 7, 64, 500, 2000};
    struct rig *r = *state;

    add_limit(r, "cap", LIMIT_WINDOW, UNIT_EXTERNAL, 1, 3600000);
    add_limit(r, "other", LIMIT_WINDOW, UNIT_MESSAGES, 1000000, 86400000);
    begin(r, NODES);
    for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
        uint64_t offered = 0;

        cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"); /* fresh for each; the nodes must not miss it */
        for (size_t n = 0; n < NODES; n++) {
            store_open(r->nodes[n].store, "test", "fresh", on_done, r);
            r->limits[0].value = caps[i];
            store_set_limits(r->nodes[n].store, r->limits, r->n_limits);
        }
        wanted_answers = NODES;
        r->answers = r->granted = 0;
        assert_true(turn_until(r, all_answered));
        r->answers = 0;
        while (offered < caps[i] + 500) { /* 64 at a time on each node */
            wanted_answers = 0;
            r->answers = 0;
            for (size_t k = 0; k < 64 * NODES; k++, wanted_answers++, offered++)
                ask(r, k % NODES, 1 + (uint32_t)(k % 3));
            assert_true(turn_until(r, all_answered));
        }
        assert_int_equal(r->granted, caps[i]);
    }
}

static void
survives_script_flush(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    for (int i = 0; i < 5; i++) {
        cli(r, "SCRIPT FLUSH");
        r->answers = r->granted = 0;
        wanted_answers = 8;
        for (size_t k = 0; k < wanted_answers; k++)
            ask(r, 0, 1);
        assert_true(turn_until(r, all_answered));
        assert_int_equal(r->granted, 8);
    }
    assert_int_equal(use(r, 0, 0)->used, 40);
}

static void
redis_killed_and_back_with_its_data(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 3, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_DOWN);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
}

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

static void
old_snapshot_is_lost_memory(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    /* As if Redis had gone back to before the last charge: the node's number is lower than it knows. */
    assert_int_equal(cli(r, "EVAL %s 0", "local k = redis.call('KEYS', '*:n:*')[1] redis.call('HSET', k, 'seq', 1) return 1"), 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_true(turn_until(r, all_up));
    do {
        loop_turn(r->loop, 20);
        store_status(r->nodes[0].store, &s);
    } while (s.closed_for_ms == 0);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_true(r->verdict.retry_after_ms > 3500000);
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

static void
turn_for(struct rig *r, int64_t ms)
{
    for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        loop_turn(r->loop, 20);
}

/* Node 0 alone charged, and dies before Redis forgets: node 1 heard of its charges and objects in its place. */
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

static void
a_restarted_node_remembers(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL, .class = CLASS_BLOCK_TENANT,
        .reason = "550 5.7.708 Service unavailable", .actor = "n0"};
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
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL, .class = CLASS_BLOCK_TENANT,
        .reason = "550 5.7.708", .actor = "n 0"};
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
timed_pauses_end(void **state)
{
    struct rig *r = *state;
    int64_t now = clock_utc_ms();
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL, .reason = "a moment",
        .actor = "uid=0"};

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    store_pause(r->nodes[0].store, &p, 700, NULL);
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED);
    assert_int_equal(charge(r, 1, 1), VERDICT_PAUSED);
    assert_true(r->verdict.retry_after_ms <= 700);
    while (charge(r, 1, 1) == VERDICT_PAUSED)
        assert_true(clock_utc_ms() < now + 5000);
    assert_true(clock_utc_ms() >= now + 690);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* Before Redis was met its time is not known: nothing ends, whatever this machine's clock says. Then it ends by Redis' time. */
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

/* A moment's pause of all mail and a block of external mail stand on one route in either order: the moment's end is that of
 * internal mail's pause only, on both nodes. */
static void
check_two_extents(struct rig *r, bool block_first)
{
    struct pause block = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL, .class = CLASS_BLOCK_TENANT,
        .reason = "550 5.7.708"};
    struct pause moment = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL, .class = CLASS_AUTH,
        .reason = "535 5.7.139"};

    store_pause(r->nodes[0].store, block_first ? &block : &moment, block_first ? 0 : 700, NULL);
    store_pause(r->nodes[0].store, block_first ? &moment : &block, block_first ? 700 : 0, NULL);
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
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL, .class = CLASS_BLOCK_TENANT,
        .reason = "550 5.7.708"};

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
    struct pause p = {.scope = SCOPE_MAILBOX, .instance = "relay@contoso.com", .extent = PAUSE_ALL, .class = CLASS_AUTH,
        .reason = "535 5.7.139"};
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
    assert_in_range(syncs, 1, 4); /* each write is two: the file and its folder; the turn may have brought answers */

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

/* However many senders are blocked, the block of a tenant holds on all nodes, and so does something for the next sender. */
static void
a_flood_of_pauses_leaves_a_place_for_the_route(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_SENDER, .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER, .reason = "550 5.1.8"};

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
    p = (struct pause){.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL, .class = CLASS_BLOCK_TENANT,
        .reason = "550 5.7.708"};
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, &brought_by), PAUSE_SET);
    r->answers = 0;
    store_resume(r->nodes[0].store, SCOPE_CLIENT, "c{1}", "uid=0", "clean", on_done, r);
    assert_true(turn_until(r, answered));
    assert_true(is_stopped_by(r, 0, SCOPE_ROUTE, "contoso"));
    assert_true(turn_until(r, route_is_paused_on_1)); /* it may remember the client's until its next heartbeat */
}

/* Other nodes took the places in Redis, and this one has not heard of it. */
static void
a_pause_redis_has_no_place_for_is_widened(void **state)
{
    struct rig *r = *state;
    struct pause p = {.scope = SCOPE_SENDER, .instance = "late@contoso.com", .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER,
        .reason = "550 5.1.8"};
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

static struct limit_conf lower[1];

static bool
node_0_sees_2(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.nodes == 2 && s.limits_differ;
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
    }
}

/* While no node could beat, one of them may have been told of a block: it says so before mail leaves. */
static void
after_a_silence_pauses_are_said_first(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    private_redis_kill(&r->server, SIGKILL);
    turn_for(r, 2500);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_up));
    store_status(r->nodes[0].store, &s);
    assert_true(s.closed_for_ms > 0 && s.closed_for_ms <= 1200);
    assert_int_equal(charge(r, 0, 1), VERDICT_CLOSED);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
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

/* Heartbeats succeed and charges do not: that is not ready. */
static void
failing_charges_show_in_the_status(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    cli(r, "SADD sendgov:{t%%7B%%7Dx}:s:0:contoso not-a-string");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    turn_for(r, 1200); /* a heartbeat does not make it good */
    store_status(r->nodes[0].store, &s);
    assert_true(s.up);
    assert_int_equal(s.charge_error, STORE_WRONGTYPE);
    assert_non_null(strstr(s.detail, "WRONGTYPE"));
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    store_status(r->nodes[0].store, &s);
    assert_int_equal(s.charge_error, STORE_OK);
}

/* A reload that raises a cap while a heartbeat is under way: the node may not use it before the others were asked. */
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
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
    loop_turn(r->loop, 1100); /* a heartbeat must not forget it */
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
}

static bool
slot_taken_by_1(struct rig *r)
{
    return take_lease(r, 1, 2);
}

static void
slots_are_shared_and_freed(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 2};
    uint64_t first;

    begin(r, 2);
    assert_true(take_lease(r, 0, 2));
    first = r->lease;
    assert_true(take_lease(r, 1, 2));
    assert_false(take_lease(r, 0, 2));
    assert_int_equal(r->error, STORE_OK);
    store_lease_give(r->nodes[0].store, &request, first);
    assert_true(turn_until(r, slot_taken_by_1)); /* told on another connection */
    assert_false(take_lease(r, 0, 2));
    /* Node 1 dies and comes back: its connections died with it. */
    store_free(&r->nodes[1].store);
    open_node(r, 1);
    assert_true(turn_until(r, all_open));
    assert_true(take_lease(r, 1, 2));
    assert_true(take_lease(r, 0, 2));
    assert_false(take_lease(r, 0, 2));
}

static void
allow_connections(struct rig *r, size_t node, uint64_t cap, const struct limit_conf *limits)
{
    struct slot_cap caps[] = {
        {SCOPE_MAILBOX, "other@contoso.com", 1}, {SCOPE_MAILBOX, "relay@contoso.com", cap}};

    store_set_slot_caps(r->nodes[node].store, caps, 2);
    store_set_limits(r->nodes[node].store, limits, r->n_limits);
}

static bool
two_nodes_alike(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.nodes == 2 && !s.limits_differ;
}

static bool
node_1_takes_slot(struct rig *r)
{
    return take_lease(r, 1, 3);
}

/* Of 3 and 2, 2 hold, whoever asks; when the other node is raised too, 3. */
static void
the_lowest_cap_of_slots_holds(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 3};
    uint64_t first;

    begin(r, 2);
    allow_connections(r, 0, 3, r->limits);
    allow_connections(r, 1, 2, r->limits);
    assert_true(turn_until(r, node_0_sees_2));
    assert_true(take_lease(r, 0, 3));
    first = r->lease;
    assert_true(take_lease(r, 0, 3));
    assert_false(take_lease(r, 0, 3));
    assert_false(take_lease(r, 1, 2));
    assert_int_equal(r->error, STORE_OK);
    store_lease_give(r->nodes[0].store, &request, first);
    assert_true(turn_until(r, node_1_takes_slot)); /* it travels on another connection */
    allow_connections(r, 1, 3, r->limits);
    assert_true(turn_until(r, two_nodes_alike));
    assert_true(take_lease(r, 0, 3));
    assert_false(take_lease(r, 1, 3));
}

/* A limit may have the name the slots have in texts and keys. */
static void
a_limit_named_connections_is_not_that_of_slots(void **state)
{
    struct rig *r = *state;

    add_limit(r, "connections", LIMIT_WINDOW, UNIT_MESSAGES, 100, 60000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].value = 1;
    allow_connections(r, 0, 3, r->limits);
    allow_connections(r, 1, 3, lower);
    assert_true(turn_until(r, node_0_sees_2));
    for (int i = 0; i < 3; i++)
        assert_true(take_lease(r, i & 1, 3));
    assert_false(take_lease(r, 1, 3));
}

static bool
slot_taken(struct rig *r)
{
    return take_lease(r, 0, 2);
}

/* Redis forgets the slots while their connections live: nobody gets one before all holders said so again. */
static void
slots_outlive_flushall(void **state)
{
    struct rig *r = *state;
    int64_t until;

    r->conf.settle_ms = 2000;
    begin(r, 2);
    assert_true(turn_until(r, slot_taken)); /* a node's own estimate of Redis' time may run a moment ahead */
    assert_true(take_lease(r, 0, 2));
    cli(r, "FLUSHALL");
    for (until = clock_mono_ms() + 3500; clock_mono_ms() < until;) {
        assert_false(take_lease(r, 1, 2));
        loop_turn(r->loop, 20);
    }
    assert_int_equal(r->error, STORE_OK);
    assert_true(take_lease(r, 1, 3)); /* and work goes on */
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

static void
refunds_once(void **state)
{
    struct rig *r = *state;
    struct charge_request request;
    struct verdict v;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED);
    v = r->verdict;
    assert_int_equal(charge(r, 0, 2), VERDICT_GRANTED);
    make_request(r, 4, true, &request);
    store_refund(r->nodes[0].store, &request, &v);
    assert_int_equal(use(r, 0, 0)->used, 2);
    assert_int_equal((int)metric_get(r->metrics, M_REFUNDS, NULL, NULL, NULL), 1);
}

static size_t
void_charges(struct rig *r)
{
    static const char *const reasons[] = {"forgotten", "no_answer", "client_left", "late"};
    double n = 0;

    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        n += metric_get(r->metrics, M_CHARGES_VOID, reasons[i], NULL, NULL);
    return (size_t)n;
}

/* Only what was charged and is not used is void: not a look, and nothing that was over. */
static void
a_forgotten_charge_is_void_once(void **state)
{
    struct rig *r = *state;
    struct charge_request request;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 4, 3600000);
    begin(r, 1);
    make_request(r, 4, true, &request);
    request.look = true;
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED); /* its answer comes after the look's */
    assert_int_equal(void_charges(r), 0);
    make_request(r, 3, true, &request);
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(void_charges(r), 1);
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(void_charges(r), 1);
}

/* Every failure of Redis is "no decision" under its own name, and nothing is counted. */
static void
errors_are_no_decision(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    cli(r, "CONFIG SET maxmemory 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_OOM);
    cli(r, "CONFIG SET maxmemory 0");
    assert_true(turn_until(r, all_up));
    cli(r, "CONFIG SET min-replicas-to-write 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_NOREPLICAS);
    cli(r, "CONFIG SET min-replicas-to-write 0");
    assert_true(turn_until(r, all_up));
    cli(r, "HSET sendgov:{t%%7B%%7Dx}:s:0:contoso a b");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_WRONGTYPE);
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    cli(r, "SET sendgov:{t%%7B%%7Dx}:s:0:contoso %b", "\x07zz", (size_t)3); /* a newer version's */
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_SCHEMA);
    cli(r, "SET sendgov:{t%%7B%%7Dx}:s:0:contoso %b", "\x01zz", (size_t)3); /* cut off */
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal((int)metric_get(r->metrics, M_STORE_ERRORS, "oom", NULL, NULL), 1);
    cli(r, "REPLICAOF 127.0.0.1 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    cli(r, "REPLICAOF NO ONE");
}

static void
a_stopped_redis_times_out_and_late_scripts_do_nothing(void **state)
{
    struct rig *r = *state;
    int64_t before;

    r->conf.command_ms = 250;
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    kill(r->server.pid, SIGSTOP);
    before = clock_mono_ms();
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_TIMEOUT);
    assert_true(clock_mono_ms() - before < 500 + 250);
    while (clock_mono_ms() - before < 700)
        loop_turn(r->loop, 50);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 0)->used, 2); /* the late one came after its not_after */
}

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
charge_at_step(struct rig *r, uint32_t recipients, uint32_t step)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .sender = SPAN_LIT("a@x"),
        .sender_domain = SPAN_LIT("x"), .external = true, .recipients = recipients, .least = 1,
        .warmup_step = step};
    struct charge_request request;

    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, &request), 0);
    r->answers = r->granted = 0;
    store_charge(r->nodes[0].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    assert_int_equal(r->verdict.kind, VERDICT_GRANTED);
    assert_int_equal(r->granted, recipients);
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
        " local v, at = redis.call('GET', k), 2 while at <= #v do local size, name = struct.unpack('>I2Bc0', v, at)"
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
        before = scripts_run(r);
        use(r, 0, limit);
        assert_true(scripts_run(r) - before <= 2); /* itself, perhaps a heartbeat */
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

static size_t
forward(int from, int to, char *bytes, size_t size)
{
    ssize_t n = read(from, bytes, size - 1);

    if (n <= 0 || write(to, bytes, (size_t)n) != n)
        return 0;
    bytes[n] = '\0';
    return (size_t)n;
}

static int
unix_socket(const char *path, bool listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (listening ? bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0
                  : connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail_msg("%s", path);
    return fd;
}

/* One connection between a node and Redis: nothing passes any more, either way, after Redis said NOSCRIPT. */
static void
relay_until_noscript(int node, int redis)
{
    struct pollfd fds[] = {{.fd = node, .events = POLLIN}, {.fd = redis, .events = POLLIN}};
    char bytes[65536];

    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents && forward(node, redis, bytes, sizeof(bytes)) == 0)
            return;
        if (fds[1].revents && forward(redis, node, bytes, sizeof(bytes)) == 0)
            return;
        if (fds[1].revents && strstr(bytes, "NOSCRIPT"))
            break;
    }
    while (read(node, bytes, sizeof(bytes)) > 0)
        continue;
}

static pid_t
start_proxy(struct rig *r, const char *path)
{
    int listener = unix_socket(path, true);
    pid_t pid = fork();

    if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        for (;;) {
            int node = accept(listener, NULL, NULL), redis = unix_socket(r->server.socket, false);

            relay_until_noscript(node, redis);
            close(node);
            close(redis);
        }
    close(listener);
    return pid;
}

/* The script is loaded again, with more time than a charge has: that must not be the charge's. */
static void
a_script_under_way_does_not_stretch_a_deadline(void **state)
{
    struct rig *r = *state;
    char path[112];
    int64_t before;
    pid_t proxy;

    snprintf(path, sizeof(path), "%s.proxy", r->server.socket);
    snprintf(r->target, sizeof(r->target), "unix:%s", path);
    r->conf.command_ms = 250;
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    proxy = start_proxy(r, path);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    cli(r, "SCRIPT FLUSH");
    before = clock_mono_ms();
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_TIMEOUT);
    assert_true(clock_mono_ms() - before < 500 + 250);
    kill(proxy, SIGKILL);
    waitpid(proxy, NULL, 0);
    unlink(path);
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
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(r->verdict.used, 0);
    assert_int_equal(use(r, 0, 0)->used, 2);
}

static void
two_daemons_on_one_folder_are_refused(void **state)
{
    struct rig *r = *state;
    struct store_setup setup = {r->loop, r->dialer, r->metrics, "n9", r->nodes[0].folder};
    struct err err;

    begin(r, 1);
    assert_null(store_redis_new(&setup, &r->conf, &err));
    assert_non_null(strstr(err.text, "another sendgovd"));
}

static bool
misconf(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return !s.up && s.error == STORE_MISCONF;
}

static void
a_redis_that_may_forget_is_refused(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    cli(r, "CONFIG SET maxmemory-policy allkeys-lru");
    open_node(r, 0);
    assert_true(turn_until(r, misconf));
    store_status(r->nodes[0].store, &s);
    assert_non_null(strstr(s.detail, "noeviction"));
    cli(r, "CONFIG SET maxmemory-policy noeviction");
    assert_true(turn_until(r, all_open));
    store_free(&r->nodes[0].store);
    cli(r, "CONFIG SET appendonly no");
    r->conf.allow_volatile = false;
    open_node(r, 0);
    assert_true(turn_until(r, misconf));
    store_status(r->nodes[0].store, &s);
    assert_non_null(strstr(s.detail, "appendonly"));
}

/* No name, however it is made, leaves its place; and nothing stays for ever. */
static void
all_keys_are_ours_and_mortal(void **state)
{
    static const char check[] = "local bad = 0 for _, k in ipairs(redis.call('KEYS', '*')) do"
        " if string.sub(k, 1, 20) ~= 'sendgov:{t%7B%7Dx}:g' and string.sub(k, 1, 19) ~= 'sendgov:{t%7B%7Dx}:' then bad = bad + 1 end"
        " if string.find(string.sub(k, 20), '[^%w:%%._@+=-]') then bad = bad + 1 end"
        " if redis.call('PTTL', k) < 7200000 then bad = bad + 1 end end return bad";
    struct rig *r = *state;

    add_limit(r, "hour {x}\n", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    r->limits[0].scope = SCOPE_SENDER;
    add_limit(r, "rate", LIMIT_RATE, UNIT_MESSAGES, 10, 60000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(take_lease(r, 0, 2));
    assert_true(cli(r, "KEYS *") >= 6);
    assert_int_equal(cli(r, "EVAL %s 0", check), 0);
}

static enum verdict_kind
charge_from(struct rig *r, const char *mail_from, uint32_t recipients)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .external = true, .least = recipients,
        .recipients = recipients, .bytes = 100};
    struct charge_request request;
    struct address sender;

    assert_int_equal(address_parse_plain(span_str(mail_from), &sender), ADDRESS_OK);
    s.sender = span_str(sender.text);
    s.sender_domain = address_domain(&sender);
    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, &request), 0);
    address_fini(&sender);
    r->answers = 0;
    store_charge(r->nodes[0].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

static void
one_sender_in_any_spelling(void **state)
{
    static const char *const spellings[] = {"scan@contoso.com", "SCAN@contoso.com", "Scan@CONTOSO.com", "\"scan\"@contoso.com",
        "\"S\\CAN\"@contoso.com."};
    const size_t n = sizeof(spellings) / sizeof(spellings[0]);
    struct pause p = {.scope = SCOPE_SENDER, .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER, .reason = "550 5.1.8"};
    struct rig *r = *state;

    add_limit(r, "each", LIMIT_WINDOW, UNIT_RECIPIENTS, 6, 3600000);
    add_limit(r, "one", LIMIT_WINDOW, UNIT_RECIPIENTS, n, 3600000);
    r->limits[0].scope = r->limits[1].scope = SCOPE_SENDER;
    r->limits[1].only = "sCan@contoso.com";
    begin(r, 1);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(charge_from(r, spellings[i], 1), VERDICT_GRANTED);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(charge_from(r, spellings[i], 1), VERDICT_OVER);
        assert_ptr_equal(r->verdict.limit, &r->limits[1]);
        assert_string_equal(r->verdict.instance, "scan@contoso.com");
    }
    assert_int_equal(charge_from(r, "other@contoso.com", 6), VERDICT_GRANTED);
    plan_sender_instance(SPAN_LIT("Other@contoso.com"), p.instance);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    assert_int_equal(charge_from(r, "oTHER@contoso.com", 1), VERDICT_PAUSED);
}

static void
sender_instances_have_bounds(void **state)
{
    char long_address[INSTANCE_MAX + 1], instance[INSTANCE_MAX];

    (void)state;
    memset(long_address, 'A', sizeof(long_address));
    assert_true(plan_sender_instance(span_of(long_address, INSTANCE_MAX - 1), instance));
    assert_int_equal(strspn(instance, "a"), INSTANCE_MAX - 1);
    assert_false(plan_sender_instance(span_of(long_address, INSTANCE_MAX), instance));
    assert_int_equal(strlen(instance), INSTANCE_MAX - 1);
    assert_true(plan_sender_instance(SPAN_LIT(""), instance));
    assert_string_equal(instance, PLAN_NULL_SENDER);
}

/* ---- limits that a reload takes away ---- */

/* A configuration as its owner sees it: freed with the last reference. */
struct mortal {
    struct limit_conf *limits;
    unsigned references;
};

static void
mortal_ref(void *object)
{
    ((struct mortal *)object)->references++;
}

static void
mortal_unref(void *object)
{
    struct mortal *m = object;

    if (--m->references > 0)
        return;
    memset(m->limits, 0xa5, sizeof(*m->limits));
    free(m->limits);
    m->limits = NULL;
}

static struct owner
mortal_new(struct mortal *m, const struct limit_conf *limit)
{
    m->references = 1;
    m->limits = xmalloc(sizeof(*m->limits));
    *m->limits = *limit;
    return (struct owner){m, mortal_ref, mortal_unref};
}

static struct mortal mortal;

static bool
is_mortal_gone(struct rig *r)
{
    (void)r;
    return mortal.references == 0;
}

static struct handle
charge_mortal(struct rig *r, struct store *s)
{
    struct plan_subject subject = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .sender = SPAN_LIT("a@x"),
        .sender_domain = SPAN_LIT("x"), .external = true, .recipients = 1, .least = 1, .bytes = 100, .warmup_step = 1,
        .owner = mortal_new(&mortal, &r->limits[0])};
    struct charge_request request;

    assert_int_equal(plan_charge(mortal.limits, 1, &subject, &request), 0);
    return store_charge(s, &request, on_charge, r);
}

static struct handle
use_mortal(struct rig *r, struct store *s)
{
    struct owner owner = mortal_new(&mortal, &r->limits[0]);
    struct usage wanted = {.limit = mortal.limits, .owner = owner, .instance = "contoso"};

    return store_usage(s, &wanted, 1, on_usage, r);
}

static void
lose_before_the_answer(struct rig *r, struct store *s, struct handle (*ask_mortal)(struct rig *r, struct store *s))
{
    struct handle h;

    r->answers = 0;
    kill(r->server.pid, SIGSTOP);
    h = ask_mortal(r, s);
    loop_turn(r->loop, 0); /* it is sent; the store in memory has answered */
    store_forget(s, h);
    mortal_unref(&mortal);
    assert_int_equal(mortal.references, r->answers == 0 ? 1 : 0);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, is_mortal_gone));
}

static void
a_question_keeps_its_limits_until_the_answer(void **state)
{
    static const struct schedule_conf curve = {.name = "c", .first = 50, .growth_milli = 1400, .ceiling = LIMIT_UNLIMITED,
        .use_percent = 50};
    struct rig *r = *state;
    struct store *memory = store_memory_new(r->loop);

    add_limit(r, "warmup", LIMIT_WARMUP, UNIT_EXTERNAL, 0, 86400000);
    r->limits[0].schedule = &curve;
    r->limits[0].only = "contoso";
    begin(r, 1);
    lose_before_the_answer(r, r->nodes[0].store, charge_mortal);
    lose_before_the_answer(r, r->nodes[0].store, use_mortal);
    lose_before_the_answer(r, memory, charge_mortal);
    lose_before_the_answer(r, memory, use_mortal);
    r->answers = 0;
    use_mortal(r, memory); /* wanted, and asked by one who holds nothing */
    mortal_unref(&mortal);
    assert_int_equal(mortal.references, 1);
    assert_true(turn_until(r, answered));
    assert_true(turn_until(r, is_mortal_gone));
    store_free(&memory);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(counts_and_refuses),
        CASE(exactly_the_cap_under_concurrency),
        CASE(equal_charges_of_a_turn_are_one_question),
        CASE(survives_script_flush),
        CASE(redis_killed_and_back_with_its_data),
        CASE(lost_memory_closes_until_the_operator_opens),
        CASE(counters_after_a_charge_are_not_the_first),
        CASE(old_snapshot_is_lost_memory),
        CASE(lost_charges_of_a_dead_node_are_missed),
        CASE(a_snapshot_older_than_a_dead_nodes_charges_is_missed),
        CASE(a_snapshot_older_than_the_process_is_missed),
        CASE(a_snapshot_older_than_an_idle_process_is_good),
        CASE(a_time_before_own_charges_is_doubted_until_confirmed),
        CASE(a_time_before_own_charges_is_believed_once_it_passed_them),
        CASE(a_restarted_node_remembers),
        CASE(a_clock_jump_outlives_restart_and_reload),
        CASE(a_pause_reaches_all_and_outlives_flushall),
        CASE(timed_pauses_end),
        CASE(a_pause_before_redis_is_met_does_not_end_unseen),
        CASE(a_short_pause_of_all_mail_leaves_the_block),
        CASE(resume_ends_both_extents),
        CASE(the_pauses_of_a_turn_cost_one_write),
        CASE(a_flood_of_pauses_leaves_a_place_for_the_route),
        CASE(a_pause_redis_has_no_place_for_is_widened),
        CASE(the_lowest_cap_among_nodes_holds),
        CASE(the_longest_period_among_nodes_holds),
        CASE(after_a_silence_pauses_are_said_first),
        CASE(after_a_silence_one_node_goes_on),
        CASE(failing_charges_show_in_the_status),
        CASE(a_raised_cap_does_not_overtake_the_heartbeat),
        CASE(an_idle_node_does_not_lower_a_warmup),
        CASE(the_lower_curve_holds_at_every_step),
        CASE(the_lower_curve_holds_for_the_hour),
        CASE(the_upstreams_word_lowers_a_cap),
        CASE(slots_are_shared_and_freed),
        CASE(the_lowest_cap_of_slots_holds),
        CASE(a_limit_named_connections_is_not_that_of_slots),
        CASE(slots_outlive_flushall),
        CASE(a_deleted_counter_counts_as_full),
        CASE(a_deleted_counter_is_missed_beside_others),
        CASE(an_added_limit_begins_empty_where_counters_were_forgotten),
        CASE(a_longer_limit_does_not_where_its_counter_was),
        CASE(refunds_once),
        CASE(a_forgotten_charge_is_void_once),
        CASE(errors_are_no_decision),
        CASE(a_stopped_redis_times_out_and_late_scripts_do_nothing),
        CASE(usage_of_an_hour_cap_has_the_step_of_its_day),
        CASE(usage_after_midnight_is_that_of_the_new_day),
        CASE(a_step_back_is_told_until_redis_has_it),
        CASE(a_step_back_waits_for_a_connection),
        CASE(a_script_under_way_does_not_stretch_a_deadline),
        CASE(a_second_node_of_the_same_name_is_refused),
        CASE(a_copied_folder_is_refused),
        CASE(two_daemons_on_one_folder_are_refused),
        CASE(a_redis_that_may_forget_is_refused),
        CASE(all_keys_are_ours_and_mortal),
        CASE(one_sender_in_any_spelling),
        cmocka_unit_test(sender_instances_have_bounds),
        CASE(a_question_keeps_its_limits_until_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
