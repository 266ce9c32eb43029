/* json_get: fields of the daemon's answer. Missing or of another type: the neutral value, so that an older or
 * newer daemon never crashes the client. */
#ifndef SENDGOV_CTL_JSON_GET_H
#define SENDGOV_CTL_JSON_GET_H

#include <jansson.h>
#include <stdbool.h>

/* "" when there is none. */
const char *get_text(const json_t *o, const char *key);
/* 0 when there is none. */
long long get_number(const json_t *o, const char *key);
bool get_bool(const json_t *o, const char *key);
/* Present and not null. */
bool has_value(const json_t *o, const char *key);

#define NUMBER_TEXT_MAX 32
/* Decimal, or "unlimited" for null. */
const char *number_text(const json_t *o, const char *key, char out[NUMBER_TEXT_MAX]);
#define TIME_TEXT_MAX 40
/* "2026-11-24T03:04:05.678Z" as "2026-11-24 03:04:05Z"; "-" for none. */
const char *time_text(const json_t *o, const char *key, char out[TIME_TEXT_MAX]);
#define AFTER_TEXT_MAX 64
/* "now", "1 min 30 s", "not known". */
const char *after_text(long long ms, char out[AFTER_TEXT_MAX]);

#endif
