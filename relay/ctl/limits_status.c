#include "relay/ctl/limits_status.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* No tenant is told more; sums and products stay exact. */
#define THRESHOLD_MAX 1000000000000

static const char *const known[] = {"ObservedValue", "Threshold", "Verdict", "EnforcementEnabled"};

/* A number with separators of thousands would mean another one in another country. */
static int
read_number(
    const struct powershell_object *o, const char *name, bool *has_out, uint64_t *out, struct err *err)
{
    const char *text = powershell_value(o, name);

    *out = 0;
    *has_out = text != NULL && text[0] != '\0';
    if (*has_out && (!span_to_u64(span_str(text), out) || *out > THRESHOLD_MAX))
        return err_set(err, "%s is \"%s\": a whole number without separators is needed", name, text);
    return 0;
}

static int
read_truth(const struct powershell_object *o, const char *name, bool *has_out, bool *out, struct err *err)
{
    const char *text = powershell_value(o, name);

    *has_out = text != NULL && text[0] != '\0';
    *out = *has_out && strcasecmp(text, "True") == 0;
    if (*has_out && !*out && strcasecmp(text, "False") != 0)
        return err_set(err, "%s is \"%s\": True or False is needed", name, text);
    return 0;
}

static bool
is_known(const char *name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcasecmp(known[i], name) == 0)
            return true;
    return false;
}

static void
name_others(const struct powershell_object *o, char out[LIMITS_STATUS_OTHERS_MAX])
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < o->n; i++) {
        int more;

        if (is_known(o->fields[i].name))
            continue;
        more = snprintf(
            out + n, LIMITS_STATUS_OTHERS_MAX - n, "%s%s", n > 0 ? ", " : "", o->fields[i].name);
        n += (size_t)more < LIMITS_STATUS_OTHERS_MAX - n ? (size_t)more : LIMITS_STATUS_OTHERS_MAX - 1 - n;
    }
}

int
limits_status_read(const struct powershell_object *o, struct limits_status *out, struct err *err)
{
    const char *verdict = powershell_value(o, "Verdict");
    bool has_threshold;

    memset(out, 0, sizeof(*out));
    if (read_number(o, "Threshold", &has_threshold, &out->threshold, err) != 0 ||
        read_number(o, "ObservedValue", &out->has_observed, &out->observed, err) != 0 ||
        read_truth(o, "EnforcementEnabled", &out->has_enforcement, &out->is_enforced, err) != 0)
        return -1;
    name_others(o, out->others);
    if (!has_threshold)
        return err_set(err, "there is no Threshold in it: is it the output of Get-LimitsEnforcementStatus?");
    snprintf(out->verdict, sizeof(out->verdict), "%s", verdict ? verdict : "");
    return 0;
}

uint64_t
limits_status_share(const struct limits_status *s, uint64_t percent)
{
    return s->threshold * percent / 100;
}
