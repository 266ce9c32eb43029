#include "policy/decide.h"

#include <string.h>

#include "policy/plan.h"

/* One line on its way to the verdict. */
struct work {
    uint64_t cap; /* in force: N of a window, the burst of a rate, the ceiling of a spike */
    struct charge_line line;
};

static uint64_t
least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
burst_in_force(const struct limit_conf *l, const struct decide_line *d)
{
    return least_of(least_of(counter_burst(l), d->burst_most), CAP_MAX);
}

static uint64_t
cap_in_force(uint64_t cap, const struct decide_line *d)
{
    return least_of(least_of(cap, d->cap_most), CAP_MAX);
}

void
decide_mark_new(struct charge_request *r, const struct decide_line *lines, uint64_t now_us)
{
    uint32_t hour = (uint32_t)(now_us / 1000 / KNOWN_HOUR_MS);

    for (size_t i = 0; r->people && i < r->recipients; i++) {
        struct charge_person *p = &r->people[i];

        p->new_of = 0;
        for (size_t k = 0; k < r->n_lines; k++)
            if (r->lines[k].new_bit && !known_has(lines[k].known, p->hash, hour, known_hours(&r->lines[k])))
                p->new_of |= r->lines[k].new_bit;
    }
}

void
decide_link_days(const struct charge_request *r, struct decide_line *lines)
{
    for (size_t s = 0; s < r->n_scopes; s++) {
        size_t first = r->scopes[s].first_line, end = first + r->scopes[s].n_lines;

        for (size_t i = first; i < end; i++) {
            lines[i].day_line = i;
            for (size_t k = first; r->lines[i].limit->hour_cap && k < end; k++)
                if (!r->lines[k].limit->hour_cap && r->lines[k].limit->kind == LIMIT_WARMUP
                    && r->lines[k].limit->schedule == r->lines[i].limit->schedule)
                    lines[i].day_line = k;
        }
    }
}

/* What was charged may be offered so much later, and counts for a period from then. */
static bool
is_missed(const struct decide_line *d, uint64_t period_us, uint64_t now_us)
{
    return d->is_expected
        || (d->charged_us > 0 && d->charged_us + period_us + limit_lifetime_us(period_us) > now_us);
}

static void
load(const struct charge_line *line, const struct decide_line *d, uint64_t now_us, struct counter *c)
{
    struct counter_terms t = {counter_kind(line->limit), line->limit->unit, counter_period_us(line->limit),
        cap_in_force(line->cap, d), burst_in_force(line->limit, d),
        counter_allowed(line->limit, line->cap), line->step, d->step_day, d->began_us};

    if (d->counter) {
        *c = *d->counter;
        counter_turn(c, &t, now_us);
    } else if (is_missed(d, t.period_us, now_us)) {
        counter_init_full(c, &t, now_us);
    } else {
        counter_init(c, &t, now_us);
    }
}

/* Turns the warm-ups' days and sets the caps in force. Not DECIDE_DONE: a step is not the one that was asked
 * for. */
static enum decide_status
set_caps(const struct charge_request *r, const struct decide_line *d, uint64_t now_us, struct counter *c,
    struct work *w, size_t *step_line_out, uint32_t *step_out)
{
    enum warmup_turn turns[CHARGE_LINES_MAX] = {WARMUP_STAYS};

    for (size_t i = 0; i < r->n_lines; i++) {
        const struct charge_line *line = &r->lines[i];
        bool is_known;

        if (c[i].kind != LIMIT_WARMUP || d[i].day_line != i)
            continue;
        is_known = c[i].warm.step == line->step;
        if (is_known)
            turns[i] = warmup_turn_day(&c[i].warm, now_us / US_PER_DAY, least_of(line->cap, CAP_MAX),
                d[i].is_frozen, line->limit->schedule);
        if (is_known && turns[i] != WARMUP_FALLS)
            continue;
        c[i].changed |= is_known;
        *step_line_out = i;
        *step_out = c[i].warm.step;
        return is_known ? DECIDE_FELL : DECIDE_STEP;
    }
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct charge_line *line = &r->lines[i];

        w[i].cap = cap_in_force(turns[d[i].day_line] == WARMUP_ADVANCES ? line->next_cap : line->cap, &d[i]);
        w[i].cap = counter_most(&c[i], w[i].cap, burst_in_force(line->limit, &d[i]));
        w[i].line = *line;
        w[i].line.fixed = least_of(line->fixed, CAP_MAX);
    }
    return DECIDE_DONE;
}

static bool
is_impossible(const struct charge_request *r, size_t i, const struct work *w)
{
    const struct charge_line *line = &r->lines[i];
    uint64_t configured = line->limit->kind == LIMIT_RATE && line->cap > 0 ? line->limit->burst : line->cap;
    uint64_t cost = charge_cost(r, &w->line, r->least);

    if (cost <= w->cap)
        return false;
    if (r->least > 1 && w->line.each > 0 && w->line.fixed + w->line.each <= w->cap)
        return true;
    return line->limit->kind != LIMIT_WARMUP && line->limit->kind != LIMIT_SPIKE && cost > configured;
}

