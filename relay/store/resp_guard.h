/* resp_guard: what may come from Redis, checked before the RESP reader of hiredis sees it.
 *
 * hiredis allocates what a length says before the bytes are there. So every header line is measured here
 * first: one reply is at most 1 MiB, an array has at most 4096 elements, arrays nest at most 4 deep, a line
 * is at most 64 KiB. That bounds what hiredis holds only while both see the same ends: what passes here ends
 * for hiredis at the same byte, or is an error to it. Resumable at every byte. */
#ifndef SENDGOV_STORE_RESP_GUARD_H
#define SENDGOV_STORE_RESP_GUARD_H

#include "relay/base/span.h"

#define RESP_REPLY_MAX (1024 * 1024)
#define RESP_ELEMENTS_MAX 4096
#define RESP_DEPTH_MAX 4
#define RESP_LINE_MAX (64 * 1024)

struct resp_guard {
    enum {
        RESP_TYPE,   /* the next byte says what comes */
        RESP_NUMBER, /* in the line of '*', '$' or ':' */
        RESP_TEXT,   /* in the line of '+' or '-' */
        RESP_BULK,   /* in the bytes of a string and its CRLF */
    } state;
    char type;
    char number[24];
    size_t n_number;
    size_t line;                   /* bytes of a '+' or '-' line */
    bool after_cr;                 /* the last of them was CR */
    size_t bulk_left;
    size_t total;                  /* bytes of the reply so far */
    size_t left[RESP_DEPTH_MAX];   /* elements still to come, per open array */
    size_t depth;
};

void resp_guard_init(struct resp_guard *g);
/* False: this is not RESP, or over a bound; *why_out says what. Nothing more may be fed then. */
bool resp_guard_feed(struct resp_guard *g, struct span in, const char **why_out);

#endif
