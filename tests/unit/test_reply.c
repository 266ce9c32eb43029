/* Unit tests of reply and ehlo: whole, byte by byte, against a guard page, and what is no reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/base/xmalloc.h"
#include "relay/smtp/ehlo.h"
#include "relay/smtp/reply.h"
#include "tests/lib/guard.h"

struct good {
    const char *wire;
    int code;
    const char *enhanced;
    const char *text;
};

static const struct good good_replies[] = {
    {"250 ok\r\n", 250, "", "ok"},
    {"250\r\n", 250, "", ""},
    {"250 \r\n", 250, "", ""},
    {"250 ok\n", 250, "", "ok"},
    {"220-a\r\n220-b\r\n220 c\r\n", 220, "", "a / b / c"},
    {"250-2.1.0 a\r\n250 2.1.0 b\r\n", 250, "2.1.0", "a / b"},
    {"550-5.7.1 a\r\n550 5.1.8 b\r\n", 550, "5.7.1", "a / 5.1.8 b"},
    {"550-no\r\n550 5.7.708 Access denied\r\n", 550, "5.7.708", "no / Access denied"},
    {"550;5.7.711 Access denied, bad inbound connector. AS(2204).\r\n", 550, "5.7.711",
        "Access denied, bad inbound connector. AS(2204)."},
    {"550 5.7.233 - Your message\r\n", 550, "5.7.233", "- Your message"},
    {"550 5.7.60 SMTP; Client does not\r\n", 550, "5.7.60", "SMTP; Client does not"},
    {"451 5.7.3 STARTTLS is required\r\n", 451, "5.7.3", "STARTTLS is required"},
    {"250 5.7.708 is only a text here\r\n", 250, "", "5.7.708 is only a text here"},
    {"250 ok 5.7.708\r\n", 250, "", "ok 5.7.708"},
    {"550 2.0.0 odd\r\n", 550, "2.0.0", "odd"},
    {"550 5.7.1\r\n", 550, "5.7.1", ""},
    {"550 5.7.1.2 no code\r\n", 550, "", "5.7.1.2 no code"},
    {"550 5.7000.1 no code\r\n", 550, "", "5.7000.1 no code"},
    {"550 5.7. no code\r\n", 550, "", "5.7. no code"},
    {"550 3.7.1 no code\r\n", 550, "", "3.7.1 no code"},
    {"550 a\tb\x1b[0m\x80\xff\rz\r\n", 550, "", "a b?[0m?? z"},
    {"334 VXNlcm5hbWU6\r\n", 334, "", "VXNlcm5hbWU6"},
};

static void
check_good(const struct good *g, const struct reply *r)
{
    char enhanced[ENHANCED_MAX];

    enhanced_format(r->enhanced, enhanced);
    assert_int_equal(r->code, g->code);
    assert_string_equal(enhanced, g->enhanced);
    assert_string_equal(r->text, g->text);
}

static void
test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_replies) / sizeof(*good_replies); i++) {
        const struct good *g = &good_replies[i];
        size_t n = strlen(g->wire), used = 0;
        struct reply r;
        const char *why = NULL;

        for (size_t part = 0; part < n; part++) {
            struct guard guard;
            struct span in = guard_copy(&guard, g->wire, part);

            assert_int_equal(reply_parse(in, &r, &used, &why), REPLY_MORE);
            guard_free(&guard);
        }
        assert_int_equal(reply_parse(span_of(g->wire, n), &r, &used, &why), REPLY_OK);
        assert_int_equal(used, n);
        check_good(g, &r);
    }
}

static void
test_next_reply_is_left(void **state)
{
    struct span in = SPAN_LIT("250 one\r\n354 two\r\n");
    struct reply r;
    const char *why;
    size_t used;

    (void)state;
    assert_int_equal(reply_parse(in, &r, &used, &why), REPLY_OK);
    assert_int_equal(used, 9);
    assert_int_equal(reply_parse(span_from(in, used), &r, &used, &why), REPLY_OK);
    assert_int_equal(r.code, 354);
}

static void
test_bad(void **state)
{
    static const char *const bad[] = {"999 x\r\n", "099 x\r\n", "25\r\n", "2500 x\r\n", "250x\r\n", "-1\r\n",
        "\r\n", "\n", "abc\r\n", "150 x\r\n", "600 x\r\n", "2 0 x\r\n", " 250 x\r\n", "250-a\r\n251 b\r\n",
        "250-a\r\n\r\n", "250-a\r\nb\r\n", "250:x\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct reply r;
        const char *why = NULL;
        size_t used;

        assert_int_equal(reply_parse(span_str(bad[i]), &r, &used, &why), REPLY_BAD);
        assert_non_null(why);
    }
}

static void
test_bounds(void **state)
{
    size_t size = REPLY_TOTAL_MAX + 4096, used, at = 0;
    char *wire = xcalloc(1, size);
    struct reply r;
    const char *why;

    (void)state;
    memset(wire, 'x', size);
    memcpy(wire, "250 ", 4);
    assert_int_equal(reply_parse(span_of(wire, REPLY_LINE_MAX - 1), &r, &used, &why), REPLY_MORE);
    assert_int_equal(reply_parse(span_of(wire, REPLY_LINE_MAX), &r, &used, &why), REPLY_BAD);
    wire[REPLY_LINE_MAX - 1] = '\n';
    assert_int_equal(reply_parse(span_of(wire, REPLY_LINE_MAX), &r, &used, &why), REPLY_OK);
    assert_int_equal(strlen(r.text), REPLY_TEXT_MAX);
    while (at + 8 <= REPLY_TOTAL_MAX) {
        memcpy(wire + at, "250-xxx\n", 8);
        at += 8;
    }
    assert_int_equal(reply_parse(span_of(wire, at), &r, &used, &why), REPLY_MORE);
    memcpy(wire + at, "250-xxx\n", 8);
    assert_int_equal(reply_parse(span_of(wire, at + 8), &r, &used, &why), REPLY_BAD);
    free(wire);
}

static void
test_format(void **state)
{
    struct reply r, back;
    struct buf out;
    const char *why;
    char many[900];
    size_t used;

    (void)state;
    buf_init(&out);
    reply_set(&r, 451, "4.4.5", "limit %s\r\nused\x1b %d/%d", "day", 5, 5);
    assert_string_equal(r.text, "limit day  used? 5/5");
    reply_format(&r, &out);
    assert_string_equal(buf_span(&out).p, "451 4.4.5 limit day  used? 5/5\r\n");
    buf_clear(&out);
    reply_set(&r, 250, NULL, "%s", "");
    reply_format(&r, &out);
    assert_string_equal(buf_span(&out).p, "250 \r\n");
    buf_clear(&out);
    for (size_t i = 0; i < sizeof(many) - 1; i++)
        many[i] = i % 7 == 6 ? ' ' : 'a';
    many[sizeof(many) - 1] = '\0';
    reply_set(&r, 550, "5.7.1", "%s", many);
    reply_format(&r, &out);
    assert_memory_equal(buf_span(&out).p, "550-5.7.1 aaaaaa", 16);
    for (const char *line = buf_span(&out).p, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        assert_true(end - line < 512);
    assert_int_equal(reply_parse(buf_span(&out), &back, &used, &why), REPLY_OK);
    assert_int_equal(used, buf_len(&out));
    assert_int_equal(strlen(back.text), strlen(many) + 2); /* one blank became " / " */
    buf_fini(&out);
}

