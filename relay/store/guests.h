/* guests: by what identities processes of this node go, or went, that were replaced by another one
 * (store_redis_guest.c), as text in `store.guests` of the state folder. Who dies as a guest can give nothing
 * back, and when the process that took its place died with it, nobody else knows how its slots are named.
 *
 * Only who has the node's name writes the file, so there is one writer at a time. A name may stand there for
 * longer than it matters: that costs whoever starts anew one question. */
#ifndef SENDGOV_STORE_GUESTS_H
#define SENDGOV_STORE_GUESTS_H

#include <stddef.h>

#include "relay/base/err.h"
#include "relay/store/journal.h"

/* More do not drain at once. Another one takes the place of the oldest, whose slots run out by themselves. */
#define GUESTS_MAX 16

struct guests {
    size_t n;
    char identities[GUESTS_MAX][JOURNAL_UUID_MAX]; /* the oldest first */
};

/* No file: none. What is no identity is left out. */
int guests_read(const char *folder, struct guests *out, struct err *err);
int guests_add(const char *folder, const char *identity, struct err *err);
/* One that is not there: nothing. */
int guests_remove(const char *folder, const char *identity, struct err *err);

#endif
