/* Unit tests of span and of the UTF-8 helpers in text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/calendar.h"
#include "relay/base/span.h"
#include "relay/base/text.h"
#include "tests/lib/guard.h"

static void
test_compare(void **state)
{
    (void)state;
    assert_true(span_eq(SPAN_LIT("abc"), span_str("abc")));
    assert_false(span_eq(SPAN_LIT("abc"), SPAN_LIT("abC")));
    assert_false(span_eq(SPAN_LIT("abc"), SPAN_LIT("ab")));
    assert_true(span_eq(span_str(NULL), SPAN_LIT("")));
    assert_true(span_eq_nocase(SPAN_LIT("Mail From"), SPAN_LIT("mAIL fROM")));
    assert_false(span_eq_nocase(SPAN_LIT("a@b"), SPAN_LIT("a`b"))); /* '@' and '`' differ by the case bit */
    assert_true(span_starts_nocase(SPAN_LIT("EHLO x"), SPAN_LIT("ehlo ")));
    assert_false(span_starts_nocase(SPAN_LIT("EH"), SPAN_LIT("ehlo")));
    assert_true(span_ends_nocase(SPAN_LIT("a@Contoso.COM"), SPAN_LIT("@contoso.com")));
    assert_false(span_ends_nocase(SPAN_LIT("m"), SPAN_LIT("com")));
    assert_true(span_ends_nocase(span_str(NULL), span_str(NULL)));
}

static void
test_find(void **state)
{
    (void)state;
    assert_int_equal(span_find_nocase(SPAN_LIT("xxStartTLS"), SPAN_LIT("starttls")), 2);
    assert_int_equal(span_find_nocase(SPAN_LIT("start"), SPAN_LIT("starttls")), -1);
    assert_int_equal(span_find_nocase(SPAN_LIT("x"), SPAN_LIT("")), 0);
    assert_int_equal(span_find_byte(SPAN_LIT("a:b:c"), ':'), 1);
    assert_int_equal(span_find_byte(SPAN_LIT("abc"), ':'), -1);
    assert_int_equal(span_find_byte(span_str(NULL), ':'), -1);
}

static void
test_cut_and_trim(void **state)
{
    struct span head, rest;

    (void)state;
    rest = span_cut(SPAN_LIT("a=b=c"), '=', &head);
    assert_true(span_eq(head, SPAN_LIT("a")));
    assert_true(span_eq(rest, SPAN_LIT("b=c")));
    rest = span_cut(SPAN_LIT("abc"), '=', &head);
    assert_true(span_eq(head, SPAN_LIT("abc")));
    assert_int_equal(rest.n, 0);
    rest = span_cut(SPAN_LIT("abc="), '=', &head);
    assert_true(span_eq(head, SPAN_LIT("abc")));
    assert_int_equal(rest.n, 0);
    assert_true(span_eq(span_trim(SPAN_LIT(" \t a b\r\n")), SPAN_LIT("a b")));
    assert_int_equal(span_trim(SPAN_LIT(" \r\n\t")).n, 0);
    assert_int_equal(span_from(SPAN_LIT("abc"), 9).n, 0);
    assert_int_equal(span_head(SPAN_LIT("abc"), 9).n, 3);
}

static void
test_to_u64(void **state)
{
    static const char *const bad[] = {"18446744073709551616", "99999999999999999999999", "", "+1", "-1",
        "1 ", "0x1"};
    uint64_t v = 7;

    (void)state;
    assert_true(span_to_u64(SPAN_LIT("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(span_to_u64(span_str(bad[i]), &v));
    assert_true(span_to_u64(SPAN_LIT("007"), &v));
    assert_int_equal(v, 7);
}

/* On input that ends at an unreadable page. */
static void
test_guard(void **state)
{
    struct guard g;
    struct span s = guard_copy(&g, "12:ab \r\n", 8), head;
    uint64_t v;
    uint32_t cp;

    (void)state;
    assert_int_equal(span_find_nocase(s, SPAN_LIT("\r\nx")), -1);
    assert_int_equal(span_find_byte(s, '!'), -1);
    assert_int_equal(span_trim(s).n, 5);
    assert_false(span_to_u64(s, &v));
    span_cut(s, '!', &head);
    assert_int_equal(head.n, 8);
    guard_free(&g);
    s = guard_copy(&g, "\xf0\x9f\x98", 3);
    assert_int_equal(text_decode_utf8(s, &cp), 0);
    guard_free(&g);
}

static void
test_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint32_t cp;
    } rows[] = {
        {"A", 1, 'A'}, {"\xc3\xa9", 2, 0xe9}, {"\xe2\x82\xac", 3, 0x20ac}, {"\xf0\x9f\x98\x80", 4, 0x1f600},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff}, {"\x80", 0, 0}, {"\xc0\x80", 0, 0}, {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0}, {"\xed\xa0\x80", 0, 0}, {"\xf4\x90\x80\x80", 0, 0},
        {"\xf8\x88\x80\x80\x80", 0, 0},
        {"\xc3(", 0, 0}, {"\xff", 0, 0}, {"\xe2\x82", 0, 0}, {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t cp = 0;

        assert_int_equal(text_decode_utf8(span_str(rows[i].bytes), &cp), rows[i].len);
        assert_int_equal(cp, rows[i].cp);
    }
    assert_int_equal(text_head_utf8(SPAN_LIT("ab\xe2\x82\xac"), 4).n, 2);
    assert_int_equal(text_head_utf8(SPAN_LIT("ab\xe2\x82\xac"), 5).n, 5);
    assert_int_equal(text_head_utf8(SPAN_LIT("abc"), 2).n, 2);
}

static void
test_take(void **state)
{
    struct span in = SPAN_LIT("2024-x");
    unsigned n;

    (void)state;
    assert_false(span_take_digits(&in, 5, &n));
    assert_int_equal(in.n, 6);
    assert_true(span_take_digits(&in, 4, &n));
    assert_int_equal(n, 2024);
    assert_false(span_take_byte(&in, ':'));
    assert_true(span_take_byte(&in, '-'));
    assert_false(span_take_digits(&in, 1, &n));
    assert_true(span_take_byte(&in, 'x'));
    assert_false(span_take_byte(&in, 'x'));
    assert_false(span_take_digits(&in, 1, &n));
}

static void
test_calendar(void **state)
{
    (void)state;
    assert_int_equal(calendar_days(1970, 1, 1), 0);
    assert_int_equal(calendar_days(2000, 3, 1), 11017);
    assert_int_equal(calendar_days(2024, 2, 29) + 1, calendar_days(2024, 3, 1));
    assert_int_equal(calendar_days(2026, 12, 31) + 1, calendar_days(2027, 1, 1));
    assert_true(calendar_is_date(2024, 2, 29) && calendar_is_date(2000, 2, 29));
    assert_true(calendar_is_date(2026, 12, 31));
    assert_false(calendar_is_date(2023, 2, 29) || calendar_is_date(2100, 2, 29));
    assert_false(calendar_is_date(2026, 4, 31) || calendar_is_date(2026, 1, 0));
    assert_false(calendar_is_date(2026, 0, 1) || calendar_is_date(2026, 13, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_cut_and_trim),
        cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
