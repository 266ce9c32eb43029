#include "relay/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/log.h"

int
err_set(struct err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return -1;
}

int
err_set_errno(struct err *err, const char *fmt, ...)
{
    int saved = errno;
    char text[ERR_TEXT_MAX - 128];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(err->text, sizeof(err->text), "%s: %s", text, strerror(saved));
    errno = saved;
    return -1;
}

void
sg_assert_fail(const char *what, const char *file, int line)
{
    log_text(LOG_ERROR, "assertion", "%s at %s:%d", what, file, line);
    log_flush_wait(100);
    abort();
}
