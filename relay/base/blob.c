/* A blob starts in memory that doubles as it grows. One that is large already gets at once all that a blob
 * may have, while the pool has plenty, so that it is not copied again and again; blob_seal gives back what
 * was too much. Past the spill size, or when the pool's bound is reached, all of it goes to an unlinked file
 * and later bytes follow through a small write-behind buffer, so that a body appended line by line does not
 * cost a system call per line. */
#include "relay/base/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/buf.h"
#include "relay/base/xmalloc.h"

#define FIRST_BYTES ((size_t)2048)
#define TAIL_BYTES ((size_t)16384)
#define LARGE_BYTES ((size_t)32768)

struct blob_pool {
    char *folder;
    size_t spill_bytes, memory_bytes;
    size_t used_bytes; /* memory of all blobs */
    size_t blobs;
    enum { POOL_OWNED, POOL_LEFT } life; /* LEFT: freed by its owner, goes with its last blob */
};

struct blob {
    struct blob_pool *pool;
    char *mem;        /* all content, or (fd >= 0) what is not yet in the file */
    size_t mem_bytes; /* content in mem */
    size_t mem_size;
    int fd;              /* -1: in memory */
    uint64_t file_bytes; /* content in the file */
    enum blob_status status; /* the first failure stays */
};

struct blob_pool *
blob_pool_new(const char *folder, size_t spill_bytes, size_t memory_bytes)
{
    struct blob_pool *pool = xcalloc(1, sizeof(*pool));

    pool->folder = xstrdup(folder);
    pool->spill_bytes = spill_bytes;
    pool->memory_bytes = memory_bytes;
    return pool;
}

static void
bury_pool(struct blob_pool *pool)
{
    if (pool->life != POOL_LEFT || pool->blobs > 0)
        return;
    free(pool->folder);
    free(pool);
}

void
blob_pool_free(struct blob_pool **pool)
{
    if (!*pool)
        return;
    (*pool)->life = POOL_LEFT;
    bury_pool(*pool);
    *pool = NULL;
}

size_t
blob_pool_memory(const struct blob_pool *pool)
{
    return pool->used_bytes;
}

struct blob *
blob_new(struct blob_pool *pool)
{
    struct blob *b = xcalloc(1, sizeof(*b));

    b->pool = pool;
    b->fd = -1;
    pool->blobs++;
    return b;
}

static void
set_memory(struct blob *b, size_t size)
{
    if (size == 0) {
        free(b->mem);
        b->mem = NULL;
        b->mem_bytes = 0;
    } else {
        b->mem = xrealloc(b->mem, size);
    }
    b->pool->used_bytes += size - b->mem_size; /* unsigned: wraps to the right sum when it shrinks */
    b->mem_size = size;
}

void
blob_free(struct blob **b)
{
    if (!*b)
        return;
    set_memory(*b, 0);
    if ((*b)->fd >= 0)
        close((*b)->fd);
    (*b)->pool->blobs--;
    bury_pool((*b)->pool);
    free(*b);
    *b = NULL;
}

uint64_t
blob_size(const struct blob *b)
{
    return b->file_bytes + b->mem_bytes;
}

static enum blob_status
status_of_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? BLOB_NO_SPACE : BLOB_IO_ERROR;
}

static enum blob_status
failed(struct blob *b)
{
    b->status = status_of_errno();
    return b->status;
}

static enum blob_status
write_out(struct blob *b, struct span bytes)
{
    while (bytes.n > 0) {
        ssize_t n = pwrite(b->fd, bytes.p, bytes.n, (off_t)b->file_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            return failed(b);
        }
        b->file_bytes += (size_t)n;
        bytes = span_from(bytes, (size_t)n);
    }
    return BLOB_OK;
}

static int
open_unlinked(const char *folder)
{
    struct buf path;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    buf_init(&path);
    buf_printf(&path, "%s/body.XXXXXX", folder);
    fd = mkostemp(path.p, O_CLOEXEC);
    if (fd >= 0)
        unlink(path.p);
    buf_fini(&path);
    return fd;
}

/* What waits in memory goes to the file. */
static enum blob_status
flush_tail(struct blob *b)
{
    size_t n = b->mem_bytes;

    b->mem_bytes = 0;
    return write_out(b, span_of(b->mem, n));
}

