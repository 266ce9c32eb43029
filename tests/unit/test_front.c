/* Unit tests of front: real sockets, real loop, a fake flow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/front/session.h"
#include "tests/unit/front_fakes.h"

#define COMMON \
    "node: test\nstate: DIR\nuser: nobody\nhostname: relay.test\nusers_file: DIR/users\n" \
    "redis: {url: \"unix:DIR/redis\", allow_volatile: true}\n" \
    "routes:\n  contoso: {upstream: \"127.0.0.1:9\", tls: off, domains: [contoso.test, fabrikam.test]}\n"
#define SMTP                                                                                                 \
    "smtp: {connections_burst: 1000, first_mail_timeout: 1s, command_timeout: 1s, idle_timeout: 1s}\n"
#define LISTENERS \
    "listeners:\n" \
    "  apps: {address: \"PORT\", tls: off, auth_without_tls: true, clients: [erp]}\n" \
    "  devices: {address: \"PORT2\", tls: off, bare_lf: normalize, clients: [scanner]}\n"
#define CLIENTS(accept) \
    "clients:\n" \
    "  erp: {login: erp, senders: [\"@contoso.test\"]}\n" \
    "  scanner: {networks: [127.0.0.1/32], senders: [scan@contoso.test], accept: " accept "}\n"
#define YAML COMMON SMTP LISTENERS CLIENTS("relay")

#define LOGIN "AUTH PLAIN AGVycAByaWdodA==\r\n" /* \0erp\0right */
#define WRONG "AUTH PLAIN AGVycAB3cm9uZw==\r\n"

static struct world w;

static bool
has_submitted(void *arg)
{
    return flow_fake.submitted == *(unsigned *)arg;
}

static void
wait_submitted(unsigned n)
{
    world_until(&w, has_submitted, &n);
}

static bool
has_forgotten(void *arg)
{
    (void)arg;
    return flow_fake.forgotten > 0;
}

/* A session at PORT2 whose sender was accepted. */
static void
begin_mail(struct client *c)
{
    client_connect(c, &w, w.port2);
    client_expect(c, "220 relay.test ESMTP");
    client_talk(c, "EHLO printer\r\n", "250-relay.test");
    client_talk(c, "MAIL FROM: <scan@contoso.test>\r\n", "250 2.1.0");
}

static void
send_body(struct client *c, const char *from)
{
    char body[400];

    client_talk(c, "DATA\r\n", "354");
    snprintf(body, sizeof body, "From: %s\nSubject: x\n\n..hello\n.\r\n.\r\n", from);
    client_send(c, body);
}

static void
test_message(void **state)
{
    struct client c;
    struct span body;
    char scratch[1000];

    (void)state;
    world_begin(&w, YAML);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@fabrikam.test>\r\n", "250 2.1.5");
    client_talk(&c, "RCPT TO:<B@X.Example>\r\n", "250 2.1.5");
    send_body(&c, "Scanner <scan@contoso.test>");
    wait_submitted(1);
    assert_string_equal(flow_fake.message->client->name, "scanner");
    assert_string_equal(flow_fake.message->route->name, "contoso");
    assert_null(flow_fake.message->mailbox);
    assert_string_equal(flow_fake.message->envelope.sender.text, "scan@contoso.test");
    assert_int_equal(flow_fake.message->envelope.n_recipients, 2);
    assert_int_equal(flow_fake.message->envelope.recipients[0].class, RECIPIENT_INTERNAL);
    assert_int_equal(flow_fake.message->envelope.recipients[1].class, RECIPIENT_EXTERNAL);
    assert_string_equal(flow_fake.message->envelope.recipients[1].address.text, "B@x.example");
    assert_string_equal(flow_fake.message->peer, "127.0.0.1");
    assert_int_equal(blob_read(flow_fake.message->body, 0, scratch, sizeof scratch, &body), BLOB_OK);
    assert_true(
        span_eq(body, SPAN_LIT("From: Scanner <scan@contoso.test>\r\nSubject: x\r\n\r\n...hello\r\n..\r\n")));
    assert_int_equal(flow_fake.message->content_bytes, body.n - 2);
    assert_true(span_starts_nocase(span_str(flow_fake.message->trace),
        SPAN_LIT("Received: from printer ([127.0.0.1])\r\n\tby relay.test (sendgov) with ESMTP\r\n\tid ")));
    flow_fake_answer(250, "2.0.0", "Ok: relayed");
    client_expect(&c, "250 2.0.0 Ok: relayed");
    client_talk(&c, "QUIT\r\n", "221");
    client_expect(&c, "");
    client_close(&c);
    world_end(&w);
}

