#include "relay/upstream/slot.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"

struct ask {
    struct list link;
    struct upstream_slots slots; /* a copy: the answer may come after the keeper is gone */
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    upstream_slot_fn *done; /* NULL: cancelled */
    void *arg;
};

struct lingering {
    struct list link;
    struct slot_keeper *keeper;
    struct timer timer;
    struct corpse corpse;
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    uint64_t slot;
};

void
slot_keeper_init(struct slot_keeper *k, struct loop *loop, const struct upstream_slots *slots)
{
    k->loop = loop;
    k->slots = *slots;
    list_init(&k->asks);
    list_init(&k->lingering);
}

static void
linger_free(void *object)
{
    free(object);
}

static void
linger_end(struct lingering *l)
{
    timer_fini(&l->timer);
    list_del(&l->link);
    loop_bury(l->keeper->loop, &l->corpse, linger_free, l);
}

void
slot_keeper_fini(struct slot_keeper *k)
{
    LIST_EACH_SAFE(it, &k->lingering)
        linger_end(LIST_ITEM(it, struct lingering, link));
    LIST_EACH_SAFE(it, &k->asks) {
        LIST_ITEM(it, struct ask, link)->done = NULL;
        list_del(it);
    }
}

static void
on_answer(void *arg, bool granted, uint64_t slot, int64_t retry_after_ms)
{
    struct ask *ask = arg;

    list_del(&ask->link);
    if (ask->done != NULL)
        ask->done(ask->arg, granted, slot, retry_after_ms);
    else if (granted)
        ask->slots.give(ask->slots.arg, ask->scope, ask->instance, slot);
    free(ask);
}

void
slot_ask(struct slot_keeper *k, enum limit_scope scope, const char *instance, uint64_t cap,
    upstream_slot_fn *done, void *arg)
{
    struct ask *ask = xcalloc(1, sizeof(*ask));

    ask->slots = k->slots;
    ask->scope = scope;
    snprintf(ask->instance, sizeof(ask->instance), "%s", instance);
    ask->done = done;
    ask->arg = arg;
    list_add_tail(&k->asks, &ask->link);
    k->slots.take(k->slots.arg, scope, ask->instance, cap, on_answer, ask);
}

void
slot_cancel(struct slot_keeper *k, const void *arg)
{
    LIST_EACH(it, &k->asks) {
        struct ask *ask = LIST_ITEM(it, struct ask, link);

        if (ask->arg == arg)
            ask->done = NULL;
    }
}

static void
on_linger_over(void *arg)
{
    struct lingering *l = arg;
    struct upstream_slots *slots = &l->keeper->slots;

    slots->give(slots->arg, l->scope, l->instance, l->slot);
    linger_end(l);
}

void
slot_give(struct slot_keeper *k, enum limit_scope scope, const char *instance, uint64_t slot,
    int64_t after_ms)
{
    struct lingering *l;

    if (after_ms == 0) {
        k->slots.give(k->slots.arg, scope, instance, slot);
        return;
    }
    l = xcalloc(1, sizeof(*l));
    l->keeper = k;
    l->scope = scope;
    snprintf(l->instance, sizeof(l->instance), "%s", instance);
    l->slot = slot;
    timer_init(&l->timer, k->loop, on_linger_over, l);
    timer_start(&l->timer, after_ms);
    list_add_tail(&k->lingering, &l->link);
}
