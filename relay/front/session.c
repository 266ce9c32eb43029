#include "relay/front/session.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"

#define FINISH_MS 5000
#define CROWDED_IDLE_MS 10000

/* An idle connection is cheap: hundreds of devices keep one open. */
static_assert(sizeof(struct session) <= 1024, "an idle session is small");

static void on_secure(void *arg);
static size_t on_data(void *arg, struct span in);
static void on_drained(void *arg);
static void on_end(void *arg, enum stream_end end, const char *detail);
static void on_timer(void *arg);
static size_t feed(struct session *s, struct span in);

static const struct stream_ops ops = {on_secure, on_data, on_drained, on_end};

void
session_set_state(struct session *s, enum session_state next)
{
    static const unsigned transitions[SESSION_STATE_COUNT] = {
        [SESSION_HANDSHAKE] = 1u << SESSION_TALKING | 1u << SESSION_CLOSED,
        [SESSION_TALKING] = 1u << SESSION_HANDSHAKE | 1u << SESSION_WAITING | 1u << SESSION_HELD |
            1u << SESSION_CLOSED,
        [SESSION_WAITING] = 1u << SESSION_TALKING | 1u << SESSION_CLOSED,
        [SESSION_HELD] = 1u << SESSION_TALKING | 1u << SESSION_CLOSED,
    };

    sg_assert((transitions[s->state] & 1u << next) != 0);
    s->state = next;
}

/* ---- clocks ---- */

static void
start_clock(struct session *s, enum session_clock clock, int64_t ms)
{
    s->clock = clock;
    timer_start(&s->timer, ms);
}

static void
stop_clock(struct session *s)
{
    s->clock = CLOCK_OFF;
    timer_stop(&s->timer);
}

static bool
is_crowd(size_t n_sessions, const struct front_conf *c)
{
    return (uint64_t)n_sessions * 5 > (uint64_t)c->connections_max * 4;
}

static int64_t
idle_ms(const struct session *s)
{
    const struct front_conf *c = &s->generation->config->front;

    if (is_crowd(s->front->n_sessions, c))
        return CROWDED_IDLE_MS < c->idle_ms ? CROWDED_IDLE_MS : c->idle_ms;
    return s->messages_sent == 0 && s->server.tx == NULL ? c->first_mail_ms : c->idle_ms;
}

/* Which clock runs while the session talks. begun: a line has begun whose end has not come; moved: a line was
 * completed, so a begun one is new. Bytes alone never move the clock, or one byte a minute would hold a place
 * for ever. */
static void
arm(struct session *s, bool begun, bool moved)
{
    const struct front_conf *c = &s->generation->config->front;

    s->heard_mono_ms = loop_now_ms(s->front->loop);
    if (s->server.state == SERVER_BODY) {
        if (s->clock == CLOCK_BODY)
            return;
        s->body_bytes_seen = stream_bytes_in(s->stream);
        start_clock(s, CLOCK_BODY, c->command_ms);
    } else if (begun || s->server.state == SERVER_SASL) {
        if (moved || s->clock != CLOCK_COMMAND)
            start_clock(s, CLOCK_COMMAND, c->command_ms);
    } else
        start_clock(s, CLOCK_IDLE, idle_ms(s));
}

/* The crowd begins: who is silent already has no longer from now on than who comes last. */
static void
shorten_idle(struct front *f)
{
    int64_t due = clock_mono_ms() + CROWDED_IDLE_MS;

    LIST_EACH(it, &f->sessions) {
        struct session *s = LIST_ITEM(it, struct session, link);

        if (s->clock == CLOCK_IDLE && s->timer.due_mono_ms > due)
            start_clock(s, CLOCK_IDLE, CROWDED_IDLE_MS);
    }
}

/* ---- life ---- */

