/* ehlo: what the upstream offers, from the lines of its reply to EHLO (RFC 5321 section 4.1.1.1).
 *
 * Only what this program uses is kept: SIZE (RFC 1870), PIPELINING (RFC 2920), 8BITMIME (RFC 6152), STARTTLS
 * (RFC 3207), DSN (RFC 3461) and the AUTH mechanisms (RFC 4954; also the old spelling "AUTH=LOGIN"). */
#ifndef SENDGOV_SMTP_EHLO_H
#define SENDGOV_SMTP_EHLO_H

#include <stdbool.h>

#include "relay/base/span.h"

struct ehlo {
    uint64_t size_max; /* 0: no limit stated */
    bool size;
    bool pipelining;
    bool eightbitmime;
    bool starttls;
    bool dsn;
    bool auth_plain;
    bool auth_login;
};

void ehlo_init(struct ehlo *e);
/* line: the text after "250-"; not the first one, which is a greeting. Unknown keywords are passed over. */
void ehlo_add_line(struct ehlo *e, struct span line);

#endif
