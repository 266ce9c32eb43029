/* dsn: a delivery status notification (RFC 3461, 3462, 3464) about some recipients of a message. Pure: text
 * out of values.
 *
 * multipart/report with three parts: words for people, message/delivery-status, and the message it is about
 * (its header, or all of it where RET=FULL was asked for, something failed and it is small). From the null
 * sender, with Auto-Submitted (RFC 3834), never about a message that itself has the null sender: no loop can
 * begin. What the upstream said is printable ASCII already (relay/smtp/reply.h) and is folded; what the
 * client said in ENVID and ORCPT was checked when it came. All the same no byte of our own text is anything
 * else: "?" stands for it.
 *
 * What is returned is our trace header and at most DSN_RETURN_MAX bytes of the body, whole lines from its
 * start as they are: they are dot-stuffed line by line, and here too each begins a line. It is read before
 * anything is written, so that the notification says whether it has 8-bit bytes and its boundary does not
 * occur in it. No line is longer than 998 bytes, but for lines of the message that are so themselves. */
#ifndef SENDGOV_SPOOL_DSN_H
#define SENDGOV_SPOOL_DSN_H

#include "relay/base/blob.h"
#include "relay/smtp/envelope.h"
#include "relay/smtp/reply.h"

enum dsn_action {
    DSN_FAILED,
    DSN_DELAYED, /* will_retry_until_utc_ms is said */
    DSN_RELAYED, /* SUCCESS was asked for and the next host does not speak DSN (RFC 3461 section 5.2.2) */
    DSN_ACTION_COUNT,
};
/* As in the field Action (RFC 3464 section 2.3.3). */
const char *dsn_action_to_str(enum dsn_action a);

struct dsn_recipient {
    const struct recipient *recipient;
    enum dsn_action action;
    struct enhanced status;    /* class 0: that of reply where it fits action, or 5.0.0 / 4.0.0 / 2.0.0 */
    const struct reply *reply; /* of the upstream; NULL, or code 0: it said nothing */
    const char *words;         /* what happened, for people; one sentence */
    int64_t last_attempt_utc_ms; /* 0: never tried, and not said */
};

struct dsn {
    const char *id;            /* of the notification, for Message-ID and boundary: [0-9a-z]+ */
    const char *hostname;      /* Reporting-MTA */
    const char *upstream;      /* Remote-MTA: host; NULL: none was reached */
    const char *about_id;      /* our id of the message it is about */
    const struct envelope *about; /* sender (not null), ENVID, RET */
    struct blob *body;         /* of that message, wire form; NULL: not to be had */
    const char *trace;         /* our trace header of that message, wire form; NULL: none */
    int64_t arrived_utc_ms, now_utc_ms, will_retry_until_utc_ms;
    const struct dsn_recipient *recipients;
    size_t n_recipients;       /* >= 1 */
};

/* Of a returned message; of a longer one the header, and of that so much. */
#define DSN_RETURN_MAX (64 * 1024)

/* Does this recipient's sender want to hear of it (RFC 3461 section 4.1)? Without NOTIFY: of failures and
 * delays. The null sender: never. */
bool dsn_is_wanted(const struct envelope *about, const struct recipient *recipient, enum dsn_action action);
/* Appends the notification to out, in wire form (CRLF, dot-stuffed, no final dot). *content_bytes_out:
 * un-stuffed. *body_type_out: what MAIL must say of it. Not BLOB_OK: out could not be written or body could
 * not be read, and what out holds is of no use. */
enum blob_status dsn_write(const struct dsn *d, struct blob *out, uint64_t *content_bytes_out,
    enum smtp_body *body_type_out);

#endif
