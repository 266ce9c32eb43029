/* pool_conf: all that a pool takes from its route and mailbox, copied, so that a reload may free the old
 * configuration while connections made from it finish. */
#ifndef SENDGOV_UPSTREAM_POOL_CONF_H
#define SENDGOV_UPSTREAM_POOL_CONF_H

#include <stddef.h>

#include "relay/smtp/client.h"
#include "relay/upstream/upstream_conf.h"

struct pool_conf {
    char *route;
    char *mailbox; /* NULL: none */
    char *target;  /* "smtp.office365.com:587" */
    char *host;    /* its name alone, for SNI and verification */
    char *hostname;
    char *user;
    char *password;
    char *tls_ca_file, *tls_cert_file, *tls_key_file;
    bool tls_verify;
    struct client_setup client; /* points into the strings above */
    enum limit_scope scope;    /* of the slots shared by all nodes */
    const char *instance;
    uint64_t connections;      /* over all nodes */
    uint32_t pool_max, messages_per_connection;
    int idle_ms, age_ms, connect_ms, block_ms;
};

/* hostname: for EHLO, where the route names none. */
struct pool_conf *pool_conf_new(const struct route_conf *route, const struct mailbox_conf *mailbox,
    const char *hostname);
/* Wipes the password. */
void pool_conf_free(struct pool_conf **conf);
/* Would connections of the one do for the other? */
bool pool_conf_eq(const struct pool_conf *a, const struct pool_conf *b);
/* The same user with the same password? */
bool pool_conf_same_identity(const struct pool_conf *a, const struct pool_conf *b);

#endif
