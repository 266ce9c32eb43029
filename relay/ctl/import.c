/* limits import: what Microsoft enforces for a tenant, out of the output of Get-LimitsEnforcementStatus.
 * Without more words it becomes a piece of configuration on standard output, a share of the limit, because
 * people's own mail counts as well; with --compare it is held against the limits of the running daemon.
 *
 * Example: Threshold 4800, and the route's licences make the daily cap 8000: "LOWER", and the exit code is 1.
 * 80 percent are 3840. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "relay/base/buf.h"
#include "relay/config/units.h"
#include "relay/ctl/ask.h"
#include "relay/ctl/grid.h"
#include "relay/ctl/json_get.h"
#include "relay/ctl/limits_status.h"
#include "relay/ctl/offline.h"

#define PERCENT_DEFAULT 80 /* as the shipped profiles */
#define DAY_MS 86400000

struct import {
    struct limits_status status;
    uint64_t percent, share;
    const char *route;     /* NULL: not said */
    struct config *config; /* NULL: none was needed */
};

/* ---- what is read ---- */

static enum ctl_exit
read_file(struct ctl *c, struct buf *text)
{
    const char *name = c->operands[0];
    FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    size_t n;
    int error;

    if (!in)
        return ctl_fail(c, CTL_REFUSED, "%s: %s", name, strerror(errno));
    while (buf_len(text) <= POWERSHELL_TEXT_MAX && (n = fread(buf_reserve(text, 4096), 1, 4096, in)) > 0)
        buf_commit(text, n);
    error = ferror(in) ? errno : 0;
    if (in != stdin)
        fclose(in);
    return error == 0 ? CTL_OK : ctl_fail(c, CTL_REFUSED, "%s: %s", name, strerror(error));
}

static enum ctl_exit
read_status(struct ctl *c, struct limits_status *out)
{
    struct powershell_object object;
    struct buf text;
    struct err err;
    enum ctl_exit code;

    buf_init(&text);
    code = read_file(c, &text);
    if (code == CTL_OK &&
        (powershell_parse(buf_span(&text), &object, &err) != 0 ||
            limits_status_read(&object, out, &err) != 0))
        code = ctl_fail(c, CTL_REFUSED, "%s: %s", c->operands[0], err.text);
    buf_fini(&text);
    return code;
}

static enum ctl_exit
read_percent(struct ctl *c, uint64_t *out)
{
    const char *text = ctl_option(c, "percent"), *why = "";

    *out = PERCENT_DEFAULT;
    if (text && (!units_parse_number(span_str(text), out, &why) || *out < 1 || *out > 100))
        return ctl_fail(c, CTL_USAGE, "--percent must be from 1 to 100");
    return CTL_OK;
}

/* ---- a piece of configuration ---- */

/* The one of the configuration, where it has one only. The name becomes YAML. */
static enum ctl_exit
choose_route(struct ctl *c, struct import *m)
{
    enum ctl_exit code = CTL_OK;

    if (!m->route) {
        code = offline_load(c, &m->config);
        if (code == CTL_OK && m->config && m->config->n_routes == 1)
            m->route = m->config->routes[0].name;
    }
    if (code == CTL_OK && !m->route)
        return ctl_fail(c, CTL_USAGE, "which route leads to that tenant? --route NAME says it");
    if (code == CTL_OK
        && (strlen(m->route) > 64
            || strspn(m->route, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
                != strlen(m->route)))
        return ctl_fail(c, CTL_USAGE, "--route \"%s\" is no name of a route", m->route);
    return code;
}

/* "enforced", "NOT enforced", "(does not say whether it is enforced)". */
static const char *
enforcement_words(const struct limits_status *s)
{
    if (!s->has_enforcement)
        return "(it does not say whether that is enforced)";
    return s->is_enforced ? "enforced" : "NOT enforced now";
}

static void
print_status(struct ctl *c, const struct import *m, const char *lead)
{
    const struct limits_status *s = &m->status;

    fprintf(c->out, "%sMicrosoft's limit: %" PRIu64 " external recipients of the tenant in 24 h, %s", lead,
        s->threshold, enforcement_words(s));
    if (s->has_observed)
        fprintf(c->out, "; %" PRIu64 " were counted", s->observed);
    if (s->verdict[0])
        fprintf(c->out, "; verdict %s", s->verdict);
    fputc('\n', c->out);
    if (s->others[0])
        fprintf(c->out, "%snot understood and not used: %s\n", lead, s->others);
}

static json_t *
status_to_json(const struct import *m)
{
    const struct limits_status *s = &m->status;
    json_t *o = json_object();

    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "threshold", json_integer((json_int_t)s->threshold));
    json_object_set_new(
        o, "observed", s->has_observed ? json_integer((json_int_t)s->observed) : json_null());
    json_object_set_new(o, "enforced", s->has_enforcement ? json_boolean(s->is_enforced) : json_null());
    json_object_set_new(o, "verdict", s->verdict[0] ? json_string(s->verdict) : json_null());
    json_object_set_new(o, "not_used", json_string(s->others));
    json_object_set_new(o, "percent", json_integer((json_int_t)m->percent));
    json_object_set_new(o, "cap", json_integer((json_int_t)m->share));
    return o;
}

