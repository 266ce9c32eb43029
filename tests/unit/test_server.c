/* Unit tests of the server machine: whole conversations, each in pieces of every small size; the owner's part
 * is played by a few lines below. A turn is what the client sends before it waits for replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/smtp/server.h"
#include "tests/lib/guard.h"

static const struct server_conf plain = {
    .hostname = "relay.test",
    .starttls = true,
    .auth = true,
    .auth_without_tls = true,
    .eightbitmime = true,
    .newline = BODY_NORMALIZE,
    .size_max = 1000,
    .line_max = 65536,
    .header_bytes_max = 10000,
    .header_lines_max = 100,
    .hops_max = 10,
    .recipients_max = 3,
    .messages_max = 2,
    .errors_soft = 3,
    .errors_hard = 5,
    .junk_max = 6,
    .auth_failures_max = 3,
};

struct play {
    struct server server;
    struct server_conf conf;
    struct buf out, body, unread, log; /* log: what the owner was asked, one word each */
    bool closed, tls_wanted;
    unsigned delays;
};

static void
sink(void *arg, struct span wire)
{
    buf_add_span(arg, wire);
}

static void
begin(struct play *p, const struct server_conf *conf)
{
    memset(p, 0, sizeof *p);
    p->conf = *conf;
    buf_init(&p->out);
    buf_init(&p->body);
    buf_init(&p->unread);
    buf_init(&p->log);
    server_init(&p->server, &p->conf);
}

static void
end(struct play *p)
{
    server_fini(&p->server);
    buf_fini(&p->out);
    buf_fini(&p->body);
    buf_fini(&p->unread);
    buf_fini(&p->log);
}

/* Senders at bad.test and recipients at bad.test are refused; "slow" is 451; password "right" is right. */
static enum server_action
decide(struct play *p, enum server_action action)
{
    struct server *s = &p->server;
    struct reply no;

    switch (action) {
    case SERVER_DO_MAIL:
        buf_printf(&p->log, "mail:%s ", s->tx->envelope.sender.text);
        reply_set(&no, 550, "5.7.60", "not you");
        return server_answer(
            s, span_eq(address_domain(&s->tx->envelope.sender), SPAN_LIT("bad.test")) ? &no : NULL, &p->out);
    case SERVER_DO_RCPT:
        buf_printf(&p->log, "rcpt:%s ", s->tx->recipient.text);
        reply_set(&no, 550, "5.7.1", "not there");
        return server_answer_recipient(s,
            span_eq(address_domain(&s->tx->recipient), SPAN_LIT("bad.test")) ? &no : NULL, RECIPIENT_EXTERNAL,
            &p->out);
    case SERVER_DO_DATA:
        buf_add_str(&p->log, "data ");
        server_set_sink(s, sink, &p->body);
        return server_answer(s, NULL, &p->out);
    case SERVER_DO_MESSAGE:
        if (server_body_complaint(s) == NULL)
            buf_printf(&p->log, "message:%zu ", s->tx->envelope.n_recipients);
        return server_answer(s, NULL, &p->out);
    case SERVER_DO_AUTH:
        buf_printf(&p->log, "auth:%s ", s->sasl->user);
        return server_auth_done(
            s, strcmp(s->sasl->password, "right") == 0 ? SERVER_AUTH_OK : SERVER_AUTH_WRONG, &p->out);
    case SERVER_DO_TLS:
        p->tls_wanted = true;
        return SERVER_READ;
    case SERVER_DO_DELAY:
        p->delays++;
        return SERVER_READ;
    case SERVER_DO_CLOSE:
        p->closed = true;
        return SERVER_DO_CLOSE;
    case SERVER_READ:
        return SERVER_READ;
    }
    return SERVER_READ;
}

/* Offers everything unread until nothing moves. */
static void
drive(struct play *p)
{
    for (;;) {
        struct guard guard;
        struct span in = buf_span(&p->unread);
        enum server_action action;
        size_t used;

        in = guard_copy(&guard, in.p, in.n);
        action = server_input(&p->server, in, &p->out, &used);
        guard_free(&guard);
        buf_consume(&p->unread, used);
        if (action == SERVER_READ && used == 0)
            return;
        while (action != SERVER_READ && action != SERVER_DO_CLOSE)
            action = decide(p, action);
        if (action == SERVER_DO_CLOSE) {
            p->closed = true;
            return;
        }
        if (p->tls_wanted)
            return;
    }
}

