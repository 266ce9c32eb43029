/* units: the literals of the configuration. Durations "30s", "5min", "24h", "7d", "250ms"; sizes "35MiB",
 * "10MB", "512"; rates "30/min", "10_000/d", "20/30min", "5/s" ("m" is accepted for minute); numbers with
 * "_". 0 is refused where a limit is meant: say `unlimited` or `deny`. All of the text must be used. */
#ifndef SENDGOV_CONFIG_UNITS_H
#define SENDGOV_CONFIG_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/base/span.h"

/* Each: false and *why_out (a static text) on anything else or overflow. */
bool units_parse_number(struct span in, uint64_t *out, const char **why_out);
bool units_parse_duration_ms(struct span in, uint64_t *out, const char **why_out);
bool units_parse_bytes(struct span in, uint64_t *out, const char **why_out);
/* "N/[M]unit". `unlimited` gives LIMIT_UNLIMITED, `deny` gives 0, both with *period_ms_out = 0. */
bool units_parse_rate(struct span in, uint64_t *n_out, uint64_t *period_ms_out, const char **why_out);
/* "2026-11-01", a day of the years 2000 to 2999: when it began, in UTC. */
bool units_parse_day(struct span in, int64_t *utc_ms_out, const char **why_out);
/* "90s" -> "1 min 30 s", for people. */
#define UNITS_TEXT_MAX 48
void units_format_duration(uint64_t ms, char out[UNITS_TEXT_MAX]);

#endif
