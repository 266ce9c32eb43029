/* Unit tests of address: what is understood, in which form it goes on, and why the rest is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/smtp/address.h"
#include "tests/lib/guard.h"

struct path_case {
    const char *in;
    enum address_status status;
    const char *text; /* on ADDRESS_OK */
    size_t used;      /* 0: all of it */
};

static const struct path_case paths[] = {
    {"<a@b>", ADDRESS_OK, "a@b", 0},
    {"<a@b.c> SIZE=1", ADDRESS_OK, "a@b.c", 7},
    {"<A.b@Contoso.COM>", ADDRESS_OK, "A.b@contoso.com", 0},
    {"<a@contoso.com.>", ADDRESS_OK, "a@contoso.com", 0},
    {"<\"a\"@x.y>", ADDRESS_OK, "a@x.y", 0},
    {"<\"a\\b\"@x.y>", ADDRESS_OK, "ab@x.y", 0},
    {"<\"a b\"@x.y>", ADDRESS_OK, "\"a b\"@x.y", 0},
    {"<\"a\\\"b\\\\\"@x.y>", ADDRESS_OK, "\"a\\\"b\\\\\"@x.y", 0},
    {"<\"a@b\"@x.y>", ADDRESS_OK, "\"a@b\"@x.y", 0},
    {"<\"\"@x.y>", ADDRESS_OK, "\"\"@x.y", 0},
    {"<\"a..b\"@x.y>", ADDRESS_OK, "\"a..b\"@x.y", 0},
    {"<u%x@y.z>", ADDRESS_OK, "u%x@y.z", 0},
    {"<x!u@y.z>", ADDRESS_OK, "x!u@y.z", 0},
    {"<a@my_host.example>", ADDRESS_OK, "a@my_host.example", 0},
    {"<a@xn--bcher-kva.example>", ADDRESS_OK, "a@xn--bcher-kva.example", 0},
    {"<>", ADDRESS_OK, "", 0},
    {"", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"a@b", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<@>", ADDRESS_ROUTE, NULL, 0},
    {"<a>", ADDRESS_NO_DOMAIN, NULL, 0},
    {"<a", ADDRESS_NO_DOMAIN, NULL, 0},
    {"<\"u@x\">", ADDRESS_NO_DOMAIN, NULL, 0},
    {"<postmaster>", ADDRESS_NO_DOMAIN, NULL, 0},
    {"<a b@c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"< a@b>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b@c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<.a@b>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a.@b>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a..b@c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@.b>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b..c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b..>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@.>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@-b.c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b-.c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@b,c>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\r\nRCPT TO:<x>\"@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\\n\"@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\t\"@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\"b@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a>b\"@x.y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\>b\"@x.y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a<b\"@x.y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\<b\"@x.y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a@x.y> X\"@x.y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\\x01\"@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\\x7f\"@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<\"a\\\xff\"@y>", ADDRESS_NEEDS_UTF8, NULL, 0},
    {"<a\x7f@y>", ADDRESS_BAD_SYNTAX, NULL, 0},
    {"<a@[192.0.2.1]>", ADDRESS_LITERAL, NULL, 0},
    {"<a@[IPv6:::1]>", ADDRESS_LITERAL, NULL, 0},
    {"<a@192.0.2.1>", ADDRESS_LITERAL, NULL, 0},
    {"<@relay:a@b>", ADDRESS_ROUTE, NULL, 0},
    {"<@[192.0.2.1]:a@b>", ADDRESS_ROUTE, NULL, 0},
    {"<\xc3\xa4@b>", ADDRESS_NEEDS_UTF8, NULL, 0},
    {"<a@b\xc3\xbc.de>", ADDRESS_NEEDS_UTF8, NULL, 0},
    {"<\"\xff\"@b>", ADDRESS_NEEDS_UTF8, NULL, 0},
};

static void
test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const struct path_case *c = &paths[i];
        struct address a = {NULL, 0};
        struct guard guard;
        struct span in = guard_copy(&guard, c->in, strlen(c->in));
        size_t used;

        if (address_parse_path(in, true, &a, &used) != c->status)
            fail_msg("%s: another status", c->in);
        if (c->status == ADDRESS_OK) {
            assert_string_equal(a.text, c->text);
            assert_int_equal(used, c->used ? c->used : in.n);
            address_fini(&a);
        } else
            assert_int_equal(used, 0);
        guard_free(&guard);
    }
}

