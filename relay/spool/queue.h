/* queue: which waiting message may be tried next. Pure: time comes in, nothing is read or written.
 *
 * A message waits for one of three things. Its own time: the upstream answered 4xx, or it is uncertain. An
 * operator. Or its turn in its lane: messages that meet the same limits and pauses form a lane (route,
 * mailbox, client, class, sender, class of recipients, their domain where a limit counts it, whether they
 * were too many new ones), which is in order of seq. A message that comes back from its own wait takes its
 * old place.
 *
 * A lane whose first message was refused stands at a gate: a limit that is full, a pause, a store that
 * cannot decide, an upstream that cannot be reached. What waits there costs nothing until the gate's time
 * comes. Then the gate is opening: one message of all its lanes is let out to ask. If that is refused, the
 * gate closes for all; if it passed, two may be out asking, then four, and after the pass that follows 64
 * the gate is gone. So ten thousand lanes behind one full limit cost one question each time it might have
 * room.
 *
 * Each pool (route and mailbox) has room for so many messages in flight. While that is full its lanes do not
 * go, at a gate or not, until one of its messages is put, refused or dropped. Its classes and clients keep
 * their turns meanwhile.
 *
 * Fair order: between priority classes by weight, in a pool and between pools; within a class of a pool each
 * client in turn; of a client the lane whose first message is oldest. So ten thousand newsletters of one
 * client delay another client's alert by one message, and what one pool sends costs nobody a turn in
 * another. A question in vain costs no turn among those who stand at the gate.
 *
 * How to drive it: call queue_next until it says no, then wait until queue_wake_mono_ms or for the next
 * event. Each message that came out is answered for: queue_passed as soon as the gate question is settled
 * in its favour, and then, or instead, one of queue_refuse, queue_put (tried, and to be tried again) and
 * queue_drop (done with). One that is never answered for keeps its place among the 64 that a lane may have
 * in flight and in the room of its pool, and its gate from letting others ask.
 *
 * Memory for each waiting message is below 100 bytes (queue_bytes); lanes and gates are few. Names of
 * clients, classes and pools are remembered until queue_free. */
#ifndef SENDGOV_SPOOL_QUEUE_H
#define SENDGOV_SPOOL_QUEUE_H

#include "policy/types.h"
#include "relay/smtp/envelope.h"

struct queue;

#define QUEUE_BYTES_MAX ((UINT64_C(1) << 46) - 1)

/* What the lane is found by; all strings but the domain are given. mailbox "": none; sender is the instance
 * of its scope (plan_sender_instance). The strings are the caller's and are copied. */
struct queue_key {
    const char *route, *mailbox, *client, *class, *sender;
    enum recipient_class recipients_are;
    const char *domain; /* of all recipients, where a limit counts it; NULL: none */
    bool strangers;     /* it was refused because all its recipients are new ones */
};

struct queue_item {
    uint64_t seq;
    uint32_t recipients; /* that would be tried; more than 65535 are told as 65535 */
    uint64_t bytes;      /* content with the trace header; at most QUEUE_BYTES_MAX */
    int64_t due_mono_ms; /* 0: at once. INT64_MAX: waits for an operator */
};

enum queue_gate_kind {
    QUEUE_GATE_LIMIT,    /* over budget */
    QUEUE_GATE_PAUSE,
    QUEUE_GATE_STORE,    /* no decision, or counters that cannot be trusted yet */
    QUEUE_GATE_UPSTREAM, /* no connection */
    QUEUE_GATE_NODE,     /* it has no such route or client any more, or cannot read its spool now */
    QUEUE_GATE_KIND_COUNT,
};
const char *queue_gate_kind_to_str(enum queue_gate_kind k);

#define QUEUE_GATE_NAME_MAX 512
#define QUEUE_WHY_MAX 512
struct queue_gate {
    enum queue_gate_kind kind;
    char name[QUEUE_GATE_NAME_MAX]; /* what makes it this gate: "mailbox-day mailbox relay@contoso.com" */
    char why[QUEUE_WHY_MAX];        /* for people: rule, used/limit */
    int64_t opens_mono_ms;          /* when it is worth asking again; INT64_MAX: only after queue_open */
    bool is_estimate;               /* nobody said when; asked again then */
};

