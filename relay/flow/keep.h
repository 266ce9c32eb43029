/* keep: what of a message goes to the spool, as rows to be written. Pure, but for the copies it makes. */
#ifndef SENDGOV_FLOW_KEEP_H
#define SENDGOV_FLOW_KEEP_H

#include "relay/flow/fate.h"
#include "relay/flow/message.h"

/* A row for what is in flight, one for each class of recipients that waits, and one for a notification. */
#define KEEP_NEW_MAX (RECIPIENT_CLASS_COUNT + 2)

/* One write. Owned by the job; rows borrow the message's body, a notification owns its own. */
struct keep {
    struct spool_message *row;  /* the message's own row as it is to be; NULL: it has none yet */
    struct spool_message *fresh[KEEP_NEW_MAX];
    size_t n_fresh;
    bool borrows_all; /* the bodies of notifications too: the message is one */
    bool is_take_over; /* fresh[0] is in flight: the upstream has it and has not answered */
};

struct keep *keep_new(void);
void keep_free(struct keep **k);
/* The recipients of this class (RECIPIENT_CLASS_COUNT: of all) for which wanted says yes, with what is kept
 * of them; NULL: there are none. */
struct spool_message *keep_part(const struct message *m, const struct fate *fates, enum recipient_class class,
    bool (*wanted)(enum fate_kind k));
/* The row of seq with the recipients that wait; perhaps none any more. */
struct spool_message *keep_row(const struct message *m, const struct fate *fates, uint64_t seq);
/* The message's own row is not on disk any more: what it was to hold is kept as a new one. False: there is
 * nothing to be written. */
bool keep_anew(struct keep *k);
/* Takes it; NULL is nothing. */
void keep_add(struct keep *k, struct spool_message *fresh);

#endif
