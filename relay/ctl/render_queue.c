/* What the spool holds, as tables. The fields are those of relay/admin/spool_view.c. Addresses, reasons and
 * replies come from peers: they reach the terminal through a grid or grid_print_plain only. */
#include <string.h>

#include "relay/ctl/ctl.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/json_get.h"

/* ---- words ---- */

static const char *
sender_text(const json_t *m)
{
    const char *sender = get_text(m, "sender");

    return sender[0] ? sender : "<>";
}

#define RELEASE_TEXT_MAX (AFTER_TEXT_MAX + 16)
/* "in 12 min", "about in 12 min"; "" where nobody knows. */
static const char *
release_text(const json_t *o, char out[RELEASE_TEXT_MAX])
{
    char after[AFTER_TEXT_MAX];
    long long in_seconds = get_number(o, "in_seconds");

    out[0] = '\0';
    if (!has_value(o, "in_seconds"))
        return out;
    after_text(in_seconds * 1000, after);
    snprintf(out, RELEASE_TEXT_MAX, "%s%s%s", get_bool(o, "estimate") ? "about " : "",
        in_seconds > 0 ? "in " : "", after);
    return out;
}

static const char *
plural(long long n)
{
    return n == 1 ? "" : "s";
}

/* "limit, in 12 min": what a message waits for, and for how long. */
static void
add_next(struct grid *g, const json_t *m)
{
    const char *waits = get_text(m, "waits_for");
    char release[RELEASE_TEXT_MAX];

    release_text(m, release);
    if (strcmp(waits, "nothing") == 0)
        grid_add(g, "now");
    else if (strcmp(waits, "own-time") == 0)
        grid_add(g, "%s", release);
    else
        grid_add(g, "%s%s%s", waits, release[0] ? ", " : "", release);
}

static void
add_recipient(struct grid *g, const json_t *m)
{
    long long n = get_number(m, "recipients");

    if (n > 1)
        grid_add(g, "%s (+%lld)", get_text(m, "first_recipient"), n - 1);
    else
        grid_add(g, "%s", get_text(m, "first_recipient"));
}

static void
print_field(struct ctl *c, const char *name, const char *value)
{
    fprintf(c->out, "%-10s ", name);
    grid_print_plain(value[0] ? value : "-", c->out);
    fputc('\n', c->out);
}

/* ---- looking ---- */

