#include "relay/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "relay/admin/admin.h"
#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/config/config.h"
#include "relay/config/preflight.h"
#include "relay/flow/connections.h"
#include "relay/flow/flow.h"
#include "relay/front/front.h"
#include "relay/net/dial.h"
#include "relay/net/inherited.h"
#include "relay/net/worker.h"
#include "relay/predecessor.h"
#include "relay/process.h"
#include "relay/store/store.h"
#include "relay/upgrade.h"
#include "relay/upstream/upstream.h"

#define WORKER_THREADS 2
#define WORKER_QUEUE_MAX 256
#define UPSTREAM_QUIT_MS 5000
#define IN_FLIGHT_LOOK_MS 200
#define READY_WAIT_MS 10000
#define READY_LOOK_MS 10

enum daemon_state {
    DAEMON_STARTING, /* in the place of another process: nobody is served yet */
    DAEMON_RUNNING,
    DAEMON_RETIRING, /* another process serves; as DRAINING, but a silent client has some time more */
    DAEMON_DRAINING, /* no new sessions; ends when all are gone or the deadline passed */
};

struct daemon {
    struct daemon_start start;
    struct config *config;
    enum daemon_state state;
    int status; /* to exit with */
    int lock_fd;
    struct metrics *metrics;
    struct loop *loop;
    struct worker *worker;
    struct resolver *resolver;
    struct dialer *dialer;
    struct store *store;
    struct upstream *upstream;
    struct flow *flow;
    struct front *front;
    struct admin *admin;
    struct upgrade *upgrade;
    struct timer watchdog;
    struct timer ready;   /* in the place of another process: when is the store there? */
    int64_t ready_until_mono_ms;
    struct timer give_up; /* draining: QUIT is not waited for longer */
    int64_t drain_until_mono_ms;
};

static void
log_note(void *arg, const char *position, const char *text)
{
    (void)arg;
    log_text(LOG_WARNING, "config", "%s: %s", position, text);
}

/* What the operator should hear whenever a configuration comes into force. */
static void
publish_config(struct daemon *d)
{
    metric_reset(d->metrics, M_CONFIG_INFO);
    metric_set(d->metrics, M_CONFIG_INFO, 1, d->config->hash, NULL, NULL);
    for (size_t i = 0; i < d->config->n_warnings; i++)
        log_note(d, d->config->warnings[i].position, d->config->warnings[i].text);
}

/* ---- reload: wholly or not at all ---- */

static const char *
yes_no(bool b)
{
    return b ? "true" : "false";
}

static int
check_fixed(const struct config *old, const struct config *new, struct err *err)
{
    const struct {
        const char *key, *was, *is;
    } fixed[] = {
        {"state", old->state, new->state},
        {"node", old->node, new->node},
        {"user", old->user, new->user},
        {"spool.enabled", yes_no(old->spool.enabled), yes_no(new->spool.enabled)},
        {"spool.folder", old->spool.folder, new->spool.folder},
    };

    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (strcmp(fixed[i].was, fixed[i].is) != 0) {
            err_set(err, "%s changed from %s to %s; that needs a restart", fixed[i].key, fixed[i].was,
                fixed[i].is);
            return config_locate(new, fixed[i].key, err);
        }
    return 0;
}

/* What each part prepared for a new configuration, beside what is in force. */
struct plans {
    struct front_plan *front;
    struct upstream_plan *upstream;
    struct store_plan *store;
    struct admin_plan *admin;
};

/* Everything that may fail, and changes nothing: a file, a certificate, an address in use. */
static int
prepare(struct daemon *d, struct config *c, struct plans *p, struct err *err)
{
    p->front = front_prepare(d->front, c, err);
    if (p->front == NULL)
        return -1;
    p->upstream = upstream_prepare(c->routes, c->n_routes, c->mailboxes, c->n_mailboxes, err);
    if (p->upstream == NULL)
        return -1;
    p->store = store_prepare(d->store, &c->store, err);
    if (p->store == NULL)
        return -1;
    p->admin = admin_prepare(d->admin, c, err);
    return p->admin != NULL ? 0 : -1;
}

