/* Unit tests of front in an upgrade in place: the one that ends refuses nobody who has come, the one that
 * begins lets nobody in too early. Real sockets, real loop, a fake flow. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/front/front_part.h"
#include "relay/front/session.h"
#include "tests/unit/front_fakes.h"

#define YAML \
    "node: test\nstate: DIR\nuser: nobody\nhostname: relay.test\nusers_file: DIR/users\n" \
    "redis: {url: \"unix:DIR/redis\", allow_volatile: true}\n" \
    "routes:\n  contoso: {upstream: \"127.0.0.1:9\", tls: off, domains: [contoso.test]}\n" \
    "smtp: {connections_burst: 1000}\n" \
    "listeners:\n" \
    "  apps: {address: \"PORT\", tls: off, auth_without_tls: true, clients: [erp]}\n" \
    "  devices: {address: \"PORT2\", tls: off, clients: [scanner]}\n" \
    "clients:\n" \
    "  erp: {login: erp, senders: [\"@contoso.test\"]}\n" \
    "  scanner: {networks: [127.0.0.1/32], senders: [scan@contoso.test], accept: relay}\n"
#define LONG_MS 60000

static struct world w;
static unsigned n_done;

static void
on_done(void *arg)
{
    (void)arg;
    n_done++;
}

static bool
is_done(void *arg)
{
    (void)arg;
    return n_done > 0;
}

static bool
has_submitted(void *arg)
{
    return flow_fake.submitted == *(unsigned *)arg;
}

static int
set_up(void **state)
{
    (void)state;
    n_done = 0;
    world_begin(&w, YAML);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    world_end(&w);
    return 0;
}

/* The client has been silent for so much longer. */
static void
make_older(const struct client *c, int64_t ms)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof sa;

    assert_int_equal(getsockname(c->fd, (struct sockaddr *)&sa, &len), 0);
    LIST_EACH(it, &w.front->sessions) {
        struct session *s = LIST_ITEM(it, struct session, link);
        struct sockaddr_in peer;
        socklen_t n = sizeof peer;

        assert_int_equal(getpeername(stream_fd(s->stream), (struct sockaddr *)&peer, &n), 0);
        if (peer.sin_port == sa.sin_port) {
            s->heard_mono_ms -= ms;
            return;
        }
    }
    fail_msg("it has no session any more");
}

/* Sessions are looked at more than once. */
static void
let_it_look(void)
{
    for (int64_t until = clock_mono_ms() + 250; clock_mono_ms() < until;)
        loop_turn(w.loop, 20);
}

