/* One connection: what the client machine says is to be done, done.
 *
 * Every event (bytes, TLS up, queue drained, end, deadline) goes to the machine first; `perform` carries
 * out its answer. The deadline is one timer whose meaning follows from the state; it moves when a whole
 * reply came, not when a byte did, so a peer cannot keep us waiting drop by drop.
 */
#include "relay/upstream/conn.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/upstream/pool.h"

#define LIKELY_GONE_MS 10000
#define SILENT_GONE_MS 330000 /* Microsoft 365 cuts an idle connection after 5 minutes */
#define FINISH_MS 2000
#define IDLE_LOOK_MS 500

#define TO(s) (1u << CONN_##s)
static const unsigned transitions[CONN_STATE_COUNT] = {
    [CONN_DIALING] = TO(LOGIN) | TO(CLOSED),
    [CONN_LOGIN] = TO(IDLE) | TO(QUITTING) | TO(CLOSED),
    [CONN_IDLE] = TO(LEASED) | TO(QUITTING) | TO(CLOSED),
    [CONN_LEASED] = TO(IDLE) | TO(BUSY) | TO(DEAD) | TO(QUITTING) | TO(CLOSED),
    [CONN_DEAD] = TO(CLOSED),
    [CONN_BUSY] = TO(IDLE) | TO(TIDYING) | TO(QUITTING) | TO(CLOSED),
    [CONN_TIDYING] = TO(IDLE) | TO(QUITTING) | TO(CLOSED),
    [CONN_QUITTING] = TO(CLOSED),
};

/* State, list and count go together. */
static void
set_state(struct upstream_conn *c, enum conn_state state)
{
    struct pool *pool = c->pool;

    sg_assert((transitions[c->state] & 1u << state) != 0);
    pool->count[c->state]--;
    pool->count[state]++;
    c->state = state;
    list_del(&c->link);
    if (state == CONN_IDLE)
        list_add_head(&pool->idle, &c->link);
    else if (state != CONN_CLOSED)
        list_add_tail(&pool->others, &c->link);
}

static bool
is_open(const struct upstream_conn *c)
{
    return c->stream != NULL;
}

static void
bury(void *object)
{
    struct upstream_conn *c = object;

    free(c->recipients);
    free(c);
}

static void
give_slot(struct upstream_conn *c)
{
    static const int64_t wait_ms[] = {
        [CONN_END_KNOWN] = 0,
        [CONN_END_LIKELY] = LIKELY_GONE_MS,
        [CONN_END_SILENT] = SILENT_GONE_MS,
    };
    const struct pool_conf *conf = c->pool->conf;

    if (c->has_slot)
        slot_give(&c->pool->up->slots, conf->scope, conf->instance, c->slot, wait_ms[c->end]);
    if (c->has_slot && wait_ms[c->end] == 0)
        pool_on_slot_back(c->pool);
    c->has_slot = false;
}

/* Lets go of the network. In order where nothing is outstanding, so that TLS ends with its close_notify. */
static void
hang_up(struct upstream_conn *c)
{
    dial_cancel(c->pool->up->setup.dialer, c->dial);
    c->dial = HANDLE_NONE;
    timer_stop(&c->deadline);
    if (c->stream != NULL && c->state == CONN_QUITTING && c->end == CONN_END_KNOWN)
        stream_finish(&c->stream, FINISH_MS);
    else if (c->stream != NULL)
        stream_close(&c->stream);
    give_slot(c);
}

void
conn_close(struct upstream_conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    hang_up(c);
    set_state(c, CONN_CLOSED);
    timer_fini(&c->deadline);
    task_cancel(&c->refuse);
    loop_bury(c->pool->up->setup.loop, &c->corpse, bury, c);
    pool_wake(c->pool);
}

/* The link is gone and no transaction waits for it. Who leased it learns when he uses it. */
static void
die(struct upstream_conn *c)
{
    if (c->state != CONN_LEASED) {
        conn_close(c);
        return;
    }
    hang_up(c);
    set_state(c, CONN_DEAD);
    pool_wake(c->pool);
}

