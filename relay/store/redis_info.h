/* redis_info: may this Redis be trusted with the counters? From the text of INFO. */
#ifndef SENDGOV_STORE_REDIS_INFO_H
#define SENDGOV_STORE_REDIS_INFO_H

#include "policy/charge.h"
#include "relay/base/err.h"
#include "relay/base/span.h"

/* STORE_OK, or why not, with words for the operator in err: version below 7.0, not a master, loading, an
 * eviction policy that may delete counters, no append-only file (unless allow_volatile), or a node of a
 * cluster where none is asked for, and the other way round. What INFO does not say counts as wrong. */
enum store_error redis_info_check(struct span info, bool allow_volatile, bool cluster,
    struct err *err);

#define REDIS_ID_MAX 41
/* What tells this process of Redis from every other; "" when it does not say. */
void redis_info_id(struct span info, char id_out[REDIS_ID_MAX]);

#endif
