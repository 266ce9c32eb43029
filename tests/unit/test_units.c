/* The literals of the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/types.h"
#include "relay/config/units.h"

static void
numbers(void **state)
{
    static const struct {
        const char *in;
        uint64_t value;
    } good[] = {{"0", 0}, {"7", 7}, {"10_000", 10000}, {"1_0_0", 100}, {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "_1", "1_", "1__0", "1.5", "0x10", "1e3",
        "18446744073709551616", "99999999999999999999999"};
    const char *why;
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(units_parse_number(span_str(good[i].in), &value, &why));
        assert_int_equal(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_false(units_parse_number(span_str(bad[i]), &value, &why));
        assert_non_null(why);
    }
}

static void
durations(void **state)
{
    static const struct {
        const char *in;
        uint64_t ms;
    } good[] = {{"250ms", 250}, {"30s", 30000}, {"30sec", 30000}, {"5m", 300000}, {"5min", 300000},
        {"24h", 86400000}, {"7d", 604800000}, {"1_000ms", 1000}, {"0s", 0}, {"5MIN", 300000}};
    static const char *const bad[] = {"", "30", "s", "5 min", "5minutes", "1h30min", "-5s", "1.5h", "5w",
        "99999999999999999d"};
    const char *why;
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(units_parse_duration_ms(span_str(good[i].in), &ms, &why));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(units_parse_duration_ms(span_str(bad[i]), &ms, &why));
}

static void
sizes(void **state)
{
    static const struct {
        const char *in;
        uint64_t bytes;
    } good[] = {{"512", 512}, {"512B", 512}, {"64KiB", 65536}, {"35MiB", 36700160}, {"10MB", 10000000},
        {"2GiB", 2147483648u}, {"1kb", 1000}};
    static const char *const bad[] = {"", "MiB", "1 MiB", "1M", "35megs", "1.5MiB", "99999999999999GiB"};
    const char *why;
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(units_parse_bytes(span_str(good[i].in), &bytes, &why));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(units_parse_bytes(span_str(bad[i]), &bytes, &why));
}

static void
rates(void **state)
{
    static const struct {
        const char *in;
        uint64_t n, period_ms;
    } good[] = {{"30/min", 30, 60000}, {"30/m", 30, 60000}, {"10_000/d", 10000, 86400000},
        {"20/30min", 20, 1800000}, {"5/s", 5, 1000}, {"1/7d", 1, 604800000},
        {"unlimited", LIMIT_UNLIMITED, 0}, {"deny", 0, 0}};
    static const char *const bad[] = {"", "0", "0/d", "30", "30/", "/min", "30/0min", "30/ms", "30/500ms",
        "30 / min", "30/week", "Unlimited", "18446744073709551615/d", "18446744073709551616/d",
        "1/99999999999999d", "30/min/h"};
    const char *why;
    uint64_t n, period;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(units_parse_rate(span_str(good[i].in), &n, &period, &why));
        assert_true(n == good[i].n);
        assert_int_equal(period, good[i].period_ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(units_parse_rate(span_str(bad[i]), &n, &period, &why));
}

/* Only the bytes of the span may be read: none here is followed by NUL. */
static void
spans_do_not_end_in_nul(void **state)
{
    const char text[] = {'3', '0', '/', 'm', 'i', 'n', '9'};
    uint64_t n, period;
    const char *why;

    (void)state;
    assert_true(units_parse_rate(span_of(text, 6), &n, &period, &why));
    assert_int_equal(period, 60000);
    assert_true(units_parse_number(span_of(text, 2), &n, &why));
    assert_int_equal(n, 30);
}

static void
days(void **state)
{
    static const struct {
        const char *text;
        int64_t utc_ms; /* as `date -u -d DAY +%s` has it */
    } cases[] = {{"2000-01-01", INT64_C(946684800000)}, {"2000-02-29", INT64_C(951782400000)},
        {"2000-03-01", INT64_C(951868800000)}, {"2026-11-01", INT64_C(1793491200000)},
        {"2028-02-29", INT64_C(1835395200000)}, {"2100-03-01", INT64_C(4107542400000)},
        {"2999-12-31", INT64_C(32503593600000)}};
    static const char *const bad[] = {"", "2026", "2026-11", "2026-11-1", "2026-11-01 ", "2026/11/01",
        "26-11-01", "2026-13-01", "2026-00-01", "2026-11-31", "2026-02-29", "2100-02-29", "2026-11-00",
        "1999-12-31", "3000-01-01", "-026-11-01", "2026-+1-01"};
    const char *why = NULL;
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(units_parse_day(span_str(cases[i].text), &ms, &why));
        assert_true(ms == cases[i].utc_ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_false(units_parse_day(span_str(bad[i]), &ms, &why));
        assert_non_null(why);
    }
}

static void
for_people(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{0, "0 ms"}, {250, "250 ms"}, {999, "999 ms"}, {1000, "1 s"}, {1001, "2 s"},
        {90000, "1 min 30 s"}, {59 * 60000 + 59500, "1 h"}, {3600000, "1 h"}, {3661000, "1 h 2 min"},
        {86400000, "1 d"}, {90061000, "1 d 2 h"}, {86399999, "1 d"}};
    char out[UNITS_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        units_format_duration(cases[i].ms, out);
        assert_string_equal(out, cases[i].text);
    }
    units_format_duration(UINT64_MAX, out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(rates),
        cmocka_unit_test(spans_do_not_end_in_nul),
        cmocka_unit_test(days),
        cmocka_unit_test(for_people),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
