/* guard: parser input that ends where readable memory ends. Reading one byte too far is a fault, not luck. */
#ifndef SENDGOV_TESTS_GUARD_H
#define SENDGOV_TESTS_GUARD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "relay/base/span.h"

struct guard {
    char *map;
    size_t size;
};

/* A copy of the n bytes at p whose end is the start of an unreadable page. Give it back with guard_free. */
static inline struct span
guard_copy(struct guard *g, const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), readable = (n + page - 1) / page * page;
    char *at;

    g->size = readable + page;
    g->map = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED || mprotect(g->map + readable, page, PROT_NONE) != 0)
        abort();
    at = g->map + readable - n;
    if (n > 0)
        memcpy(at, p, n);
    return span_of(at, n);
}

static inline void
guard_free(struct guard *g)
{
    munmap(g->map, g->size);
    g->map = NULL;
}

#endif