static void
turn(struct play *p, struct span in, size_t step)
{
    for (size_t at = 0; at < in.n && !p->closed; at += step ? step : in.n) {
        struct span piece = span_head(span_from(in, at), step ? step : in.n);

        buf_add_span(&p->unread, piece);
        drive(p);
    }
}

/* The first four columns of each reply line: "250 354 ". */
static const char *
codes(struct play *p)
{
    static char text[4000];
    struct span rest = buf_span(&p->out), line;
    size_t n = 0;

    text[0] = '\0';
    while (rest.n > 0) {
        rest = span_cut(rest, '\n', &line);
        assert_true(line.n >= 4 && line.p[line.n - 1] == '\r');
        if (line.p[3] == ' ')
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.3s", n ? " " : "", line.p);
    }
    return text;
}

/* Turns, NULL-terminated; the codes of all replies; whether the session is closed then. */
static void
converse(const struct server_conf *conf, const char *const *turns, const char *want, bool closed)
{
    for (size_t step = 0; step < 6; step++) {
        struct play p;

        begin(&p, conf);
        for (size_t i = 0; turns[i] != NULL; i++)
            turn(&p, span_str(turns[i]), step);
        if (strcmp(codes(&p), want) != 0 || p.closed != closed)
            fail_msg("%s... (step %zu): %s%s", turns[0], step, codes(&p), p.closed ? " closed" : "");
        end(&p);
    }
}

#define TURNS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define EHLO "EHLO me\r\n"
#define MAIL "MAIL FROM:<a@b.c>\r\n"
#define HUGE "MAIL FROM:<a@b.c> SIZE=1001\r\n"
#define RCPT "RCPT TO:<x@y.z>\r\n"
#define BODY "From: a@b.c\r\n\r\nhello\r\n.\r\n"

static void
test_transaction(void **state)
{
    (void)state;
    converse(&plain, TURNS(EHLO, MAIL RCPT "DATA\r\n", BODY "QUIT\r\n"), "250 250 250 354 250 221", true);
    converse(&plain, TURNS("HELO me\r\n", MAIL, RCPT, "DATA\r\n", BODY), "250 250 250 354 250", false);
    /* the next transaction right behind the dot; the third message is one too many */
    converse(&plain, TURNS(EHLO, MAIL RCPT "DATA\r\n", BODY MAIL RCPT "DATA\r\n", BODY MAIL),
        "250 250 250 354 250 250 250 354 250 421", true);
    converse(&plain, TURNS(EHLO, MAIL "RSET\r\n" RCPT), "250 250 250 503", false);
    converse(&plain, TURNS(EHLO, MAIL RCPT, EHLO, RCPT), "250 250 250 250 503", false);
    converse(&plain, TURNS(EHLO, "MAIL FROM:<a@bad.test>\r\n" RCPT "DATA\r\n"), "250 550 503 503", false);
    converse(&plain, TURNS(EHLO, MAIL "RCPT TO:<u@bad.test>\r\nDATA\r\n"), "250 250 550 554", false);
    converse(&plain, TURNS(EHLO, MAIL RCPT RCPT RCPT RCPT "DATA\r\n", BODY),
        "250 250 250 250 250 452 354 250", false);
    converse(&plain, TURNS(EHLO, MAIL "DATA\r\n"), "250 250 503", false);
    converse(&plain, TURNS(EHLO, MAIL MAIL), "250 250 503", false);
    converse(&plain, TURNS(MAIL), "503", false);
}

static void
test_size(void **state)
{
    char body[3000];

    (void)state;
    converse(&plain, TURNS(EHLO, "MAIL FROM:<a@b.c> SIZE=1000\r\nRSET\r\nMAIL FROM:<a@b.c> SIZE=1001\r\n"),
        "250 250 250 552", false);
    memset(body, 'x', sizeof body);
    memcpy(body + 1200, "\r\n.\r\n", 6);
    converse(&plain, TURNS(EHLO, MAIL RCPT "DATA\r\n", body, "NOOP\r\n"), "250 250 250 354 552 250", false);
    memcpy(body + 998, "\r\n.\r\n", 6);
    converse(&plain, TURNS(EHLO, MAIL RCPT "DATA\r\n", body, "NOOP\r\n"), "250 250 250 354 250 250", false);
}

