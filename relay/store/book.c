#include "relay/store/book.h"

#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/base/list.h"
#include "relay/base/xmalloc.h"

#define CHAINS 1024

/* One limit of one scope instance. */
struct page {
    struct list link;
    enum limit_scope scope;
    char *instance, *limit;
    struct known *known; /* only in the page without a limit: the instance's, of all its limits; else NULL */
    bool present; /* it holds a counter (a lowered cap alone makes a page too) */
    struct counter counter;
    uint64_t kept_until_ms; /* present: forgotten after that; the same for all of an instance */
    uint64_t lowered_cap, lowered_until_us;
    uint64_t frozen_until_us; /* of the page without a limit: that of the instance itself */
};

struct book {
    struct list chains[CHAINS];
    uint64_t began_us;
};

struct book *
book_new(void)
{
    struct book *b = xmalloc(sizeof(*b));

    b->began_us = 0;
    for (size_t i = 0; i < CHAINS; i++)
        list_init(&b->chains[i]);
    return b;
}

void
book_set_began(struct book *b, uint64_t began_us)
{
    b->began_us = began_us;
}

static void
page_free(struct page *p)
{
    list_del(&p->link);
    known_free(&p->known);
    free(p->instance);
    free(p->limit);
    free(p);
}

void
book_free(struct book **b)
{
    if (!*b)
        return;
    for (size_t i = 0; i < CHAINS; i++)
        LIST_EACH_SAFE(it, &(*b)->chains[i])
            page_free(LIST_ITEM(it, struct page, link));
    free(*b);
    *b = NULL;
}

static uint32_t
hour_of(uint64_t at_us)
{
    return (uint32_t)(at_us / 1000 / KNOWN_HOUR_MS);
}

static struct list *
chain_of(struct book *b, enum limit_scope scope, const char *instance)
{
    uint64_t hash = 14695981039346656037ull ^ scope; /* FNV-1a */

    for (; *instance; instance++)
        hash = (hash ^ (unsigned char)*instance) * 1099511628211ull;
    return &b->chains[hash % CHAINS];
}

static struct page *
find(struct book *b, enum limit_scope scope, const char *instance, const char *limit)
{
    struct list *chain = chain_of(b, scope, instance);

    LIST_EACH(it, chain) {
        struct page *p = LIST_ITEM(it, struct page, link);

        if (p->scope == scope && strcmp(p->instance, instance) == 0 && strcmp(p->limit, limit) == 0)
            return p;
    }
    return NULL;
}

static struct page *
find_or_make(struct book *b, enum limit_scope scope, const char *instance, const char *limit)
{
    struct page *p = find(b, scope, instance, limit);

    if (p)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->scope = scope;
    p->instance = xstrdup(instance);
    p->limit = xstrdup(limit);
    list_add_tail(chain_of(b, scope, instance), &p->link);
    return p;
}

static bool
is_kept(const struct page *p, uint64_t now_us)
{
    return p && p->present && now_us / 1000 <= p->kept_until_ms;
}

static bool
is_of(const struct page *p, enum limit_scope scope, const char *instance)
{
    return p->scope == scope && strcmp(p->instance, instance) == 0;
}

/* Before an instance is written: what Redis would have forgotten is forgotten. */
static void
forget_old(struct book *b, enum limit_scope scope, const char *instance, uint64_t now_us)
{
    LIST_EACH(it, chain_of(b, scope, instance)) {
        struct page *p = LIST_ITEM(it, struct page, link);

        if (is_of(p, scope, instance) && !is_kept(p, now_us))
            p->present = false;
    }
}

static uint64_t
kept_us(const struct counter *c)
{
    return counter_kept_us(c->kind, c->kind == LIMIT_RATE ? c->rate.period_us : c->window.period_us);
}

