/* What the commands of the queue share: parameters as a filter, and results as errors. */
#ifndef SENDGOV_ADMIN_COMMAND_QUEUE_H
#define SENDGOV_ADMIN_COMMAND_QUEUE_H

#include "relay/admin/command.h"
#include "relay/spool/spool.h"

/* Is there a spool? Otherwise the call is refused. */
bool call_has_spool(struct call *call);
/* Which messages are meant. Texts are the call's. false: the call was refused. */
bool call_spool_filter(struct call *call, struct spool_filter *filter_out);
/* Parameter max, from 1 to most; *max_out stays as it is without it. false: the call was refused. */
bool call_spool_max(struct call *call, uint32_t most, uint32_t *max_out);
/* Refuses the call; result is not DONE. */
void call_refuse_spool(struct call *call, enum spool_result result);

#endif
