#include "relay/admin/http_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "policy/refusal.h"
#include "policy/warmup.h"
#include "relay/admin/advice.h"
#include "relay/admin/command_run.h"
#include "relay/admin/scrape.h"
#include "relay/admin/spool_view.h"
#include "relay/admin/usage_view.h"
#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/config/units.h"
#include "relay/flow/held.h"
#include "relay/front/front.h"
#include "relay/upstream/upstream.h"

#define STATUS_OK 200
#define STATUS_UNAVAILABLE 503
#define ROWS_MAX 256

int
page_metrics(struct admin *a, struct buf *out)
{
    scrape_refresh(a);
    metrics_format(a->setup.metrics, out);
    scrape_process(out);
    return STATUS_OK;
}

/* That it is answered is the answer: the loop turns. */
int
page_live(struct admin *a, struct buf *out)
{
    (void)a;
    buf_add_str(out, "live\n");
    return STATUS_OK;
}

int
page_ready(struct admin *a, struct buf *out)
{
    char reason[READY_TEXT_MAX];
    bool ready = admin_is_ready(a, reason);

    buf_printf(out, "%s\n", reason);
    return ready ? STATUS_OK : STATUS_UNAVAILABLE;
}

int
page_style(struct admin *a, struct buf *out)
{
    (void)a;
    buf_add_str(out,
        "body{font:15px/1.4 system-ui,sans-serif;margin:2em;max-width:70em;color:#222;background:#fff}\n"
        "table{border-collapse:collapse;margin:0 0 1.5em}\n"
        "th,td{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #ddd;vertical-align:top}\n"
        ".n{text-align:right;font-variant-numeric:tabular-nums}\n"
        ".bad{color:#b00020;font-weight:600}\n.good{color:#14692c}\n");
    return STATUS_OK;
}

void
html_add(struct buf *out, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++) {
        switch (*p) {
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '"':
            buf_add_str(out, "&quot;");
            break;
        case '\'':
            buf_add_str(out, "&#39;");
            break;
        default:
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                buf_add_str(out, "?");
            else
                buf_add(out, p, 1);
        }
    }
}

/* ---- tables ---- */

static void
cell(struct buf *out, const char *text)
{
    buf_add_str(out, "<td>");
    html_add(out, text);
    buf_add_str(out, "</td>");
}

static void
cell_u64(struct buf *out, uint64_t n)
{
    if (n == LIMIT_UNLIMITED)
        buf_add_str(out, "<td class=n>unlimited</td>");
    else
        buf_printf(out, "<td class=n>%" PRIu64 "</td>", n);
}

/* Of a rate the burst is capped; the rate itself is said beside it, as what is usual beside a spike's. */
static void
cell_cap(struct buf *out, const struct usage *u)
{
    char period[PERIOD_TEXT_MAX];

    if (u->limit->kind == LIMIT_SPIKE) {
        buf_printf(out, "<td class=n>%" PRIu64 ", usual %" PRIu64 "</td>", u->cap, u->usual);
        return;
    }
    if (u->limit->kind != LIMIT_RATE) {
        cell_u64(out, u->cap);
        return;
    }
    period_format(u->limit->period_ms, period);
    buf_printf(out, "<td class=n>burst %" PRIu64 ", %" PRIu64 "/%s</td>", u->cap, u->limit->value, period);
}

static void
cell_after(struct buf *out, int64_t ms)
{
    char text[UNITS_TEXT_MAX] = "not known";

    if (ms == 0)
        buf_add_str(out, "<td>now</td>");
    else {
        if (ms > 0)
            units_format_duration((uint64_t)ms, text);
        buf_printf(out, "<td>%s</td>", text);
    }
}

