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
};

static inline bool
body_reference_is_start(const char *in, size_t i)
{
    return i == 0 || (i >= 2 && in[i - 2] == '\r' && in[i - 1] == '\n');
}

/* in must contain an end. wire needs 2 * n bytes. */
static inline struct body_reference
body_reference_run(const char *in, size_t n, char *wire)
{
    struct body_reference r = {0, 0, false};
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
    return r;
}

#endif
