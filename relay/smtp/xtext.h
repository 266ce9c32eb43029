/* xtext: how the values of AUTH, ENVID and ORCPT hide bytes that a command line cannot hold (RFC 3461
 * section 4).
 *
 *     xtext = *( %d33-126 except "+" and "=" / "+" HEXDIG HEXDIG ), hexadecimal digits in upper case */
#ifndef SENDGOV_SMTP_XTEXT_H
#define SENDGOV_SMTP_XTEXT_H

#include "relay/base/buf.h"

/* All of s, and not empty. */
bool xtext_is(struct span s);
/* Is it xtext that hides nothing but printable ASCII and blanks? No line end can come out of it. */
bool xtext_is_printable(struct span s);
/* Appends what s stands for; s was checked by xtext_is. */
void xtext_decode(struct span s, struct buf *out);

#endif
