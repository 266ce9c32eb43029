/* Limits: those of the configuration, those a route's profile brings (ROUTE-NAME), the tenant's caps by
 * licences (ROUTE-tenant-day, ROUTE-tenant-hour) and the two of a warm-up (ROUTE-warmup, ROUTE-warmup-hour).
 *
 * A limit of the configuration replaces the profile's of the same name and keeps its route; the dump says so.
 * Those of a warm-up cannot be replaced: they follow from `warmup`.
 *
 * Example: route contoso, profile m365-submission, licences 25, warmup new-tenant. The profile's mailbox-day
 * becomes contoso-mailbox-day, 8000 recipients a day for each mailbox of that route; contoso-tenant-day is
 * 11 408 external recipients a day, contoso-tenant-hour an eighth of it in an hour; contoso-warmup is 50 on
 * the first day. */
#include "relay/config/draft.h"
#include "relay/config/type.h"

#define DAY_MS 86400000u
#define HOUR_MS 3600000u

struct growing {
    struct limit_entry *items;
    size_t n;
};

#define SPIKE_FACTOR_MILLI 3000
#define SPIKE_FLOOR 20

static const struct node *
spike_of(const struct limit_entry *e)
{
    return node_get(e->head.node, "spike");
}

static int
check_burst(struct draft *d, struct limit_entry *e)
{
    if (!e->rate.set && e->conf.burst > 0)
        return draft_fail(d, entry_key(&e->head, "burst"), "burst belongs to rate, not to %s",
            spike_of(e) ? "spike" : "window");
    if (e->conf.burst == LIMIT_UNLIMITED)
        return draft_fail(d, entry_key(&e->head, "burst"), "burst must be a number");
    if (e->rate.set && e->rate.period_ms > 0 && e->conf.burst == 0 && e->conf.unit != UNIT_MESSAGES)
        return draft_fail(d, e->head.node, "limit %s needs burst: the most %s that one message may bring",
            e->head.name, e->conf.unit == UNIT_BYTES ? "bytes" : "recipients");
    return 0;
}

#define KNOWN_FOR_MS (30 * (int64_t)DAY_MS)

/* New recipients are counted by a window: a rate would hand back by the minute to who mails strangers. */
static int
check_new(struct draft *d, struct limit_entry *e)
{
    if (e->conf.unit != UNIT_NEW && e->conf.known_ms > 0)
        return draft_fail(d, entry_key(&e->head, "known_for"), "known_for belongs to unit: new_recipients");
    if (e->conf.unit != UNIT_NEW)
        return 0;
    if (e->conf.scope == SCOPE_RECIPIENT_DOMAIN)
        return draft_fail(d, entry_key(&e->head, "unit"),
            "new_recipients counts for a sender: its scope is not recipient_domain");
    if (!e->window.set)
        return draft_fail(d, entry_key(&e->head, e->rate.set ? "rate" : "spike"),
            "new_recipients is counted by window, not by %s", e->rate.set ? "rate" : "spike");
    if (e->conf.known_ms == 0)
        e->conf.known_ms = KNOWN_FOR_MS;
    return 0;
}

static int
check_floor(struct draft *d, const struct limit_entry *e)
{
    const struct node *floor = node_get(spike_of(e), "floor");

    if (e->spike.floor == LIMIT_UNLIMITED)
        return draft_fail(d, floor, "floor must be a number");
    if (!floor && e->conf.unit == UNIT_BYTES)
        return draft_fail(d, spike_of(e), "spike of limit %s needs floor: the bytes an hour that are never a "
            "spike", e->head.name);
    return 0;
}

/* Exactly one of the three says how it is counted. */
static int
check_kind(struct draft *d, const struct limit_entry *e)
{
    int said = e->window.set + e->rate.set + (spike_of(e) != NULL);

    if (said == 1)
        return 0;
    return draft_fail(d, e->head.node, "limit %s needs %swindow, rate or spike%s", e->head.name,
        said > 1 ? "either " : "", said > 1 ? ", not more than one of them" : "");
}

static int
settle_spike(struct draft *d, struct limit_entry *e)
{
    if (check_floor(d, e) < 0)
        return -1;
    if (e->spike.factor_milli == 0)
        e->spike.factor_milli = SPIKE_FACTOR_MILLI;
    if (e->spike.floor == 0)
        e->spike.floor = SPIKE_FLOOR;
    e->conf.kind = LIMIT_SPIKE;
    e->conf.value = e->spike.floor;
    e->conf.factor_milli = e->spike.factor_milli;
    e->conf.period_ms = HOUR_MS;
    return 0;
}