static void
test_relay_forms(void **state)
{
    static const char *const forms[] = {
        "<>|<u@x.example>",
        "<a@x.example>|<u@x.example>",
        "<a@relay.test>|<u@x.example>",
        "<a@[127.0.0.1]>|<u@x.example>",
        "<a@contoso.test>|<u@x.example>",
        "<a>|<u@x.example>",
        "<a@localhost>|<u@x.example>",
        "<a@[127.0.0.1]>|<u%x.example@[127.0.0.1]>",
        "<a@contoso.test>|<u%x.example@relay.test>",
        "<a@contoso.test>|<u%x.example@contoso.test>",
        "<a@contoso.test>|<\"u@x.example\">",
        "<a@contoso.test>|<\"u%x.example\">",
        "<a@contoso.test>|<u@x.example@[127.0.0.1]>",
        "<a@contoso.test>|<\"u@x.example\"@[127.0.0.1]>",
        "<a@contoso.test>|<u@x.example@relay.test>",
        "<a@contoso.test>|<@[127.0.0.1]:u@x.example>",
        "<a@contoso.test>|<@relay.test:u@x.example>",
        "<a@contoso.test>|<x.example!u>",
        "<a@contoso.test>|<x.example!u@[127.0.0.1]>",
        "<a@contoso.test>|<x.example!u@relay.test>",
        "<a@contoso.test>|<\"x.example!u\"@contoso.test>",
        "<a@contoso.test>|u@x.example",
        "<a@contoso.test>|<u@192.0.2.1>",
        "<a@contoso.test>|<u@x.example.>",
        "<a@contoso.test>|<postmaster>",
        "<a@contoso.test> AUTH=<admin@contoso.test>|<u@x.example>",
        "        <a@contoso.test>|\t<u@x.example>",
    };

    (void)state;
    world_begin(&w,
        COMMON "smtp: {connections_burst: 1000, errors_hard: 100, errors_soft: 100}\n" LISTENERS
               "clients:\n  erp: {login: erp, senders: [\"@contoso.test\"]}\n  scanner: {networks: "
               "[127.9.9.9/32], senders: [scan@contoso.test]}\n");
    for (int port = 0; port < 2; port++) {
        struct client c;

        client_connect(&c, &w, port ? w.port : w.port2);
        client_expect(&c, "220");
        client_talk(&c, "EHLO x\r\n", "250");
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            const char *bar = strchr(forms[i], '|');
            char line[200];

            snprintf(line, sizeof line, "MAIL FROM:%.*s\r\n", (int)(bar - forms[i]), forms[i]);
            client_talk(&c, line, "5");
            snprintf(line, sizeof line, "RCPT TO:%s\r\n", bar + 1);
            client_talk(&c, line, "503");
            client_talk(&c, "DATA\r\n", "503");
            if (i % 10 == 9)
                client_talk(&c, "RSET\r\n", "250");
        }
        client_talk(&c, "MAIL FROM:<a@contoso.test>\r\n", port ? "530 5.7.0" : "550 5.7.1 Relaying denied");
        client_close(&c);
    }
    assert_int_equal(flow_fake.submitted, 0);
    world_end(&w);
}

