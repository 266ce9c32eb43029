/* decide: the answer to one charge, from counters to verdict. Pure; charge.lua is the same decision where it
 * must be atomic, and the model test holds both together.
 *
 * The grant is the largest g <= n that every limit admits, found by one division per limit. Less than `least`
 * is no grant: then nothing is counted anywhere, and the answer names the limit that keeps it longest and
 * when it will not any more. A request whose `least` does not fit even into an empty limit is impossible when
 * fewer recipients would fit or the configured cap itself is too small; where only a cap lowered for a time
 * (another node's, the upstream's word, a warm-up's present step, what is usual so far) is too small, it is
 * merely over.
 *
 * A limit in shadow has no say in any of this. It is charged what is granted, also beyond its cap, and the
 * verdict tells what it would have done. An intended difference to a limit that enforces: what it would have
 * held did leave, so it stays full for as long as that counts.
 */
#ifndef SENDGOV_POLICY_DECIDE_H
#define SENDGOV_POLICY_DECIDE_H

#include "policy/counter.h"
#include "policy/known.h"

/* What the store knows beside the request about one line. */
struct decide_line {
    struct counter *counter; /* NULL: nothing is remembered. In; out, when granted: what is to be remembered
                              * (see below) */
    /* Without a counter the line begins now, unless it is missed; then it counts as full. */
    bool is_expected;        /* the instance must have counters: with none of them, this one is missed */
    uint64_t charged_us;     /* when the limit was charged last; 0: not known. Within the period in force it
                              * is missed, also beside other counters */
    uint64_t cap_most;       /* N (of a spike the floor) is at most this (nodes that differ, the upstream's
                              * word); LIMIT_UNLIMITED: nothing lowers it */
    uint64_t burst_most;     /* of a spike: the factor */
    uint64_t began_us;       /* when all counters began; 0: not known */
    uint64_t step_day;       /* without a counter: the UTC day the request's step belongs to; 0: today */
    bool is_frozen;          /* an operator holds the warm-ups of the instance */
    const struct known *known; /* of a line of UNIT_NEW: whom its instance knows; NULL: nobody */
    size_t day_line;         /* hour cap of a warm-up: the line of the day limit whose step rules, else its
                              * own index */
};

enum decide_status {
    DECIDE_DONE,
    DECIDE_STEP, /* a warm-up is at another step than the request's; ask again with the caps of that step */
    DECIDE_FELL, /* the same, because days without mail took it back just now: the counters that say `changed`
                  * are to be remembered first */
};

/* fresh has one counter per line. When the verdict is GRANTED and the request did not only look, all of them
 * are to be remembered now, else those that say `changed`. Otherwise *step_line_out and *step_out
 * say which line is at which step. */
enum decide_status decide_charge(const struct charge_request *request, const struct decide_line *lines,
    uint64_t now_us, struct counter *fresh, struct verdict *verdict_out, size_t *step_line_out,
    uint32_t *step_out);
/* Fills in to which lines each of the request's people is new; before decide_charge. */
void decide_mark_new(struct charge_request *request, const struct decide_line *lines, uint64_t now_us);
/* Fills day_line of every line. */
void decide_link_days(const struct charge_request *request, struct decide_line *lines);

/* After DECIDE_STEP and DECIDE_FELL: gives the line, and the hour caps that hang on it, the caps of that
 * step. */
void decide_set_step(struct charge_request *request, const struct decide_line *lines, size_t line,
    uint32_t step);

#endif
