#include "tests/bench/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

void
bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

int64_t
bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
wire_ctl(struct wire *w, int op)
{
    struct epoll_event ev = { .events = w->armed, .data.ptr = w->owner };

    if (epoll_ctl(w->epoll, op, w->fd, &ev) != 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

void
wire_open(struct wire *w, int epoll, int fd, uint32_t events, void *owner)
{
    int on = 1;

    *w = (struct wire){ .epoll = epoll, .fd = fd, .armed = events, .owner = owner };
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        bench_die("TCP_NODELAY: %s", strerror(errno));
    wire_ctl(w, EPOLL_CTL_ADD);
}

void
wire_close(struct wire *w)
{
    if (w->fd < 0)
        return;
    if (w->ssl != NULL) {
        SSL_shutdown(w->ssl); /* sends close_notify; the peer's is not waited for */
        SSL_free(w->ssl);
    }
    ERR_clear_error();
    close(w->fd);
    free(w->queue);
    *w = (struct wire){ .fd = -1 };
}

void
wire_arm(struct wire *w, uint32_t events)
{
    if (events == w->armed)
        return;
    w->armed = events;
    wire_ctl(w, EPOLL_CTL_MOD);
}

static ssize_t
tls_result(struct wire *w, int result)
{
    switch (SSL_get_error(w->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return WIRE_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        ERR_clear_error();
        return WIRE_BROKEN;
    }
}

ssize_t
wire_read(struct wire *w, void *bytes, size_t max)
{
    ssize_t n;

    if (w->ssl != NULL) {
        int got = SSL_read(w->ssl, bytes, (int)max);
        return got > 0 ? got : tls_result(w, got);
    }
    n = read(w->fd, bytes, max);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? WIRE_AGAIN : WIRE_BROKEN;
}

/* How many bytes went out; WIRE_AGAIN when none could, WIRE_BROKEN. */
static ssize_t
wire_write_some(struct wire *w, const char *bytes, size_t n)
{
    ssize_t sent;

    if (w->ssl != NULL) {
        int put = SSL_write(w->ssl, bytes, (int)n);
        ssize_t result = put > 0 ? put : tls_result(w, put);
        return result == 0 ? WIRE_BROKEN : result;
    }
    sent = send(w->fd, bytes, n, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? WIRE_AGAIN : WIRE_BROKEN;
}

/* -1: broken; else how many went out before the kernel was full. */
static ssize_t
wire_write(struct wire *w, const char *bytes, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t sent = wire_write_some(w, bytes + done, n - done);
        if (sent == WIRE_BROKEN)
            return -1;
        if (sent == WIRE_AGAIN)
            break;
        done += (size_t)sent;
    }
    return (ssize_t)done;
}

static void
wire_keep(struct wire *w, const char *bytes, size_t n)
{
    char *queue = realloc(w->queue, w->queued + n);

    if (queue == NULL)
        bench_die("out of memory");
    memcpy(queue + w->queued, bytes, n);
    w->queue = queue;
    w->queued += n;
    wire_arm(w, EPOLLIN | EPOLLOUT);
}

bool
wire_send(struct wire *w, const void *bytes, size_t n)
{
    ssize_t sent = 0;

    if (w->queued == 0)
        sent = wire_write(w, bytes, n);
    if (sent < 0)
        return false;
    if ((size_t)sent < n)
        wire_keep(w, (const char *)bytes + sent, n - (size_t)sent);
    return true;
}

bool
wire_flush(struct wire *w)
{
    ssize_t sent = wire_write(w, w->queue, w->queued);

    if (sent < 0)
        return false;
    w->queued -= (size_t)sent;
    memmove(w->queue, w->queue + sent, w->queued);
    if (w->queued == 0) {
        free(w->queue);
        w->queue = NULL;
        wire_arm(w, EPOLLIN);
    }
    return true;
}

void
wire_start_tls(struct wire *w, SSL_CTX *ctx, bool server)
{
    w->ssl = SSL_new(ctx);
    if (w->ssl == NULL || SSL_set_fd(w->ssl, w->fd) != 1)
        bench_die("SSL_new failed");
    if (server)
        SSL_set_accept_state(w->ssl);
    else
        SSL_set_connect_state(w->ssl);
}

int
wire_handshake(struct wire *w)
{
    int result = SSL_do_handshake(w->ssl);

    if (result == 1) {
        wire_arm(w, EPOLLIN);
        return 1;
    }
    switch (SSL_get_error(w->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        wire_arm(w, EPOLLIN);
        return 0;
    case SSL_ERROR_WANT_WRITE:
        wire_arm(w, EPOLLIN | EPOLLOUT);
        return 0;
    default:
        ERR_print_errors_fp(stderr);
        return -1;
    }
}

SSL_CTX *
wire_tls_ctx(const char *cert_file, const char *key_file)
{
    SSL_CTX *ctx = SSL_CTX_new(cert_file != NULL ? TLS_server_method() : TLS_client_method());

    if (ctx == NULL)
        bench_die("SSL_CTX_new failed");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
        SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (cert_file != NULL && (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1))
        bench_die("cannot load %s with %s", cert_file, key_file);
    return ctx;
}
