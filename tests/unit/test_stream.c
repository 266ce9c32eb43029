/* Unit tests of stream without TLS: pieces, marks, ends, and everything an owner may do inside its
 * callbacks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/net/stream_part.h"
#include "tests/lib/peer.h"

struct bench {
    struct loop *loop;
    int fd; /* the other end, plain */
    struct end e;
};

static int
setup_with(void **state, bool small_buffers)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct err err;
    int fds[2];

    b->loop = loop_new(NULL, &err);
    tcp_pair(fds, small_buffers);
    b->fd = fds[1];
    end_open(&b->e, b->loop, fds[0]);
    *state = b;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, false);
}

static int
setup_small(void **state)
{
    return setup_with(state, true);
}

static int
teardown(void **state)
{
    struct bench *b = *state;

    end_close(&b->e);
    if (b->fd >= 0)
        close(b->fd);
    loop_free(&b->loop);
    free(b);
    return 0;
}

static void
put(struct bench *b, const char *text)
{
    assert_int_equal(write(b->fd, text, strlen(text)), strlen(text));
}

/* What arrives at the other end, up to n bytes. */
static struct span
take(struct bench *b, char *p, size_t n)
{
    size_t got = 0;

    for (int64_t until = clock_mono_ms() + 5000; got < n && clock_mono_ms() < until;) {
        ssize_t r = recv(b->fd, p + got, n - got, 0);

        if (r == 0 || (r < 0 && errno != EAGAIN))
            break;
        if (r > 0)
            got += (size_t)r;
        else
            loop_turn(b->loop, 5);
    }
    return span_of(p, got);
}

static size_t
whole_lines(struct end *e, struct span in)
{
    const char *lf = memrchr(in.p, '\n', in.n);
    size_t n = lf ? (size_t)(lf + 1 - in.p) : 0;

    buf_add(&e->got, in.p, n);
    return n;
}

static void
test_pieces(void **state)
{
    struct bench *b = *state;

    b->e.hook = whole_lines;
    put(b, "ab");
    assert_true(turn_until(b->loop, &b->e.on_data, 1));
    turns(b->loop, 3);
    assert_int_equal(b->e.on_data, 1); /* the same bytes are not shown again */
    put(b, "cd\nef");
    assert_true(turn_until(b->loop, &b->e.on_data, 2));
    assert_int_equal(b->e.shown_max, 7); /* contiguous with what was kept */
    assert_true(end_got(&b->e, "abcd\n"));
    put(b, "\n");
    assert_true(turn_until(b->loop, &b->e.on_data, 3));
    assert_true(end_got(&b->e, "abcd\nef\n"));
    assert_int_equal(stream_bytes_in(b->e.stream), 8);
    assert_null(b->e.stream->in.p); /* an idle stream holds no memory */
}

static void
test_writes_leave_once_a_turn(void **state)
{
    struct bench *b = *state;
    char out[100];

    end_write(&b->e, "250-");
    end_write(&b->e, "a\r\n250 b\r\n");
    assert_int_equal(stream_queued(b->e.stream), 14);
    assert_int_equal(recv(b->fd, out, sizeof(out), 0), -1);
    loop_turn(b->loop, 0);
    assert_int_equal(stream_queued(b->e.stream), 0);
    assert_int_equal(recv(b->fd, out, sizeof(out), 0), 14);
    assert_memory_equal(out, "250-a\r\n250 b\r\n", 14);
    assert_true(b->e.stream->out.size <= STREAM_OUT_KEEP);
}

/* What a large piece sends in place, its queued tail and what is written around it arrive in the
 * order written. */
static void
test_large_pieces_keep_their_order(void **state)
{
    enum { LARGE = 50 * 1000, BEFORE = 20, ROUNDS = 3, ALL = ROUNDS * (BEFORE + LARGE + 3) };
    struct bench *b = *state;
    char *large = malloc(LARGE), *arrived = malloc(ALL);
    struct buf expected;

    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)('a' + i % 23);
    buf_init(&expected);
    for (int round = 0; round < ROUNDS; round++) {
        stream_write(b->e.stream, span_of(large, BEFORE));
        stream_write(b->e.stream, span_of(large, LARGE));
        stream_write(b->e.stream, SPAN_LIT(".\r\n"));
        buf_add(&expected, large, BEFORE);
        buf_add(&expected, large, LARGE);
        buf_add_str(&expected, ".\r\n");
    }
    assert_true(span_eq(take(b, arrived, ALL), buf_span(&expected)));
    assert_int_equal(stream_queued(b->e.stream), 0);
    assert_int_equal(b->e.on_end, 0);
    buf_fini(&expected);
    free(arrived);
    free(large);
}

