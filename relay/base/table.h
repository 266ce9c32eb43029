/* table: byte-string keys to pointers, for counters per address and for caches.
 *
 * Keys are copied; values stay the caller's. Keys may be chosen by an attacker, so the hash is keyed
 * (one random key per table). The table grows as needed: its owner bounds the number of entries. */
#ifndef SENDGOV_BASE_TABLE_H
#define SENDGOV_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "relay/base/siphash.h"
#include "relay/base/span.h"

struct table_entry;

struct table {
    struct table_entry *entries; /* open addressing, a power of two of them */
    size_t size, count;
    struct siphash_key key;
};

void table_init(struct table *t, struct siphash_key key);
/* Does not touch the values. */
void table_fini(struct table *t);
/* NULL when absent. */
void *table_get(const struct table *t, struct span key);
/* value must not be NULL. Returns the value it replaced, or NULL. */
void *table_put(struct table *t, struct span key, void *value);
/* Takes the entry out and returns its value; NULL when absent. */
void *table_del(struct table *t, struct span key);

/* Calls fn for every entry, in no order; fn says whether to drop it (and then frees the value itself). An
 * entry may be shown twice when others are dropped. fn must not change the table otherwise. */
typedef bool table_drop_fn(void *arg, struct span key, void *value);
void table_sweep(struct table *t, table_drop_fn *fn, void *arg);

/* What it holds in memory, copies of the keys included; takes a walk over all of it. */
size_t table_bytes(const struct table *t);

static inline size_t
table_count(const struct table *t)
{
    return t->count;
}

#endif
