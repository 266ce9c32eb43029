#include "tests/lib/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"

bool
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

void
open_node(struct rig *r, size_t i)
{
    struct store_setup setup = {r->loop, r->dialer, r->metrics, r->nodes[i].name, r->nodes[i].folder,
        r->nodes[i].replaces};
    struct err err;

    r->nodes[i].store = store_redis_new(&setup, &r->conf, &err);
    if (!r->nodes[i].store)
        fail_msg("%s", err.text);
    store_set_limits(r->nodes[i].store, r->limits, r->n_limits);
}

bool
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

bool
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

bool
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

void
add_limit(struct rig *r, const char *name, enum limit_kind kind, enum limit_unit unit, uint64_t value,
    uint64_t period_ms)
{
    r->limits[r->n_limits++] = (struct limit_conf){.name = name, .kind = kind, .scope = SCOPE_ROUTE,
        .unit = unit, .value = value, .period_ms = period_ms, .burst = 5};
}

const char *const with_aof[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

int
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
    r->conf = (struct store_conf){.target = r->target, .group = "t{}x", .allow_volatile = true,
        .connect_ms = 500, .command_ms = 2000, .settle_ms = 0};
    for (size_t i = 0; i < NODES; i++) {
        snprintf(r->nodes[i].name, sizeof(r->nodes[i].name), "n%zu", i);
        snprintf(r->nodes[i].folder, sizeof(r->nodes[i].folder), "%s/n%zu-XXXXXX", r->server.folder, i);
        assert_non_null(mkdtemp(r->nodes[i].folder));
    }
    *state = r;
    return 0;
}

int
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

void
begin(struct rig *r, size_t nodes)
{
    for (size_t i = 0; i < nodes; i++)
        open_node(r, i);
    assert_true(turn_until(r, all_open));
}

/* A command of an operator at redis-cli. */
long long
cli(struct rig *r, const char *fmt, ...)
{
    redisContext *c = redisConnectUnix(r->server.socket);
    redisReply *reply;
    long long result;
    va_list ap;

    assert_true(c && c->err == 0);
    for (int64_t end = clock_mono_ms() + WAIT_MS;;) { /* it may have been started a moment ago */
        va_start(ap, fmt);
        reply = redisvCommand(c, fmt, ap);
        va_end(ap);
        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "LOADING", 7) != 0 ||
            clock_mono_ms() > end)
            break;
        freeReplyObject(reply);
        usleep(5000);
    }
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", fmt, reply->str);
    result = reply->type == REDIS_REPLY_INTEGER ? reply->integer : (long long)reply->elements;
    freeReplyObject(reply);
    redisFree(c);
    return result;
}

void
on_charge(void *arg, const struct verdict *v)
{
    struct rig *r = arg;

    r->verdict = *v;
    r->answers++;
    r->granted += v->kind == VERDICT_GRANTED ? v->granted : 0;
}

void
make_request(struct rig *r, uint32_t recipients, bool external, struct charge_request *out)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c{1}"),
        .sender = SPAN_LIT("a b\n@x{y}"), .sender_domain = SPAN_LIT("x"), .external = external,
        .recipients = recipients, .least = 1, .bytes = 100, .warmup_step = r->step};

    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, out), 0);
}

void
ask(struct rig *r, size_t node, uint32_t recipients)
{
    struct charge_request request;

    make_request(r, recipients, true, &request);
    store_charge(r->nodes[node].store, &request, on_charge, r);
}

bool
answered(struct rig *r)
{
    return r->answers > 0;
}

enum verdict_kind
charge(struct rig *r, size_t node, uint32_t recipients)
{
    r->answers = r->granted = 0;
    ask(r, node, recipients);
    assert_int_equal(r->answers, 0); /* never during the call */
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

void
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

void
start_lease(struct rig *r, size_t node, uint64_t cap)
{
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", cap};

    store_lease_take(r->nodes[node].store, &request, on_lease, r);
}

bool
take_lease(struct rig *r, size_t node, uint64_t cap)
{
    r->answers = 0;
    start_lease(r, node, cap);
    assert_true(turn_until(r, answered));
    return r->ok;
}

void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct rig *r = arg;

    assert_int_equal(n, 1);
    r->ok = ok;
    r->error = error;
    r->usage = *usage;
    r->answers++;
}

const struct usage *
use(struct rig *r, size_t node, size_t limit)
{
    struct usage wanted = {.limit = &r->limits[limit], .instance = "contoso", .cap = r->limits[limit].value};

    r->answers = 0;
    store_usage(r->nodes[node].store, &wanted, 1, on_usage, r);
    assert_true(turn_until(r, answered));
    assert_true(r->ok);
    return &r->usage;
}

void
turn_for(struct rig *r, int64_t ms)
{
    for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        loop_turn(r->loop, 20);
}

long long
commands_run(struct rig *r, const char *command)
{
    redisContext *c = redisConnectUnix(r->server.socket);
    redisReply *reply = redisCommand(c, "INFO commandstats");
    char name[64];
    const char *at;
    long long calls;

    snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
    at = strstr(reply->str, name);
    calls = at ? atoll(at + strlen(name)) : 0;
    freeReplyObject(reply);
    redisFree(c);
    return calls;
}

long long
scripts_run(struct rig *r)
{
    return commands_run(r, "evalsha");
}

bool
node_0_sees_2(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.nodes == 2 && s.differs[0] != '\0';
}
