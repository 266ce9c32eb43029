/* peer: who is at the other end of the control socket, and what that one may do.
 *
 * The kernel says who connected (SO_PEERCRED, SO_PEERGROUPS). root and the daemon's own user may do
 * everything, members of the configured groups may look. No name service is asked while the loop runs: group
 * names are resolved when the configuration is applied. */
#ifndef SENDGOV_ADMIN_PEER_H
#define SENDGOV_ADMIN_PEER_H

#include <stddef.h>
#include <sys/types.h>

#include "relay/base/err.h"

enum privilege {
    PRIVILEGE_NONE,
    PRIVILEGE_READ, /* may look */
    PRIVILEGE_ALL,  /* may pause, resume, reload ... */
};

#define ACTOR_MAX 64

struct peer {
    uid_t uid;
    enum privilege privilege;
    char actor[ACTOR_MAX]; /* "uid=0(root)": for the log, and kept with a pause */
};

int peer_identify(int fd, const gid_t *readers, size_t n_readers, struct peer *peer_out, struct err *err);
/* The ids of the named groups, malloc'ed; names nobody knows are an error. */
int peer_resolve_groups(const char *const *names, size_t n, gid_t **ids_out, struct err *err);

#endif
