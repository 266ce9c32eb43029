#include "relay/ctl/curve.h"

#include <inttypes.h>
#include <string.h>

#include "relay/config/units.h"
#include "relay/ctl/offline.h"

#define SCHEDULE_NAME "new-tenant" /* when none is named */
#define DAY_MS 86400000

/* ---- what is asked ---- */

/* Values become part of YAML: only what numbers are made of may pass, and the one word of --licences. */
static bool
is_numeric(const char *value)
{
    return value[0] != '\0' && strspn(value, "0123456789_.,") == strlen(value);
}

static enum ctl_exit
check_options(struct ctl *c)
{
    const char *const numeric[] = {"first", "growth", "increment", "ceiling", "table", "licences"};
    bool curve = ctl_option(c, "first") || ctl_option(c, "growth") || ctl_option(c, "increment");

    for (size_t i = 0; i < sizeof(numeric) / sizeof(numeric[0]); i++) {
        const char *value = ctl_option(c, numeric[i]);
        bool may_be_trial = strcmp(numeric[i], "licences") == 0;

        if (value && !is_numeric(value) && !(may_be_trial && strcmp(value, "trial") == 0))
            return ctl_fail(c, CTL_USAGE, "--%s \"%s\" is no number", numeric[i], value);
    }
    if (ctl_option(c, "table") && curve)
        return ctl_fail(c, CTL_USAGE, "give --table, or --first and --growth or --increment, not both");
    if (ctl_option(c, "growth") && ctl_option(c, "increment"))
        return ctl_fail(c, CTL_USAGE, "give --growth or --increment, not both");
    if (ctl_option(c, "schedule") && (curve || ctl_option(c, "table")))
        return ctl_fail(
            c, CTL_USAGE, "give --schedule, or a curve of its own, not both");
    return CTL_OK;
}

enum ctl_exit
curve_parse_count(struct ctl *c, const char *option, uint64_t most, uint64_t *out)
{
    const char *value = ctl_option(c, option), *why = "";

    if (!value)
        return CTL_OK;
    if (!units_parse_number(span_str(value), out, &why) || *out == 0 || *out > most)
        return ctl_fail(c, CTL_USAGE, "--%s must be from 1 to %" PRIu64, option, most);
    return CTL_OK;
}

/* ---- where the schedule comes from ---- */

/* The lines of a schedule section named "plan". */
static void
write_schedule(struct ctl *c, struct buf *yaml)
{
    const char *first = ctl_option(c, "first"), *growth = ctl_option(c, "growth"),
               *table = ctl_option(c, "table"), *increment = ctl_option(c, "increment");

    if (increment)
        buf_printf(yaml, "schedules:\n  plan: {curve: linear, first: %s, increment: %s}\n",
            first ? first : "50", increment);
    else if (table)
        buf_printf(yaml, "schedules:\n  plan: {curve: table, table: [%s]}\n", table);
    else
        buf_printf(yaml, "schedules:\n  plan: {curve: geometric, first: %s, growth: %s}\n",
            first ? first : "50", growth ? growth : "1.4");
}

static enum ctl_exit
load_own_curve(struct ctl *c, struct config **config_out)
{
    struct buf yaml;
    enum ctl_exit code;

    buf_init(&yaml);
    write_schedule(c, &yaml);
    code = offline_builtin(c, "warmup", "    warmup: plan\n", buf_span(&yaml).p, config_out);
    buf_fini(&yaml);
    return code;
}

static const struct schedule_conf *
find_schedule(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_schedules; i++) {
        if (strcmp(config->schedules[i].name, name) == 0)
            return &config->schedules[i];
    }
    return NULL;
}

/* One of the configuration, else one that is always there. The name becomes YAML: no other characters than
 * names have. */
static enum ctl_exit
load_named(
    struct ctl *c, const char *name, struct config **config_out, const struct schedule_conf **schedule_out)
{
    char line[128];
    enum ctl_exit code = offline_load(c, config_out);

    if (code != CTL_OK)
        return code;
    *schedule_out = *config_out ? find_schedule(*config_out, name) : NULL;
    if (*schedule_out)
        return CTL_OK;
    config_unref(config_out);
    if (strlen(name) > 64 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != strlen(name))
        return ctl_fail(c, CTL_USAGE, "--schedule \"%s\" is no name of a schedule", name);
    snprintf(line, sizeof(line), "    warmup: %s\n", name);
    code = offline_builtin(c, "warmup", line, "", config_out);
    if (code == CTL_OK && !(*config_out)->routes[0].warmup)
        return ctl_fail(c, CTL_USAGE, "schedule \"%s\" has no warm-up", name);
    if (code == CTL_OK)
        *schedule_out = (*config_out)->routes[0].warmup;
    return code;
}

static bool
has_own_curve(const struct ctl *c)
{
    return ctl_option(c, "first") || ctl_option(c, "growth") || ctl_option(c, "increment")
        || ctl_option(c, "table");
}

static enum ctl_exit
load_schedule(struct ctl *c, struct config **config_out, struct curve *curve)
{
    const struct schedule_conf *schedule = NULL;
    const char *name = ctl_option(c, "schedule");
    enum ctl_exit code;

    if (!has_own_curve(c)) {
        curve->name = name ? name : SCHEDULE_NAME;
        code = load_named(c, curve->name, config_out, &schedule);
    } else {
        curve->name = "as given";
        code = load_own_curve(c, config_out);
        if (code == CTL_OK)
            schedule = (*config_out)->routes[0].warmup;
    }
    if (code == CTL_OK)
        curve->schedule = *schedule;
    return code;
}

/* The tenant's daily cap for so many licences, as the shipped profile derives it. */
static enum ctl_exit
licence_ceiling(struct ctl *c, uint64_t *ceiling)
{
    const char *licences = ctl_option(c, "licences");
    struct config *config = NULL;
    char line[64];
    enum ctl_exit code;

    if (!licences)
        return CTL_OK;
    snprintf(line, sizeof(line), "    licences: %.32s\n", licences);
    code = offline_builtin(c, "warmup --licences", line, "", &config);
    for (size_t i = 0; code == CTL_OK && i < config->n_limits; i++) {
        const struct limit_conf *l = &config->limits[i];

        if (l->scope == SCOPE_ROUTE && l->unit == UNIT_EXTERNAL && l->kind == LIMIT_WINDOW &&
            l->period_ms == DAY_MS && l->value < *ceiling)
            *ceiling = l->value;
    }
    config_unref(&config);
    return code;
}

enum ctl_exit
curve_load(struct ctl *c, struct curve *curve)
{
    uint64_t ceiling = LIMIT_UNLIMITED;
    enum ctl_exit code = check_options(c);

    *curve = (struct curve){.config = NULL};
    if (code == CTL_OK)
        code = curve_parse_count(c, "ceiling", INT64_MAX / WARMUP_STEP_MAX, &ceiling);
    if (code == CTL_OK)
        code = licence_ceiling(c, &ceiling);
    if (code == CTL_OK)
        code = load_schedule(c, &curve->config, curve);
    curve->ceiling = ceiling;
    if (code == CTL_OK && ceiling < curve->schedule.ceiling)
        curve->schedule.ceiling = ceiling;
    return code;
}

void
curve_fini(struct curve *curve)
{
    config_unref(&curve->config);
}
