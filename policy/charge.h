/* charge: one question to the governor and its answer.
 *
 * A request lists every limit that applies to one upstream transaction, grouped by scope instance
 * (a scope's limits are one value in Redis). The answer grants g of n recipients, all limits charged for
 * g, or nothing charged at all. Pure data, made by plan_charge(), decided by charge.lua or by the
 * in-memory store.
 */
#ifndef SENDGOV_POLICY_CHARGE_H
#define SENDGOV_POLICY_CHARGE_H

#include "policy/types.h"
#include "relay/base/owner.h"

#define CHARGE_SCOPES_MAX SCOPE_COUNT
#define CHARGE_LINES_MAX 24 /* limits over all scopes of one request */
_Static_assert(CHARGE_LINES_MAX <= 32, "verdict has a bit for each line");

/* What one limit is asked for: fixed + each * g. */
struct charge_line {
    const struct limit_conf *limit;
    uint64_t cap;      /* N in force as this node knows it */
    uint64_t next_cap; /* warmup: the cap of the next step */
    uint32_t step;     /* warmup: the step `cap` belongs to; a store that knows better takes that */
    uint64_t fixed;
    uint32_t each;
    uint8_t new_bit; /* UNIT_NEW: its bit in new_of, and the cost goes by people; else 0 */
};

#define CHARGE_NEW_MAX 4 /* limits of UNIT_NEW in one request */

/* One recipient, for limits of UNIT_NEW. */
struct charge_person {
    uint64_t hash;  /* known_person() */
    uint8_t new_of; /* the lines to which it is new; filled in by the store that grants */
};

struct charge_scope {
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    size_t first_line, n_lines; /* in charge_request.lines */
};

struct charge_request {
    uint32_t recipients;    /* n */
    uint32_t least;         /* min: the smallest useful grant, 1..n */
    bool external;          /* external pauses stop it */
    bool look;              /* decide and tell, take nothing */
    uint32_t lifetime_ms;   /* from the charge to the first byte of MAIL */
    /* all instances that can be paused, with or without limits */
    struct charge_scope scopes[CHARGE_SCOPES_MAX];
    size_t n_scopes;
    struct charge_line lines[CHARGE_LINES_MAX];
    size_t n_lines;
    /* One for each recipient, where a line has UNIT_NEW and a store is asked; else NULL. The asker's; a store
     * keeps a copy. For a refund they stand in the order of the grant. */
    struct charge_person *people;
    struct owner owner; /* of the limits; a store keeps a reference until it has the answer */
};

enum verdict_kind {
    VERDICT_GRANTED,     /* granted >= least */
    VERDICT_OVER,        /* a limit binds; nothing was taken */
    VERDICT_PAUSED,
    VERDICT_CLOSED,      /* counters were lost; nothing leaves until retry_at */
    VERDICT_IMPOSSIBLE,  /* least can never pass the cap: a permanent refusal (or, with several recipients,
                          * fewer at a time) */
    VERDICT_NO_DECISION, /* Redis could not decide: nothing may leave */
    VERDICT_KIND_COUNT,
};

/* Why there was no decision; each its own metric label and alert text. */
enum store_error {
    STORE_OK,
    STORE_DOWN,      /* not connected */
    STORE_TIMEOUT,
    STORE_PROTOCOL,  /* RESP that makes no sense, or over the bounds */
    STORE_OOM,
    STORE_READONLY,
    STORE_NOREPLICAS,
    STORE_MASTERDOWN,  /* a replica that lost its master */
    STORE_NOMASTER,    /* no majority of the Sentinels names this Redis as master */
    STORE_MOVED,       /* a cluster has the keys elsewhere, or moves them just now */
    STORE_CLUSTERDOWN, /* a cluster that has no owner for the keys */
    STORE_MISCONF,
    STORE_LOADING,
    STORE_BUSY,
    STORE_NOAUTH,    /* also WRONGPASS */
    STORE_NOPERM,
    STORE_WRONGTYPE,
    STORE_CLOCK,     /* Redis time jumped */
    STORE_SCHEMA,    /* keys of a newer version */
    STORE_LATE,      /* the script ran after not_after */
    STORE_OTHER,
    STORE_ERROR_COUNT,
};
const char *verdict_kind_to_str(enum verdict_kind k);
const char *store_error_to_str(enum store_error e);

struct verdict {
    enum verdict_kind kind;
    enum store_error error;  /* NO_DECISION only */
    uint32_t granted;        /* g */
    uint64_t seq;            /* GRANTED: with time_us the charge's identity, for a refund */
    uint64_t time_us;        /* Redis time of the decision; 0 without one */
    const struct charge_person *people; /* GRANTED, of a request with people: the same with new_of; valid in
                                         * the call that brings the verdict */
    int64_t sent_mono_ms;    /* local clock when the request left: the lifetime counts from here */
    /* OVER, IMPOSSIBLE: the limit that binds */
    const struct limit_conf *limit;
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    uint64_t used, cap;
    /* GRANTED: which lines in shadow would have held it, or let fewer recipients pass than are granted; bit i
     * is line i of the request */
    uint32_t would_hold, would_shorten;
    int64_t retry_after_ms;  /* OVER, PAUSED, CLOSED: when one more would pass; -1 unknown */
    struct pause pause;      /* PAUSED */
};

#endif
