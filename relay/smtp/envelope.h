/* envelope: who a message is from and for, as the client stated it and the parser understood it. */
#ifndef SENDGOV_SMTP_ENVELOPE_H
#define SENDGOV_SMTP_ENVELOPE_H

#include <stddef.h>

#include "relay/smtp/address.h"

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* A recipient is internal (a domain of the route) or external (any other): what Microsoft counts. */
enum recipient_class { RECIPIENT_INTERNAL, RECIPIENT_EXTERNAL, RECIPIENT_CLASS_COUNT };

struct recipient {
    struct address address;
    enum recipient_class class;
};

struct envelope {
    struct address sender;
    struct recipient *recipients; /* owned, grown by envelope_add */
    size_t n_recipients;
    size_t n_allocated;
    uint64_t declared_bytes; /* SIZE=, 0 when not given */
    enum smtp_body body;
};

/* No sender yet (text NULL), no recipients. */
void envelope_init(struct envelope *e);
void envelope_fini(struct envelope *e);
/* Takes over *address. */
void envelope_add(struct envelope *e, struct address *address, enum recipient_class class);

#endif
