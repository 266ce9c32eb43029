/* preflight: what a configuration needs of this host, beyond what its own text tells: certificates and keys
 * that can be used, logins that can be read, users, groups and folders that exist, a place for the spool
 * where locks and syncs can be trusted. Start, reload, `sendgovd -t` and `sendgovctl check-config` ask the
 * same question, so none accepts what another refuses. Nothing is bound, connected or changed; what is
 * loaded is thrown away. Addresses in use, and Redis, show at the start only. */
#ifndef SENDGOV_CONFIG_PREFLIGHT_H
#define SENDGOV_CONFIG_PREFLIGHT_H

#include "relay/config/config.h"

/* What stops nobody now, but the operator should hear. */
typedef void preflight_note_fn(void *arg, const char *position, const char *text);

/* 0, or -1 and "file:line:column: what is wrong; what to do". */
int config_preflight(const struct config *c, preflight_note_fn *note, void *arg, struct err *err);
/* Notes each file of the configuration that this process cannot read any more, and a state folder it cannot
 * write to: asked when root is gone, for a reload reads them all again. */
void config_note_denied(const struct config *c, preflight_note_fn *note, void *arg);
/* Puts the position of a setting before the text of err, or its key where it is not written; returns -1. */
int config_locate(const struct config *c, const char *path, struct err *err);

#endif
