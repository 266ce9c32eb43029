/* dsn_text: the lines of a notification: folded, printable, stuffed on their way into a blob.
 *
 * What is written here is collected un-stuffed and goes out with flush, which doubles dots at the starts of
 * lines; what is copied is in wire form already. Flush and copy take whole lines, so each begins one. */
#ifndef SENDGOV_SPOOL_DSN_TEXT_H
#define SENDGOV_SPOOL_DSN_TEXT_H

#include "relay/base/blob.h"
#include "relay/base/buf.h"

#define DSN_TEXT_VALUE_MAX 2048 /* of one field or sentence; what is longer is cut */

struct dsn_text {
    struct blob *out;        /* the caller's */
    struct buf lines;        /* un-stuffed, not written yet */
    size_t column;           /* of the line under way */
    uint64_t content_bytes;  /* written, un-stuffed */
    enum blob_status status; /* the first failure of out; nothing is written after it */
};

void dsn_text_init(struct dsn_text *t, struct blob *out);
void dsn_text_fini(struct dsn_text *t);
/* To the line under way; "?" for each byte that is no printable ASCII. */
void dsn_text_add(struct dsn_text *t, struct span s);
void dsn_text_end_line(struct dsn_text *t);
/* Adds words to the line under way and ends that; it goes on in another before a word that would pass column
 * 78. Such lines begin with indent or, where indent is NULL, with the blanks that were there, so that
 * unfolding gives the field back (RFC 5322 section 2.2.3). */
void dsn_text_fold(struct dsn_text *t, const char *indent, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void dsn_text_field(struct dsn_text *t, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void dsn_text_date(struct dsn_text *t, const char *name, int64_t utc_ms);
/* Writes out the lines so far; the last one was ended. */
void dsn_text_flush(struct dsn_text *t);
/* Whole lines in wire form, after a flush. */
void dsn_text_copy(struct dsn_text *t, struct span wire);
/* The line at the start of s with its LF, or what there is of it. */
struct span dsn_text_first_line(struct span s);

#endif
