/* spool_thread_part: what the files of the thread's side share. */
#ifndef SENDGOV_SPOOL_SPOOL_THREAD_PART_H
#define SENDGOV_SPOOL_SPOOL_THREAD_PART_H

#include "relay/spool/spool_place.h"
#include "relay/spool/spool_thread.h"

/* Seqs, in no order. */
struct spool_seqs {
    uint64_t *seqs;
    size_t n, room;
};

struct spool_thread {
    struct spool_db db;
    char *folder, *path;
    struct spool_terms terms;
    struct spool_seqs in_flight; /* given out, not settled: in the asker's hands whatever happens */
    struct spool_seqs dead;      /* answered no: must not come back, and is erased as soon as that works */
    bool is_idle;        /* this batch is nothing but a look */
    size_t buried;       /* of dead, from the front: erased in this transaction */
    bool was_open;
    uint64_t highest_seq; /* that the file knew when it was opened */
    uint64_t damaged;
    struct spool_files files; /* those that are open */
    bool has_moved;           /* they are not where the next start looks: nothing is added to them */
    uint64_t free_bytes, needed_bytes;
    bool is_full; /* or has moved */
    char full_why[256];
    struct list notes; /* until the end of the batch */
    size_t budget_bytes; /* of bodies, left in this transaction */
    char *scratch;       /* SPOOL_CHUNK_BYTES */
};

void spool_seqs_add(struct spool_seqs *s, uint64_t seq);
void spool_seqs_remove(struct spool_seqs *s, uint64_t seq);
bool spool_seqs_has(const struct spool_seqs *s, uint64_t seq);

/* Carries one question out inside a transaction; a->is_through says whether it is done with. */
enum spool_db_status spool_carry_out(struct spool_thread *t, struct spool_ask *a);
/* Opens the file, checks it, and makes good what an earlier run left. */
enum spool_db_status spool_recover(struct spool_thread *t);
/* Erases what was answered no. */
enum spool_db_status spool_bury_dead(struct spool_thread *t);
/* One message out of the way. */
enum spool_db_status spool_put_aside(struct spool_thread *t, uint64_t seq);

#endif
