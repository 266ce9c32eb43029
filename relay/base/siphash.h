/* siphash: SipHash-1-3, a keyed hash for tables whose keys an attacker may choose (Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF"). Not a signature: use tls_hmac_sha256 for that. */
#ifndef SENDGOV_BASE_SIPHASH_H
#define SENDGOV_BASE_SIPHASH_H

#include <stdint.h>

#include "relay/base/span.h"

struct siphash_key {
    uint64_t k0, k1;
};

/* A fresh key from the kernel. */
struct siphash_key siphash_key_random(void);
uint64_t siphash13(struct siphash_key key, struct span in);

#endif
