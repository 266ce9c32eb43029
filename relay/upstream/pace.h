/* pace: how many connections a pool may have and when it may try for more. Pure: times and random numbers
 * come in.
 *
 * - Nothing proven yet (at start, after a failure): one connection at a time, until one succeeds.
 * - Failed: 1 s, doubling to 60 s, each with 20 % jitter. Connections that were on their way when it failed
 *   count as the same failure.
 * - AUTH refused: besides, no more than 3 times in 5 minutes, because the mailbox would be locked out; so
 *   no more than what is left of that are on their way at once.
 * - Slow down: half of what is open, no new connection for 5-30 s, and one more per clean minute after
 *   that. Told again while it holds (all connections hear the same complaint at once), it changes nothing.
 */
#ifndef SENDGOV_UPSTREAM_PACE_H
#define SENDGOV_UPSTREAM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_AUTH_FAILURES 3
#define PACE_AUTH_WINDOW_MS 300000

struct pace {
    uint32_t max;                /* as configured */
    uint32_t limit;              /* at limited_mono_ms; creeps up to max from there */
    int64_t limited_mono_ms;
    int64_t hold_until_mono_ms;  /* slow-down: nothing new before */
    int64_t retry_mono_ms;       /* back-off: no try before */
    int64_t failed_mono_ms;      /* the last failure that counted */
    unsigned failures;           /* in a row */
    bool proven;                 /* the last try succeeded */
    bool has_auth;
    unsigned n_auth_failures;    /* ever; the last ones are in the ring */
    int64_t auth_failed_mono_ms[PACE_AUTH_FAILURES];
};

void pace_init(struct pace *p, uint32_t max, bool has_auth);
/* What is known of the identity's AUTH failures goes over to a pool with other settings. */
void pace_inherit(struct pace *p, const struct pace *from);
void pace_on_success(struct pace *p);
/* begun: when the failed try began. */
void pace_on_failure(struct pace *p, int64_t begun_mono_ms, int64_t now_mono_ms, uint32_t random);
/* Before pace_on_failure. */
void pace_on_auth_failure(struct pace *p, int64_t now_mono_ms);
/* open: connections there are now. False: it holds already. */
bool pace_slow_down(struct pace *p, uint32_t open, int64_t now_mono_ms, uint32_t random);

uint32_t pace_limit(const struct pace *p, int64_t now_mono_ms);
/* Until a connection failed too recently to try again: back-off or lock-out guard; 0: not now. */
int64_t pace_backoff_ms(const struct pace *p, int64_t now_mono_ms);
/* Until a new connection may be opened: back-off or slow-down; 0: at once. */
int64_t pace_wait_ms(const struct pace *p, int64_t now_mono_ms);
/* How many connections may be on their way at the same time. */
unsigned pace_at_once(const struct pace *p, int64_t now_mono_ms);
bool pace_is_failing(const struct pace *p);

#endif
