/* "Database File Format" of the SQLite documentation. With auto-vacuum the tables have the pages from 3 on as
 * their roots, in the order they were made in, also when later versions add some; nothing moves them. Page 2
 * says so in its first entries: 5 bytes for each root, that no other change of the file touches. A root is of
 * the kind its table is of, whether it is a leaf or not. */
#include "relay/spool/spool_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/xmalloc.h"
#include "relay/spool/spool_wal.h"

#define PAGE ((size_t)SPOOL_WAL_PAGE_BYTES)
#define FIRST_ROOT 3
#define POINTER_BYTES 5   /* of an entry on page 2 */
#define LEAF 0x08         /* the bit of a page's kind */
#define AT_CHANGES 24     /* of the header */
#define AT_PAGES 28
#define AT_PAGES_VALID 92 /* as many changes as when the number of pages was written */

static char *
log_of(const char *path)
{
    size_t size = strlen(path) + sizeof("-wal");
    char *wal = xmalloc(size);

    snprintf(wal, size, "%s-wal", path);
    return wal;
}

/* ---- is it a spool? ---- */

static size_t
roots(struct span fresh)
{
    size_t pages = fresh.n / PAGE;

    return pages >= FIRST_ROOT ? pages - FIRST_ROOT + 1 : 0;
}

static bool
points_to_roots(int fd, struct span fresh)
{
    char entries[PAGE];
    size_t n = roots(fresh) * POINTER_BYTES;

    return n <= sizeof(entries) && pread(fd, entries, n, (off_t)PAGE) == (ssize_t)n
        && memcmp(entries, fresh.p + PAGE, n) == 0;
}

static bool
has_roots(int fd, struct span fresh)
{
    char kind;

    for (size_t at = (FIRST_ROOT - 1) * PAGE; at < fresh.n; at += PAGE)
        if (pread(fd, &kind, 1, (off_t)at) != 1 || (kind | LEAF) != (fresh.p[at] | LEAF))
            return false;
    return true;
}

bool
spool_overlay_fits(const char *path, struct span fresh)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool fits;

    if (fd < 0)
        return false;
    fits = roots(fresh) > 0 && (points_to_roots(fd, fresh) || has_roots(fd, fresh));
    close(fd);
    return fits;
}

/* ---- the page ---- */

static void
put_pages(unsigned char *page, uint32_t pages)
{
    for (int i = 0; i < 4; i++)
        page[AT_PAGES + i] = (unsigned char)(pages >> (24 - 8 * i));
    memcpy(page + AT_PAGES_VALID, page + AT_CHANGES, 4);
}

/* As many as there can be: what is behind the end no table points to. */
static bool
count_pages(const char *path, const char *wal_path, uint32_t *pages_out)
{
    struct spool_wal wal;
    struct stat st;

    if (lstat(path, &st) != 0 || !spool_wal_look(wal_path, &wal))
        return false;
    *pages_out = (uint32_t)(((uint64_t)st.st_size + PAGE - 1) / PAGE);
    if (*pages_out < wal.pages)
        *pages_out = wal.pages;
    return true;
}

bool
spool_overlay_make(const char *path, const char *view, struct span fresh)
{
    char *wal = log_of(path), *view_wal = log_of(view);
    unsigned char page[PAGE];
    uint32_t pages;
    bool ok = count_pages(path, wal, &pages);
    int why;

    memcpy(page, fresh.p, sizeof(page));
    if (ok) {
        put_pages(page, pages);
        ok = link(path, view) == 0 && spool_wal_extend(wal, view_wal, page, pages);
    }
    why = errno;
    free(wal);
    free(view_wal);
    errno = why;
    return ok;
}
