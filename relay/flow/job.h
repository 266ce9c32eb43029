/* job: the life of one message (or of one look) between submission and settlement.
 *
 *     NEW -> LEASING -> CHARGING -> SENDING -> SETTLED        a message
 *     NEW -> CHARGING -> SETTLED                              a look
 *
 * A message goes back to LEASING, a few times at most, when nobody could have noticed: its connection died
 * before MAIL or before MAIL was answered, or its charge came too late to be used. Each try is a charge
 * of its own.
 */
#ifndef SENDGOV_FLOW_JOB_H
#define SENDGOV_FLOW_JOB_H

#include "relay/flow/flow_part.h"

/* Where a job is; each state says what it waits for. */
enum job_state {
    JOB_NEW,      /* planned; starts at the end of this turn */
    JOB_LEASING,  /* a connection of the pool: `pending` */
    JOB_CHARGING, /* the verdict: `pending`; holds `conn` */
    JOB_SENDING,  /* the upstream's outcome; charged */
    JOB_SETTLED,  /* over; goes with the turn */
};

/* One message on its way, or one look (message NULL). Owned by flow->jobs; freed through the graveyard. */
struct job {
    struct flow *flow;
    struct handle self;
    struct list link; /* in flow->all */
    enum job_state state;
    struct message *message;
    struct config *config; /* reference held: `request` points to its limits */
    flow_done_fn *done;    /* of a message; NULL: forgotten */
    flow_looked_fn *looked; /* of a look; NULL: forgotten */
    void *arg;
    struct charge_request request;
    struct handle pending;
    struct upstream_conn *conn;
    struct upstream_caps caps; /* of conn, for the log */
    struct verdict verdict;
    int64_t asked_mono_us; /* when the charge was asked for */
    struct transaction transaction;
    const struct recipient **recipients; /* of transaction */
    unsigned tries;
    struct task start;
    struct corpse corpse;
};
/* A job of f that starts at the end of this turn; the caller fills in what it is about. */
struct job *job_new(struct flow *f, flow_done_fn *done, void *arg);
/* It could not be planned: it ends with that refusal instead of starting. */
void job_fail_plan(struct job *job);
/* The client is gone: what was not offered yet is dropped, the rest runs to its end unheard. */
void job_forget(struct job *job);
/* The daemon ends at once: what was offered ends uncertain, and says so. */
void job_abandon(struct job *job);

#endif
