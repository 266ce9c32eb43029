#include "relay/admin/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"

#define SOCKET_MODE 0660
#define SOCKET_BACKLOG 32

static int
new_socket(struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        err_set_errno(err, "admin.socket: socket");
    return fd;
}

static int
fill_address(const char *path, struct sockaddr_un *sun, struct err *err)
{
    memset(sun, 0, sizeof(*sun));
    sun->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(sun->sun_path))
        return err_set(err, "admin.socket: %s is longer than the %zu bytes a socket may have", path,
            sizeof(sun->sun_path) - 1);
    memcpy(sun->sun_path, path, strlen(path));
    return 0;
}

/* A socket that refuses connections has no process behind it any more. -1 and err: it cannot be told. */
static int
look_for_listener(const struct sockaddr_un *sun, bool *listens_out, struct err *err)
{
    int fd = new_socket(err), rc, error;

    if (fd < 0)
        return -1;
    rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
    error = errno;
    close(fd);
    *listens_out = rc == 0 || error != ECONNREFUSED;
    return 0;
}

static int
clear_stale(const struct sockaddr_un *sun, struct err *err)
{
    struct stat st;
    bool listens;

    if (lstat(sun->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : err_set_errno(err, "admin.socket: %s", sun->sun_path);
    if (S_ISLNK(st.st_mode))
        return err_set(err, "admin.socket: %s is a symbolic link; remove it", sun->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, "admin.socket: %s exists and is no socket; remove it", sun->sun_path);
    if (look_for_listener(sun, &listens, err) != 0)
        return -1;
    if (listens)
        return err_set(err, "admin.socket: another process answers at %s", sun->sun_path);
    if (unlink(sun->sun_path) != 0)
        return err_set_errno(err, "admin.socket: cannot remove the stale %s", sun->sun_path);
    return 0;
}

/* A process without rights of root gives a file to a group it is in itself, and to no other. */
static void
warn_not_given(const char *path, gid_t group, int error)
{
    const struct group *g = group != (gid_t)-1 ? getgrgid(group) : NULL;

    if (g == NULL)
        log_text(LOG_WARNING, "control-socket", "%s cannot be given away: %s", path, strerror(error));
    else
        log_text(LOG_WARNING, "control-socket",
            "%s cannot be given to group %s of admin.groups: %s; its members cannot look until this process "
            "is in that group (systemctl edit sendgov: [Service] SupplementaryGroups=%s) or starts as root",
            path, g->gr_name, strerror(error), g->gr_name);
}

void
control_socket_give(const struct socket_file *file, const char *owner, gid_t group)
{
    struct passwd *pw = owner && geteuid() == 0 ? getpwnam(owner) : NULL;

    if ((pw || group != (gid_t)-1) && lchown(file->path, pw ? pw->pw_uid : (uid_t)-1, group) != 0)
        warn_not_given(file->path, group, errno);
}

int
control_socket_open(const char *path, struct socket_file *file_out, struct err *err)
{
    struct sockaddr_un sun;
    struct stat st;
    int fd;

    if (fill_address(path, &sun, err) != 0 || clear_stale(&sun, err) != 0)
        return -1;
    fd = new_socket(err);
    if (fd < 0)
        return -1;
    /* Linux gives the file the mode of the socket, less the umask: it is never wider than wanted. */
    if (fchmod(fd, SOCKET_MODE) != 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
        err_set_errno(err, "admin.socket: cannot make %s", path);
        close(fd);
        return -1;
    }
    if (fchmodat(AT_FDCWD, path, SOCKET_MODE, 0) != 0 || lstat(path, &st) != 0 ||
        listen(fd, SOCKET_BACKLOG) != 0) {
        err_set_errno(err, "admin.socket: %s", path);
        unlink(path);
        close(fd);
        return -1;
    }
    file_out->path = xstrdup(path);
    file_out->device = st.st_dev;
    file_out->inode = st.st_ino;
    return fd;
}

void
control_socket_know(const char *path, struct socket_file *file_out)
{
    struct stat st = {0};

    (void)lstat(path, &st);
    *file_out = (struct socket_file){xstrdup(path), st.st_dev, st.st_ino};
}

static void
forget(struct socket_file *file)
{
    free(file->path);
    file->path = NULL;
}

void
control_socket_remove(struct socket_file *file)
{
    struct stat st;

    if (!file->path)
        return;
    if (lstat(file->path, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
        unlink(file->path);
    forget(file);
}

void
control_socket_leave(struct socket_file *file)
{
    struct sockaddr_un sun;
    struct err ignored;
    bool listens = true;

    if (!file->path)
        return;
    if (fill_address(file->path, &sun, &ignored) == 0 && look_for_listener(&sun, &listens, &ignored) == 0 &&
        !listens)
        control_socket_remove(file);
    else
        forget(file);
}
