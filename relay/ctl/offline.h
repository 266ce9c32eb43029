/* offline: a configuration for verbs that ask no daemon. The operator's file where one is named or installed;
 * else a small one made up here, so that `classify` and `warmup plan` work on any machine with the shipped
 * profiles. */
#ifndef SENDGOV_CTL_OFFLINE_H
#define SENDGOV_CTL_OFFLINE_H

#include "relay/base/span.h"
#include "relay/ctl/ctl.h"
#include "relay/config/config.h"

/* The -c file, or the installed one when it exists; *config_out stays NULL (and the code CTL_OK) when there
 * is neither. */
enum ctl_exit offline_load(const struct ctl *c, struct config **config_out);
/* A configuration from text. what: for the complaint, "warmup plan". */
enum ctl_exit offline_parse(
    const struct ctl *c, const char *what, struct span yaml, struct config **config_out);

/* The route of what offline_builtin() makes. */
#define OFFLINE_ROUTE "m365"
/* One route "m365" with the shipped profile. extra: more lines for that route; schedules: more lines at the
 * end. Each may be "". */
enum ctl_exit offline_builtin(const struct ctl *c, const char *what, const char *extra, const char *schedules,
    struct config **config_out);

#endif
