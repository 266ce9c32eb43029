/* xmalloc: allocation that ends the process when memory is gone.
 *
 * For small, bounded objects: dying loses nothing, because an acknowledged message is already
 * upstream or durable. Network-sized memory is bounded by its owner (blob, stream). */
#ifndef SENDGOV_BASE_XMALLOC_H
#define SENDGOV_BASE_XMALLOC_H

#include <stddef.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
/* Zeroed; checks n * size for overflow. */
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

#endif
