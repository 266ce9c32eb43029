#include "policy/refusal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/spike.h"
#include "relay/base/clock.h"

struct out {
    int *code;
    struct enhanced *enhanced;
    char *text;
    size_t size;
};

static void say(struct out *o, int code, struct enhanced e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void
say(struct out *o, int code, struct enhanced e, const char *fmt, ...)
{
    va_list ap;

    *o->code = code;
    *o->enhanced = e;
    va_start(ap, fmt);
    vsnprintf(o->text, o->size, fmt, ap);
    va_end(ap);
}

void
period_format(uint64_t period_ms, char out[PERIOD_TEXT_MAX])
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    while (i < 4 && (period_ms == 0 || period_ms % units[i].ms != 0))
        i++;
    if (i == 0 && period_ms == units[0].ms)
        snprintf(out, PERIOD_TEXT_MAX, "24 h"); /* "per d" would look like a calendar day, and it is not */
    else if (period_ms == units[i].ms)
        snprintf(out, PERIOD_TEXT_MAX, "%s", units[i].unit);
    else
        snprintf(out, PERIOD_TEXT_MAX, "%" PRIu64 " %s", period_ms / units[i].ms, units[i].unit);
}

static const char *
unit_words(enum limit_unit u)
{
    switch (u) {
    case UNIT_MESSAGES:
        return "messages";
    case UNIT_RECIPIENTS:
        return "recipients";
    case UNIT_EXTERNAL:
        return "external recipients";
    case UNIT_BYTES:
        return "bytes";
    case UNIT_NEW:
        return "new recipients";
    case UNIT_COUNT:
        break;
    }
    return "units";
}

static void
format_retry(int64_t ms, char *out, size_t size)
{
    if (ms < 0)
        snprintf(out, size, "retry later");
    else
        snprintf(out, size, "retry after %" PRId64 " s", ms / 1000 + (ms % 1000 != 0));
}

static const struct enhanced over_code = {4, 4, 5}, paused_code = {4, 7, 0}, store_code = {4, 3, 2};
static const struct enhanced fewer_code = {4, 5, 3}, size_code = {5, 3, 4}, deny_code = {5, 7, 1};

/* 2500 -> "2.5" */
static void
format_factor(uint32_t milli, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%" PRIu32 ".%03" PRIu32, milli / 1000, milli % 1000);

    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[n - 1] = '\0';
}

/* What is usual follows from the ceiling, by the factor configured here: while nodes differ in it, nearly. */
static void
say_spike(struct out *o, const struct verdict *v, const char *retry)
{
    const struct limit_conf *l = v->limit;
    char factor[24], why[96] = "the least it admits";

    format_factor(l->factor_milli, factor, sizeof(factor));
    if (v->cap > l->value)
        snprintf(why, sizeof(why), "%s x the usual %" PRIu64, factor,
            spike_usual_of(v->cap, l->factor_milli));
    say(o, 451, over_code, "spike: limit %s (%s %s) used %" PRIu64 " of %" PRIu64 " %s in an hour, %s; %s",
        l->name, limit_scope_to_str(v->scope), v->instance, v->used, v->cap, unit_words(l->unit), why, retry);
}

static void
say_over(struct out *o, const struct verdict *v)
{
    const struct limit_conf *l = v->limit;
    char retry[64], period[PERIOD_TEXT_MAX];

    format_retry(v->retry_after_ms, retry, sizeof(retry));
    if (!l) {
        say(o, 451, over_code, "over budget; %s", retry);
        return;
    }
    period_format(l->period_ms, period);
    if (l->kind == LIMIT_SPIKE)
        say_spike(o, v, retry);
    else if (l->kind == LIMIT_RATE)
        say(o, 451, over_code, "limit %s (%s %s) used %" PRIu64 " of its burst of %" PRIu64 " at %" PRIu64
            " %s per %s; %s", l->name, limit_scope_to_str(v->scope), v->instance, v->used, v->cap, l->value,
            unit_words(l->unit), period, retry);
    else
        say(o, 451, over_code, "limit %s (%s %s) used %" PRIu64 " of %" PRIu64 " %s per %s; %s", l->name,
            limit_scope_to_str(v->scope), v->instance, v->used, v->cap, unit_words(l->unit), period, retry);
}

static const struct charge_line *
line_of(const struct charge_request *r, const struct limit_conf *limit)
{
    for (size_t i = 0; i < r->n_lines; i++)
        if (r->lines[i].limit == limit)
            return &r->lines[i];
    return NULL;
}

