#include "relay/admin/usage_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/warmup.h"
#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop.h"

#define REFRESH_MS 1500       /* while somebody looks */
#define REFRESH_IDLE_MS 15000 /* so that the next one who looks sees something */
#define LOOKED_MS 60000       /* so long after the last look somebody still does */
#define STALE_MS 30000

/* ---- which rows ---- */

struct rows {
    const struct store *store;
    const struct usage_filter *filter;
    struct owner owner; /* of the limits */
    struct usage *items;
    size_t n;
    bool cut;
};

static uint64_t
configured_cap(const struct limit_conf *l, const struct store *s, const char *instance)
{
    uint64_t cap;

    if (l->kind != LIMIT_WARMUP || !l->schedule)
        return l->value;
    cap = warmup_cap(l->schedule, store_warmup_step(s, instance));
    return l->hour_cap ? warmup_hour_cap(cap) : cap;
}

static void
add_row(struct rows *rows, const struct limit_conf *l, const char *name)
{
    char instance[INSTANCE_MAX];
    struct usage *u;

    if (l->scope == SCOPE_SENDER || l->scope == SCOPE_RECIPIENT_DOMAIN)
        plan_sender_instance(span_str(name), instance);
    else
        snprintf(instance, sizeof(instance), "%s", name);
    if (l->only && !plan_names_instance(l->only, l->scope, span_str(instance)))
        return;
    if (rows->filter->instance && !plan_names_instance(rows->filter->instance, l->scope, span_str(instance)))
        return;
    for (size_t i = rows->n; i > 0 && rows->items[i - 1].limit == l; i--) {
        if (strcmp(rows->items[i - 1].instance, instance) == 0)
            return; /* a sender that two clients may use, or that is spelled in two ways */
    }
    if (rows->n == USAGE_MAX) {
        rows->cut = true;
        return;
    }
    u = &rows->items[rows->n++];
    memset(u, 0, sizeof(*u));
    u->limit = l;
    u->owner = rows->owner;
    memcpy(u->instance, instance, sizeof(u->instance));
    u->cap = configured_cap(l, rows->store, instance);
}

static bool
is_on_route(const struct limit_conf *l, const char *route)
{
    return !l->route || !route || strcmp(l->route, route) == 0;
}

static void
add_domains(struct rows *rows, const struct limit_conf *l, const struct config *c)
{
    for (size_t i = 0; i < c->n_routes; i++) {
        if (!is_on_route(l, c->routes[i].name))
            continue;
        for (size_t j = 0; j < c->routes[i].n_domains; j++) {
            if (!strchr(c->routes[i].domains[j], '*'))
                add_row(rows, l, c->routes[i].domains[j]);
        }
    }
}

static void
add_senders(struct rows *rows, const struct limit_conf *l, const struct config *c)
{
    for (size_t i = 0; i < c->n_clients; i++) {
        const struct client_conf *client = &c->clients[i];

        for (size_t j = 0; j < client->n_senders; j++) {
            const char *sender = client->senders[j];

            if (is_on_route(l, client->route) && sender[0] != '@' && !strchr(sender, '*'))
                add_row(rows, l, sender);
        }
    }
}

/* A sender or domain scope: the instance asked for, or those the configuration names. */
static void
add_by_sender(struct rows *rows, const struct limit_conf *l, const struct config *c)
{
    if (rows->filter->instance && rows->filter->scope == l->scope)
        add_row(rows, l, rows->filter->instance);
    else if (l->only && l->only[0] != '*')
        add_row(rows, l, l->only);
    else if (l->scope == SCOPE_SENDER)
        add_senders(rows, l, c);
    else if (l->scope == SCOPE_SENDER_DOMAIN)
        add_domains(rows, l, c);
}

static void
add_limit(struct rows *rows, const struct limit_conf *l, const struct config *c)
{
    switch (l->scope) {
    case SCOPE_ROUTE:
        for (size_t i = 0; i < c->n_routes; i++) {
            if (is_on_route(l, c->routes[i].name))
                add_row(rows, l, c->routes[i].name);
        }
        return;
    case SCOPE_MAILBOX:
        for (size_t i = 0; i < c->n_mailboxes; i++) {
            if (is_on_route(l, c->mailboxes[i].route))
                add_row(rows, l, c->mailboxes[i].name);
        }
        return;
    case SCOPE_CLIENT:
        for (size_t i = 0; i < c->n_clients; i++) {
            if (is_on_route(l, c->clients[i].route))
                add_row(rows, l, c->clients[i].name);
        }
        return;
    case SCOPE_SENDER:
    case SCOPE_SENDER_DOMAIN:
    case SCOPE_RECIPIENT_DOMAIN:
        if (rows->filter->senders)
            add_by_sender(rows, l, c);
        return;
    case SCOPE_COUNT:
        return;
    }
}

