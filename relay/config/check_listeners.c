#include "relay/config/check.h"
#include "relay/config/type.h"

static int
check_tls(struct draft *d, struct listener_entry *e)
{
    struct listener_conf *c = &e->conf;

    if (c->tls == FRONT_TLS_OFF) {
        if (c->tls_cert_file || c->tls_client_ca_file)
            return draft_fail(d, entry_key(&e->head, c->tls_cert_file ? "cert_file" : "client_ca_file"),
                "listener %s has tls: off; a certificate has no meaning there", e->head.name);
        return 0;
    }
    if (!c->tls_cert_file != !c->tls_key_file)
        return draft_fail(d, e->head.node, "listener %s has no %s; certificate and key come together",
            e->head.name, c->tls_cert_file ? "key_file" : "cert_file");
    if (!c->tls_cert_file) {
        c->tls_cert_file = d->tls.cert_file;
        c->tls_key_file = d->tls.key_file;
    }
    if (!c->tls_cert_file)
        return draft_fail(d, e->head.node,
            "listener %s needs a certificate: set cert_file and key_file, here or in section tls, or say "
            "tls: off",
            e->head.name);
    if (c->auth_without_tls && c->tls != FRONT_TLS_STARTTLS)
        return draft_fail(d, entry_key(&e->head, "auth_without_tls"),
            "auth_without_tls has no meaning where tls is %s",
            c->tls == FRONT_TLS_IMPLICIT ? "implicit" : "required");
    if (c->tls_least < TLS_V1_2)
        draft_warn(d, entry_key(&e->head, "tls_min"),
            "listener %s speaks TLS below 1.2; use it for old devices only", e->head.name);
    return 0;
}

static void
warn_of_readable_passwords(struct draft *d, const struct listener_entry *e)
{
    struct span host;
    uint16_t port;

    if (!e->conf.auth_without_tls)
        return;
    for (size_t i = 0; i < e->addresses.n; i++) {
        if (!type_split_port(span_str(e->addresses.items[i]), &host, &port) && !is_loopback(host)) {
            draft_warn(d, entry_key(&e->head, "auth_without_tls"), "passwords travel readable to listener %s",
                e->head.name);
            return;
        }
    }
}

static const struct node *
address_node(const struct listener_entry *e, size_t i)
{
    const struct node *v = entry_key(&e->head, "address");

    return v->kind == NODE_LIST && i < v->n ? v->items[i] : v;
}

static int
check_address(struct draft *d, const struct listener_entry *e, size_t index, const char *address)
{
    const struct node *at = address_node(e, index);

    for (size_t i = 0; i < d->listeners.n; i++) {
        const struct listener_entry *other = entries_at(&d->listeners, SECTION_LISTENER, i);

        for (size_t j = 0; j < other->addresses.n; j++) {
            if (other == e && j == index)
                return 0;
            if (strcmp(other->addresses.items[j], address) == 0)
                return draft_fail(d, at, "address %s is already that of listener %s (%s:%u)", address,
                    other->head.name, other->head.node->file, other->head.node->line);
            if (addresses_meet(other->addresses.items[j], address))
                return draft_fail(d, at,
                    "address %s cannot be had beside %s of listener %s (%s:%u); take one of them out, or "
                    "give it another port",
                    address, other->addresses.items[j], other->head.name, other->head.node->file,
                    other->head.node->line);
        }
    }
    return 0;
}

static int
check_addresses(struct draft *d, const struct listener_entry *e)
{
    for (size_t i = 0; i < e->addresses.n; i++) {
        if (check_address(d, e, i, e->addresses.items[i]) < 0)
            return -1;
        if (d->conf.admin.http && addresses_meet(d->conf.admin.http, e->addresses.items[i]))
            return draft_fail(d, address_node(e, i),
                "address %s is already that of admin.http, %s; give one of them another port",
                e->addresses.items[i], d->conf.admin.http);
    }
    return 0;
}

static int
check_allowed(struct draft *d, const struct listener_entry *e)
{
    for (size_t i = 0; i < e->clients.n; i++)
        if (!find_entry(&d->clients, SECTION_CLIENT, e->clients.items[i]))
            return dangling(d, &e->head, "clients", e->clients.items[i], &d->clients, SECTION_CLIENT);
    return 0;
}

int
check_listeners(struct draft *d)
{
    if (d->listeners.n == 0)
        return draft_fail(d, node_get(d->root, "listeners"), "no listener; name at least one address");
    for (size_t i = 0; i < d->listeners.n; i++) {
        struct listener_entry *e = entries_at(&d->listeners, SECTION_LISTENER, i);

        if (check_tls(d, e) < 0 || check_addresses(d, e) < 0 || check_allowed(d, e) < 0)
            return -1;
        warn_of_readable_passwords(d, e);
    }
    return 0;
}
