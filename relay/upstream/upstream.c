/* The front door: finding the pool of a route and mailbox, taking a new configuration, draining, status. */
#include "relay/upstream/upstream.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "relay/upstream/pool.h"

static void
on_fail_hopeless(void *arg)
{
    struct upstream *up = arg;
    struct lease_failure f = {.phase = TX_CONNECT};
    struct list failing;

    snprintf(f.detail, sizeof(f.detail), "%s",
        up->drained != NULL ? "this node is being stopped"
                            : "the route or mailbox is not configured any more");
    list_init(&failing);
    while (!list_is_empty(&up->hopeless))
        list_add_tail(&failing, list_pop(&up->hopeless));
    while (!list_is_empty(&failing))
        lease_end(LIST_ITEM(failing.next, struct lease, link), NULL, &f);
}

static void
on_tell_drained(void *arg)
{
    struct upstream *up = arg;

    up->drained(up->drained_arg);
}

struct upstream *
upstream_new(const struct upstream_setup *setup)
{
    struct upstream *up = xcalloc(1, sizeof(*up));

    up->setup = *setup;
    up->hostname = xstrdup(setup->hostname);
    slot_keeper_init(&up->slots, setup->loop, &setup->slots);
    list_init(&up->seen);
    list_init(&up->pools);
    list_init(&up->hopeless);
    slots_init(&up->leases);
    task_init(&up->fail_hopeless, on_fail_hopeless, up);
    task_init(&up->tell_drained, on_tell_drained, up);
    buf_init(&up->out);
    up->chunk = xmalloc(BODY_CHUNK);
    return up;
}

static void
seen_free(struct route_seen *seen)
{
    list_del(&seen->link);
    tls_ctx_unref(&seen->tls);
    free(seen->name);
    free(seen->target);
    free(seen);
}

void
upstream_free(struct upstream **u)
{
    struct upstream *up = *u;

    *u = NULL;
    if (up == NULL)
        return;
    up->drained = NULL;
    LIST_EACH_SAFE(it, &up->pools)
        pool_destroy(LIST_ITEM(it, struct pool, link));
    while (!list_is_empty(&up->hopeless))
        lease_end(LIST_ITEM(up->hopeless.next, struct lease, link), NULL, NULL);
    LIST_EACH_SAFE(it, &up->seen)
        seen_free(LIST_ITEM(it, struct route_seen, link));
    slot_keeper_fini(&up->slots);
    task_cancel(&up->fail_hopeless);
    task_cancel(&up->tell_drained);
    slots_fini(&up->leases);
    buf_fini(&up->out);
    free(up->chunk);
    free(up->hostname);
    free(up);
}

/* ---- configuration ---- */

static const struct route_conf *
find_route(const struct upstream *up, const char *name)
{
    for (size_t i = 0; i < up->n_routes; i++)
        if (strcmp(up->routes[i].name, name) == 0)
            return &up->routes[i];
    return NULL;
}

static const struct mailbox_conf *
find_mailbox(const struct upstream *up, const char *name)
{
    for (size_t i = 0; i < up->n_mailboxes; i++)
        if (strcmp(up->mailboxes[i].name, name) == 0)
            return &up->mailboxes[i];
    return NULL;
}

static struct route_seen *
find_seen(const struct list *list, const char *name)
{
    LIST_EACH(it, list) {
        struct route_seen *seen = LIST_ITEM(it, struct route_seen, link);

        if (strcmp(seen->name, name) == 0)
            return seen;
    }
    return NULL;
}

struct upstream_plan {
    const struct route_conf *routes;
    size_t n_routes;
    const struct mailbox_conf *mailboxes;
    size_t n_mailboxes;
    struct list seen; /* of these routes: nothing yet, but with their TLS contexts */
};

static int
seen_new(const struct route_conf *route, struct list *list, struct err *err)
{
    struct tls_client_conf tls = {.ca_file = route->tls_ca_file, .cert_file = route->tls_cert_file,
        .key_file = route->tls_key_file, .verify = route->tls_verify};
    struct route_seen *seen = xcalloc(1, sizeof(*seen));

    list_add_tail(list, &seen->link);
    seen->name = xstrdup(route->name);
    seen->target = xstrdup(route->upstream);
    seen->eightbitmime = true; /* until it is seen: the connection itself is asked before the charge */
    if (route->tls == UPSTREAM_TLS_OFF)
        return 0;
    seen->tls = tls_client_ctx_new(&tls, err);
    return seen->tls != NULL ? 0 : -1;
}

/* What is known of the route so far is kept as long as it goes to the same place. */
static void
seen_inherit(struct route_seen *seen, const struct list *old_list)
{
    const struct route_seen *old = find_seen(old_list, seen->name);

    if (old == NULL || strcmp(old->target, seen->target) != 0)
        return;
    seen->size_max = old->size_max;
    seen->eightbitmime = old->eightbitmime;
}

