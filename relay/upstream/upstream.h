/* upstream: connections towards Microsoft 365, pooled per route and mailbox.
 *
 * lease -> (the caller charges) -> send -> outcome; the connection goes back to the pool by itself. The
 * pool opens connections as leases wait, within the node's and the shared concurrency limit, keeps them for
 * reuse, QUITs what is idle, old or used up, and slows down on its own when the upstream says it has too
 * many. It knows nothing of budgets. Waiting leases are served in order of arrival; each has a deadline.
 */
#ifndef SENDGOV_UPSTREAM_UPSTREAM_H
#define SENDGOV_UPSTREAM_UPSTREAM_H

#include "policy/charge.h"
#include "relay/base/err.h"
#include "relay/base/slots.h"
#include "relay/smtp/transaction.h"
#include "relay/upstream/upstream_conf.h"

struct upstream;
struct upstream_plan;
struct upstream_conn;
struct loop;
struct dialer;
struct metrics;

/* Slots shared by all nodes for open connections; flow connects this to the store. take answers
 * exactly once, never during the call, and not at all after forget; what is granted then is given back by
 * itself. A slot is given back only on a proven close. error says why nothing could be decided. */
typedef void upstream_slot_fn(void *arg, bool granted, uint64_t slot, enum store_error error,
    int64_t retry_after_ms);
struct upstream_slots {
    void *arg;
    struct handle (*take)(void *arg, enum limit_scope scope, const char *instance, uint64_t cap,
        upstream_slot_fn *done, void *done_arg);
    void (*forget)(void *arg, struct handle question);
    void (*give)(void *arg, enum limit_scope scope, const char *instance, uint64_t slot);
    /* Do other nodes live, which may wait for a slot that we keep idle? NULL: never. */
    bool (*contested)(void *arg);
};

struct upstream_setup {
    struct loop *loop;
    struct dialer *dialer;
    struct upstream_slots slots;
    struct metrics *metrics;
    const char *hostname;
};

struct upstream *upstream_new(const struct upstream_setup *setup);
void upstream_free(struct upstream **u);
/* Routes and mailboxes of a new configuration, in two steps, so that a reload applies wholly or not at all.
 * prepare loads the TLS files and changes nothing; NULL when one is bad. commit cannot fail: pools whose
 * settings changed drain (busy connections finish, idle ones QUIT). The arrays must live until the commit of
 * the next ones. */
struct upstream_plan *upstream_prepare(const struct route_conf *routes, size_t n_routes,
    const struct mailbox_conf *mailboxes, size_t n_mailboxes, struct err *err);
void upstream_commit(struct upstream *u, struct upstream_plan **plan);
void upstream_discard(struct upstream_plan **plan);
/* Both steps at once; -1 and nothing changed when the first fails. */
int upstream_configure(struct upstream *u, const struct route_conf *routes, size_t n_routes,
    const struct mailbox_conf *mailboxes, size_t n_mailboxes, struct err *err);

/* Why there is no connection. */
struct lease_failure {
    enum tx_phase phase;  /* TX_CONNECT, TX_TLS or TX_AUTH */
    bool timed_out;       /* the lease's own deadline: the pool is busy */
    struct reply reply;   /* the upstream's (code 0: none) */
    char detail[256];     /* for log and client: "connect to 192.0.2.1:587: refused" */
    int64_t retry_after_ms; /* when the pool will try again; 0: at once */
    bool repeated;        /* told before: the pool has not tried again since */
};

/* What the connection can do; the caller checks size and 8-bit before it charges. */
struct upstream_caps {
    uint64_t size_max;  /* 0: not stated */
    bool eightbitmime;
    bool pipelining;
    bool dsn;           /* it reports by itself as RET, ENVID, NOTIFY and ORCPT ask (RFC 3461) */
    bool tls;
    char tls_text[96];  /* "TLSv1.3:TLS_AES_256_GCM_SHA384", empty without TLS */
    char peer[80];      /* "192.0.2.1:587" */
    uint32_t uses;      /* transactions before this one */
};

/* conn NULL: failure tells why. Otherwise the connection is the caller's until upstream_send or
 * upstream_release. */
typedef void upstream_lease_fn(void *arg, struct upstream_conn *conn, const struct lease_failure *failure);

struct handle upstream_lease(struct upstream *u, const struct route_conf *route,
    const struct mailbox_conf *mailbox, int deadline_ms, upstream_lease_fn *done, void *arg);
void upstream_lease_cancel(struct upstream *u, struct handle h);
const struct upstream_caps *upstream_conn_caps(const struct upstream_conn *c);
/* FIN or RST seen already: release it and lease anew, before charging. */
bool upstream_conn_is_dead(struct upstream_conn *c);
/* Back to the pool, unused. */
void upstream_release(struct upstream_conn **c);

typedef void upstream_send_fn(void *arg, const struct tx_outcome *outcome);

/* Takes the connection. The first byte of MAIL leaves during the call, or not at all (then
 * outcome.offered is false). */
void upstream_send(struct upstream_conn **c, const struct transaction *tx, upstream_send_fn *done, void *arg);

/* The upstream asked for less: halve the connections of this pool and wait with jitter before more; creeps
 * back. */
void upstream_slow_down(struct upstream *u, const struct route_conf *route,
    const struct mailbox_conf *mailbox);
/* Finish what is under way, open nothing new, QUIT; done when no connection is left. */
void upstream_drain(struct upstream *u, void (*done)(void *arg), void *arg);

struct upstream_status {
    const char *route, *mailbox;
    unsigned connecting, busy, idle, waiting, limit;
    int64_t backoff_ms;
    char last_error[256];
};
size_t upstream_status(const struct upstream *u, struct upstream_status *out, size_t max);
/* SIZE as last seen on the route (0: not seen) and whether 8BITMIME (true until seen): what the front may
 * offer. */
void upstream_route_caps(const struct upstream *u, const struct route_conf *route, uint64_t *size_out,
    bool *eightbit_out);

#endif
