/* tls_part: what the files of tls share. */
#ifndef SENDGOV_TLS_TLS_PART_H
#define SENDGOV_TLS_TLS_PART_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "tls/tls.h"

struct tls_ctx {
    unsigned refs;
    SSL_CTX *ssl;
    BIO_METHOD *bio; /* recv and send without signals, used by the connections */
    bool is_server;
    bool verify; /* client: the peer must prove its name */
};

enum tls_conn_state { TLS_CONN_HANDSHAKE, TLS_CONN_OPEN, TLS_CONN_BROKEN };

struct tls_conn {
    struct tls_ctx *ctx; /* reference */
    SSL *ssl;
    int fd;
    enum tls_conn_state state;
    enum tls_io how; /* BROKEN: what every later call answers */
    bool fd_drained; /* the last recv gave less than asked for */
    bool fd_eof;
    int fd_errno;      /* the last error of recv or send, 0: none */
    int verify_error;  /* the first X509_V_ERR of the peer's chain */
    char *host;        /* client side: what was verified, for the error text */
    char *error;       /* NULL: none yet */
    struct tls_peer peer;
    char *peer_texts; /* the memory of peer's texts; NULL without a certificate */
};

BIO_METHOD *tls_bio_method_new(void);
/* Fills c->peer after the handshake. */
void tls_peer_fill(struct tls_conn *c);
/* X509_verify_cert callback: notes the first error of the chain. The handshake goes on unless a client has
 * to verify. */
int tls_verify_cb(int ok, X509_STORE_CTX *store);
/* First reason in OpenSSL's error queue, or `otherwise`; empties the queue. */
const char *tls_pop_reason(const char *otherwise);

#endif
