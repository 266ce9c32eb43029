#include "relay/flow/connections.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

/* One question under way: what the pool wants to hear, kept until the store answers. */
struct ask {
    upstream_slot_fn *done;
    void *done_arg;
};

static void
on_lease(void *arg, bool granted, uint64_t lease, enum store_error error, int64_t retry_after_ms)
{
    struct ask ask = *(struct ask *)arg;

    (void)error; /* counted and logged by the store */
    free(arg);
    ask.done(ask.done_arg, granted, lease, retry_after_ms);
}

static struct handle
take(void *arg, enum limit_scope scope, const char *instance, uint64_t cap, upstream_slot_fn *done,
    void *done_arg)
{
    struct lease_request request = {scope, instance, CONNECTIONS_LIMIT, cap};
    struct ask *ask = xmalloc(sizeof(*ask));

    *ask = (struct ask){done, done_arg};
    return store_lease_take(arg, &request, on_lease, ask);
}

static void
give(void *arg, enum limit_scope scope, const char *instance, uint64_t slot)
{
    struct lease_request request = {scope, instance, CONNECTIONS_LIMIT, 0};

    store_lease_give(arg, &request, slot);
}

static bool
contested(void *arg)
{
    struct store_status status;

    store_status(arg, &status);
    return status.nodes > 1;
}

struct upstream_slots
connections_of(struct store *store)
{
    return (struct upstream_slots){store, take, give, contested};
}
