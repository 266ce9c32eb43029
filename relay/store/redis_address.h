/* redis_address: addresses that a server of Redis tells, as texts that can be dialled. What comes from the
 * network reaches the dialler and the log only through here. */
#ifndef SENDGOV_STORE_REDIS_ADDRESS_H
#define SENDGOV_STORE_REDIS_ADDRESS_H

#include <stdbool.h>

#include "relay/base/span.h"

#define REDIS_ADDRESS_MAX 300

/* "10.0.0.1", "6379" -> "10.0.0.1:6379"; "::1" gets its brackets. False: no host or no port. */
bool redis_address_format(struct span host, struct span port, char out[REDIS_ADDRESS_MAX]);
/* The address of "MOVED 3999 10.0.0.1:6379" or "ASK 3999 ...", with the host of `here`, who said it, where
 * it has none. *asking_out: it was ASK. False: it is neither. */
bool redis_address_redirect(struct span text, const char *here, char out[REDIS_ADDRESS_MAX],
    bool *asking_out);
/* Number i of a list with commas, from the start again behind its end. */
void redis_address_pick(const char *list, size_t i, char out[REDIS_ADDRESS_MAX]);

#endif
