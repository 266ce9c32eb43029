#include "relay/smtp/server_part.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

static const char *const state_names[] = {
    "start", "ready", "tls", "sasl", "auth", "mail?", "open", "rcpt?", "data?", "body", "message?", "over",
};
static_assert(sizeof state_names / sizeof state_names[0] == SERVER_STATE_COUNT, "a name for each state");

const char *
server_state_to_str(enum server_state s)
{
    return state_names[s];
}

#define TO(state) (1u << (state))

/* Where each state may go. OVER may follow any. */
static const unsigned transitions[] = {
    [SERVER_START] = TO(SERVER_READY) | TO(SERVER_WAIT_TLS) | TO(SERVER_START),
    [SERVER_READY] = TO(SERVER_READY) | TO(SERVER_WAIT_TLS) | TO(SERVER_SASL) | TO(SERVER_WAIT_AUTH) |
        TO(SERVER_WAIT_MAIL),
    [SERVER_WAIT_TLS] = TO(SERVER_START),
    [SERVER_SASL] = TO(SERVER_SASL) | TO(SERVER_READY) | TO(SERVER_WAIT_AUTH),
    [SERVER_WAIT_AUTH] = TO(SERVER_READY),
    [SERVER_WAIT_MAIL] = TO(SERVER_READY) | TO(SERVER_OPEN),
    [SERVER_OPEN] = TO(SERVER_READY) | TO(SERVER_WAIT_RCPT) | TO(SERVER_WAIT_DATA),
    [SERVER_WAIT_RCPT] = TO(SERVER_OPEN),
    [SERVER_WAIT_DATA] = TO(SERVER_BODY) | TO(SERVER_READY),
    [SERVER_BODY] = TO(SERVER_WAIT_MESSAGE) | TO(SERVER_READY),
    [SERVER_WAIT_MESSAGE] = TO(SERVER_READY),
    [SERVER_OVER] = 0,
};
static_assert(sizeof transitions / sizeof transitions[0] == SERVER_STATE_COUNT, "a row for each state");

void
server_set_state(struct server *s, enum server_state next)
{
    sg_assert(next == SERVER_OVER || (transitions[s->state] & TO(next)) != 0);
    s->state = next;
}

void
server_init(struct server *s, const struct server_conf *conf)
{
    memset(s, 0, sizeof *s);
    s->conf = conf;
    s->why = "";
}

/* The one that waits for its answer. */
static void
drop_recipient(struct server_tx *tx)
{
    address_fini(&tx->recipient);
    free(tx->orcpt);
    tx->orcpt = NULL;
}

static void
take_recipient(struct server_tx *tx, enum recipient_class class)
{
    struct recipient *r = envelope_add(&tx->envelope, &tx->recipient, class);

    r->notify = tx->notify;
    r->orcpt = tx->orcpt;
    tx->orcpt = NULL;
}

void
server_drop_tx(struct server *s)
{
    if (s->tx == NULL)
        return;
    envelope_fini(&s->tx->envelope);
    drop_recipient(s->tx);
    header_fini(&s->tx->header);
    free(s->tx);
    s->tx = NULL;
}

void
server_fini(struct server *s)
{
    server_drop_tx(s);
    server_drop_sasl(s);
    free(s->helo);
    free(s->login);
    s->helo = s->login = NULL;
}

/* ---- replies ---- */

void
server_say(struct server *s, const struct complaint *c, struct buf *out)
{
    if (c->code >= 400)
        s->complaint = *c;
    buf_printf(out, "%d %s %s\r\n", c->code, c->enhanced, c->text);
}

enum server_action
server_end_with(struct server *s, const struct complaint *c, const char *why, struct buf *out)
{
    server_say(s, c, out);
    server_drop_tx(s);
    server_drop_sasl(s);
    server_set_state(s, SERVER_OVER);
    s->why = why;
    return SERVER_DO_CLOSE;
}

enum server_action
server_end(
    struct server *s, int code, const char *enhanced, const char *text, const char *why, struct buf *out)
{
    struct complaint c = {code, enhanced, text};

    return server_end_with(s, &c, why, out);
}

static const struct complaint too_many_errors = {421, "4.7.0", "Too many errors on this connection"};
static const struct complaint too_much_junk = {
    421, "4.7.0", "Too many commands without mail on this connection"};

/* One error more: true when that was the last one allowed. */
static bool
count_error(struct server *s)
{
    s->errors++;
    if (s->errors >= s->conf->errors_soft)
        s->delay_ms = SERVER_ERROR_DELAY_MS;
    return s->errors >= s->conf->errors_hard;
}

static enum server_action
after_error(const struct server *s)
{
    return s->errors >= s->conf->errors_soft ? SERVER_DO_DELAY : SERVER_READ;
}

enum server_action
server_error(struct server *s, const struct complaint *c, struct buf *out)
{
    if (count_error(s))
        return server_end_with(s, &too_many_errors, "errors", out);
    server_say(s, c, out);
    return after_error(s);
}

bool
server_junk(struct server *s, struct buf *out)
{
    if (++s->junk <= s->conf->junk_max)
        return true;
    server_end_with(s, &too_much_junk, "junk", out);
    return false;
}

