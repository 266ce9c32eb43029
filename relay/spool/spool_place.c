#include "relay/spool/spool_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "relay/base/file.h"
#include "relay/spool/spool_conf.h"

static int
make_folder(const char *folder, struct err *err)
{
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_set_errno(err, "cannot make %s", folder);
}

/* Root does not know who it will become: whoever does looks at it before, and gives away what root made. */
static int
check_owner(const char *folder, const struct stat *st, struct err *err)
{
    if (geteuid() != 0 && st->st_uid != geteuid())
        return err_set(err, "%s belongs to uid %ld, not to uid %ld that sendgovd runs as", folder,
            (long)st->st_uid, (long)geteuid());
    if ((st->st_mode & SPOOL_FOLDER_DENIED) != 0)
        return err_set(err, "%s has mode %04o: others may read or write it; chmod 0700 it", folder,
            (unsigned)st->st_mode & 07777);
    return 0;
}

static int
check_folder(int fd, const char *folder, struct err *err)
{
    struct stat st;
    const char *name;

    if (fstat(fd, &st) != 0)
        return err_set_errno(err, "cannot look at %s", folder);
    if (check_owner(folder, &st, err) != 0)
        return -1;
    if (file_is_on_network(folder, &name))
        return err_set(err, "%s is on %s: its locks and syncs cannot be trusted; use a local disk", folder,
            name);
    return 0;
}

int
spool_place_lock(int fd, const char *folder, struct err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(err, "%s is locked: another sendgovd uses this spool", folder);
    return err_set_errno(err, "cannot lock %s", folder);
}

int
spool_place_open(const char *folder, struct err *err)
{
    int fd;

    if (make_folder(folder, err) != 0)
        return -1;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "cannot open %s", folder);
    if (check_folder(fd, folder, err) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A folder that cannot be looked into says nothing. */
static bool
has_one_moved(const char *path, const char *suffix, dev_t *device, ino_t *inode)
{
    char name[PATH_MAX];
    struct stat st;

    if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= (int)sizeof(name))
        return false;
    if (stat(name, &st) != 0)
        return *inode != 0 && (errno == ENOENT || errno == ENOTDIR);
    if (*inode != 0)
        return st.st_dev != *device || st.st_ino != *inode;
    *device = st.st_dev;
    *inode = st.st_ino;
    return false;
}

bool
spool_place_has_moved(const char *path, struct spool_files *known)
{
    static const char *const suffixes[] = {"", "-wal"};
    bool moved = false;

    for (size_t i = 0; i < 2; i++)
        if (has_one_moved(path, suffixes[i], &known->seen[i].device, &known->seen[i].inode))
            moved = true;
    return moved;
}

void
spool_place_look(const char *folder, uint64_t size_limit_bytes, struct spool_space *out)
{
    struct statvfs fs;
    uint64_t share;

    memset(out, 0, sizeof(*out));
    if (statvfs(folder, &fs) != 0)
        return; /* what is wrong with it the next write will say */
    share = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
    out->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    out->needed_bytes = size_limit_bytes + size_limit_bytes / 2;
    if (out->needed_bytes < share)
        out->needed_bytes = share;
    if (out->free_bytes < out->needed_bytes)
        snprintf(out->why, sizeof(out->why), "%llu MiB free of the %llu MiB that are kept free",
            (unsigned long long)(out->free_bytes >> 20), (unsigned long long)(out->needed_bytes >> 20));
    else if (fs.f_files > 0 && fs.f_favail < fs.f_files / 20)
        snprintf(out->why, sizeof(out->why), "%llu of %llu inodes free, 5 %% are kept free",
            (unsigned long long)fs.f_favail, (unsigned long long)fs.f_files);
    out->is_full = out->why[0] != '\0';
}