/* For a known client: only what its rules allow. */
static void
test_rules(void **state)
{
    static const struct {
        const char *command, *reply;
    } cases[] = {
        {"MAIL FROM:<other@contoso.test>\r\n", "550 5.7.60"},
        {"MAIL FROM:<>\r\n", "550 5.7.60"},
        {"MAIL FROM:<a@unknown.test>\r\n", "550 5.7.60"},
        {"MAIL FROM:<\"scan\"@Contoso.Test.>\r\n", "250"},
        {"RCPT TO:<u%x.example@contoso.test>\r\n", "550 5.7.1"},
        {"RCPT TO:<x.example!u@contoso.test>\r\n", "550 5.7.1"},
        {"RCPT TO:<\"u@x.example\"@contoso.test>\r\n", "550 5.7.1"},
        {"RCPT TO:<@relay.test:u@x.example>\r\n", "550 5.7.1"},
        {"RCPT TO:<u@[127.0.0.1]>\r\n", "550 5.7.1"},
        {"RCPT TO:<postmaster>\r\n", "553"},
        {"RCPT TO:<u@x.example>\r\n", "250"},
    };
    struct client c;

    (void)state;
    world_begin(&w, COMMON "smtp: {errors_hard: 100, errors_soft: 100}\n" LISTENERS CLIENTS("relay"));
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        client_talk(&c, cases[i].command, cases[i].reply);
    send_body(&c, "other@contoso.test");
    client_expect(&c, "550 5.7.60 client scanner may not send as other@contoso.test (header From)");
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\nRCPT TO:<u@x.example>\r\n", "250");
    client_expect(&c, "250");
    send_body(&c, "scan@contoso.test, scan@contoso.test");
    client_expect(&c, "550 5.7.1 From header has several addresses");
    assert_int_equal(flow_fake.submitted, 0);
    client_close(&c);
    world_end(&w);
}

static void
test_auth(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    for (int round = 0; round < 2; round++) { /* the second time it is remembered */
        client_connect(&c, &w, w.port);
        client_expect(&c, "220");
        client_talk(&c, "EHLO x\r\n", "250");
        client_talk(&c, "MAIL FROM:<a@contoso.test>\r\n", "530");
        client_talk(&c, LOGIN, "235");
        client_talk(&c, "EHLO x\r\n", "250");
        client_talk(&c, "MAIL FROM:<a@contoso.test>\r\n", "250");
        client_close(&c);
    }
    assert_int_equal((int)metric_get(w.metrics, M_AUTH, "ok", NULL, NULL), 2);
    world_end(&w);
}

/* Passwords need TLS and there is none: nobody is told to do what cannot help. */
static void
test_auth_out_of_reach(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, COMMON SMTP
        "listeners:\n"
        "  apps: {address: \"PORT\", tls: off}\n"
        "  devices: {address: \"PORT2\", tls: off, auth_without_tls: true}\n"
        "clients:\n  erp: {login: erp, senders: [\"@contoso.test\"]}\n");
    client_connect(&c, &w, w.port);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250-relay.test");
    assert_null(strstr(client_reply(&c), "AUTH"));
    client_talk(&c, LOGIN, "502 5.5.1 Authentication is not available here");
    client_talk(&c, "MAIL FROM:<a@contoso.test>\r\n", "550 5.7.1 Relaying denied");
    client_close(&c);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250-relay.test");
    client_talk(&c, "MAIL FROM:<a@contoso.test>\r\n", "530 5.7.0");
    client_talk(&c, LOGIN, "235");
    client_close(&c);
    world_end(&w);
}

static void
test_auth_failures(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, COMMON "smtp: {auth_failures: 1, auth_failures_per_ip: 2}\n" LISTENERS CLIENTS("relay"));
    for (int i = 0; i < 3; i++) {
        client_connect(&c, &w, w.port);
        client_expect(&c, "220");
        client_talk(&c, "EHLO x\r\n", "250");
        client_talk(&c, i == 2 ? LOGIN : i == 1 ? "AUTH PLAIN AG5vYm9keQByaWdodA==\r\n" : WRONG, "421 4.7.0");
        client_expect(&c, "");
        client_close(&c);
    }
    assert_int_equal((int)metric_get(w.metrics, M_AUTH, "wrong", NULL, NULL), 2);
    assert_int_equal((int)metric_get(w.metrics, M_AUTH, "limited", NULL, NULL), 1);
    world_end(&w);
}

