/* warmup simulate: what a warm-up would have held of the mail of a log, or of a made-up profile, and when it
 * is over. It decides by the daemon's own code (policy/simulate.c). A log is read line by line and never
 * kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/counter.h"
#include "policy/simulate.h"
#include "relay/base/xmalloc.h"
#include "relay/config/units.h"
#include "relay/ctl/chart.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/curve.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/mail_log.h"

#define LINE_MAX_BYTES 65536
#define DAYS_DEFAULT 30
#define DAYS_MOST 1000
#define PER_DAY_MOST 1000000000
#define FIRST_DAY 19723 /* of a profile: Monday, 2024-01-01 */
#define US_PER_MINUTE 60000000ull

struct simulate {
    struct ctl *ctl;
    struct curve curve;
    struct sim_day *days;
    size_t n_days, n_allocated;
    uint64_t skipped, first_skipped, beyond; /* lines; beyond: mail too late to be looked at */
    /* over all days */
    uint64_t arrived, held, backlog_peak, delay_longest_us;
    /* days from 1: the curve was done; from then on nothing waits over midnight */
    size_t completed, drained;
};

/* ---- days ---- */

static void
keep_day(void *arg, const struct sim_day *day)
{
    struct simulate *m = arg;
    uint32_t last = warmup_last_step(&m->curve.schedule);

    if (m->n_days == m->n_allocated) {
        m->n_allocated = m->n_allocated > 0 ? 2 * m->n_allocated : 64;
        m->days = xrealloc(m->days, m->n_allocated * sizeof(*m->days));
    }
    m->days[m->n_days++] = *day;
    m->arrived += day->arrived;
    m->held += day->held;
    if (day->backlog_peak > m->backlog_peak)
        m->backlog_peak = day->backlog_peak;
    if (day->delay_longest_us > m->delay_longest_us)
        m->delay_longest_us = day->delay_longest_us;
    if (m->completed == 0 && last > 0 && day->step >= last)
        m->completed = m->n_days;
    if (day->backlog > 0)
        m->drained = 0;
    else if (m->drained == 0)
        m->drained = m->n_days;
}

/* ---- a made-up profile ---- */

static uint64_t
weekday_of(uint64_t utc_day)
{
    return (utc_day + 4) % 7; /* 1970-01-01 was a Thursday; 0 is Sunday */
}

/* One message at a time, evenly over the minutes of the day, or of 08:00 to 18:00 UTC from Monday to
 * Friday. */
static void
arrive_day(struct sim *s, uint64_t utc_day, uint64_t count, bool business_hours)
{
    uint64_t first = business_hours ? 8 * 60 : 0, minutes = business_hours ? 10 * 60 : 24 * 60, done = 0;

    if (business_hours && (weekday_of(utc_day) == 0 || weekday_of(utc_day) == 6))
        return;
    for (uint64_t i = 0; i < minutes; i++) {
        uint64_t until = count * (i + 1) / minutes;

        if (until > done)
            sim_arrive(s, utc_day * US_PER_DAY + (first + i) * US_PER_MINUTE, until - done);
        done = until;
    }
}

static enum ctl_exit
run_profile(struct simulate *m, struct sim *s)
{
    const char *shape = ctl_option(m->ctl, "shape");
    bool business_hours = !shape || strcmp(shape, "business-hours") == 0;
    uint64_t per_day = 0, growth = 0, days = DAYS_DEFAULT;
    enum ctl_exit code = curve_parse_count(m->ctl, "per-day", PER_DAY_MOST, &per_day);

    if (code == CTL_OK)
        code = curve_parse_count(m->ctl, "days", DAYS_MOST, &days);
    if (code == CTL_OK)
        code = curve_parse_count(m->ctl, "demand-growth", 100, &growth);
    if (code != CTL_OK)
        return code;
    if (!business_hours && strcmp(shape, "flat") != 0)
        return ctl_fail(m->ctl, CTL_USAGE, "--shape is business-hours or flat");
    for (uint64_t i = 0; i < days; i++) {
        arrive_day(s, FIRST_DAY + i, per_day, business_hours);
        per_day += per_day * growth / 100;
        per_day = per_day < PER_DAY_MOST ? per_day : PER_DAY_MOST;
    }
    return CTL_OK;
}

/* ---- a log ---- */

/* Without its end; what is longer than the buffer is read and cut. False: there is none. */
static bool
read_line(FILE *in, char *line, size_t *n_out, bool *cut_out)
{
    int c = 0;

    *n_out = 0;
    *cut_out = false;
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        if (*n_out < LINE_MAX_BYTES)
            line[(*n_out)++] = (char)c;
        else
            *cut_out = true;
    }
    return c != EOF || *n_out > 0;
}