/* A large piece needs no place in the queue while the kernel takes it, but for its tail. */
static void
test_large_piece_leaves_in_place(void **state)
{
    struct bench *b = *state;
    char *large = calloc(1, 60 * 1000);

    stream_write(b->e.stream, span_of(large, 60 * 1000));
    assert_in_range(stream_queued(b->e.stream), 1, 8 * 1024);
    free(large);
}

static void
test_data_before_eof(void **state)
{
    struct bench *b = *state;
    char out[10];

    put(b, "QUIT\r\n");
    shutdown(b->fd, SHUT_WR);
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_EOF);
    assert_true(end_got(&b->e, "QUIT\r\n"));
    end_write(&b->e, "221\r\n"); /* the peer still listens */
    stream_finish(&b->e.stream, 1000);
    assert_null(b->e.stream);
    assert_true(span_eq(take(b, out, 10), SPAN_LIT("221\r\n"))); /* and then sees the end */
    turns(b->loop, 3);
    assert_int_equal(b->e.on_end, 1);
}

static void
test_reset(void **state)
{
    struct bench *b = *state;

    put(b, "x");
    assert_true(turn_until(b->loop, &b->e.on_data, 1));
    close_with_reset(b->fd);
    b->fd = -1;
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_RESET);
    assert_string_equal(b->e.detail, "Connection reset by peer");
    end_write(&b->e, "nothing happens");
    turns(b->loop, 3);
    assert_int_equal(b->e.on_end, 1);
    assert_true(stream_is_dead(b->e.stream));
}

static void
test_reset_while_paused(void **state)
{
    struct bench *b = *state;

    stream_pause(b->e.stream);
    turns(b->loop, 2);
    close_with_reset(b->fd);
    b->fd = -1;
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_RESET);
}

/* A peer that says goodbye and closes while we write: its last words arrive although our write fails. */
static void
test_last_words(void **state)
{
    struct bench *b = *state;

    put(b, "421 bye\r\n");
    close_with_reset(b->fd);
    b->fd = -1;
    end_write(&b->e, "MAIL FROM:<a@b>\r\n");
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_true(end_got(&b->e, "421 bye\r\n"));
    assert_int_equal(b->e.how, STREAM_RESET);
}

static void
test_deadline(void **state)
{
    struct bench *b = *state;
    int64_t start = clock_mono_ms();

    stream_set_deadline(b->e.stream, 20);
    stream_set_deadline(b->e.stream, 60);
    put(b, "x");
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_TIMEOUT);
    assert_true(clock_mono_ms() - start >= 60);
    assert_int_equal(b->e.on_data, 1);
}

static void
test_no_deadline(void **state)
{
    struct bench *b = *state;

    stream_set_deadline(b->e.stream, 20);
    stream_set_deadline(b->e.stream, -1);
    for (int64_t until = clock_mono_ms() + 40; clock_mono_ms() < until;)
        loop_turn(b->loop, 10);
    assert_int_equal(b->e.on_end, 0);
}

static size_t
close_inside(struct end *e, struct span in)
{
    (void)in;
    end_write(e, "bye");
    stream_close(&e->stream);
    stream_close(&e->stream); /* idempotent */
    return 1;
}

static void
test_close_inside_on_data(void **state)
{
    struct bench *b = *state;
    char out[10];

    b->e.hook = close_inside;
    put(b, "abc");
    assert_true(turn_until(b->loop, &b->e.on_data, 1));
    assert_int_equal(take(b, out, 10).n, 0); /* close drops what is queued */
    turns(b->loop, 3);
    assert_int_equal(b->e.on_data, 1);
    assert_int_equal(b->e.on_end, 0);
}

