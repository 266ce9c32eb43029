#include "tls/tls.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

void
tls_random(void *p, size_t n)
{
    sg_assert(RAND_bytes(p, (int)n) == 1);
}

void
tls_sha256(struct span in, unsigned char out[32])
{
    SHA256((const unsigned char *)in.p, in.n, out);
}

void
tls_hmac_sha256(struct span key, struct span in, unsigned char out[32])
{
    const char *k = key.p ? key.p : "";
    unsigned int n = 0;

    sg_assert(HMAC(EVP_sha256(), k, (int)key.n, (const unsigned char *)in.p, in.n, out, &n) && n == 32);
}

bool
tls_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
