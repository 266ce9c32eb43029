#include "relay/config/units.h"

#include <stdio.h>

#include "policy/types.h"
#include "relay/base/ascii.h"
#include "relay/base/calendar.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {
    {"ms", 1},
    {"s", 1000},
    {"sec", 1000},
    {"m", 60 * 1000},
    {"min", 60 * 1000},
    {"h", 60 * 60 * 1000},
    {"d", 24 * 60 * 60 * 1000},
};

static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"MB", 1000 * 1000},
    {"GB", 1000 * 1000 * 1000},
    {"KiB", 1024},
    {"MiB", 1024 * 1024},
    {"GiB", 1024 * 1024 * 1024},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool
no(const char **why_out, const char *why)
{
    *why_out = why;
    return false;
}

/* Digits with single "_" between them at the start of in; *rest_out is what follows. */
static bool
take_number(struct span in, uint64_t *out, struct span *rest_out, const char **why_out)
{
    uint64_t value = 0;
    size_t i = 0;

    if (in.n == 0 || !ascii_is_digit(in.p[0]))
        return no(why_out, "does not begin with a number");
    for (; i < in.n && (ascii_is_digit(in.p[i]) || in.p[i] == '_'); i++) {
        if (in.p[i] == '_') {
            if (i + 1 >= in.n || !ascii_is_digit(in.p[i + 1]))
                return no(why_out, "has a '_' that is not between two digits");
            continue;
        }
        if (__builtin_mul_overflow(value, 10u, &value)
            || __builtin_add_overflow(value, (uint64_t)(in.p[i] - '0'), &value))
            return no(why_out, "is too large");
    }
    *out = value;
    *rest_out = span_from(in, i);
    return true;
}

/* Units are told apart by case only where it helps nobody: "mb", "MB" are both megabytes. */
static const struct unit *
find_unit(const struct unit *table, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq_nocase(span_str(table[i].name), name))
            return &table[i];
    return NULL;
}

bool
units_parse_number(struct span in, uint64_t *out, const char **why_out)
{
    struct span rest;

    if (!take_number(in, out, &rest, why_out))
        return false;
    return rest.n == 0 || no(why_out, "is not a whole number");
}

bool
units_parse_day(struct span in, int64_t *utc_ms_out, const char **why_out)
{
    unsigned year, month, day;

    if (!span_take_digits(&in, 4, &year) || !span_take_byte(&in, '-') || !span_take_digits(&in, 2, &month)
        || !span_take_byte(&in, '-') || !span_take_digits(&in, 2, &day) || in.n > 0 || year < 2000
        || year > 2999)
        return no(why_out, "is no day such as 2026-11-01");
    if (!calendar_is_date(year, month, day))
        return no(why_out, "is a day that no calendar has");
    *utc_ms_out = (int64_t)calendar_days(year, month, day) * 86400000;
    return true;
}

bool
units_parse_duration_ms(struct span in, uint64_t *out, const char **why_out)
{
    const struct unit *unit;
    struct span rest;

    if (!take_number(in, out, &rest, why_out))
        return false;
    if (rest.n == 0)
        return no(why_out, "needs a unit: ms, s, min, h or d");
    unit = find_unit(durations, COUNT(durations), rest);
    if (!unit)
        return no(why_out, "has an unknown unit; known are ms, s, min, h and d");
    if (__builtin_mul_overflow(*out, unit->factor, out))
        return no(why_out, "is too large");
    return true;
}

bool
units_parse_bytes(struct span in, uint64_t *out, const char **why_out)
{
    const struct unit *unit;
    struct span rest;

    if (!take_number(in, out, &rest, why_out))
        return false;
    unit = find_unit(sizes, COUNT(sizes), rest);
    if (!unit)
        return no(why_out, "has an unknown unit; known are B, kB, MB, GB, KiB, MiB and GiB");
    if (__builtin_mul_overflow(*out, unit->factor, out))
        return no(why_out, "is too large");
    return true;
}

/* "30min", "min", "d": the part of a rate after the slash. */
static bool
parse_period(struct span in, uint64_t *out, const char **why_out)
{
    const struct unit *unit;
    struct span name = in;
    uint64_t count = 1;

    if (in.n > 0 && ascii_is_digit(in.p[0]) && !take_number(in, &count, &name, why_out))
        return false;
    unit = find_unit(durations, COUNT(durations), name);
    if (!unit || unit->factor < 1000)
        return no(why_out, "has an unknown period; write N/s, N/min, N/h, N/d or N/30min");
    if (count == 0)
        return no(why_out, "has a period of 0");
    if (__builtin_mul_overflow(count, unit->factor, out))
        return no(why_out, "is too large");
    return true;
}

bool
units_parse_rate(struct span in, uint64_t *n_out, uint64_t *period_ms_out, const char **why_out)
{
    struct span rest;

    *period_ms_out = 0;
    if (span_eq(in, SPAN_LIT("unlimited"))) {
        *n_out = LIMIT_UNLIMITED;
        return true;
    }
    if (span_eq(in, SPAN_LIT("deny"))) {
        *n_out = 0;
        return true;
    }
    if (!take_number(in, n_out, &rest, why_out))
        return false;
    if (*n_out == 0)
        return no(why_out, "is 0, which could mean two things; say unlimited or deny");
    if (*n_out == LIMIT_UNLIMITED)
        return no(why_out, "is too large");
    if (rest.n == 0 || rest.p[0] != '/')
        return no(why_out, "needs a period, as in 30/min or 10_000/d");
    return parse_period(span_from(rest, 1), period_ms_out, why_out);
}

/* For people: the two largest units, rounded up, so that nobody comes back too early. */
void
units_format_duration(uint64_t ms, char out[UNITS_TEXT_MAX])
{
    static const struct unit shown[] = {
        {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}};
    size_t top = 0;
    uint64_t lower, rest;

    if (ms < 1000) {
        snprintf(out, UNITS_TEXT_MAX, "%llu ms", (unsigned long long)ms);
        return;
    }
    for (int pass = 0; pass < 2; pass++) { /* rounding up 59 min 59.5 s makes it 1 h */
        for (top = 0; top < 3 && ms < shown[top].factor; top++)
            ;
        lower = shown[top < 3 ? top + 1 : 3].factor;
        if (ms % lower != 0 && ms <= UINT64_MAX - lower)
            ms += lower - ms % lower;
    }
    rest = ms % shown[top].factor / lower;
    if (top == 3 || rest == 0)
        snprintf(
            out, UNITS_TEXT_MAX, "%llu %s", (unsigned long long)(ms / shown[top].factor), shown[top].name);
    else
        snprintf(out, UNITS_TEXT_MAX, "%llu %s %llu %s", (unsigned long long)(ms / shown[top].factor),
            shown[top].name, (unsigned long long)rest, shown[top + 1].name);
}
