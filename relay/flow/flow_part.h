/* flow_part: what the files of flow share: its parts, and the jobs it owns. */
#ifndef SENDGOV_FLOW_FLOW_PART_H
#define SENDGOV_FLOW_FLOW_PART_H

#include "relay/base/list.h"
#include "relay/base/metric.h"
#include "relay/flow/flow.h"
#include "relay/flow/hint.h"
#include "relay/net/loop.h"
#include "relay/spool/spool.h"
#include "relay/store/store.h"
#include "relay/upstream/upstream.h"

struct flow {
    struct loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct metrics *metrics;
    bool inherits_spool;
    struct config *config;
    struct slots jobs;
    struct list all; /* the same jobs */
    struct hints hints;
    struct blob_pool *bodies; /* of all messages, on their way in and out */
    struct spool *spool;      /* NULL: what cannot go now is refused */
    struct release *release;  /* with the spool */
    struct list orders;       /* of operators, on their way to the spool */
    uint32_t random;          /* for jitter */
};

/* One transaction, as far as limits and pauses care. */
struct flow_subject {
    const struct client_conf *client;
    const struct route_conf *route;
    const struct mailbox_conf *mailbox; /* NULL: none */
    const char *sender;                 /* canonical; "" the null sender */
    enum recipient_class class;
    uint32_t recipients, least;         /* least 0: one */
    uint64_t bytes;
    struct span domain;                 /* of all recipients, where a limit counts it; else empty */
};
/* The domain, if recipients of this class in it are counted by a limit of their own; else empty. Those that
 * have it in common go in one transaction. */
struct span flow_counted_domain(const struct flow *f, const struct route_conf *route,
    enum recipient_class class, struct span domain);
/* That of a recipient. */
struct span flow_domain_of(const struct flow *f, const struct route_conf *route, const struct recipient *r);
/* What it is to be charged by the limits of f->config. Not 0: too many limits apply. */
int flow_plan_subject(struct flow *f, const struct flow_subject *subject, struct charge_request *request_out);
/* The same of what a client is about to ask for, all or nothing and only to look. */
/* Who a request for the recipients of e is about, the caller's (free); NULL: no line asks. */
struct charge_person *flow_name_people(const struct charge_request *request, const struct envelope *e);
int flow_plan_look(struct flow *f, const struct flow_look *look, enum recipient_class class,
    uint32_t recipients, struct charge_request *request_out);

struct flow_plan {
    const struct message *message;
    enum recipient_class class;
    struct span domain;
    uint32_t recipients, least;
};
int flow_plan_round(struct flow *f, const struct flow_plan *plan, struct charge_request *request_out);

/* May what this client sends be kept when it cannot go now? */
bool flow_may_hold(const struct flow *f, const struct client_conf *client);

#endif
