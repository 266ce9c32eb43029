#include "relay/store/pause_list.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

void
pause_list_init(struct pause_list *l)
{
    memset(l, 0, sizeof(*l));
}

void
pause_list_fini(struct pause_list *l)
{
    free(l->pauses);
    free(l->states);
    free(l->seen);
    pause_list_init(l);
}

struct pause *
pause_list_find(const struct pause_list *l, enum limit_scope scope, const char *instance, enum pause_extent extent)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->pauses[i].scope == scope && l->pauses[i].extent == extent && strcmp(l->pauses[i].instance, instance) == 0)
            return &l->pauses[i];
    return NULL;
}

static struct pause *
find_same(const struct pause_list *l, const struct pause *p)
{
    return pause_list_find(l, p->scope, p->instance, p->extent);
}

enum pause_state
pause_list_state(const struct pause_list *l, const struct pause *p)
{
    return l->states[p - l->pauses];
}

void
pause_list_set_state(struct pause_list *l, const struct pause *p, enum pause_state state)
{
    l->states[p - l->pauses] = state;
}

static void
remove_at(struct pause_list *l, size_t i)
{
    l->n--;
    memmove(&l->pauses[i], &l->pauses[i + 1], (l->n - i) * sizeof(*l->pauses));
    memmove(&l->states[i], &l->states[i + 1], (l->n - i) * sizeof(*l->states));
    memmove(&l->seen[i], &l->seen[i + 1], (l->n - i) * sizeof(*l->seen));
}

static void
grow(struct pause_list *l)
{
    if (l->n < l->size)
        return;
    l->size = l->size > 0 ? 2 * l->size : 8;
    l->pauses = xrealloc(l->pauses, l->size * sizeof(*l->pauses));
    l->states = xrealloc(l->states, l->size * sizeof(*l->states));
    l->seen = xrealloc(l->seen, l->size * sizeof(*l->seen));
}

static void
insert(struct pause_list *l, const struct pause *p, enum pause_state state)
{
    struct pause copy = *p; /* p may lie in the list */
    size_t at = 0;

    grow(l);
    while (at < l->n && l->pauses[at].since_utc_ms > copy.since_utc_ms)
        at++;
    memmove(&l->pauses[at + 1], &l->pauses[at], (l->n - at) * sizeof(*l->pauses));
    memmove(&l->states[at + 1], &l->states[at], (l->n - at) * sizeof(*l->states));
    memmove(&l->seen[at + 1], &l->seen[at], (l->n - at) * sizeof(*l->seen));
    l->pauses[at] = copy;
    l->states[at] = state;
    l->seen[at] = true;
    l->n++;
}

static int64_t
end_of(const struct pause *p)
{
    return p->until_utc_ms == 0 ? INT64_MAX : p->until_utc_ms;
}

/* The rule of policy/lua/pause.lua. */
static bool
ends_later(const struct pause *a, const struct pause *b)
{
    return end_of(a) > end_of(b);
}

bool
pause_list_add(struct pause_list *l, const struct pause *p)
{
    struct pause *old = find_same(l, p);

    if (old && !ends_later(p, old))
        return false;
    if (old)
        remove_at(l, (size_t)(old - l->pauses));
    else if (l->n == PAUSES_MAX)
        return false;
    insert(l, p, PAUSE_NEW);
    return true;
}

void
pause_list_take_over(struct pause_list *l, const struct pause *p)
{
    struct pause *old = find_same(l, p);

    if (old && pause_list_state(l, old) == PAUSE_NEW && ends_later(old, p))
        return; /* ours is on its way */
    if (old)
        remove_at(l, (size_t)(old - l->pauses));
    if (l->n < PAUSES_MAX)
        insert(l, p, PAUSE_KNOWN);
}

void
pause_list_remove(struct pause_list *l, enum limit_scope scope, const char *instance, enum pause_extent extent)
{
    struct pause *p = pause_list_find(l, scope, instance, extent);

    if (p)
        remove_at(l, (size_t)(p - l->pauses));
}

void
pause_list_begin_sync(struct pause_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        l->seen[i] = false;
}

void
pause_list_end_sync(struct pause_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->seen[i] && l->states[i] == PAUSE_KNOWN)
            l->states[i] = PAUSE_FORGOTTEN;
}

bool
pause_list_expire(struct pause_list *l, int64_t now_ms)
{
    size_t before = l->n;

    for (size_t i = l->n; i-- > 0;)
        if (l->pauses[i].until_utc_ms != 0 && l->pauses[i].until_utc_ms <= now_ms)
            remove_at(l, i);
    return l->n != before;
}

static const struct pause *
last_to_end(const struct pause *a, const struct pause *b)
{
    return !a || (b && ends_later(b, a)) ? b : a;
}

const struct pause *
pause_list_for(const struct pause_list *l, const struct charge_request *r)
{
    const struct pause *last = NULL;

    for (size_t i = 0; i < r->n_scopes; i++) {
        const struct charge_scope *s = &r->scopes[i];

        last = last_to_end(last, pause_list_find(l, s->scope, s->instance, PAUSE_ALL));
        if (r->external)
            last = last_to_end(last, pause_list_find(l, s->scope, s->instance, PAUSE_EXTERNAL));
    }
    return last;
}
