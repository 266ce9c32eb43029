/* pause_list: the pauses this node knows, and how far Redis shares them. What stops this node at once,
 * whatever Redis does. */
#ifndef SENDGOV_STORE_PAUSE_LIST_H
#define SENDGOV_STORE_PAUSE_LIST_H

#include "policy/charge.h"
#include "relay/base/buf.h"

/* How many pauses there may be, on a node and in Redis (policy/lua/pause.lua has the same figures): who is
 * paused by hundreds has one problem, not many. Each kind of scope has places of its own, so that a flood of
 * blocked senders never takes the place of a blocked tenant. */
#define PLACES_ROUTE 150
#define PLACES_MIDDLE 150 /* mailboxes and clients */
#define PLACES_SENDER 300 /* senders and sender domains */
#define PLACES_GROWTH 150 /* holds of warm-ups, which stop no mail */
/* What Redis and this node's memory say is in force is kept without asking for a place, up to a bound for
 * what cannot be. */
#define PAUSES_KEPT_MAX 2000

enum pause_state {
    PAUSE_NEW,       /* Redis does not have it yet */
    PAUSE_KNOWN,     /* Redis has it */
    PAUSE_FORGOTTEN, /* Redis had it; to be put back unless it was resumed meanwhile */
};

/* What is known of a pause besides itself. */
struct pause_note {
    enum pause_state state;
    struct pause_wider wider; /* who is stopped where Redis has no place for it */
    bool seen;                /* in the list that is being taken over */
    bool unplaced;            /* Redis had no place for it, nor for anybody wider, and the log has said so */
};

struct pause_list {
    struct pause *pauses; /* newest first */
    struct pause_note *notes;
    size_t n, size;
};

void pause_list_init(struct pause_list *l);
void pause_list_fini(struct pause_list *l);
/* A pause is known by scope, instance and extent: one of external mail and one of all mail may stand on one
 * instance, and the end of either leaves the other in force. NULL: there is none. */
struct pause *pause_list_find(const struct pause_list *l, enum limit_scope scope, const char *instance,
    enum pause_extent extent);
/* Of a pause of the list. */
struct pause_note *pause_list_note(const struct pause_list *l, const struct pause *p);
/* A pause of this node's own: PAUSE_NEW, unless one is in force that ends no earlier, or less than a minute
 * before and by a reply of the same class: a hundred refusals in a row are one pause. Where there is no place
 * the next wider one is added (pause_widen); wider NULL: there is none. *p becomes what is in force, times,
 * cause and all; PAUSE_NO_PLACE leaves it alone. */
enum pause_result pause_list_add(struct pause_list *l, struct pause *p, const struct pause_wider *wider);
bool pause_ends_later(const struct pause *a, const struct pause *b);
/* Turns a pause into the one that stops more: sender and sender domain become the client that brought the
 * mail, client and mailbox the route. False: *p is left alone, nobody wider is known. */
bool pause_widen(struct pause *p, const struct pause_wider *wider);
/* What Redis has, exactly so; but where what this node knows ends later, and is not there yet or began later,
 * Redis is to be told of it (again). False: no room. */
bool pause_list_take_over(struct pause_list *l, const struct pause *p);
/* What the node remembers from before it was started. wider NULL: nobody is known. False: no room. */
bool pause_list_restore(struct pause_list *l, const struct pause *p, const struct pause_wider *wider,
    enum pause_state state);
void pause_list_remove(struct pause_list *l, enum limit_scope scope, const char *instance,
    enum pause_extent extent);
/* Around a whole list of Redis: what was known and is not in it was forgotten. */
void pause_list_begin_sync(struct pause_list *l);
void pause_list_end_sync(struct pause_list *l);
/* Removes those that have ended; true when there were any. */
bool pause_list_expire(struct pause_list *l, int64_t now_ms);
/* Of those that stop this request the one that ends last; NULL: none does. */
const struct pause *pause_list_for(const struct pause_list *l, const struct charge_request *r);

#endif