/* Sends what the machine wants sent; wipes it where it may be a password. */
static void
flush_out(struct upstream_conn *c)
{
    struct buf *out = &c->pool->up->out;

    if (buf_len(out) == 0)
        return;
    stream_write(c->stream, buf_span(out));
    if (c->state == CONN_LOGIN)
        explicit_bzero(out->p, out->len);
    buf_clear(out);
}

static void
arm(struct upstream_conn *c)
{
    const struct pool_conf *conf = c->pool->conf;
    int wait_ms = client_wait_ms(&c->client);

    if (c->client.state == CLIENT_BODY) {
        wait_ms = conf->block_ms / 4 + 1;
        if (c->pump.state == PUMP_WRITTEN && conf->client.dot_ms < wait_ms)
            wait_ms = conf->client.dot_ms;
    }
    if (wait_ms >= 0)
        timer_start(&c->deadline, wait_ms);
}

void
conn_quit(struct upstream_conn *c)
{
    set_state(c, CONN_QUITTING);
    client_quit(&c->client, &c->pool->up->out);
    if (c->client.state == CLIENT_OVER) {
        conn_close(c);
        return;
    }
    flush_out(c);
    arm(c);
}

/* How long it may rest changes while it does: another node may come that waits for its slot. */
static void
rest_on(struct upstream_conn *c)
{
    int64_t rested_ms = loop_now_ms(c->pool->up->setup.loop) - c->rests_mono_ms;
    int64_t left_ms = pool_idle_ms(c->pool) - rested_ms;

    if (left_ms <= 0)
        conn_quit(c);
    else
        timer_start(&c->deadline, left_ms < IDLE_LOOK_MS ? left_ms : IDLE_LOOK_MS);
}

/* Nothing runs on it: back to the pool, or good-bye. */
static void
rest(struct upstream_conn *c)
{
    if (!pool_wants(c->pool, c)) {
        conn_quit(c);
        return;
    }
    set_state(c, CONN_IDLE);
    c->rests_mono_ms = loop_now_ms(c->pool->up->setup.loop);
    rest_on(c);
    pool_wake(c->pool);
}

static void
see_caps(struct upstream_conn *c)
{
    const struct ehlo *e = &c->client.ehlo;
    const struct tls_peer *peer = stream_tls_peer(c->stream);
    struct route_seen *seen = c->pool->seen;

    c->caps.size_max = e->size_max;
    c->caps.eightbitmime = e->eightbitmime;
    c->caps.pipelining = e->pipelining;
    c->caps.dsn = e->dsn;
    c->caps.tls = peer != NULL;
    if (peer != NULL)
        snprintf(c->caps.tls_text, sizeof(c->caps.tls_text), "%s:%s", peer->version, peer->cipher);
    if (seen != NULL) {
        seen->size_max = e->size_max;
        seen->eightbitmime = e->eightbitmime;
    }
}

static void
on_ready(struct upstream_conn *c)
{
    if (c->state == CONN_LOGIN) {
        see_caps(c);
        pool_on_login(c->pool);
    }
    rest(c);
}

static void
on_login_failed(struct upstream_conn *c)
{
    struct pool *pool = c->pool;
    const struct tx_outcome *o = &c->client.outcome;
    struct lease_failure f = {.phase = o->phase};

    reply_copy(&f.reply, &o->reply);
    snprintf(f.detail, sizeof(f.detail), "%.64s (%s): %.100s", pool->conf->target, c->caps.peer, o->detail);
    if (f.reply.code == 421)
        c->end = CONN_END_KNOWN;
    if (c->client.state == CLIENT_REFUSED)
        conn_quit(c);
    else
        conn_close(c);
    pool_on_failure(pool, c, &f);
}

/* The connection is settled before the caller hears: whatever it does next finds the pool in order. */
static void
on_tx_done(struct upstream_conn *c)
{
    const struct tx_outcome *o = &c->client.outcome;
    struct tx_recipient *recipients = c->recipients;
    bool leftover = c->pump.state != PUMP_OFF && c->stream != NULL && stream_queued(c->stream) > 0;

    c->tx = NULL;
    c->recipients = NULL;
    c->pump.state = PUMP_OFF;
    if (o->reply.code == 421)
        c->end = CONN_END_KNOWN;
    if (c->client.state == CLIENT_RSET && !leftover) {
        set_state(c, CONN_TIDYING);
        arm(c);
    } else if (c->client.state == CLIENT_READY && !leftover) {
        rest(c);
    } else {
        conn_close(c);
    }
    c->done(c->done_arg, o);
    free(recipients);
}

