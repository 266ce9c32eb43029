/* redis_link_part: the state of a link, shared by its files: redis_link.c (life, commands under way,
 * deadlines) and redis_link_setup.c (what is said to Redis before it is used). */
#ifndef SENDGOV_STORE_REDIS_LINK_PART_H
#define SENDGOV_STORE_REDIS_LINK_PART_H

#include "relay/store/redis_info.h"
#include "relay/store/redis_link.h"
#include "relay/store/redis_wire.h"
#include "relay/store/sentinels.h"

#define LINK_SETUP_MS 2000 /* one command of the set-up: loading a script may meet a busy Redis */

enum link_state {
    LINK_WAITING, /* the timer ends the back-off */
    LINK_DIALING, /* TLS handshake included */
    LINK_SETTING_UP,
    LINK_UP,
    LINK_CLOSED,
};

struct redis_link {
    struct redis_link_setup setup;
    const struct store_conf *conf;
    const struct redis_link_ops *ops;
    void *arg;
    enum link_state state;
    struct redis_wire wire;
    struct sentinels *sentinels; /* NULL: none are asked */
    char target[REDIS_ADDRESS_MAX]; /* the Redis of this connection, or of the last */
    /* of a cluster */
    char owner[REDIS_ADDRESS_MAX]; /* of the keys, as the cluster said; "": not known, one of the seeds is */
    bool asking;                   /* it does not own them yet: ASKING goes before each command */
    unsigned seed;                 /* which of them is asked next */
    unsigned hops;                 /* redirections since it was up */
    struct tls_ctx *tls;
    struct list pending;
    struct list deadlines; /* of pending, those that matter, each due later than the one before */
    struct timer timer;
    struct task down_task; /* tells a failure found during somebody's call */
    int64_t back_off_ms;
    size_t n_loaded;       /* scripts */
    char sha[SCRIPT_COUNT][SHA1_HEX + 1];
    char server[REDIS_ID_MAX];
    enum store_error error;
    char detail[256];
    char error_text[256];
};

/* The connection is gone at once; everybody hears of it at the end of the turn. */
void redis_link_go_down(struct redis_link *l, enum store_error error, const char *detail);
/* Of a few words; done gets the link. */
void redis_link_say(struct redis_link *l, int argc, const char **argv, int64_t deadline_ms,
    link_reply_fn *done);
/* What was answered is MOVED or ASK: then it goes to who is said to have the keys. False: it is neither, or
 * goes round in circles. */
bool redis_link_follow(struct redis_link *l);
/* The next command may meet keys that a cluster moves here just now. */
void redis_link_say_asking(struct redis_link *l, int64_t deadline_ms);
/* All was said that is to be said before use. */
void redis_link_came_up(struct redis_link *l);

/* redis_link_setup.c: the connection is there. */
void redis_link_begin_setup(struct redis_link *l);

#endif
