/* ask: one question to the daemon over its control socket. Blocking, with a deadline. */
#ifndef SENDGOV_CTL_ASK_H
#define SENDGOV_CTL_ASK_H

#include "relay/ctl/ctl.h"

#define ASK_SECONDS 60
#define ASK_ANSWER_MAX (16 * 1024 * 1024)

/* -s, else the socket of the file -c names, else the default. Without -c the configuration is not opened:
 * those who may only look need not be able to read it. */
enum ctl_exit ask_choose_socket(const struct ctl *c, char *path_out, size_t size);
/* CTL_OK: *answer_out is the daemon's object, the caller's to decref; its "ok" may be false. Otherwise the
 * complaint was printed. */
enum ctl_exit ask_daemon(
    const struct ctl *c, const char *socket_path, const json_t *question, json_t **answer_out);

#endif
