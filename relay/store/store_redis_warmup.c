/* Holds and steps back of warm-ups. What a reply of the upstream said about a route must not be lost because
 * Redis is away just then: it is kept and told again after each heartbeat until Redis has answered. One of a
 * kind is kept for each limit of a route, the latest; each has a number, by which the script knows one that
 * it has done already, and the time it happened, so that it counts for its own day when it comes after
 * midnight. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_redis_part.h"

#define STEP_TRIES 8 /* after one heartbeat */

struct warmup_change {
    struct list link;
    struct redis_store *store;
    struct charge_line line;
    struct limit_conf limit; /* a reload may take the original away, and all that it points to */
    struct schedule_conf schedule;
    uint64_t *table; /* of the schedule; NULL: it has none */
    char name[128];
    char instance[INSTANCE_MAX];
    bool back;
    uint64_t number, at_us;
    uint64_t told; /* the number on its way; 0: none is */
    unsigned tries;
    bool late; /* it was logged that Redis does not have it */
};

static void
change_free(struct warmup_change *w)
{
    list_del(&w->link);
    free(w->table);
    free(w);
}

void
redis_store_free_changes(struct redis_store *r)
{
    LIST_EACH_SAFE(it, &r->changes)
        change_free(LIST_ITEM(it, struct warmup_change, link));
}

static void
set_step(struct warmup_change *w, uint32_t step)
{
    w->line.step = step;
    plan_warmup_caps(&w->limit, step, &w->line.cap, &w->line.next_cap);
}

static void
note_failure(struct warmup_change *w, enum store_error error)
{
    struct log_line l;

    redis_store_count_error(w->store, error);
    if (w->late)
        return;
    w->late = true;
    log_begin(&l, LOG_WARNING, "warmup_change");
    log_cstr(&l, "limit", w->name);
    log_cstr(&l, "instance", w->instance);
    log_cstr(&l, "change", w->back ? "back" : "hold");
    log_cstr(&l, "error", store_error_to_str(error));
    log_cstr(&l, "detail", "Redis does not have it yet; it is told again");
    log_end(&l);
}

static void tell(struct warmup_change *w);

static void
on_told(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct warmup_change *w = arg;
    uint64_t told = w->told;
    int64_t f[3] = {0, 0, 0};

    w->told = 0;
    if (error != STORE_OK) {
        note_failure(w, error);
        return;
    }
    if (!codec_integers(reply, f, 2) || f[1] < 1 || f[1] > WARMUP_STEP_MAX)
        return; /* other counters than this node knew: after the next heartbeat it knows them */
    journal_set_step(w->store->journal, w->name, w->instance, (uint32_t)f[1], (uint64_t)f[0] / 1000);
    set_step(w, (uint32_t)f[1]);
    if (!codec_integers(reply, f, 3) && told == w->number)
        change_free(w);
    else if (++w->tries < STEP_TRIES)
        tell(w);
}

static void
tell(struct warmup_change *w)
{
    struct redis_store *r = w->store;
    struct codec_node node = redis_store_node(r);
    struct codec_change change = {w->back ? 2 : 1, w->instance, w->number, w->at_us,
        journal_step_ms(r->journal, w->name, w->instance) * 1000 / US_PER_DAY};

    if (w->told > 0)
        return;
    codec_warmup(&r->command, &node, &change, &w->line);
    if (redis_store_send(r, on_told, w))
        w->told = w->number;
    else
        note_failure(w, STORE_DOWN);
}

void
redis_store_tend_changes(struct redis_store *r)
{
    LIST_EACH_SAFE(it, &r->changes) {
        struct warmup_change *w = LIST_ITEM(it, struct warmup_change, link);

        w->tries = 0;
        tell(w);
    }
}

static struct warmup_change *
find_or_make(struct redis_store *r, const char *limit, const char *instance, bool back)
{
    struct warmup_change *w;

    LIST_EACH(it, &r->changes) {
        w = LIST_ITEM(it, struct warmup_change, link);
        if (w->back == back && strcmp(w->name, limit) == 0 && strcmp(w->instance, instance) == 0)
            return w;
    }
    w = xcalloc(1, sizeof(*w));
    w->store = r;
    w->back = back;
    memcpy(w->name, limit, strlen(limit));
    memcpy(w->instance, instance, strlen(instance));
    list_add_tail(&r->changes, &w->link);
    return w;
}

/* What is kept of the limit: its figures and its curve, and no pointer into its configuration. */
static void
keep_limit(struct warmup_change *w, const struct limit_conf *limit)
{
    const struct schedule_conf *s = limit->schedule;

    free(w->table);
    w->table = NULL;
    w->limit = *limit;
    w->limit.name = w->name;
    w->limit.only = w->limit.route = w->limit.source = NULL;
    w->limit.schedule = &w->schedule;
    w->schedule = *s;
    w->schedule.name = w->name;
    if (s->n_table > 0) {
        w->table = xmalloc(s->n_table * sizeof(*w->table));
        memcpy(w->table, s->table, s->n_table * sizeof(*w->table));
    }
    w->schedule.table = w->table;
    w->line.limit = &w->limit;
}

void
redis_store_warmup_change(struct store *base, const struct limit_conf *limit, const char *route, bool back)
{
    struct redis_store *r = redis_store_of(base);
    struct warmup_change *w;
    uint32_t step;

    if (limit->kind != LIMIT_WARMUP || strlen(limit->name) >= sizeof(w->name)
        || strlen(route) >= sizeof(w->instance))
        return;
    w = find_or_make(r, limit->name, route, back);
    keep_limit(w, limit);
    w->number = ++r->last_change;
    w->at_us = (uint64_t)redis_store_now_ms(r) * 1000;
    w->tries = 0;
    step = journal_step(r->journal, w->name, w->instance);
    set_step(w, step > 0 ? step : 1);
    tell(w);
}

uint32_t
redis_store_warmup_step(const struct store *base, const char *route)
{
    const struct redis_store *r = redis_store_of(base);
    const struct limit_conf *limit = store_warmup_limit(r->limits, r->n_limits, route);
    uint32_t step = limit ? journal_step(r->journal, limit->name, route) : 0;

    return step > 0 ? step : 1;
}
