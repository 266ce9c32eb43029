/* What would become of a message, as text: who and which way, then each class of recipients with the limits
 * it meets. The fields are those of relay/admin/command_explain.c and explain_view.c. */
#include <string.h>

#include "policy/refusal.h"
#include "relay/base/buf.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/json_get.h"

static void
print_field(struct ctl *c, const char *name, const char *value)
{
    fprintf(c->out, "%-10s ", name);
    grid_print_plain(value[0] ? value : "-", c->out);
    fputc('\n', c->out);
}

/* ---- when ---- */

#define WHEN_TEXT_MAX (TIME_TEXT_MAX + AFTER_TEXT_MAX + 8)
/* "now", "2026-11-25 21:00:03Z, in 12 min", "not known". */
static const char *
when_text(const json_t *o, char out[WHEN_TEXT_MAX])
{
    char at[TIME_TEXT_MAX], after[AFTER_TEXT_MAX];
    long long ms = get_number(o, "passes_after_ms");

    after_text(ms, after);
    if (ms > 0)
        snprintf(out, WHEN_TEXT_MAX, "%s, in %s", time_text(o, "passes_at", at), after);
    else
        snprintf(out, WHEN_TEXT_MAX, "%s", after);
    return out;
}

/* ---- limits ---- */

static const char *
lowering_words(const char *by)
{
    return strcmp(by, "node") == 0 ? "another node has" : "the upstream said so:";
}

/* "warm-up step 3", "8000; another node has 5000": what the cap in force comes from. */
static void
add_cap_reason(struct grid *g, const json_t *l)
{
    char cap[NUMBER_TEXT_MAX], until[TIME_TEXT_MAX];
    struct buf text;
    json_t *w;
    size_t i;

    buf_init(&text);
    if (has_value(l, "step"))
        buf_printf(
            &text, "%s at warm-up step %lld", number_text(l, "configured", cap), get_number(l, "step"));
    else
        buf_printf(&text, "%s", number_text(l, "configured", cap));
    json_array_foreach(json_object_get(l, "lowered"), i, w) {
        buf_printf(&text, "; %s %s", lowering_words(get_text(w, "by")), number_text(w, "cap", cap));
        if (has_value(w, "until"))
            buf_printf(&text, " until %s", time_text(w, "until", until));
    }
    if (get_number(l, "period_ms") > get_number(l, "configured_period_ms"))
        buf_printf(&text, "; another node has a longer period");
    grid_add(g, "%s", buf_span(&text).p);
    buf_fini(&text);
}

static void
add_period(struct grid *g, const json_t *l)
{
    char period[PERIOD_TEXT_MAX];

    if (get_number(l, "period_ms") <= 0) {
        grid_add(g, "-");
        return;
    }
    period_format((uint64_t)get_number(l, "period_ms"), period);
    if (has_value(l, "rate"))
        grid_add(g, "burst, %lld/%s", get_number(l, "rate"), period);
    else
        grid_add(g, "%s", period);
}

static void
add_limit(struct grid *g, const json_t *l)
{
    char cap[NUMBER_TEXT_MAX], when[WHEN_TEXT_MAX];
    const char *origin = get_text(l, "origin");

    grid_add(g, "%s", get_text(l, "limit"));
    grid_add(g, "%s", get_text(l, "scope"));
    grid_add(g, "%s", get_text(l, "instance"));
    grid_add(g, "%lld", get_number(l, "used"));
    grid_add(g, "%s", number_text(l, "cap", cap));
    grid_add(g, "%lld", get_number(l, "wanted"));
    grid_add(g, "%s", get_text(l, "unit"));
    add_period(g, l);
    grid_add(g, "%s", strcmp(get_text(l, "mode"), "shadow") == 0 ? "shadow" : when_text(l, when));
    add_cap_reason(g, l);
    grid_add(g, "%s%s%s", origin, origin[0] ? ", " : "", get_text(l, "source"));
}

