#include "relay/front/identity.h"

#include <string.h>
#include <strings.h>

bool
identity_network_holds(const struct network *network, const struct in6_addr *address)
{
    unsigned whole = network->prefix / 8, bits = network->prefix % 8;
    unsigned char mask = (unsigned char)(0xff00u >> bits);

    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return bits == 0 || ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) & mask) == 0;
}

/* The longest prefix of the client's networks that holds the address, or -1. */
static int
best_prefix(const struct client_conf *client, const struct in6_addr *address)
{
    int best = -1;

    for (size_t i = 0; address != NULL && i < client->n_networks; i++)
        if ((int)client->networks[i].prefix > best && identity_network_holds(&client->networks[i], address))
            best = (int)client->networks[i].prefix;
    return best;
}

static bool
comes_in_here(const struct client_conf *client, const struct listener_conf *listener)
{
    for (size_t i = 0; i < listener->n_clients; i++)
        if (strcmp(listener->clients[i], client->name) == 0)
            return true;
    return listener->n_clients == 0;
}

/* Where the networks of a client are wide, its login counts only from them. */
static bool
login_proves(const struct client_conf *client, const struct identity_facts *facts)
{
    if (client->auth_needed && client->n_networks > 0 && best_prefix(client, facts->address) < 0)
        return false;
    for (size_t i = 0; i < client->n_logins; i++)
        if (strcmp(client->logins[i], facts->login) == 0)
            return true;
    return false;
}

static bool
names_match(const struct tls_peer *tls, const char *name)
{
    if (strcasecmp(tls->cert_name, name) == 0)
        return true;
    for (size_t i = 0; i < tls->n_dns_names; i++)
        if (strcasecmp(tls->dns_names[i], name) == 0)
            return true;
    return false;
}

/* A name counts only under the configured CA; a pin is the key itself and needs none. */
static bool
certificate_proves(const struct client_conf *client, const struct tls_peer *tls)
{
    for (size_t i = 0; tls->has_cert && i < client->n_cert_names; i++)
        if (client->cert_names[i][0] != '\0' && names_match(tls, client->cert_names[i]))
            return true;
    for (size_t i = 0; tls->presented_cert && tls->spki_sha256[0] != '\0' && i < client->n_cert_pins; i++)
        if (strcasecmp(tls->spki_sha256, client->cert_pins[i]) == 0)
            return true;
    return false;
}

static const struct client_conf *
by_network(const struct config *config, const struct listener_conf *listener, const struct in6_addr *address)
{
    const struct client_conf *found = NULL;
    int best = -1;

    for (size_t i = 0; i < config->n_clients; i++) {
        const struct client_conf *client = &config->clients[i];
        int prefix = comes_in_here(client, listener) ? best_prefix(client, address) : -1;

        if (prefix > best) {
            best = prefix;
            found = client;
        }
    }
    return found == NULL || found->auth_needed ? NULL : found;
}

const struct client_conf *
identity_find(
    const struct config *config, const struct listener_conf *listener, const struct identity_facts *facts)
{
    for (size_t i = 0; facts->login != NULL && i < config->n_clients; i++)
        if (comes_in_here(&config->clients[i], listener) && login_proves(&config->clients[i], facts))
            return &config->clients[i];
    for (size_t i = 0; facts->tls != NULL && i < config->n_clients; i++)
        if (comes_in_here(&config->clients[i], listener) &&
            certificate_proves(&config->clients[i], facts->tls))
            return &config->clients[i];
    return by_network(config, listener, facts->address);
}

bool
identity_login_helps(const struct config *config, const struct listener_conf *listener)
{
    for (size_t i = 0; i < config->n_clients; i++)
        if (config->clients[i].n_logins > 0 && comes_in_here(&config->clients[i], listener))
            return true;
    return false;
}
