/* flow: the path of one message, and the only coordinator.
 *
 *     message -> plan -> hint -> upstream lease -> charge -> MAIL ... reply -> outcome -> settlement
 *
 * The charge is the last thing before the first byte of MAIL, when body and connection are ready. A message
 * has exactly one settlement, carried out in one order: pause, client reply, refund, metrics, one log line.
 * flow never calls upward: front hands a message in and gets one answer.
 */
#ifndef SENDGOV_FLOW_FLOW_H
#define SENDGOV_FLOW_FLOW_H

#include "relay/base/blob.h"
#include "relay/base/slots.h"
#include "relay/config/config.h"
#include "relay/flow/message.h"
#include "relay/smtp/envelope.h"
#include "relay/smtp/reply.h"

struct flow;
struct loop;
struct store;
struct upstream;
struct metrics;

struct flow_setup {
    struct loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct metrics *metrics;
};

struct flow *flow_new(const struct flow_setup *setup);
/* Ends what is under way without an answer (logged); call it before upstream and store are freed. */
void flow_free(struct flow **f);
/* The configuration new work is planned with; flow takes a reference. */
void flow_configure(struct flow *f, struct config *config);

/* The answer for the client. */
typedef void flow_done_fn(void *arg, const struct reply *reply);

/* Takes the message. done exactly once, never during the call, unless forgotten. */
struct handle flow_submit(struct flow *f, struct message **m, flow_done_fn *done, void *arg);
/* The client is gone. What was offered upstream runs to its end and is settled and logged; what was not is
 * dropped. */
void flow_forget(struct flow *f, struct handle h);

/* What the client and its route are about to ask for, before a body exists. */
struct flow_look {
    struct config *config;
    const struct client_conf *client;
    const struct route_conf *route;
    const struct mailbox_conf *mailbox;
    const struct envelope *envelope; /* recipients so far */
    uint64_t bytes;                  /* declared, or 0 */
};
/* Local and immediate: reply code 0 = go on. For RCPT (a pause that stops this class; 452 4.5.3 when the
 * class differs from the first recipient's and the rest could not be held) and for MAIL. Only ever stricter
 * than the charge. */
void flow_hint(struct flow *f, const struct flow_look *look, enum recipient_class class,
    struct reply *refusal_out);
/* defer clients: a charge that only looks, before 354. done with code 0 = go on, else the refusal. */
struct handle flow_look(struct flow *f, const struct flow_look *look, flow_done_fn *done, void *arg);

/* What the route's upstream was last seen to offer; what the front may promise to clients. */
void flow_route_caps(const struct flow *f, const struct route_conf *route, uint64_t *size_out,
    bool *eightbit_out);

struct flow_status {
    size_t in_flight;
};
void flow_status(const struct flow *f, struct flow_status *out);

#endif