static size_t
finish_inside(struct end *e, struct span in)
{
    end_write(e, "221 bye\r\n");
    stream_finish(&e->stream, 1000);
    return in.n;
}

/* Unread input behind QUIT must not turn the last reply into a RST. */
static void
test_finish_delivers(void **state)
{
    struct bench *b = *state;
    char out[100];

    b->e.hook = finish_inside;
    put(b, "QUIT\r\n");
    assert_true(turn_until(b->loop, &b->e.on_data, 1));
    put(b, "garbage after quit\r\n");
    turns(b->loop, 3);
    put(b, "more\r\n");
    assert_true(span_eq(take(b, out, 100), SPAN_LIT("221 bye\r\n")));
    assert_int_equal(recv(b->fd, out, 1, 0), 0); /* FIN, not RST */
}

static void
test_finish_large_queue(void **state)
{
    struct bench *b = *state;
    static char sent[200000], got[200001];

    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char)(i % 251);
    stream_write(b->e.stream, span_of(sent, sizeof(sent)));
    stream_finish(&b->e.stream, 5000);
    assert_int_equal(take(b, got, sizeof(got)).n, sizeof(sent));
    assert_memory_equal(sent, got, sizeof(sent));
}

static void
test_finish_deadline(void **state)
{
    struct bench *b = *state;
    char block[1000] = {0};
    int64_t start = clock_mono_ms();
    int fd = stream_fd(b->e.stream);

    for (int i = 0; i < 200; i++)
        stream_write(b->e.stream, span_of(block, sizeof(block)));
    stream_finish(&b->e.stream, 50);
    while (fcntl(fd, F_GETFD) >= 0 && clock_mono_ms() - start < 5000)
        loop_turn(b->loop, 10);
    assert_true(clock_mono_ms() - start >= 50);
    assert_true(clock_mono_ms() - start < 2000);
}

/* A peer that reads slowly: full, then drained once, every byte in order. */
static void
test_slow_reader(void **state)
{
    struct bench *b = *state;
    static char got[600000];
    char block[1000];
    size_t sent = 0, received = 0;
    int drained = 0;

    while (sent < 500000) {
        bool go_on = sent == 0 || b->e.on_drained > drained;
        ssize_t n;

        drained = b->e.on_drained;
        while (go_on && !stream_is_full(b->e.stream) && sent < 500000) {
            for (size_t i = 0; i < sizeof(block); i++)
                block[i] = (char)((sent + i) % 249);
            stream_write(b->e.stream, span_of(block, sizeof(block)));
            sent += sizeof(block);
        }
        assert_true(stream_queued(b->e.stream) <= STREAM_OUT_HIGH + sizeof(block));
        loop_turn(b->loop, 1);
        n = recv(b->fd, got + received, 3000, 0);
        received += n > 0 ? (size_t)n : 0;
    }
    received += take(b, got + received, sent - received).n;
    assert_int_equal(received, sent);
    for (size_t i = 0; i < received; i++)
        assert_int_equal(got[i], (char)(i % 249));
    turns(b->loop, 2);
    assert_true(b->e.on_drained >= 5);
    assert_int_equal(stream_queued(b->e.stream), 0);
    assert_true(b->e.stream->out.size <= STREAM_OUT_KEEP);
}

static void
test_never_reads(void **state)
{
    struct bench *b = *state;
    char block[1000] = {0};
    int wrote = 0;

    while (b->e.on_end == 0 && wrote++ < 2000) {
        stream_write(b->e.stream, span_of(block, sizeof(block)));
        assert_true(stream_queued(b->e.stream) <= 4 * STREAM_OUT_HIGH);
        loop_turn(b->loop, 0);
    }
    assert_int_equal(b->e.on_end, 1);
    assert_int_equal(b->e.how, STREAM_OVERFLOW);
}

static void
test_input_without_end(void **state)
{
    struct bench *b = *state;
    char block[4000];

    memset(block, 'x', sizeof(block));
    b->e.consume_max = 0;
    stream_set_in_max(b->e.stream, 10000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b->e.on_end, 0);
        assert_int_equal(write(b->fd, block, sizeof(block)), sizeof(block));
        turns(b->loop, 3);
    }
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_OVERFLOW);
}

