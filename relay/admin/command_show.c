/* The commands that only look. Field names are an interface: sendgovctl(8) documents them. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "policy/warmup.h"
#include "relay/admin/advice.h"
#include "relay/admin/command.h"
#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"
#include "relay/admin/spool_view.h"
#include "relay/admin/usage_view.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/held.h"
#include "relay/front/front.h"
#include "relay/upstream/upstream.h"

#define ROWS_MAX 256 /* listeners, upstream pools */

/* ---- parts ---- */

static json_t *
store_to_json(const struct store *s)
{
    struct store_status st;
    json_t *o = json_object();

    store_status(s, &st);
    json_object_set_new(o, "up", json_boolean(st.up));
    json_object_set_new(o, "error", json_string(store_error_to_str(st.error)));
    json_object_set_new(o, "detail", json_text(st.detail));
    json_object_set_new(o, "closed_for_ms", json_integer(st.closed_for_ms));
    json_object_set_new(o, "time", json_time(st.redis_time_ms));
    json_object_set_new(o, "nodes", json_integer(st.nodes));
    json_object_set_new(o, "limits_differ", json_boolean(st.differs[0] != '\0'));
    json_object_set_new(o, "differing_limit", json_text(st.differs));
    return o;
}

static json_t *
left_to_json(const struct pause *p, int64_t now_ms)
{
    if (p->until_utc_ms == 0)
        return json_null();
    return json_integer(p->until_utc_ms > now_ms ? p->until_utc_ms - now_ms : 0);
}

json_t *
pause_to_json(const struct admin *a, const struct pause *p)
{
    char advice[REPLY_ADVICE_MAX];
    json_t *o = json_object();

    json_object_set_new(o, "scope", json_string(limit_scope_to_str(p->scope)));
    json_object_set_new(o, "instance", json_text(p->instance));
    json_object_set_new(o, "extent", json_string(pause_extent_to_str(p->extent)));
    json_object_set_new(
        o, "class", json_string(p->class == CLASS_OK ? "operator" : reply_class_to_str(p->class)));
    json_object_set_new(o, "since", json_time(p->since_utc_ms));
    json_object_set_new(o, "until", json_time(p->until_utc_ms));
    json_object_set_new(o, "left_ms", left_to_json(p, store_now_ms(a->setup.store)));
    json_object_set_new(o, "reason", json_text(p->reason));
    advice_of_pause(a->config, p, advice);
    json_object_set_new(o, "advice", json_text(advice));
    json_object_set_new(o, "actor", json_text(p->actor));
    return o;
}

static json_t *
pauses_to_json(const struct admin *a)
{
    const struct pause *p;
    size_t n = store_pauses(a->setup.store, &p);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        if (p[i].extent != PAUSE_GROWTH) /* shown with its warm-up */
            json_array_append_new(list, pause_to_json(a, &p[i]));
    return list;
}

static json_t *
upstreams_to_json(const struct upstream *u)
{
    struct upstream_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = upstream_status(u, rows, ROWS_MAX);
    json_t *list = json_array();

    for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
        json_t *o = json_object();

        json_object_set_new(o, "route", json_text(rows[i].route));
        json_object_set_new(o, "mailbox", json_text(rows[i].mailbox));
        json_object_set_new(o, "connecting", json_integer(rows[i].connecting));
        json_object_set_new(o, "busy", json_integer(rows[i].busy));
        json_object_set_new(o, "idle", json_integer(rows[i].idle));
        json_object_set_new(o, "waiting", json_integer(rows[i].waiting));
        json_object_set_new(o, "limit", json_integer(rows[i].limit));
        json_object_set_new(o, "backoff_ms", json_integer(rows[i].backoff_ms));
        json_object_set_new(o, "last_error", json_text(rows[i].last_error));
        json_array_append_new(list, o);
    }
    free(rows);
    return list;
}

static json_t *
listeners_to_json(const struct front *f)
{
    struct front_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = front_status(f, rows, ROWS_MAX);
    json_t *list = json_array();

    for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
        json_t *o = json_object();

        json_object_set_new(o, "listener", json_text(rows[i].listener));
        json_object_set_new(o, "address", json_text(rows[i].address));
        json_object_set_new(o, "connections", json_integer(rows[i].connections));
        json_array_append_new(list, o);
    }
    free(rows);
    return list;
}

/* What the node knows without asking: step and cap as last heard. */
static json_t *
steps_to_json(const struct admin *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->config->n_routes; i++) {
        const struct route_conf *r = &a->config->routes[i];
        uint32_t step;
        json_t *o;

        if (!r->warmup)
            continue;
        step = store_warmup_step(a->setup.store, r->name);
        o = json_object();
        json_object_set_new(o, "route", json_text(r->name));
        json_object_set_new(o, "schedule", json_text(r->warmup->name));
        json_object_set_new(o, "step", json_integer(step));
        json_object_set_new(o, "cap", json_cap(warmup_cap(r->warmup, step)));
        json_array_append_new(list, o);
    }
    return list;
}

