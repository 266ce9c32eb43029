/* How bytes get in and out. Every function here runs from the loop, never within an owner's call; after
 * every call of an owner's function the state is looked at again, because the owner may have closed, paused
 * or secured the stream meanwhile. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/event.h>

#include "relay/net/stream_part.h"

/* How one read ended. */
enum read_end { READ_MORE, READ_EMPTY, READ_EOF, READ_TRUNCATED, READ_RESET, READ_TLS_FAILED };

static enum read_end
read_plain(struct stream *s, char *p, size_t size, size_t *n_out)
{
    ssize_t n;

    *n_out = 0;
    do
        n = recv(s->fd, p, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? READ_EMPTY : READ_RESET;
    if (n == 0)
        return READ_EOF;
    *n_out = (size_t)n;
    return (size_t)n < size ? READ_EMPTY : READ_MORE;
}

/* One record at a time comes out of TLS; they are gathered so that the owner sees them in one call. */
static enum read_end
read_tls(struct stream *s, char *p, size_t size, size_t *n_out)
{
    enum tls_io io = TLS_IO_OK;

    *n_out = 0;
    while (*n_out < size && !(*n_out > 0 && tls_is_drained(s->tls))) {
        size_t n;

        io = tls_read(s->tls, p + *n_out, size - *n_out, &n);
        *n_out += n;
        if (io != TLS_IO_OK)
            break;
    }
    switch (io) {
    case TLS_IO_OK:
        return tls_is_drained(s->tls) ? READ_EMPTY : READ_MORE;
    case TLS_IO_WANT_READ:
        return READ_EMPTY;
    case TLS_IO_WANT_WRITE:
        s->read_needs_write = true;
        stream_listen(s, false);
        event_add(&s->ev_write, NULL);
        return READ_EMPTY;
    case TLS_IO_CLOSED:
        return READ_EOF;
    case TLS_IO_TRUNCATED:
        return READ_TRUNCATED;
    case TLS_IO_RESET:
        return READ_RESET;
    case TLS_IO_FAILED:
        break;
    }
    return READ_TLS_FAILED;
}

static void
end_reading(struct stream *s, enum read_end end, int read_errno)
{
    switch (end) {
    case READ_MORE:
        break;
    case READ_EMPTY:
        if (s->write_errno != 0)
            stream_end_with(s, STREAM_RESET, strerror(s->write_errno));
        break;
    case READ_EOF:
        if (s->write_errno != 0) /* it did not hear us out */
            stream_end_with(s, STREAM_RESET, strerror(s->write_errno));
        else
            stream_end_with(s, STREAM_EOF, "closed by the peer");
        break;
    case READ_TRUNCATED:
        stream_end_with(s, STREAM_TRUNCATED, tls_conn_error(s->tls));
        break;
    case READ_RESET:
        stream_end_with(s, STREAM_RESET, s->tls ? tls_conn_error(s->tls) : strerror(read_errno));
        break;
    case READ_TLS_FAILED:
        stream_end_with(s, STREAM_TLS_FAILED, tls_conn_error(s->tls));
        break;
    }
}

/* Shows n bytes and keeps what is not consumed. False when reading must not go on. */
static bool
show(struct stream *s, const char *p, size_t n)
{
    size_t used = s->ops->on_data(s->arg, span_of(p, n));

    sg_assert(used <= n);
    if (s->state != STREAM_OPEN) /* closed, ended, or TLS was started: the rest is nobody's */
        return false;
    buf_clear(&s->in);
    if (used == n) {
        buf_release(&s->in);
        return !s->paused;
    }
    buf_add(&s->in, p + used, n - used);
    if (!s->paused && n - used >= s->in_max)
        stream_end_with(s, STREAM_OVERFLOW, "more input than allowed in one piece");
    return !s->paused && s->state == STREAM_OPEN;
}

/* One read, shown together with what was kept. */
static enum read_end
read_once(struct stream *s)
{
    size_t kept = buf_len(&s->in), n;
    char *scratch = loop_scratch(s->loop, kept + STREAM_READ_BYTES);
    enum read_end end;
    int read_errno;

    if (s->tls)
        end = read_tls(s, scratch + kept, STREAM_READ_BYTES, &n);
    else
        end = read_plain(s, scratch + kept, STREAM_READ_BYTES, &n);
    read_errno = errno;
    s->bytes_in += n;
    if (n > 0) {
        memcpy(scratch, buf_span(&s->in).p, kept);
        if (!show(s, scratch, kept + n))
            return end;
    }
    if (s->state == STREAM_OPEN)
        end_reading(s, end, read_errno);
    return end;
}

static void
show_kept(struct stream *s)
{
    size_t kept = buf_len(&s->in);
    char *scratch = loop_scratch(s->loop, kept);

    s->shows_again = false;
    memcpy(scratch, buf_span(&s->in).p, kept);
    show(s, scratch, kept);
}

/* Reads and forgets, until the peer closes as well. */
static void
drain(struct stream *s)
{
    char *scratch = loop_scratch(s->loop, STREAM_READ_BYTES);
    enum read_end end = READ_MORE;
    size_t n;

    for (int i = 0; i < STREAM_READS_PER_TURN && end == READ_MORE; i++)
        end = read_plain(s, scratch, STREAM_READ_BYTES, &n);
    if (end != READ_EMPTY && end != READ_MORE)
        stream_end_with(s, STREAM_RESET, "");
}

void
stream_read_some(struct stream *s)
{
    if (s->state == STREAM_LINGERING) {
        drain(s);
        return;
    }
    if (s->shows_again && buf_len(&s->in) > 0 && s->state == STREAM_OPEN && !s->paused)
        show_kept(s);
    for (int i = 0; i < STREAM_READS_PER_TURN; i++)
        if (s->state != STREAM_OPEN || s->paused || read_once(s) != READ_MORE)
            return;
    /* Enough for this turn. What waits in the socket makes an event, what waits inside TLS does not. */
    if (s->state == STREAM_OPEN && s->tls && !s->paused)
        loop_defer_next(s->loop, &s->later);
}

/* The owner has not closed: it is told through what can still be read, which came before the failure. */
static void
sending_failed(struct stream *s, int write_errno)
{
    s->write_errno = write_errno;
    if (s->state == STREAM_FINISHING || s->state == STREAM_PEER_ENDED || s->paused || s->tls)
        stream_end_with(s, STREAM_RESET, strerror(write_errno));
    else
        task_defer(s->loop, &s->later);
}

/* Sends up to max bytes from the head of the queue; false when the rest has to wait. */
static bool
send_plain(struct stream *s, size_t max)
{
    struct span bytes = span_head(buf_span(&s->out), max);
    ssize_t n;

    do
        n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        sending_failed(s, errno);
        return false;
    }
    if (n > 0)
        buf_consume(&s->out, (size_t)n);
    if (n >= 0 && (size_t)n == bytes.n)
        return true;
    event_add(&s->ev_write, NULL);
    return false;
}

