#include "relay/front/sender.h"

#include "policy/admit.h"
#include "relay/smtp/header.h"

static bool
is_covered(const struct client_conf *client, const struct address *a)
{
    for (size_t i = 0; i < client->n_senders; i++)
        if (admit_pattern_covers(span_str(client->senders[i]), span_str(a->text)))
            return true;
    return false;
}

bool
sender_is_of(const struct client_conf *client, const struct address *sender)
{
    return address_is_null(sender) ? client->null_sender : is_covered(client, sender);
}

/* ---- the route ---- */

static const struct route_conf *
route_of_domain(const struct config *config, const struct client_conf *client, const struct address *sender,
    struct reply *refusal_out)
{
    bool ambiguous = false;
    const struct route_conf *route = config_route_for_domain(config, address_domain(sender), &ambiguous);

    if (ambiguous)
        reply_set(refusal_out, 550, "5.7.60",
            "sender domain %s is registered on several routes: client %s must name its route in the relay's "
            "configuration",
            sender->text + sender->domain_at, client->name);
    else if (route == NULL)
        reply_set(refusal_out, 550, "5.7.60",
            "sender domain %s (client %s) is not registered: add it to the domains of a route, and to the "
            "accepted domains of the tenant",
            sender->text + sender->domain_at, client->name);
    return ambiguous ? NULL : route;
}

static const struct route_conf *
route_of_client(const struct config *config, const struct client_conf *client, const struct address *sender,
    struct reply *refusal_out)
{
    const struct route_conf *route = config_route(config, client->route);

    if (route == NULL)
        reply_set(refusal_out, 451, "4.3.5", "client %s names a route that does not exist", client->name);
    else if (!address_is_null(sender) &&
        !admit_domain_in(route->domains, route->n_domains, address_domain(sender))) {
        reply_set(refusal_out, 550, "5.7.60",
            "sender domain %s is not registered on route %s of client %s: add it to the domains of the "
            "route, and to the accepted domains of the tenant",
            sender->text + sender->domain_at, route->name, client->name);
        return NULL;
    }
    return route;
}

static const struct route_conf *
route_of(const struct config *config, const struct client_conf *client, const struct address *sender,
    struct reply *refusal_out)
{
    if (client->route != NULL)
        return route_of_client(config, client, sender, refusal_out);
    if (!address_is_null(sender))
        return route_of_domain(config, client, sender, refusal_out);
    if (config->n_routes == 1)
        return &config->routes[0];
    reply_set(refusal_out, 550, "5.7.60",
        "the null sender tells no route: client %s must name its route in the relay's configuration",
        client->name);
    return NULL;
}

/* The client's own mailbox, else the one named like the sender, else the route's; a route without mailboxes
 * has none. */
static const struct mailbox_conf *
mailbox_of(const struct config *config, const struct client_conf *client, const struct route_conf *route,
    const struct address *sender)
{
    if (client->mailbox != NULL)
        return config_mailbox(config, client->mailbox);
    for (size_t i = 0; i < config->n_mailboxes; i++)
        if (span_eq_nocase(span_str(config->mailboxes[i].name), span_str(sender->text)) &&
            span_eq(span_str(config->mailboxes[i].route), span_str(route->name)))
            return &config->mailboxes[i];
    return route->default_mailbox != NULL ? config_mailbox(config, route->default_mailbox) : NULL;
}

bool
sender_admit(const struct config *config, const struct client_conf *client, const struct address *sender,
    struct sender_path *out, struct reply *refusal_out)
{
    if (address_is_null(sender) && !client->null_sender) {
        reply_set(refusal_out, 550, "5.7.60",
            "client %s may not use the null sender <>: it needs null_sender: true", client->name);
        return false;
    }
    if (!address_is_null(sender) && !is_covered(client, sender)) {
        reply_set(refusal_out, 550, "5.7.60",
            "client %s may not send as %s: add it to the senders of this client", client->name, sender->text);
        return false;
    }
    out->route = route_of(config, client, sender, refusal_out);
    if (out->route == NULL)
        return false;
    out->mailbox = mailbox_of(config, client, out->route, sender);
    return true;
}

bool
sender_admit_size(
    const struct route_conf *route, uint64_t bytes, uint64_t most_bytes, struct reply *refusal_out)
{
    if (bytes <= most_bytes)
        return true;
    reply_set(refusal_out, 552, "5.3.4", "Message is too large: the upstream of route %s takes %llu bytes",
        route->name, (unsigned long long)most_bytes);
    return false;
}

/* ---- recipients ---- */

/* "%", "!" and "@" in a local part are directions to another relay. There are people with such an address,
 * but they are fewer than the relays that follow the directions. */
static bool
is_relay_trick(const struct address *a)
{
    struct span local = address_local(a);

    return span_find_byte(local, '%') >= 0 || span_find_byte(local, '!') >= 0 ||
        span_find_byte(local, '@') >= 0;
}

bool
sender_admit_recipient(const struct route_conf *route, const struct address *recipient,
    enum recipient_class *class_out, struct reply *refusal_out)
{
    struct span domain = address_domain(recipient);
    bool internal = admit_domain_in(route->domains, route->n_domains, domain) ||
        admit_domain_in(route->internal_domains, route->n_internal_domains, domain);

    if (is_relay_trick(recipient)) {
        reply_set(refusal_out, 550, "5.7.1",
            "recipient %s: addresses with %%, ! or @ before the domain are not relayed", recipient->text);
        return false;
    }
    *class_out = internal ? RECIPIENT_INTERNAL : RECIPIENT_EXTERNAL;
    return true;
}

/* ---- the header From ---- */

bool
sender_admit_authors(const struct client_conf *client, const struct route_conf *route,
    const struct header_authors *authors, struct reply *refusal_out)
{
    for (size_t i = 0; i < authors->n; i++) {
        const struct address *a = &authors->addresses[i];

        if (!is_covered(client, a)) {
            reply_set(refusal_out, 550, "5.7.60",
                "client %s may not send as %s (header From): add it to the senders of this client",
                client->name, a->text);
            return false;
        }
        if (!admit_domain_in(route->domains, route->n_domains, address_domain(a))) {
            reply_set(refusal_out, 550, "5.7.60",
                "domain %s of the header From is not registered on route %s: add it to the domains of the "
                "route, and to the accepted domains of the tenant",
                a->text + a->domain_at, route->name);
            return false;
        }
    }
    return true;
}