static void
test_body_reaches_sink(void **state)
{
    (void)state;
    for (size_t step = 0; step < 4; step++) {
        struct play p;

        begin(&p, &plain);
        turn(&p, SPAN_LIT(EHLO), step);
        turn(&p, SPAN_LIT(MAIL RCPT "RCPT TO:<\"q\"@Y.Z.>\r\nDATA\r\n"), step);
        turn(&p, SPAN_LIT("a\n.b\r\n..c\r\n.\r\n"), step);
        assert_string_equal(buf_span(&p.log).p, "mail:a@b.c rcpt:x@y.z rcpt:q@y.z data message:2 ");
        assert_string_equal(buf_span(&p.body).p, "a\r\n..b\r\n..c\r\n");
        end(&p);
    }
}

static void
test_stray_newlines(void **state)
{
    struct server_conf strict = plain;

    (void)state;
    strict.newline = BODY_REJECT;
    converse(&strict, TURNS(EHLO, MAIL RCPT "DATA\r\n", "a\n.\nMAIL FROM:<smuggled@x>\r\n.\r\n", "NOOP\r\n"),
        "250 250 250 354 554 250", false);
    /* in command lines */
    converse(&plain, TURNS(EHLO, "MAIL FROM:<a@b.c>\nRCPT TO:<x@y.z>\r\n"), "250 500", true);
    converse(&plain, TURNS(EHLO, "NOOP\n"), "250 500", true);
    converse(&plain, TURNS(EHLO, "RSET\rQUIT\r\n", "NOOP\r\n"), "250 500 250", false);
}

static void
test_nul_in_command(void **state)
{
    (void)state;
    for (size_t step = 0; step < 4; step++) {
        struct play p;

        begin(&p, &plain);
        turn(&p, SPAN_LIT(EHLO), step);
        turn(&p, SPAN_LIT("NOOP\0QUIT\r\nNOOP\r\n"), step);
        assert_string_equal(codes(&p), "250 500 250");
        assert_false(p.closed);
        end(&p);
    }
}

static void
test_lines(void **state)
{
    static char line[20000];

    (void)state;
    for (size_t n = 2040; n < 2055; n++) {
        memset(line, ' ', sizeof line);
        memcpy(line, "NOOP", 4);
        memcpy(line + n - 2, "\r\n", 3);
        converse(&plain, TURNS(EHLO, line, "NOOP\r\n"), n <= SERVER_LINE_MAX ? "250 250 250" : "250 500 250",
            false);
    }
    memset(line, 'x', sizeof line);
    memcpy(line + sizeof line - 10, "\r\nNOOP\r\n", 9);
    converse(&plain, TURNS(EHLO, line), "250 500 250", false);
    memcpy(line, "AUTH PLAIN ", 11);
    memset(line + 11, 'A', sizeof line - 11);
    memcpy(line + SERVER_AUTH_LINE_MAX - 2, "\r\n", 3);
    converse(&plain, TURNS(EHLO, line), "250 501", false);
    memset(line + 11, 'A', sizeof line - 11);
    memcpy(line + SERVER_AUTH_LINE_MAX - 1, "\r\n", 3);
    converse(&plain, TURNS(EHLO, line, "NOOP\r\n"), "250 500 250", false);
    memset(line, 'A', sizeof line);
    memcpy(line + SERVER_AUTH_LINE_MAX - 1, "\r\n", 3);
    converse(&plain, TURNS(EHLO, "AUTH PLAIN\r\n", line, "NOOP\r\n"), "250 334 500 250", false);
}

/* Only whole input shows what was sent too early: in pieces the machine cannot know. */
static void
test_early_talk(void **state)
{
    static const char *const early[] = {EHLO MAIL, EHLO "NOOP\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
        struct play p;

        begin(&p, &plain);
        turn(&p, span_str(early[i]), 0);
        assert_string_equal(codes(&p), "554");
        assert_true(p.closed);
        end(&p);
    }
    for (int later = 0; later < 2; later++) {
        struct play p;

        begin(&p, &plain);
        turn(&p, SPAN_LIT(EHLO), 0);
        if (later)
            turn(&p, SPAN_LIT(MAIL RCPT), 0);
        turn(&p, later ? SPAN_LIT("DATA\r\n" BODY) : SPAN_LIT("STARTTLS\r\nEHLO injected\r\n" MAIL), 0);
        assert_string_equal(codes(&p), later ? "250 250 250 554" : "250 554");
        assert_true(p.closed);
        end(&p);
    }
}

