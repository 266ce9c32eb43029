/* Unit tests of header: who a message claims to be from, and how often it was here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/smtp/header.h"
#include "tests/lib/guard.h"

static const struct header_limits limits = {256 * 1024, 1000, 5, "relay.contoso.com"};

/* "a@b c@d" for the addresses, or NULL. */
static const char *
authors(struct span value)
{
    static char text[2000];
    struct header_authors a;
    size_t n = 0;

    if (!header_parse_authors(value, &a))
        return NULL;
    for (size_t i = 0; i < a.n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", a.addresses[i].text);
    header_authors_fini(&a);
    return text;
}

static void
test_authors(void **state)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        {" a@b.c", "a@b.c"},
        {"<a@b.c>", "a@b.c"},
        {"Joe <a@B.C>", "a@b.c"},
        {"Joe Q. Public <a@b.c>", "a@b.c"},
        {"\"Joe, <x@y> \\\" \" <a@b.c>", "a@b.c"},
        {"=?utf-8?B?U8O2?= <a@b.c>", "a@b.c"},
        {"J\xc3\xb6rg <a@b.c>", "a@b.c"},
        {"[Alert] <a@b.c>", "a@b.c"},
        {"a@b.c (Joe, (nested) \\) x@y)", "a@b.c"},
        {"(c) a (d) @ (e) b (f) . (g) c (h)", "a@b.c"},
        {"<(x)a@b.c(y)>", "a@b.c"},
        {"a@b.c, d@e.f", "a@b.c d@e.f"},
        {"A <a@b.c>,\tB <d@e.f>,", "a@b.c d@e.f"},
        {"a@b.c <a@b.c>", "a@b.c"},
        {"A@b.C <a@b.c>", "a@b.c"},
        {"\"a b\"@c.d", "\"a b\"@c.d"},
        {"\"other@x.y\" <a@b.c>", "a@b.c"},
        {"", NULL},
        {" ", NULL},
        {",", NULL},
        {"Joe", NULL},
        {"Joe <>", NULL},
        {"Joe <a>", NULL},
        {"a@b.c x", NULL},
        {"x a@b.c", NULL},
        {"ceo @contoso.com", "ceo@contoso.com"},
        {"my ceo@contoso.com", NULL},
        {"other@x.y <a@b.c>", NULL},
        {"a b@c <a@b.c>", NULL},
        {"<a@b.c> x", NULL},
        {"<a@b.c> <d@e.f>", NULL},
        {"<a b@c.d>", NULL},
        {"<a@b.c", NULL},
        {"a@b.c>", NULL},
        {"Team: a@b.c, d@e.f;", NULL},
        {"undisclosed:;", NULL},
        {"a@b.c (open", NULL},
        {"\"open <a@b.c>", NULL},
        {"<@x:a@b.c>", NULL},
        {"<a@[1.2.3.4]>", NULL},
        {"\x01<a@b.c>", NULL},
        {"<a@b.c\x7f>", NULL},
        {"<a@b\xc3\xbc.c>", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guard guard;
        const char *got = authors(guard_copy(&guard, cases[i].value, strlen(cases[i].value)));

        if ((got == NULL) != (cases[i].want == NULL) || (got && strcmp(got, cases[i].want) != 0))
            fail_msg("%s: %s", cases[i].value, got ? got : "refused");
        guard_free(&guard);
    }
}

