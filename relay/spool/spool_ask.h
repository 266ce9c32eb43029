/* spool_ask: one question on its way from the loop to the spool's thread and back.
 *
 * Whoever has it in hand alone may touch it: the loop until it is submitted and after it is reported, the
 * thread in between. What the thread has to say beyond the answer (counts, log lines) rides on the last
 * question of a batch, because log and metrics are the loop's. */
#ifndef SENDGOV_SPOOL_SPOOL_ASK_H
#define SENDGOV_SPOOL_SPOOL_ASK_H

#include "relay/base/buf.h"
#include "relay/net/worker.h"
#include "relay/spool/spool.h"
#include "relay/spool/spool_rows.h"
#include "relay/spool/spool_sound.h"

enum spool_ask_kind {
    ASK_OPEN, /* open, check, make good what an earlier run left */
    ASK_SCAN, /* the next messages after seq */
    ASK_LOOK, /* free space, and what can be done while nobody waits */
    ASK_ADD,
    ASK_TAKE,
    ASK_BODY, /* more of the body of a message that was taken */
    ASK_SETTLE,
    ASK_LIST,
    ASK_ORDER,
};

/* A message to be stored, and where its body is. */
struct spool_added {
    struct spool_message *message;
    struct blob_view body;
    uint64_t at_bytes; /* of the body: written in this transaction and those before */
};

/* What the thread must know of the settings. */
struct spool_terms {
    int64_t retry_max_ms, uncertain_ms;
    uint32_t uncertain_max;
    uint64_t size_limit_bytes;
};

enum spool_note_kind { NOTE_UNCERTAIN, NOTE_DAMAGED, NOTE_LOST, NOTE_ERROR, NOTE_INFO, NOTE_KIND_COUNT };
/* A line for the log. */
struct spool_note {
    struct list link;
    enum spool_note_kind kind;
    char id[SPOOL_ID_MAX];
    char why[256];
};

/* What is so after a batch. */
struct spool_facts {
    bool is_open;
    bool is_full;  /* the guard */
    char why[256]; /* not open, or full: in words */
    struct spool_counts counts;
    uint64_t free_bytes, needed_bytes;
    uint64_t damaged; /* since start */
    int64_t oldest_utc_ms;
    uint64_t highest_seq; /* of the opened file */
    int64_t commit_us;    /* -1: nothing was committed */
};

struct spool_ask {
    struct job job;
    struct task task; /* for an answer without the thread */
    struct spool *spool;
    struct handle handle;
    enum spool_ask_kind kind;
    enum spool_result result;
    bool is_through, wrote;
    union {
        spool_done_fn *done;
        spool_taken_fn *taken;
        spool_listed_fn *listed;
        spool_ordered_fn *ordered;
    } fn;
    void *arg;
    bool is_forgotten;

    struct spool_added *added; /* add, settle */
    size_t n_added;
    size_t adding;             /* the one whose body is being written */
    size_t committed_adding;   /* the same, after the last commit */
    uint64_t committed_bytes;
    struct spool_message *message; /* settle: as it is to be; take: as it is now (owned) */
    bool owns;                     /* settle: message, added messages and bodies are copies of ours */

    uint64_t seq;      /* take; scan, list and order: only larger ones */
    uint64_t last_seq; /* scan, order: how far this slice came */
    int64_t due_by_utc_ms;
    struct blob_pool *pool; /* take: NULL: without body */
    struct blob *blob;      /* the body so far */
    uint64_t body_at_bytes;
    int64_t body_bytes;
    struct buf body; /* what the thread read of it */
    struct body judged, judged_before; /* what was read, with body and without */
    struct spool_recipient *before; /* take: states before it */

    struct spool_filter filter; /* its texts are owned */
    enum spool_order order;
    char *actor, *why;
    struct spool_message **messages; /* list: owned */
    size_t n_messages, room;
    struct spool_brief *briefs; /* scan, order: owned, and their strings */
    size_t n_briefs, briefs_room;
    size_t recipients;      /* scan, list, order: read in this slice */
    size_t reached;         /* order: by the slices before */
    bool more;
    size_t busy; /* in this slice */

    struct spool_terms terms; /* open, look */
    struct spool_facts *facts; /* NULL: not the last of its batch */
    struct list notes;
};

struct spool_ask *spool_ask_new(struct spool *s, enum spool_ask_kind kind, void *arg);
void spool_ask_free(struct spool_ask **a);
/* Forgets what an attempt that did not count has gathered. */
void spool_ask_reset(struct spool_ask *a);
void spool_ask_drop_added(struct spool_ask *a);
void spool_ask_add_message(struct spool_ask *a, struct spool_message *m);
/* A copy of what is remembered of it: all messages of an order in memory would be without bound. */
void spool_ask_add_brief(struct spool_ask *a, const struct spool_message *m);
void spool_ask_set_filter(struct spool_ask *a, const struct spool_filter *filter);
void spool_note(struct list *notes, enum spool_note_kind kind, const char *id, const char *why);

/* Without the body. */
struct spool_message *spool_message_copy(const struct spool_message *from);

#endif