/* Bytes that come while DATA waits for its answer. */
static void
test_early_body(void **state)
{
    struct server s;
    struct buf out;
    size_t used;

    (void)state;
    buf_init(&out);
    server_init(&s, &plain);
    server_input(&s, SPAN_LIT(EHLO), &out, &used);
    assert_int_equal(server_input(&s, SPAN_LIT(MAIL), &out, &used), SERVER_DO_MAIL);
    server_answer(&s, NULL, &out);
    assert_int_equal(server_input(&s, SPAN_LIT(RCPT), &out, &used), SERVER_DO_RCPT);
    server_answer_recipient(&s, NULL, RECIPIENT_EXTERNAL, &out);
    assert_int_equal(server_input(&s, SPAN_LIT("DATA\r\n"), &out, &used), SERVER_DO_DATA);
    assert_int_equal(server_input(&s, SPAN_LIT("x"), &out, &used), SERVER_DO_CLOSE);
    assert_string_equal(s.why, "early-body");
    server_fini(&s);
    buf_fini(&out);
}

/* While somebody else decides, nothing is consumed. */
static void
test_waits(void **state)
{
    struct server s;
    struct buf out;
    size_t used;

    (void)state;
    buf_init(&out);
    server_init(&s, &plain);
    server_input(&s, SPAN_LIT(EHLO), &out, &used);
    buf_clear(&out);
    assert_int_equal(server_input(&s, SPAN_LIT(MAIL RCPT), &out, &used), SERVER_DO_MAIL);
    assert_int_equal(used, strlen(MAIL));
    assert_int_equal(buf_len(&out), 0);
    assert_int_equal(server_input(&s, SPAN_LIT(RCPT), &out, &used), SERVER_READ);
    assert_int_equal(used, 0);
    server_fini(&s);
    buf_fini(&out);
}

static void
test_tls(void **state)
{
    struct server_conf required = plain;
    struct play p;

    (void)state;
    required.tls_required = true;
    converse(
        &required, TURNS(EHLO, MAIL, "AUTH PLAIN\r\n", "NOOP\r\n", "QUIT\r\n"), "250 530 530 250 221", true);
    converse(&plain, TURNS(EHLO, "STARTTLS x\r\n", MAIL "STARTTLS\r\n"), "250 501 250 503", false);
    required.starttls = false;
    required.tls_required = false;
    converse(&required, TURNS(EHLO, "STARTTLS\r\n"), "250 502", false);
    begin(&p, &plain);
    turn(&p, SPAN_LIT(EHLO), 0);
    turn(&p, SPAN_LIT("AUTH PLAIN AHUAcmlnaHQ=\r\n"), 0);
    assert_true(p.server.authenticated);
    turn(&p, SPAN_LIT("STARTTLS\r\n"), 0);
    assert_true(p.tls_wanted);
    p.tls_wanted = false;
    server_secured(&p.server);
    assert_null(p.server.helo);
    assert_false(p.server.authenticated);
    buf_clear(&p.out);
    turn(&p, SPAN_LIT(MAIL), 0);
    turn(&p, SPAN_LIT(EHLO), 0);
    assert_int_equal(span_find_nocase(buf_span(&p.out), SPAN_LIT("STARTTLS")), -1);
    turn(&p, SPAN_LIT("STARTTLS\r\n"), 0);
    assert_string_equal(codes(&p), "503 250 503");
    end(&p);
}

static bool
offers(const struct server_conf *conf, const char *what)
{
    struct play p;
    bool found;

    begin(&p, conf);
    turn(&p, SPAN_LIT(EHLO), 0);
    found = span_find_nocase(buf_span(&p.out), span_str(what)) >= 0;
    end(&p);
    return found;
}

