/* journal: what a node must not forget, in its state folder.
 *
 * `store.journal`: node uuid, epoch, last acknowledged sequence number, when the last charge was, Redis'
 * time; which scope instances and limits were charged lately (so that a counter that should be there is
 * missed), and the steps of warm-ups. Mapped into memory and shared: what was written survives the process'
 * death by any signal without a system call per charge. A power cut may lose the last seconds; that only
 * makes the node less able to notice that Redis lost memory too, never the other way round. The head exists
 * twice, each with generation and checksum, and is written in turns, so that one of them is always whole.
 *
 * `store.pauses`: the pauses in force, as text, replaced whole and synced at each change (rare).
 *
 * A journal that cannot be read is put aside (`.bad`) and replaced: the node then has a new uuid and
 * remembers nothing, which journal_is_suspect tells, and a new set of counters has to stay closed
 * for the longest window instead of the settle time. The file is locked: two daemons on one state
 * folder are refused. */
#ifndef SENDGOV_STORE_JOURNAL_H
#define SENDGOV_STORE_JOURNAL_H

#include "policy/types.h"
#include "relay/base/buf.h"
#include "relay/base/err.h"

struct journal;

#define JOURNAL_UUID_MAX 33  /* 32 hex digits */
#define JOURNAL_EPOCH_MAX 40

struct journal *journal_open(const char *folder, struct err *err);
void journal_close(struct journal **j);
/* For a process that goes on beside the one that gets j: in memory only, with an identity of its own. It
 * begins with what j knows of epoch, charges, steps and time; what was numbered up to seq is j's, so that its
 * acknowledgement does not count here. */
struct journal *journal_guest(const struct journal *j, uint64_t seq, struct err *err);
/* The guest's process has j again: j knows what the guest knows of charges and steps. What was numbered up to
 * seq is the guest's, so that its acknowledgement does not count for j. */
void journal_rejoin(struct journal *j, const struct journal *guest, uint64_t seq);

/* Nothing of the past is known although there was one. */
bool journal_is_suspect(const struct journal *j);
const char *journal_uuid(const struct journal *j);
const char *journal_epoch(const struct journal *j); /* "": none */
uint64_t journal_acked(const struct journal *j);
uint64_t journal_last_charge_ms(const struct journal *j);
/* When it names another set of counters: also forgets which instances were charged. */
void journal_set_epoch(struct journal *j, const char *epoch);
/* seq was acknowledged; charge_ms (Redis time): 0 when it was not a charge. */
void journal_ack(struct journal *j, uint64_t seq, uint64_t charge_ms);

/* Redis' time as last believed, and the monotonic time of asking and of hearing it. A restart of the process
 * must not make a jump of Redis' clock forgotten. */
struct journal_time {
    uint64_t redis_us; /* 0: not known; so after a boot of this machine, whose monotonic clock began anew */
    int64_t sent_mono_us, read_mono_us;
};
void journal_set_time(struct journal *j, const struct journal_time *time);
struct journal_time journal_time(const struct journal *j);

/* The counters of this instance were charged, and must be in Redis until then. */
void journal_mark(struct journal *j, enum limit_scope scope, const char *instance, uint64_t until_ms);
/* 0: not known (the tables are small, later marks push out earlier ones). */
uint64_t journal_marked_until_ms(const struct journal *j, enum limit_scope scope, const char *instance);
/* This limit of the instance was charged now. */
void journal_mark_limit(struct journal *j, enum limit_scope scope, const char *instance, const char *limit,
    uint64_t now_ms);
/* 0: not known. */
uint64_t journal_limit_marked_ms(const struct journal *j, enum limit_scope scope, const char *instance,
    const char *limit);
void journal_forget_marks(struct journal *j);

void journal_set_step(struct journal *j, const char *limit, const char *instance, uint32_t step,
    uint64_t now_ms);
/* 0: not known. */
uint32_t journal_step(const struct journal *j, const char *limit, const char *instance);
/* When it was at that step, as far as this node heard; 0: not known. */
uint64_t journal_step_ms(const struct journal *j, const char *limit, const char *instance);

/* The text of store.pauses; empty when there is none. */
int journal_read_pauses(const struct journal *j, struct buf *out, struct err *err);
int journal_write_pauses(const struct journal *j, struct span text, struct err *err);

#endif
