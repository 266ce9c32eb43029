/* param: the ESMTP parameters after a path (RFC 5321 section 4.1.2 "Mail-parameters").
 *
 * Known are SIZE (RFC 1870), BODY (RFC 6152) and AUTH (RFC 4954 section 5; checked and dropped: nobody here
 * is trusted to speak for somebody else). Nothing of a parameter is ever sent on but what was parsed and is
 * written anew. */
#ifndef SENDGOV_SMTP_PARAM_H
#define SENDGOV_SMTP_PARAM_H

#include "relay/smtp/command.h"

/* rest: what follows the path, beginning with a blank or empty. Fills declared_bytes and body. NULL when all
 * is well. */
const struct complaint *param_parse_mail(struct span rest, struct mail_command *out);
const struct complaint *param_parse_rcpt(struct span rest);

#endif
