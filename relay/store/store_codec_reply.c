/* The other half of store_codec.h: from what Redis answered to values. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "relay/store/store_codec.h"
#include "relay/store/store_keys.h"

/* First element of charge.lua's answer. */
enum { GRANTED, OVER, PAUSED, CLOSED, IMPOSSIBLE, LATE, CLOCK, FOREIGN, EPOCH, LOST, STEP, TWIN, MANY };

bool
codec_integers(const struct redisReply *reply, int64_t *out, size_t n)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER)
            return false;
        out[i] = reply->element[i]->integer;
    }
    return true;
}

static bool
element_text(const struct redisReply *reply, size_t i, struct span *out)
{
    if (i >= reply->elements || reply->element[i]->type != REDIS_REPLY_STRING)
        return false;
    *out = span_of(reply->element[i]->str, (size_t)reply->element[i]->len);
    return true;
}

static void
no_decision(struct charge_reply *out, enum store_error error)
{
    out->kind = REPLY_VERDICT;
    out->verdict.kind = VERDICT_NO_DECISION;
    out->verdict.error = error;
}

static const struct charge_scope *
scope_of_line(const struct charge_request *r, size_t line)
{
    for (size_t i = 0; i < r->n_scopes; i++)
        if (line >= r->scopes[i].first_line && line < r->scopes[i].first_line + r->scopes[i].n_lines)
            return &r->scopes[i];
    return NULL;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* kind, time, granted, line (from 1; 0: none), used, cap, wait in us. */
static bool
read_decision(const struct redisReply *reply, const struct charge_request *r, struct verdict *v)
{
    int64_t f[7];
    const struct charge_scope *scope;

    if (!codec_integers(reply, f, 7) || f[2] < 0 || f[2] > r->recipients || f[3] < 0
        || f[3] > (int64_t)r->n_lines || f[4] < 0 || f[5] < 0)
        return false;
    v->granted = (uint32_t)f[2];
    v->retry_after_ms = f[6] < 0 ? -1 : f[6] / 1000 + (f[6] % 1000 != 0);
    if (f[3] == 0)
        return true;
    scope = scope_of_line(r, (size_t)f[3] - 1);
    if (!scope)
        return false;
    v->limit = r->lines[f[3] - 1].limit;
    v->scope = scope->scope;
    memcpy(v->instance, scope->instance, sizeof(v->instance));
    v->used = (uint64_t)f[4];
    v->cap = (uint64_t)f[5];
    return true;
}

/* First element of a pair that tells of a line in shadow; then 1 (it would have held) or 2 (shortened). */
#define SHADOW_PAIR 1000

static bool
read_shadow(struct verdict *v, int64_t line, int64_t would, size_t n_lines)
{
    if (line < 1 || line > (int64_t)n_lines || would < 1 || would > 2)
        return false;
    *(would == 1 ? &v->would_hold : &v->would_shorten) |= 1u << (line - 1);
    return true;
}

/* Pairs line (from 1), step; -line, period in us; and those of lines in shadow. */
static bool
read_pairs(const struct redisReply *reply, size_t first, const struct charge_request *r,
    struct charge_reply *out)
{
    for (size_t i = first; i + 1 < reply->elements && out->n_steps < CHARGE_LINES_MAX; i += 2) {
        const struct redisReply *first_one = reply->element[i], *second = reply->element[i + 1];
        int64_t line, value;

        if (first_one->type != REDIS_REPLY_INTEGER || second->type != REDIS_REPLY_INTEGER)
            return false;
        line = first_one->integer;
        value = second->integer;
        if (line >= SHADOW_PAIR) {
            if (!read_shadow(&out->verdict, line - SHADOW_PAIR, value, r->n_lines))
                return false;
            continue;
        }
        if (line == 0 || line > (int64_t)r->n_lines || line < -(int64_t)r->n_lines || value < 1)
            return false;
        if (line < 0) {
            out->longer_us[-line - 1] = (uint64_t)value;
            continue;
        }
        if (value > WARMUP_STEP_MAX)
            return false;
        out->steps[out->n_steps].line = (size_t)line - 1;
        out->steps[out->n_steps++].step = (uint32_t)value;
    }
    return true;
}

/* The last element. */
static bool
read_people(const struct redisReply *reply, const struct charge_request *r, struct charge_reply *out)
{
    if (!element_text(reply, reply->elements - 1, &out->new_of) || out->new_of.n != r->recipients)
        return false;
    for (size_t i = 0; i < out->new_of.n; i++)
        if (hex_digit(out->new_of.p[i]) < 0)
            return false;
    return true;
}

void
codec_mark_people(const struct charge_reply *reply, struct charge_request *r)
{
    for (size_t i = 0; r->people && i < reply->new_of.n; i++)
        r->people[i].new_of = (uint8_t)hex_digit(reply->new_of.p[i]);
}

static bool
read_granted(const struct redisReply *reply, const struct charge_request *r, struct charge_reply *out)
{
    out->verdict.kind = VERDICT_GRANTED;
    if (!read_decision(reply, r, &out->verdict) || out->verdict.granted < r->least)
        return false;
    out->verdict.retry_after_ms = 0;
    return read_pairs(reply, 7, r, out) && (!r->people || read_people(reply, r, out));
}

bool
codec_charges_reply(const struct redisReply *reply, const struct charge_request *r, unsigned times,
    unsigned *granted_out, struct charge_reply *out)
{
    int64_t f[3];

    memset(out, 0, sizeof(*out));
    if (!codec_integers(reply, f, 3) || f[0] != MANY || f[1] < 0 || f[2] < 0 || f[2] > times)
        return false;
    *granted_out = (unsigned)f[2];
    out->kind = REPLY_VERDICT;
    out->verdict.kind = VERDICT_GRANTED;
    out->verdict.granted = r->recipients;
    out->verdict.time_us = (uint64_t)f[1];
    return read_pairs(reply, 3, r, out);
}

/* kind, time, scope (from 1), text. A text that cannot be read is a pause all the same. */
static bool
read_paused(const struct redisReply *reply, const struct charge_request *r, struct verdict *v)
{
    const struct charge_scope *scope;
    struct buf name;
    struct span text;
    bool resumed;
    int64_t f[3];

    if (!codec_integers(reply, f, 3) || f[2] < 1 || f[2] > (int64_t)r->n_scopes
        || !element_text(reply, 3, &text))
        return false;
    scope = &r->scopes[f[2] - 1];
    v->kind = VERDICT_PAUSED;
    v->scope = scope->scope;
    memcpy(v->instance, scope->instance, sizeof(v->instance));
    buf_init(&name);
    store_scope_name(&name, scope->scope, scope->instance);
    if (!codec_pause_parse(buf_span(&name), text, &v->pause, &resumed)) {
        v->pause = (struct pause){.scope = scope->scope, .extent = PAUSE_ALL, .since_utc_ms = f[1] / 1000,
            .reason = "a pause in Redis that cannot be read"};
        memcpy(v->pause.instance, scope->instance, sizeof(v->pause.instance));
    }
    buf_fini(&name);
    v->retry_after_ms = v->pause.until_utc_ms > 0 ? v->pause.until_utc_ms - f[1] / 1000 : -1;
    return true;
}

static bool
read_step(const struct redisReply *reply, const struct charge_request *r, struct charge_reply *out)
{
    int64_t f[4];

    if (!codec_integers(reply, f, 4) || f[2] < 1 || f[2] > (int64_t)r->n_lines || f[3] < 1
        || f[3] > WARMUP_STEP_MAX)
        return false;
    out->kind = REPLY_STEP;
    out->line = (size_t)f[2] - 1;
    out->step = (uint32_t)f[3];
    return true;
}

static bool
read_closed(const struct redisReply *reply, struct verdict *v)
{
    int64_t f[3];

    if (!codec_integers(reply, f, 3))
        return false;
    v->kind = VERDICT_CLOSED;
    v->retry_after_ms = f[2] / 1000 + (f[2] % 1000 != 0);
    return true;
}

static bool
read_charge(const struct redisReply *reply, const struct charge_request *r, struct charge_reply *out)
{
    int64_t head[2];

    if (!codec_integers(reply, head, 2) || head[1] < 0)
        return false;
    out->verdict.time_us = (uint64_t)head[1];
    switch (head[0]) {
    case GRANTED:
        return read_granted(reply, r, out);
    case OVER:
        out->verdict.kind = VERDICT_OVER;
        return read_decision(reply, r, &out->verdict);
    case IMPOSSIBLE:
        out->verdict.kind = VERDICT_IMPOSSIBLE;
        return read_decision(reply, r, &out->verdict) && out->verdict.limit;
    case PAUSED:
        return read_paused(reply, r, &out->verdict);
    case CLOSED:
        return read_closed(reply, &out->verdict);
    case LATE:
        no_decision(out, STORE_LATE);
        return true;
    case CLOCK:
        no_decision(out, STORE_CLOCK);
        return true;
    case FOREIGN:
        no_decision(out, STORE_SCHEMA);
        return true;
    case EPOCH:
        out->kind = REPLY_EPOCH;
        return true;
    case LOST:
        out->kind = REPLY_LOST;
        return true;
    case TWIN:
        out->kind = REPLY_TWIN;
        return true;
    case STEP:
        return read_step(reply, r, out);
    default:
        return false;
    }
}

void
codec_charge_reply(const struct redisReply *reply, const struct charge_request *r, struct charge_reply *out)
{
    memset(out, 0, sizeof(*out));
    out->kind = REPLY_VERDICT;
    if (!read_charge(reply, r, out)) {
        memset(out, 0, sizeof(*out));
        out->kind = REPLY_INVALID;
        out->verdict.kind = VERDICT_NO_DECISION;
        out->verdict.error = STORE_PROTOCOL;
    }
}

static bool
read_number(struct span *rest, int64_t *out)
{
    struct span word;
    uint64_t value;

    *rest = span_cut(*rest, ' ', &word);
    if (!span_to_u64(word, &value) || value > INT64_MAX)
        return false;
    *out = (int64_t)value;
    return true;
}

static bool
read_class(struct span *rest, enum reply_class *out)
{
    struct span word;

    *rest = span_cut(*rest, ' ', &word);
    for (int c = 0; c < CLASS_COUNT; c++) {
        if (span_eq(word, span_str(reply_class_to_str((enum reply_class)c)))) {
            *out = (enum reply_class)c;
            return true;
        }
    }
    return false;
}

static void
copy_text(char *out, size_t size, struct span text)
{
    size_t n = text.n < size - 1 ? text.n : size - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text.p[i] < 32 || (unsigned char)text.p[i] == 127 ? '?' : text.p[i];
    out[n] = '\0';
}

bool
codec_pause_name_parse(struct span name, enum limit_scope *scope_out, char instance_out[INSTANCE_MAX],
    enum pause_extent *extent_out)
{
    /* No instance has a bare colon, and none is empty: "0:e" is all mail of one that is called e. */
    bool has_suffix = name.n >= strlen("0:x:e") && name.p[name.n - 2] == ':';
    char suffix = '\0';

    if (has_suffix)
        suffix = name.p[name.n - 1];
    if (has_suffix && suffix != 'e' && suffix != 'w')
        return false;
    *extent_out = suffix == 'e' ? PAUSE_EXTERNAL : suffix == 'w' ? PAUSE_GROWTH : PAUSE_ALL;
    return store_scope_parse(span_of(name.p, name.n - (has_suffix ? 2 : 0)), scope_out, instance_out);
}

/* in: what the name says. store.pauses and a charge's answer name the instance alone, which is all mail. */
static bool
read_extent(struct span kind, enum pause_extent *extent)
{
    enum pause_extent named = *extent;

    if (kind.n != 1)
        return false;
    for (int e = 0; e < PAUSE_EXTENT_COUNT; e++)
        if (codec_extent_letter((enum pause_extent)e) == kind.p[0]) {
            *extent = (enum pause_extent)e;
            return named == PAUSE_ALL || named == *extent;
        }
    return false;
}

bool
codec_pause_parse(struct span name, struct span text, struct pause *out, bool *resumed_out)
{
    struct span kind, actor;

    memset(out, 0, sizeof(*out));
    if (!codec_pause_name_parse(name, &out->scope, out->instance, &out->extent))
        return false;
    text = span_cut(text, ' ', &kind);
    *resumed_out = span_eq(kind, SPAN_LIT("r"));
    if (*resumed_out)
        return read_number(&text, &out->since_utc_ms);
    if (!read_extent(kind, &out->extent))
        return false;
    if (!read_number(&text, &out->until_utc_ms) || !read_number(&text, &out->since_utc_ms)
        || !read_class(&text, &out->class))
        return false;
    text = span_cut(text, ' ', &actor);
    copy_text(out->actor, sizeof(out->actor), actor);
    copy_text(out->reason, sizeof(out->reason), text);
    return true;
}

/* "c:LIMIT", or "l:SCOPE:INSTANCE" of connections; "": nothing differs. */
static void
name_difference(char *out, size_t size, struct span field)
{
    char instance[INSTANCE_MAX];
    enum limit_scope scope;

    if (field.n > 2 && field.p[0] == 'l' && store_scope_parse(span_from(field, 2), &scope, instance))
        snprintf(out, size, "connections of %.200s", instance);
    else
        copy_text(out, size, span_from(field, field.n > 2 ? 2 : 0));
}

#define HEARTBEAT_FIELDS 11

static bool
read_heartbeat(const struct redisReply *reply, struct heartbeat_reply *out)
{
    int64_t head[2], f[7];
    struct span epoch, differs;

    if (!codec_integers(reply, head, 2) || head[1] < 0)
        return false;
    out->time_us = (uint64_t)head[1];
    out->error = head[0] == FOREIGN ? STORE_SCHEMA : head[0] == TWIN ? STORE_OTHER : STORE_OK;
    if (out->error != STORE_OK)
        return true;
    if (head[0] != GRANTED || reply->elements < HEARTBEAT_FIELDS || !element_text(reply, 2, &epoch)
        || epoch.n == 0 || epoch.n >= sizeof(out->epoch) || !element_text(reply, 3, &differs))
        return false;
    for (size_t i = 0; i < 7; i++) {
        if (reply->element[i + 4]->type != REDIS_REPLY_INTEGER || reply->element[i + 4]->integer < 0)
            return false;
        f[i] = reply->element[i + 4]->integer;
    }
    copy_text(out->epoch, sizeof(out->epoch), epoch);
    out->open_at_ms = f[0];
    out->seq = (uint64_t)f[1];
    out->nodes = (unsigned)f[2];
    out->pauses_version = (uint64_t)f[3];
    out->send_caps = f[4] != 0;
    out->lost = f[5] != 0;
    out->charged_ms = (uint64_t)f[6];
    name_difference(out->differs, sizeof(out->differs), differs);
    out->first_pause = HEARTBEAT_FIELDS;
    out->n_pause_texts = (reply->elements - HEARTBEAT_FIELDS) / 2;
    return true;
}

void
codec_heartbeat_reply(const struct redisReply *reply, struct heartbeat_reply *out)
{
    memset(out, 0, sizeof(*out));
    if (!read_heartbeat(reply, out)) {
        memset(out, 0, sizeof(*out));
        out->error = STORE_PROTOCOL;
    }
}

enum store_error
codec_error(struct span text)
{
    static const struct {
        const char *prefix;
        enum store_error error;
    } table[] = {
        {"OOM", STORE_OOM},
        {"READONLY", STORE_READONLY},
        {"NOREPLICAS", STORE_NOREPLICAS},
        {"MISCONF", STORE_MISCONF},
        {"LOADING", STORE_LOADING},
        {"BUSY", STORE_BUSY},
        {"NOAUTH", STORE_NOAUTH},
        {"WRONGPASS", STORE_NOAUTH},
        {"NOPERM", STORE_NOPERM},
        {"WRONGTYPE", STORE_WRONGTYPE},
        {"SCHEMA", STORE_SCHEMA},
        {"MASTERDOWN", STORE_MASTERDOWN},
        {"CLUSTERDOWN", STORE_CLUSTERDOWN},
        {"MOVED", STORE_MOVED},
        {"ASK", STORE_MOVED},
        {"TRYAGAIN", STORE_MOVED},
    };
    struct span word;

    if (span_find_nocase(text, SPAN_LIT("user executing the script can't")) >= 0)
        return STORE_NOPERM; /* said inside a script: "ERR The user executing the script can't run ..." */
    span_cut(text, ' ', &word);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (span_eq(word, span_str(table[i].prefix)))
            return table[i].error;
    return STORE_OTHER;
}
