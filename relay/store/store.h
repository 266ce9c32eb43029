/* store: the counters and pauses all nodes share, behind one interface with two implementations: Redis
 * (store_redis.c over redis_link.c) and memory (store_memory.c: tests and the model).
 *
 * Every question has a deadline and gets exactly one answer, never during the asking call. A question
 * that Redis cannot decide is answered VERDICT_NO_DECISION; there is no local allowance. A late reply is
 * never mis-paired: the connection is dropped with everything that was under way.
 *
 * A question's limits need not be kept alive by the asker: the store does that through their owner
 * (base/owner.h), until Redis has answered or the connection is gone, also when nobody wants the answer any
 * more. A reload may come between and take the configuration away from everybody else.
 *
 * The store also keeps what the node must not forget, in `state/store.journal`: its node id, the epoch it
 * last saw, the last acknowledged sequence number, and the pauses in force. So a pause survives a restart and
 * the loss of Redis, and lost memory is recognised.
 */
#ifndef SENDGOV_STORE_STORE_H
#define SENDGOV_STORE_STORE_H

#include "policy/charge.h"
#include "policy/warmup.h"
#include "relay/base/err.h"
#include "relay/base/slots.h"
#include "relay/base/span.h"
#include "relay/store/store_conf.h"

struct store;
struct store_plan;
struct loop;
struct dialer;
struct metrics;

struct store_setup {
    struct loop *loop;
    struct dialer *dialer;
    struct metrics *metrics;
    const char *node;         /* name of this node */
    const char *state_folder;
    bool replaces; /* another process of this node lives, and perhaps others that it took the place of */
};

/* The answer of a charge; verdict is valid during the call only. */
typedef void store_charge_fn(void *arg, const struct verdict *verdict);
/* ok = false: not known to have happened; error says why. */
typedef void store_done_fn(void *arg, bool ok, enum store_error error);

struct store *store_redis_new(const struct store_setup *setup, const struct store_conf *conf,
    struct err *err);
/* Manual clock, in ms; starts at 1 700 000 000 000. */
struct store *store_memory_new(struct loop *loop);
void store_memory_advance(struct store *s, int64_t ms);
/* Counts refunds and void charges there, as the Redis store does. */
void store_memory_count(struct store *s, struct metrics *metrics);
void store_free(struct store **s);
/* A reload in two steps. prepare loads what may be missing and changes nothing; NULL and err when it is.
 * commit cannot fail: it reconnects when the connection settings changed. conf is copied. */
struct store_plan *store_prepare(struct store *s, const struct store_conf *conf, struct err *err);
void store_commit(struct store *s, struct store_plan **plan);
void store_discard(struct store *s, struct store_plan **plan);

/* The limits in force on this node now, for the heartbeat: nodes with different configuration
 * agree on the lowest. Call at start and after every reload; the array must live until the next call. */
void store_set_limits(struct store *s, const struct limit_conf *limits, size_t n);

/* The most connections a mailbox or a route may have over all nodes, by this node's configuration: of these,
 * too, the lowest holds. Nothing is kept of what is passed; it is told with the next store_set_limits. */
struct slot_cap {
    enum limit_scope scope;
    const char *instance;
    uint64_t cap;
};
void store_set_slot_caps(struct store *s, const struct slot_cap *caps, size_t n);

struct handle store_charge(struct store *s, const struct charge_request *request, store_charge_fn *done,
    void *arg);
/* The answer is not wanted any more; whatever was charged stays charged (and is counted as void). */
void store_forget(struct store *s, struct handle h);
/* Gives back a GRANTED charge of which no byte was offered. Once per charge: asked again, it does nothing
 * (until a thousand others were charged). Never retried. Counted when a limit took it back. */
void store_refund(struct store *s, const struct charge_request *request, const struct verdict *verdict);
/* A grant came too late to be used: while that goes on charges fail, and the status says so. */
void store_note_late(struct store *s, const char *detail);

/* A slot of a `concurrency` limit, taken before an upstream connection is opened, renewed by the store while
 * it is held, and freed on a proven close. Crash: it expires by itself (6 min). The answer: granted, with the
 * number by which it is given back, or not. cap = LIMIT_UNLIMITED needs no call. */
struct lease_request {
    enum limit_scope scope; /* mailbox or route */
    const char *instance;
    const char *limit_name;
    uint64_t cap;
};
typedef void store_lease_fn(void *arg, bool granted, uint64_t lease, enum store_error error,
    int64_t retry_after_ms);
struct handle store_lease_take(struct store *s, const struct lease_request *request, store_lease_fn *done,
    void *arg);
void store_lease_give(struct store *s, const struct lease_request *request, uint64_t lease);
/* What former runs of this node held is free, for their processes are dead: told as soon as Redis can be.
 * identity: the same for all runs of another node (store_identity), whose process is known to be dead; NULL:
 * this node, and its guests, when nobody lives who might be one. */
void store_lease_disown(struct store *s, const struct lease_request *request, const char *identity);

/* An upgrade in place: from now on this process is a guest of the group, a node with a name and an identity
 * of its own, and the state folder is free for the process that takes its place. done(ok) when all nodes can
 * know of it, with all slots it holds; otherwise call store_return. on_pause: a pause this process imposes
 * from now on, as a line for store_hear_pause of the other. */
