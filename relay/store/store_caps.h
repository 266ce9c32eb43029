/* store_caps: what the caps of this node are, packed so that nodes can agree on the lowest (heartbeat.lua).
 *
 * msgpack of {curves, limits, slots}: a limit is {field of o, caps, burst, period in ms, what it counts (kind
 * and unit), 1 in shadow}, and so are the slots of a mailbox or route, under a field that is no limit's and
 * without the last. Caps are 6 bytes each, big-endian, by step: what has no steps has one, and the last goes
 * on for ever. Those of a warm-up, up to 1000, stand once per schedule in `curves`, and the limit has their
 * number (from 1). They are the whole curve, not the cap of a step: nodes with the same curve never lower one
 * another, whatever step each believes in. */
#ifndef SENDGOV_STORE_STORE_CAPS_H
#define SENDGOV_STORE_STORE_CAPS_H

#include "policy/types.h"
#include "relay/base/buf.h"
#include "relay/store/store.h"

/* slots: of store_slot_caps. */
void store_caps(struct buf *out, const struct limit_conf *limits, size_t n, struct span slots);
void store_slot_caps(struct buf *out, const struct slot_cap *caps, size_t n);

#endif
