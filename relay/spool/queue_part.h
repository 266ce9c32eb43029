/* queue_part: what the files of queue share and nobody else sees.
 *
 * One tree is the order of release; each level is a heap of what may go in the level below:
 *
 *   class of a pool (least virtual time) -> client (served longest ago) -> group (lowest seq)
 *         -> lane (lowest seq) -> message (lowest seq)
 *
 * A group is the lanes of one client at one gate, or at none. So what a gate lets go, or holds, is one step
 * for each client that stands there, however many its lanes. Something that has nothing to go is in no heap;
 * the queue_x_refresh functions keep that true from the bottom to the top. The classes of all pools are few
 * and are looked through; those of a full pool are passed over.
 *
 * The queue owns all. Pools with their classes and clients, and priorities, stay for its life (the
 * configuration names few); a lane lives while it has messages, a group and a gate while they have lanes. */
#ifndef SENDGOV_SPOOL_QUEUE_PART_H
#define SENDGOV_SPOOL_QUEUE_PART_H

#include "relay/base/list.h"
#include "relay/base/table.h"
#include "relay/spool/queue.h"
#include "relay/spool/queue_heap.h"
#include "relay/spool/queue_table.h"

#define QUEUE_IN_FLIGHT_MAX 64u /* of one lane, so that not a thousand are out when it is refused */
#define QUEUE_ASKING_MAX 64u    /* of one gate; after that many passed it is gone */
#define QUEUE_BYTES_BITS 46

enum queue_entry_state {
    ENTRY_OWN_TIME,  /* in the heap by due */
    ENTRY_READY,     /* in the heap of its lane by seq */
    ENTRY_IN_FLIGHT, /* out; node.key then says whether it asks for its gate (queue_gate_asked) */
    ENTRY_HELD,      /* waits for an operator, in no heap */
    ENTRY_STATE_COUNT,
};

/* One message. There may be 100 000: 48 bytes. */
struct queue_entry {
    struct queue_node node;
    union {
        struct queue_lane *lane;
        struct queue_entry *next_free; /* while it is no message */
    };
    uint64_t seq;
    int64_t due_mono_ms;
    uint64_t bytes : QUEUE_BYTES_BITS, recipients : 16, state : 2; /* enum queue_entry_state */
};

/* The connections of one route and mailbox. */
struct queue_pool {
    struct list of_queue;
    char *route, *mailbox;
    uint32_t max; /* how many messages may be in flight; 0: any number */
    uint32_t in_flight;
    uint64_t full_since; /* virtual time; while it is full */
    struct list classes;
};

/* What the configuration calls a class. */
struct queue_priority {
    struct list of_queue;
    char *name;
    uint32_t weight;
};

struct queue_turn {
    uint64_t last;   /* 0: never served */
    uint64_t before; /* the one before that, to be given back */
};

struct queue_class {
    struct list of_pool;
    struct queue_pool *pool;
    const struct queue_priority *priority;
    uint64_t time; /* virtual: grows by 1/weight with each message; behind queue_pool_time it means that */
    struct queue_turn turn;
    struct queue_heap may_go; /* clients by last turn, whether the pool has room or not */
    struct list clients;
};

struct queue_client {
    struct queue_node node; /* in class->may_go */
    struct list of_class;
    struct queue_class *class;
    char *name;
    struct queue_turn turn;
    struct queue_heap may_go; /* groups by first seq */
    struct list groups;
};

struct queue_group {
    struct queue_node node; /* in client->may_go */
    struct list of_client, of_gate;
    struct queue_client *client;
    struct queue_stop *stop;  /* NULL: the lanes that stand at no gate */
    struct queue_heap may_go; /* lanes by first seq */
    struct list lanes;
    uint32_t n_lanes;
};

struct queue_lane {
    struct queue_node node; /* in group->may_go */
    struct list of_group;
    struct queue_group *group;
    struct queue_heap ready; /* messages by seq */
    uint32_t n;              /* messages, all states */
    uint32_t in_flight;
    uint32_t asking;         /* of them, for the gate where the lane stands now */
    uint64_t stay;           /* which of its stays this is, from 1: a question of an earlier one is none */
    struct queue_key key;    /* its strings lie in text */
    char *text;
    size_t text_bytes;
};

/* A gate with those who stand there. Closed while it is in the heap by opening time, else opening. */
struct queue_stop {
    struct queue_node node;
    struct list of_queue;
    struct queue_gate gate;
    bool is_opening;
    uint32_t asking_max; /* how many may be out asking while opening */
    uint32_t asking;     /* how many are */
    uint32_t n_lanes;
    struct list groups;
};

