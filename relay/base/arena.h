/* arena: memory that is given back all at once. The configuration and its strings live in one. */
#ifndef SENDGOV_BASE_ARENA_H
#define SENDGOV_BASE_ARENA_H

#include <stddef.h>

#include "relay/base/span.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
};

void arena_init(struct arena *a);
void arena_fini(struct arena *a);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, struct span s) __attribute__((returns_nonnull));

#endif
