#include "relay/ctl/mail_log.h"

#include <jansson.h>
#include <string.h>

#include "relay/base/calendar.h"

#define RECIPIENTS_MAX 1000000 /* of one line: more is a damaged one */
#define YEAR_LEAST 1971
#define YEAR_MOST 2999

/* ---- times ---- */

static bool
is_date(unsigned year, unsigned month, unsigned day)
{
    return year >= YEAR_LEAST && year <= YEAR_MOST && calendar_is_date(year, month, day);
}

/* "12:00:00", in seconds of the day. A leap second is the one before. */
static bool
take_clock(struct span *in, uint64_t *seconds_out)
{
    unsigned hour, minute, second;

    if (!span_take_digits(in, 2, &hour) || !span_take_byte(in, ':') || !span_take_digits(in, 2, &minute)
        || !span_take_byte(in, ':') || !span_take_digits(in, 2, &second) || hour > 23 || minute > 59
        || second > 60)
        return false;
    *seconds_out = hour * 3600u + minute * 60u + (second < 60 ? second : 59u);
    return true;
}

/* ".123456": at most microseconds are kept. */
static uint64_t
take_fraction_us(struct span *in)
{
    uint64_t us = 0, unit = 100000;

    if (in->n < 2 || in->p[0] != '.')
        return 0;
    for (*in = span_from(*in, 1); in->n > 0 && in->p[0] >= '0' && in->p[0] <= '9'; unit /= 10) {
        us += (uint64_t)(in->p[0] - '0') * unit;
        *in = span_from(*in, 1);
    }
    return us;
}

/* "Z", "+01:00" or "+0100"; ahead_out in seconds. */
static bool
take_zone(struct span *in, int64_t *ahead_out)
{
    bool is_east = in->n > 0 && in->p[0] == '+';
    unsigned hour, minute;

    *ahead_out = 0;
    if (span_take_byte(in, 'Z') || span_take_byte(in, 'z'))
        return true;
    if ((!span_take_byte(in, '+') && !span_take_byte(in, '-')) || !span_take_digits(in, 2, &hour))
        return false;
    span_take_byte(in, ':');
    if (!span_take_digits(in, 2, &minute) || hour > 14 || minute > 59)
        return false;
    *ahead_out = (int64_t)(hour * 3600 + minute * 60) * (is_east ? 1 : -1);
    return true;
}

static bool
take_rfc3339(struct span *in, uint64_t *us_out)
{
    unsigned year, month, day;
    uint64_t seconds, us;
    int64_t ahead;

    if (!span_take_digits(in, 4, &year) || !span_take_byte(in, '-') || !span_take_digits(in, 2, &month)
        || !span_take_byte(in, '-') || !span_take_digits(in, 2, &day) || !is_date(year, month, day)
        || (!span_take_byte(in, 'T') && !span_take_byte(in, ' ')) || !take_clock(in, &seconds))
        return false;
    us = take_fraction_us(in);
    if (!take_zone(in, &ahead))
        return false;
    *us_out = (uint64_t)((int64_t)(calendar_days(year, month, day) * 86400 + seconds) - ahead) * 1000000 + us;
    return true;
}

static unsigned
take_month(struct span *in)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (unsigned m = 1; m <= 12 && in->n > 4; m++)
        if (memcmp(in->p, names + 3 * (m - 1), 3) == 0 && in->p[3] == ' ') {
            *in = span_from(*in, 4);
            return m;
        }
    return 0;
}

/* "Nov  5 12:00:00 ". */
static bool
take_syslog_time(struct mail_log *log, struct span *in, uint64_t *us_out)
{
    unsigned month = take_month(in), day;
    uint64_t seconds;
    bool is_short = month > 0 && span_take_byte(in, ' ');

    if (month == 0 || !span_take_digits(in, is_short ? 1 : 2, &day) || !span_take_byte(in, ' ')
        || !take_clock(in, &seconds) || !span_take_byte(in, ' '))
        return false;
    if (log->month - (int)month > 6 && log->year < YEAR_MOST)
        log->year++;
    if (!is_date((unsigned)log->year, month, day))
        return false;
    log->month = (int)month;
    *us_out = (calendar_days((unsigned)log->year, month, day) * 86400 + seconds) * 1000000;
    return true;
}

/* "1700000000" or "1700000000.123". */
static bool
take_epoch(struct span *in, uint64_t *us_out)
{
    struct span digits = *in;
    size_t n = 0;
    uint64_t seconds;

    while (n < in->n && in->p[n] >= '0' && in->p[n] <= '9')
        n++;
    if (!span_to_u64(span_head(digits, n), &seconds) || seconds / 86400 > calendar_days(YEAR_MOST, 1, 1))
        return false;
    *in = span_from(*in, n);
    *us_out = seconds * 1000000 + take_fraction_us(in);
    return true;
}

/* ---- Postfix ---- */

static bool
is_internal(const struct mail_log *log, struct span domain)
{
    struct span rest = log->internal ? span_str(log->internal) : (struct span){"", 0}, one;

    while (rest.n > 0) {
        rest = span_cut(rest, ',', &one);
        if (span_eq_nocase(span_trim(one), domain))
            return true;
    }
    return false;
}

/* What stands behind the time: "host postfix/smtp[7]: 4A: to=<b@example.com>, ..., status=sent (250 ...)".
 * The first status is Postfix' own; what follows it, in parentheses, a peer has written. */
