/* store_conf: how to reach Redis, as configuration hands it to the store. Plain values that live in the
 * configuration's arena. */
#ifndef SENDGOV_STORE_STORE_CONF_H
#define SENDGOV_STORE_STORE_CONF_H

#include <stdbool.h>

#define STORE_TARGETS_MAX 9

enum store_topology {
    STORE_ALONE,    /* one Redis, or what stands in front of it */
    STORE_SENTINEL, /* the master that the Sentinels name */
    STORE_CLUSTER,  /* the node of a cluster that has the group's slot */
};

/* The `redis:` section. Secrets are read from files by the configuration and masked in dumps. */
struct store_conf {
    enum store_topology topology;
    /* "127.0.0.1:6379" or "unix:/run/redis/redis.sock"; of Sentinels, or nodes of a cluster, up to
     * STORE_TARGETS_MAX with commas between them */
    const char *target;
    const char *master; /* its name among the Sentinels */
    const char *sentinel_user, *sentinel_password; /* as user and password, towards the Sentinels */
    bool tls;             /* rediss:// */
    const char *tls_ca_file;
    const char *tls_cert_file; /* shown to Redis, with its key; NULL: none */
    const char *tls_key_file;
    const char *user;     /* ACL user, NULL: default user */
    const char *password; /* NULL: none */
    unsigned database;
    const char *group;    /* governor group: the keys' hash tag; default "default" */
    bool allow_volatile;  /* run on a Redis without appendonly */
    int connect_ms;       /* 500 */
    int command_ms;       /* 250 */
    int settle_ms;        /* 2000: how long a brand-new set of counters stays closed, so that living
                           * nodes can object */
};

/* With strings of its own, and the default group where there is none. */
void store_conf_copy(struct store_conf *out, const struct store_conf *conf);
void store_conf_free(struct store_conf *conf);
/* Of copies: nothing that matters to a connection differs. */
bool store_conf_is_same(const struct store_conf *a, const struct store_conf *b);

#endif
