/* connections: lets the upstream pool take its shared connection slots from the store, without either knowing
 * the other. */
#ifndef SENDGOV_FLOW_CONNECTIONS_H
#define SENDGOV_FLOW_CONNECTIONS_H

#include "relay/config/config.h"
#include "relay/store/store.h"
#include "relay/upstream/upstream.h"

#define CONNECTIONS_LIMIT "connections" /* the name of the limit in Redis keys and in texts */

struct upstream_slots connections_of(struct store *store);
/* Tells the store how many connections this configuration allows; the other nodes hear it with its limits. */
void connections_configure(struct store *store, const struct config *config);
/* At the start: what a run of this node that died held is given back, for others may wait for it. identity:
 * the same for another node's process (store_lease_disown); NULL: this node's. */
void connections_disown(struct store *store, const struct config *config, const char *identity);

#endif
