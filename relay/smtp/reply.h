/* reply: one SMTP reply, ours or theirs, as a value (RFC 5321 section 4.2, RFC 2034, RFC 3463).
 *
 * What the upstream said is kept up to REPLY_TEXT_MAX bytes, sanitised at parse time: printable ASCII, lines
 * joined by " / ", so that it can stand in a log line, a page or our own reply without another thought. */
#ifndef SENDGOV_SMTP_REPLY_H
#define SENDGOV_SMTP_REPLY_H

#include <stdbool.h>

#include "policy/types.h"
#include "relay/base/buf.h"
#include "relay/base/span.h"

#define REPLY_TEXT_MAX 1024
#define REPLY_LINE_MAX 4096         /* bytes of one upstream line */
#define REPLY_TOTAL_MAX (64 * 1024) /* bytes of one upstream reply */

struct reply {
    int code; /* 200-599 */
    struct enhanced enhanced;
    char text[REPLY_TEXT_MAX + 1]; /* without the codes */
};

enum reply_status { REPLY_OK, REPLY_MORE, REPLY_BAD };

/* Parses one whole, possibly multi-line reply at the start of in. Accepts what Microsoft really sends
 * ("550;5.7.711 ...", "550 5.7.233 - text"); the first enhanced code of any line counts. REPLY_MORE: not
 * complete yet. REPLY_BAD: not SMTP, or over the bounds; *why_out says what. EHLO replies are read
 * line by line by their own parser. */
enum reply_status reply_parse(struct span in, struct reply *reply_out, size_t *used_out,
    const char **why_out);
/* "451 4.4.5 text\r\n"; text longer than a line is folded into a multi-line reply. */
void reply_format(const struct reply *r, struct buf *out);
/* Ours: reply_set(&r, 451, "4.4.5", "limit %s ...", ...). Everything is sanitised. */
void reply_set(struct reply *r, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool enhanced_parse(struct span in, struct enhanced *out, size_t *used_out);
#define ENHANCED_MAX 16
void enhanced_format(struct enhanced e, char out[ENHANCED_MAX]);

static inline bool
reply_is_positive(const struct reply *r)
{
    return r->code >= 200 && r->code < 300;
}

static inline bool
reply_is_transient(const struct reply *r)
{
    return r->code >= 400 && r->code < 500;
}

#endif