static void
discard(struct daemon *d, struct plans *p)
{
    admin_discard(d->admin, &p->admin);
    store_discard(d->store, &p->store);
    upstream_discard(&p->upstream);
    front_discard(d->front, &p->front);
}

/* Nothing of this can fail, so nothing is ever taken back. */
static void
commit(struct daemon *d, struct config *c, struct plans *p)
{
    upstream_commit(d->upstream, &p->upstream);
    store_commit(d->store, &p->store);
    admin_commit(d->admin, &p->admin);
    flow_configure(d->flow, c);
    front_commit(d->front, &p->front);
    config_unref(&d->config);
    d->config = config_ref(c);
    log_setup(c->log_level, c->log_format);
}

static int
apply(struct daemon *d, struct config *new, struct err *err)
{
    struct plans plans = {0};

    if (check_fixed(d->config, new, err) != 0 || config_preflight(new, log_note, d, err) != 0)
        return -1;
    if (prepare(d, new, &plans, err) != 0) {
        discard(d, &plans);
        return -1;
    }
    commit(d, new, &plans);
    publish_config(d);
    return 0;
}

static void
log_reload(const struct daemon *d, const char *actor, const char *error)
{
    struct log_line l;

    log_begin(&l, error != NULL ? LOG_ERROR : LOG_NOTICE, error != NULL ? "reload-refused" : "reload");
    log_cstr(&l, "actor", actor);
    if (error != NULL)
        log_cstr(&l, "msg", error);
    else
        log_cstr(&l, "hash", d->config->hash);
    log_end(&l);
}

static int
reload(void *arg, const char *actor, struct err *err)
{
    struct daemon *d = arg;
    struct config *new = NULL;
    int rc;

    /* It would open again the listeners that were just closed, or that were handed over. */
    if (d->state == DAEMON_RETIRING || d->state == DAEMON_DRAINING)
        (void)err_set(err, "the daemon is about to end");
    else if (d->state == DAEMON_STARTING || upgrade_is_under_way(d->upgrade))
        (void)err_set(err, "an upgrade is under way; its new process reads the configuration");
    else
        new = config_load(d->config->file, err);
    if (new == NULL) {
        log_reload(d, actor, err->text);
        return -1;
    }
    process_notify("RELOADING=1");
    rc = apply(d, new, err);
    config_unref(&new);
    process_notify("READY=1");
    log_reload(d, actor, rc != 0 ? err->text : NULL);
    return rc;
}

/* ---- the end ---- */

/* The answer to what was offered is worth more than a clean QUIT: without it a message is uncertain. */
static void
on_gave_up(void *arg)
{
    struct daemon *d = arg;
    struct flow_status flow;

    flow_status(d->flow, &flow);
    if (flow.in_flight > 0 && clock_mono_ms() < d->drain_until_mono_ms)
        timer_start(&d->give_up, IN_FLIGHT_LOOK_MS);
    else
        loop_stop(d->loop);
}

static void
on_upstream_drained(void *arg)
{
    struct daemon *d = arg;

    loop_stop(d->loop);
}

static void
on_front_drained(void *arg)
{
    struct daemon *d = arg;

    timer_start(&d->give_up, UPSTREAM_QUIT_MS);
    upstream_drain(d->upstream, on_upstream_drained, d);
}

static void
begin_end(struct daemon *d, enum daemon_state state)
{
    d->state = state;
    d->drain_until_mono_ms = clock_mono_ms() + d->config->drain_ms;
    flow_stop_release(d->flow);
}

/* Told to end although it is about to: no more time for silent clients, but messages have theirs. */
static void
hasten(struct daemon *d)
{
    int64_t left_ms = d->drain_until_mono_ms - clock_mono_ms();

    d->state = DAEMON_DRAINING;
    log_text(LOG_NOTICE, "drain", "messages under way have %lld ms", (long long)(left_ms > 0 ? left_ms : 0));
    front_drain(d->front, left_ms > 0 ? (int)left_ms : 0, on_front_drained, d);
}