struct queue_chunk; /* of entries */

struct queue {
    int64_t now_mono_ms; /* as queue_next was told last */
    struct queue_table by_seq;
    struct queue_heap by_due, closed; /* messages; gates by opening time */
    struct table lanes, groups, stops;
    struct list priorities, pools, all_stops;
    uint64_t time; /* virtual: of the class that was served last, before it was */
    uint64_t turns;
    struct queue_counts counts;
    struct queue_chunk *chunks;
    size_t n_chunks;
    struct queue_entry *first_free;
};

/* ---- queue_order.c ---- */
/* Of the key's pool, class and client; what there is not is made. */
struct queue_client *queue_client_find_or_add(struct queue *q, const struct queue_key *key);
struct queue_priority *queue_priority_find_or_add(struct queue *q, const char *name);
void queue_priority_set_weight(struct queue *q, struct queue_priority *priority, uint32_t weight);
/* Something below changed: is the lane (group) among those that may go, and at which place? */
void queue_lane_refresh(struct queue *q, struct queue_lane *lane);
void queue_group_refresh(struct queue *q, struct queue_group *group);
/* The lane whose first message goes next; NULL: none may. */
struct queue_lane *queue_order_first(const struct queue *q);
/* One of its messages went: another class, another client comes first. */
void queue_order_charge(struct queue *q, struct queue_lane *lane);
/* It asked in vain for the gate where its lane stands: for those who stand there too that was no turn. */
void queue_order_give_back(struct queue *q, struct queue_lane *lane);
void queue_class_free(struct queue_class *class);
void queue_priorities_free(struct queue *q);

/* ---- queue_pool.c ---- */
struct queue_pool *queue_pool_find_or_add(struct queue *q, const char *route, const char *mailbox);
void queue_pool_set_max(struct queue *q, struct queue_pool *pool, uint32_t max);
bool queue_pool_is_full(const struct queue_pool *pool);
/* The queue's virtual time, which stands for the pool while it is full. */
uint64_t queue_pool_time(const struct queue *q, const struct queue_pool *pool);
/* One of its messages goes out: the pool is not full; one is not out any more. */
void queue_pool_take(struct queue *q, struct queue_pool *pool);
void queue_pool_give_back(struct queue *q, struct queue_pool *pool);
void queue_pools_free(struct queue *q);

/* ---- queue_lane.c ---- */
/* The lane of this key; made where there is none. One without messages goes with queue_lane_reap. */
struct queue_lane *queue_lane_find_or_add(struct queue *q, const struct queue_key *key);
struct queue_lane *queue_lane_find(const struct queue *q, const struct queue_key *key);
void queue_lane_reap(struct queue *q, struct queue_lane *lane);
struct queue_entry *queue_entry_add(struct queue *q, uint64_t seq, struct queue_lane *lane);
/* Its lane may be without messages then. */
void queue_entry_del(struct queue *q, struct queue_entry *e);
void queue_entry_set_state(struct queue *q, struct queue_entry *e, enum queue_entry_state state);
void queue_entry_set_lane(struct queue *q, struct queue_entry *e, struct queue_lane *lane);
void queue_chunks_free(struct queue *q);
size_t queue_chunk_bytes(void);

/* ---- queue_gate.c ---- */
struct queue_stop *queue_stop_find(const struct queue *q, enum queue_gate_kind kind, const char *name);
/* As the gate says, closed until then; made where there is none. */
struct queue_stop *queue_stop_close(struct queue *q, const struct queue_gate *gate);
void queue_stop_open(struct queue *q, struct queue_stop *stop);
/* stop NULL: it stands at no gate any more. A gate that nobody stands at is gone. */
void queue_lane_move(struct queue *q, struct queue_lane *lane, struct queue_stop *stop);
/* A new lane comes to stand at no gate; a lane leaves where it stands, for good. */
void queue_lane_enter(struct queue *q, struct queue_lane *lane, struct queue_client *client);
void queue_lane_leave(struct queue *q, struct queue_lane *lane);
/* The gate the message is out asking for; NULL: it asks for none. */
struct queue_stop *queue_gate_asked(const struct queue_entry *e);
/* The message goes out: it asks for the gate where its lane stands. */
void queue_gate_ask(struct queue *q, struct queue_entry *e);
/* It asks no more; passed: with success. */
void queue_gate_answer(struct queue *q, struct queue_entry *e, bool passed);

#endif
