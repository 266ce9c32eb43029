#include "tests/lib/smtp_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "relay/base/xmalloc.h"

enum peer_state { PEER_COMMAND, PEER_USER, PEER_PASSWORD, PEER_BODY };

struct peer_conn {
    struct peer *peer;
    struct stream *stream;
    enum peer_state state;
    bool body_begun;
    struct corpse corpse;
    unsigned place;
};

static const char *const steps[PEER_STEPS] = {"connect", "EHLO", "HELO", "STARTTLS", "AUTH", "user",
    "password", "MAIL", "RCPT", "DATA", "body", "dot", "RSET", "QUIT", "NOOP", "other"};

static unsigned
step_index(const char *step)
{
    unsigned i = 0;

    while (i < PEER_STEPS - 1 && strcmp(steps[i], step) != 0)
        i++;
    return i;
}

unsigned
peer_count(const struct peer *p, const char *step)
{
    return p->counts[step_index(step)];
}

int
peer_unread(const struct peer *p)
{
    int sum = 0;

    for (size_t i = 0; i < PEER_CONNS; i++) {
        int n = 0;

        if (p->conns[i] != NULL && ioctl(stream_fd(p->conns[i]->stream), FIONREAD, &n) == 0)
            sum += n;
    }
    return sum;
}

static void
conn_bury(void *object)
{
    free(object);
}

