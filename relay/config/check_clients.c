/* Clients: an identity each, told apart from all others, with senders that lead somewhere. No configuration
 * may open the relay to everyone. */
#include "relay/config/check.h"

static bool
may_come_in(const struct listener_entry *l, const struct client_entry *c)
{
    for (size_t i = 0; i < l->clients.n; i++)
        if (strcmp(l->clients.items[i], c->head.name) == 0)
            return true;
    return l->clients.n == 0;
}

enum way_in { WAY_LOGIN, WAY_CERTIFICATE };

static bool
has_way_in(const struct draft *d, const struct client_entry *c, enum way_in way)
{
    for (size_t i = 0; i < d->listeners.n; i++) {
        const struct listener_entry *l = entries_at(&d->listeners, SECTION_LISTENER, i);
        bool open = way == WAY_LOGIN ? l->conf.tls != FRONT_TLS_OFF || l->conf.auth_without_tls
                                     : l->conf.tls_client_ca_file != NULL;

        if (open && may_come_in(l, c))
            return true;
    }
    return false;
}

static int
check_login(struct draft *d, const struct client_entry *c)
{
    if (c->logins.n == 0)
        return 0;
    if (!d->conf.front.users_file)
        return draft_fail(d, entry_key(&c->head, "login"), "login needs users_file at the top level");
    if (!has_way_in(d, c, WAY_LOGIN))
        return draft_fail(d, entry_key(&c->head, "login"),
            "client %s can log in nowhere: no listener open to it has TLS (or auth_without_tls)",
            c->head.name);
    for (size_t i = 0; i < c->logins.n; i++)
        if (strpbrk(c->logins.items[i], ": \t"))
            return draft_fail(
                d, entry_key(&c->head, "login"), "login '%.100s' holds a blank or ':'", c->logins.items[i]);
    return 0;
}

static const struct node *
list_item(const struct entry_head *e, const char *key, size_t i)
{
    const struct node *v = entry_key(e, key);

    return v->kind == NODE_LIST && i < v->n ? v->items[i] : v;
}

/* Wide networks identify nobody: the client must log in as well. */
static int
check_networks(struct draft *d, struct client_entry *c)
{
    for (size_t i = 0; i < c->networks.n; i++) {
        if (network_is_private(&c->networks.items[i]))
            continue;
        if (c->logins.n == 0)
            return draft_fail(d, list_item(&c->head, "networks", i),
                "network '%s' is more than a private range: without a login the relay "
                "would be open to it; add login",
                list_item(&c->head, "networks", i)->text);
        c->conf.auth_needed = true;
    }
    return 0;
}

static int
check_identity(struct draft *d, struct client_entry *c)
{
    bool certificate = c->cert_names.n > 0 || c->cert_pins.n > 0;

    if (c->logins.n == 0 && c->networks.n == 0 && !certificate)
        return draft_fail(d, c->head.node,
            "client %s has no identity: add login, networks, certificates or pins", c->head.name);
    if (certificate && !has_way_in(d, c, WAY_CERTIFICATE))
        return draft_fail(d, c->head.node,
            "client %s has a certificate but no listener open to it asks for one; set client_ca_file there",
            c->head.name);
    return check_login(d, c) < 0 ? -1 : check_networks(d, c);
}

static int
refuse_shared(struct draft *d, const struct client_entry *a, const struct client_entry *b, const char *key,
    const struct text_list *x, const struct text_list *y)
{
    for (size_t i = 0; i < x->n; i++)
        for (size_t j = 0; j < y->n; j++)
            if (strcmp(x->items[i], y->items[j]) == 0)
                return draft_fail(d, list_item(&a->head, key, i),
                    "'%.100s' is already client %s (%s:%u); who is it?", x->items[i], b->head.name,
                    b->head.node->file, b->head.node->line);
    return 0;
}

static int
refuse_shared_network(struct draft *d, const struct client_entry *a, const struct client_entry *b)
{
    for (size_t i = 0; i < a->networks.n; i++)
        for (size_t j = 0; j < b->networks.n; j++)
            if (memcmp(&a->networks.items[i], &b->networks.items[j], sizeof(struct network)) == 0)
                return draft_fail(d, list_item(&a->head, "networks", i),
                    "the same network is already client %s (%s:%u); who is it?", b->head.name,
                    b->head.node->file, b->head.node->line);
    return 0;
}

static int
check_unique(struct draft *d, const struct client_entry *c, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        const struct client_entry *other = entries_at(&d->clients, SECTION_CLIENT, i);

        if (refuse_shared(d, c, other, "login", &c->logins, &other->logins) < 0
            || refuse_shared(d, c, other, "certificates", &c->cert_names, &other->cert_names) < 0
            || refuse_shared(d, c, other, "pins", &c->cert_pins, &other->cert_pins) < 0
            || refuse_shared_network(d, c, other) < 0)
            return -1;
    }
    return 0;
}

/* Can a sender of this pattern have this domain? */
static bool
sender_reaches(const char *sender, const char *domain)
{
    const char *at = strchr(sender, '@');

    return !at || domains_meet(at + 1, domain);
}

