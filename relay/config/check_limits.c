#include "policy/plan.h"
#include "relay/config/check.h"
#include "relay/config/type.h"

#define KNOWN_DOMAINS_MAX 64

/* Mail of a domain that no route registers is refused, so a cap on it would never be asked: a misspelling
 * that leaves the real one uncapped. */
static int
check_registered(struct draft *d, const struct limit_entry *e, const char *domain)
{
    const char *known[KNOWN_DOMAINS_MAX];
    char hint[512];
    size_t n = 0;

    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        if (e->conf.route && strcmp(e->conf.route, r->head.name) != 0)
            continue;
        for (size_t j = 0; j < r->domains.n; j++) {
            if (domains_meet(r->domains.items[j], domain))
                return 0;
            if (n < KNOWN_DOMAINS_MAX)
                known[n++] = r->domains.items[j];
        }
    }
    suggest(domain, known, n, hint, sizeof hint);
    return draft_fail(d, entry_key(&e->head, "only"),
        "only '%.200s' is in no domain of %s%s and would cap nothing%s", e->conf.only,
        e->conf.route ? "route " : "a route", e->conf.route ? e->conf.route : "", hint);
}

static int
check_sender(struct draft *d, struct limit_entry *e, const struct node *at)
{
    static const struct setting sender = {.key = "only", .type = TYPE_SENDER};
    const char *sign = strchr(e->conf.only, '@');

    if (!sign || sign == e->conf.only || strchr(e->conf.only, '*'))
        return draft_fail(d, at,
            "only '%.100s' must be one address such as scan@contoso.com; for a domain use scope: "
            "sender_domain",
            e->conf.only);
    if (type_parse_sender(d, &sender, at, &e->conf.only) < 0)
        return -1;
    return check_registered(d, e, strchr(e->conf.only, '@') + 1);
}

static int
check_domain(struct draft *d, struct limit_entry *e, const struct node *at)
{
    static const struct setting domain = {.key = "only", .type = TYPE_DOMAIN};

    if (strchr(e->conf.only, '*'))
        return draft_fail(d, at, "only '%.100s' must be one domain", e->conf.only);
    return type_parse_domain(d, &domain, at, &e->conf.only) < 0 ? -1 : check_registered(d, e, e->conf.only);
}

/* Mail goes to any domain, so none is unknown; "*.x" is each domain below x. */
static int
check_recipient_domain(struct draft *d, struct limit_entry *e, const struct node *at)
{
    static const struct setting domain = {.key = "only", .type = TYPE_DOMAIN};

    return type_parse_domain(d, &domain, at, &e->conf.only);
}

/* `only` names an instance of the scope: one that exists, where the configuration knows them all. */
static int
check_only(struct draft *d, struct limit_entry *e)
{
    const struct node *at = entry_key(&e->head, "only");

    if (!e->conf.only || at->kind != NODE_SCALAR || e->conf.kind == LIMIT_WARMUP
        || !node_get(e->head.node, "only"))
        return 0;
    switch (e->conf.scope) {
    case SCOPE_ROUTE:
        return find_entry(&d->routes, SECTION_ROUTE, e->conf.only) ? 0
            : dangling(d, &e->head, "only", e->conf.only, &d->routes, SECTION_ROUTE);
    case SCOPE_MAILBOX:
        return find_entry(&d->mailboxes, SECTION_MAILBOX, e->conf.only) ? 0
            : dangling(d, &e->head, "only", e->conf.only, &d->mailboxes, SECTION_MAILBOX);
    case SCOPE_CLIENT:
        return find_entry(&d->clients, SECTION_CLIENT, e->conf.only) ? 0
            : dangling(d, &e->head, "only", e->conf.only, &d->clients, SECTION_CLIENT);
    case SCOPE_SENDER:
        return check_sender(d, e, at);
    case SCOPE_SENDER_DOMAIN:
        return check_domain(d, e, at);
    case SCOPE_RECIPIENT_DOMAIN:
        return check_recipient_domain(d, e, at);
    case SCOPE_COUNT:
        break;
    }
    return 0;
}

static int
check_limit(struct draft *d, struct limit_entry *e)
{
    if (e->conf.route && !find_entry(&d->routes, SECTION_ROUTE, e->conf.route))
        return dangling(d, &e->head, "route", e->conf.route, &d->routes, SECTION_ROUTE);
    return check_only(d, e);
}

static bool
applies_on(const struct limit_entry *e, const struct route_entry *r, bool only_new)
{
    if (only_new && e->conf.unit != UNIT_NEW)
        return false;
    if (e->dropped || (e->conf.route && strcmp(e->conf.route, r->head.name) != 0))
        return false;
    return e->conf.scope != SCOPE_ROUTE || !e->conf.only || strcmp(e->conf.only, r->head.name) == 0;
}

/* Limits of the scope (or those of new recipients) that could meet in one message of the route: all without
 * `only`, and the most that name one instance. */
static size_t
most_of_scope(const struct draft *d, const struct route_entry *r, enum limit_scope scope, bool only_new)
{
    size_t always = 0, most = 0;

    for (size_t i = 0; i < d->limits.n; i++) {
        const struct limit_entry *e = entries_at(&d->limits, SECTION_LIMIT, i);
        size_t same = 0;

        if (e->conf.scope != scope || !applies_on(e, r, only_new))
            continue;
        always += !e->conf.only;
        for (size_t j = 0; e->conf.only && j < d->limits.n; j++) {
            const struct limit_entry *other = entries_at(&d->limits, SECTION_LIMIT, j);

            same += other->conf.scope == scope && other->conf.only && applies_on(other, r, only_new)
                && plan_names_instance(other->conf.only, scope, span_str(e->conf.only));
        }
        most = same > most ? same : most;
    }
    return always + most;
}

static int
check_number(struct draft *d, const struct route_entry *r)
{
    size_t n = 0, n_new = 0;

    for (int scope = 0; scope < SCOPE_COUNT; scope++) {
        n += most_of_scope(d, r, (enum limit_scope)scope, false);
        n_new += most_of_scope(d, r, (enum limit_scope)scope, true);
    }
    if (n_new > CHARGE_NEW_MAX)
        return draft_fail(d, r->head.node,
            "%zu limits of new_recipients could apply to one message of route %s; at most %d are possible",
            n_new, r->head.name, CHARGE_NEW_MAX);
    if (n <= CHARGE_LINES_MAX)
        return 0;
    return draft_fail(d, r->head.node,
        "%zu limits could apply to one message of route %s; at most %d are possible", n, r->head.name,
        CHARGE_LINES_MAX);
}

int
check_limits(struct draft *d)
{
    if (draft_finish_limits(d) < 0)
        return -1;
    for (size_t i = 0; i < d->limits.n; i++)
        if (check_limit(d, entries_at(&d->limits, SECTION_LIMIT, i)) < 0)
            return -1;
    for (size_t i = 0; i < d->routes.n; i++)
        if (check_number(d, entries_at(&d->routes, SECTION_ROUTE, i)) < 0)
            return -1;
    return 0;
}
