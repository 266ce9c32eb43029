/* The daemon's answers as short tables. The fields are those of relay/admin/command_show.c. */
#include "policy/refusal.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/json_get.h"

/* ---- tables ---- */

/* What to do is a sentence or two: too long beside the rest. */
static void
print_advice(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"SCOPE", "INSTANCE", "WHAT TO DO", NULL};
    bool is_any = false;
    struct grid g;
    size_t i;
    json_t *p;

    grid_init(&g, headings);
    json_array_foreach(list, i, p) {
        if (get_text(p, "advice")[0] == '\0')
            continue;
        grid_add(&g, "%s", get_text(p, "scope"));
        grid_add(&g, "%s", get_text(p, "instance"));
        grid_add(&g, "%s", get_text(p, "advice"));
        is_any = true;
    }
    if (is_any)
        fputc('\n', c->out);
    grid_print(&g, c->out);
    grid_fini(&g);
}

static void
print_pauses(struct ctl *c, const json_t *list, const char *none)
{
    const char *const headings[] = {
        "SCOPE", "INSTANCE", "MAIL", "CAUSE", "SINCE", "UNTIL", "ENDS IN", "BY", "REASON", NULL};
    char since[TIME_TEXT_MAX], until[TIME_TEXT_MAX], left[AFTER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *p;

    grid_init(&g, headings);
    json_array_foreach(list, i, p) {
        grid_add(&g, "%s", get_text(p, "scope"));
        grid_add(&g, "%s", get_text(p, "instance"));
        grid_add(&g, "%s", get_text(p, "extent"));
        grid_add(&g, "%s", get_text(p, "class"));
        grid_add(&g, "%s", time_text(p, "since", since));
        grid_add(&g, "%s", has_value(p, "until") ? time_text(p, "until", until) : "resumed");
        grid_add(&g, "%s", has_value(p, "left_ms") ? after_text(get_number(p, "left_ms"), left) : "-");
        grid_add(&g, "%s", get_text(p, "actor"));
        grid_add(&g, "%s", get_text(p, "reason"));
    }
    if (grid_finish(&g, c->out, none) > 0)
        print_advice(c, list);
}

static void
print_upstreams(struct ctl *c, const json_t *list, const char *none)
{
    const char *const headings[] = {"ROUTE", "MAILBOX", ">CONNECTING", ">BUSY", ">IDLE", ">WAITING", ">LIMIT",
        "NEXT TRY", "LAST ERROR", NULL};
    const char *const counts[] = {"connecting", "busy", "idle", "waiting", "limit"};
    char after[AFTER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *u;

    grid_init(&g, headings);
    json_array_foreach(list, i, u) {
        grid_add(&g, "%s", get_text(u, "route"));
        grid_add(&g, "%s", get_text(u, "mailbox"));
        for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
            grid_add(&g, "%lld", get_number(u, counts[k]));
        grid_add(&g, "%s", after_text(get_number(u, "backoff_ms"), after));
        grid_add(&g, "%s", get_text(u, "last_error"));
    }
    grid_finish(&g, c->out, none);
}

static void
print_listeners(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"LISTENER", "ADDRESS", ">CONNECTIONS", NULL};
    struct grid g;
    size_t i;
    json_t *l;

    grid_init(&g, headings);
    json_array_foreach(list, i, l) {
        grid_add(&g, "%s", get_text(l, "listener"));
        grid_add(&g, "%s", get_text(l, "address"));
        grid_add(&g, "%lld", get_number(l, "connections"));
    }
    grid_finish(&g, c->out, "no listeners");
}

static void
print_steps(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"WARM-UP", "SCHEDULE", ">STEP", ">CAP/24H", NULL};
    char cap[NUMBER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *w;

    grid_init(&g, headings);
    json_array_foreach(list, i, w) {
        grid_add(&g, "%s", get_text(w, "route"));
        grid_add(&g, "%s", get_text(w, "schedule"));
        grid_add(&g, "%lld", get_number(w, "step"));
        grid_add(&g, "%s", number_text(w, "cap", cap));
    }
    if (grid_print(&g, c->out) > 0)
        fputc('\n', c->out);
    grid_fini(&g);
}

/* ---- status ---- */

static void
print_redis_up(struct ctl *c, const json_t *s)
{
    const char *differing = get_text(s, "differing_limit");

    fprintf(c->out, "redis      up, %lld node%s", get_number(s, "nodes"),
        get_number(s, "nodes") == 1 ? "" : "s");
    if (get_bool(s, "limits_differ"))
        fprintf(c->out, "; nodes have different limits%s%s%s, the lowest are in force",
            differing[0] ? " (" : "", differing, differing[0] ? ")" : "");
    fputc('\n', c->out);
}

static void
print_store(struct ctl *c, const json_t *s)
{
    long long closed = get_number(s, "closed_for_ms");
    char after[AFTER_TEXT_MAX];

    if (get_bool(s, "up"))
        print_redis_up(c, s);
    else
        fprintf(c->out, "redis      DOWN: %s%s%s; nothing leaves\n", get_text(s, "error"),
            get_text(s, "detail")[0] ? ": " : "", get_text(s, "detail"));
    if (closed != 0)
        fprintf(c->out,
            "counters   NOT TRUSTED, Redis is new or lost its memory: nothing leaves %s%s; see open in "
            "sendgovctl(8)\n",
            closed < 0 ? "until they are" : "for ", closed < 0 ? "" : after_text(closed, after));
}

/* Only those whose facts are to be looked at again. */
static void
print_old_profiles(struct ctl *c, const json_t *list)
{
    size_t i;
    json_t *p;

    json_array_foreach(list, i, p)
        if (get_bool(p, "old"))
            fprintf(c->out, "profile    %s is OLD: dated %s, %lld days ago; %s\n", get_text(p, "profile"),
                get_text(p, "dated"), get_number(p, "age_days"), get_text(p, "file"));
}

void
render_status(struct ctl *c, const json_t *a)
{
    const json_t *pauses = json_object_get(a, "pauses");
    char up[AFTER_TEXT_MAX];

    fprintf(c->out, "node       %s, sendgovd %s, up %s\n", get_text(a, "node"), get_text(a, "version"),
        after_text(get_number(a, "uptime_ms") + 1, up));
    fprintf(c->out, "state      %s\n", get_text(a, "reason"));
    print_store(c, json_object_get(a, "store"));
    render_spool(c, json_object_get(a, "spool"));
    fprintf(c->out, "config     %s, hash %s\n", get_text(a, "config_file"), get_text(a, "config_hash"));
    print_old_profiles(c, json_object_get(a, "profiles"));
    fprintf(c->out, "messages   %lld under way\n\n", get_number(a, "messages_in_flight"));
    if (json_array_size(pauses) > 0) {
        print_pauses(c, pauses, "");
        fputc('\n', c->out);
    }
    print_steps(c, json_object_get(a, "warmups"));
    print_upstreams(c, json_object_get(a, "upstreams"), "no upstream pools");
    fputc('\n', c->out);
    print_listeners(c, json_object_get(a, "listeners"));
}

/* ---- the other questions ---- */

/* What the cap is for: a window of so long, or the burst of a rate, which is another number than the rate. */
#define PER_TEXT_MAX (PERIOD_TEXT_MAX + NUMBER_TEXT_MAX + 16)
static const char *
per_text(const json_t *l, char out[PER_TEXT_MAX])
{
    char period[PERIOD_TEXT_MAX];

    out[0] = '\0';
    if (get_number(l, "period_ms") <= 0)
        return out;
    period_format((uint64_t)get_number(l, "period_ms"), period);
    if (has_value(l, "usual"))
        snprintf(out, PER_TEXT_MAX, "%s, usual %lld", period, get_number(l, "usual"));
    else if (has_value(l, "rate"))
        snprintf(out, PER_TEXT_MAX, "burst, %lld/%s", get_number(l, "rate"), period);
    else
        snprintf(out, PER_TEXT_MAX, "%s", period);
    return out;
}

void
render_limits(struct ctl *c, const json_t *a)
{
    const char *const headings[] = {
        "LIMIT", "SCOPE", "INSTANCE", ">USED", ">CAP", "UNIT", "PER", "FREES", "MODE", NULL};
    char cap[NUMBER_TEXT_MAX], after[AFTER_TEXT_MAX], per[PER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *l;

    grid_init(&g, headings);
    json_array_foreach(json_object_get(a, "limits"), i, l) {
        grid_add(&g, "%s", get_text(l, "limit"));
        grid_add(&g, "%s", get_text(l, "scope"));
        grid_add(&g, "%s", get_text(l, "instance"));
        grid_add(&g, "%lld", get_number(l, "used"));
        grid_add(&g, "%s", number_text(l, "cap", cap));
        grid_add(&g, "%s", get_text(l, "unit"));
        grid_add(&g, "%s", per_text(l, per));
        grid_add(&g, "%s", after_text(get_number(l, "frees_after_ms"), after));
        grid_add(&g, "%s", get_text(l, "mode"));
    }
    grid_finish(&g, c->out, "no limits");
}

static const char *
warmup_state(const json_t *w)
{
    if (has_value(w, "hold"))
        return "held, see below";
    if (get_bool(w, "held"))
        return "held today: a reply was not clean, or it was moved";
    if (get_number(w, "peak") >= get_number(w, "peak_needed"))
        return "advances at 00:00 UTC";
    return "advances when PEAK reaches NEEDED";
}

/* Who holds what, and why. */
static void
print_holds(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"HELD", "SINCE", "UNTIL", "BY", "REASON", NULL};
    char since[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
    bool is_any = false;
    struct grid g;
    size_t i;
    json_t *w;

    grid_init(&g, headings);
    json_array_foreach(list, i, w) {
        const json_t *hold = json_object_get(w, "hold");

        if (!has_value(w, "hold"))
            continue;
        grid_add(&g, "%s", get_text(w, "route"));
        grid_add(&g, "%s", time_text(hold, "since", since));
        grid_add(&g, "%s", has_value(hold, "until") ? time_text(hold, "until", until) : "resumed");
        grid_add(&g, "%s", get_text(hold, "actor"));
        grid_add(&g, "%s", get_text(hold, "reason"));
        is_any = true;
    }
    if (is_any)
        fputc('\n', c->out);
    grid_print(&g, c->out);
    grid_fini(&g);
}

void
render_warmup(struct ctl *c, const json_t *a)
{
    const char *const headings[] = {"ROUTE", "SCHEDULE", ">STEP", ">USED", ">CAP/24H", ">CAP/H", ">PEAK",
        ">NEEDED", ">NEXT CAP", "STATE", NULL};
    char cap[NUMBER_TEXT_MAX], hour[NUMBER_TEXT_MAX], next[NUMBER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *w;

    grid_init(&g, headings);
    json_array_foreach(json_object_get(a, "warmups"), i, w) {
        grid_add(&g, "%s", get_text(w, "route"));
        grid_add(&g, "%s", get_text(w, "schedule"));
        grid_add(&g, "%lld", get_number(w, "step"));
        grid_add(&g, "%lld", get_number(w, "used"));
        grid_add(&g, "%s", number_text(w, "cap", cap));
        grid_add(&g, "%s", number_text(w, "hour_cap", hour));
        grid_add(&g, "%lld", get_number(w, "peak"));
        grid_add(&g, "%lld", get_number(w, "peak_needed"));
        grid_add(&g, "%s", number_text(w, "next_cap", next));
        grid_add(&g, "%s", warmup_state(w));
    }
    if (grid_finish(&g, c->out, "no route warms up") > 0)
        print_holds(c, json_object_get(a, "warmups"));
}

void
render_warmup_held(struct ctl *c, const json_t *a)
{
    char until[TIME_TEXT_MAX];

    fprintf(c->out, "%s: %s stays on its step until %s\n", get_bool(a, "stood") ? "held already" : "held",
        get_text(a, "route"), has_value(a, "until") ? time_text(a, "until", until) : "somebody resumes it");
}

void
render_warmup_resumed(struct ctl *c, const json_t *a)
{
    fprintf(c->out, get_bool(a, "resumed") ? "resumed\n" : "was not held\n");
}

void
render_warmup_moved(struct ctl *c, const json_t *a)
{
    char cap[NUMBER_TEXT_MAX];

    if (get_number(a, "from") == get_number(a, "to"))
        fprintf(c->out, "%s stays on step %lld\n", get_text(a, "route"), get_number(a, "to"));
    else
        fprintf(c->out, "%s: step %lld, was %lld; %s external recipients per 24 h\n", get_text(a, "route"),
            get_number(a, "to"), get_number(a, "from"), number_text(a, "cap", cap));
}

void
render_pauses(struct ctl *c, const json_t *a)
{
    print_pauses(c, json_object_get(a, "pauses"), "nothing is paused");
}

void
render_upstreams(struct ctl *c, const json_t *a)
{
    print_upstreams(c, json_object_get(a, "upstreams"), "no upstream pools");
}

void
render_config(struct ctl *c, const json_t *a)
{
    fprintf(c->out, "# %s, hash %s\n%s", get_text(a, "file"), get_text(a, "hash"), get_text(a, "dump"));
}

void
render_paused(struct ctl *c, const json_t *a)
{
    char until[TIME_TEXT_MAX];

    fprintf(c->out, "%s: %s mail of %s %s, until %s\n",
        json_is_true(json_object_get(a, "stood")) ? "paused already" : "paused", get_text(a, "extent"),
        get_text(a, "scope"), get_text(a, "instance"),
        has_value(a, "until") ? time_text(a, "until", until) : "somebody resumes it");
}

void
render_resumed(struct ctl *c, const json_t *a)
{
    fprintf(c->out, get_bool(a, "resumed") ? "resumed\n" : "was not paused\n");
}

void
render_opened(struct ctl *c, const json_t *a)
{
    (void)a;
    fprintf(c->out, "opened: the counters are trusted\n");
}

void
render_reloaded(struct ctl *c, const json_t *a)
{
    fprintf(c->out, "reloaded, configuration hash %s\n", get_text(a, "hash"));
}

void
render_draining(struct ctl *c, const json_t *a)
{
    (void)a;
    fprintf(c->out, "draining; sendgovd exits when it is done\n");
}
