/* Files that a configuration names: their paths, whether they can be used, secrets from them, and their
 * identity for the configuration's hash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/config/draft.h"

#define SECRET_MAX 16384

/* The process may change its folder later: what is kept is absolute. */
const char *
draft_folder(struct draft *d, const char *file)
{
    const char *slash = strrchr(file, '/');
    struct span folder = slash ? span_of(file, (size_t)(slash - file)) : span_str("");
    char cwd[4096];

    if (file[0] == '/')
        return draft_printf(d, "%.*s", SPAN_FMT(folder));
    if (!getcwd(cwd, sizeof cwd) || strcmp(cwd, "/") == 0)
        cwd[0] = '\0';
    return draft_printf(d, "%s%s%.*s", cwd, folder.n > 0 ? "/" : "", SPAN_FMT(folder));
}

const char *
draft_path(struct draft *d, const struct node *v)
{
    const char *text = v->text;

    if (text[0] == '/')
        return draft_keep(d, text);
    while (text[0] == '.' && text[1] == '/')
        text += 2;
    return draft_printf(d, "%s/%s", draft_folder(d, v->file), text);
}

/* Relative names are looked for among the service manager's credentials first (systemd.exec(5),
 * LoadCredential=). */
static int
open_named(struct draft *d, const struct node *v, const char **path_out)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, fd = -1;

    if (credentials && credentials[0] == '/' && v->text[0] != '/') {
        *path_out = draft_printf(d, "%s/%s", credentials, v->text);
        fd = open(*path_out, flags);
    }
    if (fd < 0) {
        *path_out = draft_path(d, v);
        fd = open(*path_out, flags);
    }
    return fd;
}

/* What changes whenever a file is replaced or edited. Never its content: the hash is public. */
static void
note_identity(struct draft *d, const char *path, const struct stat *st)
{
    buf_printf(&d->files, "%s %llx %llx %llx %llx.%lx\n", path, (unsigned long long)st->st_dev,
        (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
        (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec);
}

/* Who checks may be somebody else than who runs. */
static int
fail_read(struct draft *d, const struct node *v, const char *path)
{
    if (errno != EACCES)
        return draft_fail(d, v, "%s cannot be read: %s", path, strerror(errno));
    return draft_fail(d, v,
        "%s cannot be read: %s for uid %u; check as the user sendgovd runs as, whose group may read it with "
        "chmod 640",
        path, strerror(errno), (unsigned)geteuid());
}

static int
check_open(struct draft *d, const struct node *v, int fd, const char *path, bool private)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_read(d, v, path);
    if (!S_ISREG(st.st_mode))
        return draft_fail(d, v, "%s is not a plain file", path);
    if (private && (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)))
        return draft_fail(
            d, v, "%s holds a secret but others can read or change it; run: chmod 640 %s", path, path);
    note_identity(d, path, &st);
    draft_note_file(d, path, v);
    return 0;
}

int
draft_check_file(struct draft *d, const struct node *v, bool private, const char **path_out)
{
    int fd = open_named(d, v, path_out);
    int result = check_open(d, v, fd, *path_out, private);

    if (fd >= 0)
        close(fd);
    return result;
}

static int
keep_secret(
    struct draft *d, const struct node *v, const char *path, struct span secret, const char **content_out)
{
    if (secret.n > 0 && secret.p[secret.n - 1] == '\n')
        secret.n--;
    if (secret.n > 0 && secret.p[secret.n - 1] == '\r')
        secret.n--;
    if (secret.n == 0)
        return draft_fail(d, v, "%s is empty", path);
    for (size_t i = 0; i < secret.n; i++)
        if ((unsigned char)secret.p[i] < 0x20 || secret.p[i] == 0x7f)
            return draft_fail(
                d, v, "%s holds a control character or more than one line; a secret is one line", path);
    *content_out = arena_strdup(&d->conf.arena, secret);
    return 0;
}

int
draft_read_secret(struct draft *d, const struct node *v, const char **content_out)
{
    char text[SECRET_MAX + 2];
    const char *path;
    int fd = open_named(d, v, &path), result = check_open(d, v, fd, path, true);
    ssize_t n;

    if (result == 0) {
        do {
            n = read(fd, text, sizeof text);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            result = fail_read(d, v, path);
        else if (n > SECRET_MAX)
            result = draft_fail(d, v, "%s is larger than %d bytes", path, SECRET_MAX);
        else
            result = keep_secret(d, v, path, span_of(text, (size_t)n), content_out);
    }
    explicit_bzero(text, sizeof text);
    if (fd >= 0)
        close(fd);
    return result;
}
