/* The transaction half (RFC 5321 sections 3.3 and 4.1.1.2-4, RFC 1870, RFC 2920, RFC 3461 sections 4
 * and 5.2, RFC 6152).
 *
 * Replies come in the order of the commands, so a counter tells which recipient one belongs to. What a
 * recipient's result starts as, TX_ACCEPTED, means "nothing said against it"; the first refusal decides it,
 * and whatever ends the transaction decides all that are still open.
 *
 * Without PIPELINING each command waits for its reply. With it MAIL and the RCPTs leave together (in
 * groups, so that neither side has to keep much), and DATA with the last group, unless one refused
 * recipient would have to stop the message. Then DATA may be answered 354 although nobody was accepted: a
 * lone dot gets us out, and what it is answered changes nothing (RFC 2920 section 3.1).
 */
#include "relay/smtp/client_tx.h"

#include <inttypes.h>
#include <stdio.h>

#include "relay/base/err.h"

#define GROUP_BYTES 16384

bool
client_tx_is_open(const struct client *c)
{
    return c->state >= CLIENT_MAIL && c->state <= CLIENT_LONE_DOT;
}

static enum tx_fate
fate_of(const struct reply *r)
{
    return reply_is_transient(r) ? TX_REFUSED_FOR_NOW : TX_REFUSED_FOR_GOOD;
}

/* Decides one recipient, unless it is decided. r may be NULL: no reply did. */
static void
decide(struct tx_recipient *recipient, enum tx_fate fate, const struct reply *r)
{
    if (recipient->fate != TX_ACCEPTED)
        return;
    recipient->fate = fate;
    recipient->reply.code = 0;
    recipient->reply.enhanced.class = 0;
    recipient->reply.text[0] = '\0';
    if (r != NULL)
        reply_copy(&recipient->reply, r);
}

static void
decide_open(struct client *c, enum tx_fate fate, const struct reply *r)
{
    for (size_t i = 0; i < c->progress.tx->n_recipients; i++)
        decide(&c->outcome.recipients[i], fate, r);
}

static void
blame(struct client *c, const struct reply *r)
{
    c->outcome.phase = client_phase(c->state);
    reply_copy(&c->outcome.reply, r);
}

static enum client_do
finish(struct client *c, enum client_state state)
{
    c->state = state;
    c->progress.tx = NULL;
    return CLIENT_TX_DONE;
}

/* A transaction that is open at the peer is undone; the outcome need not wait for that. */
static enum client_do
finish_with_rset(struct client *c, struct buf *out)
{
    buf_add_str(out, "RSET\r\n");
    return finish(c, CLIENT_RSET);
}

enum client_do
client_tx_break(struct client *c, const char *detail)
{
    if (c->state == CLIENT_LONE_DOT)
        return finish(c, CLIENT_OVER); /* everything was decided before */
    c->outcome.phase = client_phase(c->state);
    c->outcome.lost = true;
    c->outcome.reply.code = 0;
    c->outcome.reply.enhanced.class = 0;
    c->outcome.reply.text[0] = '\0';
    snprintf(c->outcome.detail, sizeof(c->outcome.detail), "%s", detail);
    decide_open(c, c->state == CLIENT_DOT ? TX_UNCERTAIN : TX_REFUSED_FOR_NOW, NULL);
    return finish(c, CLIENT_OVER);
}

static void
write_mail(struct client *c, struct buf *out)
{
    const struct transaction *tx = c->progress.tx;

    buf_printf(out, "MAIL FROM:<%s>", tx->sender->text);
    if (c->ehlo.size)
        buf_printf(out, " SIZE=%" PRIu64, tx->content_bytes);
    if (c->ehlo.eightbitmime && tx->body_type == SMTP_BODY_8BITMIME)
        buf_add_str(out, " BODY=8BITMIME");
    if (c->ehlo.dsn && tx->ret != RET_NONE)
        buf_printf(out, " RET=%s", tx->ret == RET_FULL ? "FULL" : "HDRS");
    if (c->ehlo.dsn && tx->envid != NULL)
        buf_printf(out, " ENVID=%s", tx->envid);
    buf_add_str(out, "\r\n");
}