static void
conn_end(struct peer_conn *c, enum peer_act act)
{
    struct linger at_once = {1, 0};

    if (c->stream == NULL)
        return;
    if (act == PEER_RST)
        setsockopt(stream_fd(c->stream), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    if (act == PEER_FIN)
        stream_finish(&c->stream, 1000);
    else
        stream_close(&c->stream);
    c->peer->open--;
    c->peer->conns[c->place] = NULL;
    loop_bury(c->peer->loop, &c->corpse, conn_bury, c);
}

static void
say(struct peer_conn *c, const char *text)
{
    if (text != NULL)
        stream_write(c->stream, span_str(text));
}

static const struct peer_rule *
rule_for(struct peer *p, const char *step)
{
    unsigned count = ++p->counts[step_index(step)];

    for (size_t i = 0; i < p->n_rules; i++)
        if (strcmp(p->rules[i].step, step) == 0 && (p->rules[i].nth == 0 || p->rules[i].nth == count))
            return &p->rules[i];
    return NULL;
}

/* True when a rule took this step over; *said_out: what it said, if the session goes on. */
static bool
follow_rule(struct peer_conn *c, const char *step, const char **said_out)
{
    const struct peer_rule *r = rule_for(c->peer, step);

    *said_out = NULL;
    if (r == NULL)
        return false;
    switch (r->act) {
    case PEER_SAY:
        say(c, r->text);
        *said_out = r->text;
        break;
    case PEER_FIN:
        say(c, r->text);
        conn_end(c, PEER_FIN);
        break;
    case PEER_RST:
        conn_end(c, PEER_RST);
        break;
    case PEER_SILENT:
        break;
    case PEER_STOP:
        stream_pause(c->stream);
        break;
    }
    return true;
}

static void
say_ehlo(struct peer_conn *c)
{
    struct peer *p = c->peer;
    bool may_start = p->tls != NULL && !p->implicit && !stream_is_tls(c->stream);

    if (p->ehlo != NULL)
        say(c, p->ehlo);
    else
        say(c, may_start ? "250-peer\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
                         : "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 1000000\r\n"
                           "250 AUTH LOGIN PLAIN\r\n");
}

/* The normal answer of a step; what a rule said counts as the answer. */
static void
step(struct peer_conn *c, const char *name, const char *answer)
{
    const char *said;
    bool ruled = follow_rule(c, name, &said);

    if (!ruled)
        say(c, answer);
    if (!ruled)
        said = answer;
    if (c->stream == NULL || said == NULL)
        return;
    if (strcmp(name, "DATA") == 0 && said[0] == '3') {
        c->state = PEER_BODY;
        c->body_begun = false;
        buf_clear(&c->peer->body);
        buf_add_str(&c->peer->body, "\r\n"); /* so that a dot in the first line ends it too */
    }
    if (strcmp(name, "STARTTLS") == 0 && strcmp(said, "220 go\r\n") == 0)
        stream_start_tls_server(c->stream, c->peer->tls);
    if (strcmp(name, "QUIT") == 0)
        conn_end(c, PEER_FIN);
}

static bool
starts(struct span line, const char *word)
{
    return span_starts_nocase(line, span_str(word));
}

static void
on_command(struct peer_conn *c, struct span line)
{
    static const struct {
        const char *verb, *answer;
    } plain[] = {{"HELO", "250 peer\r\n"}, {"STARTTLS", "220 go\r\n"}, {"MAIL", "250 2.1.0 ok\r\n"},
        {"RCPT", "250 2.1.5 ok\r\n"}, {"DATA", "354 go\r\n"}, {"RSET", "250 reset\r\n"},
        {"QUIT", "221 bye\r\n"}};

    if (!stream_is_tls(c->stream) && (starts(line, "AUTH") || starts(line, "MAIL")))
        c->peer->clear_secrets = true;
    if (starts(line, "EHLO")) {
        const char *said;

        if (!follow_rule(c, "EHLO", &said))
            say_ehlo(c);
    } else if (starts(line, "AUTH LOGIN")) {
        c->state = PEER_USER;
        step(c, "AUTH", "334 VXNlcm5hbWU6\r\n");
    } else if (starts(line, "AUTH")) {
        step(c, "AUTH", "235 2.7.0 ok\r\n");
    } else {
        for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
            if (starts(line, plain[i].verb)) {
                step(c, plain[i].verb, plain[i].answer);
                return;
            }
        step(c, "other", "500 what\r\n");
    }
}

static void
on_line(struct peer_conn *c, struct span line)
{
    switch (c->state) {
    case PEER_COMMAND:
        on_command(c, line);
        break;
    case PEER_USER:
        c->state = PEER_PASSWORD;
        step(c, "user", "334 UGFzc3dvcmQ6\r\n");
        break;
    case PEER_PASSWORD:
        c->state = PEER_COMMAND;
        step(c, "password", "235 2.7.0 ok\r\n");
        break;
    case PEER_BODY:
        break;
    }
}

/* Takes the body up to its dot; returns the bytes used. */
static size_t
on_body(struct peer_conn *c, struct span in)
{
    struct peer *p = c->peer;
    const char *said, *answer = "250 2.0.0 queued\r\n", *end;
    size_t before = buf_len(&p->body), from = before > 4 ? before - 4 : 0, used;

    if (!c->body_begun && (c->body_begun = true) && follow_rule(c, "body", &said) && c->stream == NULL)
        return in.n;
    buf_add_span(&p->body, in);
    end = memmem(buf_span(&p->body).p + from, buf_len(&p->body) - from, "\r\n.\r\n", 5);
    if (end == NULL)
        return in.n;
    used = (size_t)(end - buf_span(&p->body).p) + 5 - before;
    p->body.len -= buf_len(&p->body) - before - used + 3;
    buf_consume(&p->body, 2);
    c->state = PEER_COMMAND;
    p->reads_of_last = p->reads;
    p->reads = 0;
    if (!follow_rule(c, "dot", &said))
        say(c, said = answer);
    if (said != NULL && said[0] == '2')
        p->messages++;
    return used;
}

static size_t
on_data(void *arg, struct span in)
{
    struct peer_conn *c = arg;
    size_t at = 0;

    c->peer->reads++;
    while (c->stream != NULL && at < in.n) {
        struct span rest = span_from(in, at);
        ptrdiff_t eol = span_find_byte(rest, '\n');

        if (c->state == PEER_BODY) {
            at += on_body(c, rest);
            continue;
        }
        if (eol < 0)
            break;
        at += (size_t)eol + 1;
        on_line(c, span_head(rest, (size_t)eol));
    }
    return c->stream != NULL ? at : in.n;
}

static void
on_secure(void *arg)
{
    struct peer_conn *c = arg;
    const char *said;

    if (c->peer->implicit && !follow_rule(c, "connect", &said))
        say(c, "220 peer\r\n");
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    (void)end;
    (void)detail;
    conn_end(arg, PEER_SILENT);
}

static const struct stream_ops ops = {on_secure, on_data, NULL, on_end};

static void
on_accept(void *arg, int fd, const struct net_addr *from, const struct net_addr *to)
{
    struct peer *p = arg;
    struct peer_conn *c = xcalloc(1, sizeof(*c));
    const char *said;

    (void)from;
    (void)to;
    c->peer = p;
    while (c->place < PEER_CONNS && p->conns[c->place] != NULL)
        c->place++;
    sg_assert(c->place < PEER_CONNS);
    p->conns[c->place] = c;
    c->stream = stream_new(p->loop, fd, &ops, c);
    p->accepted++;
    p->open++;
    if (p->implicit)
        stream_start_tls_server(c->stream, p->tls);
    else if (!follow_rule(c, "connect", &said))
        say(c, "220 peer\r\n");
}

void
peer_start(struct peer *p, struct loop *loop)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct net_addr addr;
    struct err err;

    *p = (struct peer){.loop = loop};
    buf_init(&p->body);
    p->listener = listener_open(loop, "127.0.0.1:0", on_accept, p, &err);
    sg_assert(p->listener != NULL);
    sg_assert(getsockname(listener_fd(p->listener), (struct sockaddr *)&ss, &len) == 0);
    net_addr_from_sockaddr(&addr, (struct sockaddr *)&ss, len);
    snprintf(p->target, sizeof(p->target), "127.0.0.1:%u", (unsigned)addr.port);
}

void
peer_drop_all(struct peer *p, bool reset)
{
    for (unsigned i = 0; i < PEER_CONNS; i++)
        if (p->conns[i] != NULL)
            conn_end(p->conns[i], reset ? PEER_RST : PEER_FIN);
}

void
peer_say_all(struct peer *p, const char *text)
{
    for (unsigned i = 0; i < PEER_CONNS; i++)
        if (p->conns[i] != NULL)
            say(p->conns[i], text);
}

void
peer_resume_all(struct peer *p)
{
    for (unsigned i = 0; i < PEER_CONNS; i++)
        if (p->conns[i] != NULL)
            stream_resume(p->conns[i]->stream);
}

void
peer_stop(struct peer *p)
{
    peer_drop_all(p, true);
    listener_close(&p->listener);
    tls_ctx_unref(&p->tls);
    buf_fini(&p->body);
}
