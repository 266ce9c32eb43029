#include "relay/admin/explain_view.h"

#include <stdio.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"

/* ---- lines ---- */

uint64_t
explain_wanted(const struct charge_request *request, const struct charge_line *line)
{
    return line->fixed + (uint64_t)line->each * request->recipients;
}

const struct charge_scope *
explain_scope_of(const struct charge_request *request, size_t line)
{
    size_t s = 0;

    while (s + 1 < request->n_scopes
        && line >= request->scopes[s].first_line + request->scopes[s].n_lines)
        s++;
    return &request->scopes[s];
}

/* Of a rate the burst, like the cap in force; of a warm-up what its step says. */
static uint64_t
configured_cap(const struct charge_line *line, const struct usage *u)
{
    uint64_t cap = line->cap, next;

    if (line->limit->kind == LIMIT_RATE && line->limit->value > 0)
        return line->limit->burst;
    if (line->limit->kind == LIMIT_WARMUP && u->warmup_step > 0)
        plan_warmup_caps(line->limit, u->warmup_step, &cap, &next);
    return cap;
}

static void
add_lowering(json_t *list, const char *by, uint64_t cap, int64_t until_ms)
{
    json_t *o = json_object();

    json_object_set_new(o, "by", json_string(by));
    json_object_set_new(o, "cap", json_cap(cap));
    json_object_set_new(o, "until", json_time(until_ms));
    json_array_append_new(list, o);
}

static json_t *
lowered_to_json(const struct charge_line *line, const struct usage *u)
{
    uint64_t configured = configured_cap(line, u);
    json_t *list = json_array();

    if (u->nodes_cap < configured)
        add_lowering(list, "node", u->nodes_cap, 0);
    if (u->upstream_cap < configured)
        add_lowering(list, "upstream", u->upstream_cap, u->upstream_until_ms);
    return list;
}

/* The verdict names one limit only, of which it knows more than the question for its use: a counter that is
 * missing counts as full. */
static bool
is_binding(const struct explain_part *part, size_t line)
{
    const struct verdict *v = &part->verdict;
    const struct charge_scope *scope = explain_scope_of(&part->request, line);

    return (v->kind == VERDICT_OVER || v->kind == VERDICT_IMPOSSIBLE) &&
        v->limit == part->request.lines[line].limit && v->scope == scope->scope &&
        strcmp(v->instance, scope->instance) == 0;
}

/* One in shadow is counted and holds nothing. */
static bool
is_shadow(const struct explain_part *part, size_t line)
{
    return part->request.lines[line].limit->mode == MODE_SHADOW;
}

static int64_t
line_passes_after_ms(const struct explain_part *part, size_t line)
{
    int64_t after_ms = part->usage[line].frees_after_ms;

    if (!is_binding(part, line) || after_ms < 0)
        return after_ms;
    if (part->verdict.retry_after_ms < 0)
        return -1;
    return part->verdict.retry_after_ms > after_ms ? part->verdict.retry_after_ms : after_ms;
}

/* null: not known. */
static void
add_time(json_t *o, const struct store *s, int64_t after_ms)
{
    json_object_set_new(o, "passes_after_ms", json_integer(after_ms));
    json_object_set_new(o, "passes_at", json_time(after_ms < 0 ? 0 : store_now_ms(s) + after_ms));
}

static void
add_use(json_t *o, const struct explain_part *part, size_t i)
{
    const struct charge_line *line = &part->request.lines[i];
    const struct usage *u = &part->usage[i];
    bool told = is_binding(part, i);
    uint64_t used = told ? part->verdict.used : u->used, cap = told ? part->verdict.cap : u->cap;

    json_object_set_new(o, "wanted", json_u64(explain_wanted(&part->request, line)));
    json_object_set_new(o, "used", json_u64(used));
    json_object_set_new(o, "cap", json_cap(cap));
    json_object_set_new(
        o, "remaining", cap == LIMIT_UNLIMITED ? json_null() : json_u64(cap > used ? cap - used : 0));
    json_object_set_new(o, "configured", json_cap(configured_cap(line, u)));
    json_object_set_new(o, "lowered", lowered_to_json(line, u));
    if (line->limit->kind == LIMIT_WARMUP)
        json_object_set_new(o, "step", json_integer(u->warmup_step));
}

static json_t *
line_to_json(const struct admin *a, const struct explain_part *part, size_t i)
{
    const struct limit_conf *l = part->request.lines[i].limit;
    const struct charge_scope *scope = explain_scope_of(&part->request, i);
    json_t *o = json_object();

    json_object_set_new(o, "limit", json_text(l->name));
    json_object_set_new(o, "scope", json_string(limit_scope_to_str(scope->scope)));
    json_object_set_new(o, "instance", json_text(scope->instance));
    json_object_set_new(o, "kind", json_string(limit_kind_to_str(l->kind)));
    json_object_set_new(o, "unit", json_string(limit_unit_to_str(l->unit)));
    json_object_set_new(o, "period_ms", json_u64(part->usage[i].period_ms));
    json_object_set_new(o, "configured_period_ms", json_u64(l->period_ms));
    json_object_set_new(o, "rate", l->kind == LIMIT_RATE ? json_u64(l->value) : json_null());
    add_use(o, part, i);
    add_time(o, a->setup.store, line_passes_after_ms(part, i));
    json_object_set_new(o, "mode", json_string(limit_mode_to_str(l->mode)));
    json_object_set_new(o, "binds", json_boolean(is_binding(part, i)
        || (!is_shadow(part, i) && line_passes_after_ms(part, i) != 0)));
    json_object_set_new(o, "source", json_text(l->source));
    json_object_set_new(o, "origin", json_text(l->origin));
    return o;
}