static struct pool *
pool_for(struct upstream *up, const struct route_conf *route, const struct mailbox_conf *mailbox)
{
    struct pool_conf *conf = pool_conf_new(route, mailbox, up->hostname);
    struct pool *pool = pool_new(up, conf, find_seen(&up->seen, route->name));

    pool->route = route;
    pool->mailbox = mailbox;
    return pool;
}

/* Keeps a pool whose settings are the same (new connections use the TLS files as they are now), else
 * replaces it. */
static void
reconfigure_pool(struct upstream *up, struct pool *pool)
{
    const struct route_conf *route = find_route(up, pool->conf->route);
    const char *name = pool->conf->mailbox;
    const struct mailbox_conf *mailbox = name != NULL ? find_mailbox(up, name) : NULL;
    struct pool_conf *conf;
    bool same;

    if (route == NULL || (name != NULL && mailbox == NULL)) {
        pool_drain(pool, NULL);
        return;
    }
    conf = pool_conf_new(route, mailbox, up->hostname);
    same = pool_conf_eq(conf, pool->conf);
    pool_conf_free(&conf);
    if (!same) {
        struct pool *successor = pool_for(up, route, mailbox);

        if (pool_conf_same_identity(successor->conf, pool->conf))
            pace_inherit(&successor->pace, &pool->pace);
        pool_drain(pool, successor);
        return;
    }
    pool->route = route;
    pool->mailbox = mailbox;
    pool->seen = find_seen(&up->seen, route->name);
    tls_ctx_unref(&pool->tls);
    pool->tls = pool->seen->tls != NULL ? tls_ctx_ref(pool->seen->tls) : NULL;
}

static void
move_list(struct list *from, struct list *to)
{
    while (!list_is_empty(from))
        list_add_tail(to, list_pop(from));
}

struct upstream_plan *
upstream_prepare(const struct route_conf *routes, size_t n_routes, const struct mailbox_conf *mailboxes,
    size_t n_mailboxes, struct err *err)
{
    struct upstream_plan *plan = xcalloc(1, sizeof(*plan));

    plan->routes = routes;
    plan->n_routes = n_routes;
    plan->mailboxes = mailboxes;
    plan->n_mailboxes = n_mailboxes;
    list_init(&plan->seen);
    for (size_t i = 0; i < n_routes && plan != NULL; i++)
        if (seen_new(&routes[i], &plan->seen, err) != 0)
            upstream_discard(&plan);
    return plan;
}

void
upstream_discard(struct upstream_plan **plan)
{
    if (*plan == NULL)
        return;
    LIST_EACH_SAFE(it, &(*plan)->seen)
        seen_free(LIST_ITEM(it, struct route_seen, link));
    free(*plan);
    *plan = NULL;
}

void
upstream_commit(struct upstream *up, struct upstream_plan **plan)
{
    struct upstream_plan *p = *plan;
    struct list old;

    list_init(&old);
    LIST_EACH(it, &p->seen)
        seen_inherit(LIST_ITEM(it, struct route_seen, link), &up->seen);
    move_list(&up->seen, &old);
    move_list(&p->seen, &up->seen);
    up->routes = p->routes;
    up->n_routes = p->n_routes;
    up->mailboxes = p->mailboxes;
    up->n_mailboxes = p->n_mailboxes;
    LIST_EACH_SAFE(it, &up->pools)
        if (LIST_ITEM(it, struct pool, link)->state == POOL_OPEN)
            reconfigure_pool(up, LIST_ITEM(it, struct pool, link));
    move_list(&old, &p->seen); /* goes with the plan */
    upstream_discard(plan);
}

int
upstream_configure(struct upstream *up, const struct route_conf *routes, size_t n_routes,
    const struct mailbox_conf *mailboxes, size_t n_mailboxes, struct err *err)
{
    struct upstream_plan *plan = upstream_prepare(routes, n_routes, mailboxes, n_mailboxes, err);

    if (plan == NULL)
        return -1;
    upstream_commit(up, &plan);
    return 0;
}

/* ---- leases ---- */