static void
format_end(const struct pause *p, int64_t now_ms, char *out, size_t size)
{
    char time[CLOCK_RFC3339_MAX], left[UNITS_TEXT_MAX] = "0s";

    clock_format_rfc3339(p->until_utc_ms, time);
    if (p->until_utc_ms > now_ms)
        units_format_duration((uint64_t)(p->until_utc_ms - now_ms), left);
    if (p->until_utc_ms == 0)
        snprintf(out, size, "resumed by an operator");
    else
        snprintf(out, size, "%s, in %s", time, left);
}

/* Holds of warm-ups stop none; they are shown with their warm-up. */
static size_t
n_pauses_of_mail(const struct pause *p, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += p[i].extent != PAUSE_GROWTH;
    return count;
}

static void
add_pauses(const struct admin *a, struct buf *out)
{
    const struct pause *p;
    size_t n = store_pauses(a->setup.store, &p);
    char until[CLOCK_RFC3339_MAX + UNITS_TEXT_MAX + 8], since[CLOCK_RFC3339_MAX], advice[REPLY_ADVICE_MAX];
    int64_t now_ms = store_now_ms(a->setup.store);

    if (n_pauses_of_mail(p, n) == 0) {
        buf_add_str(out, "<h2>Pauses</h2><p>none</p>");
        return;
    }
    buf_add_str(out, "<h2>Pauses</h2><table><tr><th>what<th>mail<th>cause<th>since<th>until<th>reason"
        "<th>what to do<th>by</tr>\n");
    for (size_t i = 0; i < n; i++) {
        if (p[i].extent == PAUSE_GROWTH)
            continue;
        clock_format_rfc3339(p[i].since_utc_ms, since);
        format_end(&p[i], now_ms, until, sizeof(until));
        buf_printf(out, "<tr><td class=bad>%s ", limit_scope_to_str(p[i].scope));
        html_add(out, p[i].instance);
        buf_add_str(out, "</td>");
        cell(out, pause_extent_to_str(p[i].extent));
        cell(out, p[i].class == CLASS_OK ? "operator" : reply_class_to_str(p[i].class));
        cell(out, since);
        cell(out, until);
        cell(out, p[i].reason);
        advice_of_pause(a->config, &p[i], advice);
        cell(out, advice);
        cell(out, p[i].actor);
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, "</table>");
}

static void
add_warmups(const struct admin *a, struct buf *out)
{
    buf_add_str(out, "<h2>Warm-up</h2><table><tr><th>route<th>schedule<th>step<th>cap per 24 h<th>held by"
        "<th>reason</tr>\n");
    for (size_t i = 0; i < a->config->n_routes; i++) {
        const struct route_conf *r = &a->config->routes[i];
        uint32_t step = store_warmup_step(a->setup.store, r->name);
        const struct pause *hold = call_find_hold(a, r->name);

        if (!r->warmup)
            continue;
        buf_add_str(out, "<tr>");
        cell(out, r->name);
        cell(out, r->warmup->name);
        cell_u64(out, step);
        cell_u64(out, warmup_cap(r->warmup, step));
        cell(out, hold ? hold->actor : "");
        cell(out, hold ? hold->reason : "");
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, "</table>");
}

static void
add_limits(const struct admin *a, struct buf *out)
{
    const struct usage *rows;
    size_t n = usage_cache_rows(a->usage, &rows);

    buf_add_str(out,
        "<h2>Limits</h2><table><tr><th>limit<th>scope<th>instance<th class=n>used<th class=n>cap<th>frees "
        "in<th>mode</tr>\n");
    for (size_t i = 0; i < n; i++) {
        buf_add_str(out, "<tr>");
        cell(out, rows[i].limit->name);
        cell(out, limit_scope_to_str(rows[i].limit->scope));
        cell(out, rows[i].instance);
        cell_u64(out, rows[i].used);
        cell_cap(out, &rows[i]);
        cell_after(out, rows[i].frees_after_ms);
        cell(out, limit_mode_to_str(rows[i].limit->mode));
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, "</table>");
}

