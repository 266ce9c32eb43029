/* buf: a growing byte buffer that can also be consumed from its front.
 *
 * Always NUL-terminated after the last byte, so data can be printed. The owner bounds its size
 * (`buf_len`); the buffer itself only grows. */
#ifndef SENDGOV_BASE_BUF_H
#define SENDGOV_BASE_BUF_H

#include <stdarg.h>

#include "relay/base/span.h"

struct buf {
    char *p;     /* memory */
    size_t head; /* bytes already consumed at the front */
    size_t len;  /* bytes from p to the end of the content, head included */
    size_t size;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_add_span(struct buf *b, struct span s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* At least n writable bytes at the end; tell what was written with buf_commit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
void buf_consume(struct buf *b, size_t n);
/* Forgets the content, keeps the memory. */
void buf_clear(struct buf *b);
/* Forgets the content and gives the memory back. */
void buf_release(struct buf *b);
/* As buf_release, and overwrites it first. For what held a secret; reserve the whole size before adding,
 * since growing leaves copies behind. */
void buf_wipe(struct buf *b);

static inline struct span
buf_span(const struct buf *b)
{
    return (struct span){b->p ? b->p + b->head : "", b->len - b->head};
}

static inline size_t
buf_len(const struct buf *b)
{
    return b->len - b->head;
}

#endif
