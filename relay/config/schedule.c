/* Warm-up schedules: those of the configuration, and two that are always there (conf/schedules shows them in
 * YAML; a test holds both together). A schedule of the configuration with the same name wins. */
#include "relay/config/draft.h"

static const struct schedule_conf built_in[] = {
    {.name = "new-tenant",
        .curve = CURVE_GEOMETRIC,
        .first = 50,
        .growth_milli = 1400,
        .ceiling = LIMIT_UNLIMITED,
        .use_percent = 50,
        .decay_days = 7,
        .restart_days = 30},
    {.name = "cautious",
        .curve = CURVE_GEOMETRIC,
        .first = 20,
        .growth_milli = 1300,
        .ceiling = LIMIT_UNLIMITED,
        .use_percent = 50,
        .decay_days = 7,
        .restart_days = 30},
};
#define BUILT_IN (sizeof built_in / sizeof built_in[0])

/* What geometric and linear curves have in common. */
static int
check_formula(struct draft *d, struct schedule_entry *e)
{
    if (e->table.n > 0)
        return draft_fail(d, entry_key(&e->head, "table"), "table belongs to curve: table");
    if (e->conf.first == LIMIT_UNLIMITED)
        return draft_fail(d, entry_key(&e->head, "first"), "first must be a number");
    if (e->conf.ceiling < e->conf.first)
        return draft_fail(d, entry_key(&e->head, "ceiling"), "ceiling is below first");
    return 0;
}

static int
check_geometric(struct draft *d, struct schedule_entry *e)
{
    if (e->conf.first == 0 || e->conf.growth_milli == 0)
        return draft_fail(d, e->head.node, "schedule %s needs first and growth, or curve: table with a table",
            e->head.name);
    if (e->conf.increment != 0)
        return draft_fail(d, entry_key(&e->head, "increment"), "increment belongs to curve: linear");
    return check_formula(d, e);
}

static int
check_linear(struct draft *d, struct schedule_entry *e)
{
    if (e->conf.first == 0 || e->conf.increment == 0)
        return draft_fail(d, e->head.node, "schedule %s needs first and increment", e->head.name);
    if (e->conf.growth_milli != 0)
        return draft_fail(d, entry_key(&e->head, "growth"), "growth belongs to curve: geometric");
    if (e->conf.increment == LIMIT_UNLIMITED)
        return draft_fail(d, entry_key(&e->head, "increment"), "increment must be a number");
    return check_formula(d, e);
}

static int
check_table(struct draft *d, struct schedule_entry *e)
{
    if (e->table.n == 0)
        return draft_fail(d, e->head.node, "schedule %s needs a table of caps", e->head.name);
    if (e->table.n > 1000)
        return draft_fail(d, entry_key(&e->head, "table"), "table has more than 1000 steps");
    if (e->conf.first != 0)
        return draft_fail(d, entry_key(&e->head, "first"), "first belongs to curve: geometric or linear");
    if (e->conf.growth_milli != 0)
        return draft_fail(d, entry_key(&e->head, "growth"), "growth belongs to curve: geometric");
    if (e->conf.increment != 0)
        return draft_fail(d, entry_key(&e->head, "increment"), "increment belongs to curve: linear");
    if (e->conf.ceiling < e->table.items[0])
        return draft_fail(d, entry_key(&e->head, "ceiling"), "ceiling is below the first step");
    e->conf.table = e->table.items;
    e->conf.n_table = e->table.n;
    return 0;
}

static const char *const reserved[] = {"established", "none"};

static int
check_schedule(struct draft *d, struct schedule_entry *e)
{
    e->conf.name = e->head.name;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(e->head.name, reserved[i]) == 0)
            return draft_fail(
                d, e->head.node, "'%s' always means no warm-up; choose another name", e->head.name);
    if (e->conf.restart_days < e->conf.decay_days && e->conf.decay_days != LIMIT_UNLIMITED)
        return draft_fail(d, entry_key(&e->head, "restart_days"),
            "restart_days is below decay_days (%llu): nothing would be left to decay",
            (unsigned long long)e->conf.decay_days);
    switch (e->conf.curve) {
    case CURVE_GEOMETRIC:
        return check_geometric(d, e);
    case CURVE_TABLE:
        return check_table(d, e);
    case CURVE_LINEAR:
        return check_linear(d, e);
    case CURVE_COUNT:
        break;
    }
    return -1;
}

static const struct schedule_conf *
find(const struct schedule_conf *schedules, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(schedules[i].name, name) == 0)
            return &schedules[i];
    return NULL;
}

static int
set_warmup(struct draft *d, struct route_entry *r)
{
    const char *known[64] = {reserved[0]};
    char hint[512];
    size_t n = 1;

    if (!r->warmup) {
        draft_warn(d, r->head.node,
            "route %s has no warmup: external volume is limited by its limits only; say warmup: "
            "new-tenant for a young tenant, warmup: established for an old one",
            r->head.name);
        return 0;
    }
    if (strcmp(r->warmup, reserved[0]) == 0 || strcmp(r->warmup, reserved[1]) == 0)
        return 0;
    r->conf.warmup = find(d->conf.schedules, d->conf.n_schedules, r->warmup);
    if (r->conf.warmup)
        return 0;
    for (size_t i = 0; i < d->conf.n_schedules && n < 64; i++)
        known[n++] = d->conf.schedules[i].name;
    suggest(r->warmup, known, n, hint, sizeof hint);
    return draft_fail(d, entry_key(&r->head, "warmup"), "warmup '%.100s' is no schedule%s", r->warmup, hint);
}

int
draft_apply_schedules(struct draft *d)
{
    struct schedule_conf *all = arena_alloc(&d->conf.arena, (d->schedules.n + BUILT_IN) * sizeof *all);
    size_t n = 0;

    for (size_t i = 0; i < d->schedules.n; i++) {
        struct schedule_entry *e = entries_at(&d->schedules, SECTION_SCHEDULE, i);

        if (check_schedule(d, e) < 0)
            return -1;
        all[n++] = e->conf;
    }
    for (size_t i = 0; i < BUILT_IN; i++)
        if (!find(all, n, built_in[i].name))
            all[n++] = built_in[i];
    d->conf.schedules = all;
    d->conf.n_schedules = n;
    for (size_t i = 0; i < d->routes.n; i++)
        if (set_warmup(d, entries_at(&d->routes, SECTION_ROUTE, i)) < 0)
            return -1;
    return 0;
}