struct queue *queue_new(void);
void queue_free(struct queue **q);
#define QUEUE_WEIGHT_DEFAULT 10u
/* Weight of a priority class, 1..1000 (what is outside is taken to the nearest); classes never named have
 * 10. */
void queue_set_weight(struct queue *q, const char *class, uint32_t weight);
#define QUEUE_ROOM_DEFAULT 64u
/* At most so many messages of this route and mailbox are in flight at once; 0 takes the bound away. Pools
 * never named have QUEUE_ROOM_DEFAULT. Where more are out already, none goes until there are fewer. */
void queue_set_room(struct queue *q, const char *route, const char *mailbox, uint32_t max);

/* A message comes, or comes back: with another due time, other recipients or another key. Known by seq: one
 * that is there is replaced, one that is in flight is not any more. What is due by the time of the last
 * queue_next is ready at once, anything else when a queue_next comes at or after its due time. */
void queue_put(struct queue *q, const struct queue_key *key, const struct queue_item *item);
/* It is gone, in whatever state it was. Harmless when it is not there. */
void queue_drop(struct queue *q, uint64_t seq);

/* The next one to be tried; false: none now. It stays out of the order (in flight) until queue_put,
 * queue_refuse or queue_drop. now_mono_ms never goes back. key_out and its strings are valid until the next
 * call that changes the queue. */
bool queue_next(struct queue *q, int64_t now_mono_ms, struct queue_item *item_out, struct queue_key *key_out);
/* The message of queue_next was refused at a gate before anything was offered: it is ready again at its
 * place in its lane, and the lane stands at that gate, as do the other lanes that already did, closed until
 * gate->opens_mono_ms, which should be later than now. Kind and name say which gate it is; the rest is what
 * is now known of it. A lane that stood at another gate leaves that. Harmless when the message is not in
 * flight (any more). gate is the caller's own, not one of queue_why. */
void queue_refuse(struct queue *q, uint64_t seq, const struct queue_gate *gate);
/* The message of queue_next passed: if it was let out to ask for its gate, more may ask. Call it as soon as
 * it is known, while the message is still on its way. Harmless otherwise, and when said twice. */
void queue_passed(struct queue *q, uint64_t seq);
/* All gates of this kind (name NULL), or the one, may be asked again now: a pause ended, Redis is back.
 * They begin to open as if their time had come. */
void queue_open(struct queue *q, enum queue_gate_kind kind, const char *name);
/* When queue_next may have something that it has not now, good after a queue_next that said no; INT64_MAX:
 * only after another call. */
int64_t queue_wake_mono_ms(const struct queue *q);
/* Has this lane anything that is ready? A new message of it must not overtake. What waits for its own time
 * or for an operator is no reason to wait. */
bool queue_has_waiting(const struct queue *q, const struct queue_key *key);

/* Does this message belong to that lane? */
bool queue_is_in(const struct queue *q, uint64_t seq, const struct queue_key *key);

/* Why a message waits. Known, and neither in flight nor held, and due: for its turn (or room in its pool), at
 * a gate or not. */
struct queue_why {
    bool known, in_flight, waits_for_operator;
    int64_t due_mono_ms;           /* its own time; in the past: it is due */
    const struct queue_gate *gate; /* where its lane stands; NULL: at none. Valid until the next change */
    uint64_t lane;                 /* how many are ready in its lane */
};
void queue_why(const struct queue *q, uint64_t seq, int64_t now_mono_ms, struct queue_why *out);
/* Its place among the ready ones of its lane, from 1; 0: in flight, held, or not due. Walks over the lane, so
 * it is not for each of many. */
uint64_t queue_place(const struct queue *q, uint64_t seq, int64_t now_mono_ms);

struct queue_counts {
    /* Each message is one of the four. */
    uint64_t messages, in_flight, ready, waiting_own_time, for_operator;
    uint64_t at_gate[QUEUE_GATE_KIND_COUNT]; /* of the ready ones: those whose lane stands there */
    uint64_t lanes, gates;
};
/* As of the last call; what became due since then still waits for its own time. O(1). */
void queue_counts(const struct queue *q, struct queue_counts *out);
/* What the queue holds in memory, by what malloc takes for it. Takes a walk over all lanes. */
size_t queue_bytes(const struct queue *q);

#endif
