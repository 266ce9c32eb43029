/* certs: certificates made to order for TLS tests, written as PEM files into a folder. */
#ifndef SENDGOV_TESTS_CERTS_H
#define SENDGOV_TESTS_CERTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct cert_spec {
    const char *file;       /* FOLDER/file.pem and FOLDER/file.key */
    const char *cn;         /* NULL: none */
    size_t cn_len;          /* 0: strlen(cn); to put a NUL inside */
    const char *cn2;        /* a second CN */
    const char *san;        /* "DNS:a,IP:127.0.0.1"; NULL: none */
    const char *raw_dns;    /* a dNSName of raw_dns_len bytes as they are */
    size_t raw_dns_len;
    long from_sec, till_sec; /* relative to now; 0, 0: an hour ago till in an hour */
    bool is_ca;
    const char *issuer;     /* file of the CA; NULL: self-signed */
};

static inline void
cert_require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "certs: %s failed\n", what);
        abort();
    }
}

static inline FILE *
cert_open(const char *folder, const char *file, const char *ext, const char *mode)
{
    char path[300];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.%s", folder, file, ext);
    f = fopen(path, mode);
    cert_require(f != NULL, path);
    if (mode[0] == 'w')
        chmod(path, 0600);
    return f;
}

static inline void
cert_add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cert_require(ext != NULL, value);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static inline void
cert_add_raw_dns(X509 *cert, const char *p, size_t n)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    ASN1_STRING_set(text, p, (int)n);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0);
    GENERAL_NAMES_free(names);
}

static inline void
cert_add_cn(X509_NAME *name, const char *cn, size_t len)
{
    cert_require(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)cn,
                     (int)(len > 0 ? len : strlen(cn)), -1, 0) == 1, "CN");
}

static inline void
cert_make(const char *folder, const struct cert_spec *spec)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *signer = key;
    X509 *cert = X509_new(), *issuer = cert;
    X509_NAME *name = X509_NAME_new();
    static long serial = 1000;
    FILE *f;

    if (spec->issuer) {
        f = cert_open(folder, spec->issuer, "pem", "r");
        issuer = PEM_read_X509(f, NULL, NULL, NULL);
        fclose(f);
        f = cert_open(folder, spec->issuer, "key", "r");
        signer = PEM_read_PrivateKey(f, NULL, NULL, NULL);
        fclose(f);
    }
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), spec->from_sec || spec->till_sec ? spec->from_sec : -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), spec->from_sec || spec->till_sec ? spec->till_sec : 3600);
    X509_set_pubkey(cert, key);
    if (spec->cn)
        cert_add_cn(name, spec->cn, spec->cn_len);
    if (spec->cn2)
        cert_add_cn(name, spec->cn2, 0);
    X509_set_subject_name(cert, name);
    X509_set_issuer_name(cert, spec->issuer ? X509_get_subject_name(issuer) : name);
    if (spec->is_ca)
        cert_add_ext(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (spec->san)
        cert_add_ext(cert, issuer, NID_subject_alt_name, spec->san);
    if (spec->raw_dns)
        cert_add_raw_dns(cert, spec->raw_dns, spec->raw_dns_len);
    cert_require(X509_sign(cert, signer, EVP_sha256()) > 0, "sign");
    f = cert_open(folder, spec->file, "pem", "w");
    PEM_write_X509(f, cert);
    fclose(f);
    f = cert_open(folder, spec->file, "key", "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    if (spec->issuer) {
        X509_free(issuer);
        EVP_PKEY_free(signer);
    }
    X509_NAME_free(name);
    X509_free(cert);
    EVP_PKEY_free(key);
}

#endif
