/* Unit tests of log: one line per event whatever the text, and a reader that does not read. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/log.h"
#include "relay/base/log_sink.h"

static int reader = -1, writer = -1;

static void
attach(int fd_read, int fd_write)
{
    if (reader >= 0)
        close(reader);
    if (writer >= 0)
        close(writer);
    reader = fd_read;
    writer = fd_write;
    fcntl(reader, F_SETFL, O_NONBLOCK);
    log_sink_set_fd(writer);
}

static void
attach_pipe(void)
{
    int p[2];

    assert_int_equal(pipe(p), 0);
    attach(p[0], p[1]);
}

/* All that can be read now. */
static void
drain(struct buf *b)
{
    ssize_t n;

    while ((n = read(reader, buf_reserve(b, 65536), 65536)) > 0)
        buf_commit(b, (size_t)n);
}

static void
check_shown(enum log_format format, struct span value, const char *shown)
{
    struct log_line l;
    char expected[200];
    struct buf b;

    log_setup(LOG_INFO, format);
    log_begin(&l, LOG_INFO, "x");
    log_str(&l, "v", value);
    log_end(&l);
    buf_init(&b);
    drain(&b);
    snprintf(expected, sizeof(expected), format == LOG_JSON ? ",\"v\":%s}\n" : " v=%s\n", shown);
    assert_true(buf_len(&b) > 0);
    assert_non_null(strstr(b.p, expected));
    assert_ptr_equal(strchr(b.p, '\n'), b.p + buf_len(&b) - 1);
    buf_fini(&b);
}

static void
test_values(void **state)
{
    (void)state;
    check_shown(LOG_LOGFMT, SPAN_LIT("a@b.example"), "a@b.example");
    check_shown(LOG_LOGFMT, SPAN_LIT(""), "\"\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("a b"), "\"a b\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("a=b"), "\"a=b\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("x\nlevel=error"), "\"x\\nlevel=error\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("\x1b[31m"), "\"\\u001b[31m\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("a\"b\\"), "\"a\\\"b\\\\\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("a\0b"), "\"a\\u0000b\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("\xc3\xa9"), "\"\xc3\xa9\"");
    check_shown(LOG_LOGFMT, SPAN_LIT("\xc2\x9b" "31m"), "\"\\u009b31m\"");
    check_shown(LOG_JSON, SPAN_LIT("\xff\xc3"), "\"\\\\xff\\\\xc3\"");
    check_shown(LOG_JSON, SPAN_LIT("\xe2\x80\xae"), "\"\\u202e\"");
    check_shown(LOG_JSON, SPAN_LIT("plain"), "\"plain\"");
    check_shown(LOG_JSON, SPAN_LIT("\x7f\t\r"), "\"\\u007f\\t\\r\"");
}

static void
test_long_value_is_cut(void **state)
{
    char wide[4000];
    struct log_line l;
    struct buf b;

    (void)state;
    memset(wide, 'x', sizeof(wide));
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_begin(&l, LOG_INFO, "x");
    log_str(&l, "v", span_of(wide, sizeof(wide)));
    log_end(&l);
    buf_init(&b);
    drain(&b);
    assert_true(buf_len(&b) > 1024 && buf_len(&b) < 1200);
    assert_non_null(strstr(b.p, "xxx...\"\n"));
    buf_fini(&b);
}

static void
test_levels_and_kinds(void **state)
{
    struct log_line l;
    struct buf b;

    (void)state;
    log_setup(LOG_NOTICE, LOG_JSON);
    assert_false(log_is_on(LOG_INFO));
    log_begin(&l, LOG_INFO, "x");
    log_int(&l, "n", 1);
    log_end(&l);
    log_text(LOG_DEBUG, "x", "%d", 1);
    log_begin(&l, LOG_ERROR, "settled");
    log_int(&l, "n", INT64_MIN);
    log_bool(&l, "ok", true);
    log_ratio(&l, "budget", 3, UINT64_MAX);
    log_end(&l);
    log_text(LOG_NOTICE, "hello", "a %s", "b");
    buf_init(&b);
    drain(&b);
    assert_non_null(strstr(b.p, "\"level\":\"error\",\"event\":\"settled\","
                                "\"n\":-9223372036854775808,\"ok\":true,"
                                "\"budget\":\"3/18446744073709551615\"}\n{\"ts\":\"20"));
    assert_non_null(strstr(b.p, "Z\",\"level\":\"notice\",\"event\":\"hello\",\"msg\":\"a b\"}\n"));
    buf_fini(&b);
}

