/* log_sink: where lines wait when stderr does not take them. Private to log. */
#ifndef SENDGOV_BASE_LOG_SINK_H
#define SENDGOV_BASE_LOG_SINK_H

#include <stdbool.h>

#include "relay/base/span.h"

#define LOG_RING_BYTES ((size_t)8 * 1024 * 1024)

/* A whole line with its LF. urgent: hand over at once, also while gathering. */
void log_sink_put(struct span line, bool urgent);
/* Another descriptor than 2; what waits goes there. For tests. */
void log_sink_set_fd(int fd);

#endif
