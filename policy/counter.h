/* counter: what is remembered of one limit for one instance of its scope, and how an edit of the limit keeps
 * it. Pure; charge.lua holds the same rules.
 *
 * A counter belongs to a limit's name. When the limit was edited since the last charge:
 *   another value     nothing to do, the counts stand
 *   another period    window_set_period(), rate_set(): strict side
 *   warmup, spike <-> window  the same counts; a new warm-up begins at the step it is told, a new spike with
 *                     nothing usual
 *   window -> rate    the level is what counts now, at most the burst
 *   rate -> window    the past is assumed as full as the rate allowed, bounded by the new cap and by what
 *                     window.h says of being born
 *   another unit      the past cannot be converted: assumed full
 * What an edit assumes of the past is dated when it is assumed. So a changed counter is remembered even when
 * nothing is granted: assumed anew at each question, it would never grow old. So is a spike whose hour
 * turned: what is usual is found once an hour.
 */
#ifndef SENDGOV_POLICY_COUNTER_H
#define SENDGOV_POLICY_COUNTER_H

#include "policy/charge.h"
#include "policy/rate.h"
#include "policy/spike.h"
#include "policy/warmup.h"
#include "policy/window.h"

#define US_PER_DAY 86400000000ull

struct counter {
    enum limit_kind kind; /* never concurrency */
    enum limit_unit unit;
    struct window window; /* window, warmup, spike */
    struct rate rate;
    struct warmup_state warm;
    struct spike spike;
    bool changed; /* its limit was edited, or its hour turned, since it was remembered */
};

/* The kind by which a limit is counted: `deny` is a window of nothing, whatever it was written as. */
enum limit_kind counter_kind(const struct limit_conf *l);
uint64_t counter_period_us(const struct limit_conf *l);
/* What is agreed on and lowered beside the cap: the burst of a rate, the factor of a spike in thousandths. */
uint64_t counter_burst(const struct limit_conf *l);
/* cap and burst of the limit as configured -> counter_terms.allowed. A spike has no such bound. */
uint64_t counter_allowed(const struct limit_conf *l, uint64_t cap);

struct counter_terms {
    enum limit_kind kind;
    enum limit_unit unit;
    uint64_t period_us;
    uint64_t cap, burst; /* in force; of a spike its floor and its factor in thousandths */
    uint64_t allowed;    /* the most one period can have held as configured, whatever lowers the cap now */
    uint32_t step;       /* where a warm-up begins */
    uint64_t step_day;   /* the UTC day to which that step belongs; 0: this one */
    uint64_t began_us;   /* when all counters began; 0: not known */
};

void counter_init(struct counter *c, const struct counter_terms *terms, uint64_t now_us);
/* A counter that should exist and does not (deleted by hand, evicted): as full as it could be. */
void counter_init_full(struct counter *c, const struct counter_terms *terms, uint64_t now_us);
/* Brings the counter to now and to the terms; sets `changed`. */
void counter_turn(struct counter *c, const struct counter_terms *terms, uint64_t now_us);
/* What counts now: the window's total, or the rate's level. */
uint64_t counter_used(const struct counter *c);
/* What counter_used may reach under a cap and burst in force: N, the burst of a rate, a spike's ceiling. */
uint64_t counter_most(const struct counter *c, uint64_t cap, uint64_t burst);
void counter_take(struct counter *c, uint64_t n, uint64_t cap, uint64_t now_us);
bool counter_give(struct counter *c, uint64_t n, uint64_t at_us);
uint64_t counter_frees_at_us(const struct counter *c, uint64_t need);
/* For so long after it was last written a counter is kept, KEPT_US included; those of one instance for as
 * long as the longest of them. */
uint64_t counter_kept_us(enum limit_kind kind, uint64_t period_us);

#endif
