/* spool_wal: is the write-ahead log damaged in its middle? SQLite silently ends at the first frame that does
 * not match, as it must after a crash; commits behind it would be gone without a word. And a log that
 * replaces the first page of a database which may not be written. What is there is never changed. */
#ifndef SENDGOV_SPOOL_SPOOL_WAL_H
#define SENDGOV_SPOOL_SPOOL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_WAL_PAGE_BYTES 4096 /* of our databases */

struct spool_wal {
    size_t good;         /* frames that match */
    size_t committed;    /* of them up to the last commit: what SQLite will read */
    uint32_t pages;      /* of the database as of that commit */
    size_t commits_lost; /* commits behind the first frame that does not match */
};

/* False: the log cannot be read (errno). A log that is not there is empty. */
bool spool_wal_look(const char *path, struct spool_wal *out);
/* Makes the log `to`, which must not be there: what SQLite will read of the log `from`, and one commit more
 * after which `page` is the first of so many pages. False: errno. */
bool spool_wal_extend(const char *from, const char *to, const unsigned char *page, uint32_t pages);

#endif
