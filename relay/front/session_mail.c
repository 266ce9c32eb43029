/* A transaction of a session: sender, recipients, body, and the way to flow. */
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/front/session.h"
#include "relay/front/trace.h"

static struct flow_look
look_of(const struct session *s)
{
    const struct envelope *e = &s->server.tx->envelope;

    return (struct flow_look){.config = s->generation->config, .client = s->client,
        .route = s->mail->path.route, .mailbox = s->mail->path.mailbox, .envelope = e,
        .bytes = e->declared_bytes};
}

/* A local refusal of the governor is no fault of the client. */
static bool
is_hinted(struct session *s, enum recipient_class class, struct span domain, struct reply *answer)
{
    struct flow_look look = look_of(s);
    struct flow_refusal refusal;

    look.domain = domain;
    if (!flow_hint(s->front->flow, &look, class, &refusal))
        return false;
    session_note_refusal(s, &refusal);
    reply_copy(answer, &refusal.reply);
    return true;
}

/* ---- MAIL ---- */

static bool
has_identity(struct session *s, struct reply *refusal)
{
    if (s->client != NULL)
        return true;
    if (s->listener->server.auth)
        reply_set(refusal, 530, "5.7.0", "Authentication required");
    else
        reply_set(
            refusal, 550, "5.7.1", "Relaying denied: %s belongs to no client of this relay", s->peer_text);
    session_refused(s, "identity", refusal->text);
    return false;
}

/* What the route's upstream takes, as far as it is known. */
static bool
fits_route(struct session *s, const struct route_conf *route, struct reply *refusal)
{
    struct server_tx *tx = s->server.tx;
    uint64_t size = 0;
    bool eightbit = true;

    flow_route_caps(s->front->flow, route, &size, &eightbit);
    if (size > TRACE_ROOM && size - TRACE_ROOM < tx->content_max)
        tx->content_max = size - TRACE_ROOM;
    if (sender_admit_size(route, tx->envelope.declared_bytes, tx->content_max, refusal)) {
        if (tx->envelope.body != SMTP_BODY_8BITMIME || eightbit)
            return true;
        reply_set(refusal, 554, "5.6.3", "The upstream of route %s takes no 8-bit content", route->name);
    }
    session_refused(s, "size", refusal->text);
    return false;
}

/* Nobody who comes now gets in here, so nothing of what follows would be true for long. */
static bool
is_still_open(struct session *s, struct reply *refusal)
{
    if (s->front->state == FRONT_DRAINING) {
        reply_set(refusal, 421, "4.3.2", "The relay is shutting down; try again later");
        return false;
    }
    if (session_move_on(s))
        return true;
    reply_set(refusal, 421, "4.3.2",
        "A reload took away listener %s, by which you came; connect to another one", s->listener->conf->name);
    session_refused(s, "listener", refusal->text);
    return false;
}

enum server_action
session_decide_mail(struct session *s)
{
    struct front *f = s->front;
    struct reply refusal;
    struct sender_path path = {NULL, NULL};

    session_drop_mail(s); /* it belongs to the generation the session has now */
    if (!is_still_open(s, &refusal))
        return server_answer(&s->server, &refusal, &f->out);
    if (!has_identity(s, &refusal))
        return server_answer(&s->server, &refusal, &f->out);
    if (!sender_admit(s->generation->config, s->client, &s->server.tx->envelope.sender, &path, &refusal)) {
        session_refused(s, "sender", refusal.text);
        return server_answer(&s->server, &refusal, &f->out);
    }
    if (!fits_route(s, path.route, &refusal))
        return server_answer(&s->server, &refusal, &f->out);
    if (!flow_keeps(f->flow, s->client, &refusal)) {
        session_refused(s, "storage", refusal.text);
        return server_answer(&s->server, &refusal, &f->out);
    }
    session_begin_mail(s, &path);
    if (is_hinted(s, RECIPIENT_INTERNAL, span_of("", 0), &refusal)) {
        session_drop_mail(s);
        return server_answer(&s->server, &refusal, &f->out);
    }
    return server_answer(&s->server, NULL, &f->out);
}

/* ---- RCPT ---- */

enum server_action
session_decide_rcpt(struct session *s)
{
    enum recipient_class class = RECIPIENT_EXTERNAL;
    struct buf *out = &s->front->out;
    struct reply refusal;

    if (!sender_admit_recipient(s->mail->path.route, &s->server.tx->recipient, &class, &refusal)) {
        session_refused(s, "recipient", refusal.text);
        return server_answer_recipient(&s->server, &refusal, class, out);
    }
    if (is_hinted(s, class, address_domain(&s->server.tx->recipient), &refusal)) {
        s->mail->refused[class]++;
        return server_answer_recipient(&s->server, &refusal, class, out);
    }
    s->mail->accepted[class]++;
    return server_answer_recipient(&s->server, NULL, class, out);
}

/* ---- DATA ---- */