static void
take_line(struct simulate *m, struct sim *s, struct mail_log *log, struct span line, bool cut)
{
    struct mail_arrival a;
    enum mail_line kind = mail_log_parse(log, line, &a);

    if (cut && kind != MAIL_LINE_OTHER)
        kind = MAIL_LINE_BAD;
    if (kind == MAIL_LINE_ARRIVAL && !sim_arrive(s, a.at_us, a.recipients))
        m->beyond++;
    if (kind != MAIL_LINE_BAD)
        return;
    if (m->skipped++ == 0)
        m->first_skipped = log->n_lines;
}

static int
this_year(void)
{
    time_t now = time(NULL);
    struct tm tm;

    return gmtime_r(&now, &tm) ? tm.tm_year + 1900 : 1970;
}

static enum ctl_exit
run_log(struct simulate *m, struct sim *s, const char *path)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    struct mail_log log = {.internal = ctl_option(m->ctl, "internal")};
    char *line = xmalloc(LINE_MAX_BYTES);
    uint64_t year = (uint64_t)this_year();
    enum ctl_exit code = curve_parse_count(m->ctl, "year", 2999, &year);
    bool cut, failed;
    size_t n;

    log.year = (int)year;
    if (!in)
        code = ctl_fail(m->ctl, CTL_REFUSED, "%s: %s", path, strerror(errno));
    while (code == CTL_OK && read_line(in, line, &n, &cut))
        take_line(m, s, &log, span_of(line, n), cut);
    failed = in && ferror(in);
    if (code == CTL_OK && failed)
        code = ctl_fail(m->ctl, CTL_REFUSED, "%s cannot be read to its end", path);
    if (in && in != stdin)
        fclose(in);
    free(line);
    return code;
}

/* ---- the answer ---- */

#define DATE_MAX 24

static const char *
date_of(uint64_t utc_day, char out[DATE_MAX])
{
    time_t t = (time_t)(utc_day * 86400);
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, DATE_MAX, "%Y-%m-%d", &tm) == 0)
        snprintf(out, DATE_MAX, "-");
    return out;
}

static json_t *
day_to_json(const struct sim_day *d, size_t number)
{
    char date[DATE_MAX];

    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "day", (json_int_t)number, "date",
        date_of(d->utc_day, date), "step", (json_int_t)d->step, "cap", (json_int_t)d->cap, "arrived",
        (json_int_t)d->arrived, "sent", (json_int_t)d->sent, "held", (json_int_t)d->held, "backlog",
        (json_int_t)d->backlog, "backlog_peak", (json_int_t)d->backlog_peak, "longest_delay_seconds",
        (json_int_t)(d->delay_longest_us / 1000000));
}

static json_t *
number_or_null(uint64_t n)
{
    return n > 0 ? json_integer((json_int_t)n) : json_null();
}

static void
print_json(const struct simulate *m)
{
    json_t *o = json_object(), *days = json_array();

    for (size_t i = 0; i < m->n_days; i++)
        json_array_append_new(days, day_to_json(&m->days[i], i + 1));
    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "schedule", json_string(m->curve.name));
    json_object_set_new(o, "arrived", json_integer((json_int_t)m->arrived));
    json_object_set_new(o, "held", json_integer((json_int_t)m->held));
    json_object_set_new(o, "backlog_peak", json_integer((json_int_t)m->backlog_peak));
    json_object_set_new(
        o, "longest_delay_seconds", json_integer((json_int_t)(m->delay_longest_us / 1000000)));
    json_object_set_new(o, "completed_day", number_or_null(m->completed));
    json_object_set_new(o, "drained_day", number_or_null(m->drained));
    json_object_set_new(o, "skipped_lines", json_integer((json_int_t)m->skipped));
    json_object_set_new(o, "first_skipped_line", number_or_null(m->first_skipped));
    json_object_set_new(o, "days", days);
    ctl_print_json(m->ctl, o);
    json_decref(o);
}

static void
add_row(struct grid *g, const struct sim_day *d, size_t number)
{
    char date[DATE_MAX], delay[UNITS_TEXT_MAX] = "-";

    if (d->delay_longest_us > 0)
        units_format_duration(d->delay_longest_us / 1000000 * 1000, delay);
    grid_add(g, "%zu", number);
    grid_add(g, "%s", date_of(d->utc_day, date));
    grid_add(g, "%u", (unsigned)d->step);
    grid_add(g, "%" PRIu64, d->cap);
    grid_add(g, "%" PRIu64, d->arrived);
    grid_add(g, "%" PRIu64, d->sent);
    grid_add(g, "%" PRIu64, d->held);
    grid_add(g, "%" PRIu64, d->backlog_peak);
    grid_add(g, "%" PRIu64, d->backlog);
    grid_add(g, "%s", delay);
}

