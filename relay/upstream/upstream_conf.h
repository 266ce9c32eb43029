/* upstream_conf: routes and mailboxes, as configuration hands them to upstream, flow and front. Plain values
 * that live in the configuration's arena; who holds a reference to it may keep them. */
#ifndef SENDGOV_UPSTREAM_UPSTREAM_CONF_H
#define SENDGOV_UPSTREAM_UPSTREAM_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/reply_class.h"
#include "policy/types.h"

enum upstream_tls { UPSTREAM_TLS_STARTTLS, UPSTREAM_TLS_IMPLICIT, UPSTREAM_TLS_OFF };
enum upstream_auth { UPSTREAM_AUTH_NONE, UPSTREAM_AUTH_LOGIN, UPSTREAM_AUTH_PLAIN };

/* An identity at the upstream. */
struct mailbox_conf {
    const char *name;     /* "relay@contoso.com": instance of the mailbox scope */
    const char *route;
    enum upstream_auth auth;
    const char *user;     /* default: name */
    const char *password; /* read from password_file */
    uint64_t connections; /* over all nodes; default 2 */
};

/* A tenant's way out. */
struct route_conf {
    const char *name;
    const char *upstream;  /* "smtp.office365.com:587" */
    enum upstream_tls tls;
    const char *tls_ca_file;
    const char *tls_cert_file, *tls_key_file; /* client certificate, for connectors */
    bool tls_verify;
    const char *helo;      /* our EHLO name there; default: the configuration's hostname */
    const char *const *domains; /* registered sender domains; also the internal recipients */
    size_t n_domains;
    const char *const *internal_domains; /* extra domains that count as internal */
    size_t n_internal_domains;
    uint64_t connections;  /* over all nodes, for a route without mailbox; LIMIT_UNLIMITED: none */
    uint32_t pool_max;     /* connections of this node */
    uint32_t messages_per_connection; /* 100 */
    int idle_ms;           /* 30000: QUIT after so long without work */
    int age_ms;            /* 600000: no new message on a connection older than this */
    int connect_ms, reply_ms, data_ms, block_ms, dot_ms; /* 15000, 60000, 120000, 180000, 600000 */
    const char *default_mailbox; /* NULL: no mailbox (connector) */
    const struct schedule_conf *warmup; /* NULL: none */
    struct reply_rules replies; /* the profile's table, operator's rules first */
    const char *profile;
};

#endif
