/* pool: the connections of one route and mailbox, and the leases that wait for one.
 *
 * One task, `service`, looks at everything and decides: idle connections go to the leases that wait
 * longest, the one used last first (so that the others grow idle and leave); new ones are opened while more
 * leases wait than connections are on their way, within the pool's own limit, the pace and the slots of all
 * nodes. What waits while nothing can come of it (back-off, and no connection alive) fails at once.
 *
 * A pool whose settings changed drains: its leases move to its successor, what is busy finishes.
 */
#ifndef SENDGOV_UPSTREAM_POOL_H
#define SENDGOV_UPSTREAM_POOL_H

#include "relay/net/loop.h"
#include "relay/upstream/conn.h"
#include "relay/upstream/pace.h"
#include "relay/upstream/pool_conf.h"
#include "relay/upstream/slot.h"
#include "relay/upstream/trouble.h"
#include "tls/tls.h"

#define BODY_CHUNK (128 * 1024)

/* What is known of a route beyond its pools. */
struct route_seen {
    struct list link;
    char *name;
    char *target;
    struct tls_ctx *tls; /* NULL: TLS is off */
    uint64_t size_max;   /* as last offered; 0: not seen, or no limit */
    bool eightbitmime;
};

struct upstream {
    struct upstream_setup setup;
    char *hostname;
    struct slot_keeper slots;
    const struct route_conf *routes;
    size_t n_routes;
    const struct mailbox_conf *mailboxes;
    size_t n_mailboxes;
    struct list seen;      /* route_seen, one per route */
    struct list pools;
    struct slots leases;
    struct list hopeless;  /* leases that no pool takes; they fail at the end of the turn */
    struct task fail_hopeless;
    void (*drained)(void *arg); /* NULL: not draining */
    void *drained_arg;
    struct task tell_drained;
    struct buf out;        /* what a machine wants sent, during one event */
    char *chunk;           /* BODY_CHUNK bytes, for bodies on disk */
};

struct lease {
    struct list link;
    struct handle self;
    struct upstream *up;
    struct pool *pool; /* NULL: hopeless */
    struct timer deadline;
    int64_t due_mono_ms;
    bool timed; /* the deadline runs */
    struct corpse corpse;
    upstream_lease_fn *done;
    void *arg;
};

enum pool_state { POOL_OPEN, POOL_DRAINING };

struct pool {
    struct list link;
    struct upstream *up;
    enum pool_state state;
    struct pool_conf *conf;
    const struct route_conf *route;     /* of the configuration in force: for finding, never read */
    const struct mailbox_conf *mailbox;
    struct route_seen *seen;            /* NULL while draining */
    struct tls_ctx *tls;
    struct pace pace;
    struct trouble trouble;
    struct lease_failure failure;       /* the last one */
    struct list waiting;                /* leases, oldest first */
    unsigned n_waiting;
    unsigned n_asking;                  /* slots asked for */
    unsigned n_outdated;                /* of these, asked before we gave one back: a denial means nothing */
    int64_t slot_retry_mono_ms;         /* a slot was denied: not before */
    struct list idle;                   /* connections, used last first */
    struct list others;                 /* all other connections */
    unsigned count[CONN_STATE_COUNT];
    struct task service;
    struct timer wake;
    struct corpse corpse;
};

struct pool *pool_new(struct upstream *up, struct pool_conf *conf, struct route_seen *seen);
/* Something changed: look at everything at the end of this turn. */
void pool_wake(struct pool *pool);
void pool_add_lease(struct pool *pool, struct lease *lease);
/* Moves the leases on; successor may be NULL. Frees itself when the last connection is gone. */
void pool_drain(struct pool *pool, struct pool *successor);
void pool_slow_down(struct pool *pool);
/* Closes all and frees; for upstream_free. */
void pool_destroy(struct pool *pool);

/* Told by connections. */
void pool_on_login(struct pool *pool);
/* A slot is free again by our own doing: whoever waits for one need not wait for the next try. */
void pool_on_slot_back(struct pool *pool);
void pool_on_failure(struct pool *pool, const struct upstream_conn *c, const struct lease_failure *failure);
/* How long a connection may idle: a slot that other nodes may wait for is not kept for long. */
int pool_idle_ms(const struct pool *pool);
/* May this connection carry one more message? */
bool pool_wants(const struct pool *pool, const struct upstream_conn *c);
unsigned pool_open_count(const struct pool *pool);

/* Answers a lease; conn NULL: failure says why. */
void lease_end(struct lease *lease, struct upstream_conn *conn, const struct lease_failure *failure);

#endif
