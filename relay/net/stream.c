#include "relay/net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "relay/base/xmalloc.h"
#include "relay/net/stream_part.h"

#define OUT_MAX ((size_t)4 * STREAM_OUT_HIGH)
/* A piece at least so large leaves in place instead of through the queue: with its end, or all but its tail,
 * which waits for the end of the turn so that what is written next leaves with it. Plain only, TLS copies
 * anyway. */
#define IN_PLACE_BYTES (16 * 1024)
#define TAIL_BYTES 4096
/* How long a closed stream waits for the peer's close, so that unread input does not turn our last reply
 * into a RST. */
#define LINGER_MS 2000

const char *
stream_end_to_str(enum stream_end end)
{
    static const char *const names[] = {"eof", "truncated", "reset", "timeout", "tls-failed", "overflow"};

    _Static_assert(sizeof(names) / sizeof(names[0]) == STREAM_OVERFLOW + 1, "a name for each end");
    return names[end];
}

static bool
has_owner(const struct stream *s)
{
    return s->state <= STREAM_BROKEN;
}

static void
destroy(void *object)
{
    struct stream *s = object;

    tls_conn_free(&s->tls);
    buf_fini(&s->in);
    buf_fini(&s->out);
    free(s->detail);
    free(s);
}

static void
stop_io(struct stream *s)
{
    event_del(&s->ev_read);
    event_del(&s->ev_write);
    task_cancel(&s->flush);
}

static void
shut(struct stream *s)
{
    if (s->state == STREAM_CLOSED)
        return;
    if (!has_owner(s))
        list_del(&s->last.orphan.link);
    s->state = STREAM_CLOSED;
    stop_io(s);
    task_cancel(&s->later);
    timer_fini(&s->deadline);
    close(s->fd);
    s->fd = -1;
    loop_bury(s->loop, &s->last.corpse, destroy, s);
}

static void
drop_orphan(void *object)
{
    struct stream *s = object;

    list_init(&s->last.orphan.link);
    shut(s);
}

void
stream_end_with(struct stream *s, enum stream_end end, const char *detail)
{
    if (s->state == STREAM_CLOSED || s->state == STREAM_BROKEN)
        return;
    if (!has_owner(s)) {
        shut(s);
        return;
    }
    if (s->state != STREAM_PEER_ENDED) { /* else the owner was told already */
        s->end = end;
        s->detail = xstrdup(detail);
        timer_stop(&s->deadline);
        task_defer(s->loop, &s->later);
    }
    s->state = end == STREAM_EOF ? STREAM_PEER_ENDED : STREAM_BROKEN;
    s->peer_ended = true;
    buf_release(&s->in);
    stream_listen(s, false);
    if (s->state == STREAM_BROKEN)
        stop_io(s);
}

static void
on_later(void *arg)
{
    struct stream *s = arg;

    if (s->detail) {
        char *detail = s->detail;

        s->detail = NULL;
        s->ops->on_end(s->arg, s->end, detail);
        free(detail);
    } else if (s->state == STREAM_OPEN) {
        stream_read_some(s);
    }
}

static void
on_flush(void *arg)
{
    struct stream *s = arg;

    if (s->state == STREAM_SECURING)
        stream_secure_step(s);
    else
        stream_write_some(s, true);
}

static void
on_deadline(void *arg)
{
    stream_end_with(arg, STREAM_TIMEOUT, "deadline passed");
}

struct stream *
stream_new(struct loop *loop, int fd, const struct stream_ops *ops, void *arg)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    int on = 1;

    s->loop = loop;
    s->fd = fd;
    s->ops = ops;
    s->arg = arg;
    s->state = STREAM_OPEN;
    s->in_max = STREAM_IN_MAX;
    task_init(&s->later, on_later, s);
    task_init(&s->flush, on_flush, s);
    timer_init(&s->deadline, loop, on_deadline, s);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* refused by unix sockets, which need none */
    event_assign(&s->ev_read, loop_base(loop), fd, EV_READ | EV_PERSIST, stream_on_event, s);
    event_assign(&s->ev_write, loop_base(loop), fd, EV_WRITE, stream_on_event, s);
    event_add(&s->ev_read, NULL);
    return s;
}

void
stream_set_in_max(struct stream *s, size_t in_max)
{
    sg_assert(in_max < UINT32_MAX / 2);
    s->in_max = (uint32_t)in_max;
}

void
stream_listen(struct stream *s, bool on)
{
    if (on == (event_pending(&s->ev_read, EV_READ, NULL) != 0))
        return;
    if (on)
        event_add(&s->ev_read, NULL);
    else
        event_del(&s->ev_read);
}

void
stream_close(struct stream **stream)
{
    struct stream *s = *stream;

    *stream = NULL;
    if (s)
        shut(s);
}

static void
on_linger_over(void *arg)
{
    shut(arg);
}

