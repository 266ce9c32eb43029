/* notify: which recipients of a message somebody must be told about by mail, and that mail as a row for the
 * spool. */
#ifndef SENDGOV_FLOW_NOTIFY_H
#define SENDGOV_FLOW_NOTIFY_H

#include "relay/flow/fate.h"
#include "relay/flow/message.h"

struct notify_setup {
    const struct message *message;
    struct fate *fates;        /* what is told is noted in them */
    const struct config *config;
    struct blob_pool *bodies;
    bool upstream_has_dsn;     /* it was handed NOTIFY and tells of successes itself */
    struct metrics *metrics;
};

/* *out NULL: nobody is to be told. False: somebody is, and the notification could not be made (logged). From
 * the null sender to the sender of the message, on the same route, internal. A message with the null sender
 * is never told about: the log is. */
bool notify_make(const struct notify_setup *setup, struct spool_message **out);

#endif
