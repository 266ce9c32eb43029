/* The store in memory: one node, a clock that the test moves, no failures. Same decisions (book.c), same
 * order of questions and answers: every answer comes at the end of the turn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/store/book.h"
#include "relay/store/pause_list.h"
#include "relay/store/store_part.h"

#define START_MS 1700000000000

struct slot_held {
    struct list link;
    uint64_t number;
    enum limit_scope scope;
    char *instance;
};

struct memory_store {
    struct store base;
    struct asks asks;
    struct metrics *metrics; /* or NULL */
    struct book *book;
    struct pause_list pauses;
    struct list held;
    const struct limit_conf *limits;
    size_t n_limits;
    int64_t now_ms;
    uint64_t seq, leases, moves;
};

static struct memory_store *
memory_of(const struct store *s)
{
    return (struct memory_store *)(void *)(uintptr_t)s;
}

static uint64_t
now_us(const struct memory_store *m)
{
    return (uint64_t)m->now_ms * 1000;
}

static void
count(struct memory_store *m, enum metric_id id, const char *label)
{
    if (m->metrics)
        metric_add(m->metrics, id, 1, label, NULL, NULL);
}

static void
held_free(struct slot_held *h)
{
    list_del(&h->link);
    free(h->instance);
    free(h);
}

static void
memory_free(struct store *s)
{
    struct memory_store *m = memory_of(s);

    asks_fini(&m->asks);
    book_free(&m->book);
    pause_list_fini(&m->pauses);
    LIST_EACH_SAFE(it, &m->held)
        held_free(LIST_ITEM(it, struct slot_held, link));
    free(m);
}

/* There is nothing to connect to. */
struct store_plan {
    char nothing;
};

static struct store_plan *
memory_prepare(struct store *s, const struct store_conf *conf, struct err *err)
{
    (void)s;
    (void)conf;
    (void)err;
    return xcalloc(1, sizeof(struct store_plan));
}

static void
memory_end_plan(struct store *s, struct store_plan **plan)
{
    (void)s;
    free(*plan);
    *plan = NULL;
}

static void
memory_set_limits(struct store *s, const struct limit_conf *limits, size_t n)
{
    memory_of(s)->limits = limits;
    memory_of(s)->n_limits = n;
}

/* One node: nobody to agree with. */
static void
memory_set_slot_caps(struct store *s, const struct slot_cap *caps, size_t n)
{
    (void)s;
    (void)caps;
    (void)n;
}

static struct handle
memory_charge(struct store *s, const struct charge_request *request, store_charge_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    struct ask *ask = ask_new(&m->asks, s, ASK_CHARGE, arg);
    const struct pause *pause;

    ask->fn.charge = done;
    ask_keep_request(ask, request);
    pause_list_expire(&m->pauses, m->now_ms);
    pause = pause_list_for(&m->pauses, request);
    if (pause) {
        ask->verdict = (struct verdict){.kind = VERDICT_PAUSED, .time_us = now_us(m), .scope = pause->scope,
            .pause = *pause,
            .retry_after_ms = pause->until_utc_ms > 0 ? pause->until_utc_ms - m->now_ms : -1};
        memcpy(ask->verdict.instance, pause->instance, sizeof(pause->instance));
    } else {
        book_charge(m->book, &ask->request, now_us(m), &ask->verdict);
    }
    if (ask->verdict.kind == VERDICT_GRANTED)
        ask->verdict.seq = ++m->seq;
    ask->verdict.sent_mono_ms = loop_now_ms(m->asks.loop);
    ask_answer_later(ask);
    return ask->handle;
}

static struct slot_held *
find_held(const struct memory_store *m, uint64_t number)
{
    LIST_EACH(it, &m->held)
        if (LIST_ITEM(it, struct slot_held, link)->number == number)
            return LIST_ITEM(it, struct slot_held, link);
    return NULL;
}

static void
memory_forget(struct store *s, struct handle h)
{
    struct memory_store *m = memory_of(s);
    struct ask *ask = ask_get(&m->asks, h);
    struct slot_held *held;

    if (!ask)
        return;
    if (ask->kind == ASK_CHARGE && ask->verdict.kind == VERDICT_GRANTED && !ask->request.look
        && !ask->forgotten)
        count(m, M_CHARGES_VOID, "forgotten");
    ask->forgotten = true;
    held = ask->kind == ASK_LEASE && ask->ok ? find_held(m, ask->lease) : NULL;
    if (held)
        held_free(held);
}

static void
memory_refund(struct store *s, const struct charge_request *request, const struct verdict *verdict)
{
    struct memory_store *m = memory_of(s);

    if (book_refund(m->book, request, verdict->granted, verdict->time_us, now_us(m)))
        count(m, M_REFUNDS, NULL);
}

