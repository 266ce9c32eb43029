/* store_redis_part: the Redis store's state, shared by its files: store_redis.c (life, heartbeat, status),
 * store_redis_charge.c (charges, refunds, use), store_redis_batch.c (equal charges at once),
 * store_redis_pause.c, store_redis_lease.c, store_redis_warmup.c (holds, steps back, an operator's steps),
 * store_redis_clock.c, store_redis_guest.c. */
#ifndef SENDGOV_STORE_STORE_REDIS_PART_H
#define SENDGOV_STORE_STORE_REDIS_PART_H

#include "relay/store/guests.h"
#include "relay/store/journal.h"
#include "relay/store/pause_list.h"
#include "relay/store/redis_link.h"
#include "relay/store/store_part.h"

#define HEARTBEAT_MS 1000
#define LEASE_TTL_MS (6 * 60 * 1000)
#define LEASE_RENEW_MS (30 * 1000)
#define CHARGE_ERROR_MS 10000 /* so long a failed charge speaks for those to come, when none comes */
/* Without an accepted heartbeat for so long the node no longer counts as alive elsewhere. */
#define SILENCE_MS 5000

/* What Redis' time should be by this node's own monotonic clock. */
struct redis_clock {
    uint64_t time_us;         /* of the last answer that agreed; 0: none yet */
    int64_t sent_us, read_us; /* mono: the question left, the answer came */
    uint64_t credit_us;       /* so much more than our own time it may gain, and be believed */
    uint64_t credit_most_us;  /* an eightieth of the shortest period, 10 ms to 0.5 s */
    bool off;                 /* Redis' clock jumped: no decisions until it agrees again */
    unsigned agreed;          /* heartbeats in a row that did, while off */
};

void redis_clock_set_shortest(struct redis_clock *c, uint64_t shortest_us);
/* [earliest, latest] for a script that starts within the next slack_ms. 0, 0 when nothing is known. */
void redis_clock_bounds(const struct redis_clock *c, int64_t now_mono_us, int64_t slack_ms,
    uint64_t *earliest_out, uint64_t *latest_out);
/* By now at least, if the clock runs on; 0: unknown. */
uint64_t redis_clock_now_us(const struct redis_clock *c, int64_t now_mono_us);
/* Takes an answer in. False: it does not agree (then c->off is true). */
bool redis_clock_learn(struct redis_clock *c, uint64_t time_us, int64_t sent_mono_us, int64_t read_mono_us);
/* The operator vouches for Redis' time: whatever comes next is believed. */
void redis_clock_trust(struct redis_clock *c);
/* For the process after this one: a jump must not be forgotten because somebody starts the daemon anew. */
void redis_clock_save(const struct redis_clock *c, struct journal *j);
void redis_clock_restore(struct redis_clock *c, const struct journal *j, int64_t now_mono_us);

enum lease_state {
    LEASE_HELD,
    LEASE_GIVING, /* given back here; Redis is to be told */
    LEASE_DISOWNED, /* none of ours: all that former runs held is to be given back */
    LEASE_GIVEN,  /* Redis knows; answers to earlier tellings are still to come */
};

struct lease {
    struct list link;
    struct redis_store *store;
    enum lease_state state;
    unsigned n_telling; /* answers of Redis to its giving that are still to come */
    uint64_t number;
    enum limit_scope scope;
    char *instance, *limit_name;
    char *identity; /* DISOWNED: all runs of this one's; NULL: former runs of this node */
};

struct redis_store {
    struct store base;
    struct loop *loop;
    struct dialer *dialer;
    struct metrics *metrics;
    char *node;
    struct store_conf conf; /* own copies of its strings */
    struct redis_link *link;
    struct journal *journal;
    struct asks asks;
    struct list gathered; /* charges of this turn of the loop, not yet sent */
    struct task gather_task;
    struct command command;
    struct buf prefix;
    char run[17];
    struct redis_clock clock;
    enum store_error charge_error; /* of the last charge; STORE_OK: it was decided */
    int64_t charge_error_mono_ms;
    bool time_doubted; /* it lies before charges this node knows of: not believed until it has passed them */