static void
test_gathering(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b);
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_gather(true);
    log_text(LOG_INFO, "one", "1");
    drain(&b);
    assert_int_equal(buf_len(&b), 0);
    log_text(LOG_WARNING, "two", "2"); /* takes the waiting ones along, in order */
    drain(&b);
    assert_true(strstr(b.p, "event=one") && strstr(b.p, "event=one") < strstr(b.p, "event=two"));
    log_text(LOG_INFO, "three", "3");
    log_gather(false);
    drain(&b);
    assert_non_null(strstr(b.p, "event=three"));
    buf_fini(&b);
}

struct tally {
    long last, lines, missing;
};

static void
read_lines(struct buf *all, struct tally *t)
{
    for (char *p = all->p, *end; *p; p = end + 1) {
        long n;

        end = strchr(p, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_memory_equal(p, "ts=20", 5);
        assert_non_null(strstr(p, "msg=\""));
        n = strtol(strstr(p, "msg=\"") + 5, NULL, 10);
        assert_true(n > t->last);
        assert_string_equal(end - 5, "pppp\"");
        t->missing += n - t->last - 1;
        t->last = n;
        t->lines++;
    }
}

/* Nobody reads: the caller never waits, the newest 8 MiB stay, every other line is counted, no line is
 * torn. */
static void
test_stuck_reader(void **state)
{
    enum { N = 60000 };
    char pad[200];
    uint64_t before = log_dropped();
    struct tally t = {-1, 0, 0};
    struct buf all;

    (void)state;
    memset(pad, 'p', sizeof(pad) - 1);
    pad[sizeof(pad) - 1] = '\0';
    log_setup(LOG_INFO, LOG_LOGFMT);
    for (long i = 0; i < N; i++)
        log_text(LOG_INFO, "n", "%ld %s", i, pad);
    assert_true(log_dropped() > before);
    buf_init(&all);
    do
        drain(&all);
    while (!log_flush());
    drain(&all);
    assert_true(buf_len(&all) > LOG_RING_BYTES * 9 / 10);
    read_lines(&all, &t);
    assert_int_equal(t.last, N - 1);
    assert_int_equal(t.lines + t.missing, N);
    assert_int_equal(log_dropped() - before, t.missing);
    buf_fini(&all);
}

/* A socket, as under a service manager: never blocks, and a reader that went away is no SIGPIPE. */
static void
test_socket(void **state)
{
    char pad[1000];
    int sv[2];
    struct buf b;

    (void)state;
    memset(pad, 'p', sizeof(pad) - 1);
    pad[sizeof(pad) - 1] = '\0';
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    attach(sv[0], sv[1]);
    for (int i = 0; i < 2000; i++)
        log_text(LOG_INFO, "n", "%s", pad);
    buf_init(&b);
    drain(&b);
    assert_true(buf_len(&b) > 1000);
    buf_fini(&b);
    close(reader);
    reader = -1;
    log_flush();
    assert_true(log_flush());
    attach_pipe();
}

static int
setup(void **state)
{
    (void)state;
    attach_pipe();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_sink_set_fd(STDERR_FILENO);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_long_value_is_cut),
        cmocka_unit_test(test_levels_and_kinds),
        cmocka_unit_test(test_gathering),
        cmocka_unit_test(test_stuck_reader),
        cmocka_unit_test(test_socket),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
