#include "relay/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int
make_state_folder(const char *folder, const char *owner, struct err *err)
{
    const struct passwd *pw = owner != NULL && geteuid() == 0 ? getpwnam(owner) : NULL;

    if (mkdir(folder, 0750) != 0)
        return errno == EEXIST ? 0 : err_set_errno(err, "cannot create %s", folder);
    if (pw != NULL && chown(folder, pw->pw_uid, pw->pw_gid) != 0)
        return err_set_errno(err, "cannot give %s to %s", folder, owner);
    return 0;
}

int
process_lock_state(const char *folder, const char *owner, struct err *err)
{
    int dir, fd;

    if (make_state_folder(folder, owner, err) != 0)
        return -1;
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_set_errno(err, "cannot open %s", folder);
    fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    close(dir);
    if (fd < 0)
        return err_set_errno(err, "cannot open %s/lock", folder);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;

        close(fd);
        errno = why;
        return errno == EWOULDBLOCK
            ? err_set(err, "another sendgovd runs on %s; give each its own `state`", folder)
            : err_set_errno(err, "cannot lock %s/lock", folder);
    }
    return fd;
}

static int
give_file(int dir, const char *name, const struct passwd *pw)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), rc = 0;
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == 0)
        rc = fchown(fd, pw->pw_uid, pw->pw_gid);
    close(fd);
    return rc;
}

int
process_give_state(const char *folder, const char *name, const char *user, struct err *err)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
    int dir = pw != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, rc = 0;

    if (dir < 0)
        return 0;
    if (give_file(dir, name, pw) != 0)
        rc = err_set_errno(err, "cannot give %s/%s to %s", folder, name, user);
    close(dir);
    return rc;
}

/* The database, what SQLite puts beside it, what was put aside as damaged, and the lock. */
static bool
is_of_spool(const char *name)
{
    return strcmp(name, "lock") == 0 || strncmp(name, "spool.", 6) == 0;
}

static int
give_folder(DIR *d, const struct passwd *pw)
{
    const struct dirent *entry;
    struct stat st;

    if (fstat(dirfd(d), &st) != 0 || (st.st_uid == 0 && fchown(dirfd(d), pw->pw_uid, pw->pw_gid) != 0))
        return -1;
    while ((entry = readdir(d)) != NULL)
        if (is_of_spool(entry->d_name) && give_file(dirfd(d), entry->d_name, pw) != 0)
            return -1;
    return 0;
}

int
process_give_spool(const char *folder, const char *user, struct err *err)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
    int fd, rc = 0;
    DIR *d;

    if (pw == NULL)
        return 0;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0 :
            err_set_errno(err, "cannot open %s", folder);
    d = fdopendir(fd);
    if (d == NULL || give_folder(d, pw) != 0)
        rc = err_set_errno(err, "cannot give %s to %s", folder, user);
    if (d != NULL)
        closedir(d);
    else
        close(fd);
    return rc;
}

/* No core file and no debugger of another user: memory holds secrets. The leak checker of a sanitizer build
 * needs to look. */
static void
forbid_core(void)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)prctl(PR_SET_DUMPABLE, 1);
#else
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

int
process_drop_root(const char *user, struct err *err)
{
    const struct passwd *pw;

    if (geteuid() != 0) {
        forbid_core();
        return 0;
    }
    if (user == NULL)
        return err_set(err, "started as root without `user`: name the user to run as, e.g. `user: sendgov`");
    errno = 0;
    pw = getpwnam(user);
    if (pw == NULL)
        return err_set(err, "there is no user %s; create it or name another", user);
    if (pw->pw_uid == 0)
        return err_set(err, "%s is root; running on as root is refused", user);
    if (initgroups(user, pw->pw_gid) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
        return err_set_errno(err, "cannot become %s", user);
    forbid_core();
    return 0;
}

static void
mask_held_signals(int how)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR2);
    (void)sigprocmask(how, &held, NULL);
}

void
process_hold_signals(void)
{
    mask_held_signals(SIG_BLOCK);
}

void
process_release_signals(void)
{
    mask_held_signals(SIG_UNBLOCK);
}

long
process_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        /* Should it fail: a lower one is bounded by the listener's spare descriptor. */
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    return (long)limit.rlim_cur;
}

void
process_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = path != NULL ? strlen(path) : 0;
    int fd;

    if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = '\0'; /* an abstract socket */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

long
process_watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (us == NULL || (pid != NULL && atol(pid) != (long)getpid()))
        return 0;
    return atol(us) / 2000;
}
