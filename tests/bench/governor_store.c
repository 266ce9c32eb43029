/* Charges through the store of the daemon, from one loop: each node has its own connection and journal, as
 * if it were a process of its own, and shares this one's core. */
#include <string.h>
#include <sys/stat.h>

#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/net/dial.h"
#include "relay/net/loop.h"
#include "relay/net/resolver.h"
#include "relay/store/store.h"
#include "tests/bench/governor.h"
#include "tests/bench/hist.h"

#define OPEN_WITHIN_MS 15000

struct fleet;

struct bench_node {
    struct fleet *fleet;
    struct store *store;
    char name[16], folder[256];
};

/* One question under way; used again for the next. */
struct question {
    struct bench_node *node;
    uint64_t asked_ns;
};

struct fleet {
    const struct governor *g;
    struct metrics *metrics;
    struct loop *loop;
    struct resolver *resolver;
    struct dialer *dialer;
    struct bench_node nodes[GOVERNOR_NODES_MAX];
    unsigned n;
    struct question questions[GOVERNOR_NODES_MAX * 128];
    uint64_t asked, answered, ops, senders;
    struct hist hist;
};

static bool
is_open(const struct fleet *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        struct store_status s;

        store_status(f->nodes[i].store, &s);
        if (!s.up || s.closed_for_ms != 0)
            return false;
    }
    return true;
}

static void
open_node(struct fleet *f, unsigned i)
{
    struct bench_node *node = &f->nodes[i];
    struct store_setup setup = {.loop = f->loop, .dialer = f->dialer, .metrics = f->metrics,
        .node = node->name, .state_folder = node->folder};
    struct store_conf conf = {.group = GOVERNOR_GROUP, .allow_volatile = true, .connect_ms = 2000,
        .command_ms = 10000};
    char target[256];
    size_t n_limits;
    const struct limit_conf *limits = governor_limits(&n_limits);
    struct err err;

    snprintf(target, sizeof(target), "unix:%s", f->g->socket);
    conf.target = target;
    node->fleet = f;
    snprintf(node->name, sizeof(node->name), "node-%u", i);
    snprintf(node->folder, sizeof(node->folder), "%s/node-%u", f->g->folder, i);
    mkdir(node->folder, 0700);
    node->store = store_redis_new(&setup, &conf, &err);
    if (!node->store)
        governor_die(node->folder, err.text);
    store_set_limits(node->store, limits, n_limits);
}

static void
fleet_init(struct fleet *f, const struct governor *g, unsigned nodes)
{
    int64_t until = clock_mono_ms() + OPEN_WITHIN_MS;
    struct err err;

    memset(f, 0, sizeof(*f));
    f->g = g;
    f->metrics = metrics_new();
    f->loop = loop_new(f->metrics, &err);
    f->resolver = f->loop ? resolver_new(f->loop, &err) : NULL;
    if (!f->resolver)
        governor_die("loop", err.text);
    f->dialer = dialer_new(f->loop, f->resolver);
    for (; f->n < nodes; f->n++)
        open_node(f, f->n);
    while (!is_open(f)) {
        if (clock_mono_ms() > until)
            governor_die("the nodes", "not open in time");
        loop_turn(f->loop, 10);
    }
}

static void
fleet_fini(struct fleet *f)
{
    for (unsigned i = 0; i < f->n; i++)
        store_free(&f->nodes[i].store);
    dialer_free(&f->dialer);
    resolver_free(&f->resolver);
    loop_turn(f->loop, 0);
    loop_free(&f->loop);
    metrics_free(&f->metrics);
}

static void on_charge(void *arg, const struct verdict *verdict);

static void
ask(struct question *q)
{
    struct fleet *f = q->node->fleet;
    struct charge_request request;

    governor_request(f->g, f->asked++ % f->senders, &request);
    q->asked_ns = governor_now_ns();
    store_charge(q->node->store, &request, on_charge, q);
}

static void
on_charge(void *arg, const struct verdict *verdict)
{
    struct question *q = arg;
    struct fleet *f = q->node->fleet;

    if (verdict->kind != VERDICT_GRANTED)
        governor_die("a charge was not granted", verdict->kind == VERDICT_NO_DECISION
                ? store_error_to_str(verdict->error) : verdict_kind_to_str(verdict->kind));
    hist_add(&f->hist, (governor_now_ns() - q->asked_ns) / 1000);
    f->answered++;
    if (f->asked < f->ops)
        ask(q);
}

void
governor_store_begin(const struct governor *g, unsigned nodes)
{
    static struct fleet f;

    fleet_init(&f, g, nodes);
    fleet_fini(&f);
}

void
governor_store_run(const struct governor *g, unsigned nodes, unsigned depth, uint64_t ops, uint64_t senders,
    struct governor_result *out)
{
    static struct fleet f;
    uint64_t began_ns, server_ns;

    fleet_init(&f, g, nodes);
    f.ops = ops;
    f.senders = senders;
    server_ns = governor_server_ns(g);
    began_ns = governor_now_ns();
    for (unsigned i = 0; i < nodes * depth && f.asked < ops; i++) {
        f.questions[i].node = &f.nodes[i % nodes];
        ask(&f.questions[i]);
    }
    while (f.answered < f.ops)
        loop_turn(f.loop, 100);
    *out = (struct governor_result){.ops = ops, .wall_ns = governor_now_ns() - began_ns,
        .server_ns = governor_server_ns(g) - server_ns, .p50_us = hist_quantile(&f.hist, 500),
        .p99_us = hist_quantile(&f.hist, 990)};
    fleet_fini(&f);
}