static void
settle_rate(struct limit_entry *e)
{
    const struct rate *rate = e->rate.set ? &e->rate : &e->window;

    e->conf.kind = e->rate.set && e->rate.period_ms > 0 ? LIMIT_RATE : LIMIT_WINDOW;
    e->conf.value = rate->n;
    e->conf.period_ms = rate->period_ms > 0 ? rate->period_ms : DAY_MS; /* deny has no period of its own */
    e->dropped = rate->n == LIMIT_UNLIMITED;
    if (e->conf.kind == LIMIT_RATE && e->conf.burst == 0)
        e->conf.burst = 1;
}

/* From window, rate and spike to kind, value and period. */
static int
settle_value(struct draft *d, struct limit_entry *e)
{
    if (check_kind(d, e) < 0 || check_new(d, e) < 0 || check_burst(d, e) < 0)
        return -1;
    e->conf.name = e->head.name;
    if (!spike_of(e))
        settle_rate(e);
    else if (settle_spike(d, e) < 0)
        return -1;
    if (!e->conf.source)
        e->conf.source = draft_printf(d, "%s:%u", e->head.node->file, e->head.node->line);
    return 0;
}

static struct limit_entry *
add_derived(struct draft *d, struct growing *g, const struct route_entry *r, const char *suffix,
    const struct node *at)
{
    struct limit_entry *e = &g->items[g->n++];

    e->head.name = draft_printf(d, "%s-%s", r->head.name, suffix);
    e->head.node = at;
    e->conf.name = e->head.name;
    e->conf.route = r->head.name;
    e->conf.source = draft_printf(d, "%s:%u", at->file, at->line);
    return e;
}

/* The limit of the configuration that replaces the one just derived, if any: then the derived one is taken
 * back. */
static int
yield_to_own(struct draft *d, struct growing *g, bool replaceable)
{
    struct limit_entry *derived = &g->items[g->n - 1];

    for (size_t i = 0; i < d->limits.n; i++) {
        struct limit_entry *own = entries_at(&d->limits, SECTION_LIMIT, i);

        if (strcmp(own->head.name, derived->head.name) != 0)
            continue;
        if (!replaceable)
            return draft_fail(d, own->head.node,
                "'%s' is the limit of a warm-up; change it by `warmup` of route %s", own->head.name,
                derived->conf.route);
        if (own->conf.scope != derived->conf.scope || own->conf.unit != derived->conf.unit)
            return draft_fail(d, own->head.node,
                "'%s' replaces a limit of the profile and must have its scope and unit, %s and %s",
                own->head.name, limit_scope_to_str(derived->conf.scope),
                limit_unit_to_str(derived->conf.unit));
        own->conf.route = derived->conf.route;
        own->conf.only = derived->conf.only;
        own->head.origin = draft_printf(d, "replaces %s", derived->conf.source);
        memset(derived, 0, sizeof *derived);
        g->n--;
        return 0;
    }
    return 0;
}

static bool
covers(const char *pattern, const char *domain)
{
    if (pattern[0] == '*')
        return span_ends_nocase(span_str(domain), span_str(pattern + 1));
    return strcmp(pattern, domain) == 0;
}

static size_t
count_covered(const struct route_entry *r, const char *pattern)
{
    size_t n = 0;

    for (size_t i = 0; i < r->domains.n; i++)
        n += covers(pattern, r->domains.items[i]);
    return n;
}

static int
derive_one(struct draft *d, struct growing *g, const struct route_entry *r, const struct limit_entry *from)
{
    static const struct setting domains = {.key = "domains", .type = TYPE_DOMAIN};
    struct limit_entry *e = add_derived(d, g, r, from->head.name, from->head.node);
    struct entry_head head = e->head;
    struct limit_conf conf = e->conf;

    *e = *from;
    e->head = head;
    e->conf.route = conf.route;
    e->conf.source = conf.source;
    e->head.origin = draft_printf(d, "profile %s", r->profile->name);
    if (from->domains && from->conf.scope == SCOPE_RECIPIENT_DOMAIN
        && type_parse_domain(d, &domains, entry_key(&from->head, "domains"), &e->conf.only) < 0)
        return -1;
    return settle_value(d, e);
}

/* One limit of the profile that is for some sender domains only; they share its value, because at Microsoft
 * they do. */
static int
derive_for_domains(
    struct draft *d, struct growing *g, const struct route_entry *r, const struct limit_entry *from)
{
    size_t n = count_covered(r, from->domains), k = 0;

    for (size_t i = 0; i < r->domains.n; i++) {
        struct limit_entry *e;

        if (!covers(from->domains, r->domains.items[i]))
            continue;
        if (derive_one(d, g, r, from) < 0)
            return -1;
        e = &g->items[g->n - 1];
        e->conf.only = r->domains.items[i];
        if (k++ > 0)
            e->head.name = e->conf.name = draft_printf(d, "%s-%zu", e->head.name, k);
        if (e->conf.value != LIMIT_UNLIMITED && e->conf.value >= n)
            e->conf.value = e->window.n = e->conf.value / n;
        if (yield_to_own(d, g, true) < 0)
            return -1;
    }
    return 0;
}

