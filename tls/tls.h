/* tls: OpenSSL, and the only folder that includes it.
 *
 * A tls_ctx is what one listener or one upstream needs (certificate, trust, versions), immutable
 * once made and counted by reference, so a reload swaps it while old connections keep theirs. A
 * tls_conn is one connection over a non-blocking descriptor that the caller owns. Renegotiation is
 * refused; session tickets of a server context die with it. */
#ifndef SENDGOV_TLS_TLS_H
#define SENDGOV_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "relay/base/err.h"
#include "relay/base/span.h"

struct tls_ctx;
struct tls_conn;

enum tls_version { TLS_V1_0, TLS_V1_1, TLS_V1_2, TLS_V1_3 };
const char *tls_version_to_str(enum tls_version v);

/* cert_file: PEM, leaf first, then its chain. client_ca_file: NULL, or whose client certificates to ask for
 * (asked, never required: the identity decides). TLS_V1_0/1 lower the security level of this context only.
 * A context that asks for certificates resumes no sessions, so every identity is proven in its own
 * handshake. */
struct tls_server_conf {
    const char *cert_file;
    const char *key_file; /* refused when everybody may read it */
    const char *client_ca_file;
    bool ask_client_cert; /* also without client_ca_file: for clients known by their SPKI pin */
    enum tls_version least;
};

/* ca_file: NULL = the system's store. verify = false exists for tests and for
 * upstreams the operator explicitly trusts by network. Client certificate optional. Least version is 1.2. */
struct tls_client_conf {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    bool verify;
};

struct tls_ctx *tls_server_ctx_new(const struct tls_server_conf *conf, struct err *err);
struct tls_ctx *tls_client_ctx_new(const struct tls_client_conf *conf, struct err *err);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx **ctx);

/* What is known of the peer after the handshake; texts are printable, bounded, never NULL ("" when there is
 * none), and live as long as the connection. */
struct tls_peer {
    const char *version;      /* "TLSv1.3" */
    const char *cipher;
    bool presented_cert;      /* presented, verified or not */
    bool has_cert;            /* presented and verified against the configured CA, in date */
    const char *cert_error;   /* presented but not verified: why */
    const char *cert_subject;
    const char *cert_name;    /* the subject's CN; empty when absent, not unique or not plain ASCII */
    const char *spki_sha256;  /* hex of the public key's SHA-256, for pins; whenever one was presented */
    size_t n_dns_names;       /* dNSName entries of the SAN, at most 16, ASCII, no NUL inside */
    const char *const *dns_names;
};

enum tls_io {
    TLS_IO_OK,
    TLS_IO_WANT_READ,
    TLS_IO_WANT_WRITE,
    TLS_IO_CLOSED,    /* close_notify */
    TLS_IO_TRUNCATED, /* the peer's end of TCP came without it */
    TLS_IO_RESET,     /* an error of the socket */
    TLS_IO_FAILED,    /* an error of TLS */
};

/* fd stays the caller's. host (client side): verified against the certificate and sent as SNI. */
struct tls_conn *tls_conn_new_server(struct tls_ctx *ctx, int fd);
struct tls_conn *tls_conn_new_client(struct tls_ctx *ctx, int fd, const char *host);
void tls_conn_free(struct tls_conn **c);
enum tls_io tls_handshake(struct tls_conn *c);
enum tls_io tls_read(struct tls_conn *c, char *p, size_t size, size_t *n_out);
enum tls_io tls_write(struct tls_conn *c, struct span bytes, size_t *n_out);
/* Sends close_notify, best effort. */
void tls_shutdown(struct tls_conn *c);
/* Decrypted bytes that wait inside (the descriptor will not become readable for them). */
bool tls_has_pending(const struct tls_conn *c);
/* Nothing waits inside, and the last read took all the descriptor had: reading now would only give
 * WANT_READ. */
bool tls_is_drained(const struct tls_conn *c);
const struct tls_peer *tls_conn_peer(const struct tls_conn *c);
/* Why the last TLS_IO_FAILED, _TRUNCATED or _RESET: "certificate has expired", "no shared cipher", ... */
const char *tls_conn_error(const struct tls_conn *c);

/* Random bytes from OpenSSL, for ids and the secret of the credential cache. */
void tls_random(void *p, size_t n);
/* SHA-256 and HMAC-SHA-256, 32 bytes out. */
void tls_sha256(struct span in, unsigned char out[32]);
void tls_hmac_sha256(struct span key, struct span in, unsigned char out[32]);
/* Constant-time comparison. */
bool tls_equal(const void *a, const void *b, size_t n);

#endif
