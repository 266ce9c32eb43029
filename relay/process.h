/* process: what the daemon asks of the operating system once, at start. */
#ifndef SENDGOV_PROCESS_H
#define SENDGOV_PROCESS_H

#include "relay/base/err.h"

/* Creates the state folder (0750) when it is missing and locks it: a second daemon on it is refused. Returns
 * the lock's descriptor, which the process keeps, or -1. owner: NULL, or the user a newly made
 * folder is given to. */
int process_lock_state(const char *folder, const char *owner, struct err *err);
/* As root: gives a file of the state folder to user, so that the daemon can be started as that user from then
 * on. One that is not there is left alone, and so is what is no plain file with a single name: the folder is
 * the user's, who might put somebody else's file there. */
int process_give_state(const char *folder, const char *name, const char *user, struct err *err);
/* The same of the spool's folder, unless it is a link, and of what the spool keeps in it. */
int process_give_spool(const char *folder, const char *user, struct err *err);
/* As root: becomes user for good, groups included. Otherwise nothing. Staying root is refused. */
int process_drop_root(const char *user, struct err *err);
/* SIGHUP and SIGUSR2 would end a process that does not watch them yet: they wait from hold to release. */
void process_hold_signals(void);
void process_release_signals(void);
/* Raises the soft limit of open descriptors to the hard one; returns the limit. */
long process_raise_descriptors(void);
/* sd_notify(3) protocol, without the library: READY=1, RELOADING=1, STOPPING=1, WATCHDOG=1, STATUS=...
 * Nothing when not started by a service manager. */
void process_notify(const char *state);
/* Half of the interval in which systemd wants WATCHDOG=1, in ms; 0: not asked for. */
long process_watchdog_ms(void);

#endif
