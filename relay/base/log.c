#include "relay/base/log.h"

#include <stdio.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log_sink.h"
#include "relay/base/text.h"

#define VALUE_MAX ((size_t)1024)

static const char *const level_names[] = {"debug", "info", "notice", "warning", "error"};
_Static_assert(sizeof(level_names) / sizeof(level_names[0]) == LOG_ERROR + 1, "a name for each level");

static struct {
    enum log_level least;
    enum log_format format;
} setup = {LOG_INFO, LOG_LOGFMT};

void
log_setup(enum log_level least, enum log_format format)
{
    setup.least = least;
    setup.format = format;
}

bool
log_is_on(enum log_level level)
{
    return level >= setup.least;
}

static void
add_key(struct log_line *l, const char *key)
{
    if (setup.format == LOG_JSON)
        buf_printf(&l->text, "%s\"%s\":", buf_len(&l->text) > 1 ? "," : "", key);
    else
        buf_printf(&l->text, "%s%s=", buf_len(&l->text) > 0 ? " " : "", key);
}

void
log_begin(struct log_line *l, enum log_level level, const char *event)
{
    char now[CLOCK_RFC3339_MAX];

    l->level = level;
    l->wanted = log_is_on(level);
    buf_init(&l->text);
    if (!l->wanted)
        return;
    buf_reserve(&l->text, 500);
    if (setup.format == LOG_JSON)
        buf_add_str(&l->text, "{");
    clock_format_rfc3339(clock_utc_ms(), now);
    log_cstr(l, "ts", now);
    log_cstr(l, "level", level_names[level]);
    log_cstr(l, "event", event);
}

/* logfmt leaves a value bare when no reader could cut it differently. */
static bool
is_bare(struct span value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return value.n > 0;
}

void
log_str(struct log_line *l, const char *key, struct span value)
{
    struct span shown = text_head_utf8(value, VALUE_MAX);

    if (!l->wanted)
        return;
    add_key(l, key);
    if (setup.format == LOG_LOGFMT && shown.n == value.n && is_bare(value)) {
        buf_add_span(&l->text, value);
        return;
    }
    buf_add(&l->text, "\"", 1);
    text_add_json(&l->text, shown);
    buf_add_str(&l->text, shown.n < value.n ? "...\"" : "\"");
}

void
log_cstr(struct log_line *l, const char *key, const char *value)
{
    log_str(l, key, span_str(value));
}

void
log_int(struct log_line *l, const char *key, int64_t value)
{
    if (!l->wanted)
        return;
    add_key(l, key);
    buf_printf(&l->text, "%lld", (long long)value);
}

void
log_bool(struct log_line *l, const char *key, bool value)
{
    if (!l->wanted)
        return;
    add_key(l, key);
    buf_add_str(&l->text, value ? "true" : "false");
}

void
log_ratio(struct log_line *l, const char *key, uint64_t used, uint64_t limit)
{
    char text[48];

    snprintf(text, sizeof(text), "%llu/%llu", (unsigned long long)used, (unsigned long long)limit);
    log_cstr(l, key, text);
}

void
log_end(struct log_line *l)
{
    if (l->wanted) {
        buf_add_str(&l->text, setup.format == LOG_JSON ? "}\n" : "\n");
        log_sink_put(buf_span(&l->text), l->level >= LOG_WARNING);
    }
    l->wanted = false;
    buf_fini(&l->text);
}

void
log_text(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[VALUE_MAX + 1];
    struct log_line l;
    va_list ap;

    if (!log_is_on(level))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_begin(&l, level, event);
    log_cstr(&l, "msg", text);
    log_end(&l);
}
