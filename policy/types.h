/* types: the words of the governor, shared by policy, configuration and store.
 *
 * Pure data: no I/O, no clock. Each enum has its name table in types.c. */
#ifndef SENDGOV_POLICY_TYPES_H
#define SENDGOV_POLICY_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a limit counts for: each instance of the scope (each mailbox, each client ...) has its own counter. */
enum limit_scope {
    SCOPE_ROUTE,
    SCOPE_MAILBOX,
    SCOPE_CLIENT,
    SCOPE_SENDER,
    SCOPE_SENDER_DOMAIN,
    SCOPE_RECIPIENT_DOMAIN, /* never paused: a charge names it only where a limit counts it */
    SCOPE_COUNT,
};

enum limit_unit {
    UNIT_MESSAGES,   /* one per upstream transaction */
    UNIT_RECIPIENTS, /* one per recipient of it */
    UNIT_EXTERNAL,   /* one per external recipient: what Microsoft's tenant limits count */
    UNIT_BYTES,      /* content bytes, once per transaction */
    UNIT_NEW,        /* one per recipient whom this instance has not mailed lately */
    UNIT_COUNT,
};

enum limit_kind {
    LIMIT_WINDOW,      /* at most N in every interval of length L */
    LIMIT_RATE,        /* N per period evenly, with a small burst (GCRA) */
    LIMIT_CONCURRENCY, /* N upstream connections at once, over all nodes */
    LIMIT_WARMUP,      /* a window of 24 h (or the hour cap derived from it) whose N comes from the curve */
    LIMIT_SPIKE,       /* a window of 1 h whose N is a multiple of what is usual */
    LIMIT_KIND_COUNT,
};

const char *limit_scope_to_str(enum limit_scope s);
const char *limit_unit_to_str(enum limit_unit u);
const char *limit_kind_to_str(enum limit_kind k);

enum limit_mode {
    MODE_ENFORCE, /* what does not fit is held */
    MODE_SHADOW,  /* counted like any other, also beyond its cap; holds nothing, tells what it would have */
    MODE_COUNT,
};
const char *limit_mode_to_str(enum limit_mode m);

#define LIMIT_UNLIMITED UINT64_MAX
#define WINDOW_BUCKETS 64
#define CHARGE_LIFETIME_MS 1000 /* and at most a fortieth of the shortest window */

enum curve_kind { CURVE_GEOMETRIC, CURVE_TABLE, CURVE_LINEAR, CURVE_COUNT };

/* A warm-up schedule. growth in thousandths (1400 = 1.4): no floating point in a decision. */
struct schedule_conf {
    const char *name;
    enum curve_kind curve;
    uint64_t first;          /* geometric, linear: cap of step 1, external recipients per 24 h */
    uint32_t growth_milli;   /* geometric */
    uint64_t increment;      /* linear: what each step adds */
    const uint64_t *table;   /* table: cap of step 1, 2, ... */
    size_t n_table;
    uint64_t ceiling;        /* no step goes above; LIMIT_UNLIMITED: none */
    uint32_t use_percent;    /* the peak of a day must have reached this share of its cap to advance */
    /* What days without mail cost; 0 or LIMIT_UNLIMITED days: nothing. */
    uint64_t decay_days;      /* one step for each so many of them in a row */
    uint64_t restart_days;    /* after so many it begins again ... */
    uint32_t restart_percent; /* ... at this share of the step it was at; 0: at step 1 */
};

/* One limit. A name is unique in the configuration; Redis keys use the name, never the value. */
struct limit_conf {
    const char *name;
    enum limit_kind kind;
    enum limit_scope scope;
    enum limit_unit unit;
    enum limit_mode mode; /* a warm-up always enforces */
    uint64_t value;     /* N; the derived caps of a warm-up are computed from the schedule; spike: floor */
    uint64_t period_ms; /* L */
    uint64_t burst;     /* rate only, >= 1 */
    int64_t known_ms;   /* UNIT_NEW only: "lately"; whole hours of it count */
    uint32_t factor_milli; /* spike only: times the usual, in thousandths, 1000 .. 100 000 */
    const struct schedule_conf *schedule; /* warmup only */
    bool hour_cap;      /* warmup only: this is the derived hour cap, max(10, day / 8) */
    /* NULL, or the one instance of its scope it applies to (a route's profile); of recipient domains also
     * "*.x", each domain below x */
    const char *only;
    const char *route;  /* NULL, or the one route it applies to */
    const char *source; /* "file:line" where it was set, for explanations */
    const char *origin; /* NULL, or what made it: "profile m365-submission", "warmup new-tenant" */
};

/* An enhanced status code (RFC 3463): class.subject.detail. */
struct enhanced {
    uint8_t class; /* 2, 4, 5; 0: there is none */
    uint16_t subject;
    uint16_t detail;
};

/* Reply classes, from design: what a reply of the upstream means for the mail that follows. */
enum reply_class {
    CLASS_OK,
    CLASS_BLOCK_TENANT,    /* pause external mail of the route */
    CLASS_BLOCK_CONNECTOR, /* pause the whole route (also: block of our IP) */
    CLASS_BLOCK_SENDER,    /* pause that sender */
    CLASS_BLOCK_DOMAIN,    /* pause that sender domain */
    CLASS_BUDGET,          /* the tenant's own cap was lower: trust the reply */
    CLASS_THROTTLE,        /* slow down */
    CLASS_AUTH,            /* pause that mailbox */
    CLASS_TEMPORARY,       /* any other 4xx, or a reply that is not SMTP: this message later */
    CLASS_MESSAGE,         /* any other 5xx: this message or recipient only */
    CLASS_COUNT,
};
const char *reply_class_to_str(enum reply_class c);

/* What a pause stops. */
enum pause_extent {
    PAUSE_EXTERNAL,
    PAUSE_ALL,
    PAUSE_GROWTH, /* no mail: an operator holds the warm-up, it does not advance */
    PAUSE_EXTENT_COUNT,
};
const char *pause_extent_to_str(enum pause_extent e);

#define INSTANCE_MAX 330 /* bytes of a scope instance's name: an address at most */
#define PAUSE_TEXT_MAX 512

/* A pause in force. Lives in Redis and in the node's own state. */
struct pause {
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    enum pause_extent extent;
    enum reply_class class; /* CLASS_OK: an operator's pause */
    int64_t since_utc_ms;        /* both by the store's time (store_now_ms), which no node's clock is */
    int64_t until_utc_ms;        /* 0: until somebody resumes it */
    char reason[PAUSE_TEXT_MAX]; /* the reply that caused it, or the operator's words; sanitised */
    char actor[64];              /* node name, or "uid=0" of the control socket */
};

/* Who is stopped instead where there is no place for a pause. */
struct pause_wider {
    char client[INSTANCE_MAX]; /* "": none is known */
    char route[INSTANCE_MAX];
};

enum pause_result {
    PAUSE_SET,      /* in force from now on */
    PAUSE_STANDS,   /* one that ends no earlier, or hardly, is in force */
    PAUSE_NO_PLACE, /* nothing was paused */
};

#endif