size_t
stream_send_in_place(struct stream *s, struct span bytes, struct span end)
{
    struct span queued = buf_span(&s->out);
    struct iovec parts[] = {{(char *)queued.p, queued.n}, {(char *)bytes.p, bytes.n}, {(char *)end.p, end.n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL);

    if (n <= 0) /* the flush meets the same error, and knows what to do with it */
        return 0;
    buf_consume(&s->out, (size_t)n < queued.n ? (size_t)n : queued.n);
    return (size_t)n > queued.n ? (size_t)n - queued.n : 0;
}

void
stream_hurry(struct stream *s)
{
    size_t n;

    if (s->state != STREAM_OPEN || s->write_errno != 0 || event_pending(&s->ev_write, EV_WRITE, NULL))
        return;
    if (s->tls == NULL)
        (void)stream_send_in_place(s, SPAN_LIT(""), SPAN_LIT(""));
    else
        while (buf_len(&s->out) > 0 && tls_write(s->tls, buf_span(&s->out), &n) == TLS_IO_OK)
            buf_consume(&s->out, n);
}

static void
send_tls(struct stream *s)
{
    while (buf_len(&s->out) > 0) {
        size_t n;

        switch (tls_write(s->tls, buf_span(&s->out), &n)) {
        case TLS_IO_OK:
            buf_consume(&s->out, n);
            break;
        case TLS_IO_WANT_READ: /* goes on with the next input */
            return;
        case TLS_IO_WANT_WRITE:
            event_add(&s->ev_write, NULL);
            return;
        case TLS_IO_CLOSED:
        case TLS_IO_TRUNCATED:
        case TLS_IO_RESET:
            stream_end_with(s, STREAM_RESET, tls_conn_error(s->tls));
            return;
        case TLS_IO_FAILED:
            stream_end_with(s, STREAM_TLS_FAILED, tls_conn_error(s->tls));
            return;
        }
    }
}

static void
send_some(struct stream *s)
{
    if (s->tls)
        send_tls(s);
    else
        send_plain(s, SIZE_MAX);
}

void
stream_write_some(struct stream *s, bool tell)
{
    if (s->state != STREAM_OPEN && s->state != STREAM_PEER_ENDED && s->state != STREAM_FINISHING)
        return;
    if (buf_len(&s->out) > 0 && s->write_errno == 0)
        send_some(s);
    if (s->state == STREAM_BROKEN || s->state == STREAM_CLOSED)
        return;
    if (buf_len(&s->out) == 0 && s->out.size > STREAM_OUT_KEEP)
        buf_release(&s->out);
    if (s->state == STREAM_FINISHING) {
        if (buf_len(&s->out) == 0)
            stream_finished_sending(s);
        return;
    }
    if (tell && s->was_full && buf_len(&s->out) < STREAM_OUT_HIGH / 2) {
        s->was_full = false;
        if (s->ops->on_drained && s->write_errno == 0)
            s->ops->on_drained(s->arg);
    }
}

/* Handshake done: what was written meanwhile leaves, and what came right behind the handshake is read. */
static void
secured(struct stream *s)
{
    s->state = STREAM_OPEN;
    stream_listen(s, true);
    s->ops->on_secure(s->arg);
    if (s->state != STREAM_OPEN)
        return;
    if (!s->paused && tls_has_pending(s->tls))
        task_defer(s->loop, &s->later);
    if (buf_len(&s->out) > 0)
        loop_defer_flush(s->loop, &s->flush);
}

void
stream_secure_step(struct stream *s)
{
    while (s->plain_left > 0) {
        size_t before = buf_len(&s->out);
        bool all = send_plain(s, s->plain_left);

        if (s->state != STREAM_SECURING || s->write_errno != 0)
            break;
        s->plain_left -= before - buf_len(&s->out);
        if (!all)
            return;
    }
    if (s->write_errno != 0)
        stream_end_with(s, STREAM_RESET, strerror(s->write_errno));
    if (s->state != STREAM_SECURING)
        return;
    switch (tls_handshake(s->tls)) {
    case TLS_IO_OK:
        secured(s);
        break;
    case TLS_IO_WANT_READ:
        stream_listen(s, true);
        break;
    case TLS_IO_WANT_WRITE:
        stream_listen(s, false);
        event_add(&s->ev_write, NULL);
        break;
    case TLS_IO_CLOSED:
    case TLS_IO_TRUNCATED:
        stream_end_with(s, STREAM_TLS_FAILED, "connection closed during the TLS handshake");
        break;
    case TLS_IO_RESET:
    case TLS_IO_FAILED:
        stream_end_with(s, STREAM_TLS_FAILED, tls_conn_error(s->tls));
        break;
    }
}

/* Input for a paused stream stays where it is, and the event off until it is resumed; but it may be a
 * reset. */
static void
hold_input(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);

    stream_listen(s, false);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0)
        stream_end_with(s, STREAM_RESET, strerror(error));
}

void
stream_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    loop_enter(s->loop);
    if (s->state == STREAM_SECURING) {
        stream_secure_step(s);
        return;
    }
    if (what & EV_WRITE && s->read_needs_write) {
        s->read_needs_write = false;
        stream_listen(s, true); /* readable or not: the read is tried again now */
        what |= EV_READ;
    }
    if (what & EV_READ) {
        if (s->paused && s->state == STREAM_OPEN)
            hold_input(s);
        else
            stream_read_some(s);
    }
    if (what & EV_WRITE || (s->tls && buf_len(&s->out) > 0))
        stream_write_some(s, true);
}
