/* header: what the relay must know of a message's header section, read while the body passes (RFC 5322).
 *
 * Fed with the canonical wire form. Keeps the From and Sender fields and counts Received fields, and those
 * that this relay wrote itself. Reads on to the first empty line whatever stands before it: a line that is no
 * field does not end the header section here, so that a From hidden behind one is seen too, and a name that
 * is From but for bytes no name may hold counts as one. Bounded in bytes and lines. */
#ifndef SENDGOV_SMTP_HEADER_H
#define SENDGOV_SMTP_HEADER_H

#include "relay/base/buf.h"
#include "relay/smtp/command.h"

/* Of one field we read: From with hundreds of addresses is no mail of an app. */
#define HEADER_VALUE_MAX (16 * 1024)
#define HEADER_FROM_MAX 32           /* addresses in From */

struct header_limits {
    uint64_t bytes_max;
    uint32_t lines_max;
    uint32_t hops_max;
    const char *hostname; /* of this relay: how it knows its own Received fields */
};

enum header_field {
    HEADER_NONE, /* before the first field, and after a line that is none */
    HEADER_OTHER,
    HEADER_FROM,
    HEADER_SENDER,
    HEADER_RECEIVED,
    HEADER_CLOSED, /* the empty line was seen */
};

struct header {
    struct header_limits limits;
    enum header_field field; /* the one under way */
    uint64_t bytes;
    uint32_t lines;
    uint32_t from_fields, sender_fields, received_fields, own_fields;
    bool cut;           /* the field under way is longer than HEADER_VALUE_MAX */
    bool partial_cut;   /* `partial` is */
    bool bad_start;     /* the first line is a folded one */
    bool crooked;       /* the name of the field under way holds bytes that no name may */
    bool from_unread;   /* From was cut or crooked */
    struct buf partial; /* a line that is not complete yet */
    struct buf value;   /* of the field under way, unfolded; kept for the fields we read */
    struct buf from, sender;
};

enum header_status {
    HEADER_OK,
    HEADER_TOO_BIG,
    HEADER_BAD_START, /* the first line is folded: it would go on with our Received field */
    HEADER_HOPS,
    HEADER_LOOP,
    HEADER_NO_FROM,
    HEADER_MANY_FROM,  /* more than one From field */
    HEADER_BAD_FROM,
    HEADER_NEEDS_SENDER, /* several authors, and no Sender to say who sent it */
    HEADER_BAD_SENDER,
    HEADER_STATUS_COUNT,
};

/* The addresses a message claims to come from: those of From, and the Sender where From has several. */
struct header_authors {
    struct address addresses[HEADER_FROM_MAX + 1];
    size_t n;
};

void header_init(struct header *h, const struct header_limits *limits);
void header_fini(struct header *h);
void header_feed(struct header *h, struct span wire);
/* At the end of the message. On HEADER_OK *out is the caller's. */
enum header_status header_end(struct header *h, struct header_authors *out);
void header_authors_fini(struct header_authors *a);
/* The reply for a status; NULL for HEADER_OK. */
const struct complaint *header_complaint(enum header_status status);

/* The addresses of a From or Sender value (RFC 5322 section 3.4, mailbox-list): comments, quoted and encoded
 * display names, folding; no groups. False when it is none, has none, or has more than HEADER_FROM_MAX. */
bool header_parse_authors(struct span value, struct header_authors *out);

#endif
