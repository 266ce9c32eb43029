/* file: small files read whole, and replaced whole. Blocking; for start, reload and the operator's tools. */
#ifndef SENDGOV_BASE_FILE_H
#define SENDGOV_BASE_FILE_H

#include <stdint.h>
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

/* Does the file or folder lie on a file system whose locks and syncs another host (or, with FUSE, a program)
 * answers for, so that they cannot be trusted? name_out: "NFS", untouched otherwise. Of a path that cannot be
 * looked at nothing is known: false. */
bool file_is_on_network(const char *path, const char **name_out);
/* The same of statfs(2)'s f_type; NULL: it is none of these. */
const char *file_network_type(uint32_t f_type);

#endif
