/* Unit tests of dial and resolver, against a name server of our own on loopback. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/net/dial.h"
#include "relay/net/listener.h"

struct bench {
    struct loop *loop;
    struct resolver *resolver;
    struct dialer *dialer;
    int dns;         /* our name server's socket */
    int dns_queries;
    const char *dns_a; /* its answers: addresses for A, space separated; "nx"; NULL: it never answers */
    int done, fd;
    char error[400];
    struct net_addr peer;
    bool in_start;
};

static int
udp_on_loopback(char server[64])
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    snprintf(server, 64, "127.0.0.1:%u", ntohs(sin.sin_port));
    return fd;
}

static int
setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct err err;
    char server[64];

    b->loop = loop_new(NULL, &err);
    b->resolver = resolver_new(b->loop, &err);
    assert_non_null(b->resolver);
    b->dns = udp_on_loopback(server);
    assert_int_equal(resolver_set_servers(b->resolver, server), 0);
    b->dialer = dialer_new(b->loop, b->resolver);
    b->fd = -1;
    *state = b;
    return 0;
}

static int
teardown(void **state)
{
    struct bench *b = *state;

    if (b->fd >= 0)
        close(b->fd);
    close(b->dns);
    dialer_free(&b->dialer);
    resolver_free(&b->resolver);
    loop_free(&b->loop);
    free(b);
    return 0;
}

static void
on_done(void *arg, const struct dial_result *r)
{
    struct bench *b = arg;

    assert_false(b->in_start);
    b->done++;
    b->fd = r->fd;
    b->peer = r->peer;
    snprintf(b->error, sizeof(b->error), "%s", r->error);
}

/* One answer (RFC 1035 section 4): the question copied, A records as told, none for other types. */
static void
serve_dns(struct bench *b)
{
    unsigned char q[1024];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(b->dns, q, 512, 0, (struct sockaddr *)&from, &len);
    size_t end = 12;
    const char *a = b->dns_a;

    if (n < 12)
        return;
    b->dns_queries++;
    if (!a)
        return;
    while (q[end] != 0)
        end += q[end] + 1u;
    q[2] = 0x81;
    q[3] = strcmp(a, "nx") == 0 ? 0x83 : 0x80;
    memset(q + 6, 0, 6);
    bool is_a = q[end + 2] == 1;
    end += 5;
    while (is_a && *a && *a != 'n') {
        static const unsigned char head[12] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
        char ip[32];
        int used = 0;

        sscanf(a, "%31s %n", ip, &used);
        memcpy(q + end, head, 12);
        assert_int_equal(inet_pton(AF_INET, ip, q + end + 12), 1);
        end += 16;
        q[7]++;
        a += used;
    }
    sendto(b->dns, q, end, 0, (struct sockaddr *)&from, len);
}

static struct handle
start(struct bench *b, const char *target, int address_ms, int total_ms)
{
    struct handle h;

    b->in_start = true;
    h = dial_start(b->dialer, target, address_ms, total_ms, on_done, b);
    b->in_start = false;
    return h;
}

static bool
wait_done(struct bench *b)
{
    for (int64_t until = clock_mono_ms() + 8000; !b->done && clock_mono_ms() < until;) {
        loop_turn(b->loop, 5);
        serve_dns(b);
    }
    for (int i = 0; i < 3; i++)
        loop_turn(b->loop, 1);
    return b->done == 1;
}

static void
accept_nothing(void *arg, int fd, const struct net_addr *peer, const struct net_addr *local)
{
    (void)arg;
    (void)peer;
    (void)local;
    close(fd);
}

static uint16_t
port_of(const struct listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct net_addr a;

    getsockname(listener_fd(l), (struct sockaddr *)&ss, &len);
    net_addr_from_sockaddr(&a, (struct sockaddr *)&ss, len);
    return a.port;
}

static struct listener *
listen_on(struct bench *b, const char *address)
{
    struct err err;
    struct listener *l = listener_open(b->loop, address, accept_nothing, NULL, &err);

    assert_non_null(l);
    return l;
}