static int
derive_profile(struct draft *d, struct growing *g, const struct route_entry *r)
{
    for (size_t i = 0; i < r->profile->limits.n; i++) {
        const struct limit_entry *from = entries_at(&r->profile->limits, SECTION_PROFILE_LIMIT, i);
        int result;

        bool shares = from->domains && from->conf.scope == SCOPE_SENDER_DOMAIN;

        if (from->domains && !shares && from->conf.scope != SCOPE_RECIPIENT_DOMAIN)
            return draft_fail(d, from->head.node, "domains needs scope: sender_domain or recipient_domain");
        result = shares ? derive_for_domains(d, g, r, from) : derive_one(d, g, r, from);
        if (result < 0 || (!shares && yield_to_own(d, g, true) < 0))
            return -1;
    }
    return 0;
}

static int
derive_tenant(struct draft *d, struct growing *g, const struct route_entry *r, bool hour)
{
    const struct tenant_limit *t = &r->profile->tenant_limit;
    struct limit_entry *e =
        add_derived(d, g, r, hour ? "tenant-hour" : "tenant-day", entry_key(&r->head, "licences"));
    uint64_t day_cap = tenant_limit_cap(t, r->licences);

    e->head.origin = draft_printf(d, "licences, profile %s", r->profile->name);
    e->conf.kind = LIMIT_WINDOW;
    e->conf.scope = SCOPE_ROUTE;
    e->conf.unit = UNIT_EXTERNAL;
    e->conf.only = r->head.name;
    e->conf.period_ms = hour ? HOUR_MS : DAY_MS;
    e->conf.value = hour ? tenant_limit_hour_cap(t, day_cap) : day_cap;
    e->window = (struct rate){true, e->conf.value, e->conf.period_ms};
    return yield_to_own(d, g, true);
}

static int
derive_warmup(struct draft *d, struct growing *g, const struct route_entry *r, bool hour)
{
    struct limit_entry *e =
        add_derived(d, g, r, hour ? "warmup-hour" : "warmup", entry_key(&r->head, "warmup"));

    e->head.origin = draft_printf(d, "warmup %s", r->conf.warmup->name);
    e->conf.kind = LIMIT_WARMUP;
    e->conf.scope = SCOPE_ROUTE;
    e->conf.unit = UNIT_EXTERNAL;
    e->conf.only = r->head.name;
    e->conf.period_ms = hour ? HOUR_MS : DAY_MS;
    e->conf.schedule = r->conf.warmup;
    e->conf.hour_cap = hour;
    return yield_to_own(d, g, false);
}

static int
derive_all(struct draft *d, struct growing *g)
{
    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        if (r->profile && derive_profile(d, g, r) < 0)
            return -1;
        if (r->licences > 0 && derive_tenant(d, g, r, false) < 0)
            return -1;
        if (r->licences > 0 && r->profile->tenant_limit.hour_divisor > 0 && derive_tenant(d, g, r, true) < 0)
            return -1;
        if (r->conf.warmup && (derive_warmup(d, g, r, false) < 0 || derive_warmup(d, g, r, true) < 0))
            return -1;
    }
    return 0;
}

static size_t
most_derived(const struct draft *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        n += 4 + (r->profile ? r->profile->limits.n * (1 + r->domains.n) : 0);
    }
    return n;
}

static int
refuse_same_name(struct draft *d)
{
    for (size_t i = 0; i < d->limits.n; i++) {
        const struct entry_head *a = entries_at(&d->limits, SECTION_LIMIT, i);

        for (size_t j = 0; j < i; j++) {
            const struct entry_head *b = entries_at(&d->limits, SECTION_LIMIT, j);

            if (strcmp(a->name, b->name) == 0)
                return draft_fail(d, a->node, "two limits are called '%s'; the other is from %s:%u", a->name,
                    b->node->file, b->node->line);
        }
    }
    return 0;
}

int
draft_finish_limits(struct draft *d)
{
    struct growing g = {.n = 0};

    g.items = arena_alloc(&d->scratch, (d->limits.n + most_derived(d) + 1) * sizeof *g.items);
    for (size_t i = 0; i < d->limits.n; i++)
        if (settle_value(d, entries_at(&d->limits, SECTION_LIMIT, i)) < 0)
            return -1;
    if (derive_all(d, &g) < 0)
        return -1;
    if (d->limits.n > 0) {
        memmove(g.items + d->limits.n, g.items, g.n * sizeof *g.items);
        memcpy(g.items, d->limits.items, d->limits.n * sizeof *g.items);
    }
    d->limits = (struct entries){(char *)g.items, d->limits.n + g.n};
    return refuse_same_name(d);
}
