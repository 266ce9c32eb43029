/* daemon: the parts of sendgovd in the order of their life, reload and drain. */
#ifndef SENDGOV_DAEMON_H
#define SENDGOV_DAEMON_H

#include "relay/base/err.h"

struct config;
struct daemon;
struct inherited;
struct predecessor;

struct daemon_start {
    struct config *config;           /* daemon takes a reference */
    char *const *argv;               /* of this process, for an upgrade */
    struct inherited *inherited;     /* sockets it was started with */
    struct predecessor *predecessor; /* NULL: it takes nobody's place */
};

/* Builds all parts, opens the listeners and drops root; -1 and err otherwise. In the place of another process
 * it waits for that one's word. What start points to must live until daemon_free. */
struct daemon *daemon_new(const struct daemon_start *start, struct err *err);
/* Runs until it is told to stop; the exit status. */
int daemon_run(struct daemon *d);
void daemon_free(struct daemon **d);

#endif