static uint32_t
grant_of(const struct charge_request *r, const struct work *w, uint64_t used)
{
    return charge_fits(r, &w->line, w->cap > used ? w->cap - used : 0);
}

static bool
is_shadow(const struct charge_line *line)
{
    return line->limit->mode == MODE_SHADOW;
}

/* Before anything is taken: what would the limits in shadow have made of a grant of g? */
static void
note_shadows(const struct charge_request *r, const struct counter *c, const struct work *w, uint32_t g,
    struct verdict *v)
{
    for (size_t i = 0; i < r->n_lines; i++) {
        uint32_t most = grant_of(r, &w[i], counter_used(&c[i]));

        if (!is_shadow(&r->lines[i]) || most >= g)
            continue;
        if (most < r->least)
            v->would_hold |= 1u << i;
        else
            v->would_shorten |= 1u << i;
    }
}

static void
name_limit(struct verdict *v, const struct charge_request *r, size_t line, uint64_t used, uint64_t cap)
{
    for (size_t s = 0; s < r->n_scopes; s++) {
        const struct charge_scope *scope = &r->scopes[s];

        if (line < scope->first_line || line >= scope->first_line + scope->n_lines)
            continue;
        v->scope = scope->scope;
        memcpy(v->instance, scope->instance, sizeof(v->instance));
    }
    v->limit = r->lines[line].limit;
    v->used = used;
    v->cap = cap;
}

/* In us from now; -1: not under the cap in force. */
static int64_t
wait_of(const struct charge_request *r, const struct counter *c, const struct work *w, uint64_t now_us)
{
    uint64_t cost = charge_cost(r, &w->line, r->least), used = counter_used(c), at_us;

    if (cost > w->cap)
        return -1;
    at_us = counter_frees_at_us(c, used + cost - w->cap);
    return at_us > now_us ? (int64_t)(at_us - now_us) : 0;
}

/* The limit that keeps it longest; "not known" is longer than any wait. */
static void
refuse(const struct charge_request *r, const struct counter *c, const struct work *w, uint64_t now_us,
    struct verdict *v)
{
    int64_t longest = -2;

    v->kind = VERDICT_OVER;
    for (size_t i = 0; i < r->n_lines && longest != -1; i++) {
        uint64_t used = counter_used(&c[i]);
        int64_t wait;

        if (is_shadow(&r->lines[i]) || grant_of(r, &w[i], used) >= r->least)
            continue;
        wait = wait_of(r, &c[i], &w[i], now_us);
        if (wait == -1 || wait > longest) {
            longest = wait;
            name_limit(v, r, i, used, w[i].cap);
        }
    }
    v->retry_after_ms = longest < 0 ? -1 : (longest + 999) / 1000;
}

enum decide_status
decide_charge(const struct charge_request *r, const struct decide_line *d, uint64_t now_us,
    struct counter *fresh, struct verdict *v, size_t *step_line_out, uint32_t *step_out)
{
    struct work w[CHARGE_LINES_MAX];
    uint32_t g = r->recipients;
    size_t binding = r->n_lines;
    enum decide_status status;

    memset(v, 0, sizeof(*v));
    v->time_us = now_us;
    for (size_t i = 0; i < r->n_lines; i++)
        load(&r->lines[i], &d[i], now_us, &fresh[i]);
    status = set_caps(r, d, now_us, fresh, w, step_line_out, step_out);
    if (status != DECIDE_DONE)
        return status;
    for (size_t i = 0; i < r->n_lines; i++) {
        uint32_t most = grant_of(r, &w[i], counter_used(&fresh[i]));

        if (is_shadow(&r->lines[i]))
            continue;
        if (is_impossible(r, i, &w[i])) {
            v->kind = VERDICT_IMPOSSIBLE;
            name_limit(v, r, i, counter_used(&fresh[i]), w[i].cap);
            return DECIDE_DONE;
        }
        if (most < g) {
            g = most;
            binding = i;
        }
    }
    if (g < r->least) {
        refuse(r, fresh, w, now_us, v);
        return DECIDE_DONE;
    }
    v->kind = VERDICT_GRANTED;
    v->granted = g;
    note_shadows(r, fresh, w, g, v);
    for (size_t i = 0; i < r->n_lines && !r->look; i++)
        counter_take(&fresh[i], charge_cost(r, &w[i].line, g), w[i].cap, now_us);
    if (binding < r->n_lines)
        name_limit(v, r, binding, counter_used(&fresh[binding]), w[binding].cap);
    return DECIDE_DONE;
}

void
decide_set_step(struct charge_request *r, const struct decide_line *lines, size_t line, uint32_t step)
{
    for (size_t i = 0; i < r->n_lines; i++) {
        if (lines[i].day_line != line || r->lines[i].limit->kind != LIMIT_WARMUP)
            continue;
        r->lines[i].step = step;
        plan_warmup_caps(r->lines[i].limit, step, &r->lines[i].cap, &r->lines[i].next_cap);
    }
}