/* All at the same moment: no more of them learn whether they were right than one after the other. */
static void
test_auth_failures_in_parallel(void **state)
{
    struct client c[4];

    (void)state;
    world_begin(&w, COMMON "smtp: {auth_failures_per_ip: 2}\n" LISTENERS CLIENTS("relay"));
    for (int i = 0; i < 4; i++) {
        client_connect(&c[i], &w, w.port);
        client_expect(&c[i], "220");
        client_talk(&c[i], "EHLO x\r\n", "250");
    }
    for (int i = 0; i < 4; i++) {
        const char *line = i == 3 ? LOGIN : WRONG;

        assert_int_equal(send(c[i].fd, line, strlen(line), 0), strlen(line));
    }
    for (int i = 3; i >= 0; i--) {
        client_expect(&c[i], i < 2 ? "535 5.7.8" : "421 4.7.0 Too many authentication failures from your");
        client_close(&c[i]);
    }
    assert_int_equal((int)metric_get(w.metrics, M_AUTH, "wrong", NULL, NULL), 2);
    assert_int_equal((int)metric_get(w.metrics, M_AUTH, "limited", NULL, NULL), 2);
    world_end(&w);
}

static void
test_wrong_password_is_slow(void **state)
{
    struct client c;
    int64_t before;

    (void)state;
    world_begin(&w, COMMON LISTENERS CLIENTS("relay"));
    client_connect(&c, &w, w.port);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250");
    before = loop_now_ms(w.loop);
    client_talk(&c, WRONG, "535 5.7.8");
    assert_true(loop_now_ms(w.loop) - before >= 1900);
    client_talk(&c, LOGIN, "235");
    client_close(&c);
    world_end(&w);
}

/* The session ends while a password is checked: the answer finds nobody. */
static void
test_gone_during_auth(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    for (int i = 0; i < 5; i++) {
        struct linger reset = {1, 0};

        client_connect(&c, &w, w.port);
        client_expect(&c, "220");
        client_talk(&c, "EHLO x\r\n", "250");
        client_send(&c, LOGIN);
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        client_close(&c);
        loop_turn(w.loop, 10);
    }
    world_end(&w);
}

static void
test_client_leaves(void **state)
{
    struct linger reset = {1, 0};
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    send_body(&c, "scan@contoso.test");
    wait_submitted(1);
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client_close(&c);
    world_until(&w, has_forgotten, NULL);
    world_end(&w);
}

/* FIN behind the final dot: the reply still comes. FIN in the body: nothing is submitted. */
static void
test_half_close(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    send_body(&c, "scan@contoso.test");
    shutdown(c.fd, SHUT_WR);
    wait_submitted(1);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(&c, "250 2.0.0 Ok");
    client_expect(&c, "");
    client_close(&c);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\nDATA\r\n", "250");
    client_expect(&c, "354");
    client_send(&c, "From: scan@contoso.test\r\n\r\nhalf");
    shutdown(c.fd, SHUT_WR);
    client_expect(&c, "");
    client_close(&c);
    assert_int_equal(flow_fake.submitted, 1);
    world_end(&w);
}

static void
test_defer(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, COMMON SMTP LISTENERS CLIENTS("defer"));
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    client_send(&c, "DATA\r\n");
    while (flow_fake.looks == 0)
        loop_turn(w.loop, 10);
    flow_fake_answer(451, "4.4.5", "limit x 10/10, retry after 7 s");
    client_expect(&c, "451 4.4.5 limit x");
    assert_int_equal(flow_fake.booked, 1); /* refused before 354: that was all of this message */
    assert_string_equal(flow_fake.book_end.letters, "Gb");
    assert_int_equal(flow_fake.book->unnamed[RECIPIENT_EXTERNAL], 1);
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n", "250");
    client_expect(&c, "250");
    while (flow_fake.looks == 1)
        loop_turn(w.loop, 10);
    flow_fake_answer(0, NULL, NULL);
    client_expect(&c, "354");
    client_send(&c, "From: scan@contoso.test\r\n\r\nx\r\n.\r\n");
    wait_submitted(1);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(&c, "250 2.0.0 Ok");
    assert_int_equal(flow_fake.booked + flow_fake.booked_recipients, 1);
    client_close(&c);
    world_end(&w);
}

/* What the client pipelined behind the dot waits for the message's answer. */
static void
test_pipelined_behind_dot(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\nDATA\r\n", "250");
    client_expect(&c, "354");
    client_send(&c,
        "From: scan@contoso.test\r\n\r\nx\r\n.\r\nMAIL FROM:<scan@contoso.test>\r\nRCPT "
        "TO:<a@b.example>\r\nDATA\r\n");
    wait_submitted(1);
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 5);
    flow_fake_answer(451, "4.4.5", "later");
    client_expect(&c, "451 4.4.5 later");
    client_expect(&c, "250");
    client_expect(&c, "250");
    client_expect(&c, "354");
    client_close(&c);
    world_end(&w);
}

