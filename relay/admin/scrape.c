#include "relay/admin/scrape.h"

#include <stdlib.h>

#include "policy/warmup.h"
#include "relay/admin/command_run.h"
#include "relay/admin/usage_view.h"
#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/held.h"
#include "relay/front/front.h"
#include "relay/upstream/upstream.h"

#define ROWS_MAX 256

static void
refresh_store(struct metrics *m, const struct store *s)
{
    struct store_status st;
    const struct pause *p;
    size_t n;

    store_status(s, &st);
    metric_set(m, M_STORE_UP, st.up, NULL, NULL, NULL);
    metric_reset(m, M_PAUSED);
    n = store_pauses(s, &p);
    for (size_t i = 0; i < n; i++)
        if (p[i].extent != PAUSE_GROWTH)
            metric_add(m, M_PAUSED, 1, limit_scope_to_str(p[i].scope),
                p[i].class == CLASS_OK ? "operator" : reply_class_to_str(p[i].class), NULL);
}

static void
refresh_front(struct metrics *m, const struct front *f)
{
    struct front_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = front_status(f, rows, ROWS_MAX);

    metric_reset(m, M_CONNECTIONS);
    for (size_t i = 0; i < n && i < ROWS_MAX; i++)
        metric_add(m, M_CONNECTIONS, rows[i].connections, rows[i].listener, NULL, NULL);
    free(rows);
}

static void
refresh_upstream(struct metrics *m, const struct upstream *u)
{
    struct upstream_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = upstream_status(u, rows, ROWS_MAX);

    metric_reset(m, M_UPSTREAM_CONNECTIONS);
    for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
        metric_add(m, M_UPSTREAM_CONNECTIONS, rows[i].connecting, rows[i].route, "connecting", NULL);
        metric_add(m, M_UPSTREAM_CONNECTIONS, rows[i].busy, rows[i].route, "busy", NULL);
        metric_add(m, M_UPSTREAM_CONNECTIONS, rows[i].idle, rows[i].route, "idle", NULL);
    }
    free(rows);
}

static void
refresh_warmups(struct metrics *m, const struct admin *a)
{
    const struct config *c = a->config;

    metric_reset(m, M_WARMUP_DAY);
    metric_reset(m, M_WARMUP_CAP);
    metric_reset(m, M_WARMUP_HELD);
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct route_conf *r = &c->routes[i];
        uint32_t step;

        if (!r->warmup)
            continue;
        step = store_warmup_step(a->setup.store, r->name);
        metric_set(m, M_WARMUP_DAY, step, r->name, NULL, NULL);
        metric_set(m, M_WARMUP_CAP, (double)warmup_cap(r->warmup, step), r->name, NULL, NULL);
        metric_set(m, M_WARMUP_HELD, call_find_hold(a, r->name) != NULL, r->name, NULL, NULL);
    }
}

static void
refresh_profiles(struct metrics *m, const struct config *c)
{
    int64_t now_ms = clock_utc_ms();

    metric_reset(m, M_PROFILE_AGE_SECONDS);
    for (size_t i = 0; i < c->n_profiles; i++) {
        const struct profile_conf *p = &c->profiles[i];
        int64_t age_ms = now_ms > p->dated_utc_ms ? now_ms - p->dated_utc_ms : 0;

        metric_set(m, M_PROFILE_AGE_SECONDS, (double)age_ms / 1000, p->name, NULL, NULL);
    }
}

/* Route, mailbox and client only: senders would put addresses of people into labels. */
static void
refresh_limits(struct metrics *m, struct usage_cache *cache)
{
    const struct usage *rows;
    size_t n = usage_cache_rows(cache, &rows);

    metric_reset(m, M_LIMIT);
    metric_reset(m, M_LIMIT_USED);
    metric_reset(m, M_LIMIT_REMAINING);
    for (size_t i = 0; i < n; i++) {
        const struct usage *u = &rows[i];
        const char *scope = limit_scope_to_str(u->limit->scope);

        if (u->limit->scope > SCOPE_CLIENT || u->cap == LIMIT_UNLIMITED)
            continue;
        metric_set(m, M_LIMIT, (double)u->cap, u->limit->name, scope, u->instance);
        metric_set(m, M_LIMIT_USED, (double)u->used, u->limit->name, scope, u->instance);
        metric_set(m, M_LIMIT_REMAINING, u->cap > u->used ? (double)(u->cap - u->used) : 0, u->limit->name,
            scope, u->instance);
    }
}

/* A message with a parked recipient may have others that wait, so the states need not add up. */
static void
refresh_spool(struct metrics *m, const struct flow *f)
{
    struct spool_status spool;
    struct queue_counts queue;
    uint64_t idle;
    int64_t age_ms;

    metric_reset(m, M_SPOOL_MESSAGES);
    metric_reset(m, M_SPOOL_OLDEST_SECONDS);
    if (!held_is_on(f))
        return;
    held_status(f, &spool, &queue);
    idle = queue.in_flight + queue.for_operator;
    metric_set(m, M_SPOOL_MESSAGES, queue.messages > idle ? (double)(queue.messages - idle) : 0, "waiting",
        NULL, NULL);
    metric_set(m, M_SPOOL_MESSAGES, (double)queue.in_flight, "in_flight", NULL, NULL);
    metric_set(m, M_SPOOL_MESSAGES, (double)spool.parked, "parked", NULL, NULL);
    metric_set(m, M_SPOOL_MESSAGES, (double)spool.held, "held", NULL, NULL);
    age_ms = spool.oldest_utc_ms ? clock_utc_ms() - spool.oldest_utc_ms : 0;
    metric_set(m, M_SPOOL_OLDEST_SECONDS, age_ms > 0 ? (double)age_ms / 1000 : 0, NULL, NULL, NULL);
}

void
scrape_refresh(struct admin *a)
{
    struct metrics *m = a->setup.metrics;

    refresh_store(m, a->setup.store);
    refresh_spool(m, a->setup.flow);
    refresh_front(m, a->setup.front);
    refresh_upstream(m, a->setup.upstream);
    refresh_warmups(m, a);
    refresh_profiles(m, a->config);
    refresh_limits(m, a->usage);
    metric_add(m, M_LOG_DROPPED, (double)log_dropped() - metric_get(m, M_LOG_DROPPED, NULL, NULL, NULL), NULL,
        NULL, NULL);
}
