/* spool_wal: is the write-ahead log damaged in its middle? SQLite silently ends at the first frame that does
 * not match, as it must after a crash; commits behind it would be gone without a word. Reads the file,
 * changes nothing. */
#ifndef SENDGOV_SPOOL_SPOOL_WAL_H
#define SENDGOV_SPOOL_SPOOL_WAL_H

#include <stdbool.h>
#include <stddef.h>

struct spool_wal {
    size_t good;         /* frames that SQLite will read */
    size_t commits_lost; /* commits behind the first frame that does not match */
};

/* False: the log cannot be read (errno). A log that is not there is empty. */
bool spool_wal_look(const char *path, struct spool_wal *out);

#endif
