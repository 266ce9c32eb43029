#include "relay/spool/queue.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/queue_part.h"

#define WEIGHT_MAX 1000u

struct queue *
queue_new(void)
{
    struct queue *q = xcalloc(1, sizeof(*q));
    struct siphash_key key = siphash_key_random();

    table_init(&q->lanes, key);
    table_init(&q->groups, key);
    table_init(&q->stops, key);
    list_init(&q->priorities);
    list_init(&q->pools);
    list_init(&q->all_stops);
    return q;
}

static bool
lane_drop_all(void *arg, struct span key, void *value)
{
    struct queue_lane *lane = value;
    struct queue *q = arg;

    (void)key;
    queue_lane_leave(q, lane);
    queue_heap_fini(&lane->ready);
    free(lane->text);
    free(lane);
    return true;
}

void
queue_free(struct queue **q)
{
    if (!*q)
        return;
    table_sweep(&(*q)->lanes, lane_drop_all, *q);
    queue_pools_free(*q);
    queue_priorities_free(*q);
    queue_heap_fini(&(*q)->by_due);
    queue_heap_fini(&(*q)->closed);
    queue_table_fini(&(*q)->by_seq);
    queue_chunks_free(*q);
    table_fini(&(*q)->lanes);
    table_fini(&(*q)->groups);
    table_fini(&(*q)->stops);
    free(*q);
    *q = NULL;
}

void
queue_set_weight(struct queue *q, const char *name, uint32_t weight)
{
    weight = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
    queue_priority_set_weight(q, queue_priority_find_or_add(q, name), weight);
}

void
queue_set_room(struct queue *q, const char *route, const char *mailbox, uint32_t max)
{
    queue_pool_set_max(q, queue_pool_find_or_add(q, route, mailbox), max);
}

/* ---- messages come and go ---- */

static enum queue_entry_state
state_by_due(const struct queue *q, int64_t due_mono_ms)
{
    if (due_mono_ms == INT64_MAX)
        return ENTRY_HELD;
    return due_mono_ms <= q->now_mono_ms ? ENTRY_READY : ENTRY_OWN_TIME;
}

void
queue_put(struct queue *q, const struct queue_key *key, const struct queue_item *item)
{
    struct queue_lane *lane = queue_lane_find_or_add(q, key);
    struct queue_entry *e = queue_table_get(&q->by_seq, item->seq);

    sg_assert(item->bytes >> QUEUE_BYTES_BITS == 0);
    if (!e)
        e = queue_entry_add(q, item->seq, lane);
    queue_entry_set_state(q, e, ENTRY_HELD);
    if (e->lane != lane)
        queue_entry_set_lane(q, e, lane);
    e->due_mono_ms = item->due_mono_ms;
    e->bytes = item->bytes;
    e->recipients = item->recipients < UINT16_MAX ? item->recipients : UINT16_MAX;
    queue_entry_set_state(q, e, state_by_due(q, e->due_mono_ms));
}

void
queue_drop(struct queue *q, uint64_t seq)
{
    struct queue_entry *e = queue_table_get(&q->by_seq, seq);
    struct queue_lane *lane;

    if (!e)
        return;
    lane = e->lane;
    queue_entry_del(q, e);
    queue_lane_reap(q, lane);
}

/* ---- release ---- */

/* What waited for a time that came is ready, or opening. */
static void
advance(struct queue *q, int64_t now_mono_ms)
{
    struct queue_node *node;

    if (now_mono_ms > q->now_mono_ms)
        q->now_mono_ms = now_mono_ms;
    while ((node = queue_heap_top(&q->by_due)) && queue_time_of_key(node->key) <= now_mono_ms)
        queue_entry_set_state(q, LIST_ITEM(node, struct queue_entry, node), ENTRY_READY);
    while ((node = queue_heap_top(&q->closed)) && queue_time_of_key(node->key) <= now_mono_ms)
        queue_stop_open(q, LIST_ITEM(node, struct queue_stop, node));
}

bool
queue_next(struct queue *q, int64_t now_mono_ms, struct queue_item *item_out, struct queue_key *key_out)
{
    struct queue_lane *lane;
    struct queue_entry *e;

    advance(q, now_mono_ms);
    lane = queue_order_first(q);
    if (!lane)
        return false;
    e = LIST_ITEM(queue_heap_top(&lane->ready), struct queue_entry, node);
    queue_order_charge(q, lane);
    queue_entry_set_state(q, e, ENTRY_IN_FLIGHT);
    *key_out = lane->key;
    *item_out = (struct queue_item){.seq = e->seq, .recipients = e->recipients, .bytes = e->bytes,
        .due_mono_ms = e->due_mono_ms};
    return true;
}

static struct queue_entry *
get_in_flight(const struct queue *q, uint64_t seq)
{
    struct queue_entry *e = queue_table_get(&q->by_seq, seq);

    return e && e->state == ENTRY_IN_FLIGHT ? e : NULL;
}

void
queue_refuse(struct queue *q, uint64_t seq, const struct queue_gate *gate)
{
    struct queue_entry *e = get_in_flight(q, seq);
    struct queue_stop *asked, *closed;

    if (!e)
        return;
    asked = queue_gate_asked(e);
    queue_entry_set_state(q, e, ENTRY_READY);
    closed = queue_stop_close(q, gate);
    if (asked == closed)
        queue_order_give_back(q, e->lane);
    queue_lane_move(q, e->lane, closed);
}

void
queue_passed(struct queue *q, uint64_t seq)
{
    struct queue_entry *e = get_in_flight(q, seq);

    if (e)
        queue_gate_answer(q, e, true);
}

void
queue_open(struct queue *q, enum queue_gate_kind kind, const char *name)
{
    struct queue_stop *stop = name ? queue_stop_find(q, kind, name) : NULL;

    if (stop)
        queue_stop_open(q, stop);
    if (name)
        return;
    LIST_EACH(it, &q->all_stops)
        if (LIST_ITEM(it, struct queue_stop, of_queue)->gate.kind == kind)
            queue_stop_open(q, LIST_ITEM(it, struct queue_stop, of_queue));
}

static int64_t
top_mono_ms(const struct queue_heap *h)
{
    const struct queue_node *node = queue_heap_top(h);

    return node ? queue_time_of_key(node->key) : INT64_MAX;
}

int64_t
queue_wake_mono_ms(const struct queue *q)
{
    int64_t due = top_mono_ms(&q->by_due), opens = top_mono_ms(&q->closed);

    return due < opens ? due : opens;
}

bool
queue_has_waiting(const struct queue *q, const struct queue_key *key)
{
    const struct queue_lane *lane = queue_lane_find(q, key);

    return lane && lane->ready.n > 0;
}

bool
queue_is_in(const struct queue *q, uint64_t seq, const struct queue_key *key)
{
    const struct queue_entry *e = queue_table_get(&q->by_seq, seq);

    return e && e->lane == queue_lane_find(q, key);
}
