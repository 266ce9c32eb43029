/* spool_part: what the files of the loop's side share. */
#ifndef SENDGOV_SPOOL_SPOOL_PART_H
#define SENDGOV_SPOOL_SPOOL_PART_H

#include "relay/spool/spool_thread.h"

#define SPOOL_QUEUE_MAX 65536 /* questions in hand; those that can wait are refused beyond */

struct spool {
    struct spool_setup setup;
    char *folder;
    struct spool_terms terms;
    int place_fd; /* holds the lock */
    struct spool_thread *thread;
    struct worker *worker;
    struct timer look; /* each second */
    struct slots asks; /* all that are not answered */
    struct list last;  /* what is still to be written when the thread has ended */
    bool takes_early;            /* the lock is not ours yet, or the file not open: what comes waits for it */
    struct list early;           /* what waits */
    int64_t early_until_mono_ms; /* so long; 0: the lock is ours */
    struct list again; /* settlements nobody waits for that the thread could not carry out */
    enum spool_state state;
    bool is_started, is_scanning, looks;
    int64_t reopen_mono_ms; /* SICK: when to try again */
    uint64_t next_seq;
    struct spool_facts facts;
};

/* Gives it to the thread. */
void spool_submit(struct spool *s, struct spool_ask *a);
void spool_end(struct spool *s, struct spool_ask *a);
/* What the thread said beyond the answer. */
void spool_learn(struct spool *s, struct spool_ask *a);
void spool_set_state(struct spool *s);
/* The file is open: the messages in it are told from the first on. */
void spool_opened(struct spool *s, bool works);
void spool_scanned(struct spool *s);
/* What waited for an inherited spool is stored now, or (not works) answered no. */
void spool_end_early(struct spool *s, bool works);
/* What nobody waits for and could not be written is tried again. */
void spool_settle_again(struct spool *s);

#endif