static bool
reaches_route(const char *sender, const struct route_entry *r)
{
    for (size_t i = 0; i < r->domains.n; i++)
        if (sender_reaches(sender, r->domains.items[i]))
            return true;
    return false;
}

static int
check_senders(struct draft *d, const struct client_entry *c)
{
    for (size_t i = 0; i < c->senders.n; i++) {
        const char *sender = c->senders.items[i];
        bool reached = false;

        for (size_t j = 0; j < d->routes.n && !reached; j++) {
            const struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, j);

            reached =
                (!c->conf.route || strcmp(c->conf.route, r->head.name) == 0) && reaches_route(sender, r);
        }
        if (!reached)
            return draft_fail(d, list_item(&c->head, "senders", i),
                "sender '%s' is in no domain of %s%s; all its mail would be refused", sender,
                c->conf.route ? "route " : "a route", c->conf.route ? c->conf.route : "");
    }
    return 0;
}

/* A domain on two routes: whoever may send from it must say which. */
static int
check_choice_of(
    struct draft *d, const struct client_entry *c, const struct route_entry *a, const struct route_entry *b)
{
    for (size_t i = 0; i < a->domains.n; i++) {
        for (size_t j = 0; j < b->domains.n; j++) {
            if (!domains_meet(a->domains.items[i], b->domains.items[j]))
                continue;
            for (size_t k = 0; k < c->senders.n; k++)
                if (sender_reaches(c->senders.items[k], a->domains.items[i])
                    && sender_reaches(c->senders.items[k], b->domains.items[j]))
                    return draft_fail(d, c->head.node,
                        "client %s must name its route: domain %s is on %s (%s:%u) and on %s (%s:%u)",
                        c->head.name, a->domains.items[i], a->head.name, a->head.node->file,
                        a->head.node->line, b->head.name, b->head.node->file, b->head.node->line);
        }
    }
    return 0;
}

static int
check_choice(struct draft *d, const struct client_entry *c)
{
    for (size_t i = 0; !c->conf.route && i < d->routes.n; i++)
        for (size_t j = i + 1; j < d->routes.n; j++)
            if (check_choice_of(
                    d, c, entries_at(&d->routes, SECTION_ROUTE, i), entries_at(&d->routes, SECTION_ROUTE, j))
                < 0)
                return -1;
    return 0;
}

/* A named mailbox settles the route; the null sender has no domain to settle it. */
static int
settle_route(struct draft *d, struct client_entry *c)
{
    const struct mailbox_entry *m = NULL;

    if (c->conf.route && !find_entry(&d->routes, SECTION_ROUTE, c->conf.route))
        return dangling(d, &c->head, "route", c->conf.route, &d->routes, SECTION_ROUTE);
    if (c->conf.mailbox && !(m = find_entry(&d->mailboxes, SECTION_MAILBOX, c->conf.mailbox)))
        return dangling(d, &c->head, "mailbox", c->conf.mailbox, &d->mailboxes, SECTION_MAILBOX);
    if (m && c->conf.route && strcmp(m->conf.route, c->conf.route) != 0)
        return draft_fail(d, entry_key(&c->head, "mailbox"), "mailbox %s belongs to route %s, not %s",
            m->head.name, m->conf.route, c->conf.route);
    if (m)
        c->conf.route = m->conf.route;
    if (c->conf.null_sender && !c->conf.route) {
        if (d->routes.n > 1)
            return draft_fail(d, entry_key(&c->head, "null_sender"),
                "null_sender needs route: the null sender has no domain that could tell");
        c->conf.route = ((struct route_entry *)entries_at(&d->routes, SECTION_ROUTE, 0))->head.name;
    }
    return 0;
}

static int
check_accept(struct draft *d, const struct client_entry *c)
{
    const struct node *off = node_get(node_get(d->root, "spool"), "enabled");

    if (c->conf.accept != ACCEPT_SPOOL || d->conf.spool.enabled)
        return 0;
    return draft_fail(d, entry_key(&c->head, "accept"),
        "accept: spool needs the spool, which is switched off by spool.enabled (%s:%u); use relay or defer, "
        "or switch it on",
        off->file, off->line);
}

/* Who lists classes means to list them all; without a list every name is one of its own. */
static int
check_class(struct draft *d, const struct client_entry *c)
{
    if (!node_get(d->root, "classes") || strcmp(c->conf.class, "default") == 0
        || find_entry(&d->classes, SECTION_CLASS, c->conf.class))
        return 0;
    return dangling(d, &c->head, "class", c->conf.class, &d->classes, SECTION_CLASS);
}

int
check_clients(struct draft *d)
{
    for (size_t i = 0; i < d->clients.n; i++) {
        struct client_entry *c = entries_at(&d->clients, SECTION_CLIENT, i);

        if (check_identity(d, c) < 0 || check_unique(d, c, i) < 0 || settle_route(d, c) < 0
            || check_senders(d, c) < 0 || check_choice(d, c) < 0 || check_accept(d, c) < 0
            || check_class(d, c) < 0)
            return -1;
    }
    if (d->clients.n == 0)
        draft_warn(d, d->root, "there are no clients: all mail will be refused");
    return 0;
}