static void
test_numeric(void **state)
{
    struct bench *b = *state;
    struct listener *l = listen_on(b, "127.0.0.1:0");
    char target[64];

    snprintf(target, sizeof(target), "127.0.0.1:%u", port_of(l));
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_true(b->fd >= 0);
    assert_string_equal(b->error, "");
    assert_string_equal(b->peer.text, "127.0.0.1");
    assert_int_equal(b->peer.port, port_of(l));
    assert_true(fcntl(b->fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(b->dns_queries, 0);
    listener_close(&l);
}

static void
test_unix(void **state)
{
    struct bench *b = *state;
    char folder[] = "/tmp/sendgov-dial.XXXXXX", target[80];
    struct listener *l;

    assert_non_null(mkdtemp(folder));
    snprintf(target, sizeof(target), "unix:%s/s", folder);
    l = listen_on(b, target);
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_true(b->fd >= 0);
    listener_close(&l);
    close(b->fd);
    b->fd = -1;
    b->done = 0;
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_int_equal(b->fd, -1);
    assert_non_null(strstr(b->error, folder));
    assert_non_null(strstr(b->error, "Connection refused"));
    unlink(target + 5);
    rmdir(folder);
}

static void
test_refused(void **state)
{
    struct bench *b = *state;
    struct listener *l = listen_on(b, "[::1]:0");
    char target[64], expected[100];

    snprintf(target, sizeof(target), "[::1]:%u", port_of(l));
    snprintf(expected, sizeof(expected), "connect to [::1]:%u: Connection refused", port_of(l));
    listener_close(&l);
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_int_equal(b->fd, -1);
    assert_string_equal(b->error, expected);
}

static void
test_bad_targets(void **state)
{
    static const char *const bad[] = {"", "host", "host:", ":25", "::1:25", "host:70000", "unix:"};
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        b->done = 0;
        start(b, bad[i], 1000, 2000);
        assert_true(wait_done(b));
        assert_int_equal(b->fd, -1);
        assert_true(strlen(b->error) > 0);
    }
}

/* The first address refuses, the second answers. */
static void
test_name_second_address(void **state)
{
    struct bench *b = *state;
    struct listener *l = listen_on(b, "127.0.0.2:0");
    char target[64];

    b->dns_a = "127.0.0.1 127.0.0.2";
    snprintf(target, sizeof(target), "smtp.upstream.example:%u", port_of(l));
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_true(b->fd >= 0);
    assert_string_equal(b->peer.text, "127.0.0.2");
    assert_true(b->dns_queries >= 1);
    listener_close(&l);
}

static void
test_localhost(void **state)
{
    struct bench *b = *state;
    struct listener *l = listen_on(b, "127.0.0.1:0");
    char target[64];

    snprintf(target, sizeof(target), "localhost:%u", port_of(l));
    start(b, target, 1000, 2000);
    assert_true(wait_done(b));
    assert_true(b->fd >= 0);
    assert_int_equal(b->dns_queries, 0);
    listener_close(&l);
}

static void
test_no_such_name(void **state)
{
    struct bench *b = *state;

    b->dns_a = "nx";
    start(b, "nowhere.upstream.example:25", 1000, 5000);
    assert_true(wait_done(b));
    assert_int_equal(b->fd, -1);
    assert_non_null(strstr(b->error, "nowhere.upstream.example:25 does not resolve: "));
}

static void
test_silent_name_server(void **state)
{
    struct bench *b = *state;
    int64_t began = clock_mono_ms();

    start(b, "slow.upstream.example:25", 1000, 150);
    assert_true(wait_done(b));
    assert_true(clock_mono_ms() - began >= 150 && clock_mono_ms() - began < 2000);
    assert_string_equal(b->error, "slow.upstream.example:25 does not resolve: no answer in time");
    assert_true(b->dns_queries >= 1);
}

/* A listener whose queue is full swallows SYNs: a black hole on loopback. */
static void
test_black_hole(void **state)
{
    struct bench *b = *state;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filler[4];
    int64_t began;
    char target[64];

    assert_int_equal(bind(l, (struct sockaddr *)&sin, len), 0);
    assert_int_equal(listen(l, 0), 0);
    getsockname(l, (struct sockaddr *)&sin, &len);
    for (int i = 0; i < 4; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(filler[i], (struct sockaddr *)&sin, len);
    }
    snprintf(target, sizeof(target), "127.0.0.1:%u", ntohs(sin.sin_port));
    began = clock_mono_ms();
    start(b, target, 120, 5000);
    assert_true(wait_done(b));
    assert_int_equal(b->fd, -1);
    assert_true(clock_mono_ms() - began >= 120 && clock_mono_ms() - began < 3000);
    assert_non_null(strstr(b->error, ": timed out"));
    for (int i = 0; i < 4; i++)
        close(filler[i]);
    close(l);
}

static void
test_cancel(void **state)
{
    struct bench *b = *state;
    struct handle h = start(b, "127.0.0.1:1", 1000, 1000);

    dial_cancel(b->dialer, h);
    dial_cancel(b->dialer, h);
    h = start(b, "slow.upstream.example:25", 1000, 50);
    loop_turn(b->loop, 5);
    dial_cancel(b->dialer, h);
    start(b, "localhost:1", 1000, 1000); /* cancelled by dialer_free */
    start(b, "slow.upstream.example:26", 1000, 1000);
    dialer_free(&b->dialer);
    for (int i = 0; i < 10; i++)
        loop_turn(b->loop, 10);
    assert_int_equal(b->done, 0);
}

int
main(void)
{
#define DIAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DIAL(test_numeric),
        DIAL(test_unix),
        DIAL(test_refused),
        DIAL(test_bad_targets),
        DIAL(test_name_second_address),
        DIAL(test_localhost),
        DIAL(test_no_such_name),
        DIAL(test_silent_name_server),
        DIAL(test_black_hole),
        DIAL(test_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