/* After it: all counters of the instance are kept as long as the longest of them. */
static void
keep(struct book *b, enum limit_scope scope, const char *instance, uint64_t now_us)
{
    struct list *chain = chain_of(b, scope, instance);
    uint64_t longest_us = 0;

    LIST_EACH(it, chain) {
        const struct page *p = LIST_ITEM(it, struct page, link);

        if (is_of(p, scope, instance) && p->present && kept_us(&p->counter) > longest_us)
            longest_us = kept_us(&p->counter);
    }
    LIST_EACH(it, chain) {
        struct page *p = LIST_ITEM(it, struct page, link);

        if (is_of(p, scope, instance))
            p->kept_until_ms = now_us / 1000 + longest_us / 1000;
    }
}

static uint64_t
lowered(const struct page *p, uint64_t now_us)
{
    return p && p->lowered_until_us > now_us ? p->lowered_cap : LIMIT_UNLIMITED;
}

static bool
is_frozen(struct book *b, enum limit_scope scope, const char *instance, uint64_t now_us)
{
    const struct page *p = find(b, scope, instance, "");

    return p && p->frozen_until_us > now_us;
}

void
book_freeze(struct book *b, enum limit_scope scope, const char *instance, uint64_t until_us)
{
    find_or_make(b, scope, instance, "")->frozen_until_us = until_us;
}

static struct known *
known_of(struct book *b, const struct charge_scope *scope)
{
    const struct page *p = find(b, scope->scope, scope->instance, "");

    return p ? p->known : NULL;
}

/* The lines of the scope that count new recipients: their bits, and how long the longest remembers. */
static uint8_t
new_bits_of(const struct charge_request *r, const struct charge_scope *scope, uint32_t *hours_out)
{
    uint8_t bits = 0;

    *hours_out = 0;
    for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
        if (r->lines[i].new_bit && known_hours(&r->lines[i]) > *hours_out)
            *hours_out = known_hours(&r->lines[i]);
        bits |= r->lines[i].new_bit;
    }
    return bits;
}

/* Whom the grant was for is known from now on. */
static void
learn(struct book *b, const struct charge_request *r, uint32_t granted, uint64_t now_us)
{
    uint32_t *order = xcalloc(r->recipients, sizeof(*order)), hours;

    charge_order(r->people, r->recipients, order);
    for (size_t s = 0; s < r->n_scopes; s++) {
        struct page *p;

        if (new_bits_of(r, &r->scopes[s], &hours) == 0)
            continue;
        p = find_or_make(b, r->scopes[s].scope, r->scopes[s].instance, "");
        if (!p->known)
            p->known = known_new();
        for (size_t i = 0; i < granted; i++)
            known_add(p->known, r->people[order[i]].hash, hour_of(now_us), hours);
    }
    free(order);
}

/* Who was new to the scope when it was charged is so again. */
static void
unlearn(struct book *b, const struct charge_request *r, uint32_t granted, uint64_t time_us)
{
    uint32_t hours;

    for (size_t s = 0; s < r->n_scopes; s++) {
        uint8_t bits = new_bits_of(r, &r->scopes[s], &hours);
        struct known *known = known_of(b, &r->scopes[s]);

        for (size_t i = 0; known && i < granted; i++)
            if (r->people[i].new_of & bits)
                known_forget(known, r->people[i].hash, hour_of(time_us));
    }
}

static void
look_up(struct book *b, const struct charge_request *r, uint64_t now_us, struct decide_line *lines)
{
    decide_link_days(r, lines);
    for (size_t s = 0; s < r->n_scopes; s++) {
        const struct charge_scope *scope = &r->scopes[s];
        bool frozen = is_frozen(b, scope->scope, scope->instance, now_us);

        for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
            struct page *p = find(b, scope->scope, scope->instance, r->lines[i].limit->name);

            lines[i].is_frozen = frozen;
            lines[i].counter = is_kept(p, now_us) ? &p->counter : NULL;
            lines[i].is_expected = false; /* nothing is ever lost here */
            lines[i].charged_us = lines[i].step_day = 0;
            lines[i].cap_most = lowered(p, now_us);
            lines[i].burst_most = LIMIT_UNLIMITED;
            lines[i].began_us = b->began_us;
            lines[i].known = known_of(b, scope);
        }
    }
}

