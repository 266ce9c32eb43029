/* http_host: is this Host header one of ours? Against DNS rebinding: a page on the web can make a browser ask
 * us under its own name, never under ours. Allowed are loopback names and addresses, the configured address,
 * and the address the connection came in on. */
#ifndef SENDGOV_ADMIN_HTTP_HOST_H
#define SENDGOV_ADMIN_HTTP_HOST_H

#include <stdbool.h>

#include "relay/base/span.h"

/* "host:port", "[v6]:port", "host", "[v6]" without port and brackets; the empty span when it is none of
 * these. */
struct span http_host_of(struct span host_and_port);
/* configured and local: without port and brackets. */
bool http_host_is_ours(struct span header, struct span configured, struct span local);

#endif