static void
write_notify(unsigned notify, struct buf *out)
{
    static const struct {
        enum dsn_notify bit;
        const char *name;
    } words[] = {
        {NOTIFY_NEVER, "NEVER"},
        {NOTIFY_SUCCESS, "SUCCESS"},
        {NOTIFY_FAILURE, "FAILURE"},
        {NOTIFY_DELAY, "DELAY"},
    };
    const char *before = " NOTIFY=";

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if ((notify & words[i].bit) != 0) {
            buf_printf(out, "%s%s", before, words[i].name);
            before = ",";
        }
}

/* The longest address with all parameters stays below the 512 bytes of a command line and the 500 that ORCPT
 * may add, and so does MAIL with the 100 of ENVID. */
static void
write_rcpt(struct client *c, struct buf *out)
{
    const struct recipient *r = c->progress.tx->recipients[c->progress.sent++];

    buf_printf(out, "RCPT TO:<%s>", r->address.text);
    if (c->ehlo.dsn) {
        write_notify(r->notify, out);
        if (r->orcpt != NULL)
            buf_printf(out, " ORCPT=%s", r->orcpt);
    }
    buf_add_str(out, "\r\n");
}

/* The next group: one RCPT, or with PIPELINING as many as fit, and DATA behind the last where that is
 * allowed. */
static void
write_group(struct client *c, struct buf *out)
{
    struct client_progress *p = &c->progress;
    const struct transaction *tx = p->tx;
    size_t least = buf_len(out);

    do {
        write_rcpt(c, out);
    } while (c->ehlo.pipelining && p->sent < tx->n_recipients && buf_len(out) - least < GROUP_BYTES);
    if (!c->ehlo.pipelining || p->sent < tx->n_recipients || (tx->all_or_nothing && tx->n_recipients > 1))
        return;
    buf_add_str(out, "DATA\r\n");
    p->data_sent = true;
}

void
client_send(struct client *c, const struct transaction *tx, struct tx_recipient *recipients, struct buf *out)
{
    struct tx_outcome *o = &c->outcome;

    sg_assert(c->state == CLIENT_READY && tx->n_recipients > 0);
    o->phase = TX_MAIL;
    o->offered = true;
    o->lost = o->lost_on_reuse = false;
    o->reply.code = 0;
    o->reply.enhanced.class = 0;
    o->reply.text[0] = '\0';
    o->detail[0] = '\0';
    o->recipients = recipients;
    for (size_t i = 0; i < tx->n_recipients; i++) {
        recipients[i].fate = TX_ACCEPTED;
        recipients[i].reply.code = 0;
        recipients[i].reply.enhanced.class = 0;
        recipients[i].reply.text[0] = '\0';
    }
    c->progress = (struct client_progress){.tx = tx};
    c->uses++;
    c->state = CLIENT_MAIL;
    write_mail(c, out);
    if (c->ehlo.pipelining)
        write_group(c, out);
}

void
client_body_sent(struct client *c)
{
    sg_assert(c->state == CLIENT_BODY);
    c->state = CLIENT_DOT;
}

/* The reply just read is settled: wait for the next one, send more, or be done. */
static enum client_do
go_on(struct client *c, struct buf *out)
{
    struct client_progress *p = &c->progress;
    size_t n = p->tx->n_recipients;

    c->state = CLIENT_RCPT;
    if (p->answered < p->sent)
        return CLIENT_GO_ON;
    c->state = CLIENT_DATA;
    if (p->data_sent)
        return CLIENT_GO_ON;
    if (!p->mail_ok)
        return finish(c, CLIENT_READY);
    if (p->sent < n) {
        c->state = CLIENT_RCPT;
        write_group(c, out);
        return CLIENT_GO_ON;
    }
    if (p->accepted == 0)
        return finish_with_rset(c, out);
    if (p->tx->all_or_nothing && p->accepted < n) {
        for (size_t i = 0; i < n; i++)
            if (c->outcome.recipients[i].fate == TX_ACCEPTED)
                c->outcome.recipients[i].fate = TX_REFUSED_FOR_NOW;
        return finish_with_rset(c, out);
    }
    buf_add_str(out, "DATA\r\n");
    p->data_sent = true;
    return CLIENT_GO_ON;
}

