/* spool: messages on stable storage, and nothing about when they leave.
 *
 * One SQLite database in one folder (WAL, synchronous=FULL), used by one helper thread alone. What is asked
 * in one turn is carried out in one transaction: group commit. Every question gets exactly one answer, on
 * the loop, never during the asking call, and only after the commit was synced. After spool_forget it gets
 * none (what was asked is carried out all the same).
 *
 * The spool is in one of five states. LOADING: integrity check and scan go on; READY; FULL: too little free
 * space or inodes to accept (the guard), everything else works; SICK: a read, write or sync failed, or the
 * database is damaged; nothing is accepted or taken, it opens anew every few seconds until that works;
 * CLOSED. A sync that failed is never taken for one that succeeded later.
 *
 * A damaged database is put aside (spool.db.damaged-TIME, kept for the operator); every message whose rows
 * carry the right checksum moves to a new one, what does not is counted and named in the log. The new one
 * may hold an older state of a message, so nothing of it goes at once: its recipients are uncertain. A
 * single damaged message moves to the table `damaged` and is in nobody's way. So does one whose checksums
 * are right and which no accepted message can be like: whoever may write the file is not trusted with what
 * the upstream hears (spool_sound.h).
 *
 * Under a new process of the node the old one keeps the spool until it has drained. Until then the spool is
 * LOADING, asks for the lock again and again, and takes messages already: they are stored first of all when
 * it opens, or FAILED when that takes longer than the other can need.
 *
 * After SICK: a message somebody has in flight (a take that was DONE, and no settlement that was) is left to
 * him and not found again; all others are found again, in the state they have on disk, so whoever remembers
 * them replaces what he knew. What was answered NO_SPACE or FAILED is not done: added messages are erased,
 * taken ones wait again. A settlement that FAILED may be done or not: settle again; a message to be removed
 * that is gone already is DONE. A seq that was remembered and is not found again is GONE at its next take.
 *
 * Memory: bodies are never whole in memory because of the spool. On the way in the thread reads the blob
 * where it is; on the way out it comes in chunks. Of what is scanned or ordered only briefs are kept, a few
 * thousand recipients are read at a time, and a list ends after as many. */
#ifndef SENDGOV_SPOOL_SPOOL_H
#define SENDGOV_SPOOL_SPOOL_H

#include "relay/base/err.h"
#include "relay/base/slots.h"
#include "relay/spool/spool_conf.h"
#include "relay/spool/spool_message.h"

struct spool;
struct loop;
struct metrics;

/* FULL: nothing is added, what waits leaves; so too while the open files are not the ones in the folder. */
enum spool_state { SPOOL_CLOSED, SPOOL_LOADING, SPOOL_READY, SPOOL_FULL, SPOOL_SICK, SPOOL_STATE_COUNT };
const char *spool_state_to_str(enum spool_state s);

enum spool_result {
    SPOOL_DONE,      /* and synced */
    SPOOL_NO_SPACE,  /* 452 4.3.1 */
    SPOOL_FAILED,    /* 451 4.3.0; the state says why */
    SPOOL_GONE,      /* no such message (any more) */
    SPOOL_BUSY,      /* it is in flight: not now */
    SPOOL_DAMAGED,   /* this message cannot be read: it was put aside, and said so */
    SPOOL_RESULT_COUNT,
};
const char *spool_result_to_str(enum spool_result r);

/* What is remembered in memory of a message that waits. Strings are valid during the call only. */
struct spool_brief {
    uint64_t seq;
    const char *client, *route, *mailbox, *class; /* mailbox "": none */
    const char *sender;                           /* canonical, "" is the null sender */
    enum recipient_class recipients_are;
    const char *domain;     /* of all recipients; "": they have several */
    uint32_t recipients;    /* that may be tried when due */
    uint64_t content_bytes; /* with the trace header */
    int64_t due_utc_ms;     /* INT64_MAX: nothing may be tried by itself (held or parked) */
};
/* Points into m, which has recipients. */
void spool_brief_of(const struct spool_message *m, struct spool_brief *out);

struct spool_setup {
    struct loop *loop;
    struct metrics *metrics;
    bool inherits; /* another process has the lock and will give it up */
    /* On the loop. found: a message of an earlier run (or one that came back after SICK), while LOADING, in
     * order of seq. changed: the state is another one (the end of the scan is one). */
    void (*found)(void *arg, const struct spool_brief *brief);
    void (*changed)(void *arg);
    void *arg;
};

/* Checks the folder (made when missing, mode 0700), its owner and file system (a network file system is
 * refused: its locks and syncs cannot be trusted) and locks it, unless it is to be inherited: two daemons on
 * one spool are refused. Opens nothing yet. */
