/* store_keys: the names of everything in Redis. All keys of one governor group share one hash tag:
 *
 *   sendgov:{GROUP}:g               schema, epoch, open_at, pauses (p:SCOPE:INSTANCE), whether caps are
 *                                   lowered
 *   sendgov:{GROUP}:h               node -> last heartbeat, uuid:run, hash of its caps
 *   sendgov:{GROUP}:o               caps of the nodes, and what lowers caps for a time
 *   sendgov:{GROUP}:n:UUID          run, sequence number and recent answers of a node
 *   sendgov:{GROUP}:s:SCOPE:INSTANCE            the counters of all limits of a scope instance
 *   sendgov:{GROUP}:l:SCOPE:INSTANCE:LIMIT      leases of a concurrency limit
 *
 * SCOPE is its number. GROUP, INSTANCE and LIMIT are escaped: letters, digits and . _ @ + = - stand for
 * themselves, every other byte is %XX. So no name, however it is made, can leave its place, and different
 * names never meet. */
#ifndef SENDGOV_STORE_STORE_KEYS_H
#define SENDGOV_STORE_STORE_KEYS_H

#include "policy/types.h"
#include "relay/base/buf.h"

#define STORE_KEY_MAX 2200 /* prefix and group, instance and limit name, each byte escaped */

/* A limit's name has one byte for its length in the packed state. */
struct span store_limit_name(const struct limit_conf *limit);
void store_escape(struct buf *out, struct span text);
/* Into out (at most size bytes, without NUL counted); false: not escaped properly, or too long. */
bool store_unescape(struct span text, char *out, size_t size);
/* "sendgov:{GROUP}:" */
void store_key_prefix(struct buf *out, const char *group);
/* "l:SCOPE:INSTANCE": the field of o with the lowest cap of its slots, where nodes differ */
void store_slot_field(struct buf *out, enum limit_scope scope, const char *instance);
/* "SCOPE:INSTANCE" */
void store_scope_name(struct buf *out, enum limit_scope scope, const char *instance);
/* The reverse; false on anything else. */
bool store_scope_parse(struct span name, enum limit_scope *scope_out, char instance_out[INSTANCE_MAX]);

#endif
