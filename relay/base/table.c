/* Linear probing; deleting moves later entries up, so there are no tombstones and no decay. */
#include "relay/base/table.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define FIRST_SIZE ((size_t)16)

struct table_entry {
    uint64_t hash;
    char *key; /* NULL: free */
    size_t n;
    void *value;
};

void
table_init(struct table *t, struct siphash_key key)
{
    *t = (struct table){.key = key};
}

void
table_fini(struct table *t)
{
    for (size_t i = 0; i < t->size; i++)
        free(t->entries[i].key);
    free(t->entries);
    table_init(t, t->key);
}

/* The entry that holds the key, or the free one where it belongs. The table is never full. */
static struct table_entry *
find(const struct table *t, uint64_t hash, struct span key)
{
    size_t at = hash & (t->size - 1);

    for (;; at = (at + 1) & (t->size - 1)) {
        struct table_entry *e = &t->entries[at];

        if (!e->key || (e->hash == hash && span_eq(span_of(e->key, e->n), key)))
            return e;
    }
}

static void
grow(struct table *t)
{
    struct table_entry *old = t->entries;
    size_t old_size = t->size;

    t->size = old_size > 0 ? old_size * 2 : FIRST_SIZE;
    t->entries = xcalloc(t->size, sizeof(*t->entries));
    for (size_t i = 0; i < old_size; i++)
        if (old[i].key)
            *find(t, old[i].hash, span_of(old[i].key, old[i].n)) = old[i];
    free(old);
}

void *
table_get(const struct table *t, struct span key)
{
    if (t->count == 0)
        return NULL;
    return find(t, siphash13(t->key, key), key)->value;
}

void *
table_put(struct table *t, struct span key, void *value)
{
    uint64_t hash = siphash13(t->key, key);
    struct table_entry *e;
    void *old;

    sg_assert(value);
    if (t->count + t->count / 2 >= t->size)
        grow(t);
    e = find(t, hash, key);
    old = e->value;
    if (!e->key) {
        *e = (struct table_entry){.hash = hash, .key = xmalloc(key.n), .n = key.n};
        if (key.n > 0)
            memcpy(e->key, key.p, key.n);
        t->count++;
    }
    e->value = value;
    return old;
}

/* Empties entry `hole` and moves up those behind it that could not have been reached otherwise. */
static void
remove_at(struct table *t, size_t hole)
{
    size_t mask = t->size - 1;

    free(t->entries[hole].key);
    for (size_t at = (hole + 1) & mask; t->entries[at].key; at = (at + 1) & mask) {
        size_t home = t->entries[at].hash & mask;

        if (((at - home) & mask) >= ((at - hole) & mask)) {
            t->entries[hole] = t->entries[at];
            hole = at;
        }
    }
    t->entries[hole] = (struct table_entry){0};
    t->count--;
}

void *
table_del(struct table *t, struct span key)
{
    struct table_entry *e;
    void *value;

    if (t->count == 0)
        return NULL;
    e = find(t, siphash13(t->key, key), key);
    if (!e->key)
        return NULL;
    value = e->value;
    remove_at(t, (size_t)(e - t->entries));
    return value;
}

void
table_sweep(struct table *t, table_drop_fn *fn, void *arg)
{
    size_t i = 0;

    while (i < t->size) {
        struct table_entry *e = &t->entries[i];

        if (e->key && fn(arg, span_of(e->key, e->n), e->value))
            remove_at(t, i); /* another may have moved here: look again */
        else
            i++;
    }
}

/* As glibc's malloc rounds, with its own 8 bytes. */
static size_t
block_bytes(size_t n)
{
    size_t block = (n + 8 + 15) / 16 * 16;

    return block < 32 ? 32 : block;
}

size_t
table_bytes(const struct table *t)
{
    size_t n = t->size > 0 ? block_bytes(t->size * sizeof(*t->entries)) : 0;

    for (size_t i = 0; i < t->size; i++)
        if (t->entries[i].key)
            n += block_bytes(t->entries[i].n);
    return n;
}
