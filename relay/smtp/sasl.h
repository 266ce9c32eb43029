/* sasl: base64 (RFC 4648 section 4), and the messages of PLAIN (RFC 4616) and LOGIN (the old draft that
 * devices still speak), both ways. Output that may hold a secret is the caller's to wipe. */
#ifndef SENDGOV_SMTP_SASL_H
#define SENDGOV_SMTP_SASL_H

#include "relay/base/buf.h"
#include "relay/base/span.h"

#define SASL_USER_MAX 255
#define SASL_PASSWORD_MAX 4096

enum sasl_mechanism { SASL_PLAIN, SASL_LOGIN, SASL_MECHANISM_COUNT };

/* "PLAIN", any case; false: not one of ours. */
bool sasl_mechanism_parse(struct span name, enum sasl_mechanism *out);
const char *sasl_mechanism_to_str(enum sasl_mechanism m);

/* Decodes all of in. Strict: canonical padding, no blanks. out needs in.n / 4 * 3 bytes. */
bool sasl_base64_decode(struct span in, char *out, size_t *n_out);
/* Appends, no line breaks. */
void sasl_base64_encode(struct span in, struct buf *out);

/* Takes "authzid NUL user NUL password" apart, in place. False: not that, or over the bounds. */
bool sasl_plain_parse(
    struct span message, struct span *authzid_out, struct span *user_out, struct span *password_out);
/* The base64 initial response of PLAIN. */
void sasl_plain_format(struct span user, struct span password, struct buf *out);

#endif
