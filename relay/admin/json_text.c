#include "relay/admin/json_text.h"

#include <stdlib.h>

#include "policy/types.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"

json_t *
json_text(const char *s)
{
    json_t *j;
    char *plain;

    if (!s)
        return json_null();
    j = json_string(s);
    if (j)
        return j;
    plain = xstrdup(s);
    for (char *p = plain; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    j = json_string(plain);
    free(plain);
    return j;
}

json_t *
json_u64(uint64_t n)
{
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

json_t *
json_cap(uint64_t n)
{
    return n == LIMIT_UNLIMITED ? json_null() : json_u64(n);
}

json_t *
json_time(int64_t utc_ms)
{
    char text[CLOCK_RFC3339_MAX];

    if (utc_ms == 0)
        return json_null();
    clock_format_rfc3339(utc_ms, text);
    return json_string(text);
}