/* null: this node holds nothing. */
static json_t *
spool_to_json(const struct flow *f)
{
    struct spool_status spool;
    struct queue_counts queue;

    if (!held_is_on(f))
        return json_null();
    held_status(f, &spool, &queue);
    return spool_view_status(&spool, &queue);
}

static json_t *
profiles_to_json(const struct config *c)
{
    int64_t now_ms = clock_utc_ms();
    json_t *list = json_array();

    for (size_t i = 0; i < c->n_profiles; i++) {
        const struct profile_conf *p = &c->profiles[i];
        json_t *o = json_object();

        json_object_set_new(o, "profile", json_text(p->name));
        json_object_set_new(o, "file", json_text(p->file));
        json_object_set_new(o, "dated", json_text(p->dated));
        json_object_set_new(o, "age_days", json_integer(profile_age_days(p, now_ms)));
        json_object_set_new(o, "old", json_boolean(profile_is_old(p, now_ms)));
        json_array_append_new(list, o);
    }
    return list;
}

/* ---- status ---- */

void
run_status(struct call *call)
{
    const struct admin *a = call->admin;
    struct flow_status flow;
    char reason[READY_TEXT_MAX];
    json_t *o = json_object();

    flow_status(a->setup.flow, &flow);
    json_object_set_new(o, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(o, "node", json_text(a->config->node));
    json_object_set_new(o, "ready", json_boolean(admin_is_ready(a, reason)));
    json_object_set_new(o, "reason", json_text(reason));
    json_object_set_new(o, "uptime_ms", json_integer(clock_mono_ms() - a->started_mono_ms));
    json_object_set_new(o, "config_file", json_text(a->config->file));
    json_object_set_new(o, "config_hash", json_text(a->config->hash));
    json_object_set_new(o, "profiles", profiles_to_json(a->config));
    json_object_set_new(o, "messages_in_flight", json_u64(flow.in_flight));
    json_object_set_new(o, "store", store_to_json(a->setup.store));
    json_object_set_new(o, "spool", spool_to_json(a->setup.flow));
    json_object_set_new(o, "warmups", steps_to_json(a));
    json_object_set_new(o, "pauses", pauses_to_json(a));
    json_object_set_new(o, "listeners", listeners_to_json(a->setup.front));
    json_object_set_new(o, "upstreams", upstreams_to_json(a->setup.upstream));
    call_ok(call, o);
}

static void
answer_list(struct call *call, const char *key, json_t *list)
{
    json_t *o = json_object();

    json_object_set_new(o, key, list);
    call_ok(call, o);
}

void
run_pauses(struct call *call)
{
    answer_list(call, "pauses", pauses_to_json(call->admin));
}

void
run_upstreams(struct call *call)
{
    answer_list(call, "upstreams", upstreams_to_json(call->admin->setup.upstream));
}

void
run_config(struct call *call)
{
    const struct config *c = call->admin->config;
    json_t *o = json_object();

    json_object_set_new(o, "file", json_text(c->file));
    json_object_set_new(o, "hash", json_text(c->hash));
    json_object_set_new(o, "dump", json_text(c->dump ? c->dump : ""));
    call_ok(call, o);
}

/* ---- what has to be asked ---- */

void
call_refuse_store(struct call *call, enum store_error error)
{
    struct store_status st;

    if (!call->admin) { /* nobody is told; the call ends */
        call_refuse(call, "stopping");
        return;
    }
    store_status(call->admin->setup.store, &st);
    call_refuse(call, "Redis gave no answer (%s%s%s); see `sendgovctl status`, then try again",
        store_error_to_str(error), st.detail[0] ? ": " : "", st.detail);
}

static json_t *
row_to_json(const struct usage *u)
{
    const struct limit_conf *l = u->limit;
    json_t *o = json_object();

    json_object_set_new(o, "limit", json_text(l->name));
    json_object_set_new(o, "scope", json_string(limit_scope_to_str(l->scope)));
    json_object_set_new(o, "instance", json_text(u->instance));
    json_object_set_new(o, "kind", json_string(limit_kind_to_str(l->kind)));
    json_object_set_new(o, "unit", json_string(limit_unit_to_str(l->unit)));
    json_object_set_new(o, "mode", json_string(limit_mode_to_str(l->mode)));
    json_object_set_new(o, "period_ms", json_u64(l->period_ms));
    json_object_set_new(o, "rate", l->kind == LIMIT_RATE ? json_u64(l->value) : json_null());
    json_object_set_new(o, "usual", l->kind == LIMIT_SPIKE ? json_u64(u->usual) : json_null());
    json_object_set_new(o, "used", json_u64(u->used));
    json_object_set_new(o, "cap", json_cap(u->cap));
    json_object_set_new(o, "configured",
        l->kind == LIMIT_WARMUP ? json_null() : json_cap(l->kind == LIMIT_RATE ? l->burst : l->value));
    json_object_set_new(o, "remaining",
        u->cap == LIMIT_UNLIMITED ? json_null() : json_u64(u->cap > u->used ? u->cap - u->used : 0));
    json_object_set_new(o, "frees_after_ms", json_integer(u->frees_after_ms));
    json_object_set_new(o, "source", json_text(l->source));
    return o;
}

static void
on_limits(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct call *call = arg;
    json_t *list;

    if (!ok) {
        call_refuse_store(call, error);
        return;
    }
    list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, row_to_json(&usage[i]));
    answer_list(call, "limits", list);
}

