/* Unit tests of the body scanner: one end of message, one wire form, whatever the pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/base/buf.h"
#include "relay/smtp/body.h"
#include "relay/smtp/body_lines.h"
#include "tests/lib/body_reference.h"
#include "tests/lib/guard.h"

static const struct body_limits normalize = {1 << 20, 65536, BODY_NORMALIZE};
static const struct body_limits reject = {1 << 20, 65536, BODY_REJECT};

static void
sink(void *arg, struct span wire)
{
    buf_add_span(arg, wire);
}

/* Feeds in pieces of `step` bytes (0: whole), each against a guard page. Returns bytes used. */
static size_t
feed(struct body *b, struct span in, size_t step, struct buf *wire)
{
    size_t used = 0;

    while (used < in.n && b->state != BODY_END) {
        struct guard guard;
        struct span piece = span_head(span_from(in, used), step ? step : in.n);

        piece = guard_copy(&guard, piece.p, piece.n);
        used += body_scan(b, piece, sink, wire);
        guard_free(&guard);
    }
    return used;
}

static void
check(const char *in, size_t n, const char *wire, size_t wire_n)
{
    for (size_t step = 0; step <= n && step < 8; step++) {
        struct body b;
        struct buf out;

        buf_init(&out);
        body_init(&b, &normalize);
        assert_int_equal(feed(&b, span_of(in, n), step, &out), n);
        assert_int_equal(b.state, BODY_END);
        assert_int_equal(b.status, BODY_OK);
        if (buf_len(&out) != wire_n || memcmp(buf_span(&out).p, wire, wire_n) != 0)
            fail_msg("step %zu: wire is \"%s\"", step, buf_span(&out).p);
        buf_fini(&out);
    }
}

#define CHECK(in, wire) check(in, sizeof(in) - 1, wire, sizeof(wire) - 1)

static void
test_forms(void **state)
{
    (void)state;
    CHECK(".\r\n", "");
    CHECK("\r\n.\r\n", "\r\n");
    CHECK("a\r\n.\r\n", "a\r\n");
    CHECK("a\r\n\r\n.\r\n", "a\r\n\r\n");
    CHECK("..\r\n.\r\n", "..\r\n");
    CHECK(".x\r\n.\r\n", "x\r\n");
    CHECK("..x\r\n...\r\n.\r\n", "..x\r\n...\r\n");
    CHECK("a.b\r\n x.\r\n.\r\n", "a.b\r\n x.\r\n");
    CHECK("a\nb\rc\r\n.\r\n", "a\r\nb\r\nc\r\n");
    CHECK("a\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n");
    CHECK("a\n..\nb\r\n.\r\n", "a\r\n...\r\nb\r\n");
    CHECK("a\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n");
    CHECK("a\n\r\n.\r\n", "a\r\n\r\n");
    CHECK("a\0b\r\n.\r\n", "a\0b\r\n");
    CHECK("\xff\xfe\r\n.\r\n", "\xff\xfe\r\n");
}

/* The ten forms that somebody takes for the end: none is. */
static void
test_smuggling(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } forms[] = {
#define FORM(s) {s, sizeof(s) - 1}
        FORM("\n.\n"), FORM("\n.\r"), FORM("\r.\n"), FORM("\r.\r"), FORM("\n.\r\n"), FORM("\r.\r\n"),
        FORM("\r\n.\r\r\n"), FORM("\r\r\n.\r\r\n"), FORM("\r\n\0.\r\n"), FORM("\r\n.\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (size_t step = 0; step < 8; step++) {
            struct buf in, out;
            struct body b;
            struct span wire;

            buf_init(&in);
            buf_init(&out);
            buf_add_str(&in, "Subject: x\r\n\r\nbegin");
            buf_add(&in, forms[i].p, forms[i].n);
            buf_add_str(&in, "MAIL FROM:<smuggled@x>\r\n.\r\n");
            body_init(&b, &normalize);
            assert_int_equal(feed(&b, buf_span(&in), step, &out), buf_len(&in));
            assert_int_equal(b.state, BODY_END);
            wire = buf_span(&out);
            assert_true(span_find_nocase(wire, SPAN_LIT("smuggled")) > 0);
            assert_int_equal(span_find_nocase(wire, SPAN_LIT("\r\n.\r\n")), -1);
            for (size_t k = 0; k < wire.n; k++) {
                if (wire.p[k] == '\n')
                    assert_true(k > 0 && wire.p[k - 1] == '\r');
                if (wire.p[k] == '\r')
                    assert_true(k + 1 < wire.n && wire.p[k + 1] == '\n');
            }
            buf_fini(&in);
            buf_fini(&out);
        }
    }
}