static void
drain(void *arg)
{
    struct daemon *d = arg;

    if (d->state == DAEMON_DRAINING)
        return;
    if (d->state == DAEMON_RETIRING) {
        hasten(d);
        return;
    }
    if (d->state == DAEMON_STARTING) {
        loop_stop(d->loop);
        return;
    }
    upgrade_cancel(d->upgrade);
    begin_end(d, DAEMON_DRAINING);
    admin_set_draining(d->admin);
    log_text(LOG_NOTICE, "drain", "no new connections; messages under way have %d ms", d->config->drain_ms);
    process_notify("STOPPING=1");
    front_drain(d->front, d->config->drain_ms, on_front_drained, d);
}

/* Another process serves on the same sockets: nobody is refused. */
static void
retire(void *arg)
{
    struct daemon *d = arg;

    begin_end(d, DAEMON_RETIRING);
    timer_stop(&d->watchdog);
    admin_hand_over(d->admin);
    front_retire(d->front, d->config->drain_ms, on_front_drained, d);
}

/* Of three processes the last might get the spool from the first, and what the one between them has promised
 * to store would be refused. */
static const char *
why_no_upgrade(const struct daemon *d)
{
    if (d->state == DAEMON_STARTING)
        return "this process does not serve yet";
    if (d->state != DAEMON_RUNNING)
        return "the daemon is about to end";
    if (flow_awaits_spool(d->flow))
        return "the process this one took the place of still has the spool: try again when it has ended";
    return NULL;
}

static void
upgrade(struct daemon *d)
{
    const char *why = why_no_upgrade(d);
    struct err err;
    int rc = why != NULL ? err_set(&err, "%s", why) : upgrade_begin(d->upgrade, d->config, &err);

    if (rc != 0)
        log_text(LOG_ERROR, "upgrade-refused", "%s", err.text);
}

static void
on_signal(void *arg, int signo)
{
    struct daemon *d = arg;
    struct err err;

    if (signo == SIGHUP)
        (void)reload(d, "SIGHUP", &err);
    else if (signo == SIGUSR2)
        upgrade(d);
    else if (d->state == DAEMON_DRAINING)
        loop_stop(d->loop);
    else
        drain(d);
}

static void
on_watchdog(void *arg)
{
    struct daemon *d = arg;

    process_notify("WATCHDOG=1");
    timer_start(&d->watchdog, process_watchdog_ms());
}

/* ---- in the place of another process ---- */

static int go_live(struct daemon *d, struct err *err);

static void
on_pause_of_predecessor(void *arg, struct span line)
{
    struct daemon *d = arg;

    store_hear_pause(d->store, line);
}

static void
on_predecessor_gone(void *arg, const char *identity)
{
    struct daemon *d = arg;

    flow_disown(d->flow, identity);
}

static const struct predecessor_ops predecessor_ops = {on_pause_of_predecessor, on_predecessor_gone};

/* The other process hears why, and goes on. */
static void
give_place_back(struct daemon *d, const char *why)
{
    log_text(LOG_ERROR, "start", "%s", why);
    predecessor_tell_failed(d->start.predecessor, why);
    d->status = 1;
    loop_stop(d->loop);
}

static void
on_ready(void *arg)
{
    struct daemon *d = arg;
    struct store_status store;
    struct err err;

    store_status(d->store, &store);
    if (!store.up && clock_mono_ms() >= d->ready_until_mono_ms) {
        (void)err_set(&err, "Redis cannot be reached by the new process: %s", store.detail);
        give_place_back(d, err.text);
    } else if (!store.up)
        timer_start(&d->ready, READY_LOOK_MS);
    else if (go_live(d, &err) != 0)
        give_place_back(d, err.text);
    else
        predecessor_tell_running(d->start.predecessor);
}

/* Without the store it would refuse what the other one would take. */
static void
take_place(struct daemon *d)
{
    d->ready_until_mono_ms = clock_mono_ms() + READY_WAIT_MS;
    predecessor_listen(d->start.predecessor, d->loop, &predecessor_ops, d);
    on_ready(d);
}

