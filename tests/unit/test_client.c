/* Unit tests of the client machine: each conversation is played whole, byte by byte and split at every
 * offset of every reply; drops, timeouts and codes out of place are tried in every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/smtp/client.h"

#define RECIPIENTS 3

/* One turn of a conversation. says NULL: not the peer speaks, but `event` happens. */
enum event { SAYS, SECURE, SEND, SENT, LOST, TIMEOUT, QUIT };
struct turn {
    enum event event;
    const char *says;
    enum client_do todo;
    const char *sends;
};

struct play {
    struct client_setup conf;
    struct client client;
    struct transaction tx;
    struct tx_recipient results[RECIPIENTS];
    struct buf out;
    size_t split; /* of each reply: 0 = whole, SIZE_MAX = byte by byte, else where */
};

static char sender_text[] = "app@contoso.com";
static struct address sender = {.text = sender_text, .domain_at = 4};
static char to_text[RECIPIENTS][8] = {"a@x.org", "b@x.org", "c@x.org"};
static const struct recipient to[RECIPIENTS] = {
    {.address = {.text = to_text[0], .domain_at = 2}},
    {.address = {.text = to_text[1], .domain_at = 2}},
    {.address = {.text = to_text[2], .domain_at = 2}},
};
static const struct recipient *const to_list[RECIPIENTS] = {&to[0], &to[1], &to[2]};

static void
play_init(struct play *p, enum client_tls tls, enum client_auth auth)
{
    *p = (struct play){
        .conf = {.hostname = "relay.test", .tls = tls, .auth = auth, .user = "user", .password = "pass word",
            .reply_ms = 60000, .data_ms = 120000, .dot_ms = 600000},
        .tx = {.sender = &sender, .recipients = to_list, .n_recipients = 1, .content_bytes = 1000},
    };
    buf_init(&p->out);
}

/* A fresh session, as after a connect. */
static void
play_start(struct play *p)
{
    buf_clear(&p->out);
    client_init(&p->client, &p->conf);
    assert_int_equal(client_on_connected(&p->client),
        p->conf.tls == CLIENT_TLS_IMPLICIT ? CLIENT_START_TLS : CLIENT_GO_ON);
}

/* Feeds bytes that the owner holds in a buffer until the machine takes them. */
static enum client_do
feed(struct play *p, const char *bytes, size_t n, size_t *held)
{
    enum client_do todo = CLIENT_GO_ON;
    size_t used = 1;

    while (todo == CLIENT_GO_ON && *held < n && used > 0) {
        todo = client_on_data(&p->client, span_of(bytes + *held, n - *held), &p->out, &used);
        *held += used;
    }
    return todo;
}

static enum client_do
say(struct play *p, const char *says)
{
    size_t n = strlen(says), held = 0;
    enum client_do todo = CLIENT_GO_ON;

    if (p->split == SIZE_MAX)
        for (size_t i = 1; i < n && todo == CLIENT_GO_ON; i++)
            todo = feed(p, says, i, &held);
    else if (p->split > 0 && p->split < n)
        todo = feed(p, says, p->split, &held);
    return todo == CLIENT_GO_ON ? feed(p, says, n, &held) : todo;
}

static enum client_do
happen(struct play *p, const struct turn *t)
{
    enum client_do todo = CLIENT_GO_ON;

    switch (t->event) {
    case SAYS:
        return say(p, t->says);
    case SECURE:
        return client_on_secure(&p->client, &p->out);
    case SEND:
        client_send(&p->client, &p->tx, p->results, &p->out);
        return todo;
    case SENT:
        client_body_sent(&p->client);
        return todo;
    case LOST:
        return client_on_lost(&p->client, "reset by peer");
    case TIMEOUT:
        return client_on_timeout(&p->client);
    case QUIT:
        client_quit(&p->client, &p->out);
        return todo;
    }
    return todo;
}

static void
play_turns(struct play *p, const struct turn *turns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_clear(&p->out);
        assert_int_equal(happen(p, &turns[i]), turns[i].todo);
        assert_string_equal(buf_len(&p->out) > 0 ? buf_span(&p->out).p : "", turns[i].sends);
    }
}

/* The whole conversation with every split; what it left is the same each time. */
static void
play_all(struct play *p, const struct turn *turns, size_t n)
{
    p->split = SIZE_MAX;
    play_start(p);
    play_turns(p, turns, n);
    for (p->split = 60; p->split-- > 0;) {
        play_start(p);
        play_turns(p, turns, n);
    }
    p->split = 0;
}

#define PLAY_ALL(p, turns) play_all(p, turns, sizeof(turns) / sizeof(*(turns)))
#define PLAY(p, turns) play_turns(p, turns, sizeof(turns) / sizeof(*(turns)))

#define MS_BEFORE \
    "250-SMTP.PROD.OUTLOOK.COM Hello\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-STARTTLS\r\n" \
    "250 8BITMIME\r\n"
