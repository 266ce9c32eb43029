#include "relay/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define FIRST_BYTES ((size_t)128)

void
buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void
buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

/* Room for n more bytes and the NUL. What was consumed is given up first, but only when that frees at
 * least as much as it moves, so that consuming and adding in turn stays linear. */
static void
make_room(struct buf *b, size_t n)
{
    size_t need, live = b->len - b->head;

    sg_assert(n < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);
    if (b->size - b->len > n)
        return;
    if (b->head >= live && b->size - live > n) {
        memmove(b->p, b->p + b->head, live + 1);
        b->head = 0;
        b->len = live;
        return;
    }
    need = b->len + n + 1;
    if (need < FIRST_BYTES)
        need = FIRST_BYTES;
    if (need < b->size * 2)
        need = b->size * 2;
    b->p = xrealloc(b->p, need);
    b->size = need;
}

char *
buf_reserve(struct buf *b, size_t n)
{
    make_room(b, n);
    return b->p + b->len;
}

void
buf_commit(struct buf *b, size_t n)
{
    sg_assert(n < b->size - b->len);
    b->len += n;
    b->p[b->len] = '\0';
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    buf_commit(b, n);
}

void
buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void
buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.p, s.n);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    make_room(b, 64);
    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(b->p + b->len, b->size - b->len, fmt, ap);
    sg_assert(n >= 0);
    if ((size_t)n >= b->size - b->len) {
        make_room(b, (size_t)n);
        vsnprintf(b->p + b->len, b->size - b->len, fmt, again);
    }
    buf_commit(b, (size_t)n);
    va_end(again);
    va_end(ap);
}

void
buf_consume(struct buf *b, size_t n)
{
    sg_assert(n <= b->len - b->head);
    b->head += n;
    if (b->head == b->len)
        buf_clear(b);
}

void
buf_clear(struct buf *b)
{
    b->head = b->len = 0;
    if (b->p)
        b->p[0] = '\0';
}

void
buf_release(struct buf *b)
{
    buf_fini(b);
}

void
buf_wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->size);
    buf_fini(b);
}
