/* warmup plan: the curve day by day, before any mail is sent. The curve is the daemon's own
 * (policy/warmup.c). It assumes that every day is used enough and clean: a real warm-up is never faster. */
#include <inttypes.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "relay/ctl/chart.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/curve.h"
#include "relay/ctl/grid.h"

#define DAYS_DEFAULT 30
#define DAYS_MAX WARMUP_STEP_MAX

struct plan {
    const struct curve *curve;
    uint32_t days, last; /* last: the day on which the curve ends; 0: it does not */
};

static uint64_t
day_cap(const struct plan *p, uint32_t day)
{
    return warmup_cap(&p->curve->schedule, day);
}

static void
print_json(struct ctl *c, const struct plan *p)
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
    json_object_set_new(o, "schedule", json_string(p->curve->name));
    json_object_set_new(o, "ceiling",
        p->curve->ceiling == LIMIT_UNLIMITED ? json_null() : json_integer((json_int_t)p->curve->ceiling));
    json_object_set_new(o, "last_day", p->last ? json_integer(p->last) : json_null());
    json_object_set_new(o, "days", days);
    ctl_print_json(c, o);
    json_decref(o);
}

static void
print_table(struct ctl *c, const struct plan *p)
{
    const char *const headings[] = {">DAY", ">EXTERNAL/24H", ">PER HOUR", ">TOTAL", NULL};
    uint64_t total = 0;
    struct grid g;

    fprintf(c->out, "schedule %s: most external recipients, when every day goes well\n", p->curve->name);
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
    if (p->last)
        fprintf(c->out, "The curve ends on day %u.\n", (unsigned)p->last);
    else
        fprintf(c->out, "The curve has no end; --ceiling or --licences sets one.\n");
    fprintf(c->out, "A day counts when its peak reached %u %% of its cap and all replies were clean.\n",
        (unsigned)p->curve->schedule.use_percent);
}

static enum ctl_exit
draw(struct ctl *c, const struct plan *p)
{
    uint64_t *caps = xcalloc(p->days, sizeof(*caps)), *hours = xcalloc(p->days, sizeof(*hours));
    const struct chart_series series[] = {{"cap per 24 h", CHART_BARS, caps},
        {"cap per hour", CHART_LINE, hours}};
    char title[160];
    struct chart chart = {.title = title, .x_label = "day", .y_label = "external recipients",
        .n = p->days, .series = series, .n_series = 2};
    enum ctl_exit code;

    snprintf(title, sizeof(title), "Warm-up plan: schedule %.64s", p->curve->name);
    for (uint32_t day = 1; day <= p->days; day++) {
        caps[day - 1] = day_cap(p, day);
        hours[day - 1] = warmup_hour_cap(caps[day - 1]);
    }
    code = chart_save(c, &chart);
    free(caps);
    free(hours);
    return code;
}

static enum ctl_exit
show(struct ctl *c, struct plan *p)
{
    uint64_t days = 0;
    enum ctl_exit code = curve_parse_count(c, "days", DAYS_MAX, &days);

    if (code != CTL_OK)
        return code;
    p->last = warmup_last_step(&p->curve->schedule);
    p->days = days ? (uint32_t)days : p->last && p->last < DAYS_DEFAULT ? p->last : DAYS_DEFAULT;
    code = draw(c, p);
    if (code != CTL_OK)
        return code;
    if (c->json)
        print_json(c, p);
    else
        print_table(c, p);
    return CTL_OK;
}

enum ctl_exit
plan_run(struct ctl *c)
{
    struct curve curve;
    struct plan plan = {.curve = &curve};
    enum ctl_exit code = curve_load(c, &curve);

    if (code == CTL_OK)
        code = show(c, &plan);
    curve_fini(&curve);
    return code;
}