static void
print_table(const struct simulate *m)
{
    const char *const headings[] = {">DAY", "DATE", ">STEP", ">CAP/24H", ">ARRIVED", ">SENT", ">HELD",
        ">PEAK WAITING", ">WAITING", "LONGEST DELAY", NULL};
    FILE *out = m->ctl->out;
    char delay[UNITS_TEXT_MAX];
    struct grid g;

    grid_init(&g, headings);
    for (size_t i = 0; i < m->n_days; i++)
        add_row(&g, &m->days[i], i + 1);
    grid_print(&g, out);
    grid_fini(&g);
    units_format_duration(m->delay_longest_us / 1000000 * 1000, delay);
    fprintf(out, "schedule %s: of %" PRIu64 " external recipients ", m->curve.name, m->arrived);
    if (m->held > 0)
        fprintf(out, "%" PRIu64 " had to wait, at most %" PRIu64 " at once, the longest %s.\n", m->held,
            m->backlog_peak, delay);
    else
        fprintf(out, "none had to wait.\n");
    if (m->completed > 0)
        fprintf(out, "The curve ends on day %zu.\n", m->completed);
    else
        fprintf(out, "The curve does not end within these days.\n");
    if (m->drained == 0)
        fprintf(out, "Mail still waits at the end.\n");
    else if (m->held > 0)
        fprintf(out, "From day %zu on nothing waits over midnight.\n", m->drained);
    if (m->skipped > 0)
        fprintf(out, "Lines that could not be understood: %" PRIu64 ", the first of them line %" PRIu64 ".\n",
            m->skipped, m->first_skipped);
    if (m->beyond > 0)
        fprintf(out, "Lines more than %d days after the first mail: %" PRIu64 ", left out.\n", SIM_DAYS_MAX,
            m->beyond);
}

#define CHART_SERIES 4

static enum ctl_exit
draw(const struct simulate *m)
{
    uint64_t *values = xcalloc(CHART_SERIES * m->n_days, sizeof(*values)), *of[CHART_SERIES];
    char title[160];
    enum ctl_exit code;

    for (size_t k = 0; k < CHART_SERIES; k++)
        of[k] = values + k * m->n_days;
    for (size_t i = 0; i < m->n_days; i++) {
        of[0][i] = m->days[i].sent;
        of[1][i] = m->days[i].cap;
        of[2][i] = m->days[i].arrived;
        of[3][i] = m->days[i].backlog_peak;
    }
    snprintf(title, sizeof(title), "Warm-up simulation: schedule %.64s", m->curve.name);
    code = chart_save(m->ctl, &(struct chart){.title = title, .x_label = "day",
        .y_label = "external recipients", .n = m->n_days, .n_series = CHART_SERIES,
        .series = (const struct chart_series[]){{"sent", CHART_BARS, of[0]},
            {"cap per 24 h", CHART_LINE, of[1]}, {"arrived", CHART_LINE, of[2]},
            {"most waiting", CHART_LINE, of[3]}}});
    free(values);
    return code;
}

/* ---- the verb ---- */

static enum ctl_exit
check_source(const struct ctl *c)
{
    const char *const of_profile[] = {"shape", "demand-growth", "days"};
    const char *const of_log[] = {"internal", "year"};
    bool is_profile = ctl_option(c, "per-day") != NULL;

    if (is_profile == (c->n_operands > 0))
        return ctl_fail(c, CTL_USAGE, "warmup simulate needs a log (FILE or -), or --per-day N");
    for (size_t i = 0; i < sizeof(of_profile) / sizeof(of_profile[0]); i++)
        if (!is_profile && ctl_option(c, of_profile[i]))
            return ctl_fail(c, CTL_USAGE, "--%s goes with --per-day", of_profile[i]);
    for (size_t i = 0; i < sizeof(of_log) / sizeof(of_log[0]); i++)
        if (is_profile && ctl_option(c, of_log[i]))
            return ctl_fail(c, CTL_USAGE, "--%s goes with a log", of_log[i]);
    return CTL_OK;
}

static enum ctl_exit
show(const struct simulate *m)
{
    enum ctl_exit code;

    if (m->n_days == 0)
        return ctl_fail(m->ctl, CTL_REFUSED,
            "there is no mail in it: it knows the logs of Postfix and sendgov, and CSV "
            "(time,sender,recipients); %" PRIu64 " lines could not be understood, the first of them line %"
            PRIu64, m->skipped,
            m->first_skipped);
    code = draw(m);
    if (code != CTL_OK)
        return code;
    if (m->ctl->json)
        print_json(m);
    else
        print_table(m);
    return CTL_OK;
}

enum ctl_exit
simulate_run(struct ctl *c)
{
    struct simulate m = {.ctl = c};
    enum ctl_exit code = check_source(c);
    struct sim *s = NULL;

    if (code == CTL_OK)
        code = curve_load(c, &m.curve);
    if (code == CTL_OK) {
        s = sim_new(&m.curve.schedule, keep_day, &m);
        code = c->n_operands > 0 ? run_log(&m, s, c->operands[0]) : run_profile(&m, s);
    }
    if (code == CTL_OK) {
        sim_finish(s);
        code = show(&m);
    }
    sim_free(&s);
    curve_fini(&m.curve);
    free(m.days);
    return code;
}
