/* msgpack: the few forms the scripts are spoken to in (cmsgpack reads them in one call). Each value in its
 * shortest form. */
#ifndef SENDGOV_STORE_MSGPACK_H
#define SENDGOV_STORE_MSGPACK_H

#include "relay/base/buf.h"

/* The next n values are its elements. */
void msgpack_array(struct buf *out, size_t n);
void msgpack_uint(struct buf *out, uint64_t value);
void msgpack_str(struct buf *out, struct span s);

#endif
