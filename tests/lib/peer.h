/* peer: two ends of a TCP connection over loopback, and a stream whose callbacks write down what happened. */
#ifndef SENDGOV_TESTS_PEER_H
#define SENDGOV_TESTS_PEER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/net/stream.h"

/* Both non-blocking. small_buffers: a few KiB in the kernel, so that a slow reader shows soon. */
static inline void
tcp_pair(int fds[2], bool small_buffers)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int bytes = 4096, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (small_buffers) {
        setsockopt(l, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    if (bind(l, (struct sockaddr *)&sin, len) != 0 || listen(l, 1) != 0 ||
        getsockname(l, (struct sockaddr *)&sin, &len) != 0 ||
        connect(fds[0], (struct sockaddr *)&sin, len) != 0)
        abort();
    fds[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fds[1] < 0)
        abort();
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    close(l);
}

/* Closes with RST instead of FIN. */
static inline void
close_with_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

struct end {
    struct stream *stream;
    struct buf got;      /* everything consumed */
    size_t consume_max;  /* consumed per on_data at most */
    size_t shown_max;    /* longest input shown */
    int on_data, on_secure, on_drained, on_end;
    bool inside;         /* a call of ours is on the stack: no callback may come */
    enum stream_end how;
    char detail[256];
    size_t (*hook)(struct end *e, struct span in); /* instead of consuming */
    void (*secure_hook)(struct end *e);
    void *arg;
};

static inline size_t
end_on_data(void *arg, struct span in)
{
    struct end *e = arg;
    size_t n = in.n < e->consume_max ? in.n : e->consume_max;

    if (e->inside || e->on_end > 0)
        abort();
    e->on_data++;
    if (in.n > e->shown_max)
        e->shown_max = in.n;
    if (e->hook)
        return e->hook(e, in);
    buf_add(&e->got, in.p, n);
    return n;
}

static inline void
end_on_secure(void *arg)
{
    struct end *e = arg;

    if (e->inside)
        abort();
    e->on_secure++;
    if (e->secure_hook)
        e->secure_hook(e);
}

static inline void
end_on_drained(void *arg)
{
    struct end *e = arg;

    if (e->inside)
        abort();
    e->on_drained++;
}

static inline void
end_on_end(void *arg, enum stream_end how, const char *detail)
{
    struct end *e = arg;

    if (e->inside)
        abort();
    e->on_end++;
    e->how = how;
    snprintf(e->detail, sizeof(e->detail), "%s", detail);
}

static const struct stream_ops end_ops = {end_on_secure, end_on_data, end_on_drained, end_on_end};

static inline void
end_open(struct end *e, struct loop *loop, int fd)
{
    *e = (struct end){.consume_max = SIZE_MAX};
    e->stream = stream_new(loop, fd, &end_ops, e);
}

static inline void
end_write(struct end *e, const char *text)
{
    e->inside = true;
    stream_write(e->stream, span_str(text));
    e->inside = false;
}

static inline void
end_close(struct end *e)
{
    stream_close(&e->stream);
    buf_fini(&e->got);
}

/* Turns until *n >= want, at most five seconds; whether it came to that. */
static inline bool
turn_until(struct loop *loop, const int *n, int want)
{
    for (int64_t until = clock_mono_ms() + 5000; *n < want && clock_mono_ms() < until;)
        loop_turn(loop, 20);
    return *n >= want;
}

static inline bool
turn_until_got(struct loop *loop, const struct end *e, size_t n)
{
    for (int64_t until = clock_mono_ms() + 5000; buf_len(&e->got) < n && clock_mono_ms() < until;)
        loop_turn(loop, 20);
    return buf_len(&e->got) >= n;
}

static inline void
turns(struct loop *loop, int n)
{
    while (n-- > 0)
        loop_turn(loop, 1);
}

static inline bool
end_got(const struct end *e, const char *text)
{
    return span_eq(buf_span(&e->got), span_str(text));
}

#endif
