/* body: the scanner of what follows DATA (RFC 5321 sections 4.1.1.4 and 4.5.2).
 *
 * Takes the client's bytes in any pieces, finds the end, and gives the canonical wire form to a sink in large
 * runs: every line ends in CRLF, a content line that begins with a dot has a second one. Only CRLF.CRLF ends
 * a message; that is what keeps a second message from hiding in the first where the next server is more
 * generous about line ends.
 *
 * A stray CR or LF becomes CRLF (BODY_NORMALIZE), and a dot that then stands at the start of a line is
 * doubled, for the client did not write it as one; or it is refused (BODY_REJECT). All other bytes pass, NUL
 * included. A message that is refused is read to its end and thrown away, so that client and server stay in
 * step.
 *
 *     client            content      wire
 *     CRLF ".." "x"     ".x"         "..x"
 *     CRLF "." "x"      "x"          "x"
 *     LF "." LF         "."          ".." CRLF     (normalize)
 */
#ifndef SENDGOV_SMTP_BODY_H
#define SENDGOV_SMTP_BODY_H

#include "relay/base/span.h"

enum body_newline { BODY_REJECT, BODY_NORMALIZE };

enum body_status {
    BODY_OK,
    BODY_STRAY_NEWLINE, /* 554 5.6.0 */
    BODY_LONG_LINE,     /* 554 5.6.0 */
    BODY_TOO_BIG,       /* 552 5.3.4 */
    BODY_STATUS_COUNT,
};

struct body_limits {
    uint64_t content_max;
    uint64_t line_max; /* without CRLF */
    enum body_newline newline;
};

enum body_state {
    BODY_LINE_START,  /* after CRLF, or at the very start: a dot here is stuffing or the end */
    BODY_STRAY_START, /* after a stray CR or LF: a dot here is content */
    BODY_DOT,         /* a dot at line start is held back */
    BODY_DOT_CR,      /* dot and CR are held back */
    BODY_IN_LINE,
    BODY_CR,          /* a CR in or after a line is held back */
    BODY_END,         /* CRLF.CRLF was seen; nothing more is read */
};

struct body {
    struct body_limits limits;
    enum body_state state;
    enum body_status status;  /* the first thing that was wrong */
    uint64_t content_bytes;   /* un-stuffed, as normalised */
    uint64_t lines;
    uint64_t line_bytes;      /* of the line under way */
    uint64_t longest_line;
    bool eightbit;            /* a byte of 0x80 or more was seen */
};

typedef void body_sink_fn(void *arg, struct span wire);

void body_init(struct body *b, const struct body_limits *limits);
/* Returns how many bytes of in belong to the message: all of them, or up to its end (state BODY_END). */
size_t body_scan(struct body *b, struct span in, body_sink_fn *sink, void *arg);

#endif
