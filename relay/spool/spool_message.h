/* spool_message: one message as the spool keeps it, and what became of each recipient so far.
 *
 * All recipients of one message are of one class: a message with internal and external ones is two of them.
 * Recipients that were delivered or failed for good are gone; those left each have their own state. */
#ifndef SENDGOV_SPOOL_SPOOL_MESSAGE_H
#define SENDGOV_SPOOL_SPOOL_MESSAGE_H

#include "relay/base/blob.h"
#include "relay/smtp/envelope.h"
#include "relay/smtp/reply.h"

#define SPOOL_ID_MAX 24

enum spool_recipient_state {
    SPOOL_WAITING,   /* to be tried when due */
    SPOOL_IN_FLIGHT, /* taken: MAIL may have left. Found at start: the node died, so it is uncertain */
    SPOOL_UNCERTAIN, /* the dot left and no answer came; tried once more when due */
    SPOOL_PARKED,    /* on the operator's list: never tried by itself */
    SPOOL_RECIPIENT_STATE_COUNT,
};
const char *spool_recipient_state_to_str(enum spool_recipient_state s);

struct spool_recipient {
    enum spool_recipient_state state;
    int64_t due_utc_ms;  /* not tried before; 0: at once */
    int64_t spent_ms;    /* of its lifetime, by waiting for retries that the upstream caused */
    uint32_t attempts;   /* that the upstream answered 4xx or broke off */
    uint32_t uncertain;  /* of them: lost after the dot */
    bool warned;         /* a delay notice was sent */
    struct reply reply;  /* the upstream's last word about it; code 0: none */
};

struct spool_message {
    uint64_t seq; /* order of acceptance, the key of everything; 0: not stored yet */
    char id[SPOOL_ID_MAX];
    /* names in the configuration; mailbox NULL: the route has none. class: the client's priority class */
    char *client, *route, *mailbox, *class;
    struct envelope envelope;       /* owned; recipients left */
    struct spool_recipient *states; /* owned; one for each recipient of envelope, same order */
    char *trace;                    /* our Received header, wire form */
    char peer[80], session[SPOOL_ID_MAX], tls[96];
    uint64_t content_bytes;         /* un-stuffed */
    struct blob *body;              /* owned where a take gave it, borrowed on the way in */
    int64_t received_utc_ms;
    /* Held by an operator: nothing of it is tried. */
    bool held;
    char held_by[64], held_why[256];
    bool is_dsn;                    /* made here: a failure of it is never reported by mail */
};

struct spool_message *spool_message_new(void);
/* With envelope, states, names and trace, not with the body unless owns_body. */
void spool_message_free(struct spool_message **m, bool owns_body);
/* The state of one that is to be tried again: what may have arrived once stays uncertain. */
static inline enum spool_recipient_state
spool_recipient_waits_as(const struct spool_recipient *r)
{
    return r->uncertain > 0 ? SPOOL_UNCERTAIN : SPOOL_WAITING;
}
/* The dot left, or may have, and no answer came: one more attempt in doubt. Tried again when due, or, after
 * `most` of them, left to the operator. */
void spool_recipient_doubt(struct spool_recipient *r, uint32_t most, int64_t due_utc_ms);
/* The earliest due time of the recipients that may be tried by themselves; INT64_MAX: none may. */
int64_t spool_message_due(const struct spool_message *m);
/* Is any of its recipients? */
bool spool_message_is_in_flight(const struct spool_message *m);

#endif
