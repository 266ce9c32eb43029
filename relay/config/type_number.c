#include <stdio.h>

#include "relay/config/type.h"
#include "relay/config/units.h"

static int
out_of_bounds(struct draft *d, const struct setting *s, const struct node *v, const char *unlimited)
{
    struct buf low, high;
    bool ms = s->type == TYPE_MS || s->type == TYPE_MS64;
    bool bytes = s->type == TYPE_BYTES || s->type == TYPE_BYTES32;

    buf_init(&low);
    buf_init(&high);
    if (ms) {
        type_format_ms64(s, &s->least, &low);
        type_format_ms64(s, &s->most, &high);
    } else if (bytes) {
        type_format_bytes(s, &s->least, &low);
        type_format_bytes(s, &s->most, &high);
    } else {
        buf_printf(&low, "%llu", (unsigned long long)s->least);
        buf_printf(&high, "%llu", (unsigned long long)s->most);
    }
    draft_fail(d, v, "%s '%.100s' is out of bounds; allowed are %.*s to %.*s%s", s->key, v->text,
        SPAN_FMT(buf_span(&low)), SPAN_FMT(buf_span(&high)), unlimited);
    buf_fini(&low);
    buf_fini(&high);
    return -1;
}

int
type_number_in_bounds(struct draft *d, const struct setting *s, const struct node *v, uint64_t *out)
{
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (!units_parse_number(in, out, &why))
        return type_bad(d, s, v, why);
    if (*out < s->least || *out > s->most)
        return out_of_bounds(d, s, v,
            s->type == TYPE_COUNT          ? ", or unlimited"
                : s->type == TYPE_LICENCES ? ", or trial"
                                           : "");
    return 0;
}

TYPE_PARSER(type_parse_bool)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    struct span in;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        if (span_eq(in, span_str(yes[i])) || span_eq(in, span_str(no[i]))) {
            *(bool *)field = span_eq(in, span_str(yes[i]));
            return 0;
        }
    }
    return type_bad(d, s, v, "is neither true nor false");
}

TYPE_PARSER(type_parse_u32)
{
    uint64_t value;

    if (type_number_in_bounds(d, s, v, &value) < 0)
        return -1;
    *(uint32_t *)field = (uint32_t)value;
    return 0;
}

TYPE_PARSER(type_parse_ms64)
{
    struct span in;
    const char *why;
    uint64_t value;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (!units_parse_duration_ms(in, &value, &why))
        return type_bad(d, s, v, why);
    if (value < s->least || value > s->most)
        return out_of_bounds(d, s, v, "");
    *(int64_t *)field = (int64_t)value;
    return 0;
}

TYPE_PARSER(type_parse_ms)
{
    int64_t value;

    if (type_parse_ms64(d, s, v, &value) < 0)
        return -1;
    *(int *)field = (int)value;
    return 0;
}

TYPE_PARSER(type_parse_bytes)
{
    struct span in;
    const char *why;
    uint64_t value;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (!units_parse_bytes(in, &value, &why))
        return type_bad(d, s, v, why);
    if (value < s->least || value > s->most)
        return out_of_bounds(d, s, v, "");
    *(uint64_t *)field = value;
    return 0;
}

TYPE_PARSER(type_parse_bytes32)
{
    uint64_t value;

    if (type_parse_bytes(d, s, v, &value) < 0)
        return -1;
    *(uint32_t *)field = (uint32_t)value;
    return 0;
}

TYPE_PARSER(type_parse_count)
{
    struct span in;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (span_eq(in, SPAN_LIT("unlimited"))) {
        *(uint64_t *)field = LIMIT_UNLIMITED;
        return 0;
    }
    return type_number_in_bounds(d, s, v, field);
}

TYPE_PARSER(type_parse_licences)
{
    struct span in;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (span_eq(in, SPAN_LIT("trial"))) {
        *(uint64_t *)field = LICENCES_TRIAL;
        return 0;
    }
    return type_number_in_bounds(d, s, v, field);
}

static int
growth_out_of_bounds(struct draft *d, const struct setting *s, const struct node *v)
{
    return draft_fail(d, v, "%s '%.100s' is out of bounds; allowed are %g to %g", s->key, v->text,
        (double)s->least / 1000, (double)s->most / 1000);
}

