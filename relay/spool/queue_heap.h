/* queue_heap: the least of many, in O(log n), where each can be taken out from the middle. The nodes lie in
 * the objects that are ordered; the heap owns only its array. Objects with equal keys come in any order. */
#ifndef SENDGOV_SPOOL_QUEUE_HEAP_H
#define SENDGOV_SPOOL_QUEUE_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct queue_node {
    uint64_t key; /* free for another use while at is 0 */
    uint32_t at;  /* its place in the heap it is in, from 1; 0: in none */
};

struct queue_heap { /* zeroed: empty */
    struct queue_node **nodes;
    uint32_t n, size;
};

void queue_heap_fini(struct queue_heap *h);
/* NULL: empty. */
struct queue_node *queue_heap_top(const struct queue_heap *h);
/* Puts it in, or moves it to where its new key belongs. */
void queue_heap_put(struct queue_heap *h, struct queue_node *node, uint64_t key);
/* Harmless when it is in no heap. */
void queue_heap_del(struct queue_heap *h, struct queue_node *node);

/* A key that is ordered like the time. */
static inline uint64_t
queue_key_of_time(int64_t t_ms)
{
    return (uint64_t)t_ms ^ (uint64_t)1 << 63;
}

static inline int64_t
queue_time_of_key(uint64_t key)
{
    return (int64_t)(key ^ (uint64_t)1 << 63);
}

#endif
