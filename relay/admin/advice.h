/* advice: what the operator should do about a pause. The pause itself keeps only what was said; what that
 * means stands in the reply tables of the configuration in force. */
#ifndef SENDGOV_ADMIN_ADVICE_H
#define SENDGOV_ADMIN_ADVICE_H

#include "policy/reply_class.h"
#include "relay/config/config.h"

/* Empty for an operator's own pause, and where no rule that made such a pause has advice. */
void advice_of_pause(const struct config *config, const struct pause *pause, char out[REPLY_ADVICE_MAX]);

#endif
