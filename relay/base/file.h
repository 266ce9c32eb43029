/* file: small files read whole, and replaced whole. Blocking; for start, reload and the operator's tools. */
#ifndef SENDGOV_BASE_FILE_H
#define SENDGOV_BASE_FILE_H

#include <sys/types.h>

#include "relay/base/buf.h"
#include "relay/base/err.h"

enum file_privacy {
    FILE_ANY,
    FILE_SECRET, /* refused when others than owner and group may read or write it */
};

/* Appends the content to out: a regular file (links are followed) of at most max bytes. For a secret,
 * give the buffer back with buf_wipe. */
int file_read(const char *path, size_t max, enum file_privacy privacy, struct buf *out, struct err *err);
/* The checks of file_read without the content, for files that a library reads by itself. */
int file_check(const char *path, enum file_privacy privacy, struct err *err);
/* Writes a new file beside it, syncs, renames over it, syncs the folder: after a crash either the old or
 * the new. */
int file_replace(const char *path, struct span bytes, mode_t mode, struct err *err);

#endif
