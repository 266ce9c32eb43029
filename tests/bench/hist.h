/* hist: a latency histogram in microseconds, 1 % exact, of fixed size. */
#ifndef SENDGOV_BENCH_HIST_H
#define SENDGOV_BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB 128 /* buckets per power of two */
#define HIST_BUCKETS (HIST_SUB * 26)

struct hist {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[HIST_BUCKETS];
};

static inline unsigned
hist_bucket(uint64_t us)
{
    unsigned shift = 0;

    while (us >> shift >= 2 * HIST_SUB)
        shift++;
    return shift * HIST_SUB + (unsigned)(us >> shift);
}

/* The middle of a bucket. */
static inline uint64_t
hist_bucket_us(unsigned bucket)
{
    unsigned shift = bucket < 2 * HIST_SUB ? 0 : bucket / HIST_SUB - 1;
    uint64_t low = (uint64_t)(bucket - shift * HIST_SUB) << shift;

    return low + ((uint64_t)1 << shift) / 2;
}

static inline void
hist_add(struct hist *h, uint64_t us)
{
    unsigned bucket = hist_bucket(us);

    h->buckets[bucket < HIST_BUCKETS ? bucket : HIST_BUCKETS - 1]++;
    h->count++;
    h->sum_us += us;
    if (us > h->max_us)
        h->max_us = us;
}

/* The value below which per_mille of 1000 lie. */
static inline uint64_t
hist_quantile(const struct hist *h, unsigned per_mille)
{
    uint64_t rank = (h->count * per_mille + 999) / 1000, seen = 0;

    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && h->count > 0)
            return hist_bucket_us(i);
    }
    return 0;
}

#endif
