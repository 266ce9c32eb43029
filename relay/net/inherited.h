/* inherited: listening sockets this process was started with, by a service manager (systemd.socket(5)) or by
 * the process it takes the place of. Whoever is to listen asks here first. */
#ifndef SENDGOV_NET_INHERITED_H
#define SENDGOV_NET_INHERITED_H

#include "relay/base/err.h"

struct inherited;

/* The descriptors the environment names by the protocol of sd_listen_fds(3), which is taken out of it:
 * LISTEN_PID, LISTEN_FDS, from descriptor 3 on. None is an empty set; NULL and err: what it names is no
 * listening stream socket. */
struct inherited *inherited_from_environment(struct err *err);
/* The socket that listens on this address ("192.0.2.1:25", "[::1]:25", "unix:/path"), which is the caller's
 * from then on, close-on-exec and non-blocking; -1: there is none. in may be NULL. */
int inherited_take(struct inherited *in, const char *address);
/* Closes what nobody took, and says so in the log: what is opened later is opened anew. */
void inherited_close_rest(struct inherited *in);
void inherited_free(struct inherited **in);

#endif