    const struct limit_conf *limits;
    size_t n_limits;
    struct buf slot_caps;   /* as store_slot_caps packs them */
    struct buf caps;        /* as store_caps packs them */
    char caps_hash[17];
    char caps_sent[17];     /* the hash Redis has the caps of */

    struct timer heart;
    bool beating;           /* a heartbeat is under way */
    bool met;               /* a heartbeat of this process was accepted once */
    bool accepted;          /* the last one was, on this connection */
    int64_t beat_mono_us;   /* the one under way was sent */
    int64_t accepted_mono_ms;
    uint64_t pauses_version;
    uint64_t seq;
    int64_t open_at_ms;
    unsigned nodes;
    char differs[256];
    uint64_t heard_ms; /* charged_ms of the last heartbeat */

    char *state_folder;
    char *own_node; /* not NULL: this process is a guest, and this was its name before */
    struct ask *guest_ask; /* who waits until the guest is known */
    store_pause_line_fn *on_pause; /* of a guest: who hears of its pauses */
    void *on_pause_arg;

    enum store_error error;
    bool noted; /* the state was logged once: from then on, only what changes it is */
    char detail[256];

    struct pause_list pauses;
    struct task pauses_save;  /* at the end of the turn, however many there were */
    int64_t undated_since_ms; /* pauses from then on have the local calendar's time; 0: none has */
    struct list leases;
    uint64_t last_lease;
    /* Of an upgrade: the identity before this one, and the last slot that was asked for under it. */
    char former_uuid[JOURNAL_UUID_MAX];
    uint64_t former_lease;
    struct guests dead_guests; /* of this node, as it began */
    struct list changes;    /* of warm-ups, that Redis has not confirmed */
    uint64_t last_change;
    int64_t renewed_mono_ms;
};

struct redis_store *redis_store_of(const struct store *s);
struct codec_node redis_store_node(const struct redis_store *r);
/* True when charges can be asked: connected, introduced, one of a kind, and in time with Redis.
 * Else *error_out. */
bool redis_store_is_ready(const struct redis_store *r, enum store_error *error_out);
/* Sends what was put into r->command. */
bool redis_store_send(struct redis_store *r, link_reply_fn *done, void *arg);
/* Do charges fail although heartbeats do not? The error, or STORE_OK. */
enum store_error redis_store_charge_error(const struct redis_store *r);
/* Something failed that is not the connection: for status, log and metric. STORE_OK: all is well again. */
void redis_store_note(struct redis_store *r, enum store_error error, const char *detail);
/* Counts a question without a decision, a heartbeat or an attempt to connect. */
void redis_store_count_error(struct redis_store *r, enum store_error error);
/* A heartbeat as soon as none is under way. */
void redis_store_beat(struct redis_store *r);
/* Redis time in ms as this node believes it; local calendar time when it has no idea. */
int64_t redis_store_now_ms(const struct redis_store *r);
void redis_store_ignore(void *arg, const struct redisReply *reply, enum store_error error);

/* From now on questions are those of another run of the node. */
void redis_store_new_run(struct redis_store *r);
/* A heartbeat at once, under a new identity, with the caps; redis_store_guest_heard hears what came of it. */
void redis_store_introduce(struct redis_store *r);

/* store_redis_guest.c */
void redis_store_become_guest(struct store *s, store_pause_line_fn *on_pause, store_done_fn *done, void *arg);
int redis_store_return(struct store *s, struct err *err);
/* Reads which guests of this node have died, for nobody else of it lives. */
void redis_store_init_guests(struct redis_store *r);
/* Nothing is to be given back of this one any more: it need not be remembered. */
void redis_store_forget_guest(struct redis_store *r, const char *identity);
/* What came of the introduction. */
void redis_store_guest_heard(struct redis_store *r, enum store_error error);

