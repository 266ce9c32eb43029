/* "WAL-mode File Format" of the SQLite documentation. A log is a header of 32 bytes and frames: 24 bytes and
 * a page. Numbers are big endian; the checksum of a frame goes on from that of the frame before, over the
 * first 8 bytes of its header and its page, in words whose byte order the magic number tells. A restarted
 * log has new salts; frames with other salts are left over from before.
 *
 * What a frame's own checksum goes on from is written in the frame before it. So frames behind a damaged one
 * can still be judged: one that matches, has the salts of this log and ends a transaction was committed and
 * is cut off. */
#include "relay/spool/spool_wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/xmalloc.h"

#define HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define MAGIC 0x377f0682u /* the last bit: words are big endian */
#define FORMAT 3007000
#define PAGE_MAX 65536u

struct sum {
    uint32_t a, b;
};

struct scan {
    int fd;
    bool big_endian;
    size_t page_bytes;
    unsigned char salts[8];
    bool has_salts;
    struct sum before; /* of the frame before, as it says */
    bool is_cut;
    unsigned char *frame;
    struct sum committed; /* of the last frame that SQLite will read and that ends a transaction */
};

static uint32_t
big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t
little(const unsigned char *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static struct sum
sum_up(const struct scan *s, struct sum sum, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        sum.a += (s->big_endian ? big(p + i) : little(p + i)) + sum.b;
        sum.b += (s->big_endian ? big(p + i + 4) : little(p + i + 4)) + sum.a;
    }
    return sum;
}

static bool
sum_is(struct sum sum, const unsigned char *p)
{
    return sum.a == big(p) && sum.b == big(p + 4);
}

