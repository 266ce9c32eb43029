/* Linear probing; deleting moves later entries up, so there are no tombstones and no decay. The seq is ours
 * and not an attacker's: a multiplication spreads it well enough. */
#include "relay/spool/queue_table.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/queue_part.h"

#define FIRST_SIZE ((size_t)64)

void
queue_table_fini(struct queue_table *t)
{
    free(t->entries);
    *t = (struct queue_table){0};
}

static size_t
home_of(const struct queue_table *t, uint64_t seq)
{
    return (size_t)(seq * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (t->size - 1);
}

/* Where it is, or the free place where it belongs. The table is never full. */
static size_t
find(const struct queue_table *t, uint64_t seq)
{
    size_t at = home_of(t, seq);

    while (t->entries[at] && t->entries[at]->seq != seq)
        at = (at + 1) & (t->size - 1);
    return at;
}

static void
resize(struct queue_table *t, size_t size)
{
    struct queue_table old = *t;

    t->size = size;
    t->entries = xcalloc(size, sizeof(struct queue_entry *));
    for (size_t i = 0; i < old.size; i++)
        if (old.entries[i])
            t->entries[find(t, old.entries[i]->seq)] = old.entries[i];
    free(old.entries);
}

struct queue_entry *
queue_table_get(const struct queue_table *t, uint64_t seq)
{
    return t->count > 0 ? t->entries[find(t, seq)] : NULL;
}

void
queue_table_add(struct queue_table *t, struct queue_entry *e)
{
    size_t at;

    if (t->count + 1 > t->size / 4 * 3)
        resize(t, t->size > 0 ? t->size * 2 : FIRST_SIZE);
    at = find(t, e->seq);
    sg_assert(!t->entries[at]);
    t->entries[at] = e;
    t->count++;
}

/* Empties the place and moves up those behind it that could not have been reached otherwise. */
static void
empty_at(struct queue_table *t, size_t hole)
{
    size_t mask = t->size - 1;

    for (size_t at = (hole + 1) & mask; t->entries[at]; at = (at + 1) & mask) {
        if (((at - home_of(t, t->entries[at]->seq)) & mask) < ((at - hole) & mask))
            continue;
        t->entries[hole] = t->entries[at];
        hole = at;
    }
    t->entries[hole] = NULL;
}

void
queue_table_del(struct queue_table *t, const struct queue_entry *e)
{
    size_t at = find(t, e->seq);

    sg_assert(t->entries[at] == e);
    empty_at(t, at);
    t->count--;
    if (t->count == 0)
        queue_table_fini(t);
    else if (t->size > FIRST_SIZE && t->count < t->size / 8)
        resize(t, t->size / 2);
}
