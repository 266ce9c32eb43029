/* The body on its way: trace header, message, final dot.
 *
 * As much as the stream takes is written in one turn, and the dot always in the turn of the last bytes, so
 * that a small message leaves in one write. A peer that does not read fills the stream's queue; the pump
 * rests until it drains.
 */
#include "relay/upstream/conn.h"

#include "relay/upstream/pool.h"

static void
pump_write(struct upstream_conn *c, struct span bytes, struct span end)
{
    stream_write_ended(c->stream, bytes, end);
    c->pump.written += bytes.n + end.n;
}

void
pump_start(struct upstream_conn *c)
{
    c->pump = (struct pump){.state = PUMP_PREFIX, .gone_mono_ms = loop_now_ms(c->pool->up->setup.loop)};
}

bool
pump_run(struct upstream_conn *c)
{
    struct pump *p = &c->pump;

    if (p->state == PUMP_PREFIX) {
        pump_write(c, c->tx->prefix, SPAN_LIT(""));
        p->state = PUMP_BODY;
    }
    while (p->state == PUMP_BODY && !stream_is_full(c->stream)) {
        struct span bytes;
        bool is_last;

        if (blob_read(c->tx->body, p->at, c->pool->up->chunk, BODY_CHUNK, &bytes) != BLOB_OK)
            return false;
        p->at += bytes.n;
        is_last = bytes.n == 0 || p->at == blob_size(c->tx->body);
        pump_write(c, bytes, is_last ? SPAN_LIT(".\r\n") : SPAN_LIT(""));
        if (is_last)
            p->state = PUMP_WRITTEN;
    }
    return true;
}

bool
pump_is_stuck(struct upstream_conn *c)
{
    struct pump *p = &c->pump;
    uint64_t gone = p->written - stream_queued(c->stream);
    int64_t now = loop_now_ms(c->pool->up->setup.loop);

    if (gone > p->gone) {
        p->gone = gone;
        p->gone_mono_ms = now;
    }
    return gone < p->written && now - p->gone_mono_ms >= c->pool->conf->block_ms;
}

bool
pump_is_through(const struct upstream_conn *c)
{
    return c->pump.state == PUMP_WRITTEN && stream_queued(c->stream) == 0;
}