static ssize_t
read_whole(int fd, unsigned char *p, size_t n)
{
    size_t have = 0;

    while (have < n) {
        ssize_t got = read(fd, p + have, n - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* Of a header that does not match the salts are not known, and the page size is taken to be ours. */
static void
begin(struct scan *s, const unsigned char header[HEADER_BYTES])
{
    uint32_t magic = big(header), page = big(header + 8);
    struct sum sum;

    s->big_endian = (magic & 1) != 0;
    sum = sum_up(s, (struct sum){0, 0}, header, 24);
    s->has_salts = (magic & ~1u) == MAGIC && sum_is(sum, header + 24) && page >= 512 && page <= PAGE_MAX;
    s->is_cut = !s->has_salts;
    s->page_bytes = s->has_salts ? page : SPOOL_WAL_PAGE_BYTES;
    s->before = s->committed = (struct sum){big(header + 24), big(header + 28)};
    memcpy(s->salts, header + 16, sizeof(s->salts));
    if (!s->has_salts)
        s->big_endian = false;
}

static void
keep_frame(struct scan *s, struct spool_wal *out)
{
    uint32_t pages = big(s->frame + 4);

    out->good++;
    if (pages == 0)
        return;
    out->committed = out->good;
    out->pages = pages;
    s->committed = s->before;
}

static void
look_at_frame(struct scan *s, struct spool_wal *out)
{
    const unsigned char *f = s->frame;
    struct sum sum = sum_up(s, sum_up(s, s->before, f, 8), f + FRAME_HEADER_BYTES, s->page_bytes);
    bool same_log = !s->has_salts || memcmp(f + 8, s->salts, sizeof(s->salts)) == 0;
    bool matches = same_log && sum_is(sum, f + 16) && big(f) != 0;

    s->before = (struct sum){big(f + 16), big(f + 20)};
    if (!matches)
        s->is_cut = true;
    else if (!s->is_cut)
        keep_frame(s, out);
    else if (big(f + 4) != 0)
        out->commits_lost++;
}

static bool
scan_frames(struct scan *s, struct spool_wal *out)
{
    size_t frame_bytes = FRAME_HEADER_BYTES + s->page_bytes;
    ssize_t n;

    s->frame = xmalloc(frame_bytes);
    while ((n = read_whole(s->fd, s->frame, frame_bytes)) == (ssize_t)frame_bytes)
        look_at_frame(s, out);
    free(s->frame);
    return n >= 0;
}

static bool
look(struct scan *s, struct spool_wal *out)
{
    unsigned char header[HEADER_BYTES];
    ssize_t n = read_whole(s->fd, header, sizeof(header));

    if (n == HEADER_BYTES) {
        begin(s, header);
        return scan_frames(s, out);
    }
    return n >= 0;
}

bool
spool_wal_look(const char *path, struct spool_wal *out)
{
    struct scan s = {.fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    bool ok;

    memset(out, 0, sizeof(*out));
    if (s.fd < 0)
        return errno == ENOENT;
    ok = look(&s, out);
    close(s.fd);
    return ok;
}

/* ---- a log with one commit more ---- */

static void
put_big(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void
put_sum(unsigned char *p, struct sum sum)
{
    put_big(p, sum.a);
    put_big(p + 4, sum.b);
}

static bool
write_whole(int fd, const unsigned char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, p, n);

        if (put < 0 && errno != EINTR)
            return false;
        p += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

/* Of a log that SQLite would not read either. */
static bool
write_header(struct scan *s, int to)
{
    unsigned char header[HEADER_BYTES] = {0};

    s->big_endian = false;
    put_big(header, MAGIC);
    put_big(header + 4, FORMAT);
    put_big(header + 8, SPOOL_WAL_PAGE_BYTES);
    memcpy(header + 16, "first pg", sizeof(s->salts)); /* any will do */
    put_sum(header + 24, sum_up(s, (struct sum){0, 0}, header, 24));
    begin(s, header);
    return write_whole(to, header, sizeof(header));
}

static bool
copy_commits(const struct scan *s, size_t frames, int to)
{
    size_t left = HEADER_BYTES + frames * (FRAME_HEADER_BYTES + s->page_bytes);
    unsigned char block[SPOOL_WAL_PAGE_BYTES];

    if (lseek(s->fd, 0, SEEK_SET) != 0)
        return false;
    while (left > 0) {
        ssize_t n = read_whole(s->fd, block, left < sizeof(block) ? left : sizeof(block));

        if (n == 0)
            errno = EIO; /* it was longer a moment ago */
        if (n <= 0 || !write_whole(to, block, (size_t)n))
            return false;
        left -= (size_t)n;
    }
    return true;
}

static bool
write_first_page(const struct scan *s, const unsigned char *page, uint32_t pages, int to)
{
    unsigned char frame[FRAME_HEADER_BYTES];

    put_big(frame, 1);
    put_big(frame + 4, pages);
    memcpy(frame + 8, s->salts, sizeof(s->salts));
    put_sum(frame + 16, sum_up(s, sum_up(s, s->committed, frame, 8), page, SPOOL_WAL_PAGE_BYTES));
    return write_whole(to, frame, sizeof(frame)) && write_whole(to, page, SPOOL_WAL_PAGE_BYTES);
}

static bool
write_extended(struct scan *s, const unsigned char *page, uint32_t pages, int to)
{
    struct spool_wal wal = {0};
    bool ok = s->fd < 0 || look(s, &wal);

    if (ok && wal.committed > 0 && s->page_bytes == SPOOL_WAL_PAGE_BYTES)
        ok = copy_commits(s, wal.committed, to);
    else if (ok)
        ok = write_header(s, to);
    return ok && write_first_page(s, page, pages, to);
}

bool
spool_wal_extend(const char *from, const char *to, const unsigned char *page, uint32_t pages)
{
    struct scan s = {.fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    int fd, why;
    bool ok;

    if (s.fd < 0 && errno != ENOENT)
        return false;
    fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && write_extended(&s, page, pages, fd);
    why = errno;
    if (s.fd >= 0)
        close(s.fd);
    if (fd >= 0)
        close(fd);
    errno = why;
    return ok;
}
