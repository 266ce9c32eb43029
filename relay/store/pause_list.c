#include "relay/store/pause_list.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

#define MORE_LEAST_MS (60 * 1000)

void
pause_list_init(struct pause_list *l)
{
    memset(l, 0, sizeof(*l));
}

void
pause_list_fini(struct pause_list *l)
{
    free(l->pauses);
    free(l->notes);
    pause_list_init(l);
}

struct pause *
pause_list_find(const struct pause_list *l, enum limit_scope scope, const char *instance,
    enum pause_extent extent)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->pauses[i].scope == scope && l->pauses[i].extent == extent
            && strcmp(l->pauses[i].instance, instance) == 0)
            return &l->pauses[i];
    return NULL;
}

static struct pause *
find_same(const struct pause_list *l, const struct pause *p)
{
    return pause_list_find(l, p->scope, p->instance, p->extent);
}

struct pause_note *
pause_list_note(const struct pause_list *l, const struct pause *p)
{
    return &l->notes[p - l->pauses];
}

static void
remove_at(struct pause_list *l, size_t i)
{
    l->n--;
    memmove(&l->pauses[i], &l->pauses[i + 1], (l->n - i) * sizeof(*l->pauses));
    memmove(&l->notes[i], &l->notes[i + 1], (l->n - i) * sizeof(*l->notes));
}

static void
grow(struct pause_list *l)
{
    if (l->n < l->size)
        return;
    l->size = l->size > 0 ? 2 * l->size : 8;
    l->pauses = xrealloc(l->pauses, l->size * sizeof(*l->pauses));
    l->notes = xrealloc(l->notes, l->size * sizeof(*l->notes));
}

static void
insert(struct pause_list *l, const struct pause *p, const struct pause_wider *wider, enum pause_state state)
{
    struct pause copy = *p; /* both may lie in the list */
    struct pause_note note = {.state = state, .seen = true};
    size_t at = 0;

    if (wider)
        note.wider = *wider;
    grow(l);
    while (at < l->n && l->pauses[at].since_utc_ms > copy.since_utc_ms)
        at++;
    memmove(&l->pauses[at + 1], &l->pauses[at], (l->n - at) * sizeof(*l->pauses));
    memmove(&l->notes[at + 1], &l->notes[at], (l->n - at) * sizeof(*l->notes));
    l->pauses[at] = copy;
    l->notes[at] = note;
    l->n++;
}

static int64_t
end_of(const struct pause *p)
{
    return p->until_utc_ms == 0 ? INT64_MAX : p->until_utc_ms;
}

/* The rule of policy/lua/pause.lua. */
bool
pause_ends_later(const struct pause *a, const struct pause *b)
{
    return end_of(a) > end_of(b);
}

static size_t
places_of_scope(enum limit_scope scope)
{
    switch (scope) {
    case SCOPE_ROUTE:
        return PLACES_ROUTE;
    case SCOPE_MAILBOX:
    case SCOPE_CLIENT:
        return PLACES_MIDDLE;
    case SCOPE_SENDER:
    case SCOPE_SENDER_DOMAIN:
    case SCOPE_RECIPIENT_DOMAIN:
    case SCOPE_COUNT:
        break;
    }
    return PLACES_SENDER;
}

static size_t
places_of(const struct pause *p)
{
    return p->extent == PAUSE_GROWTH ? PLACES_GROWTH : places_of_scope(p->scope);
}

static bool
share_places(const struct pause *a, const struct pause *b)
{
    if (a->extent == PAUSE_GROWTH || b->extent == PAUSE_GROWTH)
        return a->extent == b->extent;
    return a->scope == b->scope
        || (a->scope != SCOPE_ROUTE && b->scope != SCOPE_ROUTE && places_of(a) == places_of(b));
}

static bool
has_place(const struct pause_list *l, const struct pause *p)
{
    size_t taken = 0;

    for (size_t i = 0; i < l->n; i++)
        taken += share_places(&l->pauses[i], p);
    return taken < places_of(p) && l->n < PAUSES_KEPT_MAX;
}

bool
pause_widen(struct pause *p, const struct pause_wider *wider)
{
    bool to_client = (p->scope == SCOPE_SENDER || p->scope == SCOPE_SENDER_DOMAIN)
        && wider->client[0] != '\0';

    if (p->scope == SCOPE_ROUTE || (!to_client && wider->route[0] == '\0'))
        return false;
    p->scope = to_client ? SCOPE_CLIENT : SCOPE_ROUTE;
    memcpy(p->instance, to_client ? wider->client : wider->route, sizeof(p->instance));
    return true;
}

/* Is p worth to be kept and told in the place of old? An operator's word always is: only refusals come by
 * the hundred. */
static bool
adds_to(const struct pause *p, const struct pause *old)
{
    bool is_like_old = p->class == old->class && p->class != CLASS_OK;

    return pause_ends_later(p, old) && (!is_like_old || end_of(p) - end_of(old) >= MORE_LEAST_MS);
}

enum pause_result
pause_list_add(struct pause_list *l, struct pause *p, const struct pause_wider *wider)
{
    struct pause own = *p;
    struct pause *old = find_same(l, &own);

    while (!old && !has_place(l, &own)) {
        if (!wider || !pause_widen(&own, wider))
            return PAUSE_NO_PLACE;
        old = find_same(l, &own);
    }
    if (old && !adds_to(&own, old)) {
        *p = *old;
        return PAUSE_STANDS;
    }
    if (old)
        remove_at(l, (size_t)(old - l->pauses));
    insert(l, &own, wider, PAUSE_NEW);
    *p = own;
    return PAUSE_SET;
}

/* Ours is on its way, or Redis went back to what was before it. Who resumes ours and pauses for a shorter
 * time does it later. */
static bool
is_ahead_of(const struct pause_list *l, const struct pause *ours, const struct pause *theirs)
{
    return pause_list_note(l, ours)->state == PAUSE_NEW || ours->since_utc_ms > theirs->since_utc_ms;
}

bool
pause_list_take_over(struct pause_list *l, const struct pause *p)
{
    struct pause *old = find_same(l, p);
    struct pause_wider wider = {0};

    if (old && pause_ends_later(old, p) && is_ahead_of(l, old, p)) {
        if (pause_list_note(l, old)->state != PAUSE_NEW)
            pause_list_note(l, old)->state = PAUSE_FORGOTTEN;
        return true;
    }
    if (old) {
        wider = pause_list_note(l, old)->wider;
        remove_at(l, (size_t)(old - l->pauses));
    }
    if (l->n == PAUSES_KEPT_MAX)
        return false;
    insert(l, p, &wider, PAUSE_KNOWN);
    return true;
}

bool
pause_list_restore(struct pause_list *l, const struct pause *p, const struct pause_wider *wider,
    enum pause_state state)
{
    if (l->n == PAUSES_KEPT_MAX)
        return false;
    if (!find_same(l, p))
        insert(l, p, wider, state);
    return true;
}

void
pause_list_remove(struct pause_list *l, enum limit_scope scope, const char *instance,
    enum pause_extent extent)
{
    struct pause *p = pause_list_find(l, scope, instance, extent);

    if (p)
        remove_at(l, (size_t)(p - l->pauses));
}

void
pause_list_begin_sync(struct pause_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        l->notes[i].seen = false;
}

void
pause_list_end_sync(struct pause_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->notes[i].seen && l->notes[i].state == PAUSE_KNOWN)
            l->notes[i].state = PAUSE_FORGOTTEN;
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
    return !a || (b && pause_ends_later(b, a)) ? b : a;
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
