/* slot: the right to hold one upstream connection, shared by all nodes; asked for before connecting and
 * given back when the peer is known to have none left of it.
 *
 * "Known" is the point: what we closed on a silent peer may live on over there until its idle cut, and
 * giving the slot to another node meanwhile would make one connection too many. Such a slot lingers. */
#ifndef SENDGOV_UPSTREAM_SLOT_H
#define SENDGOV_UPSTREAM_SLOT_H

#include "relay/net/loop.h"
#include "relay/upstream/upstream.h"

struct slot_keeper {
    struct loop *loop;
    struct upstream_slots slots; /* take NULL: every slot is granted */
    struct list asks;            /* not answered yet */
    struct list lingering;
};

void slot_keeper_init(struct slot_keeper *k, struct loop *loop, const struct upstream_slots *slots);
/* What lingers is not given back: it expires by itself. */
void slot_keeper_fini(struct slot_keeper *k);

typedef void slot_fn(void *arg, bool granted, uint64_t slot, int64_t retry_after_ms);
/* Exactly one answer, never during the call, unless cancelled. */
void slot_ask(struct slot_keeper *k, enum limit_scope scope, const char *instance, uint64_t cap,
    slot_fn *done, void *arg);
/* All that were asked with this arg; what is granted later goes back by itself. */
void slot_cancel(struct slot_keeper *k, const void *arg);
/* After so long; 0: now. */
void slot_give(struct slot_keeper *k, enum limit_scope scope, const char *instance, uint64_t slot,
    int64_t after_ms);

#endif
