/* identity: who a client is. Pure: a decision on the configuration and what is proven about the connection.
 *
 * A login proves more than a certificate, a certificate more than a network. Among networks the most
 * specific one that holds the address decides, also when its client needs a login as well: a wider network of
 * somebody else does not let it in. Without an identity nothing is relayed. */
#ifndef SENDGOV_FRONT_IDENTITY_H
#define SENDGOV_FRONT_IDENTITY_H

#include "relay/config/config.h"

/* What is proven. */
struct identity_facts {
    const struct in6_addr *address; /* v4-mapped for IPv4; NULL: none (unix socket) */
    const struct tls_peer *tls;     /* NULL without TLS */
    const char *login;              /* verified; NULL without AUTH */
};

/* NULL: nobody. */
const struct client_conf *identity_find(const struct config *config, const struct listener_conf *listener,
    const struct identity_facts *facts);
/* Could a login be an identity on this listener? Then 530 is the right refusal, else 550. */
bool identity_login_helps(const struct config *config, const struct listener_conf *listener);
bool identity_network_holds(const struct network *network, const struct in6_addr *address);

#endif