static void
test_early_body(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, COMMON SMTP LISTENERS CLIENTS("defer"));
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    client_send(&c, "DATA\r\n");
    while (flow_fake.looks == 0)
        loop_turn(w.loop, 10);
    client_talk(&c, "From: x\r\n", "554 5.5.0");
    client_expect(&c, "");
    assert_int_equal(flow_fake.forgotten, 1);
    client_close(&c);
    world_end(&w);
}

static void
test_hint(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    reply_set(&flow_fake.hint, 451, "4.7.0", "external mail is paused");
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "451 4.7.0 external mail is paused");
    client_talk(&c, "RCPT TO:<a@contoso.test>\r\n", "250");
    client_close(&c);
    flow_fake.size = 100000;
    flow_fake.eightbit = false;
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250-relay.test");
    assert_non_null(strstr(client_reply(&c), "SIZE 98976\r\n")); /* our trace header goes on top */
    assert_null(strstr(client_reply(&c), "8BITMIME"));
    client_talk(&c, "MAIL FROM:<scan@contoso.test> SIZE=98977\r\n", "552 5.3.4");
    client_talk(&c, "MAIL FROM:<scan@contoso.test> SIZE=98976\r\n", "250");
    client_talk(&c, "RSET\r\n", "250");
    client_talk(&c, "MAIL FROM:<scan@contoso.test> BODY=8BITMIME\r\n", "554 5.6.3");
    client_close(&c);
    world_end(&w);
}

static void
expect_booked(unsigned messages, unsigned internal, unsigned external)
{
    assert_int_equal(flow_fake.booked, messages);
    assert_int_equal(flow_fake.booked_recipients, 0);
    assert_string_equal(flow_fake.book_end.letters, "Gp");
    assert_int_equal(flow_fake.book_reply.code, 451);
    assert_string_equal(flow_fake.book->client->name, "scanner");
    assert_string_equal(flow_fake.book->route->name, "contoso");
    assert_string_equal(flow_fake.book->peer, "127.0.0.1");
    assert_string_equal(flow_fake.book->envelope.sender.text, "scan@contoso.test");
    assert_int_equal(flow_fake.book->unnamed[RECIPIENT_INTERNAL], internal);
    assert_int_equal(flow_fake.book->unnamed[RECIPIENT_EXTERNAL], external);
}

/* What the governor refuses before there is a body is one message in the books, whatever comes next. */
static void
test_books_before_data(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    reply_set(&flow_fake.hint, 451, "4.7.0", "external mail is paused");
    begin_mail(&c);
    client_talk(&c, "RSET\r\n", "250"); /* nothing was refused */
    client_talk(&c, "MAIL FROM:<scan@contoso.test> SIZE=77\r\n", "250");
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "451 4.7.0");
    client_talk(&c, "RCPT TO:<b@b.example>\r\n", "451 4.7.0");
    client_talk(&c, "DATA\r\n", "554 5.5.1");
    assert_int_equal(flow_fake.booked, 0); /* it might go on */
    client_talk(&c, "RSET\r\n", "250");
    expect_booked(1, 0, 2);
    assert_int_equal(flow_fake.book->content_bytes, 77);
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\nRCPT TO:<a@contoso.test>\r\nRCPT TO:<a@b.example>\r\n"
        "RSET\r\nMAIL FROM:<scan@contoso.test>\r\n", "250 2.1.0");
    client_expect(&c, "250 2.1.5");
    client_expect(&c, "451 4.7.0");
    client_expect(&c, "250 2.0.0");
    client_expect(&c, "250 2.1.0");
    expect_booked(2, 1, 1);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "451 4.7.0");
    client_talk(&c, "QUIT\r\n", "221");
    client_expect(&c, "");
    expect_booked(3, 0, 1);
    client_close(&c);
    flow_fake.hint_at_mail = true;
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250-relay.test");
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\n", "451 4.7.0");
    expect_booked(4, 0, 0);
    client_close(&c);
    world_end(&w);
    assert_int_equal(flow_fake.submitted, 0);
}