static enum blob_status
spill(struct blob *b)
{
    b->fd = open_unlinked(b->pool->folder);
    if (b->fd < 0)
        return failed(b);
    if (flush_tail(b) != BLOB_OK)
        return b->status;
    set_memory(b, 0);
    set_memory(b, TAIL_BYTES);
    return BLOB_OK;
}

static enum blob_status
append_to_file(struct blob *b, struct span bytes)
{
    if (b->mem_size == 0)
        set_memory(b, TAIL_BYTES);
    if (b->mem_bytes + bytes.n > b->mem_size && flush_tail(b) != BLOB_OK)
        return b->status;
    if (bytes.n >= b->mem_size)
        return write_out(b, bytes);
    memcpy(b->mem + b->mem_bytes, bytes.p, bytes.n);
    b->mem_bytes += bytes.n;
    return BLOB_OK;
}

/* How much memory to have for `need` bytes. */
static size_t
choose_size(const struct blob *b, size_t need)
{
    const struct blob_pool *pool = b->pool;
    size_t size = b->mem_size > 0 ? b->mem_size : FIRST_BYTES;

    if (need > LARGE_BYTES && pool->used_bytes + pool->spill_bytes <= pool->memory_bytes / 2)
        return pool->spill_bytes;
    while (size < need)
        size *= 2;
    return size < pool->spill_bytes ? size : pool->spill_bytes;
}

/* Room for `need` bytes in all within both bounds. */
static bool
grow_memory(struct blob *b, size_t need)
{
    size_t size;

    if (need <= b->mem_size)
        return true;
    if (need > b->pool->spill_bytes)
        return false;
    size = choose_size(b, need);
    if (b->pool->used_bytes - b->mem_size + size > b->pool->memory_bytes)
        return false;
    set_memory(b, size);
    return true;
}

enum blob_status
blob_append(struct blob *b, struct span bytes)
{
    if (b->status != BLOB_OK || bytes.n == 0)
        return b->status;
    if (b->fd < 0 && grow_memory(b, b->mem_bytes + bytes.n)) {
        memcpy(b->mem + b->mem_bytes, bytes.p, bytes.n);
        b->mem_bytes += bytes.n;
        return BLOB_OK;
    }
    if (b->fd < 0 && spill(b) != BLOB_OK)
        return b->status;
    return append_to_file(b, bytes);
}

void
blob_seal(struct blob *b)
{
    if (b->fd < 0 && b->mem_bytes > 0)
        set_memory(b, b->mem_bytes);
}

enum blob_status
blob_view(struct blob *b, struct blob_view *view_out)
{
    if (b->status == BLOB_OK && b->fd >= 0 && flush_tail(b) == BLOB_OK)
        set_memory(b, 0);
    *view_out = (struct blob_view){
        .mem = b->fd >= 0 ? NULL : b->mem != NULL ? b->mem : "", .fd = b->fd, .bytes = blob_size(b)};
    return b->status;
}

enum blob_status
blob_view_read(const struct blob_view *v, uint64_t offset, char *scratch, size_t max, struct span *bytes_out)
{
    ssize_t n;

    *bytes_out = span_of("", 0);
    if (offset >= v->bytes)
        return BLOB_OK;
    if (v->mem != NULL) {
        *bytes_out = span_head(span_from(span_of(v->mem, (size_t)v->bytes), (size_t)offset), max);
        return BLOB_OK;
    }
    do
        n = pread(v->fd, scratch, max, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        if (n == 0)
            errno = EIO;
        return status_of_errno();
    }
    *bytes_out = span_of(scratch, (size_t)n);
    return BLOB_OK;
}

enum blob_status
blob_read(struct blob *b, uint64_t offset, char *scratch, size_t max, struct span *bytes_out)
{
    struct blob_view view;

    *bytes_out = span_of("", 0);
    if (b->status != BLOB_OK || offset >= blob_size(b))
        return b->status;
    if (blob_view(b, &view) == BLOB_OK)
        b->status = blob_view_read(&view, offset, scratch, max, bytes_out);
    return b->status;
}