static void
test_set_from_itself(void **state)
{
    struct reply r;

    (void)state;
    reply_set(&r, 550, "5.1.1", "no such user");
    reply_set(&r, 451, "4.4.1", "upstream said: %d %s", r.code, r.text);
    assert_string_equal(r.text, "upstream said: 550 no such user");
}

static void
test_ehlo(void **state)
{
    static const char *const lines[] = {"SIZE 157286400", "pipelining", "DSN", "8BitMime", "STARTTLS",
        "AUTH LOGIN XOAUTH2", "AUTH=PLAIN NTLM", "", " ", "SIZEX 5", "AUTHX LOGIN"};
    struct ehlo e;

    (void)state;
    ehlo_init(&e);
    assert_false(e.size || e.pipelining || e.starttls || e.auth_login);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        ehlo_add_line(&e, span_str(lines[i]));
    assert_true(e.size && e.pipelining && e.eightbitmime && e.starttls && e.dsn);
    assert_true(e.auth_login && e.auth_plain);
    assert_int_equal(e.size_max, 157286400);
    ehlo_add_line(&e, SPAN_LIT("SIZE 99999999999999999999999"));
    assert_int_equal(e.size_max, 0);
    ehlo_init(&e);
    ehlo_add_line(&e, SPAN_LIT("SIZE"));
    ehlo_add_line(&e, SPAN_LIT("PIPELININGX"));
    ehlo_add_line(&e, SPAN_LIT("DSNX"));
    ehlo_add_line(&e, SPAN_LIT("X DSN"));
    assert_true(e.size);
    assert_false(e.dsn);
    assert_int_equal(e.size_max, 0);
    assert_false(e.pipelining);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_next_reply_is_left),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_set_from_itself),
        cmocka_unit_test(test_ehlo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