static struct handle
memory_lease_take(struct store *s, const struct lease_request *request, store_lease_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    struct ask *ask = ask_new(&m->asks, s, ASK_LEASE, arg);
    uint64_t count = 0;

    ask->fn.lease = done;
    LIST_EACH(it, &m->held) {
        struct slot_held *h = LIST_ITEM(it, struct slot_held, link);

        count += h->scope == request->scope && strcmp(h->instance, request->instance) == 0;
    }
    ask->ok = count < request->cap;
    ask->retry_after_ms = ask->ok ? 0 : 1000;
    if (ask->ok) {
        struct slot_held *h = xcalloc(1, sizeof(*h));

        h->number = ask->lease = ++m->leases;
        h->scope = request->scope;
        h->instance = xstrdup(request->instance);
        list_add_tail(&m->held, &h->link);
    }
    ask_answer_later(ask);
    return ask->handle;
}

static void
memory_lease_give(struct store *s, const struct lease_request *request, uint64_t lease)
{
    struct slot_held *h = find_held(memory_of(s), lease);

    (void)request;
    if (h)
        held_free(h);
}

/* Nothing outlives the process. */
static void
memory_lease_disown(struct store *s, const struct lease_request *request, const char *identity)
{
    (void)s;
    (void)request;
    (void)identity;
}

static const char *
memory_identity(const struct store *s)
{
    (void)s;
    return "";
}

static int64_t
memory_now_ms(const struct store *s)
{
    return memory_of(s)->now_ms;
}

static enum pause_result
memory_pause(struct store *s, struct pause *pause, const struct pause_wider *wider)
{
    struct memory_store *m = memory_of(s);
    enum pause_result result;

    pause_list_expire(&m->pauses, m->now_ms);
    result = pause_list_add(&m->pauses, pause, wider);
    if (result == PAUSE_SET && pause->extent == PAUSE_GROWTH)
        book_freeze(m->book, pause->scope, pause->instance,
            pause->until_utc_ms > 0 ? (uint64_t)pause->until_utc_ms * 1000 : UINT64_MAX);
    return result;
}

static void
answer_done(struct memory_store *m, bool ok, store_done_fn *done, void *arg)
{
    struct ask *ask = ask_new(&m->asks, &m->base, ASK_DONE, arg);

    ask->fn.done = done;
    ask->ok = ok;
    ask->error = ok ? STORE_OK : STORE_OTHER;
    ask_answer_later(ask);
}

static void
memory_resume(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    bool known = pause_list_find(&m->pauses, scope, instance, PAUSE_ALL)
        || pause_list_find(&m->pauses, scope, instance, PAUSE_EXTERNAL);

    (void)actor;
    (void)reason;
    pause_list_remove(&m->pauses, scope, instance, PAUSE_ALL);
    pause_list_remove(&m->pauses, scope, instance, PAUSE_EXTERNAL);
    answer_done(m, known, done, arg);
}

static void
memory_warmup_resume(struct store *s, const char *route, store_done_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    bool known = pause_list_find(&m->pauses, SCOPE_ROUTE, route, PAUSE_GROWTH);

    pause_list_remove(&m->pauses, SCOPE_ROUTE, route, PAUSE_GROWTH);
    book_freeze(m->book, SCOPE_ROUTE, route, 0);
    answer_done(m, known, done, arg);
}

static void
memory_warmup_move(struct store *s, const struct warmup_order *order, store_moved_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    struct ask *ask = ask_new(&m->asks, s, ASK_MOVED, arg);
    struct book_moved moved = book_move(m->book, order->limit, order->route, &order->move, now_us(m));

    m->moves++;
    ask->fn.moved = done;
    ask->ok = true;
    ask->step_before = moved.before;
    ask->step = moved.step;
    ask_answer_later(ask);
}

static size_t
memory_pauses(const struct store *s, const struct pause **pauses_out)
{
    *pauses_out = memory_of(s)->pauses.pauses;
    return memory_of(s)->pauses.n;
}

static const struct pause *
memory_pause_for(const struct store *s, const struct charge_request *request)
{
    pause_list_expire(&memory_of(s)->pauses, memory_of(s)->now_ms);
    return pause_list_for(&memory_of(s)->pauses, request);
}

static void
memory_warmup_change(struct store *s, const struct limit_conf *limit, const char *route, bool back)
{
    book_warmup(memory_of(s)->book, limit, route, back, now_us(memory_of(s)));
}

static uint32_t
memory_warmup_step(const struct store *s, const char *route)
{
    struct memory_store *m = memory_of(s);
    const struct limit_conf *limit = store_warmup_limit(m->limits, m->n_limits, route);
    struct book_usage u;

    if (!limit)
        return 1;
    book_usage(m->book, &(struct book_question){limit, limit, route, 0, 0}, now_us(m), &u);
    return u.step;
}