/* "1.4" -> 1400. */
TYPE_PARSER(type_parse_growth)
{
    struct span in, whole, rest;
    uint64_t ones, milli = 0;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    rest = span_cut(in, '.', &whole);
    if (!span_to_u64(whole, &ones) || ones > 1000 || rest.n > 3
        || (rest.n > 0 && !span_to_u64(rest, &milli)) || (rest.n == 0 && whole.n != in.n))
        return type_bad(d, s, v, "is no factor such as 1.4, with at most three decimals");
    for (size_t i = rest.n; i < 3; i++)
        milli *= 10;
    milli += ones * 1000;
    if (milli < s->least || milli > s->most)
        return growth_out_of_bounds(d, s, v);
    *(uint32_t *)field = (uint32_t)milli;
    return 0;
}

TYPE_PARSER(type_parse_word)
{
    char hint[256];
    struct span in;
    unsigned n = 0;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    for (; s->words[n]; n++) {
        if (span_eq(in, span_str(s->words[n]))) {
            memcpy(field, &n, sizeof n); /* enums without negative values have the size of unsigned */
            return 0;
        }
    }
    if (strspn(v->text, "0123456789.") == in.n) { /* a number is not misspelt, and the nearest may be far */
        char expected[EXPECTED_MAX];

        return draft_fail(
            d, v, "%s '%.100s' is not known; it is %s", s->key, v->text, setting_expects(s, expected));
    }
    suggest(v->text, s->words, n, hint, sizeof hint);
    return draft_fail(d, v, "%s '%.100s' is not known%s", s->key, v->text, hint);
}

TYPE_PARSER(type_parse_rate)
{
    struct rate *rate = field;
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (!units_parse_rate(in, &rate->n, &rate->period_ms, &why))
        return type_bad(d, s, v, why);
    if (rate->period_ms > 0 && (rate->period_ms > 31 * (uint64_t)86400000 || rate->n > 1000000000000000u))
        return type_bad(d, s, v, "is out of bounds; periods reach from 1s to 31d");
    rate->set = true;
    return 0;
}

TYPE_FORMATTER(type_format_bool)
{
    (void)s;
    buf_add_str(out, *(const bool *)field ? "true" : "false");
}

TYPE_FORMATTER(type_format_u32)
{
    (void)s;
    buf_printf(out, "%u", *(const uint32_t *)field);
}

static void
format_duration(uint64_t ms, struct buf *out, bool bare_one)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;

    while (ms % units[i].factor != 0)
        i++;
    if (!bare_one || ms != units[i].factor)
        buf_printf(out, "%llu", (unsigned long long)(ms / units[i].factor));
    buf_add_str(out, ms == 0 ? "s" : units[i].name);
}

TYPE_FORMATTER(type_format_ms)
{
    (void)s;
    format_duration((uint64_t)*(const int *)field, out, false);
}

TYPE_FORMATTER(type_format_ms64)
{
    (void)s;
    format_duration((uint64_t)*(const int64_t *)field, out, false);
}

TYPE_FORMATTER(type_format_bytes)
{
    static const char *const names[] = {"", "KiB", "MiB", "GiB"};
    uint64_t value = *(const uint64_t *)field;
    size_t unit = 0;

    (void)s;
    while (unit < 3 && value > 0 && value % 1024 == 0) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, "%llu%s", (unsigned long long)value, names[unit]);
}

TYPE_FORMATTER(type_format_bytes32)
{
    uint64_t value = *(const uint32_t *)field;

    type_format_bytes(s, &value, out);
}

TYPE_FORMATTER(type_format_count)
{
    uint64_t value = *(const uint64_t *)field;

    (void)s;
    if (value == LIMIT_UNLIMITED)
        buf_add_str(out, "unlimited");
    else if (value > 0)
        buf_printf(out, "%llu", (unsigned long long)value);
}

TYPE_FORMATTER(type_format_licences)
{
    if (*(const uint64_t *)field == LICENCES_TRIAL)
        buf_add_str(out, "trial");
    else
        type_format_count(s, field, out);
}

TYPE_FORMATTER(type_format_growth)
{
    uint32_t milli = *(const uint32_t *)field;
    char text[16];
    int n;

    (void)s;
    if (milli == 0)
        return;
    n = snprintf(text, sizeof text, "%u.%03u", milli / 1000, milli % 1000);
    while (text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    buf_add(out, text, (size_t)n);
}

TYPE_FORMATTER(type_format_word)
{
    unsigned n;

    memcpy(&n, field, sizeof n);
    buf_add_str(out, s->words[n]);
}

TYPE_FORMATTER(type_format_rate)
{
    const struct rate *rate = field;

    (void)s;
    if (!rate->set)
        return;
    if (rate->n == LIMIT_UNLIMITED || rate->n == 0) {
        buf_add_str(out, rate->n == 0 ? "deny" : "unlimited");
        return;
    }
    buf_printf(out, "%llu/", (unsigned long long)rate->n);
    format_duration(rate->period_ms, out, true);
}
