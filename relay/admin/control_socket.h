/* control_socket: the file the control socket is. Private to relay/admin. */
#ifndef SENDGOV_ADMIN_CONTROL_SOCKET_H
#define SENDGOV_ADMIN_CONTROL_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "relay/base/err.h"

/* The file that was made, so that only this one is removed again. */
struct socket_file {
    char *path;
    dev_t device;
    ino_t inode;
};

/* Makes a listening socket with mode 0660. A stale socket (nobody answers) is replaced; anything else at the
 * path, a symlink above all, is refused. Returns the descriptor, or -1. */
int control_socket_open(const char *path, struct socket_file *file_out, struct err *err);
/* Who may connect is decided by the file's owner and mode first, by peer credentials after that. owner: as
 * root, the user that gets it (NULL: stays); group: the group that gets it (-1: stays). Failure is logged:
 * root still gets in. */
void control_socket_give(const struct socket_file *file, const char *owner, gid_t group);
/* The file of a listening socket that was handed over. */
void control_socket_know(const char *path, struct socket_file *file_out);
/* Unlinks the file if it is still the one that was made. */
void control_socket_remove(struct socket_file *file);
/* The listening socket was closed here: the file is that of who listens on it too, and is unlinked when
 * nobody does. */
void control_socket_leave(struct socket_file *file);

#endif
