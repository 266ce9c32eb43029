#include "relay/base/xmalloc.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"

void *
xmalloc(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);

    if (!p)
        sg_assert_fail("out of memory", __FILE__, __LINE__);
    return p;
}

void *
xcalloc(size_t n, size_t size)
{
    void *p = n > 0 && size > 0 ? calloc(n, size) : calloc(1, 1); /* calloc checks n * size */

    if (!p)
        sg_assert_fail("out of memory", __FILE__, __LINE__);
    return p;
}

void *
xrealloc(void *p, size_t n)
{
    void *moved = realloc(p, n > 0 ? n : 1);

    if (!moved)
        sg_assert_fail("out of memory", __FILE__, __LINE__);
    return moved;
}

char *
xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = xmalloc(len + 1);

    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}
