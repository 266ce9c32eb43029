#include "relay/store/store_part.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"

void
asks_init(struct asks *a, struct loop *loop)
{
    a->loop = loop;
    slots_init(&a->slots);
    list_init(&a->live);
}

static void
ask_free(struct ask *ask)
{
    list_del(&ask->link);
    task_cancel(&ask->task);
    slots_del(&ask->asks->slots, ask->handle);
    free(ask->request.people);
    owner_unref(&ask->request.owner);
    for (size_t i = 0; i < ask->n_usage; i++)
        owner_unref(&ask->usage[i].owner);
    free(ask->usage);
    free(ask);
}

void
asks_forget(struct asks *a)
{
    LIST_EACH(it, &a->live)
        LIST_ITEM(it, struct ask, link)->forgotten = true;
}

void
asks_fini(struct asks *a)
{
    LIST_EACH_SAFE(it, &a->live)
        ask_free(LIST_ITEM(it, struct ask, link));
    slots_fini(&a->slots);
}

static void
on_ask_task(void *arg)
{
    ask_answer(arg);
}

struct ask *
ask_new(struct asks *a, struct store *s, enum ask_kind kind, void *arg)
{
    struct ask *ask = xcalloc(1, sizeof(*ask));

    ask->asks = a;
    ask->store = s;
    ask->kind = kind;
    ask->arg = arg;
    ask->handle = slots_add(&a->slots, ask);
    task_init(&ask->task, on_ask_task, ask);
    list_init(&ask->peer);
    list_init(&ask->peers);
    list_add_tail(&a->live, &ask->link);
    return ask;
}

void
ask_keep_request(struct ask *ask, const struct charge_request *request)
{
    ask->request = *request;
    owner_ref(&ask->request.owner);
    if (request->people) {
        size_t bytes = request->recipients * sizeof(*request->people);

        ask->request.people = memcpy(xmalloc(bytes), request->people, bytes);
    }
}

void
ask_keep_usage(struct ask *ask, const struct usage *wanted, size_t n)
{
    ask->n_usage = n;
    ask->usage = xcalloc(n + 1, sizeof(*ask->usage));
    for (size_t i = 0; i < n; i++) {
        ask->usage[i] = wanted[i];
        owner_ref(&wanted[i].owner);
    }
}

void
ask_answer(struct ask *ask)
{
    slots_del(&ask->asks->slots, ask->handle); /* from here on there is nothing to forget */
    if (!ask->forgotten) {
        switch (ask->kind) {
        case ASK_CHARGE:
            ask->fn.charge(ask->arg, &ask->verdict);
            break;
        case ASK_LEASE:
            ask->fn.lease(ask->arg, ask->ok, ask->lease, ask->error, ask->retry_after_ms);
            break;
        case ASK_USAGE:
            ask->fn.usage(ask->arg, ask->ok, ask->error, ask->usage, ask->n_usage);
            break;
        case ASK_DONE:
            ask->fn.done(ask->arg, ask->ok, ask->error);
            break;
        case ASK_MOVED:
            ask->fn.moved(ask->arg, ask->ok, ask->error, ask->step_before, ask->step);
            break;
        }
    }
    ask_free(ask);
}

void
ask_answer_later(struct ask *ask)
{
    task_defer(ask->asks->loop, &ask->task);
}

struct ask *
ask_get(const struct asks *a, struct handle h)
{
    return slots_get(&a->slots, h);
}

const struct limit_conf *
store_warmup_limit(const struct limit_conf *limits, size_t n, const char *route)
{
    for (size_t i = 0; i < n; i++) {
        const struct limit_conf *l = &limits[i];

        if (l->kind == LIMIT_WARMUP && !l->hour_cap && l->scope == SCOPE_ROUTE
            && (!l->only || strcmp(l->only, route) == 0) && (!l->route || strcmp(l->route, route) == 0))
            return l;
    }
    return NULL;
}

static bool
is_day_of(const struct limit_conf *day, const struct limit_conf *hour, const char *instance)
{
    return day->kind == LIMIT_WARMUP && !day->hour_cap && day->scope == hour->scope
        && strcmp(day->schedule->name, hour->schedule->name) == 0
        && (!day->only || strcmp(day->only, instance) == 0)
        && (!day->route || !hour->route || strcmp(day->route, hour->route) == 0);
}

const struct limit_conf *
store_day_limit(const struct limit_conf *limits, size_t n, const struct limit_conf *limit,
    const char *instance)
{
    const struct limit_conf *day = limit;

    for (size_t i = 0; i < n && limit->kind == LIMIT_WARMUP && limit->hour_cap; i++)
        if (is_day_of(&limits[i], limit, instance))
            day = &limits[i];
    return day;
}