static void
send_body(struct upstream_conn *c)
{
    if (!pump_run(c))
        client_abort(&c->client, "the message cannot be read");
    if (c->client.state == CLIENT_OVER)
        on_tx_done(c);
    else
        arm(c);
}

static void
perform(struct upstream_conn *c, enum client_do todo)
{
    flush_out(c);
    switch (todo) {
    case CLIENT_GO_ON:
        arm(c);
        break;
    case CLIENT_START_TLS:
        stream_start_tls_client(c->stream, c->pool->tls, c->pool->conf->host);
        arm(c);
        break;
    case CLIENT_IS_READY:
        on_ready(c);
        break;
    case CLIENT_SEND_BODY:
        pump_start(c);
        send_body(c);
        break;
    case CLIENT_TX_DONE:
        on_tx_done(c);
        break;
    case CLIENT_FAILED:
        on_login_failed(c);
        break;
    case CLIENT_CLOSE:
        if (c->state == CONN_QUITTING && c->end == CONN_END_LIKELY)
            c->end = CONN_END_KNOWN;
        die(c);
        break;
    }
}

/* The reply to a body that was written to the end is a reply to the dot, wherever the kernel still has the
 * bytes. */
static size_t
on_data(void *arg, struct span in)
{
    struct upstream_conn *c = arg;
    size_t at = 0, used = 1;

    if (c->client.state == CLIENT_BODY && c->pump.state == PUMP_WRITTEN)
        client_body_sent(&c->client);
    if (c->client.state == CLIENT_READY && span_starts_nocase(in, SPAN_LIT("421")))
        c->end = CONN_END_KNOWN;
    while (at < in.n && used > 0 && is_open(c)) {
        enum client_do todo = client_on_data(&c->client, span_from(in, at), &c->pool->up->out, &used);

        at += used;
        if (todo != CLIENT_GO_ON || (used > 0 && c->client.reader.lines == 0))
            perform(c, todo);
    }
    return is_open(c) ? at : in.n;
}

static void
on_secure(void *arg)
{
    struct upstream_conn *c = arg;

    perform(c, client_on_secure(&c->client, &c->pool->up->out));
}

static void
on_drained(void *arg)
{
    struct upstream_conn *c = arg;

    if (c->client.state == CLIENT_BODY && c->pump.state == PUMP_BODY)
        send_body(c);
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    struct upstream_conn *c = arg;
    char text[sizeof(c->client.outcome.detail)];

    snprintf(text, sizeof(text), "%s%s%s", stream_end_to_str(end), detail[0] != '\0' ? ": " : "", detail);
    if (end == STREAM_EOF || end == STREAM_TRUNCATED || end == STREAM_RESET)
        c->end = CONN_END_KNOWN;
    if (c->client.state == CLIENT_BODY && pump_is_through(c))
        client_body_sent(&c->client);
    perform(c, client_on_lost(&c->client, text));
}

static const struct stream_ops stream_ops = {
    .on_secure = on_secure,
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
};

/* The body has its own clock: any progress within block_ms is enough; from when it is through the dot's
 * deadline counts. */
static bool
is_in_time(struct upstream_conn *c)
{
    int64_t waited_ms;

    if (c->client.state != CLIENT_BODY || pump_is_stuck(c))
        return false;
    if (!pump_is_through(c)) {
        arm(c);
        return true;
    }
    client_body_sent(&c->client);
    waited_ms = loop_now_ms(c->pool->up->setup.loop) - c->pump.gone_mono_ms;
    if (waited_ms >= c->pool->conf->client.dot_ms)
        return false;
    timer_start(&c->deadline, c->pool->conf->client.dot_ms - waited_ms);
    return true;
}

static void
on_deadline(void *arg)
{
    struct upstream_conn *c = arg;

    if (c->state == CONN_IDLE) {
        rest_on(c);
        return;
    }
    if (is_in_time(c))
        return;
    c->end = CONN_END_SILENT;
    perform(c, client_on_timeout(&c->client));
}

