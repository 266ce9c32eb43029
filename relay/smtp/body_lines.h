/* body_lines: how far a body is nothing but ordinary lines.
 *
 * Nearly all of nearly every message is lines that end in CRLF, contain no other CR or LF and do not begin
 * with a dot. This finds the longest such run, 64 bytes a step, so that body.c need look one by one at the
 * others only. It decides nothing: where it stops, and on machines other than x86-64 from the start, body.c
 * goes on and comes to the same result. */
#ifndef SENDGOV_SMTP_BODY_LINES_H
#define SENDGOV_SMTP_BODY_LINES_H

#include "relay/base/span.h"

struct body_lines {
    size_t bytes;    /* of the run: whole lines with their CRLF */
    size_t lines;
    size_t longest;  /* of them, without CRLF */
    size_t measured; /* of so many bytes `eightbit` speaks: content, about as many as the run has */
    bool eightbit;   /* one is 0x80 or more */
};

/* in begins at the start of a line. */
struct body_lines body_lines_measure(struct span in);
/* The same without AVX2, as on older machines. */
struct body_lines body_lines_measure_old(struct span in);

#endif
