#include "relay/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "relay/base/xmalloc.h"

/* Open and proven to be what the caller wants, or -1. O_NONBLOCK: a FIFO in its place must not hang us. */
static int
open_checked(const char *path, enum file_privacy privacy, struct stat *st_out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return err_set_errno(err, "%s", path);
    if (fstat(fd, st_out) != 0)
        err_set_errno(err, "%s", path);
    else if (!S_ISREG(st_out->st_mode))
        err_set(err, "%s: not a regular file", path);
    else if (privacy == FILE_SECRET && (st_out->st_mode & 0006) != 0)
        err_set(err, "%s: readable or writable by everybody (mode %04o); it holds a secret, use chmod 640",
            path, (unsigned)(st_out->st_mode & 07777));
    else
        return fd;
    close(fd);
    return -1;
}

int
file_check(const char *path, enum file_privacy privacy, struct err *err)
{
    struct stat st;
    int fd = open_checked(path, privacy, &st, err);

    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int
read_all(int fd, const char *path, size_t max, struct buf *out, struct err *err)
{
    size_t got = 0;

    for (;;) {
        size_t want = max - got + 1; /* one more than allowed shows that it is too long */
        ssize_t n = read(fd, buf_reserve(out, want), want);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, "%s", path);
        if (n == 0)
            return 0;
        got += (size_t)n;
        if (got > max)
            return err_set(err, "%s: larger than %zu bytes", path, max);
        buf_commit(out, (size_t)n);
    }
}

int
file_read(const char *path, size_t max, enum file_privacy privacy, struct buf *out, struct err *err)
{
    struct stat st;
    int fd = open_checked(path, privacy, &st, err), rc;

    if (fd < 0)
        return -1;
    if ((uint64_t)st.st_size > max)
        rc = err_set(err, "%s: larger than %zu bytes", path, max);
    else
        rc = read_all(fd, path, (size_t)st.st_size > 0 ? (size_t)st.st_size : max, out, err);
    close(fd);
    return rc;
}

static int
write_all(int fd, struct span bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes = span_from(bytes, (size_t)n);
    }
    return 0;
}

static int
sync_folder(const char *path)
{
    char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    free(copy);
    if (fd < 0)
        return -1;
    rc = fsync(fd);
    close(fd);
    return rc;
}

static int
write_new(int fd, struct span bytes, mode_t mode)
{
    int rc = fchmod(fd, mode) != 0 || write_all(fd, bytes) != 0 || fsync(fd) != 0 ? -1 : 0;

    if (close(fd) != 0)
        rc = -1;
    return rc;
}

int
file_replace(const char *path, struct span bytes, mode_t mode, struct err *err)
{
    struct buf temp;
    int fd, rc = 0;

    buf_init(&temp);
    buf_printf(&temp, "%s.XXXXXX", path);
    fd = mkostemp(temp.p, O_CLOEXEC);
    if (fd < 0) {
        rc = err_set_errno(err, "%s", temp.p);
    } else if (write_new(fd, bytes, mode) != 0 || rename(temp.p, path) != 0) {
        rc = err_set_errno(err, "%s", path);
        unlink(temp.p);
    } else if (sync_folder(path) != 0) {
        rc = err_set_errno(err, "folder of %s", path);
    }
    buf_fini(&temp);
    return rc;
}

/* statfs(2); what linux/magic.h does not name is written out. */
static const struct {
    uint32_t f_type;
    const char *name;
} network_types[] = {
    {NFS_SUPER_MAGIC, "NFS"},
    {SMB_SUPER_MAGIC, "SMB"},
    {CIFS_SUPER_MAGIC, "CIFS"},
    {SMB2_SUPER_MAGIC, "SMB"},
    {V9FS_MAGIC, "9p"},
    {FUSE_SUPER_MAGIC, "FUSE"}, /* sshfs, GlusterFS, WebDAV: nothing tells which */
    {CEPH_SUPER_MAGIC, "Ceph"},
    {AFS_SUPER_MAGIC, "AFS"},
    {AFS_FS_MAGIC, "AFS"},
    {CODA_SUPER_MAGIC, "Coda"},
    {NCP_SUPER_MAGIC, "NCP"},
    {OCFS2_SUPER_MAGIC, "OCFS2"},
    {0x01161970, "GFS2"},
    {0x0bd00bd0, "Lustre"},
    {0x20030528, "OrangeFS"},
    {0x19830326, "BeeGFS"},
    {0x47504653, "GPFS"},
    {0x786f4256, "vboxsf"},
    {0xbacbacbc, "vmhgfs"},
};

const char *
file_network_type(uint32_t f_type)
{
    for (size_t i = 0; i < sizeof network_types / sizeof network_types[0]; i++)
        if (network_types[i].f_type == f_type)
            return network_types[i].name;
    return NULL;
}

bool
file_is_on_network(const char *path, const char **name_out)
{
    struct statfs st;
    const char *name;

    if (statfs(path, &st) != 0)
        return false;
    name = file_network_type((uint32_t)st.f_type); /* which is signed, and wider on some machines */
    if (!name)
        return false;
    *name_out = name;
    return true;
}