/* A client that sends to the others all the same has one message, and the books name who is missing. */
static void
test_books_of_recipients(void **state)
{
    char id[MESSAGE_ID_MAX];
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    reply_set(&flow_fake.hint, 451, "4.7.0", "external mail is paused");
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "451 4.7.0");
    client_talk(&c, "RCPT TO:<a@contoso.test>\r\n", "250");
    send_body(&c, "scan@contoso.test");
    wait_submitted(1);
    memcpy(id, flow_fake.message->id, sizeof id);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(&c, "250 2.0.0");
    assert_int_equal(flow_fake.booked, 0);
    assert_int_equal(flow_fake.booked_recipients, 1);
    assert_string_equal(flow_fake.book->id, id);
    assert_int_equal(flow_fake.book->unnamed[RECIPIENT_INTERNAL], 0);
    assert_int_equal(flow_fake.book->unnamed[RECIPIENT_EXTERNAL], 1);
    client_close(&c);
    world_end(&w);
}

/* Longer than memory holds, and the folder for it is gone. */
static void
test_books_no_room(void **state)
{
    static char line[1024];
    char folder[128];
    struct client c;

    (void)state;
    world_begin(&w, NULL);
    snprintf(folder, sizeof folder, "%s/bodies", w.dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(
        world_reload(&w, COMMON "smtp: {temp_folder: DIR/bodies}\n" LISTENERS CLIENTS("relay")), 0);
    assert_int_equal(rmdir(folder), 0);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    client_talk(&c, "DATA\r\n", "354");
    client_send(&c, "From: scan@contoso.test\r\n\r\n");
    memset(line, 'x', sizeof line - 3);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    for (int i = 0; i < 1024; i++)
        client_send(&c, line);
    client_talk(&c, ".\r\n", "451 4.3.0");
    assert_int_equal(flow_fake.submitted, 0);
    assert_int_equal(flow_fake.booked, 1);
    assert_string_equal(flow_fake.book_end.letters, "No");
    assert_int_equal(flow_fake.book->envelope.n_recipients, 1);
    assert_int_equal(flow_fake.book_reply.code, 451);
    client_close(&c);
    world_end(&w);
}

static void
test_no_room_to_keep_mail(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, COMMON LISTENERS CLIENTS("relay"));
    flow_fake.full = true;
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250");
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\n", "452 4.3.1");
    flow_fake.full = false;
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\n", "250");
    client_close(&c);
    world_end(&w);
}

static void
test_doors(void **state)
{
    struct client c[4];
    char byte = 0;

    (void)state;
    world_begin(&w, COMMON "smtp: {connections_per_ip: 2, unauthenticated: 1}\n" LISTENERS CLIENTS("relay"));
    client_connect(&c[0], &w, w.port2);
    client_expect(&c[0], "220");
    client_connect(&c[1], &w, w.port2);
    client_expect(&c[1], "220");
    client_connect(&c[2], &w, w.port2);
    client_expect(&c[2], "421 4.7.0");
    client_expect(&c[2], "");
    client_close(&c[1]);
    client_close(&c[2]);
    loop_turn(w.loop, 10);
    loop_turn(w.loop, 10);
    client_connect(&c[1], &w, w.port); /* a stranger */
    client_expect(&c[1], "220");
    client_close(&c[0]);
    loop_turn(w.loop, 10);
    loop_turn(w.loop, 10);
    client_connect(&c[0], &w, w.port); /* a second one */
    client_expect(&c[0], "421 4.7.0");
    client_close(&c[0]);
    client_connect(&c[0], &w, w.port2);
    assert_int_equal(send(c[0].fd, "EHLO x\r\n", 8, 0), 8);
    client_expect(&c[0], "554 5.5.0");
    assert_true(recv(c[0].fd, &byte, 1, 0) <= 0);
    client_close(&c[0]);
    client_close(&c[1]);
    world_end(&w);
}

/* The longest that any session may still be silent. */
static int64_t
longest_idle_ms(void)
{
    int64_t longest = 0;

    LIST_EACH(it, &w.front->sessions) {
        const struct session *s = LIST_ITEM(it, struct session, link);
        int64_t left = s->timer.due_mono_ms - clock_mono_ms();

        assert_int_equal(s->clock, CLOCK_IDLE);
        longest = left > longest ? left : longest;
    }
    return longest;
}