static void
test_null_sender(void **state)
{
    struct address a;
    size_t used;

    (void)state;
    assert_int_equal(address_parse_path(SPAN_LIT("<>"), false, &a, &used), ADDRESS_BAD_SYNTAX);
    assert_int_equal(address_parse_path(SPAN_LIT("<>"), true, &a, &used), ADDRESS_OK);
    assert_true(address_is_null(&a));
    assert_int_equal(address_domain(&a).n, 0);
    assert_int_equal(address_local(&a).n, 0);
    address_fini(&a);
}

static void
test_parts(void **state)
{
    struct address a, b;

    (void)state;
    assert_int_equal(address_parse_plain(SPAN_LIT("\"x y\"@Contoso.com"), &a), ADDRESS_OK);
    address_copy(&a, &b);
    address_fini(&a);
    assert_true(span_eq(address_domain(&b), SPAN_LIT("contoso.com")));
    assert_true(span_eq(address_local(&b), SPAN_LIT("\"x y\"")));
    address_fini(&b);
    assert_int_equal(address_parse_plain(SPAN_LIT("a@b "), &a), ADDRESS_BAD_SYNTAX);
    assert_int_equal(address_parse_plain(SPAN_LIT("<a@b>"), &a), ADDRESS_BAD_SYNTAX);
    assert_int_equal(address_parse_plain(SPAN_LIT(""), &a), ADDRESS_BAD_SYNTAX);
}

/* Of each length around the bounds, quoted and not. */
static void
test_lengths(void **state)
{
    char text[800];
    struct address a;

    (void)state;
    for (size_t n = 60; n < 70; n++) {
        memset(text, 'a', n);
        memcpy(text + n, "@b.c", 4);
        assert_int_equal(
            address_parse_plain(span_of(text, n + 4), &a), n <= 64 ? ADDRESS_OK : ADDRESS_TOO_LONG);
        if (n <= 64)
            address_fini(&a);
        text[0] = '"';
        memset(text + 1, ' ', n);
        memcpy(text + 1 + n, "\"@b.c", 5);
        assert_int_equal(
            address_parse_plain(span_of(text, n + 6), &a), n <= 64 ? ADDRESS_OK : ADDRESS_TOO_LONG);
        if (n <= 64)
            address_fini(&a);
    }
    memset(text, 'd', sizeof text);
    memcpy(text, "a@", 2);
    for (size_t i = 2; i + 49 < sizeof text; i += 50)
        text[i + 49] = '.';
    assert_int_equal(address_parse_plain(span_of(text, 254), &a), ADDRESS_OK);
    assert_int_equal(strlen(a.text), ADDRESS_TEXT_MAX);
    address_fini(&a);
    assert_int_equal(address_parse_plain(span_of(text, 255), &a), ADDRESS_TOO_LONG);
    assert_int_equal(address_parse_plain(span_of(text, 2 + 256), &a), ADDRESS_TOO_LONG);
    memset(text + 2, 'd', 64);
    assert_int_equal(address_parse_plain(span_of(text, 2 + 63), &a), ADDRESS_OK);
    address_fini(&a);
    assert_int_equal(address_parse_plain(span_of(text, 2 + 64), &a), ADDRESS_BAD_SYNTAX);
}

/* The path as it goes on is bounded, not the client's spelling of it. */
static void
test_path_length(void **state)
{
    char text[800];
    struct address a;
    size_t used;

    (void)state;
    for (size_t local_n = 1; local_n <= 64; local_n++) {
        for (int quoted = 0; quoted < 2; quoted++) {
            size_t n = 0, room = ADDRESS_TEXT_MAX - local_n - 1, start;

            text[n++] = '<';
            if (quoted)
                text[n++] = '"';
            memset(text + n, 'a', local_n);
            n += local_n;
            if (quoted)
                text[n++] = '"';
            text[n++] = '@';
            for (start = n; n - start < room; n++)
                text[n] = (n - start) % 50 == 49 && n - start + 1 < room ? '.' : 'd';
            text[n] = '>';
            assert_int_equal(address_parse_path(span_of(text, n + 1), false, &a, &used), ADDRESS_OK);
            assert_int_equal(strlen(a.text), ADDRESS_TEXT_MAX);
            address_fini(&a);
            memcpy(text + n, "d>", 2);
            assert_int_equal(address_parse_path(span_of(text, n + 2), false, &a, &used), ADDRESS_TOO_LONG);
        }
    }
}

/* What came out goes in again and stays as it is. */
static void
test_canonical_is_stable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct address a;

        if (paths[i].status != ADDRESS_OK || paths[i].text[0] == '\0')
            continue;
        assert_int_equal(address_parse_plain(span_str(paths[i].text), &a), ADDRESS_OK);
        assert_string_equal(a.text, paths[i].text);
        address_fini(&a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_null_sender),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_path_length),
        cmocka_unit_test(test_canonical_is_stable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