void
server_greet(struct server *s, struct buf *out)
{
    buf_printf(out, "220 %s ESMTP\r\n", s->conf->hostname);
}

/* ---- lines ---- */

static const struct complaint bad_newline = {500, "5.5.2", "Command lines end in CRLF"};
static const struct complaint bad_byte = {500, "5.5.2", "Command line has a CR or NUL inside"};
static const struct complaint long_line = {500, "5.5.2", "Line is too long"};

static size_t
line_max(const struct server *s, struct span in)
{
    if (s->state == SERVER_SASL || span_starts_nocase(in, SPAN_LIT("AUTH ")))
        return SERVER_AUTH_LINE_MAX;
    return SERVER_LINE_MAX;
}

enum server_action
server_hang_up(struct server *s)
{
    server_drop_tx(s);
    server_set_state(s, SERVER_OVER);
    s->why = "stranger";
    return SERVER_DO_CLOSE;
}

static enum server_action
run_line(struct server *s, struct span line, size_t rest_n, struct buf *out)
{
    if (s->state == SERVER_SASL)
        return server_run_sasl(s, line, out);
    if (s->state == SERVER_START && command_is_stranger(line))
        return server_hang_up(s);
    if (memchr(line.p, '\r', line.n) != NULL || memchr(line.p, '\0', line.n) != NULL)
        return server_error(s, &bad_byte, out);
    return server_run_command(s, line, rest_n, out);
}

/* A line without an end so far. Too long: the rest of it is thrown away, up to its CRLF, and then it is
 * answered. */
static enum server_action
incomplete_line(struct server *s, struct span in, size_t *used_out)
{
    bool ends_in_cr = in.n > 0 && in.p[in.n - 1] == '\r';

    if (in.n == 0)
        return SERVER_READ;
    if (s->state == SERVER_START && command_is_stranger(in))
        return server_hang_up(s);
    if (s->reading == SERVER_LINES && in.n < line_max(s, in))
        return SERVER_READ;
    s->reading = SERVER_SKIP_LINE;
    *used_out = in.n - ends_in_cr;
    return SERVER_READ;
}

/* One line off the front of in. A bare LF never ends a line: what follows it could be a second command for us
 * and text for whoever looked at the bytes before us. So it ends the session. */
static enum server_action
take_line(struct server *s, struct span in, struct buf *out, size_t *used_out)
{
    const char *lf = in.n > 0 ? memchr(in.p, '\n', in.n) : NULL;
    size_t n;

    *used_out = 0;
    if (lf == NULL)
        return incomplete_line(s, in, used_out);
    n = (size_t)(lf - in.p);
    *used_out = n + 1;
    s->lines++;
    if (n == 0 || lf[-1] != '\r')
        return server_end_with(s, &bad_newline, "newline", out);
    if (s->reading == SERVER_SKIP_LINE || n + 1 > line_max(s, in)) {
        s->reading = SERVER_LINES;
        if (s->state == SERVER_SASL) {
            server_drop_sasl(s);
            server_set_state(s, SERVER_READY);
        }
        return server_error(s, &long_line, out);
    }
    return run_line(s, span_of(in.p, n - 1), in.n - *used_out, out);
}

/* ---- the body ---- */

static const struct complaint stray_newline = {
    554, "5.6.0", "Message has a bare CR or LF; lines end in CRLF"};
static const struct complaint long_body_line = {554, "5.6.0", "Message has a line that is too long"};
static const struct complaint too_big = {552, "5.3.4", "Message is too large"};

const struct complaint *
server_body_complaint(const struct server *s)
{
    sg_assert(s->state == SERVER_WAIT_MESSAGE);
    switch (s->tx->body.status) {
    case BODY_OK:
    case BODY_STATUS_COUNT:
        return NULL;
    case BODY_STRAY_NEWLINE:
        return &stray_newline;
    case BODY_LONG_LINE:
        return &long_body_line;
    case BODY_TOO_BIG:
        return &too_big;
    }
    return NULL;
}

static void
on_wire(void *arg, struct span wire)
{
    struct server_tx *tx = arg;

    header_feed(&tx->header, wire);
    tx->sink(tx->sink_arg, wire);
}

static enum server_action
take_body(struct server *s, struct span in, size_t *used_out)
{
    struct server_tx *tx = s->tx;

    *used_out = body_scan(&tx->body, in, on_wire, tx);
    if (tx->body.state != BODY_END)
        return SERVER_READ;
    if (tx->body.eightbit)
        tx->envelope.body = SMTP_BODY_8BITMIME;
    server_set_state(s, SERVER_WAIT_MESSAGE);
    return SERVER_DO_MESSAGE;
}

/* ---- input ---- */

static const struct complaint early = {554, "5.5.0", "Synchronisation error: wait for the reply to DATA"};

