#include "relay/admin/peer.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/base/xmalloc.h"

/* Groups of one peer that are looked at; whoever is in more must use root. */
#define PEER_GROUPS_MAX 1024

static bool
is_one_of(gid_t gid, const gid_t *gids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (gids[i] == gid)
            return true;
    }
    return false;
}

/* SO_PEERGROUPS: the supplementary groups the peer had when it connected (Linux 4.13). Without it only the
 * primary group counts, which is the stricter reading. */
static bool
has_group(int fd, gid_t primary, const gid_t *readers, size_t n_readers)
{
    gid_t *groups;
    socklen_t bytes = PEER_GROUPS_MAX * sizeof(*groups);
    bool found = false;

    if (n_readers == 0)
        return false;
    if (is_one_of(primary, readers, n_readers))
        return true;
    groups = xcalloc(PEER_GROUPS_MAX, sizeof(*groups));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) == 0) {
        for (size_t i = 0; i < bytes / sizeof(*groups) && !found; i++)
            found = is_one_of(groups[i], readers, n_readers);
    }
    free(groups);
    return found;
}

int
peer_identify(int fd, const gid_t *readers, size_t n_readers, struct peer *peer_out, struct err *err)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
        return err_set_errno(err, "control socket: cannot tell who connected");
    peer_out->uid = cred.uid;
    snprintf(peer_out->actor, sizeof(peer_out->actor), "uid=%u%s", (unsigned)cred.uid,
        cred.uid == 0 ? "(root)" : "");
    if (cred.uid == 0 || cred.uid == geteuid())
        peer_out->privilege = PRIVILEGE_ALL;
    else if (has_group(fd, cred.gid, readers, n_readers))
        peer_out->privilege = PRIVILEGE_READ;
    else
        peer_out->privilege = PRIVILEGE_NONE;
    return 0;
}

int
peer_resolve_groups(const char *const *names, size_t n, gid_t **ids_out, struct err *err)
{
    gid_t *ids = xcalloc(n ? n : 1, sizeof(*ids));

    for (size_t i = 0; i < n; i++) {
        struct group *g;

        errno = 0;
        g = getgrnam(names[i]);
        if (!g) {
            free(ids);
            return err_set(err, "admin.groups: there is no group \"%s\" on this host", names[i]);
        }
        ids[i] = g->gr_gid;
    }
    *ids_out = ids;
    return 0;
}