/* ---- the beginning ---- */

static int
make_store(struct daemon *d, struct err *err)
{
    struct store_setup setup = {.loop = d->loop, .dialer = d->dialer, .metrics = d->metrics,
        .node = d->config->node, .state_folder = d->config->state, .replaces = d->start.predecessor != NULL};

    d->store = store_redis_new(&setup, &d->config->store, err);
    return d->store == NULL ? -1 : 0;
}

static int
make_upstream_and_flow(struct daemon *d, struct err *err)
{
    struct config *c = d->config;
    struct upstream_setup upstream = {d->loop, d->dialer, connections_of(d->store), d->metrics,
        c->front.hostname};
    struct flow_setup flow;

    d->upstream = upstream_new(&upstream);
    flow = (struct flow_setup){.loop = d->loop, .store = d->store, .upstream = d->upstream,
        .metrics = d->metrics, .inherits_spool = d->start.predecessor != NULL};
    d->flow = flow_new(&flow);
    if (upstream_configure(d->upstream, c->routes, c->n_routes, c->mailboxes, c->n_mailboxes, err) != 0)
        return -1;
    if (c->spool.enabled && flow_open_spool(d->flow, &c->spool, err) != 0)
        return config_locate(c, "spool.folder", err);
    flow_configure(d->flow, c);
    return 0;
}

static int
make_front(struct daemon *d, struct err *err)
{
    struct front_setup setup = {.loop = d->loop, .worker = d->worker, .flow = d->flow,
        .metrics = d->metrics, .inherited = d->start.inherited, .waits = d->start.predecessor != NULL};
    struct front_plan *plan;

    d->front = front_new(&setup);
    plan = front_prepare(d->front, d->config, err);
    if (plan == NULL)
        return -1;
    front_commit(d->front, &plan);
    return 0;
}

static int
make_admin(struct daemon *d, struct err *err)
{
    struct admin_setup setup = {.loop = d->loop, .store = d->store, .upstream = d->upstream,
        .flow = d->flow, .front = d->front, .metrics = d->metrics, .inherited = d->start.inherited, .arg = d,
        .reload = reload, .drain = drain};

    d->admin = admin_new(&setup, d->config, err);
    return d->admin == NULL ? -1 : 0;
}

static int
watch_signals(struct daemon *d, struct err *err)
{
    const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR2};

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (loop_on_signal(d->loop, signals[i], on_signal, d, err) != 0)
            return -1;
    process_release_signals();
    return 0;
}

/* What only root may read was read; the next reload has to do without. What root made is the user's. */
static int
drop_root(const struct config *c, struct err *err)
{
    static const char *const made[] = {"lock", "store.journal"};
    bool was_root = geteuid() == 0;

    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        if (process_give_state(c->state, made[i], c->user, err) != 0)
            return config_locate(c, "state", err);
    if (c->spool.enabled && process_give_spool(c->spool.folder, c->user, err) != 0)
        return config_locate(c, "spool.folder", err);
    if (process_drop_root(c->user, err) != 0)
        return config_locate(c, "user", err);
    if (was_root)
        config_note_denied(c, log_note, NULL);
    return 0;
}

static int
lock_state(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;

    d->lock_fd = d->start.predecessor != NULL ? predecessor_take_lock(d->start.predecessor, c->state, err)
                                              : process_lock_state(c->state, c->user, err);
    return d->lock_fd >= 0 ? 0 : config_locate(c, "state", err);
}

/* Nothing that the other process still has is touched before it said so. */
static int
ask_predecessor(struct daemon *d, struct err *err)
{
    char identity[UPGRADE_IDENTITY_MAX];

    if (d->start.predecessor == NULL)
        return 0;
    upgrade_identity(d->config, identity);
    return predecessor_ask(d->start.predecessor, identity, err);
}

