#include "relay/flow/held.h"

#include <stdlib.h>

#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/flow_part.h"
#include "relay/flow/release.h"

bool
held_is_on(const struct flow *f)
{
    return f->spool != NULL;
}

void
held_status(const struct flow *f, struct spool_status *spool_out, struct queue_counts *queue_out)
{
    spool_status(f->spool, spool_out);
    release_counts(f, queue_out);
}

struct handle
held_list(struct flow *f, const struct spool_filter *filter, spool_listed_fn *listed, void *arg)
{
    return spool_list(f->spool, filter, listed, arg);
}

void
held_forget(struct flow *f, struct handle h)
{
    if (f->spool != NULL)
        spool_forget(f->spool, h);
}

void
held_why(const struct flow *f, uint64_t seq, struct queue_why *out)
{
    release_why(f, seq, out);
}

uint64_t
held_place(const struct flow *f, uint64_t seq)
{
    return release_place(f, seq);
}

/* An order on its way; in flow->orders. */
struct ordering {
    struct list link;
    struct flow *flow;
    enum spool_order order;
    held_ordered_fn *done;
    void *arg;
    size_t changed, busy; /* by the slices so far */
};

static void
answer(struct ordering *o, enum spool_result result)
{
    if (o->done != NULL)
        o->done(o->arg, result, o->changed, o->busy);
    list_del(&o->link);
    free(o);
}

static void
on_ordered(void *arg, enum spool_result result, const struct spool_ordered *slice)
{
    struct ordering *o = arg;

    for (size_t i = 0; i < slice->n; i++) {
        const struct spool_brief *brief = &slice->briefs[i];

        if (o->order == SPOOL_DELETE)
            release_drop(o->flow, brief->seq);
        else if (!release_is_out(o->flow, brief->seq)) /* taken since: what was taken is newer */
            release_put_brief(o->flow, brief);
    }
    if (o->order == SPOOL_DELETE)
        metric_add(o->flow->metrics, M_RELEASED, (double)slice->n, "deleted", NULL, NULL);
    o->changed += slice->n;
    o->busy += slice->busy;
    if (!slice->more)
        answer(o, result);
}

void
held_abandon(struct flow *f)
{
    LIST_EACH_SAFE(it, &f->orders)
        answer(LIST_ITEM(it, struct ordering, link), SPOOL_FAILED);
}

void
held_order(struct flow *f, enum spool_order order, const struct spool_filter *filter, const char *actor,
    const char *why, held_ordered_fn *done, void *arg)
{
    struct ordering *o = xcalloc(1, sizeof(*o));

    o->flow = f;
    o->order = order;
    o->done = done;
    o->arg = arg;
    list_add_tail(&f->orders, &o->link);
    (void)spool_order(f->spool, order, filter, actor, why, on_ordered, o);
}