static void
on_dialed(void *arg, const struct dial_result *result)
{
    struct upstream_conn *c = arg;
    struct pool *pool = c->pool;
    struct lease_failure f = {.phase = TX_CONNECT};

    c->dial = HANDLE_NONE;
    if (result->fd >= 0) {
        bool v6 = strchr(result->peer.text, ':') != NULL;

        snprintf(c->caps.peer, sizeof(c->caps.peer), v6 ? "[%s]:%u" : "%s:%u", result->peer.text,
            (unsigned)result->peer.port);
        c->opened_mono_ms = loop_now_ms(pool->up->setup.loop);
        c->stream = stream_new(pool->up->setup.loop, result->fd, &stream_ops, c);
        set_state(c, CONN_LOGIN);
        perform(c, client_on_connected(&c->client));
        return;
    }
    snprintf(f.detail, sizeof(f.detail), "%s", result->error);
    c->end = CONN_END_KNOWN;
    conn_close(c);
    pool_on_failure(pool, c, &f);
}

/* upstream_send found the connection dead: not a byte left. */
static void
refuse(void *arg)
{
    struct upstream_conn *c = arg;
    struct tx_outcome o = {.phase = TX_CONNECT, .lost = true, .lost_on_reuse = c->client.uses > 0,
        .recipients = c->recipients};

    snprintf(o.detail, sizeof(o.detail), "the connection closed before it was used");
    for (size_t i = 0; i < c->tx->n_recipients; i++)
        o.recipients[i].fate = TX_REFUSED_FOR_NOW;
    c->tx = NULL;
    conn_close(c);
    c->done(c->done_arg, &o);
}

void
conn_open(struct pool *pool, const uint64_t *slot)
{
    const struct pool_conf *conf = pool->conf;
    struct upstream_conn *c = xcalloc(1, sizeof(*c));

    c->pool = pool;
    c->state = CONN_DIALING;
    c->end = CONN_END_LIKELY;
    c->begun_mono_ms = loop_now_ms(pool->up->setup.loop);
    c->has_slot = slot != NULL;
    c->slot = slot != NULL ? *slot : 0;
    list_add_tail(&pool->others, &c->link);
    pool->count[CONN_DIALING]++;
    client_init(&c->client, &conf->client);
    timer_init(&c->deadline, pool->up->setup.loop, on_deadline, c);
    task_init(&c->refuse, refuse, c);
    c->dial = dial_start(pool->up->setup.dialer, conf->target, conf->connect_ms, 2 * conf->connect_ms,
        on_dialed, c);
}

void
conn_lease(struct upstream_conn *c)
{
    timer_stop(&c->deadline);
    c->caps.uses = c->client.uses;
    set_state(c, CONN_LEASED);
}

const struct upstream_caps *
upstream_conn_caps(const struct upstream_conn *c)
{
    return &c->caps;
}

bool
upstream_conn_is_dead(struct upstream_conn *c)
{
    return c->state == CONN_DEAD || stream_is_dead(c->stream);
}

void
upstream_release(struct upstream_conn **conn)
{
    struct upstream_conn *c = *conn;

    *conn = NULL;
    if (c->state == CONN_LEASED && !stream_is_dead(c->stream)) {
        rest(c);
        return;
    }
    c->end = CONN_END_KNOWN; /* else the next lease would get the dead one again */
    conn_close(c);
}

void
upstream_send(struct upstream_conn **conn, const struct transaction *tx, upstream_send_fn *done, void *arg)
{
    struct upstream_conn *c = *conn;

    *conn = NULL;
    c->tx = tx;
    c->done = done;
    c->done_arg = arg;
    c->recipients = xcalloc(tx->n_recipients, sizeof(*c->recipients));
    if (c->state == CONN_DEAD) {
        task_defer(c->pool->up->setup.loop, &c->refuse);
        return;
    }
    set_state(c, CONN_BUSY);
    client_send(&c->client, tx, c->recipients, &c->pool->up->out);
    flush_out(c);
    stream_hurry(c->stream); /* the charge is good for a moment, and the turn may be long */
    arm(c);
}