void
stream_finish(struct stream **stream, int64_t deadline_ms)
{
    struct stream *s = *stream;

    *stream = NULL;
    if (!s)
        return;
    if ((s->state != STREAM_OPEN && s->state != STREAM_PEER_ENDED) || s->write_errno != 0) {
        shut(s);
        return;
    }
    s->state = STREAM_FINISHING;
    loop_adopt(s->loop, &s->last.orphan, drop_orphan, s);
    task_cancel(&s->later);
    buf_release(&s->in);
    stream_listen(s, false); /* not read while it sends */
    s->deadline.fn = on_linger_over;
    timer_start(&s->deadline, deadline_ms);
    loop_defer_flush(s->loop, &s->flush);
}

void
stream_finished_sending(struct stream *s)
{
    if (s->tls)
        tls_shutdown(s->tls);
    if (s->peer_ended || shutdown(s->fd, SHUT_WR) != 0) {
        shut(s);
        return;
    }
    s->state = STREAM_LINGERING;
    stream_listen(s, true);
    if (s->deadline.due_mono_ms > loop_now_ms(s->loop) + LINGER_MS)
        timer_start(&s->deadline, LINGER_MS);
}

/* What the kernel took of a large piece that follows what is queued. Without an end, the last bytes wait
 * for what else is written in this turn. */
static size_t
send_large(struct stream *s, struct span bytes, struct span end)
{
    if (bytes.n < IN_PLACE_BYTES || s->state != STREAM_OPEN || s->tls != NULL ||
        event_pending(&s->ev_write, EV_WRITE, NULL))
        return 0;
    return stream_send_in_place(s, end.n > 0 ? bytes : span_head(bytes, bytes.n - TAIL_BYTES), end);
}

void
stream_write_ended(struct stream *s, struct span bytes, struct span end)
{
    size_t gone;

    if (s->state > STREAM_PEER_ENDED || s->write_errno != 0 || bytes.n + end.n == 0)
        return;
    if (buf_len(&s->out) + bytes.n + end.n > OUT_MAX) {
        stream_end_with(s, STREAM_OVERFLOW, "the peer does not read what it is sent");
        return;
    }
    gone = send_large(s, bytes, end);
    buf_add_span(&s->out, span_from(bytes, gone));
    buf_add_span(&s->out, span_from(end, gone > bytes.n ? gone - bytes.n : 0));
    s->was_full = s->was_full || buf_len(&s->out) >= STREAM_OUT_HIGH;
    if (buf_len(&s->out) > 0 && s->state != STREAM_SECURING && !event_pending(&s->ev_write, EV_WRITE, NULL))
        loop_defer_flush(s->loop, &s->flush);
}

void
stream_write(struct stream *s, struct span bytes)
{
    stream_write_ended(s, bytes, SPAN_LIT(""));
}

bool
stream_is_full(const struct stream *s)
{
    return buf_len(&s->out) >= STREAM_OUT_HIGH;
}

size_t
stream_queued(const struct stream *s)
{
    return buf_len(&s->out);
}

void
stream_pause(struct stream *s)
{
    s->paused = true;
}

void
stream_resume(struct stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (s->state != STREAM_OPEN)
        return;
    stream_listen(s, !s->read_needs_write);
    s->shows_again = buf_len(&s->in) > 0;
    if (s->shows_again || (s->tls && tls_has_pending(s->tls)))
        task_defer(s->loop, &s->later);
}

void
stream_set_deadline(struct stream *s, int64_t ms)
{
    if (ms < 0 || s->state > STREAM_SECURING)
        timer_stop(&s->deadline);
    else
        timer_start(&s->deadline, ms);
}

static void
start_tls(struct stream *s, struct tls_conn *tls)
{
    if (s->state != STREAM_OPEN) { /* it ended already, and the owner will hear of it */
        tls_conn_free(&tls);
        return;
    }
    sg_assert(!s->tls && s->ops->on_secure);
    s->tls = tls;
    s->state = STREAM_SECURING;
    s->plain_left = buf_len(&s->out);
    buf_release(&s->in); /* injected before the handshake (CVE-2011-0411) */
    s->shows_again = false;
    stream_listen(s, false); /* until the plaintext has left */
    loop_defer_flush(s->loop, &s->flush);
}

void
stream_start_tls_server(struct stream *s, struct tls_ctx *ctx)
{
    start_tls(s, tls_conn_new_server(ctx, s->fd));
}

void
stream_start_tls_client(struct stream *s, struct tls_ctx *ctx, const char *host)
{
    start_tls(s, tls_conn_new_client(ctx, s->fd, host));
}

bool
stream_is_tls(const struct stream *s)
{
    return s->tls && s->state != STREAM_SECURING;
}

const struct tls_peer *
stream_tls_peer(const struct stream *s)
{
    return stream_is_tls(s) ? tls_conn_peer(s->tls) : NULL;
}

bool
stream_is_dead(struct stream *s)
{
    char byte;
    ssize_t n;

    if (s->state != STREAM_OPEN || s->write_errno != 0)
        return true;
    if (buf_len(&s->in) > 0 || (s->tls && tls_has_pending(s->tls)))
        return true;
    n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

int
stream_fd(const struct stream *s)
{
    return s->fd;
}

uint64_t
stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}