static void
test_offers(void **state)
{
    struct server_conf c = plain;

    (void)state;
    assert_true(offers(&c, "250-SIZE 1000\r\n"));
    assert_true(offers(&c, "PIPELINING") && offers(&c, "8BITMIME") && offers(&c, "ENHANCEDSTATUSCODES"));
    assert_true(offers(&c, "STARTTLS") && offers(&c, "AUTH PLAIN LOGIN"));
    assert_false(offers(&c, "SMTPUTF8") || offers(&c, "DSN") || offers(&c, "CHUNKING"));
    c.auth_without_tls = c.eightbitmime = c.starttls = false;
    assert_false(offers(&c, "AUTH") || offers(&c, "8BITMIME") || offers(&c, "STARTTLS"));
}

static void
test_auth(void **state)
{
    struct server_conf closed = plain;

    (void)state;
    /* \0u\0right, \0u\0wrong, a\0u\0right */
    converse(&plain, TURNS(EHLO, "AUTH PLAIN AHUAcmlnaHQ=\r\n", "AUTH PLAIN AHUAcmlnaHQ=\r\n"), "250 235 503",
        false);
    converse(&plain, TURNS(EHLO, "AUTH PLAIN\r\n", "AHUAcmlnaHQ=\r\n", EHLO, "RSET\r\n"),
        "250 334 235 250 250", false);
    converse(&plain, TURNS(EHLO, "AUTH LOGIN\r\n", "dQ==\r\n", "cmlnaHQ=\r\n"), "250 334 334 235", false);
    converse(&plain, TURNS(EHLO, "auth login dQ==\r\n", "cmlnaHQ=\r\n"), "250 334 235", false);
    converse(&plain, TURNS(EHLO, "AUTH LOGIN\r\ndQ==\r\ncmlnaHQ=\r\n"), "250 334 334 235", false);
    converse(&plain,
        TURNS(EHLO, "AUTH PLAIN AHUAd3Jvbmc=\r\n", "AUTH PLAIN YQB1AHJpZ2h0\r\n", "AUTH LOGIN\r\n",
            "dQ==\r\n", "dQ==\r\n"),
        "250 535 535 334 334 421", true);
    converse(
        &plain, TURNS(EHLO, "AUTH PLAIN =\r\n", "AUTH LOGIN =\r\n", "NOOP\r\n"), "250 501 501 250", false);
    converse(&plain, TURNS(EHLO, "AUTH PLAIN\r\n", "*\r\n", "AUTH PLAIN ****\r\n", "NOOP\r\n"),
        "250 334 501 501 250", false);
    converse(&plain, TURNS(EHLO, "AUTH PLAIN dQ==\r\n", "AUTH\r\n", "NOOP\r\n"), "250 501 501 250", false);
    converse(&plain, TURNS(EHLO, "AUTH CRAM-MD5\r\n", "AUTH XOAUTH2 dQ==\r\n"), "250 504 504", false);
    converse(&plain, TURNS(EHLO, MAIL "AUTH PLAIN AHUAcmlnaHQ=\r\n"), "250 250 503", false);
    converse(&plain, TURNS("AUTH PLAIN AHUAcmlnaHQ=\r\n", "HELO x\r\n", "AUTH PLAIN AHUAcmlnaHQ=\r\n"),
        "503 250 503", false);
    closed.auth_without_tls = false;
    converse(&closed, TURNS(EHLO, "AUTH PLAIN AHUAcmlnaHQ=\r\n", "AUTH LOGIN\r\n"), "250 538 538", false);
    closed.auth = false;
    converse(&closed, TURNS(EHLO, "AUTH PLAIN AHUAcmlnaHQ=\r\n"), "250 502", false);
}

static void
test_limits(void **state)
{
    struct play p;

    (void)state;
    converse(&plain, TURNS(EHLO, "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\n"), "250 500 500 500 500 421", true);
    converse(&plain, TURNS(EHLO, "NOOP\r\nRSET\r\nHELP\r\nVRFY a\r\nNOOP\r\nNOOP\r\nNOOP\r\n"),
        "250 250 250 214 252 250 421", true);
    converse(&plain,
        TURNS(EHLO,
            "MAIL FROM:<a@bad.test>\r\n"
            "MAIL FROM:<a@bad.test>\r\n"
            "MAIL FROM:<a@bad.test>\r\n"
            "MAIL FROM:<a@bad.test>\r\n"
            "MAIL FROM:<a@bad.test>\r\n"),
        "250 550 550 550 550 421", true);
    converse(&plain, TURNS(EHLO, HUGE HUGE HUGE HUGE HUGE), "250 552 552 552 552 421", true);
    begin(&p, &plain);
    turn(&p, SPAN_LIT(EHLO "X\r\nX\r\n"), 1);
    assert_int_equal(p.delays, 0);
    turn(&p, SPAN_LIT("X\r\nX\r\n"), 0);
    assert_int_equal(p.delays, 2);
    assert_int_equal(p.server.complaint.code, 500);
    end(&p);
}