static void
print_limits(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"LIMIT", "SCOPE", "INSTANCE", ">USED", ">CAP", ">WANTS", "UNIT", "PER",
        "PASSES", "CONFIGURED", "FROM", NULL};
    struct grid g;
    size_t i;
    json_t *l;

    grid_init(&g, headings);
    json_array_foreach(list, i, l)
        add_limit(&g, l);
    grid_finish(&g, c->out, "no limit applies");
}

/* ---- a class of recipients ---- */

static void
print_recipients(struct ctl *c, const json_t *t)
{
    const json_t *list = json_object_get(t, "recipients");
    size_t n = json_array_size(list), i;
    json_t *r;

    fprintf(c->out, "\n%zu %s recipient%s: ", n, get_text(t, "class"), n == 1 ? "" : "s");
    json_array_foreach(list, i, r) {
        if (i > 0)
            fputs(", ", c->out);
        grid_print_plain(json_string_value(r) ? json_string_value(r) : "", c->out);
    }
    fputc('\n', c->out);
}

static void
print_pauses(struct ctl *c, const json_t *list)
{
    char until[TIME_TEXT_MAX];
    size_t i;
    json_t *p;

    json_array_foreach(list, i, p) {
        struct buf text;

        buf_init(&text);
        buf_printf(&text, "%s mail of %s %s, until %s (%s: %s)", get_text(p, "extent"), get_text(p, "scope"),
            get_text(p, "instance"), has_value(p, "until") ? time_text(p, "until", until) : "it is resumed",
            get_text(p, "class"), get_text(p, "reason"));
        print_field(c, "paused", buf_span(&text).p);
        buf_fini(&text);
    }
}

static void
print_outcome(struct ctl *c, const json_t *o)
{
    char when[WHEN_TEXT_MAX];

    print_field(c, "outcome", get_text(o, "outcome"));
    print_field(c, "answer", get_text(o, "answer"));
    if (has_value(o, "why") && strcmp(get_text(o, "why"), get_text(o, "answer")) != 0)
        print_field(c, "why", get_text(o, "why"));
    print_field(c, "passes", when_text(o, when));
}

static void
print_refused(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {"REFUSED RECIPIENT", "ANSWER", NULL};
    struct grid g;
    size_t i;
    json_t *r;

    if (json_array_size(list) > 0)
        fputc('\n', c->out);
    grid_init(&g, headings);
    json_array_foreach(list, i, r) {
        grid_add(&g, "%s", get_text(r, "recipient"));
        grid_add(&g, "%s", get_text(r, "answer"));
    }
    grid_print(&g, c->out);
    grid_fini(&g);
}

static const char *
client_by_words(const char *by)
{
    if (strcmp(by, "sender") == 0)
        return "the only one that may send so";
    if (strcmp(by, "login") == 0)
        return "by login";
    return strcmp(by, "network") == 0 ? "by network" : "as named";
}

void
render_explain(struct ctl *c, const json_t *a)
{
    const json_t *list = json_object_get(a, "transactions");
    struct buf text;
    size_t i;
    json_t *t;

    buf_init(&text);
    buf_printf(&text, "%s (%s), accept: %s", get_text(a, "client"), client_by_words(get_text(a, "client_by")),
        get_text(a, "accept"));
    print_field(c, "client", buf_span(&text).p);
    buf_fini(&text);
    print_field(c, "sender", get_text(a, "sender")[0] ? get_text(a, "sender") : "<>");
    print_field(c, "route", get_text(a, "route"));
    print_field(c, "mailbox", get_text(a, "mailbox"));
    json_array_foreach(list, i, t) {
        print_recipients(c, t);
        print_limits(c, json_object_get(t, "limits"));
        print_pauses(c, json_object_get(t, "pauses"));
        print_outcome(c, t);
    }
    print_refused(c, json_object_get(a, "refused_recipients"));
    if (json_array_size(list) == 1)
        return; /* the message is that */
    fputc('\n', c->out);
    print_outcome(c, a);
}
