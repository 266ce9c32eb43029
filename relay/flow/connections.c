#include "relay/flow/connections.h"

static struct handle
take(void *arg, enum limit_scope scope, const char *instance, uint64_t cap, upstream_slot_fn *done,
    void *done_arg)
{
    struct lease_request request = {scope, instance, CONNECTIONS_LIMIT, cap};

    return store_lease_take(arg, &request, done, done_arg);
}

static void
forget(void *arg, struct handle question)
{
    store_forget(arg, question);
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
    return (struct upstream_slots){store, take, forget, give, contested};
}