static void
assert_silence(const struct client *c)
{
    char byte;

    assert_int_equal(recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static void
connect_and_greet(struct client *c)
{
    client_connect(c, &w, w.port2);
    client_expect(c, "220");
    client_talk(c, "EHLO printer\r\n", "250");
}

static void
begin_mail(struct client *c)
{
    client_talk(c, "MAIL FROM:<scan@contoso.test>\r\n", "250");
    client_talk(c, "RCPT TO:<a@x.example>\r\n", "250");
}

static void
end_body(struct client *c)
{
    unsigned wanted = flow_fake.submitted + 1;

    client_send(c, "the rest\r\n.\r\n");
    world_until(&w, has_submitted, &wanted);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(c, "250 2.0.0 Ok");
}

static void
begin_data(struct client *c)
{
    client_talk(c, "DATA\r\n", "354");
    client_send(c, "From: scan@contoso.test\r\n\r\nthe first line\r\n");
}

static void
begin_body(struct client *c)
{
    begin_mail(c);
    begin_data(c);
}

static void
expect_end(struct client *c)
{
    client_expect(c, "421 4.3.2");
    client_expect(c, "");
    client_close(c);
}

static bool
may_connect(int port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;

    close(fd);
    return ok;
}

/* Between messages a second of silence is enough, before the first one it is five; in a message none is. */
static void
test_silent_sessions_end(void **state)
{
    struct client between, fresh, envelope, body;
    int64_t heard_mono_ms;

    (void)state;
    connect_and_greet(&fresh);
    connect_and_greet(&envelope);
    begin_mail(&envelope);
    connect_and_greet(&body);
    begin_body(&body);
    connect_and_greet(&between);
    begin_body(&between);
    end_body(&between);
    heard_mono_ms = clock_mono_ms();
    front_retire(w.front, LONG_MS, on_done, NULL);
    assert_false(may_connect(w.port) || may_connect(w.port2));
    make_older(&envelope, LONG_MS);
    make_older(&body, LONG_MS);
    make_older(&fresh, 3500);
    expect_end(&between);
    assert_in_range(clock_mono_ms() - heard_mono_ms, 990, 5000);
    if (clock_mono_ms() - heard_mono_ms < 1300) /* else this machine slept */
        assert_silence(&fresh);
    make_older(&fresh, 1500);
    expect_end(&fresh);
    let_it_look();
    assert_silence(&envelope);
    assert_silence(&body);
    end_body(&body);
    make_older(&body, 1000);
    expect_end(&body);
    client_talk(&envelope, "RSET\r\n", "250");
    make_older(&envelope, 4000);
    let_it_look();
    assert_silence(&envelope); /* it has sent none */
    assert_int_equal(n_done, 0);
    make_older(&envelope, 1000);
    expect_end(&envelope);
    world_until(&w, is_done, NULL);
    let_it_look();
    assert_int_equal(n_done, 1);
}

/* Whoever goes on talking goes on, half a command is one, and a message may begin. */
static void
test_talking_sessions_stay(void **state)
{
    struct client c;

    (void)state;
    connect_and_greet(&c);
    begin_body(&c);
    end_body(&c);
    front_retire(w.front, LONG_MS, on_done, NULL);
    for (int i = 0; i < 2; i++) {
        make_older(&c, 700);
        client_talk(&c, "NOOP\r\n", "250");
    }
    let_it_look();
    assert_silence(&c);
    client_send(&c, "MAIL FROM:<scan@con");
    let_it_look();
    make_older(&c, LONG_MS);
    let_it_look();
    assert_silence(&c);
    client_talk(&c, "toso.test>\r\n", "250");
    client_talk(&c, "RCPT TO:<a@x.example>\r\n", "250");
    begin_data(&c);
    end_body(&c);
    client_talk(&c, "QUIT\r\n", "221");
    client_expect(&c, "");
    client_close(&c);
    world_until(&w, is_done, NULL);
    assert_int_equal(n_done, 1);
}

/* From half of the time on it is a drain, which has the other half. */
static void
test_drains_at_half_of_the_time(void **state)
{
    struct client fresh, body;
    int64_t began_mono_ms;

    (void)state;
    connect_and_greet(&fresh);
    connect_and_greet(&body);
    begin_body(&body);
    loop_turn(w.loop, 0);
    began_mono_ms = clock_mono_ms();
    front_retire(w.front, 1600, on_done, NULL);
    assert_in_range(w.front->retire_until_mono_ms - began_mono_ms, 600, 800);
    expect_end(&fresh);
    assert_in_range(clock_mono_ms() - began_mono_ms, 790, 4900); /* sooner than for its silence */
    assert_int_equal(w.front->state, FRONT_DRAINING);
    assert_int_equal(n_done, 0);
    world_until(&w, is_done, NULL);
    assert_in_range(clock_mono_ms() - began_mono_ms, 1590, 10000);
    client_close(&body);
    let_it_look();
    assert_int_equal(n_done, 1);
}

static void
test_nobody_is_there(void **state)
{
    (void)state;
    front_retire(w.front, LONG_MS, on_done, NULL);
    assert_int_equal(n_done, 0); /* never during the call */
    loop_turn(w.loop, 0);
    assert_int_equal(n_done, 1);
    let_it_look();
    assert_int_equal(n_done, 1);
}

/* SIGTERM for one that retires. */
static void
test_drain_while_it_retires(void **state)
{
    struct client fresh, body;
    int64_t due_mono_ms;

    (void)state;
    connect_and_greet(&fresh);
    connect_and_greet(&body);
    begin_body(&body);
    front_retire(w.front, LONG_MS, on_done, NULL);
    let_it_look();
    assert_silence(&fresh);
    front_drain(w.front, 2 * LONG_MS, on_done, NULL);
    due_mono_ms = w.front->drain_deadline.due_mono_ms;
    expect_end(&fresh);
    w.front->retire_until_mono_ms = clock_mono_ms(); /* the half of its time is no longer of interest */
    let_it_look();
    assert_int_equal(w.front->drain_deadline.due_mono_ms, due_mono_ms);
    assert_int_equal(n_done, 0);
    end_body(&body);
    expect_end(&body);
    world_until(&w, is_done, NULL);
    let_it_look();
    assert_int_equal(n_done, 1);
}

/* The descriptors are the front's, and as many as there are are told. */
static void
test_sockets(void **state)
{
    int fds[3] = {-1, -1, -1}, listens;
    socklen_t len = sizeof listens;

    (void)state;
    assert_int_equal(front_sockets(w.front, NULL, 0), 2);
    assert_int_equal(front_sockets(w.front, fds, 1), 2);
    assert_true(fds[0] >= 0 && fds[1] == -1);
    assert_int_equal(front_sockets(w.front, fds, 3), 2);
    assert_true(fds[1] >= 0 && fds[1] != fds[0] && fds[2] == -1);
    for (int i = 0; i < 2; i++)
        assert_true(getsockopt(fds[i], SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
    front_retire(w.front, LONG_MS, on_done, NULL);
    assert_int_equal(front_sockets(w.front, fds, 3), 0);
}

/* Who comes before it is open waits, and is let in. */
static void
test_opens_when_told(void **state)
{
    struct front_setup setup = {
        .loop = w.loop, .worker = w.worker, .metrics = w.metrics, .waits = true};
    struct client early[2], late;

    (void)state;
    front_free(&w.front);
    w.front = front_new(&setup);
    assert_int_equal(world_reload(&w, YAML), 0);
    client_connect(&early[0], &w, w.port);
    client_connect(&early[1], &w, w.port2);
    let_it_look();
    assert_int_equal(world_reload(&w, YAML), 0); /* a reload opens no door */
    let_it_look();
    for (int i = 0; i < 2; i++)
        assert_silence(&early[i]);
    front_open(w.front);
    for (int i = 0; i < 2; i++)
        client_expect(&early[i], "220");
    front_open(w.front); /* harmless */
    connect_and_greet(&late);
    front_drain(w.front, LONG_MS, on_done, NULL);
    front_open(w.front); /* too late */
    assert_int_equal(w.front->state, FRONT_DRAINING);
    for (int i = 0; i < 2; i++)
        client_close(&early[i]);
    client_close(&late);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_silent_sessions_end),
        CASE(test_talking_sessions_stay),
        CASE(test_drains_at_half_of_the_time),
        CASE(test_nobody_is_there),
        CASE(test_drain_while_it_retires),
        CASE(test_sockets),
        CASE(test_opens_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
