#include "relay/spool/queue_heap.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define FIRST_SIZE 8u

void
queue_heap_fini(struct queue_heap *h)
{
    free(h->nodes);
    *h = (struct queue_heap){0};
}

struct queue_node *
queue_heap_top(const struct queue_heap *h)
{
    return h->n > 0 ? h->nodes[0] : NULL;
}

static void
resize(struct queue_heap *h, uint32_t size)
{
    h->nodes = xrealloc(h->nodes, size * sizeof(struct queue_node *));
    h->size = size;
}

/* Half as much again, not twice: with many messages the array is a good part of what each of them costs. */
static void
make_room(struct queue_heap *h)
{
    if (h->n == h->size)
        resize(h, h->size < FIRST_SIZE ? FIRST_SIZE : h->size + h->size / 2);
}

/* What was a backlog gives its memory back. */
static void
give_back(struct queue_heap *h)
{
    if (h->n == 0)
        queue_heap_fini(h);
    else if (h->size > FIRST_SIZE && h->n < h->size / 4)
        resize(h, h->size / 2);
}

static void
place(struct queue_heap *h, uint32_t i, struct queue_node *node)
{
    h->nodes[i] = node;
    node->at = i + 1;
}

static void
sift_up(struct queue_heap *h, uint32_t i, struct queue_node *node)
{
    while (i > 0 && h->nodes[(i - 1) / 2]->key > node->key) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, node);
}

static void
sift_down(struct queue_heap *h, uint32_t i, struct queue_node *node)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child + 1 < h->n && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (child >= h->n || h->nodes[child]->key >= node->key)
            break;
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, node);
}

static void
sift(struct queue_heap *h, uint32_t i, struct queue_node *node)
{
    if (i > 0 && h->nodes[(i - 1) / 2]->key > node->key)
        sift_up(h, i, node);
    else
        sift_down(h, i, node);
}

void
queue_heap_put(struct queue_heap *h, struct queue_node *node, uint64_t key)
{
    uint32_t i = node->at;

    node->key = key;
    if (i > 0) {
        sift(h, i - 1, node);
        return;
    }
    make_room(h);
    h->n++;
    sift_up(h, h->n - 1, node);
}

void
queue_heap_del(struct queue_heap *h, struct queue_node *node)
{
    uint32_t i = node->at;
    struct queue_node *last;

    if (i == 0)
        return;
    sg_assert(i <= h->n && h->nodes[i - 1] == node);
    last = h->nodes[--h->n];
    if (last != node)
        sift(h, i - 1, last);
    node->at = 0;
    give_back(h);
}