/* Recipients over the limit are no junk: those before them still go. Then each command has one reply, the
 * last one too. */
static void
test_too_many_recipients(void **state)
{
    (void)state;
    for (unsigned n = SERVER_RCPT_EXCESS_MAX - 1; n <= SERVER_RCPT_EXCESS_MAX + 1; n++) {
        bool over = n > SERVER_RCPT_EXCESS_MAX;
        unsigned replies = 0, last = 0;
        struct span rest, line;
        struct play p;

        begin(&p, &plain);
        turn(&p, SPAN_LIT(EHLO), 0);
        turn(&p, SPAN_LIT(MAIL RCPT RCPT RCPT), 0);
        buf_clear(&p.out);
        for (unsigned i = 0; i < n; i++)
            turn(&p, SPAN_LIT(RCPT), 0);
        for (rest = buf_span(&p.out); rest.n > 0; replies++) {
            rest = span_cut(rest, '\n', &line);
            last = span_starts_nocase(line, SPAN_LIT("452 4.5.3")) ? 452 :
                span_starts_nocase(line, SPAN_LIT("421 4.7.0"))    ? 421 :
                                                                     0;
            assert_int_equal(last, over && rest.n == 0 ? 421 : 452);
        }
        assert_int_equal(replies, n);
        assert_int_equal(p.closed, over);
        buf_clear(&p.out);
        if (!over) {
            turn(&p, SPAN_LIT("DATA\r\n"), 0);
            turn(&p, SPAN_LIT(BODY MAIL RCPT RCPT RCPT RCPT), 0); /* a new transaction has its own */
            assert_string_equal(codes(&p), "354 250 250 250 250 250 452");
        }
        end(&p);
    }
}