static enum mail_line
parse_postfix(const struct mail_log *log, struct span text, struct mail_arrival *out)
{
    struct span host, tag, id, address;
    ptrdiff_t at, status;

    text = span_cut(text, ' ', &host);
    text = span_cut(text, ' ', &tag);
    text = span_cut(text, ' ', &id);
    if (span_find_nocase(tag, SPAN_LIT("/smtp[")) < 0 || !span_starts_nocase(text, SPAN_LIT("to=<")))
        return MAIL_LINE_OTHER;
    text = span_cut(span_from(text, strlen("to=<")), '>', &address);
    status = span_find_nocase(text, SPAN_LIT(", status="));
    if (status < 0 || !span_starts_nocase(span_from(text, (size_t)status), SPAN_LIT(", status=sent (")))
        return MAIL_LINE_OTHER;
    at = span_find_byte(address, '@');
    if (at >= 0 && is_internal(log, span_from(address, (size_t)at + 1)))
        return MAIL_LINE_OTHER;
    out->recipients = 1;
    return MAIL_LINE_ARRIVAL;
}

/* ---- sendgov ---- */

struct event {
    struct span time, name, outcome;
    uint64_t external;
    bool is_released, is_bad;
};

static void
set_field(struct event *e, struct span key, struct span value)
{
    if (span_eq(key, SPAN_LIT("ts")))
        e->time = value;
    else if (span_eq(key, SPAN_LIT("event")))
        e->name = value;
    else if (span_eq(key, SPAN_LIT("outcome")))
        e->outcome = value;
    else if (span_eq(key, SPAN_LIT("external")))
        e->is_bad |= !span_to_u64(value, &e->external);
    else if (span_eq(key, SPAN_LIT("released")))
        e->is_released = true;
}

static enum mail_line
judge_event(const struct event *e, struct mail_arrival *out)
{
    struct span time = e->time;

    if (!span_eq(e->name, SPAN_LIT("message")) || e->is_released
        || (!span_eq(e->outcome, SPAN_LIT("relayed")) && !span_eq(e->outcome, SPAN_LIT("spooled"))))
        return MAIL_LINE_OTHER;
    if (e->is_bad || !take_rfc3339(&time, &out->at_us) || time.n > 0)
        return MAIL_LINE_BAD;
    out->recipients = e->external;
    return e->external > 0 ? MAIL_LINE_ARRIVAL : MAIL_LINE_OTHER;
}

/* The length of a value: up to a blank, or to the quote that ends it. */
static size_t
value_length(struct span s)
{
    size_t n = 1;

    if (s.n == 0 || s.p[0] != '"') {
        ptrdiff_t at = span_find_byte(s, ' ');

        return at < 0 ? s.n : (size_t)at;
    }
    while (n < s.n && s.p[n] != '"')
        n += s.p[n] == '\\' ? 2 : 1;
    return n < s.n ? n + 1 : s.n;
}

static enum mail_line
parse_logfmt(struct span line, struct mail_arrival *out)
{
    struct event e = {.external = 0};

    while (line.n > 0) {
        struct span key;
        size_t n;

        line = span_cut(line, '=', &key);
        n = value_length(line);
        set_field(&e, span_trim(key), span_head(line, n));
        line = span_from(line, n);
    }
    return judge_event(&e, out);
}

static struct span
text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text ? span_str(text) : (struct span){"", 0};
}

static enum mail_line
parse_json(struct span line, struct mail_arrival *out)
{
    json_t *o = json_loadb(line.p, line.n, 0, NULL);
    json_int_t external = json_integer_value(json_object_get(o, "external"));
    struct event e = {.time = text_of(o, "ts"), .name = text_of(o, "event"), .outcome = text_of(o, "outcome"),
        .external = external > 0 ? (uint64_t)external : 0,
        .is_released = json_object_get(o, "released") != NULL};
    enum mail_line kind = o ? judge_event(&e, out) : MAIL_LINE_BAD;

    json_decref(o);
    return kind;
}

/* ---- CSV ---- */

static enum mail_line
parse_csv(const struct mail_log *log, struct span line, struct mail_arrival *out)
{
    struct span rest = line;
    size_t comma = line.n;
    bool is_time = take_rfc3339(&rest, &out->at_us);

    if (!is_time) {
        rest = line;
        is_time = take_epoch(&rest, &out->at_us);
    }
    while (comma > 0 && line.p[comma - 1] != ',')
        comma--;
    if (is_time && span_take_byte(&rest, ',') && comma > 0 && span_find_byte(rest, ',') >= 0
        && span_to_u64(span_trim(span_from(line, comma)), &out->recipients))
        return out->recipients > 0 ? MAIL_LINE_ARRIVAL : MAIL_LINE_OTHER;
    return log->n_lines == 1 && !is_time && comma > 0 ? MAIL_LINE_OTHER : MAIL_LINE_BAD; /* a heading */
}

static enum mail_line
parse_any(struct mail_log *log, struct span line, struct mail_arrival *out)
{
    struct span rest = line;

    if (line.n == 0 || line.p[0] == '#')
        return MAIL_LINE_OTHER;
    if (line.p[0] == '{')
        return parse_json(line, out);
    if (span_starts_nocase(line, SPAN_LIT("ts=")))
        return parse_logfmt(line, out);
    if (take_syslog_time(log, &rest, &out->at_us))
        return parse_postfix(log, rest, out);
    rest = line;
    if (take_rfc3339(&rest, &out->at_us) && span_take_byte(&rest, ' '))
        return parse_postfix(log, rest, out);
    return parse_csv(log, line, out);
}

enum mail_line
mail_log_parse(struct mail_log *log, struct span line, struct mail_arrival *out)
{
    enum mail_line kind;

    log->n_lines++;
    *out = (struct mail_arrival){0, 0};
    kind = parse_any(log, span_trim(line), out);
    return kind == MAIL_LINE_ARRIVAL && out->recipients > RECIPIENTS_MAX ? MAIL_LINE_BAD : kind;
}
