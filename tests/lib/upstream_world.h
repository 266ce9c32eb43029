/* upstream_world: everything an upstream needs around it in a test: loop, dialer, slots of other nodes, one
 * scripted peer, and messages to send. */
#ifndef SENDGOV_TESTS_UPSTREAM_WORLD_H
#define SENDGOV_TESTS_UPSTREAM_WORLD_H

#include "relay/base/metric.h"
#include "relay/net/dial.h"
#include "relay/upstream/pool.h"
#include "tests/lib/smtp_peer.h"

#define SENDING_RECIPIENTS 4

struct world;

/* One message from lease to outcome. */
struct sending {
    struct world *world;
    bool holds;       /* keep the lease: the test sends */
    const struct route_conf *route; /* NULL: the world's */
    struct upstream_conn *conn;
    struct handle lease;
    bool leased, failed, done;
    unsigned order;   /* of the lease among all */
    struct lease_failure failure;
    struct upstream_caps caps;
    struct blob *body;
    struct transaction tx;
    struct tx_outcome outcome; /* recipients point to results */
    struct tx_recipient results[SENDING_RECIPIENTS];
};

struct world {
    struct loop *loop;
    struct metrics *metrics;
    struct resolver *resolver;
    struct dialer *dialer;
    struct upstream *up;
    struct blob_pool *blobs;
    char folder[64];
    struct peer peer;
    struct route_conf route;
    struct mailbox_conf mailbox;
    bool uses_mailbox;
    unsigned leases; /* given so far */
    /* the slots of all nodes */
    uint64_t slots_free;
    bool other_nodes; /* that may wait for a slot */
    unsigned slots_taken, slots_given, slots_denied;
    uint32_t slots_asked;
    struct list answers;
};

void world_start(struct world *w);
/* Takes w->route and w->mailbox as they are now. */
int world_configure(struct world *w, struct err *err);
/* Another upstream in place of the one that ends, as configured before. */
void world_renew(struct world *w);
void world_stop(struct world *w);
/* Turns the loop until *flag, for ten seconds at most, which fails the test. */
void world_until(struct world *w, const bool *flag);
void world_turn(struct world *w, int n);
/* For tests about time: turns for so long. */
void world_pass(struct world *w, int64_t ms);
/* Until the world is as wanted. */
void world_until_fn(struct world *w, bool (*is_so)(struct world *w));

/* bytes of body, in lines; recipients 1-4. */
void sending_init(struct sending *s, struct world *w, size_t bytes, size_t recipients);
void sending_start(struct sending *s, int deadline_ms);
/* For one that held its lease. */
void sending_send(struct sending *s);
void sending_fini(struct sending *s);
/* One small message, start to end. */
void send_one(struct world *w, struct sending *s);
/* The body as the peer should have it. */
void sending_check_body(const struct sending *s);

#endif