void
session_open(struct front_socket *socket, int fd, const struct net_addr *peer, struct peer *peer_entry)
{
    struct front *f = socket->front;
    struct session *s = xcalloc(1, sizeof *s);

    s->front = f;
    s->generation = generation_ref(f->generation);
    s->listener = socket->in_force;
    s->socket = socket;
    socket->connections++;
    s->peer = peer_entry;
    s->has_address = front_address_of(peer, &s->address);
    memcpy(s->peer_text, peer->text, sizeof s->peer_text);
    message_id_make(s->id);
    s->opened_mono_ms = loop_now_ms(f->loop);
    buf_init(&s->held);
    timer_init(&s->timer, f->loop, on_timer, s);
    server_init(&s->server, &s->listener->server);
    s->self = slots_add(&f->handles, s);
    list_add_tail(&f->sessions, &s->link);
    f->n_sessions++;
    if (is_crowd(f->n_sessions, front_conf_of(f)) && !is_crowd(f->n_sessions - 1, front_conf_of(f)))
        shorten_idle(f);
    f->n_strangers++;
    s->stranger = true;
    session_identify(s);
    metric_add(f->metrics, M_CONNECTIONS, 1, s->listener->conf->name, NULL, NULL);
    metric_add(f->metrics, M_CONNECTIONS_TOTAL, 1, s->listener->conf->name, NULL, NULL);
    s->stream = stream_new(f->loop, fd, &ops, s);
    if (s->listener->conf->tls == FRONT_TLS_IMPLICIT) {
        s->state = SESSION_HANDSHAKE;
        start_clock(s, CLOCK_HANDSHAKE, s->generation->config->front.handshake_ms);
        stream_start_tls_server(s->stream, s->listener->tls);
        return;
    }
    s->state = SESSION_TALKING;
    server_greet(&s->server, &f->out);
    session_go_on(s, SERVER_READ);
}

static void
bury(void *object)
{
    free(object);
}

static void
log_end_of(const struct session *s, const char *why)
{
    struct log_line l;

    log_begin(&l, LOG_DEBUG, "session");
    log_cstr(&l, "session", s->id);
    log_cstr(&l, "listener", s->listener->conf->name);
    log_cstr(&l, "peer", s->peer_text);
    log_cstr(&l, "client", s->client != NULL ? s->client->name : "");
    log_cstr(&l, "end", why);
    log_cstr(&l, "state", server_state_to_str(s->server.state));
    log_int(&l, "messages", s->messages_sent);
    log_int(&l, "ms", loop_now_ms(s->front->loop) - s->opened_mono_ms);
    log_end(&l);
}

/* Everything but stream and transaction goes. */
static void
let_go(struct session *s, const char *why)
{
    struct front *f = s->front;

    log_end_of(s, why);
    metric_add(f->metrics, M_CONNECTIONS, -1, s->listener->conf->name, NULL, NULL);
    session_set_state(s, SESSION_CLOSED);
    if (!handle_is_none(s->pending))
        flow_forget(f->flow, s->pending);
    if (s->server.state == SERVER_WAIT_AUTH)
        verify_forget(f->verify, s);
    timer_fini(&s->timer);
    buf_fini(&s->held);
    server_fini(&s->server);
    slots_del(&f->handles, s->self);
    list_del(&s->link);
    f->n_sessions--;
    f->n_strangers -= s->stranger;
    s->peer->connections--;
    if (s->socket != NULL)
        s->socket->connections--;
    generation_unref(&s->generation);
    loop_bury(f->loop, &s->corpse, bury, s);
    front_session_gone(f);
}

void
session_close(struct session *s, const char *why)
{
    if (s->state == SESSION_CLOSED)
        return;
    session_drop_mail(s);
    stream_close(&s->stream);
    let_go(s, why);
}

/* What was said still goes out. */
static void
finish(struct session *s)
{
    session_drop_mail(s);
    stream_finish(&s->stream, FINISH_MS);
    let_go(s, s->server.why);
}

static void
flush(struct session *s)
{
    struct buf *out = &s->front->out;

    if (buf_len(out) > 0)
        stream_write(s->stream, buf_span(out));
    buf_clear(out);
}

static void
say_goodbye(struct session *s, int code, const char *enhanced, const char *text, const char *why)
{
    server_end(&s->server, code, enhanced, text, why, &s->front->out);
    flush(s);
    finish(s);
}

/* Nothing has begun that has not ended. */
static bool
is_between_messages(const struct session *s)
{
    return s->state == SESSION_TALKING && s->server.tx == NULL && s->clock != CLOCK_COMMAND;
}

void
session_retire(struct session *s, int64_t silent_ms, int64_t begin_ms)
{
    int64_t wait_ms = s->messages_sent > 0 ? silent_ms : begin_ms;

    if (is_between_messages(s) && loop_now_ms(s->front->loop) - s->heard_mono_ms >= wait_ms)
        say_goodbye(s, 421, "4.3.2", "The relay is shutting down; try again", "retire");
}