/* ---- pauses ---- */

static bool
stops(const struct pause *p, const struct charge_request *r, int64_t now_ms)
{
    bool is_over = p->until_utc_ms != 0 && p->until_utc_ms <= now_ms;

    if (is_over || p->extent == PAUSE_GROWTH || (p->extent == PAUSE_EXTERNAL && !r->external))
        return false;
    for (size_t i = 0; i < r->n_scopes; i++)
        if (p->scope == r->scopes[i].scope && strcmp(p->instance, r->scopes[i].instance) == 0)
            return true;
    return false;
}

static json_t *
pauses_to_json(const struct admin *a, const struct charge_request *r)
{
    const struct pause *p;
    size_t n = store_pauses(a->setup.store, &p);
    int64_t now_ms = store_now_ms(a->setup.store);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        if (stops(&p[i], r, now_ms))
            json_array_append_new(list, pause_to_json(a, &p[i]));
    return list;
}

/* ---- when ---- */

/* -1 is later than anything. */
static int64_t
later(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return -1;
    return a > b ? a : b;
}

static int64_t
pauses_end_after_ms(const struct store *s, const struct charge_request *r)
{
    const struct pause *p;
    size_t n = store_pauses(s, &p);
    int64_t now_ms = store_now_ms(s), after_ms = 0;

    for (size_t i = 0; i < n; i++)
        if (stops(&p[i], r, now_ms))
            after_ms = later(after_ms, p[i].until_utc_ms == 0 ? -1 : p[i].until_utc_ms - now_ms);
    return after_ms;
}

/* By the limits alone, and what keeps them from being asked. */
static int64_t
limits_pass_after_ms(const struct explain_part *part)
{
    int64_t after_ms = 0;

    for (size_t i = 0; i < part->request.n_lines; i++)
        if (!is_shadow(part, i) || is_binding(part, i))
            after_ms = later(after_ms, line_passes_after_ms(part, i));
    switch (part->verdict.kind) {
    case VERDICT_OVER:
    case VERDICT_PAUSED:
    case VERDICT_CLOSED:
        return later(after_ms, part->verdict.retry_after_ms);
    case VERDICT_IMPOSSIBLE:
    case VERDICT_NO_DECISION:
        return -1;
    case VERDICT_GRANTED:
    case VERDICT_KIND_COUNT:
        break;
    }
    return part->verdict.granted >= part->request.recipients ? 0 : after_ms;
}

int64_t
explain_passes_after_ms(const struct store *s, const struct explain_part *part)
{
    int64_t after_ms;

    if (!part->is_planned)
        return -1;
    after_ms = later(limits_pass_after_ms(part), pauses_end_after_ms(s, &part->request));
    return after_ms == 0 && part->result.outcome != EXPLAIN_RELAYED ? -1 : after_ms;
}

/* ---- the whole ---- */

json_t *
explain_reply_to_json(const struct reply *reply)
{
    char text[REPLY_TEXT_MAX + ENHANCED_MAX + 8], enhanced[ENHANCED_MAX];

    if (reply->code == 0)
        return json_null();
    enhanced_format(reply->enhanced, enhanced);
    snprintf(text, sizeof(text), "%d %s%s%s", reply->code, enhanced, enhanced[0] != '\0' ? " " : "",
        reply->text);
    return json_text(text);
}

static json_t *
recipients_to_json(const struct envelope *e)
{
    json_t *list = json_array();

    for (size_t i = 0; i < e->n_recipients; i++)
        json_array_append_new(list, json_text(e->recipients[i].address.text));
    return list;
}

json_t *
explain_part_to_json(const struct admin *a, const struct explain_part *part)
{
    bool external = part->envelope.recipients[0].class == RECIPIENT_EXTERNAL;
    json_t *o = json_object(), *limits = json_array();

    json_object_set_new(o, "class", json_string(external ? "external" : "internal"));
    json_object_set_new(o, "recipients", recipients_to_json(&part->envelope));
    json_object_set_new(o, "outcome", json_string(explain_outcome_to_str(part->result.outcome)));
    json_object_set_new(o, "answer", explain_reply_to_json(&part->result.answer));
    json_object_set_new(o, "why", explain_reply_to_json(&part->result.why));
    add_time(o, a->setup.store, explain_passes_after_ms(a->setup.store, part));
    for (size_t i = 0; part->is_planned && i < part->request.n_lines; i++)
        json_array_append_new(limits, line_to_json(a, part, i));
    json_object_set_new(o, "limits", limits);
    if (!part->is_planned)
        return o;
    json_object_set_new(o, "decision", json_string(verdict_kind_to_str(part->verdict.kind)));
    json_object_set_new(o, "granted", json_integer(part->verdict.granted));
    json_object_set_new(o, "pauses", pauses_to_json(a, &part->request));
    return o;
}