static void
memory_lower_cap(struct store *s, const struct limit_conf *limit, const char *instance, uint64_t percent,
    int64_t for_ms)
{
    struct memory_store *m = memory_of(s);

    book_lower(m->book, limit, instance, percent, now_us(m), now_us(m) + (uint64_t)for_ms * 1000);
}

static struct handle
memory_usage(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done, void *arg)
{
    struct memory_store *m = memory_of(s);
    struct ask *ask = ask_new(&m->asks, s, ASK_USAGE, arg);

    ask->fn.usage = done;
    ask->ok = true;
    ask_keep_usage(ask, wanted, n);
    for (size_t i = 0; i < n; i++) {
        struct usage *u = &ask->usage[i];
        struct book_question q;
        struct book_usage b;

        if (u->limit->kind == LIMIT_CONCURRENCY)
            continue;
        q = (struct book_question){.limit = u->limit, .instance = u->instance, .cap = u->cap,
            .day = store_day_limit(m->limits, m->n_limits, u->limit, u->instance), .wanted = u->wanted};
        book_usage(m->book, &q, now_us(m), &b);
        u->cap = b.cap;
        u->used = b.used;
        u->frees_after_ms = b.wait_us < 0 ? -1 : (b.wait_us + 999) / 1000;
        u->warmup_step = b.step;
        u->warmup_peak = b.peak;
        u->warmup_held = b.held;
        u->period_ms = counter_period_us(u->limit) / 1000;
        u->nodes_cap = LIMIT_UNLIMITED;
        u->upstream_cap = b.lowered_cap;
        u->upstream_until_ms = (int64_t)(b.lowered_until_us / 1000);
        u->usual = b.usual;
    }
    ask_answer_later(ask);
    return ask->handle;
}

static void
memory_open(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg)
{
    (void)actor;
    (void)reason;
    answer_done(memory_of(s), true, done, arg);
}

static void
memory_status(const struct store *s, struct store_status *out)
{
    memset(out, 0, sizeof(*out));
    out->up = true;
    out->redis_time_ms = memory_of(s)->now_ms;
    out->nodes = 1;
    out->changes = memory_of(s)->moves;
    snprintf(out->node, sizeof(out->node), "memory");
}

static void
memory_note_late(struct store *s, const char *detail)
{
    (void)s; /* it answers within the turn */
    (void)detail;
}

/* It has neither identity nor folder. */
static void
memory_become_guest(struct store *s, store_pause_line_fn *on_pause, store_done_fn *done, void *arg)
{
    (void)on_pause;
    answer_done(memory_of(s), true, done, arg);
}

static int
memory_return(struct store *s, struct err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static void
memory_hear_pause(struct store *s, struct span line)
{
    (void)s;
    (void)line;
}

static const struct store_ops memory_ops = {
    .free = memory_free,
    .prepare = memory_prepare,
    .commit = memory_end_plan,
    .discard = memory_end_plan,
    .set_limits = memory_set_limits,
    .set_slot_caps = memory_set_slot_caps,
    .charge = memory_charge,
    .forget = memory_forget,
    .refund = memory_refund,
    .note_late = memory_note_late,
    .lease_take = memory_lease_take,
    .lease_give = memory_lease_give,
    .lease_disown = memory_lease_disown,
    .identity = memory_identity,
    .become_guest = memory_become_guest,
    .return_home = memory_return,
    .hear_pause = memory_hear_pause,
    .now_ms = memory_now_ms,
    .pause = memory_pause,
    .resume = memory_resume,
    .pauses = memory_pauses,
    .pause_for = memory_pause_for,
    .warmup_change = memory_warmup_change,
    .warmup_step = memory_warmup_step,
    .warmup_resume = memory_warmup_resume,
    .warmup_move = memory_warmup_move,
    .lower_cap = memory_lower_cap,
    .usage = memory_usage,
    .open = memory_open,
    .status = memory_status,
};

struct store *
store_memory_new(struct loop *loop)
{
    struct memory_store *m = xcalloc(1, sizeof(*m));

    m->base.ops = &memory_ops;
    asks_init(&m->asks, loop);
    m->book = book_new();
    pause_list_init(&m->pauses);
    list_init(&m->held);
    m->now_ms = START_MS;
    book_set_began(m->book, now_us(m));
    return &m->base;
}

void
store_memory_advance(struct store *s, int64_t ms)
{
    memory_of(s)->now_ms += ms;
}

void
store_memory_count(struct store *s, struct metrics *metrics)
{
    memory_of(s)->metrics = metrics;
}
