#include "relay/store/redis_wire.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "relay/net/dial.h"
#include "relay/net/stream.h"
#include "tls/tls.h"

#define FEED_BYTES (16 * 1024)

static void
break_off(struct redis_wire *w, enum store_error error, const char *detail)
{
    redis_wire_close(w);
    w->ops->on_broken(w->arg, error, detail);
}

/* Replies as far as they are complete. False: the connection is gone. */
static bool
take_replies(struct redis_wire *w)
{
    while (w->stream) {
        void *reply = NULL;

        if (redisReaderGetReply(w->reader, &reply) != REDIS_OK) {
            break_off(w, STORE_PROTOCOL, "Redis sent what is not RESP");
            return false;
        }
        if (!reply)
            return true;
        w->ops->on_reply(w->arg, reply);
        freeReplyObject(reply);
    }
    return false;
}

static size_t
on_data(void *arg, struct span in)
{
    struct redis_wire *w = arg;
    const char *why = "";
    size_t total = in.n;

    while (in.n > 0) {
        struct span part = span_head(in, FEED_BYTES);

        if (!resp_guard_feed(&w->guard, part, &why)) {
            break_off(w, STORE_PROTOCOL, why);
            return total;
        }
        if (redisReaderFeed(w->reader, part.p, part.n) != REDIS_OK) {
            break_off(w, STORE_PROTOCOL, "Redis sent what is not RESP");
            return total;
        }
        if (!take_replies(w))
            return total;
        in = span_from(in, part.n);
    }
    return total;
}

static void
on_secure(void *arg)
{
    struct redis_wire *w = arg;

    timer_stop(&w->handshake);
    w->ops->on_open(w->arg);
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    char text[256];

    snprintf(text, sizeof(text), "connection to Redis lost: %.40s %.180s", stream_end_to_str(end), detail);
    break_off(arg, STORE_DOWN, text);
}

static void
on_handshake_late(void *arg)
{
    break_off(arg, STORE_TIMEOUT, "TLS handshake with Redis took too long");
}

static const struct stream_ops stream_ops = {.on_secure = on_secure, .on_data = on_data, .on_end = on_end};

static void
on_dialed(void *arg, const struct dial_result *result)
{
    struct redis_wire *w = arg;

    w->dial = HANDLE_NONE;
    if (result->fd < 0) {
        break_off(w, STORE_DOWN, result->error);
        return;
    }
    resp_guard_init(&w->guard);
    w->reader = redisReaderCreate();
    sg_assert(w->reader);
    w->stream = stream_new(w->loop, result->fd, &stream_ops, w);
    if (!w->tls) {
        w->ops->on_open(w->arg);
        return;
    }
    timer_start(&w->handshake, w->connect_ms);
    stream_start_tls_client(w->stream, w->tls, w->host);
}

/* "redis.example:6379" -> "redis.example", "[::1]:6379" -> "::1". */
static void
host_of(const char *target, char *out, size_t size)
{
    struct span host = span_str(target);
    const char *colon = strrchr(target, ':');

    if (colon)
        host.n = (size_t)(colon - target);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = span_of(host.p + 1, host.n - 2);
    snprintf(out, size, "%.*s", SPAN_FMT(host));
}

void
redis_wire_init(struct redis_wire *w, struct loop *loop, struct dialer *dialer, struct tls_ctx *tls,
    const struct redis_wire_ops *ops, void *arg)
{
    memset(w, 0, sizeof(*w));
    w->loop = loop;
    w->dialer = dialer;
    w->tls = tls;
    w->ops = ops;
    w->arg = arg;
    w->dial = HANDLE_NONE;
    timer_init(&w->handshake, loop, on_handshake_late, w);
}

void
redis_wire_fini(struct redis_wire *w)
{
    redis_wire_close(w);
    timer_fini(&w->handshake);
}

void
redis_wire_dial(struct redis_wire *w, const char *target, int connect_ms)
{
    w->connect_ms = connect_ms;
    host_of(target, w->host, sizeof(w->host));
    w->dial = dial_start(w->dialer, target, connect_ms, 2 * connect_ms, on_dialed, w);
}

void
redis_wire_close(struct redis_wire *w)
{
    if (!handle_is_none(w->dial))
        dial_cancel(w->dialer, w->dial);
    w->dial = HANDLE_NONE;
    timer_stop(&w->handshake);
    if (w->stream)
        stream_close(&w->stream);
    if (w->reader)
        redisReaderFree(w->reader);
    w->reader = NULL;
}

void
redis_wire_write(struct redis_wire *w, struct span bytes)
{
    stream_write(w->stream, bytes);
}

void
redis_wire_say(struct redis_wire *w, int argc, const char **argv)
{
    size_t lens[REDIS_WIRE_WORDS];
    char *bytes;
    int n;

    sg_assert(argc <= REDIS_WIRE_WORDS);
    for (int i = 0; i < argc; i++)
        lens[i] = strlen(argv[i]);
    n = (int)redisFormatCommandArgv(&bytes, argc, argv, lens);
    sg_assert(n > 0);
    stream_write(w->stream, span_of(bytes, (size_t)n));
    explicit_bzero(bytes, (size_t)n);
    redisFreeCommand(bytes);
}

size_t
redis_wire_queued(const struct redis_wire *w)
{
    return stream_queued(w->stream);
}