/* The last step of the start: from here on it answers its operator and, where that was held back, clients. */
static int
go_live(struct daemon *d, struct err *err)
{
    struct upgrade_setup upgrade = {.loop = d->loop, .store = d->store, .flow = d->flow,
        .front = d->front, .argv = d->start.argv, .lock = d->lock_fd, .replaced = retire, .arg = d};

    if (make_admin(d, err) != 0)
        return -1;
    upgrade.admin = d->admin;
    d->upgrade = upgrade_new(&upgrade);
    d->state = DAEMON_RUNNING;
    front_open(d->front);
    inherited_close_rest(d->start.inherited);
    return 0;
}

/* Ports below 1024 and files of root are opened first. Threads start when root is gone; connections are
 * made and taken with the first turn of the loop, which is later still. */
static int
make_parts(struct daemon *d, struct err *err)
{
    if (config_preflight(d->config, log_note, d, err) != 0)
        return -1;
    if (lock_state(d, err) != 0)
        return -1;
    d->metrics = metrics_new();
    d->loop = loop_new(d->metrics, err);
    if (d->loop == NULL || watch_signals(d, err) != 0)
        return -1;
    timer_init(&d->watchdog, d->loop, on_watchdog, d);
    timer_init(&d->ready, d->loop, on_ready, d);
    timer_init(&d->give_up, d->loop, on_gave_up, d);
    d->worker = worker_new(d->loop, WORKER_QUEUE_MAX, err);
    if (d->worker == NULL)
        return -1;
    d->resolver = resolver_new(d->loop, err);
    if (d->resolver == NULL)
        return -1;
    d->dialer = dialer_new(d->loop, d->resolver);
    if (ask_predecessor(d, err) != 0)
        return -1;
    if (make_store(d, err) != 0 || make_upstream_and_flow(d, err) != 0 || make_front(d, err) != 0)
        return -1;
    if (d->start.predecessor == NULL && go_live(d, err) != 0)
        return -1;
    if (drop_root(d->config, err) != 0)
        return -1;
    if (flow_start_spool(d->flow, err) != 0)
        return -1;
    return worker_start(d->worker, WORKER_THREADS, err);
}

struct daemon *
daemon_new(const struct daemon_start *start, struct err *err)
{
    struct daemon *d = xcalloc(1, sizeof(*d));

    d->start = *start;
    d->config = config_ref(start->config);
    d->lock_fd = -1;
    log_setup(d->config->log_level, d->config->log_format);
    (void)process_raise_descriptors();
    if (make_parts(d, err) != 0)
        daemon_free(&d);
    return d;
}

int
daemon_run(struct daemon *d)
{
    metric_set(d->metrics, M_BUILD_INFO, 1, PACKAGE_VERSION, NULL, NULL);
    publish_config(d);
    log_text(LOG_NOTICE, "start", "sendgovd " PACKAGE_VERSION ", node %s, configuration %s of %s",
        d->config->node, d->config->hash, d->config->file);
    process_notify("READY=1");
    if (process_watchdog_ms() > 0)
        on_watchdog(d);
    if (d->start.predecessor != NULL)
        take_place(d);
    if (loop_run(d->loop) != 0)
        return 1;
    log_text(LOG_NOTICE, "stop", "sendgovd ends");
    return d->status;
}

void
daemon_free(struct daemon **dp)
{
    struct daemon *d = *dp;

    if (d == NULL)
        return;
    process_hold_signals(); /* with the loop go the handlers */
    if (d->loop != NULL && d->metrics != NULL) {
        admin_free(&d->admin);
        front_free(&d->front);
        flow_free(&d->flow);
        upstream_free(&d->upstream);
        store_free(&d->store);
        upgrade_free(&d->upgrade); /* the store's last words may be for the successor */
        if (d->start.predecessor != NULL)
            predecessor_unlisten(d->start.predecessor);
        dialer_free(&d->dialer);
        resolver_free(&d->resolver);
        worker_free(&d->worker);
        loop_free(&d->loop);
    }
    metrics_free(&d->metrics);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    config_unref(&d->config);
    free(d);
    *dp = NULL;
}