void
session_drain(struct session *s)
{
    if (s->state == SESSION_HANDSHAKE)
        session_close(s, "drain");
    else if (is_between_messages(s))
        say_goodbye(s, 421, "4.3.2", "The relay is shutting down; try again later", "drain");
}

/* Who waits for the upstream's answer is cut off: nobody knows it. */
void
session_drain_now(struct session *s)
{
    if (s->state == SESSION_TALKING)
        say_goodbye(s, 421, "4.3.2", "The relay is shutting down; try again later", "drain-deadline");
    else
        session_close(s, "drain-deadline");
}

void
session_leave_socket(struct front *f, struct front_socket *socket)
{
    LIST_EACH(it, &f->sessions) {
        struct session *s = LIST_ITEM(it, struct session, link);

        if (s->socket == socket)
            s->socket = NULL;
    }
}

void
session_refused(struct session *s, const char *why, const char *text)
{
    front_count_refusal(s->front, &(struct front_refusal){.peer = s->peer, .peer_text = s->peer_text,
        .session_id = s->id, .listener = s->listener->conf->name,
        .client = s->client != NULL ? s->client->name : "", .why = why, .text = text});
}

/* ---- what the machine asks for ---- */

static void
begin_tls(struct session *s)
{
    session_set_state(s, SESSION_HANDSHAKE);
    start_clock(s, CLOCK_HANDSHAKE, s->generation->config->front.handshake_ms);
    flush(s);
    stream_start_tls_server(s->stream, s->listener->tls);
}

static void
hold_back(struct session *s)
{
    struct buf *out = &s->front->out;

    buf_add_span(&s->held, buf_span(out));
    buf_clear(out);
    session_set_state(s, SESSION_HELD);
    stream_pause(s->stream);
    start_clock(s, CLOCK_HELD, s->server.delay_ms);
}

static void
wait_for_answer(struct session *s)
{
    session_set_state(s, SESSION_WAITING);
    stop_clock(s);
    /* Early bytes after DATA must be seen (they end the session); others wait in the kernel, like a FIN. */
    if (s->server.state != SERVER_WAIT_DATA)
        stream_pause(s->stream);
    flush(s);
}

/* The machine's own refusals, once per call. */
static void
note_complaint(struct session *s)
{
    struct complaint c = s->server.complaint;
    const char *why = "protocol";

    if (c.code == 0)
        return;
    s->server.complaint.code = 0;
    if (c.code == 421)
        why = s->server.why;
    else if (c.code == 552)
        why = "size";
    else if (c.code == 535) { /* refused without asking: acting for somebody else */
        why = "auth";
        peer_auth_failed(s->peer, loop_now_ms(s->front->loop));
    }
    session_refused(s, why, c.text);
}

/* Performs actions until the machine wants to read. False: it may not be fed now. */
static bool
perform(struct session *s, enum server_action action)
{
    bool waits = false;

    while (action != SERVER_READ) {
        switch (action) {
        case SERVER_READ:
            break;
        case SERVER_DO_TLS:
            begin_tls(s);
            return false;
        case SERVER_DO_AUTH:
            action = session_start_auth(s, &waits);
            break;
        case SERVER_DO_MAIL:
            action = session_decide_mail(s);
            break;
        case SERVER_DO_RCPT:
            action = session_decide_rcpt(s);
            break;
        case SERVER_DO_DATA:
            action = session_decide_data(s, &waits);
            break;
        case SERVER_DO_MESSAGE:
            action = session_take_message(s, &waits);
            break;
        case SERVER_DO_DELAY:
            note_complaint(s);
            hold_back(s);
            return false;
        case SERVER_DO_CLOSE:
            if (s->server.complaint.code == 0 && strcmp(s->server.why, "stranger") == 0)
                session_refused(s, "stranger", "not a mail client");
            note_complaint(s);
            flush(s);
            finish(s);
            return false;
        }
        if (waits) {
            wait_for_answer(s);
            return false;
        }
    }
    return true;
}

/* ---- bytes ---- */

static bool
is_over_after_message(struct session *s)
{
    if (s->front->state != FRONT_DRAINING || s->server.tx != NULL || !server_is_idle(&s->server))
        return false;
    say_goodbye(s, 421, "4.3.2", "The relay is shutting down; try again later", "drain");
    return true;
}