struct spool *spool_new(const struct spool_setup *setup, const struct spool_conf *conf, struct err *err);
/* Starts the thread, which opens the database; by then the process has the rights it will keep. */
int spool_start(struct spool *s, struct err *err);
/* What was asked is carried out and synced first; nobody is answered any more. */
void spool_free(struct spool **s);
/* Settings of a reload; the folder stays. */
void spool_configure(struct spool *s, const struct spool_conf *conf);
/* Would spool_add be tried now? FULL and SICK say no, and LOADING until the file is open (unless the spool is
 * inherited and will be given soon); while messages are still being found it is yes. *why_out then is what a
 * client may hear. */
bool spool_takes(const struct spool *s, enum spool_result *why_out);

/* ---- one message ---- */

typedef void spool_done_fn(void *arg, enum spool_result result);

/* Stores all of them or none, and gives each its seq (in order; it is good once done says so). Each has a
 * body and is sound (spool_sound.h). Messages and bodies stay the caller's, unchanged until done. Two
 * messages may have the same body. */
struct handle spool_add(struct spool *s, struct spool_message *const *messages, size_t n, spool_done_fn *done,
    void *arg);

/* message: the caller's, body included; NULL unless DONE. */
typedef void spool_taken_fn(void *arg, enum spool_result result, struct spool_message *message);
/* Marks the recipients that are due by then as in flight, synced, and hands out the message. pool: the body
 * comes as a blob of it; NULL: without body (the caller has it). DONE with nothing due leaves all as it
 * was. */
struct handle spool_take(struct spool *s, uint64_t seq, int64_t due_by_utc_ms, struct blob_pool *pool,
    spool_taken_fn *taken, void *arg);

/* After a take: the message as it is now. No recipients left: it is removed. more: new messages (DSNs)
 * stored in the same transaction. Both stay the caller's until done; done NULL: nobody waits, and they are
 * copied, and settled when the database works again should it not work now. */
struct handle spool_settle(struct spool *s, const struct spool_message *message,
    struct spool_message *const *more, size_t n_more, spool_done_fn *done, void *arg);

/* The answer is not wanted any more: for questions of the operator's view and takes. A take is undone: the
 * recipients are again what they were. Who adds or settles waits, for he lent memory. */
void spool_forget(struct spool *s, struct handle h);

/* ---- the operator's view ---- */

struct spool_filter { /* all that is given must match; text "" or NULL: any */
    const char *id;
    /* sender "<>": the null sender */
    const char *client, *route, *mailbox, *sender, *recipient, *sender_domain, *recipient_domain;
    const char *state;      /* waiting, in_flight, uncertain, parked, held */
    int64_t before_utc_ms;  /* received before; 0: any */
    uint64_t after_seq;     /* for pages: only larger ones */
    uint32_t max;           /* 0: of a list 1000, of an order all */
};

/* messages without bodies, in order of seq; valid during the call. more: there are others behind them. Fewer
 * than asked for may come where they have very many recipients. */
typedef void spool_listed_fn(void *arg, enum spool_result result, struct spool_message *const *messages,
    size_t n, bool more);
struct handle spool_list(struct spool *s, const struct spool_filter *filter, spool_listed_fn *listed,
    void *arg);

enum spool_order {
    SPOOL_HOLD,    /* held until released */
    SPOOL_RELEASE, /* not held, parked recipients wait again; due stays */
    SPOOL_RETRY,   /* due at once; a parked recipient waits again */
    SPOOL_DELETE,  /* gone, without a report */
};
/* Carries the order out on each message that matches and is not in flight, slice by slice, and tells of each
 * slice when it is on disk: what is asked between two slices is answered between them, so no brief is older
 * than what was heard of its message before. briefs: the slice's messages as they are now, in order of seq
 * (of deleted ones only seq is filled in); busy: how many were in flight and left alone; more: another call
 * follows. A slice that is not DONE is the last, and changed nothing. */
struct spool_ordered {
    const struct spool_brief *briefs;
    size_t n, busy;
    bool more;
};
typedef void spool_ordered_fn(void *arg, enum spool_result result, const struct spool_ordered *slice);
struct handle spool_order(struct spool *s, enum spool_order order, const struct spool_filter *filter,
    const char *actor, const char *why, spool_ordered_fn *done, void *arg);

struct spool_status {
    enum spool_state state;
    bool takes_early;       /* LOADING, and taking messages: another process had it, or still has */
    char why[256];          /* SICK, FULL, and LOADING for another process: in words */
    uint64_t messages, bytes; /* in the spool; bytes of their contents */
    uint64_t held, parked;  /* messages with such recipients */
    uint64_t free_bytes, needed_bytes; /* the guard */
    uint64_t damaged;       /* messages put aside since start */
    int64_t oldest_utc_ms;  /* 0: none */
};
void spool_status(const struct spool *s, struct spool_status *out);
/* Looks again: false, another process still has it. */
bool spool_is_ours(struct spool *s);

#endif
