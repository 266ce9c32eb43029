#include "relay/upstream/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"

#define SLOT_RETRY_LEAST_MS 200
#define IDLE_CONTESTED_MS 500

static void service(void *arg);

static int64_t
now_mono_ms(const struct pool *pool)
{
    return loop_now_ms(pool->up->setup.loop);
}

static uint32_t
random_u32(void)
{
    uint32_t r;

    tls_random(&r, sizeof(r));
    return r;
}

struct pool *
pool_new(struct upstream *up, struct pool_conf *conf, struct route_seen *seen)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));

    pool->up = up;
    pool->conf = conf;
    pool->seen = seen;
    pool->tls = seen->tls != NULL ? tls_ctx_ref(seen->tls) : NULL;
    pool->slot_retry_mono_ms = INT64_MIN;
    pace_init(&pool->pace, conf->pool_max, conf->client.auth != CLIENT_AUTH_NONE);
    trouble_init(&pool->trouble);
    list_init(&pool->waiting);
    list_init(&pool->idle);
    list_init(&pool->others);
    task_init(&pool->service, service, pool);
    timer_init(&pool->wake, up->setup.loop, service, pool);
    list_add_head(&up->pools, &pool->link);
    return pool;
}

void
pool_wake(struct pool *pool)
{
    task_defer(pool->up->setup.loop, &pool->service);
}

unsigned
pool_open_count(const struct pool *pool)
{
    const unsigned *n = pool->count;

    return n[CONN_DIALING] + n[CONN_LOGIN] + n[CONN_IDLE] + n[CONN_LEASED] + n[CONN_BUSY] + n[CONN_TIDYING];
}

/* ---- leases ---- */

static void
lease_bury(void *object)
{
    free(object);
}

void
lease_end(struct lease *lease, struct upstream_conn *conn, const struct lease_failure *failure)
{
    struct upstream *up = lease->up;

    if (lease->pool != NULL)
        lease->pool->n_waiting--;
    list_del(&lease->link);
    timer_fini(&lease->deadline);
    slots_del(&up->leases, lease->self);
    loop_bury(up->setup.loop, &lease->corpse, lease_bury, lease);
    if (conn != NULL || failure != NULL)
        lease->done(lease->arg, conn, failure);
}

static void
describe_timeout(const struct pool *pool, int64_t now, struct lease_failure *f)
{
    const struct pool_conf *conf = pool->conf;
    int64_t slot_ms = pool->slot_retry_mono_ms > now ? pool->slot_retry_mono_ms - now : 0;

    f->retry_after_ms = pace_wait_ms(&pool->pace, now);
    if (slot_ms > f->retry_after_ms)
        f->retry_after_ms = slot_ms;
    if (slot_ms > 0)
        snprintf(f->detail, sizeof(f->detail), "no free connection: all %llu of %s %s are in use",
            (unsigned long long)conf->connections, limit_scope_to_str(conf->scope), conf->instance);
    else
        snprintf(f->detail, sizeof(f->detail), "no free connection: %u busy, %u at most, %u messages wait",
            pool->count[CONN_BUSY] + pool->count[CONN_LEASED], pace_limit(&pool->pace, now), pool->n_waiting);
}

static void
on_lease_deadline(void *arg)
{
    struct lease *lease = arg;
    struct lease_failure f = {.phase = TX_CONNECT, .timed_out = true};

    describe_timeout(lease->pool, now_mono_ms(lease->pool), &f);
    lease_end(lease, NULL, &f);
}

void
pool_add_lease(struct pool *pool, struct lease *lease)
{
    lease->pool = pool;
    timer_init(&lease->deadline, pool->up->setup.loop, on_lease_deadline, lease);
    list_add_tail(&pool->waiting, &lease->link);
    pool->n_waiting++;
    pool_wake(pool);
}

static struct lease *
first_lease(const struct pool *pool)
{
    return list_is_empty(&pool->waiting) ? NULL : LIST_ITEM(pool->waiting.next, struct lease, link);
}

/* Who still waits after the service needs a deadline now. New ones stand at the end. */
static void
time_leases(struct pool *pool, int64_t now)
{
    for (struct list *it = pool->waiting.prev; it != &pool->waiting; it = it->prev) {
        struct lease *lease = LIST_ITEM(it, struct lease, link);

        if (lease->timed)
            return;
        lease->timed = true;
        timer_start(&lease->deadline, lease->due_mono_ms > now ? lease->due_mono_ms - now : 0);
    }
}

static void
fail_leases(struct pool *pool, int64_t now)
{
    struct lease_failure f = pool->failure;
    struct list failing;

    /* Those asking anew from their callback wait for the next service. */
    list_init(&failing);
    for (struct lease *l = first_lease(pool); l != NULL; l = first_lease(pool)) {
        list_del(&l->link);
        list_add_tail(&failing, &l->link);
    }
    f.retry_after_ms = pace_backoff_ms(&pool->pace, now);
    pool->failure.repeated = true;
    while (!list_is_empty(&failing)) {
        lease_end(LIST_ITEM(failing.next, struct lease, link), NULL, &f);
        f.repeated = true; /* one try, one answer: what follows from it follows once */
    }
}

