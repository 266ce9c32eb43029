/* job: the life of one message (or of one look) between submission and settlement.
 *
 *     NEW -> LEASING -> CHARGING -> SENDING -> [KEEPING] -> SETTLED    a message
 *     NEW -> KEEPING -> SETTLED                                        one that is to be kept first
 *     NEW -> CHARGING -> SETTLED                                       a look
 *
 * LEASING to SENDING is a round: one upstream transaction over recipients of one class, and of one domain
 * where a limit counts it; all domains that none counts are in one. Where the rest can be held a message may
 * need several (both classes; several domains; fewer granted than asked for), else it has one, all or
 * nothing. A round goes back to LEASING, a few times at most, when nobody could have noticed: its
 * connection died before MAIL or before MAIL was answered, or its charge came too late to be used. Each try
 * is a charge of its own.
 *
 * KEEPING writes to the spool what is left; the client is answered after the commit. A message that comes
 * from the spool runs the same way, only that nobody waits for an answer and its last write settles its
 * row.
 */
#ifndef SENDGOV_FLOW_JOB_H
#define SENDGOV_FLOW_JOB_H

#include "relay/flow/fate.h"
#include "relay/flow/flow_part.h"
#include "relay/flow/settle.h"

/* Where a job is; each state says what it waits for. */
enum job_state {
    JOB_NEW,      /* planned; starts at the end of this turn */
    JOB_LEASING,  /* a connection */
    JOB_CHARGING, /* the verdict */
    JOB_SENDING,  /* the outcome: MAIL left, or leaves with this turn */
    JOB_KEEPING,  /* the spool's commit */
    JOB_SETTLED,  /* over; goes with the turn */
};

/* One upstream transaction of a message. */
struct round {
    const struct recipient **recipients; /* of the message's envelope; room for all of them */
    size_t n;
    enum recipient_class class;
    struct span domain; /* where a limit counts it; else empty. Of a recipient's address */
};

/* One message on its way, or one look (message NULL). Owned by flow->jobs; freed through the graveyard. */
struct job {
    struct flow *flow;
    struct handle self;
    struct list link; /* in flow->all */
    enum job_state state;
    struct message *message;
    struct fate *fates;    /* of a message: one for each recipient of its envelope */
    struct config *config; /* reference held: `request` points to its limits */
    flow_done_fn *done;    /* of a message; NULL: forgotten, or nobody ever waited */
    flow_looked_fn *looked; /* of a look; NULL: forgotten */
    void *arg;
    struct charge_request request;
    struct handle pending;
    struct upstream_conn *conn;
    struct upstream_caps caps; /* of conn, for the log */
    struct verdict verdict;
    char shadow[256]; /* the limit in shadow that would have kept what was granted; "": none */
    int64_t asked_mono_us; /* when the charge was asked for */
    struct round round;
    struct charge_person *people; /* of the round in its order, or of the look; NULL: no limit asks */
    bool are_strangers; /* the gate is a limit of new recipients: only such are left */
    struct transaction transaction;
    unsigned tries;
    struct settlement said; /* of the round that tells most: the first that was not a success */
    struct reply heard;     /* the upstream's last word; code 0: none */
    bool may_hold;          /* what cannot go now goes to the spool */
    uint64_t seq;           /* its row in the spool; 0: it has none */
    bool taken_over;        /* that row never stood in the order of release */
    struct queue_gate *gate; /* of a row: at which it was refused before anything was offered */
    struct keep *keep;      /* KEEPING, or SENDING for too long: what is being written */
    struct timer patience;  /* of a client with the upstream; later: until a write that failed is repeated */
    struct task start;
    struct corpse corpse;
};
/* A job of f that starts at the end of this turn; the caller fills in what it is about. */
struct job *job_new(struct flow *f, flow_done_fn *done, void *arg);
/* Takes the message. states: of its recipients in the spool, or NULL for a new one. */
void job_take_message(struct job *job, struct message **m, const struct spool_recipient *states);
/* It could not be planned: it ends with that refusal instead of starting. */
void job_fail_plan(struct job *job);
/* The client is gone: what was not offered yet is dropped, the rest runs to its end unheard. */
void job_forget(struct job *job);
/* The daemon ends at once: what was offered ends uncertain, and says so; what is in the spool and was not
 * offered waits there. True: the spool still reads what the job lent it, so it must be buried after the
 * spool. */
bool job_abandon(struct job *job);
/* The spool is gone, and with it its claim on what was lent. */
void job_bury(struct job *job);

/* ---- job_round.c: one upstream transaction ---- */
/* The next one; none is left: job_finish. */
void job_next_round(struct job *job);
void job_charge(struct job *job);
/* Refused by the governor, with or without having asked it. */
void job_refuse(struct job *job, const struct verdict *verdict);
/* More limits apply than one charge can carry. */
void job_refuse_plan(struct job *job);
/* Is this recipient one of the round, by class and domain? */
bool job_is_of_round(const struct job *job, const struct recipient *r);
/* The first thing that went wrong is what the client hears of. */
void job_say(struct job *job, const struct settlement *s);

/* ---- job_apart.c: who goes first, and what waits apart ---- */
/* Before the request goes to the store: who its recipients are, if one of its limits wants to know. */
void job_name_look(struct job *job, const struct envelope *e);
void job_name_round(struct job *job);
/* people: of the verdict that granted it, or NULL. From here on the round and its people stand in the order
 * in which they were granted. */
void job_order_round(struct job *job, const struct charge_person *people);
/* The round was refused: does it wait by itself, and at which gate does the rest of the message? */
void job_part_round(struct job *job, const struct verdict *verdict, const char *why);

/* ---- job_end.c: what becomes of it ---- */
/* No recipient is open any more: keeps what is left, answers, books. */
void job_finish(struct job *job);
/* The client has waited long enough for an upstream that has the message: the spool takes it over. */
void job_take_over(struct job *job);
/* Over: cancels what is left and buries it. */
void job_end(struct job *job);
void job_set_state(struct job *job, enum job_state state);

#endif