static bool
same_name(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* By the pointers of the configuration in force; by name for a message that was planned with an older one.
 * What is found goes to the front, where it is found at once next time. */
static struct pool *
find_pool(const struct upstream *up, const struct route_conf *route, const struct mailbox_conf *mailbox)
{
    LIST_EACH(it, &up->pools) {
        struct pool *pool = LIST_ITEM(it, struct pool, link);

        if (pool->state == POOL_OPEN && pool->route == route && pool->mailbox == mailbox)
            return pool;
    }
    LIST_EACH(it, &up->pools) {
        struct pool *pool = LIST_ITEM(it, struct pool, link);

        if (pool->state == POOL_OPEN && strcmp(pool->conf->route, route->name) == 0
            && same_name(pool->conf->mailbox, mailbox != NULL ? mailbox->name : NULL))
            return pool;
    }
    return NULL;
}

/* NULL: not configured, or stopping. */
static struct pool *
find_or_make_pool(struct upstream *up, const struct route_conf *route, const struct mailbox_conf *mailbox)
{
    struct pool *pool = find_pool(up, route, mailbox);

    if (up->drained != NULL)
        return NULL;
    if (pool == NULL) {
        const struct route_conf *r = find_route(up, route->name);
        const struct mailbox_conf *m = mailbox != NULL ? find_mailbox(up, mailbox->name) : NULL;

        /* A mailbox that is gone must not become "none": that would be another identity. One that is another
         * route's now must not tell its password here. */
        if (m != NULL && strcmp(m->route, route->name) != 0)
            m = NULL;
        pool = r != NULL && (m != NULL || mailbox == NULL) ? pool_for(up, r, m) : NULL;
    } else if (up->pools.next != &pool->link) {
        list_del(&pool->link);
        list_add_head(&up->pools, &pool->link);
    }
    return pool;
}

struct handle
upstream_lease(struct upstream *up, const struct route_conf *route, const struct mailbox_conf *mailbox,
    int deadline_ms, upstream_lease_fn *done, void *arg)
{
    struct pool *pool = find_or_make_pool(up, route, mailbox);
    struct lease *lease = xcalloc(1, sizeof(*lease));

    lease->up = up;
    lease->due_mono_ms = loop_now_ms(up->setup.loop) + deadline_ms;
    lease->done = done;
    lease->arg = arg;
    lease->self = slots_add(&up->leases, lease);
    if (pool != NULL) {
        pool_add_lease(pool, lease);
        return lease->self;
    }
    timer_init(&lease->deadline, up->setup.loop, NULL, NULL);
    list_add_tail(&up->hopeless, &lease->link);
    task_defer(up->setup.loop, &up->fail_hopeless);
    return lease->self;
}

void
upstream_lease_cancel(struct upstream *up, struct handle h)
{
    struct lease *lease = slots_get(&up->leases, h);

    if (lease != NULL)
        lease_end(lease, NULL, NULL);
}

/* ---- the rest ---- */

void
upstream_slow_down(struct upstream *up, const struct route_conf *route, const struct mailbox_conf *mailbox)
{
    struct pool *pool = find_pool(up, route, mailbox);

    if (pool != NULL)
        pool_slow_down(pool);
}

void
upstream_drain(struct upstream *up, void (*done)(void *arg), void *arg)
{
    up->drained = done;
    up->drained_arg = arg;
    if (list_is_empty(&up->pools))
        task_defer(up->setup.loop, &up->tell_drained);
    LIST_EACH_SAFE(it, &up->pools)
        if (LIST_ITEM(it, struct pool, link)->state == POOL_OPEN)
            pool_drain(LIST_ITEM(it, struct pool, link), NULL);
}

static void
fill_status(const struct upstream *up, const struct pool *pool, struct upstream_status *out)
{
    const unsigned *n = pool->count;
    int64_t now = loop_now_ms(up->setup.loop);

    out->route = pool->conf->route;
    out->mailbox = pool->conf->mailbox;
    out->connecting = n[CONN_DIALING] + n[CONN_LOGIN] + pool->n_asking;
    out->busy = n[CONN_LEASED] + n[CONN_BUSY] + n[CONN_TIDYING];
    out->idle = n[CONN_IDLE];
    out->waiting = pool->n_waiting;
    out->limit = pace_limit(&pool->pace, now);
    out->backoff_ms = pace_backoff_ms(&pool->pace, now);
    out->last_error[0] = '\0';
    if (pace_is_failing(&pool->pace))
        snprintf(out->last_error, sizeof(out->last_error), "%s", pool->failure.detail);
}

size_t
upstream_status(const struct upstream *up, struct upstream_status *out, size_t max)
{
    size_t n = 0;

    LIST_EACH(it, &up->pools) {
        const struct pool *pool = LIST_ITEM(it, struct pool, link);

        if (pool->state == POOL_OPEN && n < max)
            fill_status(up, pool, &out[n++]);
    }
    return n;
}

void
upstream_route_caps(const struct upstream *up, const struct route_conf *route, uint64_t *size_out,
    bool *eightbit_out)
{
    const struct route_seen *seen = find_seen(&up->seen, route->name);

    *size_out = seen != NULL ? seen->size_max : 0;
    *eightbit_out = seen == NULL || seen->eightbitmime;
}
