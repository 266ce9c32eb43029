/* warmup: the curve by which a tenant earns its volume. Pure maths, integers only.
 *
 * A route is at a step (from 1). The cap of a step is a rolling 24 h window of external recipients; so a
 * midnight never lets two days' worth through. Once per UTC day, at the first charge of the new day, the step
 * advances by one if the peak of the rolling use in the day before reached `use` percent of that day's cap
 * and replies were clean; it never skips, however many days passed. A reputation that is not used fades:
 * each decay_days days without mail in a row cost one step, and after restart_days the curve begins again.
 * The rules stand in common.lua and in warmup_turn_day(), which the in-memory store and the simulator use;
 * the model test holds them together.
 *
 * Example, first 50, growth 1.4: 50, 70, 98, 137, 192 ... (each rounded down from 50 x 1.4^(step-1),
 * computed exactly in integers); hour cap of step 4: max(10, 137 / 8 rounded up) = 18. With decay_days 7,
 * restart_days 30, restart_percent 50 a route at step 9 finds, when it has mail again after 6 days without,
 * step 9 (or 10, when the last day had earned it), after 7 days step 8, after 29 days step 5, after 30 days
 * step 4.
 */
#ifndef SENDGOV_POLICY_WARMUP_H
#define SENDGOV_POLICY_WARMUP_H

#include "policy/types.h"

#define WARMUP_STEP_MAX 1000

uint64_t warmup_cap(const struct schedule_conf *s, uint32_t step);
uint64_t warmup_hour_cap(uint64_t day_cap);
/* The first step that reaches the ceiling (or the end of the table): where the curve is done; 0
 * when it never is. */
uint32_t warmup_last_step(const struct schedule_conf *s);

struct warmup_state {
    uint32_t step;     /* from 1 */
    uint64_t utc_day;  /* days since 1970-01-01 the state belongs to */
    uint64_t peak;     /* highest rolling use seen in that day */
    bool held;         /* a reply of that day forbids to advance */
    bool backed;       /* a block took it back in that day already; more of its replies do nothing */
};

enum warmup_turn {
    WARMUP_STAYS,
    WARMUP_ADVANCES, /* one step on */
    WARMUP_FALLS,    /* by days without mail; any number of steps */
};

/* Brings the state to utc_day; cap is that of the state's step. is_frozen: an operator holds it, it does not
 * advance (what days without mail take they take nevertheless). */
enum warmup_turn warmup_turn_day(struct warmup_state *state, uint64_t utc_day, uint64_t cap,
    bool is_frozen,
    const struct schedule_conf *s);

/* A block: one step back (at most one a day), and the day is held. */
void warmup_step_back(struct warmup_state *state);

/* An operator's word. */
enum warmup_move_kind { WARMUP_MOVE_TO, WARMUP_MOVE_ON, WARMUP_MOVE_BACK };
struct warmup_move {
    enum warmup_move_kind kind;
    uint32_t to; /* TO: the step */
};
/* It stays on the curve, and was that day's step: the day is held. */
void warmup_move(struct warmup_state *state, const struct warmup_move *move);

#endif
