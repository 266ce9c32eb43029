/* front_conf: listeners, clients and limits towards them, as configuration hands them to the front. Plain
 * values that live in the configuration's arena; who holds a reference to it may keep them. */
#ifndef SENDGOV_FRONT_FRONT_CONF_H
#define SENDGOV_FRONT_FRONT_CONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/tls.h"

enum front_tls { FRONT_TLS_OFF, FRONT_TLS_STARTTLS, FRONT_TLS_REQUIRED, FRONT_TLS_IMPLICIT };
enum bare_newline { BARE_REJECT, BARE_NORMALIZE };
enum accept_mode { ACCEPT_RELAY, ACCEPT_DEFER, ACCEPT_SPOOL };

struct listener_conf {
    const char *name;
    const char *const *addresses; /* "0.0.0.0:25", "[::]:25" */
    size_t n_addresses;
    enum front_tls tls;
    enum tls_version tls_least;
    const char *tls_cert_file, *tls_key_file, *tls_client_ca_file;
    bool auth_without_tls;        /* credentials in clear; default false, loopback included */
    enum bare_newline bare_newline;
    const char *const *clients;   /* only these clients may come in here; none: all */
    size_t n_clients;
};

/* An IPv4 or IPv6 network; v4 is kept as v4-mapped v6. */
struct network {
    struct in6_addr address;
    unsigned prefix; /* 0-128 in the v6 form */
};

/* Who may send: an identity, proven by login, certificate or source network. */
struct client_conf {
    const char *name;
    const char *const *logins;    /* names in the users file */
    size_t n_logins;
    const struct network *networks;
    size_t n_networks;
    bool auth_needed;             /* the networks are wide: a login is needed as well */
    const char *const *cert_names; /* CN or dNSName, under the listener's client CA */
    size_t n_cert_names;
    const char *const *cert_pins; /* SHA-256 of the public key, hex */
    size_t n_cert_pins;
    const char *const *senders;   /* patterns */
    size_t n_senders;
    bool null_sender;
    enum accept_mode accept;
    const char *route;            /* NULL: by sender domain */
    const char *mailbox;          /* NULL: the one named like the sender, else the route's */
    const char *class;            /* priority class; "default" */
};

/* Limits and deadlines of the front; the defaults of sendgov.yaml(5). */
struct front_conf {
    const char *hostname;         /* banner, EHLO, Received */
    const char *users_file;       /* login:crypt(3) hash a line; NULL: no logins */
    const char *temp_folder;      /* for large bodies */
    uint64_t message_bytes_max;   /* 35 MiB */
    uint64_t header_bytes_max;    /* 256 KiB */
    uint32_t header_lines_max;    /* 1000 */
    uint32_t line_bytes_max;      /* 65536 */
    bool line_strict;             /* refuse body lines over 998 */
    uint32_t recipients_max;      /* 500 */
    uint32_t messages_max;        /* per connection, 1000 */
    uint32_t hops_max;            /* 100 */
    uint32_t connections_max;     /* 1000 */
    uint32_t connections_per_ip;  /* 50 */
    uint32_t unauthenticated_max; /* 200 */
    uint32_t connection_rate_per_minute, connection_rate_burst; /* 120, 60 */
    uint32_t errors_soft, errors_hard; /* 5, 10 */
    uint32_t junk_max;            /* 50 */
    uint32_t auth_failures_session; /* 3 */
    uint32_t auth_failures_per_ip;  /* 20 in 10 min */
    int idle_ms;                  /* 300000 */
    int first_mail_ms;            /* 60000: idle before the first MAIL */
    int command_ms;               /* 60000: a begun command must end */
    int handshake_ms;             /* 30000 */
    uint32_t data_bytes_per_second_min; /* 500 */
    uint64_t body_memory_bytes;   /* all bodies together, 64 MiB */
};

#endif
