/* The HTTP side: what each path answers, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/admin/admin_state.h"
#include "relay/admin/http.h"
#include "relay/admin/http_conns.h"
#include "relay/admin/http_host.h"
#include "relay/admin/http_page.h"
#include "relay/base/clock.h"
#include "tests/unit/admin_fakes.h"

static char reply[256 * 1024];

static int
dial(struct fixture *f)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_port(f->admin->http))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.1", &sin.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int
get(struct fixture *f, const char *request)
{
    int fd = dial(f), status = 0;

    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    fixture_read(f, fd, reply, sizeof(reply), true);
    close(fd);
    if (sscanf(reply, "HTTP/1.%*d %d", &status) != 1)
        return 0;
    return status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void
expect_text(const char *words)
{
    if (!strstr(reply, words))
        fail_msg("\"%s\" is not in: %s", words, reply);
}

static void
test_live_and_ready(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    assert_int_equal(get(&f, GET("/live")), 200);
    expect_text("\r\n\r\nlive\n");
    assert_int_equal(get(&f, GET("/ready")), 200);
    expect_text("\r\n\r\nready\n");
    fake.n_pauses = 1; /* a pause changes nothing: internal mail flows */
    assert_int_equal(get(&f, GET("/ready")), 200);
    fake.store.up = false;
    fake.store.error = STORE_DOWN;
    assert_int_equal(get(&f, GET("/ready")), 503);
    expect_text("Redis gives no decision");
    assert_int_equal(get(&f, GET("/live")), 200);
    fake.store.up = true;
    admin_set_draining(f.admin);
    assert_int_equal(get(&f, GET("/ready")), 503);
    expect_text("draining");
    fixture_close(&f);
}

/* A full spool still lets pass what need not be held. */
static void
test_ready_with_spool(void **state)
{
    const int expected[SPOOL_STATE_COUNT] = {[SPOOL_CLOSED] = 503, [SPOOL_LOADING] = 503,
        [SPOOL_READY] = 200, [SPOOL_FULL] = 200, [SPOOL_SICK] = 503};
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    snprintf(fake.spool.why, sizeof(fake.spool.why), "disk I/O error");
    for (int s = 0; s < SPOOL_STATE_COUNT; s++) {
        fake.spool.state = (enum spool_state)s;
        fake.spool_on = false;
        assert_int_equal(get(&f, GET("/ready")), 200);
        fake.spool_on = true;
        assert_int_equal(get(&f, GET("/ready")), expected[s]);
    }
    expect_text("not ready: the spool takes no mail (sick: disk I/O error)");
    fixture_close(&f);
}

static void
test_spool_is_shown(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    assert_int_equal(get(&f, GET("/")), 200);
    expect_text("<h2>Spool</h2><p>none</p>");
    assert_int_equal(get(&f, GET("/metrics")), 200);
    assert_null(strstr(reply, "sendgov_spool_messages{"));
    fake.spool_on = true;
    fake.spool = (struct spool_status){.state = SPOOL_FULL, .why = "<b>no space", .messages = 321,
        .parked = 5, .held = 2, .oldest_utc_ms = 1700000000000};
    fake.queue = (struct queue_counts){.messages = 321, .in_flight = 4, .for_operator = 7, .ready = 10};
    fake.queue.at_gate[QUEUE_GATE_LIMIT] = 300;
    assert_int_equal(get(&f, GET("/")), 200);
    expect_text("<p class=bad>full: &lt;b&gt;no space</p>");
    expect_text("<td>in the spool</td><td class=n>321</td>");
    expect_text("<td>limit</td><td class=n>300</td>");
    expect_text("<td>operator</td><td class=n>7</td>");
    expect_text("<td>oldest, received</td><td>2023-11-14T22:13:20.000Z</td>");
    assert_int_equal(get(&f, GET("/metrics")), 200);
    expect_text("sendgov_spool_messages{state=\"waiting\"} 310");
    expect_text("sendgov_spool_messages{state=\"in_flight\"} 4");
    expect_text("sendgov_spool_messages{state=\"parked\"} 5");
    expect_text("sendgov_spool_messages{state=\"held\"} 2");
    fake.spool.oldest_utc_ms = clock_utc_ms() + 60000; /* the clock was set back */
    assert_int_equal(get(&f, GET("/metrics")), 200);
    expect_text("sendgov_spool_oldest_seconds 0\n");
    fake.spool.oldest_utc_ms = clock_utc_ms() - 7000;
    assert_int_equal(get(&f, GET("/metrics")), 200);
    expect_text("sendgov_spool_oldest_seconds 7");
    fixture_close(&f);
}

