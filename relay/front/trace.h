/* trace: the Received field this relay puts before a message (RFC 5321 section 4.4).
 *
 *     Received: from HELO ([192.0.2.1])
 *         by HOSTNAME (sendgov) with ESMTPSA
 *         id MESSAGEID; Tue, 24 Nov 2026 03:04:05 +0000
 *
 * No recipient (a blind one would be told), no login. "by HOSTNAME (sendgov)" stays on one line: header.c
 * finds its own by it. */
#ifndef SENDGOV_FRONT_TRACE_H
#define SENDGOV_FRONT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* What it takes of an upstream's SIZE, at most. */
#define TRACE_ROOM 1024

struct trace {
    const char *helo; /* checked by command_is_helo_name */
    const char *peer; /* address text */
    const char *hostname, *id;
    bool esmtp, tls, authenticated;
    int64_t utc_ms;
};

/* Wire form; the caller frees it. */
char *trace_format(const struct trace *t);

#endif
