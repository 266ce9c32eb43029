/* The session half: from the banner to READY, QUIT, and what ends a session early.
 *
 * Two questions per state: what is sent on entering it (the functions that set the state send), and
 * what a reply in it means (the on_x functions, found by the table).
 */
#include "relay/smtp/client.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "relay/base/err.h"
#include "relay/smtp/client_tx.h"
#include "relay/smtp/sasl.h"

#define QUIT_MS 5000
#define HANDSHAKE_MS 30000
#define AUTH_LINE_MAX 512 /* longer initial responses wait for 334 (RFC 4954 section 4) */

static const char *const state_names[] = {
    [CLIENT_START] = "connect",
    [CLIENT_HANDSHAKE] = "TLS handshake",
    [CLIENT_BANNER] = "banner",
    [CLIENT_EHLO] = "EHLO",
    [CLIENT_HELO] = "HELO",
    [CLIENT_STARTTLS] = "STARTTLS",
    [CLIENT_AUTH_START] = "AUTH",
    [CLIENT_AUTH_USER] = "AUTH",
    [CLIENT_AUTH_LAST] = "AUTH",
    [CLIENT_AUTH_CANCEL] = "AUTH",
    [CLIENT_REFUSED] = "refused",
    [CLIENT_READY] = "ready",
    [CLIENT_MAIL] = "MAIL",
    [CLIENT_RCPT] = "RCPT",
    [CLIENT_DATA] = "DATA",
    [CLIENT_BODY] = "body",
    [CLIENT_DOT] = "the final dot",
    [CLIENT_LONE_DOT] = "the final dot",
    [CLIENT_RSET] = "RSET",
    [CLIENT_QUIT] = "QUIT",
    [CLIENT_OVER] = "over",
};
static_assert(sizeof(state_names) / sizeof(*state_names) == CLIENT_STATE_COUNT, "a name for each state");

const char *
client_state_to_str(enum client_state s)
{
    return state_names[s];
}

static const char *const phase_names[] = {
    [TX_CONNECT] = "connect",
    [TX_TLS] = "tls",
    [TX_AUTH] = "auth",
    [TX_MAIL] = "mail",
    [TX_RCPT] = "rcpt",
    [TX_DATA] = "data",
    [TX_BODY] = "body",
    [TX_DOT] = "dot",
};
static_assert(sizeof(phase_names) / sizeof(*phase_names) == TX_PHASE_COUNT, "a name for each phase");

const char *
tx_phase_to_str(enum tx_phase p)
{
    return phase_names[p];
}

enum tx_phase
client_phase(enum client_state s)
{
    static const enum tx_phase phases[CLIENT_STATE_COUNT] = {
        [CLIENT_HANDSHAKE] = TX_TLS,
        [CLIENT_STARTTLS] = TX_TLS,
        [CLIENT_AUTH_START] = TX_AUTH,
        [CLIENT_AUTH_USER] = TX_AUTH,
        [CLIENT_AUTH_LAST] = TX_AUTH,
        [CLIENT_AUTH_CANCEL] = TX_AUTH,
        [CLIENT_MAIL] = TX_MAIL,
        [CLIENT_RCPT] = TX_RCPT,
        [CLIENT_DATA] = TX_DATA,
        [CLIENT_BODY] = TX_BODY,
        [CLIENT_DOT] = TX_DOT,
        [CLIENT_LONE_DOT] = TX_DOT,
    };

    return phases[s]; /* all others: TX_CONNECT */
}

void
client_init(struct client *c, const struct client_setup *conf)
{
    memset(c, 0, sizeof(*c));
    c->conf = conf;
    c->state = CLIENT_START;
    reply_reader_init(&c->reader);
}

/* No session: the state says what the owner may still do. */
static enum client_do
fail(struct client *c, enum client_state state, const struct reply *r, const char *detail)
{
    c->outcome.phase = client_phase(c->state);
    c->outcome.reply.code = 0;
    if (r != NULL)
        reply_copy(&c->outcome.reply, r);
    snprintf(c->outcome.detail, sizeof(c->outcome.detail), "%s", detail);
    c->state = state;
    return CLIENT_FAILED;
}

