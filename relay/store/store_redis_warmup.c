/* Holds and steps back of warm-ups, and an operator's steps. What a reply of the upstream said about a route
 * must not be lost because Redis is away just then: it is kept and told again after each heartbeat until
 * Redis has answered. One of a kind is kept for each limit of a route, the latest; each has a number, by
 * which the script knows one that it has done already, and the time it happened, so that it counts for its
 * own day when it comes after midnight. */
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
        journal_step_ms(r->journal, w->name, w->instance) * 1000 / US_PER_DAY, 0};

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

/* ---- an operator's steps: now or not at all ---- */

static bool send_move(struct redis_store *r, struct ask *ask);

static void
end_move(struct ask *ask, enum store_error error)
{
    ask->ok = error == STORE_OK;
    ask->error = error;
    ask_answer(ask);
}

static void
on_moved(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct ask *ask = arg;
    struct redis_store *r = redis_store_of(ask->store);
    int64_t f[4] = {0, 0, 0, 0};

    if (error == STORE_OK && !codec_integers(reply, f, 2))
        error = STORE_PROTOCOL;
    if (error == STORE_OK && (f[1] < 1 || f[1] > WARMUP_STEP_MAX))
        error = STORE_OTHER; /* other counters than this node knew */
    if (error != STORE_OK) {
        end_move(ask, error);
        return;
    }
    journal_set_step(r->journal, ask->request.lines[0].limit->name, ask->instance, (uint32_t)f[1],
        (uint64_t)f[0] / 1000);
    if (codec_integers(reply, f, 4)) {
        ask->step = (uint32_t)f[1];
        ask->step_before = (uint32_t)f[3];
        end_move(ask, STORE_OK);
    } else if (++ask->tries >= STEP_TRIES || !send_move(r, ask)) {
        end_move(ask, STORE_DOWN);
    }
}

static bool
send_move(struct redis_store *r, struct ask *ask)
{
    static const int ops[] = {[WARMUP_MOVE_TO] = 3, [WARMUP_MOVE_ON] = 4, [WARMUP_MOVE_BACK] = 5};
    struct codec_node node = redis_store_node(r);
    struct charge_line *line = &ask->request.lines[0];
    uint32_t step = journal_step(r->journal, line->limit->name, ask->instance);
    struct codec_change change = {ops[ask->move.kind], ask->instance, ask->number,
        (uint64_t)redis_store_now_ms(r) * 1000,
        journal_step_ms(r->journal, line->limit->name, ask->instance) * 1000 / US_PER_DAY, ask->move.to};

    line->step = step > 0 ? step : 1;
    plan_warmup_caps(line->limit, line->step, &line->cap, &line->next_cap);
    codec_warmup(&r->command, &node, &change, line);
    return redis_store_send(r, on_moved, ask);
}

void
redis_store_warmup_move(struct store *base, const struct warmup_order *order, store_moved_fn *done, void *arg)
{
    struct redis_store *r = redis_store_of(base);
    struct ask *ask = ask_new(&r->asks, base, ASK_MOVED, arg);
    struct charge_request request = {.n_lines = 1, .lines[0].limit = order->limit, .owner = order->owner};

    ask->fn.moved = done;
    ask->move = order->move;
    ask->number = ++r->last_change;
    ask_keep_request(ask, &request);
    memcpy(ask->instance, order->route, strnlen(order->route, sizeof(ask->instance) - 1));
    if (!send_move(r, ask)) {
        ask->error = STORE_DOWN;
        ask_answer_later(ask);
    }
}
