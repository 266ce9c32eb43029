/* ask: one question to the daemon over its control socket. Blocking, with a deadline. */
#ifndef SENDGOV_CTL_ASK_H
#define SENDGOV_CTL_ASK_H

#include "relay/ctl/ctl.h"

#define ASK_SECONDS 60
#define ASK_ANSWER_MAX (16 * 1024 * 1024)

/* CTL_OK: *answer_out is the daemon's object, the caller's to decref; its "ok" may be false. Otherwise the
 * complaint was printed. */
enum ctl_exit ask_daemon(
    const struct ctl *c, const char *socket_path, const json_t *question, json_t **answer_out);

#endif
