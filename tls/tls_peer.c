/* What a certificate says is chosen by whoever had it made, so names that could be read in two ways (a NUL
 * or bytes beyond ASCII inside, several CNs) are left out rather than shown cut or converted. */
#include "tls/tls_part.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "relay/base/buf.h"
#include "relay/base/xmalloc.h"

#define NAMES_MAX 16
#define NAME_BYTES_MAX 255

/* Texts are gathered in one buffer as NUL-terminated strings; offsets become pointers at the end. */
struct texts {
    struct buf buf;
    size_t subject, name, spki;
    size_t dns[NAMES_MAX];
    size_t n_dns;
};

static size_t
add_text(struct texts *t, const void *p, size_t n)
{
    size_t at = t->buf.len;

    buf_add(&t->buf, p, n);
    buf_add(&t->buf, "", 1);
    return at;
}

static bool
is_plain_ascii(const unsigned char *p, int n)
{
    for (int i = 0; i < n; i++)
        if (p[i] < 0x20 || p[i] > 0x7e)
            return false;
    return n > 0 && n <= NAME_BYTES_MAX;
}

static void
add_subject(struct texts *t, const X509 *cert)
{
    unsigned long flags = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_UTF8_CONVERT; /* escapes controls and non-ASCII */
    BIO *mem = BIO_new(BIO_s_mem());
    char *p = NULL;
    long n;

    sg_assert(mem);
    X509_NAME_print_ex(mem, X509_get_subject_name(cert), 0, flags);
    n = BIO_get_mem_data(mem, &p);
    for (long i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || (unsigned char)p[i] > 0x7e)
            p[i] = '?';
    t->subject = add_text(t, p, n > NAME_BYTES_MAX ? NAME_BYTES_MAX : (size_t)(n > 0 ? n : 0));
    BIO_free(mem);
}

static void
add_common_name(struct texts *t, const X509 *cert)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    int n;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return;
    n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (is_plain_ascii(utf8, n))
        t->name = add_text(t, utf8, (size_t)n);
    OPENSSL_free(utf8);
}

static void
add_dns_names(struct texts *t, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && t->n_dns < NAMES_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const unsigned char *p;

        if (name->type != GEN_DNS)
            continue;
        p = ASN1_STRING_get0_data(name->d.dNSName);
        if (is_plain_ascii(p, ASN1_STRING_length(name->d.dNSName)))
            t->dns[t->n_dns++] = add_text(t, p, (size_t)ASN1_STRING_length(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
}

static void
add_spki(struct texts *t, const X509 *cert)
{
    unsigned char digest[SHA256_DIGEST_LENGTH], *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

    if (n <= 0)
        return;
    SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    t->spki = t->buf.len;
    for (size_t i = 0; i < sizeof(digest); i++)
        buf_printf(&t->buf, "%02x", digest[i]);
    buf_add(&t->buf, "", 1);
}

/* One allocation: the pointers of the names, then the texts. */
static void
keep_texts(struct tls_conn *c, const struct texts *t)
{
    size_t table = t->n_dns * sizeof(char *);
    char **dns = xmalloc(table + t->buf.len);
    char *base = (char *)dns + table;

    memcpy(base, t->buf.p, t->buf.len);
    for (size_t i = 0; i < t->n_dns; i++)
        dns[i] = base + t->dns[i];
    c->peer_texts = (char *)dns;
    c->peer.cert_subject = base + t->subject;
    c->peer.cert_name = base + t->name;
    c->peer.spki_sha256 = base + t->spki;
    c->peer.n_dns_names = t->n_dns;
    c->peer.dns_names = (const char *const *)dns;
}

void
tls_peer_fill(struct tls_conn *c)
{
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    struct texts t = {0};

    c->peer.version = SSL_get_version(c->ssl);
    c->peer.cipher = SSL_get_cipher_name(c->ssl);
    if (!cert)
        return;
    c->peer.presented_cert = true;
    c->peer.has_cert = SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE && c->verify_error == X509_V_OK &&
        SSL_get_verify_result(c->ssl) == X509_V_OK;
    if (!c->peer.has_cert)
        c->peer.cert_error = c->verify_error != X509_V_OK ? X509_verify_cert_error_string(c->verify_error) :
                                                            "not verified";
    add_text(&t, "", 0); /* offset 0: the empty text */
    add_subject(&t, cert);
    add_common_name(&t, cert);
    add_dns_names(&t, cert);
    add_spki(&t, cert);
    keep_texts(c, &t);
    buf_fini(&t.buf);
}
