/* reference: the table of settings as text, for editors (JSON Schema) and for the manual (mdoc). What
 * conf/sendgov.schema.json and sendgov.yaml.5 say is printed by sendgov-reference; tests hold them to it. */
#ifndef SENDGOV_CONFIG_REFERENCE_H
#define SENDGOV_CONFIG_REFERENCE_H

#include "relay/base/buf.h"

void reference_schema(struct buf *out);
void reference_manual(struct buf *out);

#endif
