#include "relay/flow/connections.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

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

/* The caps of all mailboxes and routes that have one; the caller frees the array. */
static struct slot_cap *
gather_caps(const struct config *config, size_t *n_out)
{
    struct slot_cap *caps = xcalloc(config->n_mailboxes + config->n_routes + 1, sizeof(*caps));
    size_t n = 0;

    for (size_t i = 0; i < config->n_mailboxes; i++) {
        const struct mailbox_conf *m = &config->mailboxes[i];

        caps[n++] = (struct slot_cap){SCOPE_MAILBOX, m->name, m->connections};
    }
    for (size_t i = 0; i < config->n_routes; i++) {
        const struct route_conf *r = &config->routes[i];

        if (r->connections != LIMIT_UNLIMITED)
            caps[n++] = (struct slot_cap){SCOPE_ROUTE, r->name, r->connections};
    }
    *n_out = n;
    return caps;
}

void
connections_configure(struct store *store, const struct config *config)
{
    size_t n;
    struct slot_cap *caps = gather_caps(config, &n);

    store_set_slot_caps(store, caps, n);
    free(caps);
}

void
connections_disown(struct store *store, const struct config *config, const char *identity)
{
    size_t n;
    struct slot_cap *caps = gather_caps(config, &n);

    for (size_t i = 0; i < n; i++) {
        struct lease_request request = {caps[i].scope, caps[i].instance, CONNECTIONS_LIMIT, caps[i].cap};

        store_lease_disown(store, &request, identity);
    }
    free(caps);
}
