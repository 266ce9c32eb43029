#include "relay/upstream/slot.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"

/* A question that is to be answered; freed with the answer, or when it is forgotten. */
struct ask {
    struct list link;
    struct handle question;
    slot_fn *done;
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

static void
ask_end(struct ask *ask)
{
    list_del(&ask->link);
    free(ask);
}

static void
ask_forget(struct slot_keeper *k, struct ask *ask)
{
    k->slots.forget(k->slots.arg, ask->question);
    ask_end(ask);
}

void
slot_keeper_fini(struct slot_keeper *k)
{
    LIST_EACH_SAFE(it, &k->lingering)
        linger_end(LIST_ITEM(it, struct lingering, link));
    LIST_EACH_SAFE(it, &k->asks)
        ask_forget(k, LIST_ITEM(it, struct ask, link));
}

static void
on_answer(void *arg, bool granted, uint64_t slot, enum store_error error, int64_t retry_after_ms)
{
    struct ask ask = *(struct ask *)arg;

    (void)error; /* counted and logged by the store */
    ask_end(arg);
    ask.done(ask.arg, granted, slot, retry_after_ms);
}

void
slot_ask(struct slot_keeper *k, enum limit_scope scope, const char *instance, uint64_t cap, slot_fn *done,
    void *arg)
{
    struct ask *ask = xcalloc(1, sizeof(*ask));

    ask->done = done;
    ask->arg = arg;
    list_add_tail(&k->asks, &ask->link);
    ask->question = k->slots.take(k->slots.arg, scope, instance, cap, on_answer, ask);
}

void
slot_cancel(struct slot_keeper *k, const void *arg)
{
    LIST_EACH_SAFE(it, &k->asks)
        if (LIST_ITEM(it, struct ask, link)->arg == arg)
            ask_forget(k, LIST_ITEM(it, struct ask, link));
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