static bool
is_login(enum client_state s)
{
    return s < CLIENT_REFUSED;
}

enum client_do
client_break(struct client *c, const char *fmt, ...)
{
    char detail[sizeof(c->outcome.detail)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    if (is_login(c->state))
        return fail(c, CLIENT_OVER, NULL, detail);
    if (client_tx_is_open(c))
        return client_tx_break(c, detail);
    c->state = CLIENT_OVER;
    return CLIENT_CLOSE;
}

/* A reply that is not the wished one, during login: a refusal, or nonsense. */
static enum client_do
refused(struct client *c, const struct reply *r)
{
    char detail[64];

    if (r->code < 400)
        return client_break(c, "reply code %d to %s", r->code, state_names[c->state]);
    snprintf(detail, sizeof(detail), "%s refused", state_names[c->state]);
    return fail(c, r->code == 421 ? CLIENT_OVER : CLIENT_REFUSED, r, detail);
}

static enum client_do
send_ehlo(struct client *c, struct buf *out)
{
    ehlo_init(&c->ehlo);
    buf_printf(out, "EHLO %s\r\n", c->conf->hostname);
    c->state = CLIENT_EHLO;
    return CLIENT_GO_ON;
}

static enum client_do
be_ready(struct client *c)
{
    c->state = CLIENT_READY;
    return CLIENT_IS_READY;
}

/* The mechanism that is preferred and offered, else the other one, else none. */
static enum client_auth
choose_mechanism(const struct client *c)
{
    if (c->ehlo.auth_plain && (c->conf->auth == CLIENT_AUTH_PLAIN || !c->ehlo.auth_login))
        return CLIENT_AUTH_PLAIN;
    return c->ehlo.auth_login ? CLIENT_AUTH_LOGIN : CLIENT_AUTH_NONE;
}

static enum client_do
send_auth(struct client *c, struct buf *out)
{
    enum client_auth mechanism = choose_mechanism(c);
    size_t response = (strlen(c->conf->user) + strlen(c->conf->password) + 2 + 2) / 3 * 4;

    c->state = CLIENT_AUTH_START;
    if (mechanism == CLIENT_AUTH_NONE)
        return fail(c, CLIENT_REFUSED, NULL, "neither AUTH LOGIN nor AUTH PLAIN is offered");
    buf_add_str(out, mechanism == CLIENT_AUTH_PLAIN ? "AUTH PLAIN" : "AUTH LOGIN");
    if (mechanism == CLIENT_AUTH_PLAIN && response + 13 <= AUTH_LINE_MAX) {
        buf_add_str(out, " ");
        sasl_plain_format(span_str(c->conf->user), span_str(c->conf->password), out);
        c->state = CLIENT_AUTH_LAST;
    }
    buf_add_str(out, "\r\n");
    return CLIENT_GO_ON;
}

/* EHLO or HELO was answered: what comes next depends on TLS and on the identity to prove. */
static enum client_do
after_hello(struct client *c, struct buf *out)
{
    if (c->conf->tls == CLIENT_TLS_STARTTLS && !c->secure) {
        c->state = CLIENT_STARTTLS;
        if (!c->ehlo.starttls)
            return fail(c, CLIENT_REFUSED, NULL, "STARTTLS is not offered");
        buf_add_str(out, "STARTTLS\r\n");
        return CLIENT_GO_ON;
    }
    return c->conf->auth == CLIENT_AUTH_NONE ? be_ready(c) : send_auth(c, out);
}

static enum client_do
on_banner(struct client *c, const struct reply *r, struct buf *out)
{
    return r->code == 220 ? send_ehlo(c, out) : refused(c, r);
}

static enum client_do
on_ehlo(struct client *c, const struct reply *r, struct buf *out)
{
    if (r->code == 250)
        return after_hello(c, out);
    if (r->code < 500 || c->conf->tls != CLIENT_TLS_OFF)
        return refused(c, r);
    buf_printf(out, "HELO %s\r\n", c->conf->hostname);
    c->state = CLIENT_HELO;
    return CLIENT_GO_ON;
}

static enum client_do
on_helo(struct client *c, const struct reply *r, struct buf *out)
{
    return r->code == 250 ? after_hello(c, out) : refused(c, r);
}

static enum client_do
on_starttls(struct client *c, const struct reply *r, struct buf *out)
{
    (void)out;
    if (r->code != 220)
        return refused(c, r);
    c->state = CLIENT_HANDSHAKE;
    return CLIENT_START_TLS;
}

static enum client_do
on_auth_start(struct client *c, const struct reply *r, struct buf *out)
{
    if (r->code != 334)
        return refused(c, r);
    if (choose_mechanism(c) == CLIENT_AUTH_PLAIN) {
        sasl_plain_format(span_str(c->conf->user), span_str(c->conf->password), out);
        c->state = CLIENT_AUTH_LAST;
    } else {
        sasl_base64_encode(span_str(c->conf->user), out);
        c->state = CLIENT_AUTH_USER;
    }
    buf_add_str(out, "\r\n");
    return CLIENT_GO_ON;
}

static enum client_do
on_auth_user(struct client *c, const struct reply *r, struct buf *out)
{
    if (r->code != 334)
        return refused(c, r);
    sasl_base64_encode(span_str(c->conf->password), out);
    buf_add_str(out, "\r\n");
    c->state = CLIENT_AUTH_LAST;
    return CLIENT_GO_ON;
}

static enum client_do
on_auth_last(struct client *c, const struct reply *r, struct buf *out)
{
    if (r->code == 235)
        return be_ready(c);
    if (r->code != 334)
        return refused(c, r);
    buf_add_str(out, "*\r\n");
    c->state = CLIENT_AUTH_CANCEL;
    return CLIENT_GO_ON;
}

static enum client_do
on_auth_cancel(struct client *c, const struct reply *r, struct buf *out)
{
    (void)out;
    return refused(c, r);
}

/* RSET failed: the session is of no use, but the outcome is known already. */
static enum client_do
on_rset(struct client *c, const struct reply *r, struct buf *out)
{
    (void)out;
    return reply_is_positive(r) ? be_ready(c) : client_break(c, "RSET refused");
}

static enum client_do
on_quit(struct client *c, const struct reply *r, struct buf *out)
{
    (void)r;
    (void)out;
    c->state = CLIENT_OVER;
    return CLIENT_CLOSE;
}

/* States without an entry expect no reply. */
typedef enum client_do reply_fn(struct client *c, const struct reply *r, struct buf *out);
static reply_fn *const reply_table[CLIENT_STATE_COUNT] = {
    [CLIENT_BANNER] = on_banner,
    [CLIENT_EHLO] = on_ehlo,
    [CLIENT_HELO] = on_helo,
    [CLIENT_STARTTLS] = on_starttls,
    [CLIENT_AUTH_START] = on_auth_start,
    [CLIENT_AUTH_USER] = on_auth_user,
    [CLIENT_AUTH_LAST] = on_auth_last,
    [CLIENT_AUTH_CANCEL] = on_auth_cancel,
    [CLIENT_MAIL] = client_tx_on_reply,
    [CLIENT_RCPT] = client_tx_on_reply,
    [CLIENT_DATA] = client_tx_on_reply,
    [CLIENT_BODY] = client_tx_on_reply,
    [CLIENT_DOT] = client_tx_on_reply,
    [CLIENT_LONE_DOT] = client_tx_on_reply,
    [CLIENT_RSET] = on_rset,
    [CLIENT_QUIT] = on_quit,
};

/* A code that says no with an enhanced code that says yes ("550 2.0.0") is no answer. */
static bool
is_contradiction(const struct reply *r)
{
    return r->code >= 400 && r->enhanced.class == 2;
}

static enum client_do
on_whole_reply(struct client *c, struct buf *out)
{
    const struct reply *r = &c->reader.reply;
    enum client_do todo;

    if (is_contradiction(r) && c->state != CLIENT_QUIT)
        todo = client_break(c, "reply code %d with enhanced code 2 to %s", r->code, state_names[c->state]);
    else
        todo = reply_table[c->state](c, r, out);
    reply_reader_init(&c->reader);
    return todo;
}

/* Adds the lines of in until a reply is whole. */
static enum reply_status
read_lines(struct client *c, struct span in, size_t *used_out, const char **why_out)
{
    struct reply_line line;
    enum reply_status status;
    size_t used;

    for (*used_out = 0;; *used_out += used) {
        status = reply_line_parse(span_from(in, *used_out), &line, &used, why_out);
        if (status != REPLY_OK)
            return status;
        status = reply_reader_add(&c->reader, &line, used, why_out);
        if (c->state == CLIENT_EHLO && c->reader.lines > 1)
            ehlo_add_line(&c->ehlo, line.text);
        if (status != REPLY_MORE)
            break;
    }
    *used_out += used;
    return status;
}

enum client_do
client_on_data(struct client *c, struct span in, struct buf *out, size_t *used_out)
{
    const char *why = "bytes nobody asked for";
    enum reply_status status = REPLY_BAD;
    enum client_do todo;

    *used_out = 0;
    if (in.n == 0)
        return CLIENT_GO_ON;
    c->progress.heard = true;
    if (reply_table[c->state] != NULL)
        status = read_lines(c, in, used_out, &why);
    if (status == REPLY_MORE)
        return CLIENT_GO_ON;
    if (status == REPLY_BAD) {
        *used_out = in.n;
        return client_break(c, "%s", why);
    }
    todo = on_whole_reply(c, out);
    if (todo == CLIENT_START_TLS && *used_out < in.n) {
        *used_out = in.n;
        return client_break(c, "plaintext after the reply to STARTTLS");
    }
    return todo;
}

enum client_do
client_on_connected(struct client *c)
{
    sg_assert(c->state == CLIENT_START);
    if (c->conf->tls == CLIENT_TLS_IMPLICIT) {
        c->state = CLIENT_HANDSHAKE;
        return CLIENT_START_TLS;
    }
    c->state = CLIENT_BANNER;
    return CLIENT_GO_ON;
}

enum client_do
client_on_secure(struct client *c, struct buf *out)
{
    sg_assert(c->state == CLIENT_HANDSHAKE);
    c->secure = true;
    if (c->conf->tls == CLIENT_TLS_STARTTLS)
        return send_ehlo(c, out);
    c->state = CLIENT_BANNER;
    return CLIENT_GO_ON;
}

enum client_do
client_on_lost(struct client *c, const char *detail)
{
    c->outcome.lost_on_reuse = c->state == CLIENT_MAIL && c->uses > 1 && !c->progress.heard;
    return client_break(c, "%s: %s", state_names[c->state], detail);
}

enum client_do
client_on_timeout(struct client *c)
{
    return client_break(c, "%s: no answer in time", state_names[c->state]);
}

enum client_do
client_abort(struct client *c, const char *detail)
{
    return client_break(c, "%s", detail);
}

int
client_wait_ms(const struct client *c)
{
    if (c->state == CLIENT_READY || c->state == CLIENT_REFUSED || c->state == CLIENT_BODY
        || c->state == CLIENT_OVER)
        return -1;
    if (c->state == CLIENT_DATA)
        return c->conf->data_ms;
    if (c->state == CLIENT_DOT || c->state == CLIENT_LONE_DOT)
        return c->conf->dot_ms;
    if (c->state == CLIENT_QUIT)
        return QUIT_MS;
    if (c->state == CLIENT_HANDSHAKE && c->conf->reply_ms > HANDSHAKE_MS)
        return HANDSHAKE_MS;
    return c->conf->reply_ms;
}

void
client_quit(struct client *c, struct buf *out)
{
    if (c->state != CLIENT_READY && c->state != CLIENT_REFUSED) {
        c->state = CLIENT_OVER;
        return;
    }
    buf_add_str(out, "QUIT\r\n");
    c->state = CLIENT_QUIT;
}