/* A reader may end at a control byte, drop it or keep it, and take a backslash outside quotes either way. */
static void
test_crooked_authors(void **state)
{
    static const struct span values[] = {
        SPAN_LIT("a\0@b.c"),
        SPAN_LIT("\"x\0\" <a@b.c>"),
        SPAN_LIT("\"x\\\0\" <a@b.c>"),
        SPAN_LIT("\"x\x0b\x1b\" <a@b.c>"),
        SPAN_LIT("\"x\x7f\" <a@b.c>"),
        SPAN_LIT("a@b.c (\0)"),
        SPAN_LIT("a@b.c (\\\0)"),
        SPAN_LIT("a@b.c ((\x1b))"),
        SPAN_LIT("a@b.c (\x7f)"),
        SPAN_LIT("\\\"e@x.com\"<a@b.c>"),
        SPAN_LIT("x\\ <a@b.c>"),
        SPAN_LIT("<a\\@b.c>"),
        SPAN_LIT("<a@b.c>\\"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (authors(values[i]) != NULL)
            fail_msg("value %zu was taken", i);
    assert_string_equal(authors(SPAN_LIT("\"x\ty\" <a@b.c> (\tz \\) \xc3\xa4)")), "a@b.c");
}

static void
test_many_authors(void **state)
{
    char value[40 * 8];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        n += (size_t)snprintf(value + n, sizeof value - n, "a@b.c,");
        assert_true((authors(span_of(value, n)) != NULL) == (i < HEADER_FROM_MAX));
    }
}

static enum header_status
read_bytes(struct span text, size_t step, char *first)
{
    struct header_authors a;
    enum header_status status;
    struct header h;

    header_init(&h, &limits);
    for (size_t at = 0; at < text.n; at += step) {
        struct guard guard;

        header_feed(&h, guard_copy(&guard, text.p + at, at + step < text.n ? step : text.n - at));
        guard_free(&guard);
    }
    status = header_end(&h, &a);
    first[0] = '\0';
    if (status == HEADER_OK) {
        snprintf(first, 100, "%s", a.addresses[a.n - 1].text);
        header_authors_fini(&a);
    }
    header_fini(&h);
    return status;
}

static enum header_status
read_header(const char *text, size_t step, char *first)
{
    return read_bytes(span_str(text), step, first);
}

#define OURS                                                                                                 \
    "Received: from x ([1.2.3.4])\r\n\tby relay.contoso.com (sendgov) with ESMTPSA\r\n\tid 1; date\r\n"
#define FROM "From: a@b.c\r\n"

static void
test_messages(void **state)
{
    static const struct {
        const char *text;
        enum header_status status;
        const char *last;
    } cases[] = {
        {FROM "\r\nbody\r\n", HEADER_OK, "a@b.c"},
        {"Subject: x\r\nfrom : \r\n \"J\"\r\n\t<a@b.c>\r\nTo: y\r\n\r\nFrom: z@z\r\n", HEADER_OK, "a@b.c"},
        {FROM, HEADER_OK, "a@b.c"},
        {"", HEADER_NO_FROM, ""},
        {"\r\n" FROM, HEADER_NO_FROM, ""},
        {" ; injected\r\n" FROM "\r\n", HEADER_BAD_START, ""},
        {"\tby relay.contoso.com (sendgov)\r\n" FROM "\r\n", HEADER_BAD_START, ""},
        {" \r\n" FROM "\r\n", HEADER_BAD_START, ""},
        {"\x0b " FROM "\r\n", HEADER_BAD_START, ""},
        {"X: y\r\n z\r\n" FROM "\r\n", HEADER_OK, "a@b.c"},
        {"Subject: x\r\n\r\nhello\r\n", HEADER_NO_FROM, ""},
        {"Fromage: x\r\nReply-To: a@b.c\r\n\r\n", HEADER_NO_FROM, ""},
        {FROM "From: d@e.f\r\n\r\n", HEADER_MANY_FROM, ""},
        {FROM "no field\r\nFrom: d@e.f\r\n\r\n", HEADER_MANY_FROM, ""},
        {"From me Sat Jan  1\r\n" FROM "\r\n", HEADER_OK, "a@b.c"},
        {"From: me\r\n\r\n", HEADER_BAD_FROM, ""},
        {"From:\r\n\r\n", HEADER_BAD_FROM, ""},
        {"From: a@b.c, d@e.f\r\n\r\n", HEADER_NEEDS_SENDER, ""},
        {"From: a@b.c, d@e.f\r\nSender: s@b.c\r\n\r\n", HEADER_OK, "s@b.c"},
        {"From: a@b.c, d@e.f\r\nSender: s@b.c, t@b.c\r\n\r\n", HEADER_BAD_SENDER, ""},
        {"From: a@b.c, d@e.f\r\nSender: s@b.c\r\nSender: s@b.c\r\n\r\n", HEADER_BAD_SENDER, ""},
        {"Sender: x\r\n" FROM "\r\n", HEADER_OK, "a@b.c"},
        {OURS FROM "\r\n", HEADER_OK, "a@b.c"},
        {OURS OURS FROM "\r\n", HEADER_LOOP, ""},
        {OURS FROM OURS "\r\n", HEADER_LOOP, ""},
        {OURS "Received: from x by\r\n\trelay.contoso.com (sendgov) with SMTP\r\n" FROM "\r\n",
            HEADER_LOOP, ""},
        {OURS "Received: by relay.contoso.com\r\n\t(sendgov)\r\n" FROM "\r\n", HEADER_LOOP, ""},
        {OURS "Received: BY  Relay.contoso.com \t (sendgov)\r\n" FROM "\r\n", HEADER_LOOP, ""},
        {OURS "Received: by \r\n \r\n relay.contoso.com (sendgov)\r\n" FROM "\r\n", HEADER_LOOP, ""},
        {OURS "Received: by relay.contoso.com(sendgov)by relay.contoso.co (sendgov) b\r\n" FROM "\r\n",
            HEADER_OK, "a@b.c"},
        {"Received: by relay.contoso.com (Postfix)\r\nReceived: by relay.contoso.com (Postfix)\r\n" FROM "\r"
                                                                                                         "\n",
            HEADER_OK, "a@b.c"},
        {"received:1\r\nReceived:2\r\nReceived:3\r\nReceived:4\r\nReceived:5\r\n" FROM "\r\n", HEADER_OK,
            "a@b.c"},
        {"received:1\r\nReceived:2\r\nReceived:3\r\nReceived:4\r\nReceived:5\r\nReceived:6\r\n" FROM "\r\n",
            HEADER_HOPS, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 200; step += step < 6 ? 1 : 40) {
            char last[100];
            enum header_status status = read_header(cases[i].text, step, last);

            if (status != cases[i].status || strcmp(last, cases[i].last) != 0)
                fail_msg("%s (step %zu): status %d, %s", cases[i].text, step, status, last);
            assert_true((header_complaint(status) == NULL) == (status == HEADER_OK));
        }
}

/* Names that are one of ours to who leaves out what no name may hold, and lines that are folded to them. */
static void
test_crooked_names(void **state)
{
    static const struct {
        struct span text;
        enum header_status status;
    } cases[] = {
        {SPAN_LIT("From\0: e@x.y\r\n"), HEADER_BAD_FROM},
        {SPAN_LIT(FROM "From\0: e@x.y\r\n"), HEADER_MANY_FROM},
        {SPAN_LIT(FROM "Fr\0om: e@x.y\r\n"), HEADER_MANY_FROM},
        {SPAN_LIT(FROM "\0From: e@x.y\r\n"), HEADER_MANY_FROM},
        {SPAN_LIT(FROM "\x0b" "From: e@x.y\r\n"), HEADER_MANY_FROM},
        {SPAN_LIT(FROM "From\x7f : e@x.y\r\n"), HEADER_MANY_FROM},
        {SPAN_LIT("\xc2\xa0" FROM), HEADER_BAD_FROM},
        {SPAN_LIT("fr om: a@b.c\r\n"), HEADER_BAD_FROM},
        {SPAN_LIT(FROM "\0 , e@x.y\r\n"), HEADER_BAD_FROM},
        {SPAN_LIT(FROM "X-\0From: e@x.y\r\nFrom\x80s: x\r\n"), HEADER_OK},
        {SPAN_LIT("From\t: a@b.c\r\n"), HEADER_OK},
        {SPAN_LIT("From: a@b.c, d@e.f\r\nSender: s@b.c\r\nS\0ender: e@x.y\r\n"), HEADER_BAD_SENDER},
        {SPAN_LIT("From: a@b.c, d@e.f\r\nS\0ender: s@b.c\r\n"), HEADER_BAD_SENDER},
    };
    char last[100];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 60; step += 7)
            if (read_bytes(cases[i].text, step, last) != cases[i].status)
                fail_msg("case %zu (step %zu): status %d", i, step, read_bytes(cases[i].text, step, last));
}

static enum header_status
read_long(size_t line_bytes, unsigned lines, const char *name, size_t step)
{
    static char text[400 * 1024];
    char last[100];
    size_t n = 0;

    for (unsigned i = 0; i < lines; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", name);
        memset(text + n, 'x', line_bytes);
        n += line_bytes;
        n += (size_t)snprintf(text + n, sizeof text - n, "\r\n");
    }
    snprintf(text + n, sizeof text - n, FROM "\r\n");
    return read_header(text, step, last);
}

static void
test_bounds(void **state)
{
    (void)state;
    for (size_t step = 1000; step < 300000; step += 99000) {
        assert_int_equal(read_long(100 * 1024, 1, "X-Long: ", step), HEADER_OK);
        assert_int_equal(read_long(100 * 1024, 3, "X-Long: ", step), HEADER_TOO_BIG);
        assert_int_equal(read_long(1, 999, "A:", step), HEADER_TOO_BIG);
        assert_int_equal(read_long(1, 900, "A:", step), HEADER_OK);
        assert_int_equal(read_long(20 * 1024, 1, "Received: ", step), HEADER_OK);
        assert_int_equal(read_long(20 * 1024, 1, "From: ", step), HEADER_MANY_FROM);
    }
}

/* A From too long to be kept is refused, not half read; a long field after it does no harm. */
static void
test_cut_from(void **state)
{
    static char text[40 * 1024];
    char last[100];
    int n;

    (void)state;
    n = snprintf(text, sizeof text, "From: a@b.c,\r\n (");
    memset(text + n, 'x', 17 * 1024);
    snprintf(text + n + 17 * 1024, 100, ")\r\n d@e.f\r\n\r\n");
    for (size_t step = 1; step < 40000; step += 3999)
        assert_int_equal(read_header(text, step, last), HEADER_BAD_FROM);
    n = snprintf(text, sizeof text, FROM "X-Long: ");
    memset(text + n, 'x', 17 * 1024);
    snprintf(text + n + 17 * 1024, 100, "\r\n\r\n");
    for (size_t step = 1; step < 40000; step += 3999)
        assert_int_equal(read_header(text, step, last), HEADER_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authors),
        cmocka_unit_test(test_crooked_authors),
        cmocka_unit_test(test_many_authors),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_crooked_names),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_cut_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