static void
test_metrics(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    fake.pauses[0].class = CLASS_BLOCK_TENANT;
    fake.n_pauses = 1;
    for (int i = 0; i < 5; i++)
        loop_turn(f.loop, 10); /* the counters are asked for */
    assert_int_equal(get(&f, GET("/metrics")), 200);
    expect_text("Content-Type: text/plain; version=0.0.4");
    expect_text("sendgov_store_up 1");
    expect_text("sendgov_paused{scope=\"route\",class=\"block-tenant\"} 1");
    expect_text("sendgov_connections{listener=\"apps\"} 7");
    expect_text("sendgov_upstream_connections{route=\"contoso\",state=\"busy\"} 1");
    expect_text("sendgov_warmup_day{route=\"contoso\"} 2");
    expect_text("sendgov_warmup_cap{route=\"contoso\"} 70");
    expect_text("sendgov_limit{limit=\"warmup\",scope=\"route\",instance=\"contoso\"} 70");
    expect_text(
        "sendgov_limit_used{limit=\"mailbox-minute\",scope=\"mailbox\",instance=\"relay@contoso.com\"} 12");
    expect_text("sendgov_limit_remaining{limit=\"erp-burst\",scope=\"client\",instance=\"erp\"} 88");
    expect_text("process_start_time_seconds ");
    expect_text("sendgov_profile_age_seconds{profile=\"m365\"} 2");
    expect_text("sendgov_profile_age_seconds{profile=\"fresh\"} 0\n");
    assert_null(strstr(reply, "per-sender")); /* senders are people */
    assert_int_equal(get(&f, GET("/")), 200);
    expect_text("<td class=n>burst 100, 100/min</td>"); /* as the stand-in of the store has it */
    fake.n_pauses = 0;
    assert_int_equal(get(&f, GET("/metrics")), 200);
    assert_null(strstr(reply, "block-tenant"));
    fixture_close(&f);
}