static enum client_do
on_mail(struct client *c, const struct reply *r, struct buf *out)
{
    c->progress.mail_ok = reply_is_positive(r);
    if (!c->progress.mail_ok) {
        blame(c, r);
        decide_open(c, fate_of(r), r);
    }
    return go_on(c, out);
}

static enum client_do
on_rcpt(struct client *c, const struct reply *r, struct buf *out)
{
    struct tx_recipient *recipient = &c->outcome.recipients[c->progress.answered++];

    if (!c->progress.mail_ok)
        return go_on(c, out);
    if (reply_is_positive(r)) {
        c->progress.accepted++;
        reply_copy(&recipient->reply, r);
        return go_on(c, out);
    }
    if (c->outcome.reply.code == 0)
        blame(c, r);
    decide(recipient, fate_of(r), r);
    return go_on(c, out);
}

static enum client_do
on_data(struct client *c, const struct reply *r, struct buf *out)
{
    bool wanted = c->progress.mail_ok && c->progress.accepted > 0;

    if (r->code == 354 && wanted) {
        c->state = CLIENT_BODY;
        return CLIENT_SEND_BODY;
    }
    if (r->code == 354) {
        c->state = CLIENT_LONE_DOT;
        buf_add_str(out, ".\r\n");
        return CLIENT_GO_ON;
    }
    if (wanted) {
        blame(c, r);
        decide_open(c, fate_of(r), r);
    }
    return finish_with_rset(c, out);
}

/* A refusal before the dot: the message is refused, and the session is in the middle of a body. */
static enum client_do
on_body(struct client *c, const struct reply *r, struct buf *out)
{
    (void)out;
    blame(c, r);
    decide_open(c, fate_of(r), r);
    return finish(c, CLIENT_OVER);
}

static enum client_do
on_dot(struct client *c, const struct reply *r, struct buf *out)
{
    (void)out;
    blame(c, r);
    for (size_t i = 0; i < c->progress.tx->n_recipients; i++) {
        struct tx_recipient *recipient = &c->outcome.recipients[i];

        if (!reply_is_positive(r))
            decide(recipient, fate_of(r), r);
        else if (recipient->fate == TX_ACCEPTED)
            reply_copy(&recipient->reply, r);
    }
    return finish(c, CLIENT_READY);
}

static enum client_do
on_lone_dot(struct client *c, const struct reply *r, struct buf *out)
{
    (void)r;
    (void)out;
    return finish(c, CLIENT_READY);
}

/* 421: the peer closes, whatever we asked. What was not refused before is refused for now. */
static enum client_do
on_shutdown(struct client *c, const struct reply *r)
{
    if (c->state != CLIENT_LONE_DOT) {
        blame(c, r);
        decide_open(c, TX_REFUSED_FOR_NOW, r);
    }
    return finish(c, CLIENT_OVER);
}

/* May this code answer this command at all? 354 only DATA, 2xx everything but DATA and half a body. */
static bool
is_in_place(enum client_state s, int code)
{
    if (code >= 400 || s == CLIENT_LONE_DOT)
        return true;
    if (s == CLIENT_DATA)
        return code == 354;
    return code < 300 && s != CLIENT_BODY;
}

enum client_do
client_tx_on_reply(struct client *c, const struct reply *r, struct buf *out)
{
    if (!is_in_place(c->state, r->code))
        return client_break(c, "reply code %d to %s", r->code, client_state_to_str(c->state));
    if (r->code == 421)
        return on_shutdown(c, r);
    if (c->state == CLIENT_MAIL)
        return on_mail(c, r, out);
    if (c->state == CLIENT_RCPT)
        return on_rcpt(c, r, out);
    if (c->state == CLIENT_DATA)
        return on_data(c, r, out);
    if (c->state == CLIENT_BODY)
        return on_body(c, r, out);
    return c->state == CLIENT_DOT ? on_dot(c, r, out) : on_lone_dot(c, r, out);
}