#define MS_AFTER \
    "250-Hello\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-AUTH LOGIN XOAUTH2\r\n250 8BITMIME\r\n"

/* ---- login ---- */

static void
test_login_starttls(void **state)
{
    static const struct turn turns[] = {
        {SAYS, "220 ready\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, MS_BEFORE, CLIENT_GO_ON, "STARTTLS\r\n"},
        {SAYS, "220 2.0.0 go\r\n", CLIENT_START_TLS, ""},
        {SECURE, NULL, CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, MS_AFTER, CLIENT_GO_ON, "AUTH LOGIN\r\n"},
        {SAYS, "334 VXNlcm5hbWU6\r\n", CLIENT_GO_ON, "dXNlcg==\r\n"},
        {SAYS, "334 UGFzc3dvcmQ6\r\n", CLIENT_GO_ON, "cGFzcyB3b3Jk\r\n"},
        {SAYS, "235 2.7.0 ok\r\n", CLIENT_IS_READY, ""},
        {QUIT, NULL, CLIENT_GO_ON, "QUIT\r\n"},
        {SAYS, "221 bye\r\n", CLIENT_CLOSE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_STARTTLS, CLIENT_AUTH_PLAIN);
    PLAY_ALL(&p, turns);
    assert_true(p.client.ehlo.size && p.client.ehlo.pipelining && p.client.ehlo.eightbitmime);
    assert_false(p.client.ehlo.starttls); /* of the EHLO before TLS nothing is left */
    buf_fini(&p.out);
}

static void
test_login_plain(void **state)
{
    static const struct turn turns[] = {
        {SECURE, NULL, CLIENT_GO_ON, ""},
        {SAYS, "220-a\r\n220 b\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250 AUTH LOGIN PLAIN\r\n", CLIENT_GO_ON, "AUTH PLAIN AHVzZXIAcGFzcyB3b3Jk\r\n"},
        {SAYS, "235 ok\r\n", CLIENT_IS_READY, ""},
    };
    static const struct turn challenged[] = {
        {SECURE, NULL, CLIENT_GO_ON, ""},
        {SAYS, "220 b\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250 AUTH PLAIN\r\n", CLIENT_GO_ON, "AUTH PLAIN AHVzZXIAcGFzcyB3b3Jk\r\n"},
        {SAYS, "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n", CLIENT_GO_ON, "*\r\n"},
        {SAYS, "535 5.7.3 Authentication unsuccessful\r\n", CLIENT_FAILED, ""},
        {QUIT, NULL, CLIENT_GO_ON, "QUIT\r\n"},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_IMPLICIT, CLIENT_AUTH_PLAIN);
    PLAY_ALL(&p, turns);
    PLAY_ALL(&p, challenged);
    assert_int_equal(p.client.outcome.phase, TX_AUTH);
    assert_int_equal(p.client.outcome.reply.code, 535);
    assert_int_equal(p.client.outcome.reply.enhanced.detail, 3);
    buf_fini(&p.out);
}

/* A long initial response waits for 334. */
static void
test_login_long_password(void **state)
{
    char password[501];
    struct play p;
    struct turn turns[] = {
        {SAYS, "220 b\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250 AUTH PLAIN\r\n", CLIENT_GO_ON, "AUTH PLAIN\r\n"},
    };

    (void)state;
    memset(password, 'a', 500);
    password[500] = '\0';
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_LOGIN);
    p.conf.password = password;
    play_start(&p);
    PLAY(&p, turns);
    buf_clear(&p.out);
    assert_int_equal(say(&p, "334 \r\n"), CLIENT_GO_ON);
    assert_int_equal(buf_len(&p.out), (506 + 2) / 3 * 4 + 2);
    assert_int_equal(say(&p, "235 ok\r\n"), CLIENT_IS_READY);
    buf_fini(&p.out);
}

static void
test_helo_only_without_tls(void **state)
{
    static const struct turn falls_back[] = {
        {SAYS, "220 old\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "502 what?\r\n", CLIENT_GO_ON, "HELO relay.test\r\n"},
        {SAYS, "250 fine\r\n", CLIENT_IS_READY, ""},
    };
    static const struct turn does_not[] = {
        {SAYS, "220 old\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "502 what?\r\n", CLIENT_FAILED, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    PLAY_ALL(&p, falls_back);
    p.conf.tls = CLIENT_TLS_STARTTLS;
    PLAY_ALL(&p, does_not);
    assert_int_equal(p.client.outcome.phase, TX_CONNECT);
    buf_fini(&p.out);
}

/* Whatever is said instead of offering or allowing TLS: no credentials, no envelope in clear. */
static void
test_tls_is_never_given_up(void **state)
{
    static const char *const answers[] = {"454 later\r\n", "500 no\r\n", "221 bye\r\n", "354 go\r\n",
        "421 bye\r\n", "250 ok\r\n", "junk\r\n", "220 2.0.0 go\r\n250-evil\r\n250 AUTH PLAIN\r\n235 ok\r\n",
        "220 go\r\nx"};
    static const struct turn stripped[] = {
        {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250 AUTH LOGIN PLAIN\r\n", CLIENT_FAILED, ""},
    };
    static const struct turn offered[] = {
        {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250-STARTTLS\r\n250 AUTH LOGIN PLAIN\r\n", CLIENT_GO_ON, "STARTTLS\r\n"},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_STARTTLS, CLIENT_AUTH_PLAIN);
    PLAY_ALL(&p, stripped);
    assert_int_equal(p.client.outcome.phase, TX_TLS);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        play_start(&p);
        PLAY(&p, offered);
        buf_clear(&p.out);
        assert_int_equal(say(&p, answers[i]), CLIENT_FAILED);
        assert_int_equal(p.client.outcome.phase, TX_TLS);
        assert_int_equal(buf_len(&p.out), 0);
    }
    play_start(&p);
    PLAY(&p, offered);
    assert_int_equal(say(&p, "220 go\r\n"), CLIENT_START_TLS);
    assert_int_equal(client_on_lost(&p.client, "certificate has expired"), CLIENT_FAILED);
    assert_int_equal(p.client.outcome.phase, TX_TLS);
    assert_string_equal(p.client.outcome.detail, "TLS handshake: certificate has expired");
    buf_fini(&p.out);
}

static void
test_auth_not_offered(void **state)
{
    static const struct turn turns[] = {
        {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, "250-x\r\n250 AUTH NTLM XOAUTH2\r\n", CLIENT_FAILED, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_LOGIN);
    PLAY_ALL(&p, turns);
    assert_int_equal(p.client.outcome.phase, TX_AUTH);
    buf_fini(&p.out);
}

/* Each way a session can fail to come to be, in each state of the login. */
static void
test_login_breaks(void **state)
{
    static const struct turn turns[] = {
        {SAYS, "220 ready\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, MS_BEFORE, CLIENT_GO_ON, "STARTTLS\r\n"},
        {SAYS, "220 2.0.0 go\r\n", CLIENT_START_TLS, ""},
        {SECURE, NULL, CLIENT_GO_ON, "EHLO relay.test\r\n"},
        {SAYS, MS_AFTER, CLIENT_GO_ON, "AUTH LOGIN\r\n"},
        {SAYS, "334 VXNlcm5hbWU6\r\n", CLIENT_GO_ON, "dXNlcg==\r\n"},
        {SAYS, "334 UGFzc3dvcmQ6\r\n", CLIENT_GO_ON, "cGFzcyB3b3Jk\r\n"},
    };
    static const struct turn ways[] = {{LOST, NULL, CLIENT_FAILED, ""}, {TIMEOUT, NULL, CLIENT_FAILED, ""},
        {SAYS, "421 4.3.2 closing\r\n", CLIENT_FAILED, ""}, {SAYS, "999 x\r\n", CLIENT_FAILED, ""},
        {SAYS, "250 2.0.0 what\r\n", CLIENT_FAILED, ""}, {SAYS, "550 2.0.0 x\r\n", CLIENT_FAILED, ""}};
    static const enum tx_phase phases[] = {TX_CONNECT, TX_CONNECT, TX_TLS, TX_TLS, TX_CONNECT, TX_AUTH,
        TX_AUTH, TX_AUTH};
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_STARTTLS, CLIENT_AUTH_LOGIN);
    for (size_t way = 0; way < sizeof(ways) / sizeof(*ways); way++)
        for (size_t n = 0; n <= sizeof(turns) / sizeof(*turns); n++) {
            play_start(&p);
            play_turns(&p, turns, n);
            if (ways[way].event == SAYS && p.client.state == CLIENT_HANDSHAKE)
                continue;
            if (way == 4 && p.client.state == CLIENT_EHLO)
                continue; /* may be answered 250 */
            play_turns(&p, &ways[way], 1);
            assert_int_equal(p.client.outcome.phase, phases[n]);
            assert_int_not_equal(p.client.outcome.detail[0], '\0');
            assert_int_equal(p.client.outcome.reply.code, way == 2 ? 421 : 0);
        }
    buf_fini(&p.out);
}

/* ---- transactions ---- */

#define LOGIN_PIPELINING \
    {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"}, \
    {SAYS, "250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n", CLIENT_IS_READY, ""}
#define LOGIN_BARE \
    {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"}, \
    {SAYS, "250 x\r\n", CLIENT_IS_READY, ""}
#define MAIL "MAIL FROM:<app@contoso.com> SIZE=1000\r\n"
#define RCPT_A "RCPT TO:<a@x.org>\r\n"
#define RCPT_B "RCPT TO:<b@x.org>\r\n"
#define RCPT_C "RCPT TO:<c@x.org>\r\n"

static void
check_fate(const struct play *p, size_t i, enum tx_fate fate, int code)
{
    assert_int_equal(p->results[i].fate, fate);
    assert_int_equal(p->results[i].reply.code, code);
}

static void
test_pipelined(void **state)
{
    static const struct turn turns[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "250 2.0.0 queued as 1\r\n", CLIENT_TX_DONE, ""},
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 ok\r\n250 ok\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "250 2.0.0 queued as 2\r\n", CLIENT_TX_DONE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.all_or_nothing = true;
    PLAY_ALL(&p, turns);
    assert_int_equal(p.client.state, CLIENT_READY);
    assert_int_equal(p.client.uses, 2);
    assert_int_equal(p.client.outcome.phase, TX_DOT);
    assert_true(p.client.outcome.offered);
    assert_false(p.client.outcome.lost);
    check_fate(&p, 0, TX_ACCEPTED, 250);
    assert_string_equal(p.results[0].reply.text, "queued as 2");
    buf_fini(&p.out);
}

static void
test_lockstep(void **state)
{
    static const struct turn turns[] = {
        LOGIN_BARE,
        {SEND, NULL, CLIENT_GO_ON, "MAIL FROM:<app@contoso.com>\r\n"},
        {SAYS, "250 ok\r\n", CLIENT_GO_ON, RCPT_A},
        {SAYS, "250 ok\r\n", CLIENT_GO_ON, RCPT_B},
        {SAYS, "251 will forward\r\n", CLIENT_GO_ON, RCPT_C},
        {SAYS, "250 ok\r\n", CLIENT_GO_ON, "DATA\r\n"},
        {SAYS, "354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "250-a\r\n250 b\r\n", CLIENT_TX_DONE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 3;
    p.tx.body_type = SMTP_BODY_8BITMIME; /* not offered: not said */
    PLAY_ALL(&p, turns);
    for (size_t i = 0; i < 3; i++)
        check_fate(&p, i, TX_ACCEPTED, 250);
    buf_fini(&p.out);
}

static void
test_body_8bit_said_when_offered(void **state)
{
    static const struct turn turns[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON,
            "MAIL FROM:<app@contoso.com> SIZE=1000 BODY=8BITMIME\r\n" RCPT_A "DATA\r\n"},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.body_type = SMTP_BODY_8BITMIME;
    PLAY_ALL(&p, turns);
    buf_fini(&p.out);
}

/* ---- RFC 3461 ---- */

#define LOGIN_DSN \
    {SAYS, "220 x\r\n", CLIENT_GO_ON, "EHLO relay.test\r\n"}, \
    {SAYS, "250-x\r\n250-PIPELINING\r\n250 dsn\r\n", CLIENT_IS_READY, ""}

static void
play_dsn(struct play *p, const struct recipient *const *recipients, enum dsn_ret ret, const char *envid)
{
    play_init(p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p->tx.recipients = recipients;
    p->tx.n_recipients = 2;
    p->tx.ret = ret;
    p->tx.envid = envid;
}

static void
test_dsn_said_when_offered(void **state)
{
    static char orcpt[] = "rfc822;A+2B1@x.org";
    static const struct recipient a = {{to_text[0], 2}, RECIPIENT_EXTERNAL,
        NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, orcpt};
    static const struct recipient b = {{to_text[1], 2}, RECIPIENT_EXTERNAL, NOTIFY_NEVER, NULL};
    static const struct recipient *const list[] = {&a, &b};
    static const struct turn offered[] = {
        LOGIN_DSN,
        {SEND, NULL, CLIENT_GO_ON,
            "MAIL FROM:<app@contoso.com> RET=FULL ENVID=QQ+2B1\r\n"
            "RCPT TO:<a@x.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;A+2B1@x.org\r\n"
            "RCPT TO:<b@x.org> NOTIFY=NEVER\r\nDATA\r\n"},
    };
    static const struct turn not_offered[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B "DATA\r\n"},
    };
    struct play p;

    (void)state;
    play_dsn(&p, list, RET_FULL, "QQ+2B1");
    PLAY_ALL(&p, offered);
    PLAY_ALL(&p, not_offered);
    buf_fini(&p.out);
}

/* What was not given is not made up. */
static void
test_dsn_partly(void **state)
{
    static const struct recipient a = {{to_text[0], 2}, RECIPIENT_EXTERNAL, NOTIFY_DELAY, NULL};
    static const struct recipient *const list[] = {&a, &to[1]};
    static const struct turn hdrs[] = {
        LOGIN_DSN,
        {SEND, NULL, CLIENT_GO_ON,
            "MAIL FROM:<app@contoso.com> RET=HDRS\r\nRCPT TO:<a@x.org> NOTIFY=DELAY\r\n" RCPT_B
            "DATA\r\n"},
    };
    static const struct turn nothing[] = {
        LOGIN_DSN,
        {SEND, NULL, CLIENT_GO_ON,
            "MAIL FROM:<app@contoso.com>\r\nRCPT TO:<a@x.org> NOTIFY=DELAY\r\n" RCPT_B "DATA\r\n"},
    };
    struct play p;

    (void)state;
    play_dsn(&p, list, RET_HDRS, NULL);
    PLAY_ALL(&p, hdrs);
    p.tx.ret = RET_NONE;
    PLAY_ALL(&p, nothing);
    buf_fini(&p.out);
}

/* A command line has 512 bytes, and what RFC 3461 adds: 500 for ORCPT, 100 for ENVID, and their names. */
static void
test_dsn_longest(void **state)
{
    static char from[ADDRESS_TEXT_MAX + 1], envid[101], orcpt[501];
    static const struct address longest = {from, 2};
    static const struct recipient r = {{from, 2}, RECIPIENT_EXTERNAL,
        NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, orcpt};
    static const struct recipient *const list[] = {&r, &r};
    struct span rest, line;
    struct play p;

    (void)state;
    memset(from, 'x', sizeof(from) - 1);
    memset(envid, 'x', sizeof(envid) - 1);
    memset(orcpt, 'x', sizeof(orcpt) - 1);
    play_dsn(&p, list, RET_FULL, envid);
    p.tx.sender = &longest;
    p.tx.content_bytes = UINT64_MAX;
    p.tx.body_type = SMTP_BODY_8BITMIME;
    play_start(&p);
    say(&p, "220 x\r\n");
    say(&p, "250-x\r\n250-SIZE\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 DSN\r\n");
    buf_clear(&p.out);
    client_send(&p.client, &p.tx, p.results, &p.out);
    rest = span_cut(buf_span(&p.out), '\n', &line);
    assert_in_range(line.n + 1, 400, 512 + 107);
    span_cut(rest, '\n', &line);
    assert_in_range(line.n + 1, 800, 512 + 500);
    buf_fini(&p.out);
}

/* Each recipient keeps its own fate. */
static void
test_mixed(void **state)
{
    static const struct turn turns[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B RCPT_C "DATA\r\n"},
        {SAYS, "250 ok\r\n450 4.2.1 later\r\n250 ok\r\n550 5.1.1 never\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "250 done\r\n", CLIENT_TX_DONE, ""},
    };
    static const struct turn refused_dot[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B RCPT_C "DATA\r\n"},
        {SAYS, "250 ok\r\n450 4.2.1 later\r\n250 ok\r\n550 5.1.1 never\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "554 5.6.0 no\r\n", CLIENT_TX_DONE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 3;
    PLAY_ALL(&p, turns);
    check_fate(&p, 0, TX_REFUSED_FOR_NOW, 450);
    check_fate(&p, 1, TX_ACCEPTED, 250);
    check_fate(&p, 2, TX_REFUSED_FOR_GOOD, 550);
    assert_int_equal(p.client.outcome.reply.code, 250);
    PLAY_ALL(&p, refused_dot);
    check_fate(&p, 0, TX_REFUSED_FOR_NOW, 450);
    check_fate(&p, 1, TX_REFUSED_FOR_GOOD, 554);
    check_fate(&p, 2, TX_REFUSED_FOR_GOOD, 550);
    assert_int_equal(p.client.outcome.reply.code, 554);
    buf_fini(&p.out);
}

static void
test_all_or_nothing(void **state)
{
    static const struct turn one_refused[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B RCPT_C},
        {SAYS, "250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n", CLIENT_TX_DONE, "RSET\r\n"},
        {SAYS, "250 reset\r\n", CLIENT_IS_READY, ""},
    };
    static const struct turn all_fine[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B RCPT_C},
        {SAYS, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n", CLIENT_GO_ON, "DATA\r\n"},
        {SAYS, "354 go\r\n", CLIENT_SEND_BODY, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 3;
    p.tx.all_or_nothing = true;
    PLAY_ALL(&p, one_refused);
    check_fate(&p, 0, TX_REFUSED_FOR_NOW, 250);
    check_fate(&p, 1, TX_REFUSED_FOR_GOOD, 550);
    check_fate(&p, 2, TX_REFUSED_FOR_NOW, 250);
    assert_int_equal(p.client.outcome.phase, TX_RCPT);
    assert_int_equal(p.client.outcome.reply.code, 550);
    PLAY_ALL(&p, all_fine);
    buf_fini(&p.out);
}

/* RFC 2920 section 3.1: DATA was pipelined and is answered 354 although nobody is to receive. */
static void
test_lone_dot(void **state)
{
    static const struct turn refused[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 ok\r\n550 5.1.1 no\r\n354 go\r\n", CLIENT_GO_ON, ".\r\n"},
        {SAYS, "250 queued nothing\r\n", CLIENT_TX_DONE, ""},
    };
    static const struct turn mail_refused[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "452 4.3.1 full\r\n503 5.5.1 no MAIL\r\n354 go\r\n", CLIENT_GO_ON, ".\r\n"},
        {LOST, NULL, CLIENT_TX_DONE, ""},
    };
    static const struct turn normal[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 ok\r\n550 5.1.1 no\r\n554 no valid recipients\r\n", CLIENT_TX_DONE, "RSET\r\n"},
        {SAYS, "250 ok\r\n", CLIENT_IS_READY, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    PLAY_ALL(&p, refused);
    check_fate(&p, 0, TX_REFUSED_FOR_GOOD, 550);
    assert_int_equal(p.client.outcome.reply.code, 550);
    assert_int_equal(p.client.outcome.phase, TX_RCPT);
    assert_int_equal(p.client.state, CLIENT_READY);
    PLAY_ALL(&p, mail_refused);
    check_fate(&p, 0, TX_REFUSED_FOR_NOW, 452);
    assert_int_equal(p.client.state, CLIENT_OVER);
    PLAY_ALL(&p, normal);
    check_fate(&p, 0, TX_REFUSED_FOR_GOOD, 550);
    assert_int_equal(p.client.outcome.reply.code, 550);
    buf_fini(&p.out);
}

/* Nobody is to receive: no DATA, and the transaction is undone. */
static void
test_all_refused_in_lockstep(void **state)
{
    static const struct turn turns[] = {
        LOGIN_BARE,
        {SEND, NULL, CLIENT_GO_ON, "MAIL FROM:<app@contoso.com>\r\n"},
        {SAYS, "250 ok\r\n", CLIENT_GO_ON, RCPT_A},
        {SAYS, "550 5.1.1 never\r\n", CLIENT_GO_ON, RCPT_B},
        {SAYS, "450 4.2.1 later\r\n", CLIENT_TX_DONE, "RSET\r\n"},
        {SAYS, "250 ok\r\n", CLIENT_IS_READY, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 2;
    PLAY_ALL(&p, turns);
    check_fate(&p, 0, TX_REFUSED_FOR_GOOD, 550);
    check_fate(&p, 1, TX_REFUSED_FOR_NOW, 450);
    assert_int_equal(p.client.outcome.reply.code, 550);
    buf_fini(&p.out);
}

static void
test_mail_refused_in_lockstep(void **state)
{
    static const struct turn turns[] = {
        LOGIN_BARE,
        {SEND, NULL, CLIENT_GO_ON, "MAIL FROM:<app@contoso.com>\r\n"},
        {SAYS, "550 5.7.708 Service unavailable. Access denied\r\n", CLIENT_TX_DONE, ""},
        {SEND, NULL, CLIENT_GO_ON, "MAIL FROM:<app@contoso.com>\r\n"},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 2;
    PLAY_ALL(&p, turns);
    buf_fini(&p.out);
}

static void
test_data_refused(void **state)
{
    static const struct turn turns[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B "DATA\r\n"},
        {SAYS, "250 ok\r\n250 ok\r\n450 4.1.1 no\r\n451 4.7.500 busy\r\n", CLIENT_TX_DONE, "RSET\r\n"},
        {SAYS, "500 what\r\n", CLIENT_CLOSE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    p.tx.n_recipients = 2;
    PLAY_ALL(&p, turns);
    check_fate(&p, 0, TX_REFUSED_FOR_NOW, 451);
    check_fate(&p, 1, TX_REFUSED_FOR_NOW, 450);
    assert_int_equal(p.client.outcome.phase, TX_DATA);
    assert_int_equal(p.client.outcome.reply.code, 451);
    buf_fini(&p.out);
}

static void
test_refused_in_the_body(void **state)
{
    static const struct turn turns[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 ok\r\n250 ok\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SAYS, "552 5.3.4 too big\r\n", CLIENT_TX_DONE, ""},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    PLAY_ALL(&p, turns);
    check_fate(&p, 0, TX_REFUSED_FOR_GOOD, 552);
    assert_int_equal(p.client.state, CLIENT_OVER);
    assert_int_equal(p.client.outcome.phase, TX_BODY);
    assert_false(p.client.outcome.lost);
    buf_fini(&p.out);
}

/* ---- breaks ---- */

/* The transaction with three recipients and DATA pipelined, up to each of its states. */
static const struct turn stages[] = {
    LOGIN_PIPELINING,
    {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A RCPT_B RCPT_C "DATA\r\n"},
    {SAYS, "250 ok\r\n", CLIENT_GO_ON, ""},
    {SAYS, "250 ok\r\n", CLIENT_GO_ON, ""},
    {SAYS, "550 5.1.1 no\r\n", CLIENT_GO_ON, ""},
    {SAYS, "250 ok\r\n", CLIENT_GO_ON, ""},
    {SAYS, "354 go\r\n", CLIENT_SEND_BODY, ""},
    {SENT, NULL, CLIENT_GO_ON, ""},
};
#define FIRST_STAGE 3
#define LAST_STAGE (sizeof(stages) / sizeof(*stages))
static const enum tx_phase stage_phases[] = {0, 0, 0, TX_MAIL, TX_RCPT, TX_RCPT, TX_RCPT, TX_DATA, TX_BODY,
    TX_DOT};

static void
play_to_stage(struct play *p, size_t stage)
{
    p->tx.n_recipients = 3;
    play_start(p);
    play_turns(p, stages, stage);
}

static void
check_lost(struct play *p, size_t stage)
{
    enum tx_fate fate = stage == LAST_STAGE ? TX_UNCERTAIN : TX_REFUSED_FOR_NOW;

    assert_int_equal(p->client.outcome.phase, stage_phases[stage]);
    assert_true(p->client.outcome.lost);
    assert_false(p->client.outcome.lost_on_reuse);
    assert_int_equal(p->client.outcome.reply.code, 0);
    assert_int_equal(p->client.state, CLIENT_OVER);
    check_fate(p, 0, fate, 0);
    check_fate(p, 1, stage > 5 ? TX_REFUSED_FOR_GOOD : TX_REFUSED_FOR_NOW, stage > 5 ? 550 : 0);
    check_fate(p, 2, fate, 0);
}

static void
test_lost_in_every_state(void **state)
{
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    for (size_t stage = FIRST_STAGE; stage <= LAST_STAGE; stage++) {
        play_to_stage(&p, stage);
        assert_int_equal(client_on_lost(&p.client, "closed by peer"), CLIENT_TX_DONE);
        check_lost(&p, stage);
        play_to_stage(&p, stage);
        assert_int_equal(client_on_timeout(&p.client), CLIENT_TX_DONE);
        check_lost(&p, stage);
        /* half a reply, then the end: "250 ok" without its CRLF is no success */
        play_to_stage(&p, stage);
        assert_int_equal(say(&p, "250-x\r\n250 ok"), CLIENT_GO_ON);
        assert_int_equal(client_on_lost(&p.client, "closed by peer"), CLIENT_TX_DONE);
        check_lost(&p, stage);
    }
    buf_fini(&p.out);
}

static void
test_bad_codes_in_every_state(void **state)
{
    static const char *const bad[] = {"999 x\r\n", "099 x\r\n", "25\r\n", "2500\r\n", "250x\r\n", "-1\r\n",
        "\r\n", "334 x\r\n", "550 2.0.0 x\r\n", "250-a\r\n251 b\r\n", "451 2.0.0 x\r\n"};
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    for (size_t stage = FIRST_STAGE; stage <= LAST_STAGE; stage++)
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad) + 1; i++) {
            /* last: the code that is right elsewhere and wrong here */
            enum tx_phase phase = stage_phases[stage];
            const char *misplaced = phase == TX_DATA || phase == TX_BODY ? "250 x\r\n" : "354 x\r\n";

            play_to_stage(&p, stage);
            assert_int_equal(say(&p, i < sizeof(bad) / sizeof(*bad) ? bad[i] : misplaced), CLIENT_TX_DONE);
            check_lost(&p, stage);
        }
    buf_fini(&p.out);
}

static void
test_421_in_every_state(void **state)
{
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    for (size_t stage = FIRST_STAGE; stage <= LAST_STAGE; stage++) {
        play_to_stage(&p, stage);
        assert_int_equal(say(&p, "421 4.3.2 closing\r\n"), CLIENT_TX_DONE);
        assert_false(p.client.outcome.lost);
        assert_int_equal(p.client.state, CLIENT_OVER);
        assert_int_equal(p.client.outcome.reply.code, 421);
        check_fate(&p, 0, TX_REFUSED_FOR_NOW, 421);
        check_fate(&p, 1, stage > 5 ? TX_REFUSED_FOR_GOOD : TX_REFUSED_FOR_NOW, stage > 5 ? 550 : 421);
        check_fate(&p, 2, TX_REFUSED_FOR_NOW, 421);
    }
    buf_fini(&p.out);
}

static void
test_lost_on_reuse(void **state)
{
    static const struct turn first[] = {
        LOGIN_PIPELINING,
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
        {SAYS, "250 ok\r\n250 ok\r\n354 go\r\n", CLIENT_SEND_BODY, ""},
        {SENT, NULL, CLIENT_GO_ON, ""},
        {SAYS, "250 ok\r\n", CLIENT_TX_DONE, ""},
        {SEND, NULL, CLIENT_GO_ON, MAIL RCPT_A "DATA\r\n"},
    };
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    play_start(&p);
    PLAY(&p, first);
    assert_int_equal(client_on_lost(&p.client, "reset"), CLIENT_TX_DONE);
    assert_true(p.client.outcome.lost_on_reuse);
    play_start(&p);
    PLAY(&p, first);
    assert_int_equal(say(&p, "2"), CLIENT_GO_ON); /* it lived: this was an answer */
    assert_int_equal(client_on_lost(&p.client, "reset"), CLIENT_TX_DONE);
    assert_false(p.client.outcome.lost_on_reuse);
    play_start(&p);
    PLAY(&p, first);
    assert_int_equal(client_on_timeout(&p.client), CLIENT_TX_DONE);
    assert_false(p.client.outcome.lost_on_reuse);
    buf_fini(&p.out);
}

/* A flood of continuation lines ends at the bound, a line without end at the line's. */
static void
test_floods(void **state)
{
    char line[512];
    struct play p;
    enum client_do todo = CLIENT_GO_ON;
    size_t fed = 0;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    play_to_stage(&p, LAST_STAGE);
    memset(line, 'x', sizeof(line));
    memcpy(line, "250-", 4);
    memcpy(line + sizeof(line) - 3, "\r\n", 3);
    while (todo == CLIENT_GO_ON && fed < 1000000) {
        todo = say(&p, line);
        fed += sizeof(line) - 1;
    }
    assert_int_equal(todo, CLIENT_TX_DONE);
    assert_true(fed <= REPLY_TOTAL_MAX + sizeof(line));
    check_lost(&p, LAST_STAGE);
    buf_fini(&p.out);
}

static void
test_idle(void **state)
{
    static const struct turn login[] = {LOGIN_PIPELINING};
    struct play p;

    (void)state;
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    play_start(&p);
    PLAY(&p, login);
    assert_int_equal(client_wait_ms(&p.client), -1);
    assert_int_equal(say(&p, "421 4.4.2 idle\r\n"), CLIENT_CLOSE);
    play_start(&p);
    PLAY(&p, login);
    assert_int_equal(client_on_lost(&p.client, "closed by peer"), CLIENT_CLOSE);
    buf_fini(&p.out);
}

/* With many recipients the group in flight is bounded, and all are asked in the end. */
static void
test_many_recipients(void **state)
{
    static const struct turn login[] = {LOGIN_PIPELINING};
    enum { MANY = 5000 };
    static const struct recipient *list[MANY];
    static struct tx_recipient results[MANY];
    size_t asked = 0, largest = 0;
    struct play p;
    enum client_do todo = CLIENT_GO_ON;

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        list[i] = &to[i % RECIPIENTS];
    play_init(&p, CLIENT_TLS_OFF, CLIENT_AUTH_NONE);
    play_start(&p);
    PLAY(&p, login);
    p.tx.recipients = list;
    p.tx.n_recipients = MANY;
    buf_clear(&p.out);
    client_send(&p.client, &p.tx, results, &p.out);
    todo = say(&p, "250 ok\r\n");
    while (todo == CLIENT_GO_ON && asked < MANY) {
        if (buf_len(&p.out) > largest)
            largest = buf_len(&p.out);
        buf_clear(&p.out);
        todo = say(&p, asked++ % 2 == 0 ? "250 ok\r\n" : "550 no\r\n");
    }
    assert_int_equal(todo, CLIENT_GO_ON);
    assert_int_equal(say(&p, "354 go\r\n"), CLIENT_SEND_BODY);
    assert_true(largest < 20000);
    assert_int_equal(results[MANY - 1].fate, TX_REFUSED_FOR_GOOD);
    assert_int_equal(results[MANY - 2].fate, TX_ACCEPTED);
    buf_fini(&p.out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_starttls),
        cmocka_unit_test(test_login_plain),
        cmocka_unit_test(test_login_long_password),
        cmocka_unit_test(test_helo_only_without_tls),
        cmocka_unit_test(test_tls_is_never_given_up),
        cmocka_unit_test(test_auth_not_offered),
        cmocka_unit_test(test_login_breaks),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_lockstep),
        cmocka_unit_test(test_body_8bit_said_when_offered),
        cmocka_unit_test(test_dsn_said_when_offered),
        cmocka_unit_test(test_dsn_partly),
        cmocka_unit_test(test_dsn_longest),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_lone_dot),
        cmocka_unit_test(test_all_refused_in_lockstep),
        cmocka_unit_test(test_mail_refused_in_lockstep),
        cmocka_unit_test(test_data_refused),
        cmocka_unit_test(test_refused_in_the_body),
        cmocka_unit_test(test_lost_in_every_state),
        cmocka_unit_test(test_bad_codes_in_every_state),
        cmocka_unit_test(test_421_in_every_state),
        cmocka_unit_test(test_lost_on_reuse),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_many_recipients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
