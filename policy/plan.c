#include "policy/plan.h"

#include <string.h>

#include "policy/admit.h"
#include "relay/base/ascii.h"

/* As it is written in the subject. */
static struct span
scope_instance(const struct plan_subject *subject, enum limit_scope scope)
{
    switch (scope) {
    case SCOPE_ROUTE:
        return subject->route;
    case SCOPE_MAILBOX:
        return subject->mailbox;
    case SCOPE_CLIENT:
        return subject->client;
    case SCOPE_SENDER:
        return subject->sender.n > 0 ? subject->sender : SPAN_LIT(PLAN_NULL_SENDER);
    case SCOPE_SENDER_DOMAIN:
        return subject->sender_domain;
    case SCOPE_RECIPIENT_DOMAIN:
        return subject->recipient_domain;
    case SCOPE_COUNT:
        break;
    }
    return (struct span){"", 0};
}

bool
plan_sender_instance(struct span sender, char instance_out[INSTANCE_MAX])
{
    struct span all = sender.n > 0 ? sender : SPAN_LIT(PLAN_NULL_SENDER);
    size_t n = all.n < INSTANCE_MAX ? all.n : INSTANCE_MAX - 1;

    for (size_t i = 0; i < n; i++)
        instance_out[i] = ascii_lower(all.p[i]);
    instance_out[n] = '\0';
    return n == all.n;
}

/* Names of the configuration are compared as they stand, what comes from addresses without case. */
bool
plan_names_instance(const char *name, enum limit_scope scope, struct span instance)
{
    if (scope == SCOPE_ROUTE || scope == SCOPE_CLIENT)
        return span_eq(span_str(name), instance);
    if (scope == SCOPE_RECIPIENT_DOMAIN)
        return admit_domain_in(&name, 1, instance);
    return span_eq_nocase(span_str(name), instance);
}

static bool
limit_applies(const struct limit_conf *l, const struct plan_subject *subject, enum limit_scope scope,
    struct span instance)
{
    if (l->scope != scope || l->kind == LIMIT_CONCURRENCY)
        return false;
    if (l->unit == UNIT_EXTERNAL && !subject->external)
        return false;
    if (l->kind != LIMIT_WARMUP && l->value == LIMIT_UNLIMITED)
        return false;
    if (l->route && !span_eq(span_str(l->route), subject->route))
        return false;
    return !l->only || plan_names_instance(l->only, scope, instance);
}

bool
plan_counts_domain(const struct limit_conf *limits, size_t n_limits, const struct plan_subject *subject)
{
    for (size_t i = 0; i < n_limits; i++)
        if (limit_applies(&limits[i], subject, SCOPE_RECIPIENT_DOMAIN, subject->recipient_domain))
            return true;
    return false;
}

void
plan_warmup_caps(const struct limit_conf *limit, uint32_t step, uint64_t *cap_out, uint64_t *next_cap_out)
{
    *cap_out = warmup_cap(limit->schedule, step);
    *next_cap_out = warmup_cap(limit->schedule, step + 1);
    if (limit->hour_cap) {
        *cap_out = warmup_hour_cap(*cap_out);
        *next_cap_out = warmup_hour_cap(*next_cap_out);
    }
}

static void
fill_line(struct charge_line *line, const struct limit_conf *l, const struct plan_subject *subject)
{
    *line = (struct charge_line){.limit = l, .cap = l->value};
    if (l->kind == LIMIT_WARMUP) {
        line->step = subject->warmup_step > 0 ? subject->warmup_step : 1;
        plan_warmup_caps(l, line->step, &line->cap, &line->next_cap);
    }
    switch (l->unit) {
    case UNIT_MESSAGES:
        line->fixed = 1;
        break;
    case UNIT_RECIPIENTS:
    case UNIT_EXTERNAL:
    case UNIT_NEW:
        line->each = 1;
        break;
    case UNIT_BYTES:
        line->fixed = subject->bytes;
        break;
    case UNIT_COUNT:
        break;
    }
}

/* The line that was just filled. False: too many of its kind. */
static bool
mark_new(struct charge_request *r)
{
    struct charge_line *line = &r->lines[r->n_lines++];
    size_t before = 0;

    if (line->limit->unit != UNIT_NEW)
        return true;
    for (const struct charge_line *l = r->lines; l < line; l++)
        before += l->new_bit != 0;
    line->new_bit = (uint8_t)(1u << before);
    return before < CHARGE_NEW_MAX;
}

static int
add_scope(const struct limit_conf *limits, size_t n_limits, const struct plan_subject *subject,
    enum limit_scope scope, struct charge_request *r)
{
    struct span instance = scope_instance(subject, scope);
    struct charge_scope *s = &r->scopes[r->n_scopes];

    if (instance.n == 0)
        return 0;
    if (instance.n >= INSTANCE_MAX)
        return -1;
    s->scope = scope;
    if (scope == SCOPE_SENDER) {
        plan_sender_instance(instance, s->instance);
    } else {
        memcpy(s->instance, instance.p, instance.n);
        s->instance[instance.n] = '\0';
    }
    s->first_line = r->n_lines;
    for (size_t i = 0; i < n_limits; i++) {
        if (!limit_applies(&limits[i], subject, scope, instance))
            continue;
        if (r->n_lines == CHARGE_LINES_MAX)
            return -1;
        fill_line(&r->lines[r->n_lines], &limits[i], subject);
        if (!mark_new(r))
            return -1;
        /* `deny` has no period. */
        if (limits[i].period_ms > 0 && limits[i].period_ms / 40 < r->lifetime_ms)
            r->lifetime_ms = (uint32_t)(limits[i].period_ms / 40);
    }
    s->n_lines = r->n_lines - s->first_line;
    if (scope != SCOPE_RECIPIENT_DOMAIN || s->n_lines > 0)
        r->n_scopes++;
    return 0;
}

int
plan_charge(const struct limit_conf *limits, size_t n_limits, const struct plan_subject *subject,
    struct charge_request *request_out)
{
    struct charge_request *r = request_out;

    r->recipients = subject->recipients;
    r->least = subject->least;
    r->external = subject->external;
    r->look = false;
    r->lifetime_ms = CHARGE_LIFETIME_MS;
    r->n_scopes = r->n_lines = 0;
    r->people = NULL;
    r->owner = subject->owner;
    for (int scope = 0; scope < SCOPE_COUNT; scope++)
        if (add_scope(limits, n_limits, subject, (enum limit_scope)scope, r) < 0)
            return -1;
    if (r->lifetime_ms == 0)
        r->lifetime_ms = 1;
    return 0;
}