static enum limit_scope
scope_of(const struct call *call)
{
    const char *name = call_text(call, "scope");

    for (int s = 0; name && s < SCOPE_COUNT; s++) {
        if (strcmp(name, limit_scope_to_str((enum limit_scope)s)) == 0)
            return (enum limit_scope)s;
    }
    return SCOPE_COUNT;
}

static void
withdraw(struct admin *a, struct handle question)
{
    store_forget(a->setup.store, question);
}

static void
ask(struct call *call, const struct usage_filter *filter, const char *key, store_usage_fn *done)
{
    struct usage *rows;
    bool cut;
    size_t n = usage_list(call->admin->config, call->admin->setup.store, filter, &rows, &cut);

    if (cut) {
        call_refuse(call, "more than %d counters; narrow it down with scope and instance", USAGE_MAX);
    } else if (n == 0) {
        answer_list(call, key, json_array());
    } else {
        call->asking = true;
        call->withdraw = withdraw;
        call->question = store_usage(call->admin->setup.store, rows, n, done, call);
    }
    free(rows);
}

/* A misspelt name must not look like one without limits. Of senders and domains any may come. */
static bool
may_have_limits(struct call *call, const struct usage_filter *filter)
{
    struct usage *rows;
    bool cut;
    size_t n;

    if (!filter->instance || filter->scope == SCOPE_SENDER || filter->scope == SCOPE_SENDER_DOMAIN
        || filter->scope == SCOPE_RECIPIENT_DOMAIN)
        return true;
    if (filter->scope != SCOPE_COUNT)
        return call_check_named(call, filter->scope, filter->instance);
    n = usage_list(call->admin->config, call->admin->setup.store, filter, &rows, &cut);
    free(rows);
    if (n == 0)
        call_usage(call,
            "limits: nothing called \"%.64s\" has a limit; `sendgovctl limits` lists what has, and of a "
            "sender say its scope",
            filter->instance);
    return n > 0;
}

void
run_limits(struct call *call)
{
    struct usage_filter filter = {
        .scope = scope_of(call), .instance = call_text(call, "instance"), .senders = true};

    if (!may_have_limits(call, &filter))
        return;
    ask(call, &filter, "limits", on_limits);
}

/* null: no operator holds it. */
static json_t *
hold_to_json(const struct admin *a, const char *route)
{
    const struct pause *p = call_find_hold(a, route);
    json_t *o;

    if (!p)
        return json_null();
    o = json_object();
    json_object_set_new(o, "actor", json_text(p->actor));
    json_object_set_new(o, "reason", json_text(p->reason));
    json_object_set_new(o, "since", json_time(p->since_utc_ms));
    json_object_set_new(o, "until", json_time(p->until_utc_ms));
    json_object_set_new(o, "left_ms", left_to_json(p, store_now_ms(a->setup.store)));
    return o;
}

static json_t *
warmup_to_json(const struct admin *a, const struct usage *u)
{
    const struct schedule_conf *s = u->limit->schedule;
    uint64_t cap = warmup_cap(s, u->warmup_step);
    json_t *o = json_object();

    json_object_set_new(o, "route", json_text(u->instance));
    json_object_set_new(o, "schedule", json_text(s->name));
    json_object_set_new(o, "step", json_integer(u->warmup_step));
    json_object_set_new(o, "last_step", json_integer(warmup_last_step(s)));
    json_object_set_new(o, "cap", json_cap(u->cap));
    json_object_set_new(o, "hour_cap", json_cap(warmup_hour_cap(cap)));
    json_object_set_new(o, "next_cap", json_cap(warmup_cap(s, u->warmup_step + 1)));
    json_object_set_new(o, "used", json_u64(u->used));
    json_object_set_new(o, "peak", json_u64(u->warmup_peak));
    json_object_set_new(
        o, "peak_needed", json_u64(cap / 100 * s->use_percent + (cap % 100 * s->use_percent + 99) / 100));
    json_object_set_new(o, "held", json_boolean(u->warmup_held));
    json_object_set_new(o, "hold", hold_to_json(a, u->instance));
    json_object_set_new(o, "frees_after_ms", json_integer(u->frees_after_ms));
    return o;
}

static void
on_warmup(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct call *call = arg;
    json_t *list;

    if (!ok) {
        call_refuse_store(call, error);
        return;
    }
    list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, warmup_to_json(call->admin, &usage[i]));
    answer_list(call, "warmups", list);
}

void
run_warmup(struct call *call)
{
    struct usage_filter filter = {
        .scope = SCOPE_ROUTE, .instance = call_text(call, "route"), .warmup_only = true};

    if (filter.instance && !config_route(call->admin->config, filter.instance)) {
        call_usage(call, "warmup: there is no route \"%.64s\"", filter.instance);
        return;
    }
    ask(call, &filter, "warmups", on_warmup);
}