static void
write_down(struct book *b, const struct charge_request *r, const struct counter *fresh, bool all,
    uint64_t now_us)
{
    for (size_t s = 0; s < r->n_scopes; s++) {
        const struct charge_scope *scope = &r->scopes[s];
        bool written = false;

        for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
            struct page *p;

            if (!all && !fresh[i].changed)
                continue;
            if (!written)
                forget_old(b, scope->scope, scope->instance, now_us);
            written = true;
            p = find_or_make(b, scope->scope, scope->instance, r->lines[i].limit->name);
            p->counter = fresh[i];
            p->present = true;
        }
        if (written)
            keep(b, scope->scope, scope->instance, now_us);
    }
}

void
book_charge(struct book *b, struct charge_request *r, uint64_t now_us, struct verdict *v)
{
    struct decide_line lines[CHARGE_LINES_MAX];
    struct counter fresh[CHARGE_LINES_MAX];
    enum decide_status status;
    size_t line;
    uint32_t step;

    look_up(b, r, now_us, lines);
    decide_mark_new(r, lines, now_us);
    /* Twice per warm-up at most: its counter's step moves once. */
    while ((status = decide_charge(r, lines, now_us, fresh, v, &line, &step)) != DECIDE_DONE) {
        if (status == DECIDE_FELL)
            write_down(b, r, fresh, false, now_us);
        look_up(b, r, now_us, lines);
        decide_set_step(r, lines, line, step);
    }
    write_down(b, r, fresh, v->kind == VERDICT_GRANTED && !r->look, now_us);
    v->people = v->kind == VERDICT_GRANTED ? r->people : NULL;
    if (v->people && !r->look)
        learn(b, r, v->granted, now_us);
}

bool
book_refund(struct book *b, const struct charge_request *r, uint32_t granted, uint64_t time_us,
    uint64_t now_us)
{
    bool any = false;

    for (size_t s = 0; s < r->n_scopes; s++) {
        const struct charge_scope *scope = &r->scopes[s];
        bool given = false;

        for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
            const struct charge_line *l = &r->lines[i];
            struct page *p = find(b, scope->scope, scope->instance, l->limit->name);

            given |= is_kept(p, now_us)
                && counter_give(&p->counter, charge_cost(r, l, granted), time_us);
        }
        if (given)
            keep(b, scope->scope, scope->instance, now_us);
        any |= given;
    }
    if (r->people)
        unlearn(b, r, granted, time_us);
    return any;
}

static struct counter_terms
terms_of(const struct book *b, const struct limit_conf *limit, uint64_t cap, uint32_t step)
{
    uint64_t burst = counter_burst(limit);

    return (struct counter_terms){counter_kind(limit), limit->unit, counter_period_us(limit),
        cap < CAP_MAX ? cap : CAP_MAX, burst < CAP_MAX ? burst : CAP_MAX,
        counter_allowed(limit, cap), step, 0, b->began_us};
}

/* The warm-up's page, brought to now. */
static struct warmup_state *
present_warmup(struct book *b, const struct limit_conf *limit, const char *instance, uint64_t now_us)
{
    struct page *p = find_or_make(b, limit->scope, instance, limit->name);
    uint32_t step;
    uint64_t cap, next;
    struct counter_terms t;

    forget_old(b, limit->scope, instance, now_us);
    step = p->present && p->counter.warm.step > 0 ? p->counter.warm.step : 1;
    plan_warmup_caps(limit, step, &cap, &next);
    t = terms_of(b, limit, cap, step);
    if (p->present)
        counter_turn(&p->counter, &t, now_us);
    else
        counter_init(&p->counter, &t, now_us);
    p->present = true;
    warmup_turn_day(&p->counter.warm, now_us / US_PER_DAY, t.cap,
        is_frozen(b, limit->scope, instance, now_us), limit->schedule);
    keep(b, limit->scope, instance, now_us);
    return &p->counter.warm;
}

uint32_t
book_warmup(struct book *b, const struct limit_conf *limit, const char *instance, bool back, uint64_t now_us)
{
    struct warmup_state *w = present_warmup(b, limit, instance, now_us);

    if (back)
        warmup_step_back(w);
    w->held = true;
    return w->step;
}