static void
on_wire(void *arg, struct span wire)
{
    struct session_mail *mail = arg;

    if (mail->body_status == BLOB_OK)
        mail->body_status = blob_append(mail->body, wire);
}

static enum server_action
begin_body(struct session *s)
{
    s->mail->begun = true;
    s->mail->body = blob_new(flow_bodies(s->front->flow));
    server_set_sink(&s->server, on_wire, s->mail);
    return server_answer(&s->server, NULL, &s->front->out);
}

static void
on_looked(void *arg, const struct flow_refusal *refusal)
{
    struct session *s = arg;

    s->pending = HANDLE_NONE;
    if (refusal == NULL) {
        session_go_on(s, begin_body(s));
        return;
    }
    session_note_refusal(s, refusal);
    session_go_on(s, server_answer(&s->server, &refusal->reply, &s->front->out));
}

/* Clients that queue by themselves are told before the body travels in vain. */
enum server_action
session_decide_data(struct session *s, bool *waits_out)
{
    struct flow_look look = look_of(s);

    if (s->client->accept != ACCEPT_DEFER)
        return begin_body(s);
    s->pending = flow_look(s->front->flow, &look, on_looked, s);
    *waits_out = true;
    return SERVER_READ;
}

/* ---- the message ---- */

/* A refusal after the dot. It has a message line, so it needs no line of its own beside it. */
static void
refuse_message(struct session *s, const char *why, const char *end, struct flow_refusal *refusal)
{
    memcpy(refusal->end.letters, end, sizeof refusal->end.letters);
    metric_add(s->front->metrics, M_CLIENTS_REFUSED, 1, why, NULL, NULL);
}

static bool
is_sound(struct session *s, struct flow_refusal *refusal)
{
    const struct complaint *c = server_body_complaint(&s->server);

    if (c == NULL)
        return true;
    reply_set(&refusal->reply, c->code, c->enhanced, "%s", c->text);
    refuse_message(s, c->code == 552 ? "size" : "protocol", "Ro", refusal);
    return false;
}

static bool
is_stored(struct session *s, struct flow_refusal *refusal)
{
    switch (s->mail->body_status) {
    case BLOB_OK:
        return true;
    case BLOB_NO_SPACE:
        reply_set(&refusal->reply, 452, "4.3.1", "No room for this message now; try again later");
        break;
    case BLOB_IO_ERROR:
        reply_set(&refusal->reply, 451, "4.3.0", "The message could not be stored now; try again later");
        break;
    }
    log_text(LOG_ERROR, "body", "a message body could not be stored in %s",
        s->generation->config->front.temp_folder);
    refuse_message(s, "storage", "No", refusal);
    return false;
}

static bool
is_header_admitted(struct session *s, struct flow_refusal *refusal)
{
    struct header_authors authors;
    enum header_status status = header_end(&s->server.tx->header, &authors);
    const struct complaint *c = header_complaint(status);
    bool admitted;

    if (c != NULL) {
        reply_set(&refusal->reply, c->code, c->enhanced, "%s", c->text);
        refuse_message(s, status == HEADER_LOOP || status == HEADER_HOPS ? "loop" : "header", "Rh", refusal);
        return false;
    }
    admitted = sender_admit_authors(s->client, s->mail->path.route, &authors, &refusal->reply);
    header_authors_fini(&authors);
    if (!admitted)
        refuse_message(s, "header-from", "Rh", refusal);
    return admitted;
}

static char *
make_trace(const struct session *s, const char *id)
{
    struct trace t = {
        .helo = s->server.helo,
        .peer = s->peer_text,
        .hostname = s->generation->config->front.hostname,
        .id = id,
        .esmtp = s->server.esmtp,
        .tls = s->server.secure,
        .authenticated = s->server.authenticated,
        .utc_ms = clock_utc_ms(),
    };

    return trace_format(&t);
}

static struct message *
make_message(struct session *s)
{
    struct message *m = session_describe(s);

    session_move_envelope(s, m);
    m->body = s->mail->body;
    s->mail->body = NULL;
    blob_seal(m->body);
    m->trace = make_trace(s, m->id);
    return m;
}

static void
on_settled(void *arg, const struct reply *reply)
{
    struct session *s = arg;

    s->pending = HANDLE_NONE;
    session_go_on(s, server_answer(&s->server, reply, &s->front->out));
}

enum server_action
session_take_message(struct session *s, bool *waits_out)
{
    struct flow_refusal refusal = {.verdict = {.kind = VERDICT_GRANTED}};
    enum server_action action;
    struct message *m;

    if (!is_sound(s, &refusal) || !is_stored(s, &refusal) || !is_header_admitted(s, &refusal)) {
        session_book_message(s, &refusal);
        action = server_answer(&s->server, &refusal.reply, &s->front->out);
        s->server.complaint.code = 0; /* booked already */
        return action;
    }
    m = make_message(s);
    s->messages_sent++;
    s->pending = flow_submit(s->front->flow, &m, on_settled, s);
    *waits_out = true;
    return SERVER_READ;
}
