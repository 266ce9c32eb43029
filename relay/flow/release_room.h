/* release_room: how many spooled messages may be out for each mailbox, so that they do not stand before live
 * mail. */
#ifndef SENDGOV_FLOW_RELEASE_ROOM_H
#define SENDGOV_FLOW_RELEASE_ROOM_H

#include "relay/config/config.h"
#include "relay/spool/queue.h"

/* More out than a pool has connections: two, so that a connection never idles between two messages. */
#define RELEASE_ROOM_SPARE 2u

/* The room of each mailbox, and of each route for its mail without one, as this configuration has it. */
void release_set_rooms(struct queue *q, const struct config *config);

#endif
