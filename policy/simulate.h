/* simulate: a warm-up under a given stream of mail, by the code that decides in the daemon (plan.c, decide.c,
 * warmup.c, window.c) and a clock that is only a number. Pure.
 *
 * One route with the two limits a warm-up brings, the day's and the hour's. Mail that cannot go waits in the
 * order of its arrival and asks again when it was told to, or when the day turns; of a message with several
 * recipients those go that may. Every reply is clean, other limits and the time an upstream takes are none.
 * Memory is bounded: what waits is kept as counts by time of arrival, and when there are too many of them two
 * become one with the earlier time, so that a delay is never told too short.
 *
 * Example: first 50, growth 1.4, 70 external recipients at 08:00 of two days. Day 1: 10 go at once, and 10
 * each hour (the hour cap) until 50 have gone. The other 20 go after midnight, when the cap is 70. So it is
 * full at 08:00 of day 2, and all 70 wait until the first of day 1 have left the window; 20 of them until
 * after the next midnight.
 */
#ifndef SENDGOV_POLICY_SIMULATE_H
#define SENDGOV_POLICY_SIMULATE_H

#include "policy/types.h"

#define SIM_DAYS_MAX 3660

/* All counts are external recipients. */
struct sim_day {
    uint64_t utc_day;
    uint32_t step;
    uint64_t cap;
    uint64_t arrived, sent;
    uint64_t held;                  /* of those that arrived: they had to wait */
    uint64_t backlog, backlog_peak; /* what waits at its end; the most in it */
    uint64_t delay_longest_us;      /* of what was sent this day */
};

/* Each day once, in order, none left out, when it is over. */
typedef void sim_day_fn(void *arg, const struct sim_day *day);

struct sim;

/* The schedule is copied, its table is not. */
struct sim *sim_new(const struct schedule_conf *schedule, sim_day_fn *on_day, void *arg);
void sim_free(struct sim **s);
/* Mail arrives; a time before that of the one before counts as that. False: it is more than SIM_DAYS_MAX days
 * after the first and counts for nothing. */
bool sim_arrive(struct sim *s, uint64_t at_us, uint64_t recipients);
/* No more comes: until nothing waits, or SIM_DAYS_MAX is reached. */
void sim_finish(struct sim *s);

#endif