static size_t
take_and_pause(struct end *e, struct span in)
{
    size_t n = in.n < 100 ? in.n : 100;

    buf_add(&e->got, in.p, n);
    stream_pause(e->stream);
    return n;
}

/* A paused owner gets nothing; each resume shows the rest, old and new, in order. However much was read at
 * once is no overflow. */
static void
test_pause_and_resume(void **state)
{
    struct bench *b = *state;
    char block[30000];

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i % 247);
    b->e.hook = take_and_pause;
    assert_int_equal(write(b->fd, block, 29000), 29000);
    assert_true(turn_until(b->loop, &b->e.on_data, 1));
    assert_int_equal(write(b->fd, block + 29000, 1000), 1000);
    turns(b->loop, 3);
    assert_int_equal(b->e.on_data, 1);
    for (int i = 1; i < 300; i++) {
        b->e.inside = true;
        stream_resume(b->e.stream);
        b->e.inside = false;
        assert_true(turn_until(b->loop, &b->e.on_data, i + 1));
    }
    assert_int_equal(buf_len(&b->e.got), sizeof(block));
    assert_memory_equal(b->e.got.p, block, sizeof(block));
    shutdown(b->fd, SHUT_WR);
    turns(b->loop, 3);
    assert_int_equal(b->e.on_end, 0); /* paused: the end comes after the data */
    stream_resume(b->e.stream);
    assert_true(turn_until(b->loop, &b->e.on_end, 1));
    assert_int_equal(b->e.how, STREAM_EOF);
}

static void
test_is_dead(void **state)
{
    struct bench *b = *state;

    assert_false(stream_is_dead(b->e.stream));
    put(b, "x");
    assert_true(stream_is_dead(b->e.stream)); /* unread bytes nobody asked for */
    turns(b->loop, 2);
    assert_false(stream_is_dead(b->e.stream));
    shutdown(b->fd, SHUT_WR);
    assert_true(stream_is_dead(b->e.stream)); /* before the loop saw the FIN */
}

/* One peer that sends without end does not keep another from being served. */
static void
test_fairness(void **state)
{
    struct bench *b = *state;
    static char block[1 << 20];
    struct end busy;
    int fds[2], big = 4 << 20;
    size_t before;

    tcp_pair(fds, false);
    setsockopt(fds[0], SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
    end_open(&busy, b->loop, fds[0]);
    while (send(fds[1], block, sizeof(block), 0) > 0)
        ;
    put(b, "hello");
    before = buf_len(&busy.got);
    loop_turn(b->loop, 100);
    assert_true(end_got(&b->e, "hello"));
    assert_true(buf_len(&busy.got) - before <= STREAM_READ_BYTES * STREAM_READS_PER_TURN);
    assert_true(busy.on_data > 0);
    before = buf_len(&busy.got);
    loop_turn(b->loop, 1000); /* goes on by itself, without a new event */
    assert_true(buf_len(&busy.got) > before);
    end_close(&busy);
    close(fds[1]);
}

int
main(void)
{
#define PLAIN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define SMALL(test) cmocka_unit_test_setup_teardown(test, setup_small, teardown)
    const struct CMUnitTest tests[] = {
        PLAIN(test_pieces),
        PLAIN(test_writes_leave_once_a_turn),
        PLAIN(test_large_pieces_keep_their_order),
        SMALL(test_large_pieces_keep_their_order),
        PLAIN(test_large_piece_leaves_in_place),
        PLAIN(test_data_before_eof),
        PLAIN(test_reset),
        PLAIN(test_reset_while_paused),
        PLAIN(test_last_words),
        PLAIN(test_deadline),
        PLAIN(test_no_deadline),
        PLAIN(test_close_inside_on_data),
        PLAIN(test_finish_delivers),
        SMALL(test_finish_large_queue),
        SMALL(test_finish_deadline),
        SMALL(test_slow_reader),
        SMALL(test_never_reads),
        PLAIN(test_input_without_end),
        PLAIN(test_pause_and_resume),
        PLAIN(test_is_dead),
        PLAIN(test_fairness),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