static size_t
feed(struct session *s, struct span in)
{
    uint32_t lines = s->server.lines;
    size_t used_all = 0, used = 0;

    do {
        enum server_action action = server_input(&s->server, span_from(in, used_all), &s->front->out, &used);

        used_all += used;
        if (!perform(s, action))
            return used_all;
        if (s->server.tx == NULL)
            session_drop_mail(s);
    } while (used > 0 && used_all < in.n);
    note_complaint(s);
    flush(s);
    if (is_over_after_message(s))
        return used_all;
    if (stream_is_full(s->stream))
        stream_pause(s->stream); /* the peer does not read; the clock goes on */
    arm(s, used_all < in.n || server_is_skipping(&s->server), s->server.lines != lines);
    return used_all;
}

static size_t
on_data(void *arg, struct span in)
{
    struct session *s = arg;

    if (s->state == SESSION_TALKING)
        return feed(s, in);
    if (s->state == SESSION_WAITING && s->server.state == SERVER_WAIT_DATA) {
        size_t used;

        perform(s, server_input(&s->server, in, &s->front->out, &used));
        return used;
    }
    if (s->state != SESSION_CLOSED)
        stream_pause(s->stream);
    return 0;
}

/* An answer came: talk on, beginning with what the client sent meanwhile. */
void
session_go_on(struct session *s, enum server_action action)
{
    if (s->state == SESSION_WAITING)
        session_set_state(s, SESSION_TALKING);
    if (!perform(s, action))
        return;
    if (s->server.tx == NULL)
        session_drop_mail(s);
    note_complaint(s);
    flush(s);
    if (is_over_after_message(s))
        return;
    arm(s, false, true);
    stream_resume(s->stream);
}

static void
on_drained(void *arg)
{
    struct session *s = arg;

    if (s->state == SESSION_TALKING)
        stream_resume(s->stream);
}

static void
on_secure(void *arg)
{
    struct session *s = arg;
    bool implicit = s->listener->conf->tls == FRONT_TLS_IMPLICIT;

    server_secured(&s->server);
    session_identify(s);
    session_set_state(s, SESSION_TALKING);
    if (implicit)
        server_greet(&s->server, &s->front->out);
    session_go_on(s, SERVER_READ);
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    struct session *s = arg;

    if (end == STREAM_TLS_FAILED)
        session_refused(s, "tls", detail);
    else if (end == STREAM_OVERFLOW)
        session_refused(s, "overflow", detail);
    if (s->state == SESSION_CLOSED)
        return;
    /* Who closed only its own direction still wants the last replies. */
    if (end == STREAM_EOF) {
        s->server.why = "eof";
        finish(s);
    } else
        session_close(s, stream_end_to_str(end));
}

/* ---- deadlines ---- */

static bool
body_is_fast_enough(struct session *s)
{
    const struct front_conf *c = &s->generation->config->front;
    uint64_t least = (uint64_t)c->data_bytes_per_second_min * (uint64_t)c->command_ms / 1000;
    uint64_t now = stream_bytes_in(s->stream);
    bool fast = now - s->body_bytes_seen >= least;

    s->body_bytes_seen = now;
    return fast;
}

static void
on_timer(void *arg)
{
    struct session *s = arg;
    enum session_clock clock = s->clock;

    s->clock = CLOCK_OFF;
    switch (clock) {
    case CLOCK_OFF:
        break;
    case CLOCK_IDLE:
        say_goodbye(s, 421, "4.4.2", "Idle for too long", "idle");
        break;
    case CLOCK_COMMAND:
        session_refused(s, "slow", "a command was begun and not ended in time");
        say_goodbye(s, 421, "4.4.2", "Command took too long", "slow");
        break;
    case CLOCK_HANDSHAKE:
        session_refused(s, "slow", "TLS handshake was not done in time");
        session_close(s, "handshake");
        break;
    case CLOCK_BODY:
        if (body_is_fast_enough(s)) {
            start_clock(s, CLOCK_BODY, s->generation->config->front.command_ms);
            break;
        }
        session_refused(s, "slow", "message data came too slowly");
        say_goodbye(s, 421, "4.4.2", "Message data came too slowly", "slow");
        break;
    case CLOCK_HELD:
        stream_write(s->stream, buf_span(&s->held));
        buf_release(&s->held);
        session_set_state(s, SESSION_TALKING);
        session_go_on(s, SERVER_READ);
        break;
    }
}
