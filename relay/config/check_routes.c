/* Routes and mailboxes: where mail goes and as whom. */
#include "relay/config/check.h"
#include "relay/config/type.h"

static bool
is_any(struct span host)
{
    return span_eq(host, SPAN_LIT("0.0.0.0")) || span_eq(host, SPAN_LIT("::"));
}

/* A route to one of our own addresses is a loop. Names are not resolved: only what can be seen here. */
static int
refuse_own_address(struct draft *d, const struct route_entry *r)
{
    struct span host, own;
    uint16_t port, own_port;

    sg_assert(!type_split_port(span_str(r->conf.upstream), &host, &port));
    for (size_t i = 0; i < d->listeners.n; i++) {
        const struct listener_entry *e = entries_at(&d->listeners, SECTION_LISTENER, i);

        for (size_t j = 0; j < e->addresses.n; j++) {
            sg_assert(!type_split_port(span_str(e->addresses.items[j]), &own, &own_port));
            if (port != own_port)
                continue;
            if (span_eq(host, own) || (is_loopback(host) && is_any(own))
                || (span_eq_nocase(host, SPAN_LIT("localhost")) && is_loopback(own))
                || span_eq_nocase(host, span_str(d->conf.front.hostname)))
                return draft_fail(d, entry_key(&r->head, "upstream"),
                    "upstream %s is our own listener %s; mail would go round in circles", r->conf.upstream,
                    e->head.name);
        }
    }
    return 0;
}

static int
check_tls(struct draft *d, const struct route_entry *r)
{
    const struct route_conf *c = &r->conf;

    if (!c->tls_cert_file != !c->tls_key_file)
        return draft_fail(d, r->head.node, "route %s has no %s; certificate and key come together",
            r->head.name, c->tls_cert_file ? "tls_key_file" : "tls_cert_file");
    if (c->tls == UPSTREAM_TLS_OFF && (c->tls_ca_file || c->tls_cert_file))
        return draft_fail(d, entry_key(&r->head, c->tls_ca_file ? "tls_ca_file" : "tls_cert_file"),
            "route %s has tls: off; a certificate has no meaning there", r->head.name);
    if (c->tls == UPSTREAM_TLS_OFF)
        draft_warn(d, entry_key(&r->head, "tls"), "route %s sends without TLS", r->head.name);
    else if (!c->tls_verify)
        draft_warn(
            d, entry_key(&r->head, "tls_verify"), "route %s does not verify who the server is", r->head.name);
    return 0;
}

/* The mailbox of senders without one of their own. Without it they would be sent unauthenticated. */
static int
settle_default_mailbox(struct draft *d, struct route_entry *r)
{
    const struct mailbox_entry *only = NULL;
    size_t n = 0;

    if (r->conf.default_mailbox) {
        only = find_entry(&d->mailboxes, SECTION_MAILBOX, r->conf.default_mailbox);
        if (!only)
            return dangling(d, &r->head, "mailbox", r->conf.default_mailbox, &d->mailboxes, SECTION_MAILBOX);
        if (!find_entry(&d->routes, SECTION_ROUTE, only->conf.route))
            return dangling(d, &only->head, "route", only->conf.route, &d->routes, SECTION_ROUTE);
        if (strcmp(only->conf.route, r->head.name) != 0)
            return draft_fail(d, entry_key(&r->head, "mailbox"), "mailbox %s belongs to route %s, not %s",
                only->head.name, only->conf.route, r->head.name);
        return 0;
    }
    for (size_t i = 0; i < d->mailboxes.n; i++) {
        const struct mailbox_entry *m = entries_at(&d->mailboxes, SECTION_MAILBOX, i);

        if (strcmp(m->conf.route, r->head.name) == 0) {
            only = m;
            n++;
        }
    }
    if (n > 1)
        return draft_fail(d, r->head.node,
            "route %s has %zu mailboxes; say which one senders without their own use, mailbox: NAME",
            r->head.name, n);
    r->conf.default_mailbox = only ? only->head.name : NULL;
    return 0;
}

int
check_routes(struct draft *d)
{
    if (d->routes.n == 0)
        return draft_fail(d, node_get(d->root, "routes"), "no route; name at least one way out");
    for (size_t i = 0; i < d->routes.n; i++) {
        struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        if (refuse_own_address(d, r) < 0 || check_tls(d, r) < 0 || settle_default_mailbox(d, r) < 0)
            return -1;
    }
    return 0;
}

static int
check_credentials(struct draft *d, const struct mailbox_entry *m, const struct route_entry *r)
{
    struct span host;
    uint16_t port;

    if ((unsigned)m->conf.auth > UPSTREAM_AUTH_PLAIN)
        return draft_fail(d, entry_key(&m->head, "auth"),
            "auth: xoauth2 is not built yet; use login with a password file, or a connector");
    if (m->conf.auth == UPSTREAM_AUTH_NONE) {
        if (m->conf.password)
            return draft_fail(
                d, entry_key(&m->head, "password_file"), "password_file has no meaning with auth: none");
        return 0;
    }
    if (!m->conf.password)
        return draft_fail(d, m->head.node, "mailbox %s needs password_file, or auth: none", m->head.name);
    sg_assert(!type_split_port(span_str(r->conf.upstream), &host, &port));
    if (r->conf.tls == UPSTREAM_TLS_OFF && !is_loopback(host))
        return draft_fail(d, entry_key(&r->head, "tls"),
            "route %s has tls: off, so the password of mailbox %s would travel readable", r->head.name,
            m->head.name);
    return 0;
}

static int
settle_connections(struct draft *d, struct mailbox_entry *m, const struct route_entry *r)
{
    uint64_t most = r->profile ? r->profile->connections_max : LIMIT_UNLIMITED;

    if (m->conf.connections == 0)
        m->conf.connections = r->profile ? r->profile->connections : 2;
    if (m->conf.connections > most)
        return draft_fail(d, entry_key(&m->head, "connections"),
            "connections is above %llu, what profile %s allows", (unsigned long long)most, r->profile->name);
    return 0;
}

/* To the upstream an address is one mailbox in capital letters too; here each name has budgets of its own. */
static int
refuse_other_letters(struct draft *d)
{
    const struct node *names = node_get(d->root, "mailboxes");

    for (size_t i = 0; names && i < names->n; i++) {
        const struct node *second = names->keys[i];

        for (size_t k = 0; k < i; k++) {
            const struct node *first = names->keys[k];

            if (span_eq_nocase(node_span(first), node_span(second)))
                return draft_fail(d, second, "mailbox %s is %s (%s:%u:%u) in other letters, and one mailbox"
                    " has its limits once; one of the two has to go", second->text, first->text, first->file,
                    first->line, first->column);
        }
    }
    return 0;
}

int
check_mailboxes(struct draft *d)
{
    if (refuse_other_letters(d) < 0)
        return -1;
    for (size_t i = 0; i < d->mailboxes.n; i++) {
        struct mailbox_entry *m = entries_at(&d->mailboxes, SECTION_MAILBOX, i);
        const struct route_entry *r = find_entry(&d->routes, SECTION_ROUTE, m->conf.route);

        if (!r)
            return dangling(d, &m->head, "route", m->conf.route, &d->routes, SECTION_ROUTE);
        if (check_credentials(d, m, r) < 0 || settle_connections(d, m, r) < 0)
            return -1;
    }
    return 0;
}