struct book_moved
book_move(struct book *b, const struct limit_conf *limit, const char *instance,
    const struct warmup_move *move, uint64_t now_us)
{
    struct warmup_state *w = present_warmup(b, limit, instance, now_us);
    uint32_t before = w->step;

    warmup_move(w, move);
    return (struct book_moved){before, w->step};
}

uint64_t
book_lower(struct book *b, const struct limit_conf *limit, const char *instance, uint64_t percent,
    uint64_t now_us, uint64_t until_us)
{
    struct page *p = find_or_make(b, limit->scope, instance, limit->name);
    uint64_t cap = 0;

    if (is_kept(p, now_us)) {
        struct counter c = p->counter;

        if (c.kind == LIMIT_RATE)
            rate_turn(&c.rate, now_us);
        else
            window_turn(&c.window, now_us);
        cap = counter_used(&c) * percent / 100;
    }
    p->lowered_cap = cap > 0 ? cap : 1;
    p->lowered_until_us = until_us;
    return p->lowered_cap;
}

void
book_forget(struct book *b, enum limit_scope scope, const char *instance)
{
    LIST_EACH_SAFE(it, chain_of(b, scope, instance)) {
        struct page *p = LIST_ITEM(it, struct page, link);

        if (is_of(p, scope, instance))
            page_free(p);
    }
}

/* A counter as the next charge would find it. */
static struct counter
current(struct book *b, const struct limit_conf *limit, const char *instance, const struct counter_terms *t,
    uint64_t now_us)
{
    const struct page *p = find(b, limit->scope, instance, limit->name);
    struct counter c;

    counter_init(&c, t, now_us);
    if (is_kept(p, now_us)) {
        c = p->counter;
        counter_turn(&c, t, now_us);
    }
    return c;
}

/* The warm-up's state as the next charge will find it, and the limit's cap then. */
static struct warmup_state
usage_warmup(struct book *b, const struct book_question *q, uint64_t now_us, uint64_t *cap_out)
{
    const struct page *p = find(b, q->day->scope, q->instance, q->day->name);
    uint32_t step = is_kept(p, now_us) && p->counter.warm.step > 0 ? p->counter.warm.step : 1;
    uint64_t day_cap, next;
    struct counter_terms t;
    struct warmup_state warm;

    plan_warmup_caps(q->day, step, &day_cap, &next);
    t = terms_of(b, q->day, day_cap, step);
    warm = current(b, q->day, q->instance, &t, now_us).warm;
    warmup_turn_day(&warm, now_us / US_PER_DAY, t.cap, is_frozen(b, q->day->scope, q->instance, now_us),
        q->day->schedule);
    plan_warmup_caps(q->limit, warm.step, cap_out, &next);
    return warm;
}

void
book_usage(struct book *b, const struct book_question *q, uint64_t now_us, struct book_usage *out)
{
    const struct page *p = find(b, q->limit->scope, q->instance, q->limit->name);
    uint64_t most = lowered(p, now_us), cap = q->cap, wanted = q->wanted > 0 ? q->wanted : 1;
    struct warmup_state warm = {0};
    struct counter_terms t;
    struct counter c;

    if (q->limit->kind == LIMIT_WARMUP)
        warm = usage_warmup(b, q, now_us, &cap);
    t = terms_of(b, q->limit, cap < most ? cap : most, warm.step);
    c = current(b, q->limit, q->instance, &t, now_us);
    out->used = counter_used(&c);
    out->cap = counter_most(&c, t.cap, t.burst);
    out->usual = c.kind == LIMIT_SPIKE ? c.spike.usual : 0;
    out->step = warm.step;
    out->peak = warm.peak;
    out->held = warm.held;
    out->lowered_cap = most;
    out->lowered_until_us = most != LIMIT_UNLIMITED ? p->lowered_until_us : 0;
    out->wait_us = out->cap < wanted ? -1 : 0;
    if (out->wait_us == 0 && out->used + wanted > out->cap) {
        uint64_t at_us = counter_frees_at_us(&c, out->used + wanted - out->cap);

        out->wait_us = at_us > now_us ? (int64_t)(at_us - now_us) : 0;
    }
}
