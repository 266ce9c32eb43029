/* warmup plan: the curve day by day, before any mail is sent. The curve is the daemon's own
 * (policy/warmup.c); options are turned into a configuration, so that they mean what they mean there. It
 * assumes that every day is used enough and clean: a real warm-up is never faster. */
#include <inttypes.h>
#include <string.h>

#include "policy/warmup.h"
#include "relay/config/units.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/offline.h"

#define SCHEDULE_NAME "new-tenant" /* when none is named */
#define DAYS_DEFAULT 30
#define DAYS_MAX WARMUP_STEP_MAX

struct plan {
    const char *name;
    const struct schedule_conf *schedule;
    uint64_t ceiling; /* LIMIT_UNLIMITED: none but the schedule's own */
    uint32_t days;
};

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
    const char *const numeric[] = {"first", "growth", "ceiling", "table", "days", "licences"};
    bool curve = ctl_option(c, "first") || ctl_option(c, "growth");

    for (size_t i = 0; i < sizeof(numeric) / sizeof(numeric[0]); i++) {
        const char *value = ctl_option(c, numeric[i]);
        bool may_be_trial = strcmp(numeric[i], "licences") == 0;

        if (value && !is_numeric(value) && !(may_be_trial && strcmp(value, "trial") == 0))
            return ctl_fail(c, CTL_USAGE, "--%s \"%s\" is no number", numeric[i], value);
    }
    if (ctl_option(c, "table") && curve)
        return ctl_fail(c, CTL_USAGE, "give --table, or --first and --growth, not both");
    if (ctl_option(c, "schedule") && (curve || ctl_option(c, "table")))
        return ctl_fail(
            c, CTL_USAGE, "give --schedule, or a curve of its own (--first, --growth, --table), not both");
    return CTL_OK;
}

static enum ctl_exit
parse_count(struct ctl *c, const char *option, uint64_t most, uint64_t *out)
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
               *table = ctl_option(c, "table");

    if (table)
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
    code = offline_builtin(c, "warmup plan", "    warmup: plan\n", buf_span(&yaml).p, config_out);
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
    code = offline_builtin(c, "warmup plan", line, "", config_out);
    if (code == CTL_OK && !(*config_out)->routes[0].warmup)
        return ctl_fail(c, CTL_USAGE, "schedule \"%s\" has no warm-up", name);
    if (code == CTL_OK)
        *schedule_out = (*config_out)->routes[0].warmup;
    return code;
}

static enum ctl_exit
load_schedule(struct ctl *c, struct config **config_out, struct plan *plan)
{
    const char *name = ctl_option(c, "schedule");
    enum ctl_exit code;

    if (!ctl_option(c, "first") && !ctl_option(c, "growth") && !ctl_option(c, "table")) {
        plan->name = name ? name : SCHEDULE_NAME;
        return load_named(c, plan->name, config_out, &plan->schedule);
    }
    plan->name = "as given";
    code = load_own_curve(c, config_out);
    if (code == CTL_OK)
        plan->schedule = (*config_out)->routes[0].warmup;
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
    code = offline_builtin(c, "warmup plan --licences", line, "", &config);
    for (size_t i = 0; code == CTL_OK && i < config->n_limits; i++) {
        const struct limit_conf *l = &config->limits[i];

        if (l->scope == SCOPE_ROUTE && l->unit == UNIT_EXTERNAL && l->kind == LIMIT_WINDOW &&
            l->value < *ceiling)
            *ceiling = l->value;
    }
    config_unref(&config);
    return code;
}

/* ---- the answer ---- */

static uint64_t
day_cap(const struct plan *p, uint32_t day)
{
    uint64_t cap = warmup_cap(p->schedule, day);

    return cap < p->ceiling ? cap : p->ceiling;
}

/* The first day that reaches what no day exceeds; 0: none within reach. */
static uint32_t
last_day(const struct plan *p)
{
    uint32_t last = warmup_last_step(p->schedule);

    if (p->ceiling == LIMIT_UNLIMITED)
        return last;
    for (uint32_t day = 1; day <= DAYS_MAX && (last == 0 || day < last); day++) {
        if (warmup_cap(p->schedule, day) >= p->ceiling)
            return day;
    }
    return last;
}

static void
print_json(struct ctl *c, const struct plan *p, uint32_t last)
{
    json_t *o = json_object(), *days = json_array();
    uint64_t total = 0;

    for (uint32_t day = 1; day <= p->days; day++) {
        uint64_t cap = day_cap(p, day);

        total += cap;
        json_array_append_new(days,
            json_pack("{s:i, s:I, s:I, s:I}", "day", (int)day, "cap", (json_int_t)cap, "hour_cap",
                (json_int_t)warmup_hour_cap(cap), "total", (json_int_t)total));
    }
    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "schedule", json_string(p->name));
    json_object_set_new(
        o, "ceiling", p->ceiling == LIMIT_UNLIMITED ? json_null() : json_integer((json_int_t)p->ceiling));
    json_object_set_new(o, "last_day", last ? json_integer(last) : json_null());
    json_object_set_new(o, "days", days);
    ctl_print_json(c, o);
    json_decref(o);
}

static void
print_table(struct ctl *c, const struct plan *p, uint32_t last)
{
    const char *const headings[] = {">DAY", ">EXTERNAL/24H", ">PER HOUR", ">TOTAL", NULL};
    uint64_t total = 0;
    struct grid g;

    fprintf(c->out, "schedule %s: most external recipients, when every day goes well\n", p->name);
    grid_init(&g, headings);
    for (uint32_t day = 1; day <= p->days; day++) {
        uint64_t cap = day_cap(p, day);

        total += cap;
        grid_add(&g, "%u", (unsigned)day);
        grid_add(&g, "%" PRIu64, cap);
        grid_add(&g, "%" PRIu64, warmup_hour_cap(cap));
        grid_add(&g, "%" PRIu64, total);
    }
    grid_print(&g, c->out);
    grid_fini(&g);
    if (last)
        fprintf(c->out, "The curve ends on day %u.\n", (unsigned)last);
    else
        fprintf(c->out, "The curve has no end; --ceiling or --licences sets one.\n");
    fprintf(c->out, "A day counts when its peak reached %u %% of its cap and all replies were clean.\n",
        (unsigned)p->schedule->use_percent);
}

static enum ctl_exit
show(struct ctl *c, struct plan *p)
{
    uint32_t last;
    uint64_t days = 0;
    enum ctl_exit code = parse_count(c, "days", DAYS_MAX, &days);

    if (code != CTL_OK)
        return code;
    last = last_day(p);
    p->days = days ? (uint32_t)days : last && last < DAYS_DEFAULT ? last : DAYS_DEFAULT;
    if (c->json)
        print_json(c, p, last);
    else
        print_table(c, p, last);
    return CTL_OK;
}

enum ctl_exit
plan_run(struct ctl *c)
{
    struct plan plan = {.ceiling = LIMIT_UNLIMITED};
    struct config *config = NULL;
    enum ctl_exit code = check_options(c);

    if (code == CTL_OK)
        code = parse_count(c, "ceiling", INT64_MAX / DAYS_MAX, &plan.ceiling);
    if (code == CTL_OK)
        code = licence_ceiling(c, &plan.ceiling);
    if (code == CTL_OK)
        code = load_schedule(c, &config, &plan);
    if (code == CTL_OK)
        code = show(c, &plan);
    config_unref(&config);
    return code;
}
