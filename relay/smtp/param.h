/* param: the ESMTP parameters after a path (RFC 5321 section 4.1.2 "Mail-parameters").
 *
 * Known are SIZE (RFC 1870), BODY (RFC 6152) and AUTH (RFC 4954 section 5; checked and dropped: nobody here
 * is trusted to speak for somebody else); and, where the session offers DSN (RFC 3461 section 4), RET and
 * ENVID of MAIL, NOTIFY and ORCPT of RCPT. Nothing of a parameter is ever sent on but what was parsed and is
 * written anew. */
#ifndef SENDGOV_SMTP_PARAM_H
#define SENDGOV_SMTP_PARAM_H

#include "relay/smtp/command.h"

#define PARAM_ENVID_MAX 100 /* RFC 3461 section 4.4; as xtext */
#define PARAM_ORCPT_MAX 500 /* section 4.2; address type and xtext */

/* rest: what follows the path, beginning with a blank or empty. *out has its defaults already; what was given
 * is filled in, and a string may be there when something after it was wrong. NULL when all is well. */
const struct complaint *param_parse_mail(struct span rest, bool dsn, struct mail_command *out);
const struct complaint *param_parse_rcpt(struct span rest, bool dsn, struct rcpt_command *out);
/* Is it what the value of ENVID or ORCPT may be? */
bool param_is_envid(struct span value);
bool param_is_orcpt(struct span value);

#endif
