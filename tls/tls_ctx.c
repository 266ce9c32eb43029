#include "tls/tls_part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "relay/base/file.h"
#include "relay/base/xmalloc.h"

/* Forward secret, authenticated. The list for TLS 1.3 is OpenSSL's own. */
#define MODERN_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP"
/* For devices of the years before TLS 1.2: what they know, at security level 0, which TLS 1.0 needs for its
 * SHA-1. */
#define OLD_DEVICE_CIPHERS \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AES:!aNULL:!eNULL:!MD5:!PSK:!SRP:@SECLEVEL=0"
#define GROUPS "X25519:P-256:P-384"
#define TICKET_LIFE_SEC 3600

const char *
tls_version_to_str(enum tls_version v)
{
    static const char *const names[] = {"1.0", "1.1", "1.2", "1.3"};

    _Static_assert(sizeof(names) / sizeof(names[0]) == TLS_V1_3 + 1, "a name for each version");
    return names[v];
}

const char *
tls_pop_reason(const char *otherwise)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    if (!reason && code != 0 && ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return reason ? reason : otherwise;
}

static int
fail(struct err *err, const char *what, const char *file)
{
    return err_set(err, "%s %s: %s", what, file, tls_pop_reason("unknown error"));
}

/* A key with a passphrase is an error, not a question on the terminal. */
static int
no_passphrase(char *out, int size, int for_writing, void *arg)
{
    (void)out;
    (void)size;
    (void)for_writing;
    (void)arg;
    return -1;
}

static struct tls_ctx *
ctx_new(bool is_server)
{
    struct tls_ctx *ctx = xcalloc(1, sizeof(*ctx));

    ERR_clear_error();
    ctx->refs = 1;
    ctx->is_server = is_server;
    ctx->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    ctx->bio = tls_bio_method_new();
    sg_assert(ctx->ssl && ctx->bio);
    SSL_CTX_set_options(ctx->ssl,
        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_clear_options(ctx->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(ctx->ssl,
        SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx->ssl, 1);
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx->ssl, no_passphrase);
    return ctx;
}

struct tls_ctx *
tls_ctx_ref(struct tls_ctx *ctx)
{
    ctx->refs++;
    return ctx;
}

void
tls_ctx_unref(struct tls_ctx **ctx)
{
    struct tls_ctx *x = *ctx;

    *ctx = NULL;
    if (!x || --x->refs > 0)
        return;
    SSL_CTX_free(x->ssl);
    BIO_meth_free(x->bio);
    free(x);
}

static int
set_versions(SSL_CTX *ssl, enum tls_version least, struct err *err)
{
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    const char *ciphers = least < TLS_V1_2 ? OLD_DEVICE_CIPHERS : MODERN_CIPHERS;

    if (SSL_CTX_set_min_proto_version(ssl, versions[least]) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, 0) != 1 || SSL_CTX_set_cipher_list(ssl, ciphers) != 1 ||
        SSL_CTX_set1_groups_list(ssl, GROUPS) != 1)
        return err_set(err, "TLS %s: %s", tls_version_to_str(least), tls_pop_reason("not supported"));
    if (least < TLS_V1_2)
        SSL_CTX_set_dh_auto(ssl, 1);
    return 0;
}

static bool
is_mismatch(unsigned long code)
{
    int reason = ERR_GET_REASON(code);

    return ERR_GET_LIB(code) == ERR_LIB_X509 &&
        (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH);
}

static int
load_pair(SSL_CTX *ssl, const char *cert_file, const char *key_file, struct err *err)
{
    if (file_check(cert_file, FILE_ANY, err) != 0 || file_check(key_file, FILE_SECRET, err) != 0)
        return -1;
    if (SSL_CTX_use_certificate_chain_file(ssl, cert_file) != 1)
        return fail(err, "certificate", cert_file);
    if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(ssl) == 1)
        return 0;
    if (!is_mismatch(ERR_peek_error()))
        return fail(err, "private key", key_file);
    ERR_clear_error();
    return err_set(err, "private key %s does not belong to certificate %s", key_file, cert_file);
}

/* Clients may show a certificate; what it is worth is for the identity to decide. */
static int
ask_client_cert(SSL_CTX *ssl, const char *ca_file, struct err *err)
{
    static const unsigned char context_id[] = "sendgov";

    if (ca_file) {
        STACK_OF(X509_NAME) * names;

        if (file_check(ca_file, FILE_ANY, err) != 0)
            return -1;
        names = SSL_load_client_CA_file(ca_file);
        if (!names || SSL_CTX_load_verify_file(ssl, ca_file) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return fail(err, "client CA", ca_file);
        }
        SSL_CTX_set_client_CA_list(ssl, names); /* takes names */
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, tls_verify_cb);
    SSL_CTX_set_session_id_context(ssl, context_id, sizeof(context_id) - 1);
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ssl, 0);
    return 0;
}

struct tls_ctx *
tls_server_ctx_new(const struct tls_server_conf *conf, struct err *err)
{
    struct tls_ctx *ctx = ctx_new(true);

    SSL_CTX_set_num_tickets(ctx->ssl, 1);
    SSL_CTX_set_timeout(ctx->ssl, TICKET_LIFE_SEC);
    if (set_versions(ctx->ssl, conf->least, err) != 0 ||
        load_pair(ctx->ssl, conf->cert_file, conf->key_file, err) != 0)
        tls_ctx_unref(&ctx);
    else if ((conf->client_ca_file || conf->ask_client_cert) &&
             ask_client_cert(ctx->ssl, conf->client_ca_file, err) != 0)
        tls_ctx_unref(&ctx);
    return ctx;
}

static int
load_trust(SSL_CTX *ssl, const char *ca_file, struct err *err)
{
    if (!ca_file)
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ? 0 : fail(err, "trust", "store of the system");
    if (file_check(ca_file, FILE_ANY, err) != 0)
        return -1;
    return SSL_CTX_load_verify_file(ssl, ca_file) == 1 ? 0 : fail(err, "CA", ca_file);
}

struct tls_ctx *
tls_client_ctx_new(const struct tls_client_conf *conf, struct err *err)
{
    struct tls_ctx *ctx = ctx_new(false);

    ctx->verify = conf->verify;
    SSL_CTX_set_verify(ctx->ssl, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, tls_verify_cb);
    if (set_versions(ctx->ssl, TLS_V1_2, err) != 0 ||
        (conf->verify && load_trust(ctx->ssl, conf->ca_file, err) != 0))
        tls_ctx_unref(&ctx);
    else if (conf->cert_file && load_pair(ctx->ssl, conf->cert_file, conf->key_file, err) != 0)
        tls_ctx_unref(&ctx);
    return ctx;
}
