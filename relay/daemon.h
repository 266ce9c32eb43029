/* daemon: the parts of sendgovd in the order of their life, reload and drain. */
#ifndef SENDGOV_DAEMON_H
#define SENDGOV_DAEMON_H

#include "relay/base/err.h"

struct config;
struct daemon;

/* Builds all parts, opens the listeners and drops root; -1 and err otherwise. Takes a reference to config. */
struct daemon *daemon_new(struct config *config, struct err *err);
/* Runs until it is told to stop; the exit status. */
int daemon_run(struct daemon *d);
void daemon_free(struct daemon **d);

#endif
