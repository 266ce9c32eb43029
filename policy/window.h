/* window: at most N in every interval of length L. Pure; charge.lua holds the same arithmetic.
 *
 * Why buckets and why this many. A charge at Redis time t may be offered upstream as late as t + lifetime, so
 * the charges of every interval of length L + lifetime must stay within N; then the offers of every interval
 * of length L do. Time is cut into buckets of width w = ceil((L + lifetime + 1 ms) / 64); a charge is counted
 * in its bucket, and at any moment the newest bucket and the 64 before it count. The oldest of those 65 began
 * at least 64 w before now, so nothing younger than L + lifetime is ever forgotten: an exact upper bound, not
 * an estimate. (The extra millisecond is the node's clock, which counts the lifetime in whole milliseconds.)
 * What is counted longer than needed is less than one bucket, so under saturation at least 64/65 x 40/41 =
 * 96 % of N are used.
 *
 * Example: 30 per minute. Lifetime 1 s, w = 953 141 us. 30 charges at 12:00:00.0 fall into one bucket, which
 * counts until 65 buckets later, between 61.0 and 61.96 s after them.
 *
 * Cost: a running total; a bucket that falls out is subtracted once. Time that goes back frees nothing: the
 * newest bucket ever seen stays the newest.
 *
 * Editing. Another N changes nothing here. Another L moves each old bucket's count into the new bucket of its
 * latest possible moment (strict: it counts longer, never shorter). A longer L asks for time the old window
 * had forgotten: there it is assumed that the highest cap this window was ever charged under was used in each
 * of its periods, bounded by the new N and by what is known of the time before the window was born.
 *
 * Born does not mean that nothing was charged before: counters that are not used are forgotten (KEPT_US), and
 * a window may have had an earlier life. What is sure: a forgotten counter was not used for KEPT_US before
 * the new one was born; and where all counters began less than that before, there was no earlier life.
 * Example: 30 per second, 30 sent at 08:00, forgotten, born anew at 11:00, then edited to 30 per day: full.
 * Edited to 30 per hour: 08:00 is out of reach, so only what was counted since 11:00 counts.
 */
#ifndef SENDGOV_POLICY_WINDOW_H
#define SENDGOV_POLICY_WINDOW_H

#include "policy/types.h"

#define WINDOW_SLOTS (WINDOW_BUCKETS + 1)
/* No cap counts for more than this: all sums stay exact in the doubles of Lua and in 48 bits of a
 * packed field. */
#define CAP_MAX ((uint64_t)1 << 47)
/* A counter is kept unused for its period (or longer) and so much more. */
#define KEPT_US 7200000000ull

struct window {
    uint64_t period_us;
    uint64_t width_us;             /* of one bucket; follows from the period */
    uint64_t head;                 /* number of the newest bucket seen: time / width */
    uint64_t total;                /* sum of counts */
    uint64_t born_us;              /* when it began to count; it may have had an earlier life */
    uint64_t cap_seen;             /* the highest cap it was charged under, or was born with */
    uint64_t counts[WINDOW_SLOTS]; /* bucket b is at b % WINDOW_SLOTS */
};

/* min(1 s, L / 40): no charge against a limit of this period is offered later than this. */
uint64_t limit_lifetime_us(uint64_t period_us);
uint64_t window_width_us(uint64_t period_us);

void window_init(struct window *w, uint64_t period_us, uint64_t now_us);
/* Forgets what has left the window. */
void window_turn(struct window *w, uint64_t now_us);
/* Changes the period; cap is the new N; began_us as below. Call after window_turn. */
void window_set_period(struct window *w, uint64_t period_us, uint64_t now_us, uint64_t cap,
    uint64_t began_us);
/* What must be assumed of the time from asked_us on begins here: at asked_us, or, where nothing can have been
 * charged before, when the counter was born. began_us: when all counters began; 0: not known. */
uint64_t window_reach_us(uint64_t asked_us, uint64_t born_us, uint64_t began_us);
/* The number of the oldest bucket that counts. */
uint64_t window_oldest(const struct window *w);
/* Counts n more now, under this cap, which a limit in shadow may exceed; the total never exceeds CAP_MAX. */
void window_take(struct window *w, uint64_t n, uint64_t cap);
/* Assumes, where room is left under cap, that as much as `amount` was charged at `at_us`. */
void window_assume(struct window *w, uint64_t at_us, uint64_t amount, uint64_t cap);
/* Takes n back out of the bucket of at_us; false (and nothing done) when that bucket no longer counts
 * or holds less. */
bool window_give(struct window *w, uint64_t n, uint64_t at_us);
/* The first moment at which `need` (1..total) of what counts now will have left the window. */
uint64_t window_frees_at_us(const struct window *w, uint64_t need);

#endif
