#include "relay/ctl/json_get.h"

#include <stdio.h>
#include <string.h>

#include "relay/config/units.h"

const char *
get_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

long long
get_number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

bool
get_bool(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

bool
has_value(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return v && !json_is_null(v);
}

const char *
number_text(const json_t *o, const char *key, char out[NUMBER_TEXT_MAX])
{
    if (has_value(o, key))
        snprintf(out, NUMBER_TEXT_MAX, "%lld", get_number(o, key));
    else
        snprintf(out, NUMBER_TEXT_MAX, "unlimited");
    return out;
}

const char *
time_text(const json_t *o, const char *key, char out[TIME_TEXT_MAX])
{
    const char *s = get_text(o, key);

    if (strlen(s) < 19)
        snprintf(out, TIME_TEXT_MAX, "-");
    else
        snprintf(out, TIME_TEXT_MAX, "%.10s %.8sZ", s, s + 11);
    return out;
}

const char *
after_text(long long ms, char out[AFTER_TEXT_MAX])
{
    char text[UNITS_TEXT_MAX];

    if (ms == 0)
        snprintf(out, AFTER_TEXT_MAX, "now");
    else if (ms < 0)
        snprintf(out, AFTER_TEXT_MAX, "not known");
    else {
        units_format_duration((uint64_t)(ms + 999) / 1000 * 1000, text);
        snprintf(out, AFTER_TEXT_MAX, "%s", text);
    }
    return out;
}
