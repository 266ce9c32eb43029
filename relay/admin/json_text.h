/* json_text: values of ours as JSON. jansson refuses bytes that are no UTF-8; these never fail. */
#ifndef SENDGOV_ADMIN_JSON_TEXT_H
#define SENDGOV_ADMIN_JSON_TEXT_H

#include <jansson.h>
#include <stdint.h>

/* NULL gives null; bytes that are no UTF-8 become '?'. */
json_t *json_text(const char *s);
/* LIMIT_UNLIMITED gives null. */
json_t *json_cap(uint64_t n);
json_t *json_u64(uint64_t n);
/* RFC 3339; 0 gives null. */
json_t *json_time(int64_t utc_ms);

#endif