typedef void store_pause_line_fn(void *arg, const char *line);
void store_become_guest(struct store *s, store_pause_line_fn *on_pause, store_done_fn *done, void *arg);
/* By what the group tells this node's process from others; "" where there is no group. */
const char *store_identity(const struct store *s);
#define STORE_IDENTITY_MAX 33
/* The other process failed: the node's own identity again. -1: the state folder cannot be had; the process
 * goes on as a guest. */
int store_return(struct store *s, struct err *err);
/* A pause the process met whose place this one has taken. */
void store_hear_pause(struct store *s, struct span line);

/* By what pauses are dated and end: Redis' time as this node knows it, the local calendar's
 * while it does not. */
int64_t store_now_ms(const struct store *s);
/* From now on for so long (for_ms 0: until somebody resumes it); the store fills in the times. Local at once
 * (this node stops now), then Redis, repeated until Redis has it. Where there is no place for it, on this
 * node or in Redis, who is wider is stopped instead; wider NULL: nobody else may be. *pause is what this node
 * has in force afterwards, with its times and cause: where one stands already, that one. PAUSE_NO_PLACE
 * leaves it alone. */
enum pause_result store_pause(struct store *s, struct pause *pause, int64_t for_ms,
    const struct pause_wider *wider);
/* done after Redis has it too; refused while Redis is away. SCOPE/instance must name a pause in force. */
void store_resume(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg);
/* The pauses this node knows, holds of warm-ups among them, newest first; returns how many there are. Valid
 * until the next turn. */
size_t store_pauses(const struct store *s, const struct pause **pauses_out);
/* The pause that stops this request, as far as this node knows; NULL: none. */
const struct pause *store_pause_for(const struct store *s, const struct charge_request *request);

/* A reply that was not clean holds the warm-up day of this route (throttle), or steps it back (block). */
void store_warmup_hold(struct store *s, const struct limit_conf *limit, const char *route);
void store_warmup_back(struct store *s, const struct limit_conf *limit, const char *route);
/* An operator holds a warm-up by a pause of its growth (store_pause, PAUSE_GROWTH), which is kept and told
 * like any other; this ends it. done as for store_resume. */
void store_warmup_resume(struct store *s, const char *route, store_done_fn *done, void *arg);
/* An operator puts it on another step, at once. done after Redis has it; refused while Redis is away. */
struct warmup_order {
    const struct limit_conf *limit; /* whose steps they are */
    struct owner owner;             /* of the limit */
    const char *route;
    struct warmup_move move;
};
typedef void store_moved_fn(void *arg, bool ok, enum store_error error, uint32_t before, uint32_t step);
void store_warmup_move(struct store *s, const struct warmup_order *order, store_moved_fn *done, void *arg);
/* The upstream's word that its own cap is lower than ours: for so long, the cap in force of this limit
 * becomes a share of what the instance used of it until now (at least 1). */
void store_lower_cap(struct store *s, const struct limit_conf *limit, const char *instance, uint64_t percent,
    int64_t for_ms);
/* The step of the route's warm-up as last heard; 1 when nothing was heard. */
uint32_t store_warmup_step(const struct store *s, const char *route);

/* Current use, for status pages: fills used/cap/retry of `n` (limit, instance) pairs. */
struct usage {
    const struct limit_conf *limit;
    struct owner owner;   /* in: of the limit */
    char instance[INSTANCE_MAX];
    uint64_t cap;         /* in: as configured; out: in force */
    uint64_t wanted;      /* in: how much is to pass; 0 means one */
    uint64_t used;        /* out; of a rate: what is in use of its burst, and cap is the burst */
    int64_t frees_after_ms; /* out: until that much would pass; 0 now, -1 unknown */
    /* out: what lowers the cap, LIMIT_UNLIMITED where nothing does: the lowest of all nodes (of a rate, of
     * its bursts), and the upstream's word, until when (0: it said nothing). The period in force is the
     * longest of all nodes. */
    uint64_t nodes_cap, upstream_cap, period_ms;
    int64_t upstream_until_ms;
    /* out, warmup only, and as the next charge will find them: after midnight the day has turned. Of an hour
     * cap they are those of its day, whose step rules both. */
    uint32_t warmup_step;
    uint64_t warmup_peak;
    bool warmup_held;
    uint64_t usual; /* out, spike only */
};
typedef void store_usage_fn(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n);
struct handle store_usage(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done,
    void *arg);

/* The operator says that the counters may be trusted although memory was lost. */
void store_open(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg);

struct store_status {
    bool up;                 /* the last script call succeeded, within the last heartbeats */
    enum store_error error;  /* why not */
    char detail[256];        /* text of the last error, without secrets */
    /* heartbeats succeed and charges fail: of the last of them; STORE_OK: no */
    enum store_error charge_error;
    int64_t closed_for_ms;   /* counters lost: nothing leaves for so long; 0: open; -1: not known */
    int64_t redis_time_ms;   /* of the last answer */
    unsigned nodes;          /* alive, this one included */
    /* nodes have different limits: the lowest are in force, and this is one of them; "": they do not */
    char differs[256];
    /* Another number than before: pauses changed, or an operator moved a warm-up, on whatever node. */
    uint64_t changes;
    char node[64];
};
void store_status(const struct store *s, struct store_status *out);

#endif