void
store_free(struct store **s)
{
    if (*s)
        (*s)->ops->free(*s);
    *s = NULL;
}

struct store_plan *
store_prepare(struct store *s, const struct store_conf *conf, struct err *err)
{
    return s->ops->prepare(s, conf, err);
}

void
store_commit(struct store *s, struct store_plan **plan)
{
    s->ops->commit(s, plan);
}

void
store_discard(struct store *s, struct store_plan **plan)
{
    if (*plan)
        s->ops->discard(s, plan);
}

void
store_set_limits(struct store *s, const struct limit_conf *limits, size_t n)
{
    s->ops->set_limits(s, limits, n);
}

void
store_set_slot_caps(struct store *s, const struct slot_cap *caps, size_t n)
{
    s->ops->set_slot_caps(s, caps, n);
}

struct handle
store_charge(struct store *s, const struct charge_request *request, store_charge_fn *done, void *arg)
{
    return s->ops->charge(s, request, done, arg);
}

void
store_forget(struct store *s, struct handle h)
{
    s->ops->forget(s, h);
}

void
store_refund(struct store *s, const struct charge_request *request, const struct verdict *verdict)
{
    uint64_t *known = &s->refunded[verdict->seq % REFUNDS_KNOWN];

    if (verdict->kind != VERDICT_GRANTED || verdict->seq == *known)
        return;
    *known = verdict->seq;
    s->ops->refund(s, request, verdict);
}

struct handle
store_lease_take(struct store *s, const struct lease_request *request, store_lease_fn *done, void *arg)
{
    return s->ops->lease_take(s, request, done, arg);
}

void
store_lease_give(struct store *s, const struct lease_request *request, uint64_t lease)
{
    s->ops->lease_give(s, request, lease);
}

void
store_lease_disown(struct store *s, const struct lease_request *request, const char *identity)
{
    s->ops->lease_disown(s, request, identity);
}

void
store_become_guest(struct store *s, store_pause_line_fn *on_pause, store_done_fn *done, void *arg)
{
    s->ops->become_guest(s, on_pause, done, arg);
}

const char *
store_identity(const struct store *s)
{
    return s->ops->identity(s);
}

int
store_return(struct store *s, struct err *err)
{
    return s->ops->return_home(s, err);
}

void
store_hear_pause(struct store *s, struct span line)
{
    s->ops->hear_pause(s, line);
}

int64_t
store_now_ms(const struct store *s)
{
    return s->ops->now_ms(s);
}

enum pause_result
store_pause(struct store *s, struct pause *pause, int64_t for_ms, const struct pause_wider *wider)
{
    pause->since_utc_ms = store_now_ms(s);
    pause->until_utc_ms = for_ms == 0 ? 0 : pause->since_utc_ms + for_ms;
    return s->ops->pause(s, pause, wider);
}

void
store_note_late(struct store *s, const char *detail)
{
    s->ops->note_late(s, detail);
}

void
store_resume(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg)
{
    s->ops->resume(s, scope, instance, actor, reason, done, arg);
}

size_t
store_pauses(const struct store *s, const struct pause **pauses_out)
{
    return s->ops->pauses(s, pauses_out);
}

const struct pause *
store_pause_for(const struct store *s, const struct charge_request *request)
{
    return s->ops->pause_for(s, request);
}

void
store_warmup_hold(struct store *s, const struct limit_conf *limit, const char *route)
{
    s->ops->warmup_change(s, limit, route, false);
}

void
store_warmup_back(struct store *s, const struct limit_conf *limit, const char *route)
{
    s->ops->warmup_change(s, limit, route, true);
}

uint32_t
store_warmup_step(const struct store *s, const char *route)
{
    return s->ops->warmup_step(s, route);
}

void
store_warmup_resume(struct store *s, const char *route, store_done_fn *done, void *arg)
{
    s->ops->warmup_resume(s, route, done, arg);
}

void
store_warmup_move(struct store *s, const struct warmup_order *order, store_moved_fn *done, void *arg)
{
    s->ops->warmup_move(s, order, done, arg);
}

void
store_lower_cap(struct store *s, const struct limit_conf *limit, const char *instance, uint64_t percent,
    int64_t for_ms)
{
    s->ops->lower_cap(s, limit, instance, percent, for_ms);
}

struct handle
store_usage(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done, void *arg)
{
    return s->ops->usage(s, wanted, n, done, arg);
}

void
store_open(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg)
{
    s->ops->open(s, actor, reason, done, arg);
}

void
store_status(const struct store *s, struct store_status *out)
{
    s->ops->status(s, out);
}
