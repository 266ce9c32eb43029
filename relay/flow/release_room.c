#include "relay/flow/release_room.h"

/* The connections are those of all nodes; this one opens no more than its pool. */
static uint32_t
room_of(uint64_t connections, uint32_t pool_max)
{
    return (uint32_t)(connections < pool_max ? connections : pool_max) + RELEASE_ROOM_SPARE;
}

/* A route that has mailboxes now may still have mail from when it had none. */
void
release_set_rooms(struct queue *q, const struct config *config)
{
    for (size_t i = 0; i < config->n_routes; i++) {
        const struct route_conf *r = &config->routes[i];

        queue_set_room(q, r->name, "", room_of(r->connections, r->pool_max));
    }
    for (size_t i = 0; i < config->n_mailboxes; i++) {
        const struct mailbox_conf *m = &config->mailboxes[i];
        const struct route_conf *r = config_route(config, m->route);

        queue_set_room(q, m->route, m->name, room_of(m->connections, r->pool_max));
    }
}
