/* mail_log: what a line of a mail log says about mail that was sent, whoever wrote it. No I/O; a line is
 * hostile text of any length.
 *
 *   Postfix   a delivery by smtp(8), "... postfix/smtp[7]: 4A: to=<b@example.com>, ... status=sent (...)",
 *             counts its one recipient. Time in RFC 3339, or "Nov 25 12:00:00", which has no year and no
 *             zone: UTC is taken, and the year given, one more each time the months begin anew.
 *   sendgov   event=message, logfmt or JSON: the external recipients of a message that came from a client
 *             and was relayed or spooled. What came from the spool was counted when it came.
 *   CSV       time,sender,recipients; the time in RFC 3339 or seconds since 1970.
 */
#ifndef SENDGOV_CTL_MAIL_LOG_H
#define SENDGOV_CTL_MAIL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/base/span.h"

struct mail_log {
    const char *internal; /* domains whose recipients do not count, "a.com,b.com"; NULL: none */
    int year;             /* of times without one */
    int month;            /* of the last such time; 0: none yet */
    uint64_t n_lines;
};

struct mail_arrival {
    uint64_t at_us;
    uint64_t recipients; /* at least one */
};

enum mail_line {
    MAIL_LINE_ARRIVAL,
    MAIL_LINE_OTHER, /* about something else */
    MAIL_LINE_BAD,   /* cannot be understood */
};

enum mail_line mail_log_parse(struct mail_log *log, struct span line, struct mail_arrival *arrival_out);

#endif
