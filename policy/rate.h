/* rate: N per period, evenly, with a small burst. Pure; charge.lua holds the same arithmetic.
 *
 * GCRA, kept as the level of a leaking bucket, which is the same decision without a fraction to round: a
 * charge of c passes when level + c <= burst, and then level += c; the level falls by N per period. So it
 * admits at most N + burst per period and never more than burst at once; that is why it is for spikes and
 * never for "per day".
 *
 * Time is Redis time in ticks of 1 us (of 1 ms, 1 s ... where burst x period would not fit into 2^50),
 * counted from `base_us`. What has leaked less than a whole unit is kept in `rest` (in N-ths), so nothing is
 * lost however often it is asked. As with windows, the period is stretched by the lifetime of a charge, so
 * that what the upstream sees obeys the rate. Time that goes back leaks nothing. A changed N, period or burst
 * keeps the level.
 */
#ifndef SENDGOV_POLICY_RATE_H
#define SENDGOV_POLICY_RATE_H

#include "policy/window.h"

struct rate {
    uint64_t n, period_us, burst;
    uint64_t level;   /* units that have not leaked yet */
    uint64_t base_us; /* the moment level and rest are of */
    uint64_t rest;    /* ticks x N beyond the last whole unit leaked; < period in ticks */
    uint64_t last_us; /* of the last charge: only that one can be given back */
    uint64_t born_us;
    uint64_t cap_seen; /* the highest N + burst it was charged under, or was born with; CAP_MAX: not known */
};

void rate_init(struct rate *r, uint64_t n, uint64_t period_us, uint64_t burst, uint64_t now_us);
/* Lets leak what has leaked until now. */
void rate_turn(struct rate *r, uint64_t now_us);
/* Changes the parameters; call after rate_turn. */
void rate_set(struct rate *r, uint64_t n, uint64_t period_us, uint64_t burst);
/* Charges c. Beyond the burst only a limit in shadow does; its level stops at burst + N, so that it takes a
 * period at most until there is room again, whatever it was charged. */
void rate_take(struct rate *r, uint64_t c, uint64_t now_us);
/* Takes c back when the charge of at_us was the last; otherwise false and nothing is done. */
bool rate_give(struct rate *r, uint64_t c, uint64_t at_us);
/* The first moment at which `need` (1..level) units of the level will have leaked. Call after rate_turn. */
uint64_t rate_frees_at_us(const struct rate *r, uint64_t need);

#endif
