/* store_conf: how to reach Redis, as configuration hands it to the store. Plain values that live in the
 * configuration's arena. */
#ifndef SENDGOV_STORE_STORE_CONF_H
#define SENDGOV_STORE_STORE_CONF_H

#include <stdbool.h>

/* The `redis:` section. Secrets are read from files by the configuration and masked in dumps. */
struct store_conf {
    const char *target;   /* "127.0.0.1:6379" or "unix:/run/redis/redis.sock" */
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

#endif
