/* What passes the guard ends for hiredis at the same byte, or is an error to it: nothing gathers in its
 * buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "relay/base/buf.h"
#include "relay/store/resp_guard.h"

enum outcome { COMPLETE, UNFINISHED, REFUSED };

static bool
is_complete(const struct resp_guard *g)
{
    return g->state == RESP_TYPE && g->depth == 0;
}

static enum outcome
feed_whole(struct span in)
{
    struct resp_guard g;
    const char *why = NULL;

    resp_guard_init(&g);
    if (!resp_guard_feed(&g, in, &why)) {
        assert_non_null(why);
        return REFUSED;
    }
    return is_complete(&g) ? COMPLETE : UNFINISHED;
}

static enum outcome
feed_split(struct span in, size_t at)
{
    struct resp_guard g;
    const char *why;

    resp_guard_init(&g);
    if (!resp_guard_feed(&g, span_head(in, at), &why) || !resp_guard_feed(&g, span_from(in, at), &why))
        return REFUSED;
    return is_complete(&g) ? COMPLETE : UNFINISHED;
}

static void
known_replies(void **state)
{
    static const struct {
        const char *in;
        enum outcome outcome;
    } cases[] = {
        {"+OK\r\n", COMPLETE},
        {"-ERR no\r\n:1\r\n", COMPLETE},
        {"$-1\r\n*-1\r\n", COMPLETE},
        {"$3\r\na\nb\r\n", COMPLETE},
        {"$0\r\n\r\n*0\r\n", COMPLETE},
        {"*2\r\n*1\r\n:-5\r\n$1\r\nx\r\n", COMPLETE},
        {"+a\rb\nc\r\r\n", COMPLETE},
        {"+x\n", UNFINISHED},
        {"+x\n+x\n+x\n", UNFINISHED},
        {"-x\n\r", UNFINISHED},
        {"*2\r\n:1\r\n", UNFINISHED},
        {":1\n", UNFINISHED},
        {":1\n:2\r\n", REFUSED},
        {"$3\n", UNFINISHED},
        {":\r\n", REFUSED},
        {":1\r2\r\n", REFUSED},
        {"$-2\r\n", REFUSED},
        {"$1048577\r\n", REFUSED},
        {"*4097\r\n", REFUSED},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", REFUSED},
        {"\r\n", REFUSED},
        {"%1\r\n", REFUSED}, /* RESP3 */
        {"_\r\n", REFUSED},
        {",1.5\r\n", REFUSED},
        {"#t\r\n", REFUSED},
        {"~0\r\n", REFUSED},
        {">0\r\n", REFUSED},
        {"=5\r\ntxt:x\r\n", REFUSED},
        {"(1\r\n", REFUSED},
        {"!1\r\nx\r\n", REFUSED},
        {"|0\r\n", REFUSED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct span in = span_str(cases[i].in);

        assert_int_equal(feed_whole(in), cases[i].outcome);
        for (size_t at = 0; at <= in.n; at++)
            assert_int_equal(feed_split(in, at), cases[i].outcome);
    }
}

/* A line that never ends with CRLF, however many LF it has. */
static void
lines_without_cr_are_bounded(void **state)
{
    struct resp_guard g;
    const char *why;
    size_t fed = 0;

    (void)state;
    resp_guard_init(&g);
    while (resp_guard_feed(&g, SPAN_LIT("+x\n"), &why))
        assert_true(++fed <= RESP_LINE_MAX);
    assert_string_equal(why, "line too long");
}

/* Everything hiredis can give for what it has. False: an error to it. */
static bool
take_all(redisReader *reader)
{
    for (;;) {
        void *reply = NULL;

        if (redisReaderGetReply(reader, &reply) != REDIS_OK)
            return false;
        if (!reply)
            return true;
        freeReplyObject(reply);
    }
}

/* All it was fed is answered. When asked again it has begun the next reply, of a type not known yet. */
static bool
is_idle(const redisReader *reader)
{
    return reader->pos == reader->len
        && (reader->ridx == -1 || (reader->ridx == 0 && reader->rstack[0].type == -1));
}

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

static void
make_stream(uint64_t *seed, struct buf *out)
{
    static const char *const words[] = {"+", "-", ":", "$", "*", "\r\n", "\r", "\n", "0", "1", "2", "-1", "x",
        "+OK\r\n", ":7\r\n", "$1\r\n", "*2\r\n", "$-1\r\n", "-0", "01", "*1\r\n", " ", "$2\r\n\r\n\r\n"};

    buf_clear(out);
    for (uint64_t n = 1 + next_random(seed) % 24; n > 0; n--)
        buf_add_str(out, words[next_random(seed) % (sizeof(words) / sizeof(*words))]);
}

static void
hiredis_sees_the_same_ends(void **state)
{
    uint64_t seed = 88172645463325252ull;
    size_t complete = 0;
    struct buf stream;

    (void)state;
    buf_init(&stream);
    for (int round = 0; round < 200000; round++) {
        redisReader *reader = redisReaderCreate();
        struct resp_guard g;
        const char *why;
        struct span in;

        make_stream(&seed, &stream);
        in = buf_span(&stream);
        resp_guard_init(&g);
        for (size_t i = 0; i < in.n; i++) {
            struct span one = span_of(in.p + i, 1);

            if (!resp_guard_feed(&g, one, &why))
                break;
            assert_int_equal(redisReaderFeed(reader, one.p, one.n), REDIS_OK);
            if (!take_all(reader))
                break;
            assert_int_equal(is_complete(&g), is_idle(reader));
            complete += is_complete(&g);
        }
        redisReaderFree(reader);
    }
    buf_fini(&stream);
    assert_true(complete > 10000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_replies),
        cmocka_unit_test(lines_without_cr_are_bounded),
        cmocka_unit_test(hiredis_sees_the_same_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
