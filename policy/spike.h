/* spike: a ceiling relative to what is usual, against a runaway loop or forwarding rule. Pure; charge.lua
 * holds the same arithmetic.
 *
 * A spike limit is a window of one hour (window.h: exact in every interval of an hour) whose N follows from
 * the use itself: `factor` times the usual, and never less than the floor. The usual is the median of the
 * hours of the past week in which anything was charged: whole hours of UTC, the 168 before the present one.
 * The present hour has no say in its own ceiling. Of an even number of hours it is the lower of the middle
 * two. Fewer than SPIKE_HOURS_LEAST hours with use are too few to tell: the missing ones count as hours of
 * nothing, so with 12 hours or fewer the usual is 0 and the floor holds.
 *
 * Example: 40 hours with 15 to 25, mostly 20, factor 3: the ceiling is 60. A loop that sends all it may stays
 * at 60 until its hours outnumber the others (or these are a week old): after 41 of them the ceiling becomes
 * 180. A scope that is new, with a floor of 20, is at 20 for 13 hours of full use, at 60 until the 27th and
 * at 180 until the 55th. In shadow nothing holds the loop, but its hours have to outnumber the others too.
 *
 * What is usual is remembered beside the counts and found anew when the hour turns, not with each charge.
 * Time that goes back changes nothing: the newest hour ever seen stays the newest.
 */
#ifndef SENDGOV_POLICY_SPIKE_H
#define SENDGOV_POLICY_SPIKE_H

#include "policy/types.h"

#define SPIKE_HOURS 168
#define SPIKE_SLOTS (SPIKE_HOURS + 1) /* and the present one */
#define SPIKE_HOURS_LEAST 24
#define HOUR_US 3600000000ull

struct spike {
    uint64_t hour;                /* number of the newest hour seen: time / 1 h */
    uint64_t usual;               /* of the hours before it */
    uint64_t counts[SPIKE_SLOTS]; /* hour h is at h % SPIKE_SLOTS */
};

void spike_init(struct spike *s, uint64_t now_us);
/* Brings it to the hour of now; true: that is another one than before. */
bool spike_turn(struct spike *s, uint64_t now_us);
void spike_take(struct spike *s, uint64_t n);
/* Takes n back out of the hour of at_us, unless that is forgotten or holds less. */
void spike_give(struct spike *s, uint64_t n, uint64_t at_us);
/* max(floor, usual x factor), at most CAP_MAX; factor in thousandths, up to 100 000. */
uint64_t spike_ceiling(uint64_t usual, uint64_t floor, uint64_t factor_milli);
/* The usual that led to a ceiling above the floor: the other way round. */
uint64_t spike_usual_of(uint64_t ceiling, uint64_t factor_milli);

#endif
