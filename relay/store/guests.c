#include "relay/store/guests.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/buf.h"
#include "relay/base/file.h"

#define GUESTS_FILE_MAX 4096
#define IDENTITY_DIGITS (JOURNAL_UUID_MAX - 1)

static void
guests_path(const char *folder, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/store.guests", folder);
}

static void
drop(struct guests *g, size_t i)
{
    g->n--;
    memmove(g->identities + i, g->identities + i + 1, (g->n - i) * sizeof(g->identities[0]));
}

static bool
find(const struct guests *g, const char *identity, size_t *i_out)
{
    for (*i_out = 0; *i_out < g->n; (*i_out)++)
        if (strcmp(g->identities[*i_out], identity) == 0)
            return true;
    return false;
}

static bool
is_identity(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\0' || strchr("0123456789abcdef", s.p[i]) == NULL)
            return false;
    return s.n == IDENTITY_DIGITS;
}

static void
append(struct guests *g, struct span identity)
{
    if (g->n == GUESTS_MAX)
        drop(g, 0);
    memcpy(g->identities[g->n], identity.p, identity.n);
    g->identities[g->n++][identity.n] = '\0';
}

static void
parse(struct span text, struct guests *out)
{
    struct span line;

    while (text.n > 0) {
        text = span_cut(text, '\n', &line);
        if (is_identity(line))
            append(out, line);
    }
}

int
guests_read(const char *folder, struct guests *out, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    int rc = 0;

    out->n = 0;
    guests_path(folder, path);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 0;
    buf_init(&text);
    rc = file_read(path, GUESTS_FILE_MAX, FILE_ANY, &text, err);
    if (rc == 0)
        parse(buf_span(&text), out);
    buf_fini(&text);
    return rc;
}

static int
write_new(const char *path, struct span text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n;

    if (fd >= 0 && close(fd) != 0)
        ok = false;
    return ok ? 0 : -1;
}

/* Not synced, for it is to outlive the processes, not the machine: waiting for the disk would hold up the
 * loop, and with it MAIL whose charge grows old. */
static int
replace(const char *path, struct span text, struct err *err)
{
    char new[PATH_MAX + 4];
    int rc = 0;

    snprintf(new, sizeof(new), "%s.new", path);
    if (write_new(new, text) != 0 || rename(new, path) != 0) {
        rc = err_set_errno(err, "cannot write %s", path);
        unlink(new);
    }
    return rc;
}

static int
write_all(const char *folder, const struct guests *g, struct err *err)
{
    char path[PATH_MAX];
    struct buf text;
    int rc;

    guests_path(folder, path);
    if (g->n == 0)
        return unlink(path) == 0 || errno == ENOENT ? 0 : err_set_errno(err, "cannot remove %s", path);
    buf_init(&text);
    for (size_t i = 0; i < g->n; i++)
        buf_printf(&text, "%s\n", g->identities[i]);
    rc = replace(path, buf_span(&text), err);
    buf_fini(&text);
    return rc;
}

/* A file that cannot be read says nothing that anybody will ever hear: it begins anew. */
int
guests_add(const char *folder, const char *identity, struct err *err)
{
    struct guests g;
    size_t i;

    if (guests_read(folder, &g, err) != 0)
        g.n = 0;
    if (find(&g, identity, &i) || !is_identity(span_str(identity)))
        return 0;
    append(&g, span_str(identity));
    return write_all(folder, &g, err);
}

int
guests_remove(const char *folder, const char *identity, struct err *err)
{
    struct guests g;
    size_t i;

    if (guests_read(folder, &g, err) != 0)
        return -1;
    if (!find(&g, identity, &i))
        return 0;
    drop(&g, i);
    return write_all(folder, &g, err);
}