size_t
usage_list(struct config *c, const struct store *s, const struct usage_filter *filter,
    struct usage **rows_out, bool *cut_out)
{
    struct rows rows = {.store = s, .filter = filter, .owner = config_owner(c),
        .items = xcalloc(USAGE_MAX, sizeof(*rows.items))};

    for (size_t i = 0; i < c->n_limits; i++) {
        const struct limit_conf *l = &c->limits[i];

        if (filter->warmup_only && (l->kind != LIMIT_WARMUP || l->hour_cap))
            continue;
        if (filter->scope == SCOPE_COUNT || filter->scope == l->scope)
            add_limit(&rows, l, c);
    }
    *rows_out = xrealloc(rows.items, (rows.n ? rows.n : 1) * sizeof(*rows.items));
    *cut_out = rows.cut;
    return rows.n;
}

/* ---- the cache ---- */

struct usage_cache {
    struct admin *admin;
    struct timer again;
    struct handle question;
    struct usage *rows;
    size_t n_rows;
    struct config *config; /* what the rows point into; reference held while there are rows */
    struct config *asked;  /* what the question points into; reference held while it is open */
    int64_t at_mono_ms;
    int64_t looked_mono_ms;
};

static void
forget_rows(struct usage_cache *c)
{
    free(c->rows);
    c->rows = NULL;
    c->n_rows = 0;
    config_unref(&c->config);
}

static void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct usage_cache *c = arg;

    (void)error;
    c->question = HANDLE_NONE;
    if (ok) {
        forget_rows(c);
        c->rows = xcalloc(n ? n : 1, sizeof(*c->rows));
        if (n)
            memcpy(c->rows, usage, n * sizeof(*c->rows));
        c->n_rows = n;
        c->config = config_ref(c->asked);
        c->at_mono_ms = clock_mono_ms();
    }
    config_unref(&c->asked);
}

static void
ask(void *arg)
{
    struct usage_cache *c = arg;
    const struct usage_filter filter = {.scope = SCOPE_COUNT};
    struct usage *wanted;
    bool cut;
    size_t n;

    if (!c->admin->http)
        return; /* nobody looks; usage_cache_reset starts it again */
    timer_start(&c->again, clock_mono_ms() - c->looked_mono_ms < LOOKED_MS ? REFRESH_MS : REFRESH_IDLE_MS);
    if (!handle_is_none(c->question))
        return;
    n = usage_list(c->admin->config, c->admin->setup.store, &filter, &wanted, &cut);
    if (n > METRIC_SERIES_MAX)
        n = METRIC_SERIES_MAX; /* more would only end up under "other" */
    if (n > 0) {
        c->asked = config_ref(c->admin->config);
        c->question = store_usage(c->admin->setup.store, wanted, n, on_usage, c);
    }
    free(wanted);
}

struct usage_cache *
usage_cache_new(struct admin *a)
{
    struct usage_cache *c = xcalloc(1, sizeof(*c));

    c->admin = a;
    c->looked_mono_ms = clock_mono_ms();
    timer_init(&c->again, a->setup.loop, ask, c);
    timer_start(&c->again, 0);
    return c;
}

void
usage_cache_reset(struct usage_cache *c)
{
    if (!handle_is_none(c->question))
        store_forget(c->admin->setup.store, c->question);
    c->question = HANDLE_NONE;
    config_unref(&c->asked);
    forget_rows(c);
    timer_start(&c->again, 0);
}

void
usage_cache_free(struct usage_cache **cp)
{
    struct usage_cache *c = *cp;

    if (!c)
        return;
    usage_cache_reset(c);
    timer_fini(&c->again);
    free(c);
    *cp = NULL;
}

size_t
usage_cache_rows(struct usage_cache *c, const struct usage **rows_out)
{
    c->looked_mono_ms = clock_mono_ms();
    *rows_out = c->rows;
    return clock_mono_ms() - c->at_mono_ms > STALE_MS ? 0 : c->n_rows;
}
