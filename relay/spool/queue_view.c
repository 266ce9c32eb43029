/* What others may know of the queue: why a message waits, how many do, and what that takes. */
#include "relay/spool/queue_part.h"

static uint64_t
ready_before(const struct queue_lane *lane, uint64_t seq)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < lane->ready.n; i++)
        n += lane->ready.nodes[i]->key < seq;
    return n;
}

static bool
is_due(const struct queue_entry *e, int64_t now_mono_ms)
{
    return e->state == ENTRY_READY || (e->state == ENTRY_OWN_TIME && e->due_mono_ms <= now_mono_ms);
}

void
queue_why(const struct queue *q, uint64_t seq, int64_t now_mono_ms, struct queue_why *out)
{
    const struct queue_entry *e = queue_table_get(&q->by_seq, seq);

    *out = (struct queue_why){.known = e != NULL};
    if (!e)
        return;
    out->in_flight = e->state == ENTRY_IN_FLIGHT;
    out->waits_for_operator = e->state == ENTRY_HELD;
    out->due_mono_ms = e->due_mono_ms;
    out->gate = e->lane->group->stop ? &e->lane->group->stop->gate : NULL;
    out->lane = e->lane->ready.n;
    if (e->state == ENTRY_OWN_TIME && is_due(e, now_mono_ms)) /* since the last queue_next */
        out->lane++;
}

uint64_t
queue_place(const struct queue *q, uint64_t seq, int64_t now_mono_ms)
{
    const struct queue_entry *e = queue_table_get(&q->by_seq, seq);

    return e && is_due(e, now_mono_ms) ? ready_before(e->lane, seq) + 1 : 0;
}

void
queue_counts(const struct queue *q, struct queue_counts *out)
{
    *out = q->counts;
}

/* ---- memory ---- */

/* As glibc's malloc rounds, with its own 8 bytes. */
static size_t
block_bytes(size_t n)
{
    size_t block = (n + 8 + 15) / 16 * 16;

    return n == 0 ? 0 : block < 32 ? 32 : block;
}

static size_t
heap_bytes(const struct queue_heap *h)
{
    return block_bytes(h->size * sizeof(*h->nodes));
}

static size_t
lane_bytes(const struct queue_lane *lane)
{
    return block_bytes(sizeof(*lane)) + block_bytes(lane->text_bytes) + heap_bytes(&lane->ready);
}

static size_t
group_bytes(const struct queue_group *group)
{
    size_t n = block_bytes(sizeof(*group)) + heap_bytes(&group->may_go);

    LIST_EACH(it, &group->lanes)
        n += lane_bytes(LIST_ITEM(it, struct queue_lane, of_group));
    return n;
}

static size_t
client_bytes(const struct queue_client *client)
{
    size_t n = block_bytes(sizeof(*client)) + block_bytes(strlen(client->name) + 1)
        + heap_bytes(&client->may_go);

    LIST_EACH(it, &client->groups)
        n += group_bytes(LIST_ITEM(it, struct queue_group, of_client));
    return n;
}

static size_t
class_bytes(const struct queue_class *class)
{
    size_t n = block_bytes(sizeof(*class)) + heap_bytes(&class->may_go);

    LIST_EACH(it, &class->clients)
        n += client_bytes(LIST_ITEM(it, struct queue_client, of_class));
    return n;
}

static size_t
pool_bytes(const struct queue_pool *pool)
{
    size_t n = block_bytes(sizeof(*pool)) + block_bytes(strlen(pool->route) + 1)
        + block_bytes(strlen(pool->mailbox) + 1);

    LIST_EACH(it, &pool->classes)
        n += class_bytes(LIST_ITEM(it, struct queue_class, of_pool));
    return n;
}

static size_t
priority_bytes(const struct queue_priority *priority)
{
    return block_bytes(sizeof(*priority)) + block_bytes(strlen(priority->name) + 1);
}

size_t
queue_bytes(const struct queue *q)
{
    size_t n = block_bytes(sizeof(*q)) + q->n_chunks * block_bytes(queue_chunk_bytes())
        + block_bytes(q->by_seq.size * sizeof(*q->by_seq.entries)) + heap_bytes(&q->by_due)
        + heap_bytes(&q->closed) + q->counts.gates * block_bytes(sizeof(struct queue_stop))
        + table_bytes(&q->lanes) + table_bytes(&q->groups) + table_bytes(&q->stops);

    LIST_EACH(it, &q->pools)
        n += pool_bytes(LIST_ITEM(it, struct queue_pool, of_queue));
    LIST_EACH(it, &q->priorities)
        n += priority_bytes(LIST_ITEM(it, struct queue_priority, of_queue));
    return n;
}