static void
test_reject(void **state)
{
    static const char *const stray[] = {
        "a\nb\r\n.\r\n", "a\rb\r\n.\r\n", "\n\r\n.\r\n", "a\r\r\n.\r\n", ".\n\r\n.\r\n"};
    struct buf out;
    struct body b;

    (void)state;
    for (size_t i = 0; i < sizeof stray / sizeof stray[0]; i++)
        for (size_t step = 0; step < 4; step++) {
            buf_init(&out);
            body_init(&b, &reject);
            assert_int_equal(feed(&b, span_str(stray[i]), step, &out), strlen(stray[i]));
            assert_int_equal(b.state, BODY_END);
            assert_int_equal(b.status, BODY_STRAY_NEWLINE);
            buf_fini(&out);
        }
    buf_init(&out);
    body_init(&b, &reject);
    feed(&b, SPAN_LIT("a\r\n..b\r\n.\r\n"), 1, &out);
    assert_int_equal(b.status, BODY_OK);
    buf_fini(&out);
}

static void
test_counts(void **state)
{
    struct buf out;
    struct body b;

    (void)state;
    for (size_t step = 0; step < 5; step++) {
        buf_init(&out);
        body_init(&b, &normalize);
        feed(&b, SPAN_LIT("abc\r\n..\r\n.de\nf\r\n\r\n.\r\nMAIL"), step, &out);
        assert_int_equal(b.content_bytes, 5 + 3 + 4 + 3 + 2);
        assert_int_equal(b.lines, 5);
        assert_int_equal(b.longest_line, 3);
        assert_false(b.eightbit);
        buf_fini(&out);
    }
    buf_init(&out);
    body_init(&b, &normalize);
    feed(&b, SPAN_LIT("abcdefghijklmnop\xc3qrstuvw\r\n.\r\n"), 0, &out);
    assert_true(b.eightbit);
    buf_fini(&out);
}