enum server_action
server_input(struct server *s, struct span in, struct buf *out, size_t *used_out)
{
    enum server_action action = SERVER_READ;
    size_t used = 0;

    *used_out = 0;
    while (action == SERVER_READ && *used_out < in.n) {
        struct span rest = span_from(in, *used_out);

        switch (s->state) {
        case SERVER_START:
        case SERVER_READY:
        case SERVER_SASL:
        case SERVER_OPEN:
            action = take_line(s, rest, out, &used);
            break;
        case SERVER_BODY:
            action = take_body(s, rest, &used);
            break;
        case SERVER_WAIT_DATA:
            used = rest.n;
            action = server_end_with(s, &early, "early-body", out);
            break;
        case SERVER_WAIT_TLS:
        case SERVER_WAIT_AUTH:
        case SERVER_WAIT_MAIL:
        case SERVER_WAIT_RCPT:
        case SERVER_WAIT_MESSAGE:
            return SERVER_READ;
        case SERVER_OVER:
            *used_out = in.n;
            return SERVER_DO_CLOSE;
        case SERVER_STATE_COUNT:
            sg_assert(false);
        }
        *used_out += used;
        if (action == SERVER_READ && used == 0)
            break;
    }
    return action;
}

void
server_secured(struct server *s)
{
    server_drop_tx(s);
    server_drop_sasl(s);
    free(s->helo);
    free(s->login);
    s->helo = s->login = NULL;
    s->authenticated = s->esmtp = false;
    s->secure = true;
    server_set_state(s, SERVER_START);
}

/* ---- the owner's answers ---- */

void
server_set_sink(struct server *s, body_sink_fn *sink, void *arg)
{
    sg_assert(s->state == SERVER_WAIT_DATA);
    s->tx->sink = sink;
    s->tx->sink_arg = arg;
}

static void
begin_body(struct server *s)
{
    const struct server_conf *c = s->conf;
    struct body_limits body = {
        s->tx->content_max, c->line_strict && c->line_max > 998 ? 998 : c->line_max, c->newline};
    struct header_limits header = {c->header_bytes_max, c->header_lines_max, c->hops_max, c->hostname};

    sg_assert(s->tx->sink != NULL);
    body_init(&s->tx->body, &body);
    header_init(&s->tx->header, &header);
    server_set_state(s, SERVER_BODY);
}

/* A 5xx to MAIL and RCPT counts as an error: who guesses addresses is slowed down. */
static enum server_action
refuse(struct server *s, const struct reply *reply, bool counts, struct buf *out)
{
    if (counts && reply->code >= 500 && count_error(s))
        return server_end_with(s, &too_many_errors, "errors", out);
    reply_format(reply, out);
    if (reply->code == 421) {
        server_drop_tx(s);
        server_set_state(s, SERVER_OVER);
        s->why = "421";
        return SERVER_DO_CLOSE;
    }
    return counts && reply->code >= 500 ? after_error(s) : SERVER_READ;
}

static enum server_action
answer_mail(struct server *s, const struct reply *reply, struct buf *out)
{
    if (reply == NULL || reply_is_positive(reply)) {
        server_set_state(s, SERVER_OPEN);
        buf_add_str(out, "250 2.1.0 Sender ok\r\n");
        return SERVER_READ;
    }
    server_drop_tx(s);
    server_set_state(s, SERVER_READY);
    return refuse(s, reply, true, out);
}

static enum server_action
answer_data(struct server *s, const struct reply *reply, struct buf *out)
{
    if (reply == NULL || reply->code == 354) {
        begin_body(s);
        buf_add_str(out, "354 End data with <CR><LF>.<CR><LF>\r\n");
        return SERVER_READ;
    }
    server_drop_tx(s);
    server_set_state(s, SERVER_READY);
    return refuse(s, reply, false, out);
}

static enum server_action
answer_message(struct server *s, const struct reply *reply, struct buf *out)
{
    const struct complaint *c = server_body_complaint(s);

    server_drop_tx(s);
    server_set_state(s, SERVER_READY);
    if (c != NULL) {
        server_say(s, c, out);
        return SERVER_READ;
    }
    if (reply == NULL || reply_is_positive(reply)) {
        s->errors = s->junk = 0;
        s->messages++;
    }
    if (reply == NULL) {
        buf_add_str(out, "250 2.0.0 Ok\r\n");
        return SERVER_READ;
    }
    return refuse(s, reply, false, out);
}

enum server_action
server_answer(struct server *s, const struct reply *reply, struct buf *out)
{
    if (s->state == SERVER_WAIT_MAIL)
        return answer_mail(s, reply, out);
    if (s->state == SERVER_WAIT_DATA)
        return answer_data(s, reply, out);
    sg_assert(s->state == SERVER_WAIT_MESSAGE);
    return answer_message(s, reply, out);
}

enum server_action
server_answer_recipient(
    struct server *s, const struct reply *reply, enum recipient_class class, struct buf *out)
{
    sg_assert(s->state == SERVER_WAIT_RCPT);
    server_set_state(s, SERVER_OPEN);
    if (reply == NULL || reply_is_positive(reply)) {
        take_recipient(s->tx, class);
        buf_add_str(out, "250 2.1.5 Recipient ok\r\n");
        return SERVER_READ;
    }
    drop_recipient(s->tx);
    s->tx->refused++;
    return refuse(s, reply, true, out);
}
