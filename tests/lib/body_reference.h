/* body_reference: the body scanner as one would write it without caring for speed, pieces or limits: the
 * measure for the real one, in the unit test and in the fuzzer. */
#ifndef SENDGOV_TESTS_BODY_REFERENCE_H
#define SENDGOV_TESTS_BODY_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

struct body_reference {
    size_t used;      /* bytes of input up to and with the end */
    size_t wire_n;
    bool stray;
    size_t lines, longest; /* of the wire form, without stuffing */
    bool eightbit;
};

static inline bool
body_reference_is_start(const char *in, size_t i)
{
    return i == 0 || (i >= 2 && in[i - 2] == '\r' && in[i - 1] == '\n');
}

static inline void
body_reference_count(struct body_reference *r, const char *wire)
{
    size_t begin = 0;

    for (size_t i = 0; i < r->wire_n; i++) {
        r->eightbit = r->eightbit || (wire[i] & 0x80) != 0;
        if (wire[i] == '\n') {
            size_t line = i - 1 - begin - (wire[begin] == '.');

            r->longest = line > r->longest ? line : r->longest;
            r->lines++;
            begin = i + 1;
        }
    }
}

/* in must contain an end. wire needs 2 * n bytes. */
static inline struct body_reference
body_reference_run(const char *in, size_t n, char *wire)
{
    struct body_reference r = {0};
    size_t end = 0;
    bool start = true;

    while (!(body_reference_is_start(in, end) && end + 2 < n && in[end] == '.' && in[end + 1] == '\r' &&
        in[end + 2] == '\n'))
        end++;
    r.used = end + 3;
    for (size_t i = 0; i < end; i++) {
        if (body_reference_is_start(in, i) && in[i] == '.')
            continue; /* the client's stuffing */
        if (in[i] == '\r' || in[i] == '\n') {
            if (in[i] == '\r' && in[i + 1] == '\n')
                i++;
            else
                r.stray = true;
            wire[r.wire_n++] = '\r';
            wire[r.wire_n++] = '\n';
            start = true;
            continue;
        }
        if (start && in[i] == '.')
            wire[r.wire_n++] = '.';
        wire[r.wire_n++] = in[i];
        start = false;
    }
    body_reference_count(&r, wire);
    return r;
}

#endif
