/* spool_conf: the spool's settings, as configuration hands them to spool and flow. Plain values that live in
 * the configuration's arena. */
#ifndef SENDGOV_SPOOL_SPOOL_CONF_H
#define SENDGOV_SPOOL_SPOOL_CONF_H

#include <stdbool.h>
#include <stdint.h>

/* Mode bits that its folder must not have: the group may read at most, others nothing, for mail lies there in
 * clear. */
#define SPOOL_FOLDER_DENIED 0027

struct spool_conf {
    bool enabled;       /* false: what cannot go now is 4xx */
    const char *folder; /* holds spool.db and its lock; default STATE/spool */
    int retry_first_ms; /* 60 s: wait after the upstream's first 4xx; doubles, +-20 % */
    int retry_max_ms;   /* 1 h */
    int64_t lifetime_ms; /* 48 h of waiting for retries; what we hold ourselves costs nothing of it */
    int64_t warn_ms;    /* 4 h of it: a delay notice */
    int64_t uncertain_ms; /* 10 min from a lost dot to the second try */
    uint32_t uncertain_max; /* 2 tries in all, then the operator's list */
    uint64_t size_limit_bytes; /* of one message, for the guard of free space */
};

#endif
