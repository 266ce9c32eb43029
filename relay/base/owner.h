/* owner: who keeps alive what a pointer leads into, without a word about what it is.
 *
 * Whoever keeps such pointers longer than the call that brought them takes a reference, and lets it go when
 * it follows them for the last time. No object: what is pointed to outlives everybody. */
#ifndef SENDGOV_BASE_OWNER_H
#define SENDGOV_BASE_OWNER_H

#include <stddef.h>

struct owner {
    void *object; /* NULL: nobody needs to be asked */
    void (*ref)(void *object);
    void (*unref)(void *object);
};

static inline void
owner_ref(const struct owner *o)
{
    if (o->object != NULL)
        o->ref(o->object);
}

static inline void
owner_unref(struct owner *o)
{
    if (o->object != NULL)
        o->unref(o->object);
    o->object = NULL;
}

#endif
