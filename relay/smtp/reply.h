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

/* One line of an upstream reply: "250-text", "250 text", "250", "550;text". */
struct reply_line {
    int code;
    bool last;        /* no "-" after the code */
    struct span text; /* raw, without code, separator and line end; points into the input */
};

/* Reads the line at the start of in. A bare LF ends a line too. REPLY_MORE: no line end yet. */
enum reply_status reply_line_parse(struct span in, struct reply_line *line_out, size_t *used_out,
    const char **why_out);

/* A reply that is put together line by line as bytes arrive, so that nothing is parsed twice. */
struct reply_reader {
    struct reply reply;
    uint32_t text_len;
    uint32_t total_bytes; /* of the lines so far, against REPLY_TOTAL_MAX */
    uint32_t lines;
};

void reply_reader_init(struct reply_reader *r);
/* Adds one line that took line_bytes of the wire. REPLY_OK: it was the last one, r->reply is whole.
 * REPLY_BAD: its code differs from the lines before, or the reply is over the bound. */
enum reply_status reply_reader_add(struct reply_reader *r, const struct reply_line *line, size_t line_bytes,
    const char **why_out);

/* Parses one whole, possibly multi-line reply at the start of in. Accepts what Microsoft really sends
 * ("550;5.7.711 ...", "550 5.7.233 - text"); the first enhanced code of any line counts. REPLY_MORE: not
 * complete yet. REPLY_BAD: not SMTP, or over the bounds; *why_out says what. EHLO replies are read
 * line by line by their own parser. */
enum reply_status reply_parse(struct span in, struct reply *reply_out, size_t *used_out,
    const char **why_out);
/* "451 4.4.5 text\r\n"; text longer than a line is folded into a multi-line reply. */
void reply_format(const struct reply *r, struct buf *out);
/* Like an assignment, without the unused part of the text. */
void reply_copy(struct reply *to, const struct reply *from);
/* Ours: reply_set(&r, 451, "4.4.5", "limit %s ...", ...). Everything is sanitised. */
void reply_set(struct reply *r, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "5.7.708" at the start of in; false when there is none. */
bool enhanced_parse(struct span in, struct enhanced *out, size_t *used_out);
#define ENHANCED_MAX 16
/* Empty when there is none. */
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
