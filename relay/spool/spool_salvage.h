/* spool_salvage: out of a damaged database into a new one. On the spool's thread, with no handle open.
 *
 * The new file is built beside the old, and only when it is complete and synced the old files are put aside;
 * a crash at any point is made good at the next start. */
#ifndef SENDGOV_SPOOL_SPOOL_SALVAGE_H
#define SENDGOV_SPOOL_SPOOL_SALVAGE_H

#include "relay/spool/spool_thread_part.h"

/* why: what is wrong with it, for the log. */
enum spool_db_status spool_salvage(struct spool_thread *t, const char *why);
/* SQLite tells a read that failed as damage. False: it is the disk that fails (errno), which says nothing
 * about what is on it. */
bool spool_salvage_can_read(const struct spool_thread *t);
/* A new file where there is none: it appears complete, so that an empty one is never ours. */
enum spool_db_status spool_salvage_make(struct spool_thread *t);
/* Ends an exchange of files that a crash interrupted. False: errno. */
bool spool_salvage_resume(struct spool_thread *t);

#endif
