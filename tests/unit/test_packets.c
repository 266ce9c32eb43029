/* Unit tests of packets: real sockets, real loop. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/net/packets.h"

struct ends {
    struct loop *loop;
    struct packets *packets; /* reads fds[0] */
    int fds[2];
    char text[2 * PACKET_MAX];
    unsigned packets_seen, ends_seen, frees_at; /* frees_at: at which packet the reader goes; 0: never */
};

static void
on_packet(void *arg, const char *packet)
{
    struct ends *e = arg;

    if (packet == NULL) {
        e->ends_seen++;
    } else {
        size_t n = strlen(e->text);

        e->packets_seen++;
        snprintf(e->text + n, sizeof(e->text) - n, "%s|", packet);
    }
    if (e->frees_at > 0 && e->packets_seen + e->ends_seen == e->frees_at)
        packets_free(&e->packets);
}

static int
set_up(void **state)
{
    static struct ends e;
    struct err err;

    memset(&e, 0, sizeof(e));
    e.loop = loop_new(NULL, &err);
    if (e.loop == NULL || packets_pair(e.fds, &err) != 0)
        return -1;
    *state = &e;
    return 0;
}

static int
tear_down(void **state)
{
    struct ends *e = *state;

    packets_free(&e->packets);
    loop_free(&e->loop);
    for (int i = 0; i < 2; i++)
        if (e->fds[i] >= 0)
            close(e->fds[i]);
    return 0;
}

static void
turn_until(struct ends *e, unsigned packets, unsigned ends)
{
    int64_t until = clock_mono_ms() + 10000;

    while (e->packets_seen < packets || e->ends_seen < ends) {
        assert_true(clock_mono_ms() < until);
        loop_turn(e->loop, 20);
    }
    for (int i = 0; i < 3; i++)
        loop_turn(e->loop, 0); /* and nothing more */
    assert_int_equal(e->packets_seen, packets);
    assert_int_equal(e->ends_seen, ends);
}

static void
close_other(struct ends *e)
{
    close(e->fds[1]);
    e->fds[1] = -1;
}

static void
test_pair(void **state)
{
    struct ends *e = *state;
    int tcp = socket(AF_INET, SOCK_STREAM, 0);

    for (int i = 0; i < 2; i++) {
        assert_true(packets_is_end(e->fds[i]));
        assert_int_equal(fcntl(e->fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    assert_false(packets_is_end(tcp));
    close(tcp);
    assert_false(packets_is_end(tcp));
    assert_false(packets_is_end(STDERR_FILENO));
}

static void
test_whole_and_in_order(void **state)
{
    struct ends *e = *state;

    assert_true(packets_send(e->fds[1], "ready ", "node a"));
    e->packets = packets_new(e->loop, e->fds[0], on_packet, e);
    assert_true(packets_send(e->fds[1], "go", ""));
    assert_true(packets_send(e->fds[1], "pause ", "new 0:contoso a 0 1 ok - x\n"));
    assert_int_equal(e->packets_seen, 0); /* never during a call */
    turn_until(e, 3, 0);
    assert_string_equal(e->text, "ready node a|go|pause new 0:contoso a 0 1 ok - x\n|");
}

static void
test_cut_at_the_most(void **state)
{
    struct ends *e = *state;
    static char rest[2 * PACKET_MAX];

    e->packets = packets_new(e->loop, e->fds[0], on_packet, e);
    memset(rest, 'x', sizeof(rest) - 1);
    assert_true(packets_send(e->fds[1], "failed ", rest));
    assert_true(packets_send(e->fds[1], "go", ""));
    turn_until(e, 2, 0);
    assert_int_equal(strlen(e->text), PACKET_MAX - 1 + strlen("|go|"));
    assert_int_equal(strncmp(e->text, "failed xxx", 10), 0);
    assert_string_equal(e->text + PACKET_MAX - 2, "x|go|");
}

static void
test_end_is_told_once(void **state)
{
    struct ends *e = *state;

    e->packets = packets_new(e->loop, e->fds[0], on_packet, e);
    assert_true(packets_send(e->fds[1], "last", ""));
    close_other(e);
    turn_until(e, 1, 1);
    assert_string_equal(e->text, "last|");
    assert_false(packets_send(e->fds[0], "go", "")); /* no SIGPIPE */
}

static void
test_freed_by_its_callback(void **state)
{
    struct ends *e = *state;

    e->packets = packets_new(e->loop, e->fds[0], on_packet, e);
    e->frees_at = 1;
    assert_true(packets_send(e->fds[1], "one", ""));
    assert_true(packets_send(e->fds[1], "two", ""));
    close_other(e);
    turn_until(e, 1, 0);
    assert_null(e->packets);
    packets_free(&e->packets); /* of nothing */
    e->packets = packets_new(e->loop, e->fds[0], on_packet, e); /* the descriptor is the caller's */
    e->frees_at = 3; /* at the end */
    turn_until(e, 2, 1);
    assert_null(e->packets);
}

static void
test_a_reader_that_does_not_read(void **state)
{
    struct ends *e = *state;
    static char rest[PACKET_MAX];
    unsigned sent = 0;

    memset(rest, 'x', sizeof(rest) - 1);
    while (sent < 10000 && packets_send(e->fds[1], "", rest))
        sent++;
    assert_in_range(sent, 1, 9999); /* it does not block */
    e->packets = packets_new(e->loop, e->fds[0], on_packet, e);
    turn_until(e, sent, 0);
}

static void
test_wait(void **state)
{
    struct ends *e = *state;
    char packet[PACKET_MAX];
    struct err err = {""};
    int64_t began_mono_ms = clock_mono_ms();

    assert_false(packets_wait(e->fds[0], 60, packet, &err));
    assert_in_range(clock_mono_ms() - began_mono_ms, 60, 5000);
    assert_non_null(strstr(err.text, "60 ms"));
    assert_true(packets_send(e->fds[1], "go", " on"));
    assert_true(packets_send(e->fds[1], "more", ""));
    assert_true(packets_wait(e->fds[0], 5000, packet, &err));
    assert_string_equal(packet, "go on");
    close_other(e);
    assert_true(packets_wait(e->fds[0], 5000, packet, &err));
    assert_string_equal(packet, "more");
    began_mono_ms = clock_mono_ms();
    assert_false(packets_wait(e->fds[0], 5000, packet, &err));
    assert_non_null(strstr(err.text, "ended"));
    assert_in_range(clock_mono_ms() - began_mono_ms, 0, 4000);
}

static void
on_alarm(int signo)
{
    (void)signo;
}

/* A signal neither ends the waiting nor lengthens it. */
static void
test_wait_and_signals(void **state)
{
    struct ends *e = *state;
    struct sigaction action = {.sa_handler = on_alarm}, before;
    const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
    char packet[PACKET_MAX];
    struct err err = {""};
    int64_t began_mono_ms = clock_mono_ms();

    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    assert_false(packets_wait(e->fds[0], 100, packet, &err));
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    sigaction(SIGALRM, &before, NULL);
    assert_in_range(clock_mono_ms() - began_mono_ms, 100, 5000);
    assert_non_null(strstr(err.text, "100 ms"));
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_pair),
        CASE(test_whole_and_in_order),
        CASE(test_cut_at_the_most),
        CASE(test_end_is_told_once),
        CASE(test_freed_by_its_callback),
        CASE(test_a_reader_that_does_not_read),
        CASE(test_wait),
        CASE(test_wait_and_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
