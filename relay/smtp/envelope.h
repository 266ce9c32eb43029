/* envelope: who a message is from and for, as the client stated it and the parser understood it. */
#ifndef SENDGOV_SMTP_ENVELOPE_H
#define SENDGOV_SMTP_ENVELOPE_H

#include <stddef.h>

#include "relay/smtp/address.h"

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* A recipient is internal (a domain of the route) or external (any other): what Microsoft counts. */
enum recipient_class { RECIPIENT_INTERNAL, RECIPIENT_EXTERNAL, RECIPIENT_CLASS_COUNT };

/* NOTIFY= (RFC 3461 section 4.1): a set of these; 0 when not given. */
enum dsn_notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
/* RET= (RFC 3461 section 4.3). */
enum dsn_ret { RET_NONE, RET_FULL, RET_HDRS };

struct recipient {
    struct address address;
    enum recipient_class class;
    unsigned notify; /* of enum dsn_notify */
    char *orcpt;     /* ORCPT= as it came, checked: "rfc822;user+40example.com"; NULL when not given. Owned */
};

struct envelope {
    struct address sender;
    struct recipient *recipients; /* owned, grown by envelope_add */
    size_t n_recipients;
    size_t n_allocated;
    uint64_t declared_bytes; /* SIZE=, 0 when not given */
    enum smtp_body body;
    enum dsn_ret ret;
    char *envid; /* ENVID= as it came, checked xtext; NULL when not given. Owned */
};

/* No sender yet (text NULL), no recipients. */
void envelope_init(struct envelope *e);
void envelope_fini(struct envelope *e);
/* Takes over *address; the new one has no DSN parameters yet. */
struct recipient *envelope_add(struct envelope *e, struct address *address, enum recipient_class class);

#endif
