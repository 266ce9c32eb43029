/* flow: the path of one message, and the only coordinator.
 *
 *     message -> plan -> hint -> upstream lease -> charge -> MAIL ... reply -> outcome -> settlement
 *
 * The charge is the last thing before the first byte of MAIL, when body and connection are ready. A message
 * has exactly one settlement, carried out in one order: pause, client reply, metrics, one log line; a charge
 * that is given back was given back before.
 * flow never calls upward: front hands a message in and gets one answer. What ends before that, by a "no" of
 * the governor or a rule of the relay, front brings for the books only.
 */
#ifndef SENDGOV_FLOW_FLOW_H
#define SENDGOV_FLOW_FLOW_H

#include "policy/charge.h"
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
    bool inherits_spool; /* the process this one takes the place of still has it, and will give it up */
};

struct flow *flow_new(const struct flow_setup *setup);
/* Ends what is under way without an answer (logged); call it before upstream and store are freed. */
void flow_free(struct flow **f);
/* The configuration new work is planned with; flow takes a reference. */
void flow_configure(struct flow *f, struct config *config);

/* Before flow_configure: makes ready the folder of the spool and locks it. Then, when the process has the
 * rights it will keep, starts it. Without these two calls there is no spool, and what cannot go now is
 * refused. */
int flow_open_spool(struct flow *f, const struct spool_conf *conf, struct err *err);
int flow_start_spool(struct flow *f, struct err *err);
/* The process of this identity (store_identity) is dead: the connection slots it held are free. NULL: those
 * of all former runs of this node. */
void flow_disown(struct flow *f, const char *identity);
/* Nothing more leaves the spool; what is on its way does. */
void flow_stop_release(struct flow *f);
/* False: the client's mail is to be stored before anything else and there is no room for it. */
bool flow_keeps(const struct flow *f, const struct client_conf *client, struct reply *refusal_out);
/* Where the bodies of all messages live; good until the next flow_configure. */
struct blob_pool *flow_bodies(const struct flow *f);

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
    struct span domain;              /* flow_hint at RCPT: of the recipient that is to come; else empty */
};
/* A "no": what the client hears, and what the books want to know of it. */
struct flow_refusal {
    struct reply reply;
    struct end_code end;
    struct verdict verdict; /* the governor's; GRANTED: it was not asked */
    struct config *config;  /* verdict points to its limits; a reference in what flow_refusal_keep gave */
};
/* A copy that outlives the turn. */
struct flow_refusal *flow_refusal_keep(const struct flow_refusal *r);
void flow_refusal_free(struct flow_refusal **r);

/* Local and immediate: true and *out for a refusal. For RCPT (a pause that stops this class; 452 4.5.3 when
 * the class differs from the first recipient's, or only one of them has a domain that a limit counts, and the
 * rest could not be held) and for MAIL. Only ever stricter than the charge. Counted as a decision; whoever
 * asked books what became of the transaction. */
bool flow_hint(struct flow *f, const struct flow_look *look, enum recipient_class class,
    struct flow_refusal *out);
/* refusal: NULL = go on. It is good until the call returns. */
typedef void flow_looked_fn(void *arg, const struct flow_refusal *refusal);
/* defer clients: a charge that only looks, before 354. looked exactly once, never during the call, unless
 * forgotten. */
struct handle flow_look(struct flow *f, const struct flow_look *look, flow_looked_fn *looked, void *arg);

/* ---- books: what ended without being submitted; nobody is answered ---- */

/* The whole message was refused: metrics and its one line. Frees it. */
void flow_book_message(struct flow *f, struct message **m, const struct flow_refusal *why);
/* Only its unnamed recipients were; the client went on without them. Frees it. */
void flow_book_recipients(struct flow *f, struct message **m, const struct flow_refusal *why);

/* What the route's upstream was last seen to offer; what the front may promise to clients. */
void flow_route_caps(const struct flow *f, const struct route_conf *route, uint64_t *size_out,
    bool *eightbit_out);

struct flow_status {
    size_t in_flight;
};
void flow_status(const struct flow *f, struct flow_status *out);
/* The process this one took the place of still has the spool. */
bool flow_awaits_spool(struct flow *f);

#endif