void
render_queue(struct ctl *c, const json_t *a)
{
    const char *const headings[] = {
        "ID", "AGE", "STATE", "CLIENT", "SENDER", "RECIPIENT", ">BYTES", ">TRIES", "NEXT", NULL};
    char age[AFTER_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *m;

    grid_init(&g, headings);
    json_array_foreach(json_object_get(a, "messages"), i, m) {
        grid_add(&g, "%s", get_text(m, "id"));
        grid_add(&g, "%s", after_text(get_number(m, "age_ms"), age));
        grid_add(&g, "%s", get_text(m, "state"));
        grid_add(&g, "%s", get_text(m, "client"));
        grid_add(&g, "%s", sender_text(m));
        add_recipient(&g, m);
        grid_add(&g, "%lld", get_number(m, "bytes"));
        grid_add(&g, "%lld", get_number(m, "attempts"));
        add_next(&g, m);
    }
    grid_finish(&g, c->out, "no such messages");
    if (get_bool(a, "more"))
        fprintf(c->out, "there are more: add --after %lld\n", get_number(a, "next"));
}

static void
print_head(struct ctl *c, const json_t *m)
{
    char time[TIME_TEXT_MAX], bytes[NUMBER_TEXT_MAX];

    print_field(c, "id", get_text(m, "id"));
    print_field(c, "state", get_text(m, "state"));
    if (has_value(m, "held_by")) {
        print_field(c, "held by", get_text(m, "held_by"));
        print_field(c, "because", get_text(m, "held_why"));
    }
    print_field(c, "client", get_text(m, "client"));
    print_field(c, "route", get_text(m, "route"));
    print_field(c, "mailbox", get_text(m, "mailbox"));
    print_field(c, "class", get_text(m, "class"));
    print_field(c, "sender", sender_text(m));
    print_field(c, "received", time_text(m, "received", time));
    print_field(c, "bytes", number_text(m, "bytes", bytes));
    if (get_bool(m, "is_dsn"))
        print_field(c, "report", "yes: a notification of this relay");
}

static void
print_recipients(struct ctl *c, const json_t *list)
{
    const char *const headings[] = {
        "RECIPIENT", "CLASS", "STATE", ">TRIES", ">LOST", "DUE", "LAST REPLY", NULL};
    char due[TIME_TEXT_MAX];
    struct grid g;
    size_t i;
    json_t *r;

    grid_init(&g, headings);
    json_array_foreach(list, i, r) {
        grid_add(&g, "%s", get_text(r, "address"));
        grid_add(&g, "%s", get_text(r, "class"));
        grid_add(&g, "%s", get_text(r, "state"));
        grid_add(&g, "%lld", get_number(r, "attempts"));
        grid_add(&g, "%lld", get_number(r, "uncertain"));
        grid_add(&g, "%s", time_text(r, "due", due));
        grid_add(&g, "%s", get_text(r, "last_reply"));
    }
    grid_finish(&g, c->out, "no recipients");
}

static void
print_message(struct ctl *c, const json_t *m)
{
    print_head(c, m);
    fputc('\n', c->out);
    print_recipients(c, json_object_get(m, "recipients"));
    if (has_value(m, "next"))
        fprintf(c->out, "there are %lld recipients: add --after %lld\n", get_number(m, "recipient_count"),
            get_number(m, "next"));
}

static void
print_why(struct ctl *c, const json_t *m)
{
    char release[RELEASE_TEXT_MAX], time[TIME_TEXT_MAX], text[RELEASE_TEXT_MAX + TIME_TEXT_MAX];

    print_field(c, "id", get_text(m, "id"));
    print_field(c, "waits for", get_text(m, "waits_for"));
    print_field(c, "because", get_text(m, "why"));
    if (has_value(m, "release_at")) {
        snprintf(text, sizeof(text), "%s, %s", time_text(m, "release_at", time), release_text(m, release));
        print_field(c, "leaves", text);
    }
    if (get_number(m, "position") > 0) {
        snprintf(text, sizeof(text), "%lld of %lld in its lane", get_number(m, "position"),
            get_number(m, "lane"));
        print_field(c, "place", text);
    }
}

/* Both halves of a message with internal and external recipients may go by one id. */
static void
print_halves(struct ctl *c, const json_t *a, void (*print)(struct ctl *, const json_t *))
{
    size_t i;
    json_t *m;

    print(c, a);
    json_array_foreach(json_object_get(a, "also"), i, m) {
        fputc('\n', c->out);
        print(c, m);
    }
}

void
render_queue_show(struct ctl *c, const json_t *a)
{
    print_halves(c, a, print_message);
}

void
render_queue_why(struct ctl *c, const json_t *a)
{
    print_halves(c, a, print_why);
}

/* ---- orders ---- */

static void
print_order(struct ctl *c, const json_t *a, const char *done, const char *tail)
{
    long long changed = get_number(a, "changed"), busy = get_number(a, "busy");

    fprintf(c->out, "%s %lld message%s%s\n", done, changed, plural(changed), tail);
    if (busy > 0)
        fprintf(c->out, "%lld on %s way %s left alone; try again in a minute\n", busy,
            busy == 1 ? "its" : "their", busy == 1 ? "was" : "were");
}

void
render_queue_held(struct ctl *c, const json_t *a)
{
    print_order(c, a, "held", "");
}

void
render_queue_released(struct ctl *c, const json_t *a)
{
    print_order(c, a, "released", "");
}

void
render_queue_retried(struct ctl *c, const json_t *a)
{
    print_order(c, a, "due now:", "");
}

void
render_queue_deleted(struct ctl *c, const json_t *a)
{
    print_order(c, a, "deleted", "; no report is sent to anybody");
}

/* ---- in status ---- */

static void
print_waiting(struct ctl *c, json_t *waiting)
{
    const char *name;
    bool is_any = false;
    json_t *n;

    json_object_foreach(waiting, name, n) {
        if (json_integer_value(n) <= 0)
            continue;
        fprintf(
            c->out, "%s%" JSON_INTEGER_FORMAT " for ", is_any ? ", " : "waiting    ", json_integer_value(n));
        grid_print_plain(name, c->out);
        is_any = true;
    }
    if (is_any)
        fputc('\n', c->out);
}

static void
print_trouble(struct ctl *c, const json_t *s)
{
    const char *state = get_text(s, "state");

    fprintf(c->out, "spool      NOT READY: %s%s", state, get_text(s, "why")[0] ? ": " : "");
    grid_print_plain(get_text(s, "why"), c->out);
    if (strcmp(state, "full") == 0)
        fprintf(c->out, "; %lld MiB free, %lld MiB needed", get_number(s, "free_bytes") / (1024 * 1024),
            get_number(s, "needed_bytes") / (1024 * 1024));
    fputc('\n', c->out);
}

void
render_spool(struct ctl *c, const json_t *s)
{
    char oldest[TIME_TEXT_MAX];

    if (!s)
        return;
    if (json_is_null(s)) {
        fprintf(c->out, "spool      none: what cannot go now is refused for now\n");
        return;
    }
    if (strcmp(get_text(s, "state"), "ready") != 0)
        print_trouble(c, s);
    fprintf(c->out, "held mail  %lld message%s, %lld KiB", get_number(s, "messages"),
        plural(get_number(s, "messages")), (get_number(s, "bytes") + 1023) / 1024);
    if (has_value(s, "oldest"))
        fprintf(c->out, ", the oldest of %s", time_text(s, "oldest", oldest));
    fputc('\n', c->out);
    print_waiting(c, json_object_get(s, "waiting"));
    if (get_number(s, "held") + get_number(s, "parked") > 0)
        fprintf(c->out, "operator   %lld held, %lld parked; see queue in sendgovctl(8)\n",
            get_number(s, "held"), get_number(s, "parked"));
}
