/* wire: one connection of the benchmark's own programs: bytes, plain or TLS, over epoll.
 *
 * The generator and the sink must be an independent measure, so nothing here is shared with the daemon: this
 * is the one place outside tls/ that uses OpenSSL directly. Errors of the machinery itself (no memory, no
 * epoll) end the program; what the peer does is told to the caller.
 */
#ifndef SENDGOV_BENCH_WIRE_H
#define SENDGOV_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/ssl.h>

struct wire {
    int epoll;
    int fd;          /* -1: closed */
    SSL *ssl;        /* NULL: plain */
    char *queue;     /* what the kernel did not take */
    size_t queued;   /* bytes in it */
    uint32_t armed;  /* events asked for */
    void *owner;     /* in epoll's data; the owner's address */
};

#define WIRE_AGAIN (-1)  /* nothing to read now */
#define WIRE_BROKEN (-2) /* reset, or a TLS error */

/* Says what and why on stderr and ends the program with status 2. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
int64_t bench_now_ns(void);

/* Takes fd (non-blocking): sets TCP_NODELAY and waits for input. events: EPOLLOUT while connecting. */
void wire_open(struct wire *w, int epoll, int fd, uint32_t events, void *owner);
void wire_close(struct wire *w);
void wire_arm(struct wire *w, uint32_t events);
/* > 0 bytes, 0 end, WIRE_AGAIN or WIRE_BROKEN. With TLS, call until WIRE_AGAIN. */
ssize_t wire_read(struct wire *w, void *bytes, size_t max);
/* All of it, in one system call when the kernel takes it; the rest is kept and sent by wire_flush. false:
 * broken. */
bool wire_send(struct wire *w, const void *bytes, size_t n);
bool wire_flush(struct wire *w);
void wire_start_tls(struct wire *w, SSL_CTX *ctx, bool server);
/* 1 done, 0 more to come, -1 failed. */
int wire_handshake(struct wire *w);
/* NULL certificate: a client, which verifies nothing (both ends are ours). */
SSL_CTX *wire_tls_ctx(const char *cert_file, const char *key_file);

#endif