static void
add_upstreams(const struct admin *a, struct buf *out)
{
    struct upstream_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = upstream_status(a->setup.upstream, rows, ROWS_MAX);

    buf_add_str(out,
        "<h2>Upstream connections</h2><table><tr><th>route<th>mailbox<th class=n>connecting<th class=n>busy"
        "<th class=n>idle<th class=n>waiting<th>last error</tr>\n");
    for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
        buf_add_str(out, "<tr>");
        cell(out, rows[i].route);
        cell(out, rows[i].mailbox);
        cell_u64(out, rows[i].connecting);
        cell_u64(out, rows[i].busy);
        cell_u64(out, rows[i].idle);
        cell_u64(out, rows[i].waiting);
        cell(out, rows[i].last_error);
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, "</table>");
    free(rows);
}

static void
add_listeners(const struct admin *a, struct buf *out)
{
    struct front_status *rows = xcalloc(ROWS_MAX, sizeof(*rows));
    size_t n = front_status(a->setup.front, rows, ROWS_MAX);

    buf_add_str(out, "<h2>Listeners</h2><table><tr><th>listener<th>address<th class=n>connections</tr>\n");
    for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
        buf_add_str(out, "<tr>");
        cell(out, rows[i].listener);
        cell(out, rows[i].address);
        cell_u64(out, rows[i].connections);
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, "</table>");
    free(rows);
}

static void
add_spool_row(struct buf *out, const char *what, uint64_t n)
{
    buf_add_str(out, "<tr>");
    cell(out, what);
    cell_u64(out, n);
    buf_add_str(out, "</tr>\n");
}

static void
add_oldest(struct buf *out, int64_t oldest_utc_ms)
{
    char since[CLOCK_RFC3339_MAX];

    if (oldest_utc_ms == 0)
        return;
    clock_format_rfc3339(oldest_utc_ms, since);
    buf_printf(out, "<tr><td>oldest, received</td><td>%s</td></tr>\n", since);
}

/* Numbers only: who wrote to whom is for the control socket. */
static void
add_spool(const struct admin *a, struct buf *out)
{
    struct spool_status spool;
    struct queue_counts queue;
    bool is_well;

    if (!held_is_on(a->setup.flow)) {
        buf_add_str(out, "<h2>Spool</h2><p>none</p>");
        return;
    }
    held_status(a->setup.flow, &spool, &queue);
    is_well = spool.state == SPOOL_READY;
    buf_printf(out, "<h2>Spool</h2><p class=%s>%s%s", is_well ? "good" : "bad",
        spool_state_to_str(spool.state), spool.why[0] ? ": " : "");
    html_add(out, spool.why);
    buf_add_str(out, "</p><table><tr><th>what<th class=n>messages</tr>\n");
    add_spool_row(out, "in the spool", spool.messages);
    for (int w = 0; w < WAITS_COUNT; w++)
        add_spool_row(out, waits_for_to_str((enum waits_for)w),
            spool_view_count(&queue, (enum waits_for)w));
    add_oldest(out, spool.oldest_utc_ms);
    buf_add_str(out, "</table>");
}

int
page_status(struct admin *a, struct buf *out)
{
    char reason[READY_TEXT_MAX], now[CLOCK_RFC3339_MAX];
    bool ready = admin_is_ready(a, reason);

    clock_format_rfc3339(clock_utc_ms(), now);
    buf_add_str(out, "<!doctype html><html lang=en><head><meta charset=utf-8><title>sendgov</title>"
        "<link rel=stylesheet href=/style.css></head><body><h1>sendgov, node ");
    html_add(out, a->config->node);
    buf_printf(out, "</h1><p class=%s>", ready ? "good" : "bad");
    html_add(out, reason);
    buf_printf(out, "</p><p>sendgovd " PACKAGE_VERSION ", configuration %s, %s</p>\n", a->config->hash, now);
    add_pauses(a, out);
    add_spool(a, out);
    add_warmups(a, out);
    add_limits(a, out);
    add_upstreams(a, out);
    add_listeners(a, out);
    buf_add_str(out, "</body></html>\n");
    return STATUS_OK;
}
