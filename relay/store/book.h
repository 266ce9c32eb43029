/* book: counters of all scope instances in memory, decided by policy/decide.c. What the in-memory store
 * stands on, and the reference the model test compares Redis with. Time comes in with every call. The
 * counters of an instance are forgotten when Redis' key of it would expire. */
#ifndef SENDGOV_STORE_BOOK_H
#define SENDGOV_STORE_BOOK_H

#include "policy/decide.h"

struct book;

struct book *book_new(void);
void book_free(struct book **b);
/* Nothing was charged before this moment; 0 (as at first): something may have been. */
void book_set_began(struct book *b, uint64_t began_us);
/* request's warm-up lines are corrected to the steps the book is at. seq and sent_mono_ms of the
 * verdict are not set. */
void book_charge(struct book *b, struct charge_request *request, uint64_t now_us,
    struct verdict *verdict_out);
/* True: a limit took it back. */
bool book_refund(struct book *b, const struct charge_request *request, uint32_t granted, uint64_t time_us,
    uint64_t now_us);
/* One warm-up line: hold its day, or step it back. Returns the step it is at then. */
uint32_t book_warmup(struct book *b, const struct limit_conf *limit, const char *instance, bool back,
    uint64_t now_us);
/* An operator's word about one: what it was and is then. */
struct book_moved {
    uint32_t before, step;
};
struct book_moved book_move(struct book *b, const struct limit_conf *limit, const char *instance,
    const struct warmup_move *move, uint64_t now_us);
/* An operator holds the warm-ups of this instance until then; 0: no more. */
void book_freeze(struct book *b, enum limit_scope scope, const char *instance, uint64_t until_us);
/* Percent of what is used now becomes the cap until `until_us`. Returns it. */
uint64_t book_lower(struct book *b, const struct limit_conf *limit, const char *instance, uint64_t percent,
    uint64_t now_us, uint64_t until_us);
/* Forgets one instance, as if its key had been deleted. */
void book_forget(struct book *b, enum limit_scope scope, const char *instance);

struct book_usage {
    uint64_t used, cap;
    int64_t wait_us; /* until that much passes; -1: not under this cap */
    uint32_t step;
    uint64_t peak;
    bool held;
    uint64_t lowered_cap, lowered_until_us; /* the upstream's word; LIMIT_UNLIMITED and 0: none */
    uint64_t usual; /* of a spike */
};
/* cap: as configured. day: the limit whose step a warm-up goes by (limit itself, but for an hour cap).
 * wanted: how much is to pass; 0 means one. */
struct book_question {
    const struct limit_conf *limit, *day;
    const char *instance;
    uint64_t cap, wanted;
};
void book_usage(struct book *b, const struct book_question *q, uint64_t now_us, struct book_usage *out);

#endif
