/* clock: the two times of this host. `mono` never jumps and is for deadlines; `utc` is the calendar
 * and is for texts. Budgets use neither: they are decided in Redis time. */
#ifndef SENDGOV_BASE_CLOCK_H
#define SENDGOV_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_utc_ms(void);

#define CLOCK_RFC3339_MAX 32
/* "2026-11-24T03:04:05.678Z" into out. */
void clock_format_rfc3339(int64_t utc_ms, char out[CLOCK_RFC3339_MAX]);
#define CLOCK_RFC5322_MAX 40
/* "Tue, 24 Nov 2026 03:04:05 +0000" (RFC 5322 section 3.3) into out. */
void clock_format_rfc5322(int64_t utc_ms, char out[CLOCK_RFC5322_MAX]);

#endif