static void
say_impossible(struct out *o, const struct verdict *v, const struct charge_request *r)
{
    const struct limit_conf *l = v->limit;
    const struct charge_line *line = line_of(r, l);
    char period[PERIOD_TEXT_MAX];

    if (!l || !line) {
        say(o, 451, over_code, "over budget; retry later");
        return;
    }
    period_format(l->period_ms, period);
    if (r->least > 1 && line->each > 0 && line->fixed + line->each <= v->cap)
        say(o, 452, fewer_code, "too many recipients: limit %s (%s %s) admits %" PRIu64 " %s at once"
            " (per %s), this message has %u; send fewer at a time", l->name, limit_scope_to_str(v->scope),
            v->instance, v->cap, unit_words(l->unit), period, (unsigned)r->recipients);
    else if (l->unit == UNIT_BYTES && v->cap > 0)
        say(o, 552, size_code, "message too big: limit %s (%s %s) admits %" PRIu64 " bytes per %s", l->name,
            limit_scope_to_str(v->scope), v->instance, v->cap, period);
    else if (l->value == 0 && l->kind != LIMIT_WARMUP)
        say(o, 550, deny_code, "limit %s denies %s of %s %s", l->name, unit_words(l->unit),
            limit_scope_to_str(v->scope), v->instance);
    else
        say(o, 550, deny_code, "limit %s (%s %s) admits %" PRIu64 " %s per %s: this message can never pass",
            l->name, limit_scope_to_str(v->scope), v->instance, v->cap, unit_words(l->unit), period);
}

static const char *
error_words(enum store_error e)
{
    switch (e) {
    case STORE_TIMEOUT:
    case STORE_LATE:
        return "did not answer in time";
    case STORE_CLOCK:
        return "has a clock that jumped";
    case STORE_READONLY:
    case STORE_NOREPLICAS:
    case STORE_MASTERDOWN:
    case STORE_NOMASTER:
    case STORE_MOVED:
    case STORE_CLUSTERDOWN:
    case STORE_MISCONF:
    case STORE_OOM:
        return "does not take writes";
    case STORE_LOADING:
    case STORE_BUSY:
        return "is busy";
    case STORE_OK:
    case STORE_DOWN:
    case STORE_PROTOCOL:
    case STORE_NOAUTH:
    case STORE_NOPERM:
    case STORE_WRONGTYPE:
    case STORE_SCHEMA:
    case STORE_OTHER:
    case STORE_ERROR_COUNT:
        break;
    }
    return "is not available";
}

void
refusal_pause(const struct pause *p, int64_t now_utc_ms, int *code_out, struct enhanced *enhanced_out,
    char *text_out, size_t size)
{
    struct out o = {code_out, enhanced_out, text_out, size};
    char since[CLOCK_RFC3339_MAX], end[96];

    clock_format_rfc3339(p->since_utc_ms, since);
    if (p->until_utc_ms == 0)
        snprintf(end, sizeof(end), "until an operator resumes it");
    else if (p->until_utc_ms > now_utc_ms)
        format_retry(p->until_utc_ms - now_utc_ms, end, sizeof(end));
    else
        snprintf(end, sizeof(end), "about to end");
    say(&o, 451, paused_code, "%s of %s %s paused since %s (%s: %.300s); %s",
        p->extent == PAUSE_EXTERNAL ? "external mail" : "mail", limit_scope_to_str(p->scope), p->instance,
        since, p->class == CLASS_OK ? "operator" : reply_class_to_str(p->class),
        p->reason[0] ? p->reason : "no reason given", end);
}

void
refusal_format(const struct verdict *v, const struct charge_request *r, int *code_out,
    struct enhanced *enhanced_out, char *text_out, size_t size)
{
    struct out o = {code_out, enhanced_out, text_out, size};
    char retry[64];

    switch (v->kind) {
    case VERDICT_OVER:
        say_over(&o, v);
        return;
    case VERDICT_PAUSED:
        refusal_pause(&v->pause, (int64_t)(v->time_us / 1000), code_out, enhanced_out, text_out, size);
        return;
    case VERDICT_IMPOSSIBLE:
        say_impossible(&o, v, r);
        return;
    case VERDICT_CLOSED:
        format_retry(v->retry_after_ms, retry, sizeof(retry));
        say(&o, 451, store_code, "the counters of the send limits are new, or Redis lost some: nothing "
            "leaves until they can be trusted; %s", retry);
        return;
    case VERDICT_NO_DECISION:
        say(&o, 451, store_code, "no budget decision: the store %s (%s); retry later", error_words(v->error),
            store_error_to_str(v->error));
        return;
    case VERDICT_GRANTED:
    case VERDICT_KIND_COUNT:
        break;
    }
    say(&o, 451, store_code, "no budget decision; retry later");
}