/* Over 80 % of the connections: those that were silent before have no more time than those that came last. */
static void
test_crowd(void **state)
{
    struct client c[5];

    (void)state;
    world_begin(&w, COMMON "smtp: {connections: 5}\n" LISTENERS CLIENTS("relay"));
    for (int i = 0; i < 5; i++) {
        client_connect(&c[i], &w, w.port2);
        client_expect(&c[i], "220");
        assert_true(i < 4 ? longest_idle_ms() > 50000 : longest_idle_ms() <= 10000);
    }
    client_close(&c[0]);
    for (int i = 0; i < 2; i++)
        loop_turn(w.loop, 10);
    client_talk(&c[1], "NOOP\r\n", "250");
    assert_true(longest_idle_ms() > 50000);
    for (int i = 1; i < 5; i++)
        client_close(&c[i]);
    world_end(&w);
}

static void
test_rate(void **state)
{
    struct client c;

    (void)state;
    world_begin(
        &w, COMMON "smtp: {connections_per_minute: 1, connections_burst: 3}\n" LISTENERS CLIENTS("relay"));
    for (int i = 0; i < 5; i++) {
        client_connect(&c, &w, w.port2);
        client_expect(&c, i < 3 ? "220" : "421 4.7.0");
        client_close(&c);
    }
    world_end(&w);
}

static void
test_deadlines(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_expect(&c, "421 4.4.2 Idle");
    client_expect(&c, "");
    client_close(&c);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "EHLO", "421 4.4.2 Command took too long");
    client_close(&c);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    client_talk(&c, "DATA\r\n", "354");
    client_talk(&c, "From: x\r\n", "421 4.4.2 Message data came too slowly");
    client_expect(&c, "");
    client_close(&c);
    world_end(&w);
}

/* A byte now and then, each sooner than any clock: what ends that. */
static void
drip(struct client *c, size_t first_n)
{
    static char first[20000];
    int64_t start = loop_now_ms(w.loop);

    memset(first, 'x', first_n);
    first[first_n] = '\0';
    client_send(c, first);
    while (loop_now_ms(w.loop) - start < 2500) {
        int64_t next = loop_now_ms(w.loop) + 200;

        while (loop_now_ms(w.loop) < next)
            loop_turn(w.loop, 50);
        client_send(c, "x");
    }
    client_expect(c, "421 4.4.2 Command took too long");
    client_expect(c, "");
}

/* What is thrown away of a line over its limit is no progress. */
static void
test_endless_lines(void **state)
{
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    drip(&c, 10);
    client_close(&c);
    begin_mail(&c);
    drip(&c, 2100);
    client_close(&c);
    client_connect(&c, &w, w.port);
    client_expect(&c, "220");
    client_talk(&c, "EHLO x\r\n", "250");
    client_talk(&c, "AUTH LOGIN\r\n", "334");
    drip(&c, 17000);
    client_close(&c);
    world_end(&w);
}

static void
test_soft_errors_delay(void **state)
{
    struct client c;
    int64_t before;

    (void)state;
    world_begin(&w, COMMON "smtp: {errors_soft: 2, errors_hard: 3}\n" LISTENERS CLIENTS("relay"));
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_talk(&c, "X\r\n", "500");
    before = loop_now_ms(w.loop);
    client_talk(&c, "X\r\nNOOP\r\nX\r\n", "500");
    assert_true(loop_now_ms(w.loop) - before >= 900);
    client_expect(&c, "250");
    client_expect(&c, "421 4.7.0");
    client_expect(&c, "");
    client_close(&c);
    world_end(&w);
}

static bool drained;

static void
on_drained(void *arg)
{
    (void)arg;
    drained = true;
}

static bool
is_drained(void *arg)
{
    (void)arg;
    return drained;
}