/* store_redis_batch.c */
void redis_store_batch_init(struct redis_store *s);
/* Sends the charge at the end of this turn, together with its like. */
void redis_store_gather(struct redis_store *s, struct ask *ask);

/* store_redis_charge.c */
/* Numbered ask->verdict.seq; times > 1: also the times - 1 that follow it, which are equal. done
 * gets the ask. */
bool redis_store_send_charge(struct redis_store *s, struct ask *ask, unsigned times, link_reply_fn *done);
void redis_store_on_charge(void *arg, const struct redisReply *reply, enum store_error error);
/* The verdict of a charge that got no answer. */
void redis_store_charge_failed(struct redis_store *s, struct ask *ask, enum store_error error);
/* What is to be remembered of a grant, before anybody hears of it: the highest number and the steps. */
void redis_store_note_granted(struct redis_store *s, const struct ask *ask, const struct charge_reply *reply,
    uint64_t seq);
struct handle redis_store_charge(struct store *s, const struct charge_request *request, store_charge_fn *done,
    void *arg);
void redis_store_refund(struct store *s, const struct charge_request *request, const struct verdict *verdict);
void redis_store_lower_cap(struct store *s, const struct limit_conf *limit, const char *instance,
    uint64_t percent, int64_t for_ms);
struct handle redis_store_usage(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done,
    void *arg);

/* store_redis_warmup.c */
void redis_store_warmup_change(struct store *s, const struct limit_conf *limit, const char *route, bool back);
uint32_t redis_store_warmup_step(const struct store *s, const char *route);
void redis_store_warmup_move(struct store *s, const struct warmup_order *order, store_moved_fn *done,
    void *arg);
/* Tells Redis again what it has not confirmed. */
void redis_store_tend_changes(struct redis_store *r);
void redis_store_free_changes(struct redis_store *r);

/* store_redis_pause.c */
/* Reads what the node remembers. */
void redis_store_init_pauses(struct redis_store *r);
/* Writes all, or tells the other process, at the end of what is to be done this turn. */
void redis_store_save_pauses(struct redis_store *r);
/* Writes what is not written yet. */
void redis_store_flush_pauses(struct redis_store *r);
/* The same, and frees. */
void redis_store_fini_pauses(struct redis_store *r);
void redis_store_hear_pause(struct store *s, struct span line);
int64_t redis_store_time_ms(const struct store *s);
enum pause_result redis_store_pause(struct store *s, struct pause *pause, const struct pause_wider *wider);
void redis_store_resume(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg);
void redis_store_warmup_resume(struct store *s, const char *route, store_done_fn *done, void *arg);
size_t redis_store_pauses(const struct store *s, const struct pause **pauses_out);
const struct pause *redis_store_pause_for(const struct store *s, const struct charge_request *request);
/* The list a heartbeat brought. */
void redis_store_sync_pauses(struct redis_store *r, const struct redisReply *reply,
    const struct heartbeat_reply *beat);
/* Ends what has ended, and tells Redis what it does not have. */
void redis_store_tend_pauses(struct redis_store *r);

/* store_redis_lease.c */
struct handle redis_store_lease_take(struct store *s, const struct lease_request *request,
    store_lease_fn *done, void *arg);
void redis_store_lease_give(struct store *s, const struct lease_request *request, uint64_t number);
void redis_store_lease_disown(struct store *s, const struct lease_request *request, const char *identity);
/* Renews what is due, and gives back what Redis has not heard of. now: whatever is due. */
void redis_store_tend_leases(struct redis_store *r, bool now);
/* What is held was said again under the own identity: it is no longer that of another one, which Redis is
 * told until it has heard. */
void redis_store_forswear_leases(struct redis_store *r, const char *identity);
void redis_store_free_leases(struct redis_store *r);

#endif