/* ---- connections ---- */

bool
pool_wants(const struct pool *pool, const struct upstream_conn *c)
{
    const struct pool_conf *conf = pool->conf;
    int64_t now = now_mono_ms(pool);

    return pool->state == POOL_OPEN
        && (conf->messages_per_connection == 0 || c->client.uses < conf->messages_per_connection)
        && now - c->opened_mono_ms < conf->age_ms && pool_open_count(pool) <= pace_limit(&pool->pace, now);
}

void
pool_on_login(struct pool *pool)
{
    pace_on_success(&pool->pace);
    trouble_over(&pool->trouble, pool->conf, pool->up->setup.metrics);
}

/* 421 or 432 with 4.3.2 before MAIL: the mailbox has too many connections (Microsoft: more than three). */
static bool
is_too_many(const struct reply *r)
{
    return (r->code == 421 || r->code == 432) && r->enhanced.class == 4 && r->enhanced.subject == 3
        && r->enhanced.detail == 2;
}

void
pool_on_failure(struct pool *pool, const struct upstream_conn *c, const struct lease_failure *failure)
{
    int64_t now = now_mono_ms(pool);

    if (is_too_many(&failure->reply))
        pace_slow_down(&pool->pace, pool_open_count(pool), now, random_u32());
    if (failure->phase == TX_AUTH && failure->reply.code >= 500)
        pace_on_auth_failure(&pool->pace, now);
    pace_on_failure(&pool->pace, c->begun_mono_ms, now, random_u32());
    pool->failure = *failure;
    pool->failure.retry_after_ms = pace_backoff_ms(&pool->pace, now);
    trouble_report(&pool->trouble, pool->conf, pool->up->setup.metrics, &pool->failure, now);
    pool_wake(pool);
}

void
pool_on_slot_back(struct pool *pool)
{
    pool->n_outdated = pool->n_asking;
    pool->slot_retry_mono_ms = INT64_MIN;
}

void
pool_slow_down(struct pool *pool)
{
    pace_slow_down(&pool->pace, pool_open_count(pool), now_mono_ms(pool), random_u32());
    pool_wake(pool);
}

/* Who gives out slots could not decide. With a connection open the wait may end well; without one it would
 * be for nothing. */
static void
on_no_slot_decision(struct pool *pool)
{
    if (pool_open_count(pool) + pool->n_asking > 0)
        return;
    pool->failure = (struct lease_failure){.phase = TX_CONNECT};
    snprintf(pool->failure.detail, sizeof(pool->failure.detail),
        "no slot for a connection of %s could be had", pool->conf->instance);
    fail_leases(pool, now_mono_ms(pool));
}

/* True when the slot just given back came after the question was asked. Answers come in the order
 * of questions. */
static bool
was_outdated(struct pool *pool)
{
    bool outdated = pool->n_outdated > 0;

    pool->n_outdated -= outdated;
    return outdated;
}

static void
on_slot(void *arg, bool granted, uint64_t slot, int64_t retry_after_ms)
{
    struct pool *pool = arg;
    bool outdated = was_outdated(pool);

    pool->n_asking--;
    if (!granted && retry_after_ms < 0)
        on_no_slot_decision(pool);
    if (granted && pool->n_waiting > 0) {
        conn_open(pool, &slot);
    } else if (granted) {
        slot_give(&pool->up->slots, pool->conf->scope, pool->conf->instance, slot, 0);
    } else if (retry_after_ms < 0 || !outdated) {
        if (retry_after_ms < SLOT_RETRY_LEAST_MS)
            retry_after_ms = SLOT_RETRY_LEAST_MS;
        pool->slot_retry_mono_ms = now_mono_ms(pool) + retry_after_ms + (int64_t)(random_u32() % 100);
    }
    pool_wake(pool);
}

static bool
needs_slot(const struct pool *pool)
{
    return pool->up->setup.slots.take != NULL && pool->conf->connections != LIMIT_UNLIMITED;
}

int
pool_idle_ms(const struct pool *pool)
{
    const struct upstream_slots *slots = &pool->up->setup.slots;

    if (needs_slot(pool) && slots->contested != NULL && slots->contested(slots->arg)
        && pool->conf->idle_ms > IDLE_CONTESTED_MS)
        return IDLE_CONTESTED_MS;
    return pool->conf->idle_ms;
}

static void
open_one(struct pool *pool)
{
    const struct pool_conf *conf = pool->conf;

    if (!needs_slot(pool)) {
        conn_open(pool, NULL);
        return;
    }
    pool->n_asking++;
    slot_ask(&pool->up->slots, conf->scope, conf->instance, conf->connections, on_slot, pool);
}

