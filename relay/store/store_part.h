/* store_part: what the two implementations of store.h share: the table of their functions, and questions that
 * are answered later. */
#ifndef SENDGOV_STORE_STORE_PART_H
#define SENDGOV_STORE_STORE_PART_H

#include "policy/decide.h"
#include "relay/net/loop.h"
#include "relay/store/store.h"

struct store_ops {
    void (*free)(struct store *s);
    struct store_plan *(*prepare)(struct store *s, const struct store_conf *conf, struct err *err);
    void (*commit)(struct store *s, struct store_plan **plan);
    void (*discard)(struct store *s, struct store_plan **plan);
    void (*set_limits)(struct store *s, const struct limit_conf *limits, size_t n);
    void (*set_slot_caps)(struct store *s, const struct slot_cap *caps, size_t n);
    struct handle (*charge)(struct store *s, const struct charge_request *request, store_charge_fn *done,
        void *arg);
    void (*forget)(struct store *s, struct handle h);
    void (*refund)(struct store *s, const struct charge_request *request, const struct verdict *verdict);
    void (*note_late)(struct store *s, const char *detail);
    struct handle (*lease_take)(struct store *s, const struct lease_request *request, store_lease_fn *done,
        void *arg);
    void (*lease_give)(struct store *s, const struct lease_request *request, uint64_t lease);
    void (*lease_disown)(struct store *s, const struct lease_request *request, const char *identity);
    const char *(*identity)(const struct store *s);
    void (*become_guest)(struct store *s, store_pause_line_fn *on_pause, store_done_fn *done, void *arg);
    int (*return_home)(struct store *s, struct err *err);
    void (*hear_pause)(struct store *s, struct span line);
    int64_t (*now_ms)(const struct store *s);
    /* times are filled in */
    enum pause_result (*pause)(struct store *s, struct pause *pause, const struct pause_wider *wider);
    void (*resume)(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
        const char *reason, store_done_fn *done, void *arg);
    size_t (*pauses)(const struct store *s, const struct pause **pauses_out);
    const struct pause *(*pause_for)(const struct store *s, const struct charge_request *request);
    void (*warmup_change)(struct store *s, const struct limit_conf *limit, const char *route, bool back);
    uint32_t (*warmup_step)(const struct store *s, const char *route);
    void (*warmup_resume)(struct store *s, const char *route, store_done_fn *done, void *arg);
    void (*warmup_move)(struct store *s, const struct warmup_order *order, store_moved_fn *done, void *arg);
    void (*lower_cap)(struct store *s, const struct limit_conf *limit, const char *instance, uint64_t percent,
        int64_t for_ms);
    struct handle (*usage)(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done,
        void *arg);
    void (*open)(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg);
    void (*status)(const struct store *s, struct store_status *out);
};

#define REFUNDS_KNOWN 1024

struct store {
    const struct store_ops *ops;
    uint64_t refunded[REFUNDS_KNOWN]; /* sequence numbers of charges, each at number % REFUNDS_KNOWN */
};

enum ask_kind { ASK_CHARGE, ASK_LEASE, ASK_USAGE, ASK_DONE, ASK_MOVED };

/* One question under way. Its owner is the table below; it is freed by ask_answer. The limits that
 * ask_keep_request and ask_keep_usage were given stay good until then. */
struct ask {
    struct asks *asks;
    struct store *store;
    struct list link;
    struct handle handle;
    struct task task; /* for an answer that must wait for the end of the turn */
    /* store_redis_batch.c: among those that wait to be sent, or in the peers of the first */
    struct list peer;
    struct list peers; /* those that are charged with this one */
    enum ask_kind kind;
    union {
        store_charge_fn *charge;
        store_lease_fn *lease;
        store_usage_fn *usage;
        store_done_fn *done;
        store_moved_fn *moved;
    } fn;
    void *arg;
    bool forgotten; /* nobody wants the answer */

    /* the answer */
    struct verdict verdict; /* CHARGE */
    bool ok;
    enum store_error error;
    uint64_t lease;
    int64_t retry_after_ms;
    struct usage *usage; /* USAGE; owned */
    size_t n_usage, n_open;
    uint32_t step_before, step; /* MOVED */

    /* the question, as far as it must be kept */
    int64_t deadline_mono_ms;
    struct charge_request request;
    struct decide_line facts[CHARGE_LINES_MAX];
    unsigned tries;
    char instance[INSTANCE_MAX];
    char limit_name[128];
    enum limit_scope scope;
    bool growth;             /* DONE: of a hold, not of a pause of mail */
    struct warmup_move move; /* MOVED */
    uint64_t number;
};

struct asks {
    struct loop *loop;
    struct slots slots;
    struct list live;
};

void asks_init(struct asks *a, struct loop *loop);
/* Nobody wants any answer any more. */
void asks_forget(struct asks *a);
/* Drops what is under way without an answer. */
void asks_fini(struct asks *a);
struct ask *ask_new(struct asks *a, struct store *s, enum ask_kind kind, void *arg);
/* The question, and a reference to the owner of its limits. */
void ask_keep_request(struct ask *ask, const struct charge_request *request);
void ask_keep_usage(struct ask *ask, const struct usage *wanted, size_t n);
/* Calls back (unless forgotten) and frees. Only from the loop. */
void ask_answer(struct ask *ask);
/* The same at the end of the turn. */
void ask_answer_later(struct ask *ask);
/* NULL when it was answered or never was. */
struct ask *ask_get(const struct asks *a, struct handle h);

/* The limit whose steps are the route's warm-up; NULL: it has none. */
const struct limit_conf *store_warmup_limit(const struct limit_conf *limits, size_t n, const char *route);
/* The limit whose step a warm-up goes by for this instance: an hour cap by that of its day, any other by its
 * own. (decide_link_days() is the same for the lines of one charge.) */
const struct limit_conf *store_day_limit(const struct limit_conf *limits, size_t n,
    const struct limit_conf *limit, const char *instance);

#endif