static void
format_snippet(const struct import *m, struct buf *out)
{
    buf_printf(out,
        "limits:\n  %s-tenant-day: {scope: route, unit: external, window: %" PRIu64
        "/d, route: %s, only: %s}\n",
        m->route, m->share, m->route, m->route);
}

static void
print_snippet(struct ctl *c, const struct import *m)
{
    struct buf snippet;
    json_t *o;

    buf_init(&snippet);
    format_snippet(m, &snippet);
    o = status_to_json(m);
    json_object_set_new(o, "route", json_string(m->route));
    json_object_set_new(o, "snippet", json_string(buf_span(&snippet).p));
    if (!ctl_print_json(c, o)) {
        print_status(c, m, "# ");
        fprintf(c->out,
            "# %" PRIu64 " percent of it, because mail that does not come by here counts as well\n",
            m->percent);
        fputs(buf_span(&snippet).p, c->out);
    }
    json_decref(o);
    buf_fini(&snippet);
}

/* ---- held against the daemon ---- */

enum fit { FIT_OK, FIT_TIGHT, FIT_ABOVE };

static const char *const fit_words[] = {"ok", "tight", "above"};

static enum fit
fit_of(const struct import *m, uint64_t cap)
{
    if (cap > m->status.threshold)
        return FIT_ABOVE;
    return cap > m->share ? FIT_TIGHT : FIT_OK;
}

/* What counts as Microsoft does: external recipients of a route in 24 hours. */
static bool
is_daily_cap(const struct import *m, const json_t *l)
{
    return strcmp(get_text(l, "scope"), "route") == 0 && strcmp(get_text(l, "unit"), "external") == 0 &&
        strcmp(get_text(l, "kind"), "window") == 0 && get_number(l, "period_ms") == DAY_MS &&
        has_value(l, "configured") && (!m->route || strcmp(get_text(l, "instance"), m->route) == 0);
}

static json_t *
row_to_json(const struct import *m, const json_t *l)
{
    uint64_t cap = (uint64_t)get_number(l, "configured");
    json_t *o = json_object();

    json_object_set_new(o, "route", json_string(get_text(l, "instance")));
    json_object_set_new(o, "limit", json_string(get_text(l, "limit")));
    json_object_set_new(o, "configured", json_integer((json_int_t)cap));
    json_object_set_new(o, "used", json_integer(get_number(l, "used")));
    json_object_set_new(o, "fit", json_string(fit_words[fit_of(m, cap)]));
    json_object_set_new(o, "source", json_string(get_text(l, "source")));
    return o;
}

/* The smallest cap of a route is what counts, so a larger one beside it does no harm. */
static bool
is_least_of_route(const json_t *rows, const json_t *row)
{
    size_t i;
    json_t *r;

    json_array_foreach(rows, i, r)
        if (strcmp(get_text(r, "route"), get_text(row, "route")) == 0 &&
            get_number(r, "configured") < get_number(row, "configured"))
            return false;
    return true;
}

static json_t *
find_rows(const struct import *m, const json_t *answer)
{
    json_t *all = json_array(), *least = json_array(), *l;
    size_t i;

    json_array_foreach(json_object_get(answer, "limits"), i, l)
        if (is_daily_cap(m, l))
            json_array_append_new(all, row_to_json(m, l));
    json_array_foreach(all, i, l)
        if (is_least_of_route(all, l))
            json_array_append(least, l);
    json_decref(all);
    return least;
}

static bool
is_any_above(const json_t *rows)
{
    size_t i;
    json_t *r;

    json_array_foreach(rows, i, r)
        if (strcmp(get_text(r, "fit"), fit_words[FIT_ABOVE]) == 0)
            return true;
    return false;
}

