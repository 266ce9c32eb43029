#include "tls/tls_part.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "relay/base/xmalloc.h"

/* OpenSSL's own socket BIO would raise SIGPIPE and would not tell whether the socket has more. */
static int
bio_read(BIO *bio, char *p, int n)
{
    struct tls_conn *c = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    do
        got = recv(c->fd, p, (size_t)n, 0);
    while (got < 0 && errno == EINTR);
    c->fd_drained = got < n;
    c->fd_eof = got == 0;
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (got < 0)
        c->fd_errno = errno;
    return (int)got;
}

static int
bio_write(BIO *bio, const char *p, int n)
{
    struct tls_conn *c = BIO_get_data(bio);
    ssize_t sent;

    BIO_clear_retry_flags(bio);
    do
        sent = send(c->fd, p, (size_t)n, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    else if (sent < 0)
        c->fd_errno = errno;
    return (int)sent;
}

static long
bio_ctrl(BIO *bio, int cmd, long number, void *p)
{
    struct tls_conn *c = BIO_get_data(bio);

    (void)number;
    (void)p;
    if (cmd == BIO_CTRL_EOF)
        return c->fd_eof;
    return cmd == BIO_CTRL_FLUSH;
}

BIO_METHOD *
tls_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sendgov socket");

    if (m) {
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_ctrl(m, bio_ctrl);
    }
    return m;
}

int
tls_verify_cb(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_conn *c = SSL_get_app_data(ssl);

    if (ok)
        return 1;
    if (c->verify_error == X509_V_OK)
        c->verify_error = X509_STORE_CTX_get_error(store);
    return !c->ctx->verify;
}

static struct tls_conn *
conn_new(struct tls_ctx *ctx, int fd)
{
    struct tls_conn *c = xcalloc(1, sizeof(*c));
    BIO *bio = BIO_new(ctx->bio);

    c->ctx = tls_ctx_ref(ctx);
    c->fd = fd;
    c->ssl = SSL_new(ctx->ssl);
    sg_assert(c->ssl && bio);
    c->peer = (struct tls_peer){"", "", false, false, "", "", "", "", 0, NULL};
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    return c;
}

struct tls_conn *
tls_conn_new_server(struct tls_ctx *ctx, int fd)
{
    struct tls_conn *c = conn_new(ctx, fd);

    sg_assert(ctx->is_server);
    SSL_set_accept_state(c->ssl);
    return c;
}

/* An address is verified against iPAddress entries and gets no SNI (RFC 6066 section 3). */
static void
set_host(struct tls_conn *c, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
    unsigned char ip[16];
    bool ok;

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1)
        ok = X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    else
        ok = X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 && SSL_set_tlsext_host_name(c->ssl, host) == 1;
    if (!ok) /* e.g. longer than a name can be: nothing could match it */
        c->verify_error = X509_V_ERR_HOSTNAME_MISMATCH;
}

struct tls_conn *
tls_conn_new_client(struct tls_ctx *ctx, int fd, const char *host)
{
    struct tls_conn *c = conn_new(ctx, fd);

    sg_assert(!ctx->is_server);
    SSL_set_connect_state(c->ssl);
    c->host = xstrdup(host);
    set_host(c, host);
    return c;
}

void
tls_conn_free(struct tls_conn **conn)
{
    struct tls_conn *c = *conn;

    if (!c)
        return;
    *conn = NULL;
    SSL_free(c->ssl);
    tls_ctx_unref(&c->ctx);
    free(c->peer_texts);
    free(c->host);
    free(c->error);
    free(c);
}

static enum tls_io
broken(struct tls_conn *c, enum tls_io io, const char *text, const char *detail)
{
    char line[512];

    snprintf(line, sizeof(line), "%s%s%s", text, detail ? ": " : "", detail ? detail : "");
    free(c->error);
    c->error = xstrdup(line);
    c->state = TLS_CONN_BROKEN;
    c->how = io;
    ERR_clear_error();
    return io;
}

/* The peer's certificate was the reason, and we were to mind it. */
static enum tls_io
broken_by_cert(struct tls_conn *c)
{
    char line[400];

    snprintf(line, sizeof(line), "%s (wanted %s)", X509_verify_cert_error_string(c->verify_error), c->host);
    return broken(c, TLS_IO_FAILED, "certificate", line);
}

/* What a failed call of OpenSSL means. */
static enum tls_io
result(struct tls_conn *c, int rc)
{
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_NONE:
        return TLS_IO_OK;
    case SSL_ERROR_WANT_READ:
        return TLS_IO_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_IO_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_IO_CLOSED;
    default:
        break;
    }
    if (c->ctx->verify && c->verify_error != X509_V_OK)
        return broken_by_cert(c);
    if (c->fd_errno != 0)
        return broken(c, TLS_IO_RESET, strerror(c->fd_errno), NULL);
    if (c->fd_eof)
        return broken(c, TLS_IO_TRUNCATED, "connection closed without close_notify", NULL);
    return broken(c, TLS_IO_FAILED, tls_pop_reason("TLS protocol error"), NULL);
}

/* A certificate that must be good is good, however the handshake came to succeed. */
static bool
is_trusted(const struct tls_conn *c)
{
    if (!c->ctx->verify)
        return true;
    return c->verify_error == X509_V_OK && SSL_get_verify_result(c->ssl) == X509_V_OK &&
        SSL_get0_peer_certificate(c->ssl);
}

enum tls_io
tls_handshake(struct tls_conn *c)
{
    int rc;

    if (c->state == TLS_CONN_BROKEN)
        return c->how;
    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);
    if (rc != 1)
        return result(c, rc);
    if (!is_trusted(c))
        return broken_by_cert(c);
    c->state = TLS_CONN_OPEN;
    tls_peer_fill(c);
    return TLS_IO_OK;
}

enum tls_io
tls_read(struct tls_conn *c, char *p, size_t size, size_t *n_out)
{
    int rc;

    *n_out = 0;
    if (c->state == TLS_CONN_BROKEN)
        return c->how;
    sg_assert(c->state == TLS_CONN_OPEN);
    ERR_clear_error();
    rc = SSL_read_ex(c->ssl, p, size, n_out);
    return rc == 1 ? TLS_IO_OK : result(c, rc);
}

enum tls_io
tls_write(struct tls_conn *c, struct span bytes, size_t *n_out)
{
    int rc;

    *n_out = 0;
    if (c->state == TLS_CONN_BROKEN)
        return c->how;
    sg_assert(c->state == TLS_CONN_OPEN);
    if (bytes.n == 0)
        return TLS_IO_OK;
    ERR_clear_error();
    rc = SSL_write_ex(c->ssl, bytes.p, bytes.n, n_out);
    return rc == 1 ? TLS_IO_OK : result(c, rc);
}

void
tls_shutdown(struct tls_conn *c)
{
    if (c->state != TLS_CONN_OPEN)
        return;
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    ERR_clear_error();
}

bool
tls_has_pending(const struct tls_conn *c)
{
    return SSL_has_pending(c->ssl) == 1;
}

bool
tls_is_drained(const struct tls_conn *c)
{
    return c->fd_drained && SSL_has_pending(c->ssl) == 0;
}

const struct tls_peer *
tls_conn_peer(const struct tls_conn *c)
{
    return &c->peer;
}

const char *
tls_conn_error(const struct tls_conn *c)
{
    return c->error ? c->error : "";
}
