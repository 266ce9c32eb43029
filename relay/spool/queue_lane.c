/* Lanes and the messages in them. */
#include "relay/spool/queue_part.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define CHUNK_ENTRIES 512

/* Messages are many and small: they come out of chunks, which go when the last message went. */
struct queue_chunk {
    struct queue_chunk *next;
    struct queue_entry entries[CHUNK_ENTRIES];
};

static_assert(sizeof(struct queue_entry) <= 48, "what a message costs");
static_assert(ENTRY_STATE_COUNT <= 4, "the state fits into its two bits");

/* ---- the lane of a key ---- */

/* All names one after another, each with its NUL: no two keys have the same text. Free it. */
static struct span
format_lane_key(const struct queue_key *k)
{
    const char *const names[] = {k->route, k->mailbox, k->client, k->class, k->sender,
        k->domain ? k->domain : ""};
    char *text, *end;
    size_t n = 1;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        n += strlen(names[i]) + 1;
    text = end = xmalloc(n);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        size_t bytes = strlen(names[i]) + 1;

        memcpy(end, names[i], bytes);
        end += bytes;
    }
    *end = (char)(2 * k->recipients_are + k->strangers);
    return span_of(text, n);
}

static const char *
next_name(char **at)
{
    const char *name = *at;

    *at += strlen(name) + 1;
    return name;
}

/* The lane's own key leads into its own text. */
static void
own_key(struct queue_lane *lane, struct span text, const struct queue_key *key)
{
    char *at = xmalloc(text.n);

    memcpy(at, text.p, text.n);
    lane->text = at;
    lane->text_bytes = text.n;
    lane->key.route = next_name(&at);
    lane->key.mailbox = next_name(&at);
    lane->key.client = next_name(&at);
    lane->key.class = next_name(&at);
    lane->key.sender = next_name(&at);
    lane->key.domain = next_name(&at);
    lane->key.recipients_are = key->recipients_are;
    lane->key.strangers = key->strangers;
}

struct queue_lane *
queue_lane_find(const struct queue *q, const struct queue_key *key)
{
    struct span text = format_lane_key(key);
    struct queue_lane *lane = table_get(&q->lanes, text);

    free((char *)text.p);
    return lane;
}

static struct queue_lane *
lane_add(struct queue *q, const struct queue_key *key, struct span text)
{
    struct queue_lane *lane = xcalloc(1, sizeof(*lane));

    own_key(lane, text, key);
    lane->stay = 1;
    table_put(&q->lanes, text, lane);
    q->counts.lanes++;
    queue_lane_enter(q, lane, queue_client_find_or_add(q, key));
    return lane;
}

struct queue_lane *
queue_lane_find_or_add(struct queue *q, const struct queue_key *key)
{
    struct span text = format_lane_key(key);
    struct queue_lane *lane = table_get(&q->lanes, text);

    if (!lane)
        lane = lane_add(q, key, text);
    free((char *)text.p);
    return lane;
}

void
queue_lane_reap(struct queue *q, struct queue_lane *lane)
{
    if (lane->n > 0)
        return;
    queue_lane_leave(q, lane);
    table_del(&q->lanes, span_of(lane->text, lane->text_bytes));
    q->counts.lanes--;
    queue_heap_fini(&lane->ready);
    free(lane->text);
    free(lane);
}

/* ---- messages ---- */

static void
add_chunk(struct queue *q)
{
    struct queue_chunk *chunk = xmalloc(sizeof(*chunk));

    chunk->next = q->chunks;
    q->chunks = chunk;
    q->n_chunks++;
    for (size_t i = 0; i < CHUNK_ENTRIES; i++) {
        chunk->entries[i].next_free = q->first_free;
        q->first_free = &chunk->entries[i];
    }
}

void
queue_chunks_free(struct queue *q)
{
    while (q->chunks) {
        struct queue_chunk *next = q->chunks->next;

        free(q->chunks);
        q->chunks = next;
    }
    q->n_chunks = 0;
    q->first_free = NULL;
}

