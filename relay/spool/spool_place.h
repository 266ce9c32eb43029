/* spool_place: the folder the spool lives in: made, judged, locked. */
#ifndef SENDGOV_SPOOL_SPOOL_PLACE_H
#define SENDGOV_SPOOL_SPOOL_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "relay/base/err.h"

/* Makes the folder when it is missing (mode 0700), refuses one that others may write or read, that belongs
 * to somebody else (root does not ask: it gives the folder away), or that is on a file system of the
 * network. Returns the descriptor by which it is locked; -1: refused. */
int spool_place_open(const char *folder, struct err *err);
/* 0: the lock is ours, for as long as fd is open. -1: somebody else has it (errno EWOULDBLOCK), or it cannot
 * be had. */
int spool_place_lock(int fd, const char *folder, struct err *err);

/* The database and its log, as they were when they were seen first; zero: not seen yet. */
struct spool_files {
    struct {
        dev_t device;
        ino_t inode; /* 0: not seen */
    } seen[2];
};
/* Remembers what it sees first. True: one of them is gone from path, or another file is there. What is
 * written to the open files then is in no folder, or in one where the next start does not look. */
bool spool_place_has_moved(const char *path, struct spool_files *known);

struct spool_space {
    uint64_t free_bytes, needed_bytes;
    bool is_full;
    char why[256]; /* "" when it is not */
};
/* The guard: max(1.5 x the size limit, 5 % of the file system) and 5 % of its inodes must be free. */
void spool_place_look(const char *folder, uint64_t size_limit_bytes, struct spool_space *out);

#endif