/* While more leases wait than connections are on their way. A login that ends well wakes us again. */
static void
open_more(struct pool *pool, int64_t now)
{
    unsigned coming = pool->count[CONN_DIALING] + pool->count[CONN_LOGIN] + pool->n_asking;
    unsigned held = pool_open_count(pool) + pool->count[CONN_QUITTING] + pool->n_asking;
    unsigned limit = pace_limit(&pool->pace, now), at_once = pace_at_once(&pool->pace, now);
    int64_t wait_ms = pace_wait_ms(&pool->pace, now);

    if (needs_slot(pool) && pool->slot_retry_mono_ms > now + wait_ms)
        wait_ms = pool->slot_retry_mono_ms - now;
    if (wait_ms > 0) {
        timer_start(&pool->wake, wait_ms);
        return;
    }
    for (; coming < pool->n_waiting && held < limit && coming < at_once; coming++, held++)
        open_one(pool);
}

static void
hand_out(struct pool *pool)
{
    while (pool->n_waiting > 0 && !list_is_empty(&pool->idle)) {
        struct upstream_conn *c = LIST_ITEM(pool->idle.next, struct upstream_conn, link);

        if (!pool_wants(pool, c)) {
            conn_quit(c);
            continue;
        }
        conn_lease(c);
        lease_end(first_lease(pool), c, NULL);
    }
}

/* Idle connections above the limit leave, the one unused longest first; all of them when the pool drains. */
static void
retire(struct pool *pool, int64_t now)
{
    unsigned limit = pool->state == POOL_OPEN ? pace_limit(&pool->pace, now) : 0;

    while (!list_is_empty(&pool->idle) && (pool->state != POOL_OPEN || pool_open_count(pool) > limit))
        conn_quit(LIST_ITEM(pool->idle.prev, struct upstream_conn, link));
}

static bool
has_hope(const struct pool *pool, int64_t now)
{
    return pool_open_count(pool) + pool->n_asking > 0 || pace_backoff_ms(&pool->pace, now) == 0;
}

static void
pool_bury(void *object)
{
    struct pool *pool = object;

    tls_ctx_unref(&pool->tls);
    pool_conf_free(&pool->conf);
    free(pool);
}

static void
pool_end(struct pool *pool)
{
    struct upstream *up = pool->up;

    slot_cancel(&up->slots, pool);
    list_del(&pool->link);
    task_cancel(&pool->service);
    timer_fini(&pool->wake);
    loop_bury(up->setup.loop, &pool->corpse, pool_bury, pool);
    if (list_is_empty(&up->pools) && up->drained != NULL)
        task_defer(up->setup.loop, &up->tell_drained);
}

static void
service(void *arg)
{
    struct pool *pool = arg;
    int64_t now = now_mono_ms(pool);

    if (pool->state == POOL_DRAINING) {
        retire(pool, now);
        if (list_is_empty(&pool->others) && list_is_empty(&pool->idle))
            pool_end(pool);
        return;
    }
    hand_out(pool);
    retire(pool, now);
    if (pool->n_waiting == 0)
        return;
    if (!has_hope(pool, now)) {
        fail_leases(pool, now);
        return;
    }
    open_more(pool, now);
    time_leases(pool, now);
}

/* ---- end ---- */

static void
move_leases(struct pool *pool, struct pool *successor)
{
    while (!list_is_empty(&pool->waiting)) {
        struct lease *lease = first_lease(pool);

        list_del(&lease->link);
        list_add_tail(successor != NULL ? &successor->waiting : &pool->up->hopeless, &lease->link);
        pool->n_waiting--;
        lease->pool = successor;
        if (successor != NULL)
            successor->n_waiting++;
        else
            timer_stop(&lease->deadline);
    }
    if (successor != NULL)
        pool_wake(successor);
    else
        task_defer(pool->up->setup.loop, &pool->up->fail_hopeless);
}

void
pool_drain(struct pool *pool, struct pool *successor)
{
    move_leases(pool, successor);
    pool->state = POOL_DRAINING;
    pool->seen = NULL;
    slot_cancel(&pool->up->slots, pool);
    pool->n_asking = pool->n_outdated = 0;
    LIST_EACH_SAFE(it, &pool->others) {
        struct upstream_conn *c = LIST_ITEM(it, struct upstream_conn, link);

        if (c->state == CONN_DIALING || c->state == CONN_LOGIN)
            conn_close(c);
    }
    pool_wake(pool);
}

void
pool_destroy(struct pool *pool)
{
    LIST_EACH_SAFE(it, &pool->others)
        conn_close(LIST_ITEM(it, struct upstream_conn, link));
    LIST_EACH_SAFE(it, &pool->idle)
        conn_close(LIST_ITEM(it, struct upstream_conn, link));
    while (!list_is_empty(&pool->waiting))
        lease_end(first_lease(pool), NULL, NULL);
    pool_end(pool);
}
