#include "relay/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define BLOCK_BYTES ((size_t)4096)

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    alignas(max_align_t) char mem[];
};

void
arena_init(struct arena *a)
{
    a->blocks = NULL;
}

void
arena_fini(struct arena *a)
{
    struct arena_block *b = a->blocks;

    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    a->blocks = NULL;
}

static struct arena_block *
block_new(size_t n)
{
    size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;
    struct arena_block *b = xcalloc(1, sizeof(*b) + size);

    b->size = size;
    return b;
}

void *
arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *b = a->blocks;
    void *p;

    sg_assert(n < SIZE_MAX / 2);
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!b || b->size - b->used < n) {
        struct arena_block *fresh = block_new(n);

        if (b && n > BLOCK_BYTES) { /* a big one goes behind, so the current block is used up first */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->blocks = fresh;
        }
        b = fresh;
    }
    p = b->mem + b->used;
    b->used += n;
    return p;
}

char *
arena_strdup(struct arena *a, struct span s)
{
    char *copy = arena_alloc(a, s.n + 1);

    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    return copy;
}