static void
test_strangers(void **state)
{
    static const char *const first[] = {"GET / HTTP/1.1\r\n", "CONNECT x:25 HTTP/1.0\r\n", "SSH-2.0-x\r\n",
        "\x16\x03\x01\x02", "\x80\r\n", "\x01\x02\x03\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        converse(&plain, TURNS(first[i]), "", true);
    converse(&plain, TURNS(EHLO, "\xff\xfe\r\n", "NOOP\r\n"), "250 500 250", false);
    converse(&plain, TURNS(EHLO, "POST / HTTP/1.1\r\n"), "250", true);
    converse(&plain, TURNS(EHLO, "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "XCLIENT LOGIN=admin\r\n"),
        "250 500 502", false);
}

static void
test_bdat(void **state)
{
    static const char *const sizes[] = {
        "70 LAST", "0", "2147483648", "9223372036854775808 LAST", "-1", "70x", ""};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char line[100];

        snprintf(line, sizeof line, "BDAT %s\r\nMAIL FROM:<smuggled@x>\r\n", sizes[i]);
        converse(&plain, TURNS(EHLO, MAIL RCPT, line), "250 250 250 502", true);
    }
}

static void
test_helo(void **state)
{
    (void)state;
    converse(&plain, TURNS("EHLO\r\n", "EHLO a b\r\n"), "501 501", false);
    converse(&plain, TURNS("EHLO <script>\r\n", "EHLO \xc3\xa4\r\n", "HELO [::1]\r\n"), "501 501 250", false);
    converse(&plain, TURNS("ETRN x\r\n", "EXPN x\r\n"), "502 502", false);
}

/* ---- RFC 3461 ---- */

#define DSN_MAIL "MAIL FROM:<a@b.c> RET=HDRS ENVID=QQ+2B1\r\n"
#define DSN_RCPT "RCPT TO:<x@y.z> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+40y.z\r\n"

static void
test_dsn_offer(void **state)
{
    struct server_conf dsn = plain;

    (void)state;
    dsn.dsn = true;
    for (int offered = 0; offered < 2; offered++) {
        struct play p;

        begin(&p, offered ? &dsn : &plain);
        turn(&p, SPAN_LIT(EHLO), 0);
        assert_int_equal(span_find_nocase(buf_span(&p.out), SPAN_LIT("\r\n250-DSN\r\n")) >= 0, offered);
        end(&p);
    }
    converse(&plain, TURNS(EHLO, DSN_MAIL, MAIL DSN_RCPT), "250 555 250 555", false);
    converse(&dsn, TURNS("HELO me\r\n", DSN_MAIL, MAIL DSN_RCPT), "250 555 250 555", false);
    converse(&dsn, TURNS(EHLO, DSN_MAIL DSN_RCPT "DATA\r\n", BODY), "250 250 250 354 250", false);
    converse(&dsn,
        TURNS(EHLO, "MAIL FROM:<a@b.c> RET=ALL\r\n" MAIL "RCPT TO:<x@y.z> NOTIFY=\r\nDATA\r\n"),
        "250 501 250 501 554", false);
}

/* The three recipients keep what each was named with, and a refused one takes its own away. */
static void
test_dsn_envelope(void **state)
{
    struct server_conf dsn = plain;

    (void)state;
    dsn.dsn = true;
    for (size_t step = 0; step < 6; step++) {
        const struct envelope *e;
        struct play p;

        begin(&p, &dsn);
        turn(&p, SPAN_LIT(EHLO), step);
        turn(&p, SPAN_LIT(DSN_MAIL DSN_RCPT), step);
        turn(&p, SPAN_LIT("RCPT TO:<u@bad.test> NOTIFY=NEVER ORCPT=rfc822;u+40v\r\n"), step);
        turn(&p, SPAN_LIT("RCPT TO:<p@y.z>\r\nRCPT TO:<n@y.z> NOTIFY=NEVER\r\n"), step);
        assert_string_equal(codes(&p), "250 250 250 550 250 250");
        e = &p.server.tx->envelope;
        assert_int_equal(e->ret, RET_HDRS);
        assert_string_equal(e->envid, "QQ+2B1");
        assert_int_equal(e->n_recipients, 3);
        assert_int_equal(e->recipients[0].notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
        assert_string_equal(e->recipients[0].orcpt, "rfc822;X+40y.z");
        assert_int_equal(e->recipients[1].notify, 0);
        assert_null(e->recipients[1].orcpt);
        assert_int_equal(e->recipients[2].notify, NOTIFY_NEVER);
        assert_null(e->recipients[2].orcpt);
        end(&p); /* in the middle of the transaction */
    }
}

/* Whatever ends the transaction, nothing of it is in the next one, and nothing stays allocated. */
static void
test_dsn_dropped(void **state)
{
    static const char *const ends[] = {"RSET\r\n", EHLO};
    struct server_conf dsn = plain;

    (void)state;
    dsn.dsn = true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct play p;

        begin(&p, &dsn);
        turn(&p, SPAN_LIT(EHLO), 1);
        turn(&p, SPAN_LIT(DSN_MAIL DSN_RCPT), 1);
        turn(&p, span_str(ends[i]), 1);
        turn(&p, SPAN_LIT(MAIL RCPT), 1);
        assert_int_equal(p.server.tx->envelope.ret, RET_NONE);
        assert_null(p.server.tx->envelope.envid);
        assert_int_equal(p.server.tx->envelope.recipients[0].notify, 0);
        assert_null(p.server.tx->envelope.recipients[0].orcpt);
        end(&p);
    }
    converse(&dsn,
        TURNS(EHLO, "MAIL FROM:<a@bad.test> ENVID=x\r\n", "MAIL FROM:<a@b.c> ENVID=x SIZE=9999\r\n"),
        "250 550 552", false);
    converse(&dsn, TURNS(EHLO, DSN_MAIL DSN_RCPT "QUIT\r\n"), "250 250 250 221", true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_body_reaches_sink),
        cmocka_unit_test(test_stray_newlines),
        cmocka_unit_test(test_nul_in_command),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_early_talk),
        cmocka_unit_test(test_early_body),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_too_many_recipients),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_bdat),
        cmocka_unit_test(test_helo),
        cmocka_unit_test(test_dsn_offer),
        cmocka_unit_test(test_dsn_envelope),
        cmocka_unit_test(test_dsn_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