/* A message over a limit is read to its end and not given on. */
static void
test_limits(void **state)
{
    const struct body_limits small = {10, 6, BODY_NORMALIZE};
    static const struct {
        const char *in;
        enum body_status status;
    } cases[] = {
        {"12345678\r\n.\r\n", BODY_LONG_LINE},
        {"123456\r\n.\r\n", BODY_OK},
        {"1234567\r\n.\r\n", BODY_LONG_LINE},
        {"1234\r\n12\r\n.\r\n", BODY_OK},
        {"1234\r\n123\r\n.\r\n", BODY_TOO_BIG},
        {"..234\r\n1\r\n.\r\n", BODY_OK},
        {"..2345\r\n12\r\n.\r\n", BODY_TOO_BIG},
        {"1234\r\n123\r\n12345678\r\n.\r\n", BODY_TOO_BIG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 0; step < 4; step++) {
            struct buf out;
            struct body b;

            buf_init(&out);
            body_init(&b, &small);
            assert_int_equal(feed(&b, span_str(cases[i].in), step, &out), strlen(cases[i].in));
            assert_int_equal(b.state, BODY_END);
            if (b.status != cases[i].status && !(cases[i].status != BODY_OK && b.status != BODY_OK))
                fail_msg("%s (step %zu): status %d", cases[i].in, step, b.status);
            assert_true(buf_len(&out) <= 12);
            buf_fini(&out);
        }
}

/* The two ways to pass lines in blocks say the same. */
static void
check_lines(const char *in, size_t n)
{
    struct body_lines a = body_lines_measure(span_of(in, n)), b = body_lines_measure_old(span_of(in, n));

    assert_int_equal(a.bytes, b.bytes);
    assert_int_equal(a.lines, b.lines);
    assert_int_equal(a.longest, b.longest);
    assert_int_equal(a.measured, b.measured);
    assert_int_equal(a.eightbit, b.eightbit);
}

static void
check_random(const char *in, size_t n, char *want, size_t most)
{
    struct body_reference r = body_reference_run(in, n, want);
    struct buf out;
    struct body b;
    size_t used = 0;

    buf_init(&out);
    body_init(&b, &normalize);
    while (b.state != BODY_END)
        used += body_scan(
            &b, span_head(span_of(in + used, n - used), 1 + (size_t)rand() % most), sink, &out);
    assert_int_equal(used, r.used);
    assert_int_equal(buf_len(&out), r.wire_n);
    assert_memory_equal(buf_span(&out).p, want, r.wire_n);
    assert_int_equal(b.lines, r.lines);
    assert_int_equal(b.longest_line, r.longest);
    assert_int_equal(b.eightbit, r.eightbit);
    buf_fini(&out);
    check_lines(in, n);
}

/* Random text of the dangerous bytes, in random pieces, against the reference. */
static void
test_model(void **state)
{
    static const char bytes[] = "\r\n.\r\n.\r\na\0\x80";

    (void)state;
    srand(11);
    for (int round = 0; round < 20000; round++) {
        char in[80], want[160];
        size_t n = (size_t)rand() % 60;

        for (size_t i = 0; i < n; i++)
            in[i] = bytes[(size_t)rand() % (sizeof bytes - 1)];
        memcpy(in + n, "\r\n.\r\n", 5);
        check_random(in, n + 5, want, 9);
    }
}

/* Lines as mail has them, with something odd here and there: the scanner passes what it can in blocks. */
static void
test_lines_model(void **state)
{
    static const char *const odd[] = {"\r", "\n", ".", "\r\n.", "\r\n..", "\r\r\n", "\n.\r\n",
        "\x80", "\r\n\r\n", "\r\n.\r"};

    (void)state;
    srand(12);
    for (int round = 0; round < 3000; round++) {
        static char in[4096], want[8192];
        size_t n = 0, wanted = (size_t)rand() % 3000, width = 1 + (size_t)rand() % 130;
        int rarity = 1 + rand() % 40;

        while (n < wanted) {
            size_t text = (size_t)rand() % width;
            const char *end =
                rand() % rarity == 0 ? odd[(size_t)rand() % (sizeof odd / sizeof odd[0])] : "\r\n";

            memset(in + n, 'a' + rand() % 26, text);
            memcpy(in + n + text, end, strlen(end));
            n += text + strlen(end);
        }
        memcpy(in + n, "\r\n.\r\n", 5);
        check_random(in, n + 5, want, round % 2 ? n + 5 : 700);
    }
}

/* A line that is too long among those that pass in blocks; no byte behind the input is looked at. */
static void
test_long_line_among_others(void **state)
{
    const struct body_limits limits = {1 << 20, 100, BODY_REJECT};
    char in[512];

    (void)state;
    for (size_t long_one = 98; long_one <= 102; long_one++)
        for (size_t before = 0; before < 130; before++) {
            struct buf out;
            struct body b;
            size_t n = 0;

            memset(in, 'x', sizeof in);
            n += before;
            memcpy(in + n, "\r\n", 2);
            n += 2 + long_one;
            memcpy(in + n, "\r\n", 2);
            n += 2 + 70;
            memcpy(in + n, "\r\n.\r\n", 5);
            n += 5;
            buf_init(&out);
            body_init(&b, &limits);
            assert_int_equal(feed(&b, span_of(in, n), 0, &out), n);
            assert_int_equal(b.status, long_one > 100 || before > 100 ? BODY_LONG_LINE : BODY_OK);
            buf_fini(&out);
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_reject),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_lines_model),
        cmocka_unit_test(test_long_line_among_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