size_t
queue_chunk_bytes(void)
{
    return sizeof(struct queue_chunk);
}

struct queue_entry *
queue_entry_add(struct queue *q, uint64_t seq, struct queue_lane *lane)
{
    struct queue_entry *e;

    if (!q->first_free)
        add_chunk(q);
    e = q->first_free;
    q->first_free = e->next_free;
    *e = (struct queue_entry){.seq = seq, .lane = lane, .state = ENTRY_HELD};
    queue_table_add(&q->by_seq, e);
    lane->n++;
    q->counts.messages++;
    q->counts.for_operator++;
    return e;
}

void
queue_entry_del(struct queue *q, struct queue_entry *e)
{
    queue_entry_set_state(q, e, ENTRY_HELD);
    queue_table_del(&q->by_seq, e);
    e->lane->n--;
    q->counts.messages--;
    q->counts.for_operator--;
    e->next_free = q->first_free;
    q->first_free = e;
    if (q->counts.messages == 0)
        queue_chunks_free(q);
}

static uint64_t *
count_of(struct queue *q, enum queue_entry_state state)
{
    switch (state) {
    case ENTRY_OWN_TIME:
        return &q->counts.waiting_own_time;
    case ENTRY_READY:
        return &q->counts.ready;
    case ENTRY_IN_FLIGHT:
        return &q->counts.in_flight;
    case ENTRY_HELD:
    case ENTRY_STATE_COUNT:
        break;
    }
    return &q->counts.for_operator;
}

static void
count_ready(struct queue *q, const struct queue_lane *lane, uint64_t by)
{
    if (lane->group->stop)
        q->counts.at_gate[lane->group->stop->gate.kind] += by;
}

static struct queue_pool *
pool_of(const struct queue_lane *lane)
{
    return lane->group->client->class->pool;
}

static void
leave_state(struct queue *q, struct queue_entry *e)
{
    --*count_of(q, e->state);
    switch ((enum queue_entry_state)e->state) {
    case ENTRY_OWN_TIME:
        queue_heap_del(&q->by_due, &e->node);
        break;
    case ENTRY_READY:
        queue_heap_del(&e->lane->ready, &e->node);
        count_ready(q, e->lane, (uint64_t)-1);
        break;
    case ENTRY_IN_FLIGHT:
        queue_gate_answer(q, e, false);
        e->lane->in_flight--;
        queue_pool_give_back(q, pool_of(e->lane));
        break;
    case ENTRY_HELD:
    case ENTRY_STATE_COUNT:
        break;
    }
}

static void
enter_state(struct queue *q, struct queue_entry *e, enum queue_entry_state state)
{
    ++*count_of(q, state);
    e->state = state;
    switch (state) {
    case ENTRY_OWN_TIME:
        queue_heap_put(&q->by_due, &e->node, queue_key_of_time(e->due_mono_ms));
        break;
    case ENTRY_READY:
        queue_heap_put(&e->lane->ready, &e->node, e->seq);
        count_ready(q, e->lane, 1);
        break;
    case ENTRY_IN_FLIGHT:
        e->lane->in_flight++;
        queue_pool_take(q, pool_of(e->lane));
        queue_gate_ask(q, e);
        break;
    case ENTRY_HELD:
    case ENTRY_STATE_COUNT:
        break;
    }
}

void
queue_entry_set_state(struct queue *q, struct queue_entry *e, enum queue_entry_state state)
{
    leave_state(q, e);
    enter_state(q, e, state);
    queue_lane_refresh(q, e->lane);
}

void
queue_entry_set_lane(struct queue *q, struct queue_entry *e, struct queue_lane *lane)
{
    struct queue_lane *old = e->lane;

    sg_assert(e->state == ENTRY_HELD);
    old->n--;
    lane->n++;
    e->lane = lane;
    queue_lane_reap(q, old);
}
