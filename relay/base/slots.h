/* slots: a table of objects reached by generation handles.
 *
 * Whoever is answered later keeps a handle, not a pointer: once the object is gone the handle
 * finds NULL, even when its place was taken by another object since. The table owns only itself.
 */
#ifndef SENDGOV_BASE_SLOTS_H
#define SENDGOV_BASE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handle {
    uint32_t index;
    uint32_t generation; /* 0 in no valid handle */
};

#define HANDLE_NONE ((struct handle){0, 0})

struct slot;

struct slots {
    struct slot *items;
    uint32_t size;
    uint32_t first_free;
    uint32_t live; /* objects in the table */
};

void slots_init(struct slots *s);
void slots_fini(struct slots *s);
struct handle slots_add(struct slots *s, void *object);
/* NULL when the handle is stale or HANDLE_NONE. */
void *slots_get(const struct slots *s, struct handle h);
/* Harmless on a stale handle. */
void slots_del(struct slots *s, struct handle h);
/* fn may delete its object, and others; it must not add. */
void slots_each(const struct slots *s, void (*fn)(void *object));

static inline bool
handle_is_none(struct handle h)
{
    return h.generation == 0;
}

#endif
