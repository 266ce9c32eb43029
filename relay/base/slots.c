#include "relay/base/slots.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define NO_SLOT UINT32_MAX
#define FIRST_SLOTS 16u

struct slot {
    void *object; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

void
slots_init(struct slots *s)
{
    *s = (struct slots){.first_free = NO_SLOT};
}

void
slots_fini(struct slots *s)
{
    free(s->items);
    slots_init(s);
}

static void
slots_grow(struct slots *s)
{
    uint32_t size = s->size > 0 ? s->size * 2 : FIRST_SLOTS;

    sg_assert(s->size < UINT32_MAX / 4);
    s->items = xrealloc(s->items, size * sizeof(*s->items));
    for (uint32_t i = size; i-- > s->size;) {
        s->items[i] = (struct slot){.generation = 1, .next_free = s->first_free};
        s->first_free = i;
    }
    s->size = size;
}

struct handle
slots_add(struct slots *s, void *object)
{
    struct slot *slot;
    uint32_t index;

    sg_assert(object);
    if (s->live == s->size)
        slots_grow(s);
    index = s->first_free;
    slot = &s->items[index];
    s->first_free = slot->next_free;
    slot->object = object;
    s->live++;
    return (struct handle){index, slot->generation};
}

void *
slots_get(const struct slots *s, struct handle h)
{
    if (h.generation == 0 || h.index >= s->size || s->items[h.index].generation != h.generation)
        return NULL;
    return s->items[h.index].object;
}

void
slots_del(struct slots *s, struct handle h)
{
    struct slot *slot;

    if (!slots_get(s, h))
        return;
    slot = &s->items[h.index];
    slot->object = NULL;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->next_free = s->first_free;
    s->first_free = h.index;
    s->live--;
}

void
slots_each(const struct slots *s, void (*fn)(void *object))
{
    for (uint32_t i = 0; i < s->size; i++)
        if (s->items[i].object)
            fn(s->items[i].object);
}