static void
print_advice(struct ctl *c, const struct import *m, const json_t *r)
{
    const char *fit = get_text(r, "fit");

    grid_print_plain(get_text(r, "limit"), c->out);
    fprintf(c->out, ": your cap %lld ", get_number(r, "configured"));
    if (strcmp(fit, "above") == 0)
        fprintf(c->out, "is above Microsoft's %" PRIu64 ": LOWER it, to %" PRIu64 " at most (",
            m->status.threshold, m->share);
    else if (strcmp(fit, "tight") == 0)
        fprintf(c->out, "leaves less than %" PRIu64 " percent of Microsoft's %" PRIu64 " to other mail (",
            100 - m->percent, m->status.threshold);
    else
        fprintf(c->out, "is within %" PRIu64 " percent of Microsoft's %" PRIu64 " (", m->percent,
            m->status.threshold);
    grid_print_plain(get_text(r, "source"), c->out);
    fputs(")\n", c->out);
}

static void
print_elsewhere(struct ctl *c, const struct import *m, const json_t *rows)
{
    uint64_t used = 0;
    size_t i;
    json_t *r;

    json_array_foreach(rows, i, r)
        used += (uint64_t)get_number(r, "used");
    if (m->status.has_observed && json_array_size(rows) > 0)
        fprintf(c->out,
            "Microsoft counts %" PRIu64 ", this relay %" PRIu64 ": %" PRIu64 " were sent elsewhere\n",
            m->status.observed, used, m->status.observed > used ? m->status.observed - used : 0);
}

static enum ctl_exit
show_comparison(struct ctl *c, const struct import *m, const json_t *answer)
{
    json_t *rows = find_rows(m, answer), *o = status_to_json(m), *r;
    bool is_missing = json_array_size(rows) == 0;
    enum ctl_exit code = is_missing || is_any_above(rows) ? CTL_REFUSED : CTL_OK;
    size_t i;

    json_object_set(o, "limits", rows);
    json_object_set_new(o, "lower", json_boolean(is_any_above(rows)));
    if (!ctl_print_json(c, o)) {
        print_status(c, m, "");
        json_array_foreach(rows, i, r)
            print_advice(c, m, r);
        print_elsewhere(c, m, rows);
        if (is_missing)
            fprintf(c->out, "no daily cap of external recipients is configured: `sendgovctl limits import` "
                            "without --compare writes one\n");
    }
    json_decref(o);
    json_decref(rows);
    return code;
}

static enum ctl_exit
compare(struct ctl *c, const struct import *m)
{
    json_t *question = json_pack("{s:s, s:s}", "command", "limits", "scope", "route"), *answer = NULL;
    char path[4096];
    enum ctl_exit code = ask_choose_socket(c, path, sizeof(path));

    if (m->route)
        json_object_set_new(question, "instance", json_string(m->route));
    if (code == CTL_OK)
        code = ask_daemon(c, path, question, &answer);
    if (code == CTL_OK && !get_bool(answer, "ok"))
        code = ctl_fail(c, CTL_REFUSED, "%s", get_text(answer, "error"));
    else if (code == CTL_OK)
        code = show_comparison(c, m, answer);
    json_decref(question);
    json_decref(answer);
    return code;
}

/* ---- the verb ---- */

/* Some tenants are told 0 by mistake: no cap of ours can make that right. */
static enum ctl_exit
check_threshold(struct ctl *c, const struct import *m)
{
    if (m->share > 0)
        return CTL_OK;
    return ctl_fail(c, CTL_REFUSED,
        "%s: Microsoft's limit is %" PRIu64 ", of which %" PRIu64 " percent are nothing: no external mail "
        "passes; a wrong limit is mended by a Microsoft support ticket",
        c->operands[0], m->status.threshold, m->percent);
}

enum ctl_exit
import_run(struct ctl *c)
{
    struct import m = {.route = ctl_option(c, "route")};
    enum ctl_exit code = read_percent(c, &m.percent);

    if (code == CTL_OK)
        code = read_status(c, &m.status);
    m.share = limits_status_share(&m.status, m.percent);
    if (code == CTL_OK)
        code = check_threshold(c, &m);
    if (code == CTL_OK && ctl_option(c, "compare")) {
        code = compare(c, &m);
    } else if (code == CTL_OK) {
        code = choose_route(c, &m);
        if (code == CTL_OK)
            print_snippet(c, &m);
    }
    config_unref(&m.config);
    return code;
}