static void
test_status_page(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    fake.n_pauses = 1;
    snprintf(fake.pauses[0].reason, PAUSE_TEXT_MAX, "\"><img src=x onerror='alert(1)'>");
    assert_int_equal(get(&f, GET("/")), 200);
    expect_text("Content-Security-Policy: default-src 'none'");
    expect_text("X-Content-Type-Options: nosniff");
    expect_text("Content-Type: text/html");
    expect_text("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect_text("&quot;&gt;&lt;img src=x onerror=&#39;");
    assert_null(strstr(reply, "<script"));
    assert_null(strstr(reply, "<img"));
    assert_int_equal(get(&f, GET("/style.css")), 200);
    fixture_close(&f);
}

static void
test_refusals(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    assert_int_equal(get(&f, GET("/nothing")), 404);
    assert_int_equal(get(&f, GET("/../etc/passwd")), 404);
    assert_int_equal(get(&f, GET("//metrics")), 404);
    assert_int_equal(get(&f, GET("/%6detrics")), 404);
    assert_int_equal(get(&f, GET("/live?x=1")), 200);
    assert_int_equal(get(&f, "GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    assert_int_equal(get(&f, "GET /live HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n"), 403);
    assert_int_equal(get(&f, "GET http://evil.example/live HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
    assert_int_equal(get(&f, "GET /live HTTP/1.0\r\n\r\n"), 200);
    assert_int_equal(get(&f, "POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"), 405);
    expect_text("Allow: GET, HEAD");
    assert_int_equal(get(&f, "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405);
    assert_true(get(&f, "POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello") >= 400);
    assert_true(get(&f,
                    "PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n") >= 400);
    fixture_close(&f);
}

static void
test_head_has_no_body(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    assert_int_equal(get(&f, "HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
    fixture_close(&f);
}

static void
test_garbage(void **state)
{
    struct fixture f;
    char huge[HTTP_HEADERS_MAX * 2 + 128];
    size_t n;

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    assert_true(get(&f, "GET /live\r\n\r\n") != 200);
    assert_true(get(&f, "\x16\x03\x01\x02hello\r\n\r\n") != 200);
    n = (size_t)snprintf(huge, sizeof(huge), "GET /live HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(huge + n, 'x', HTTP_HEADERS_MAX * 2);
    memcpy(huge + n + HTTP_HEADERS_MAX * 2, "\r\n\r\n", 5);
    assert_true(get(&f, huge) != 200);
    assert_int_equal(get(&f, GET("/live")), 200);
    fixture_close(&f);
}

/* A flood of silent connections fills the seats and no more; when they go, the next is served. */
static void
test_connection_limit(void **state)
{
    enum { FLOOD = HTTP_CONNECTIONS_MAX + 20 };
    struct fixture f;
    int fds[FLOOD];

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    for (int i = 0; i < FLOOD; i++)
        fds[i] = dial(&f); /* all before the loop turns: one batch of accepts */
    for (int i = 0; i < 10; i++)
        loop_turn(f.loop, 10);
    assert_int_equal(http_connections(f.admin->http), HTTP_CONNECTIONS_MAX);
    for (int i = 0; i < FLOOD; i++)
        close(fds[i]);
    assert_int_equal(get(&f, GET("/live")), 200);
    for (int i = 0; i < 40 && http_connections(f.admin->http) > 0; i++)
        loop_turn(f.loop, 50);
    assert_int_equal(http_connections(f.admin->http), 0);
    fixture_close(&f);
}

/* One byte now and then starts evhttp's own timeout anew each time; the end comes all the same. */
static void
test_slow_peer(void **state)
{
    struct fixture f;
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t n = sizeof(sin);
    struct evconnlistener *listener;
    struct evhttp *server;
    struct http_conns *conns;
    int64_t begun = clock_mono_ms();
    int fd;

    (void)state;
    fixture_open(&f, NULL);
    inet_pton(AF_INET, "127.0.0.1", &sin.sin_addr);
    listener = evconnlistener_new_bind(
        loop_base(f.loop), NULL, NULL, LEV_OPT_CLOSE_ON_FREE, 8, (struct sockaddr *)&sin, sizeof(sin));
    server = evhttp_new(loop_base(f.loop));
    evhttp_set_timeout(server, HTTP_IDLE_SEC);
    assert_non_null(evhttp_bind_listener(server, listener));
    conns = http_conns_new(f.loop, server, listener, 200);
    assert_int_equal(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &n), 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    do {
        (void)!send(fd, "G", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_turn(f.loop, 20);
    } while ((http_conns_open(conns) > 0 || clock_mono_ms() - begun < 150) && clock_mono_ms() - begun < 5000);
    assert_int_equal(http_conns_open(conns), 0);
    assert_true(clock_mono_ms() - begun < HTTP_IDLE_SEC * 1000 - 1000);
    close(fd);
    evhttp_free(server);
    http_conns_free(&conns);
    fixture_close(&f);
}

static void
test_address_in_use(void **state)
{
    struct fixture f;
    struct err err;
    char address[64];

    (void)state;
    fixture_open(&f, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_port(f.admin->http));
    assert_null(http_open(f.admin, address, &err));
    assert_null(http_open(f.admin, "localhost", &err));
    f.config.admin.http = address; /* a reload that cannot have its address leaves the old one */
    assert_int_equal(admin_configure(f.admin, &f.config, &err), -1);
    assert_int_equal(get(&f, GET("/live")), 200);
    f.config.admin.http = NULL;
    assert_int_equal(admin_configure(f.admin, &f.config, &err), 0);
    assert_null(f.admin->http);
    fixture_close(&f);
}

static bool
is_ours(const char *header, const char *configured, const char *local)
{
    return http_host_is_ours(span_str(header), span_str(configured), span_str(local));
}

static void
test_host(void **state)
{
    (void)state;
    assert_true(is_ours("localhost", "127.0.0.1", ""));
    assert_true(is_ours("LOCALHOST:9825", "127.0.0.1", ""));
    assert_true(is_ours("127.0.0.1:9825", "127.0.0.1", ""));
    assert_true(is_ours("127.9.9.9", "127.0.0.1", ""));
    assert_true(is_ours("[::1]:9825", "127.0.0.1", ""));
    assert_true(is_ours("192.0.2.7:9825", "0.0.0.0", "192.0.2.7"));
    assert_false(is_ours("192.0.2.8:9825", "0.0.0.0", "192.0.2.7"));
    assert_false(is_ours("", "127.0.0.1", ""));
    assert_false(is_ours("[::1", "127.0.0.1", ""));
    assert_false(is_ours("localhost:http", "127.0.0.1", ""));
    assert_false(is_ours("localhost.evil.example", "127.0.0.1", ""));
    assert_false(is_ours("127.0.0.1@evil.example", "127.0.0.1", ""));
}

static void
test_html(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    html_add(&out, "a<b>&\"'\x01\x7f");
    html_add(&out, NULL);
    assert_string_equal(buf_span(&out).p, "a&lt;b&gt;&amp;&quot;&#39;??");
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_and_ready),
        cmocka_unit_test(test_ready_with_spool),
        cmocka_unit_test(test_spool_is_shown),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_status_page),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_slow_peer),
        cmocka_unit_test(test_address_in_use),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_html),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