static void
test_drain(void **state)
{
    struct client idle, busy;

    (void)state;
    drained = false;
    world_begin(&w, YAML);
    client_connect(&idle, &w, w.port2);
    client_expect(&idle, "220");
    begin_mail(&busy);
    client_talk(&busy, "RCPT TO:<a@b.example>\r\n", "250");
    front_drain(w.front, 5000, on_drained, NULL);
    client_expect(&idle, "421 4.3.2");
    assert_false(drained);
    send_body(&busy, "scan@contoso.test");
    wait_submitted(1);
    assert_false(drained);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(&busy, "250 2.0.0 Ok");
    client_expect(&busy, "421 4.3.2");
    world_until(&w, is_drained, NULL);
    client_close(&idle);
    client_close(&busy);
    world_end(&w);
}

static void
test_drain_deadline(void **state)
{
    struct client busy;

    (void)state;
    drained = false;
    world_begin(&w, YAML);
    begin_mail(&busy);
    front_drain(w.front, 50, on_drained, NULL);
    world_until(&w, is_drained, NULL);
    client_close(&busy);
    world_end(&w);
}

static void
test_reload(void **state)
{
    struct front_status status[4];
    struct client c, d;

    (void)state;
    world_begin(&w, YAML);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220 relay.test");
    client_talk(&c, "EHLO x\r\n", "250");
    client_connect(&d, &w, w.port);
    client_expect(&d, "220 relay.test");
    client_talk(&d, "EHLO x\r\n", "250");
    /* refused as a whole: a users file with an error */
    world_write(&w, "users", "erp:plaintext\n");
    assert_int_equal(world_reload(&w, COMMON SMTP LISTENERS CLIENTS("relay")), -1);
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\n", "250");
    client_talk(&c, "RSET\r\n", "250");
    world_write(&w, "users", "");
    /* the devices' listener stays, its client may send as somebody else; the apps' one goes */
    assert_int_equal(world_reload(&w, COMMON SMTP
        "listeners:\n  devices: {address: \"PORT2\", tls: off}\n"
        "clients:\n  scanner: {networks: [127.0.0.1/32], senders: [new@contoso.test]}\n"), 0);
    assert_int_equal(front_status(w.front, status, 4), 1);
    assert_int_equal(status[0].connections, 1);
    client_talk(&c, "MAIL FROM:<scan@contoso.test>\r\n", "550 5.7.60");
    client_talk(&c, "MAIL FROM:<new@contoso.test>\r\n", "250");
    client_talk(&d, "MAIL FROM:<new@contoso.test>\r\n", "421 4.3.2 A reload took away listener apps");
    assert_true(metric_get(w.metrics, M_CLIENTS_REFUSED, "listener", NULL, NULL) == 1);
    client_expect(&d, "");
    client_close(&c);
    client_close(&d);
    client_connect(&c, &w, w.port2);
    client_expect(&c, "220");
    client_close(&c);
    world_end(&w);
}

/* More than memory holds for one body. */
static void
test_large_body(void **state)
{
    static char line[1024];
    struct client c;

    (void)state;
    world_begin(&w, YAML);
    begin_mail(&c);
    client_talk(&c, "RCPT TO:<a@b.example>\r\n", "250");
    client_talk(&c, "DATA\r\n", "354");
    client_send(&c, "From: scan@contoso.test\r\n\r\n");
    memset(line, 'x', sizeof line);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    for (int i = 0; i < 2000; i++)
        client_send(&c, line);
    client_send(&c, ".\r\n");
    wait_submitted(1);
    assert_int_equal(flow_fake.message->content_bytes, 27 + 2000 * 1023);
    flow_fake_answer(250, "2.0.0", "Ok");
    client_expect(&c, "250");
    client_close(&c);
    world_end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_relay_forms),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_auth_out_of_reach),
        cmocka_unit_test(test_auth_failures),
        cmocka_unit_test(test_auth_failures_in_parallel),
        cmocka_unit_test(test_wrong_password_is_slow),
        cmocka_unit_test(test_gone_during_auth),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_defer),
        cmocka_unit_test(test_pipelined_behind_dot),
        cmocka_unit_test(test_early_body),
        cmocka_unit_test(test_hint),
        cmocka_unit_test(test_books_before_data),
        cmocka_unit_test(test_books_of_recipients),
        cmocka_unit_test(test_books_no_room),
        cmocka_unit_test(test_no_room_to_keep_mail),
        cmocka_unit_test(test_doors),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_endless_lines),
        cmocka_unit_test(test_soft_errors_delay),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_deadline),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_large_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
