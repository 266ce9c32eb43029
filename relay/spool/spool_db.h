/* spool_db: the database file and its prepared statements. On the spool's thread only.
 *
 * A row that carries a checksum is written and read field by field through struct spool_row, which sums the
 * fields up on the way: what was written in one order is read in the same, or it does not match. */
#ifndef SENDGOV_SPOOL_SPOOL_DB_H
#define SENDGOV_SPOOL_SPOOL_DB_H

#include <sqlite3.h>

#include "relay/base/err.h"
#include "relay/base/span.h"

#define SPOOL_DB_FILE "spool.db"
#define SPOOL_DB_APPLICATION 0x73677370 /* "sgsp", for file(1) */
#define SPOOL_DB_VERSION 1
#define SPOOL_TEXT_MAX 16384 /* bytes of a text in a row; ours are far shorter */

enum spool_db_status {
    SPOOL_DB_OK,
    SPOOL_DB_NONE,    /* no such row */
    SPOOL_DB_DAMAGED, /* rows of this message do not match their checksums */
    SPOOL_DB_FULL,    /* no space: the transaction can be rolled back, the handle stays good */
    SPOOL_DB_BROKEN,  /* the handle is not to be trusted any more; db->why */
};

enum spool_stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_META_PUT,
    STMT_META_GET,
    STMT_MESSAGE_PUT,
    STMT_MESSAGE_GET,
    STMT_MESSAGE_HEAD,
    STMT_MESSAGE_DELETE,
    STMT_MESSAGE_NEXT,
    STMT_MESSAGE_BEFORE,
    STMT_MESSAGE_ASIDE,
    STMT_RECIPIENT_PUT,
    STMT_RECIPIENT_GET,
    STMT_RECIPIENT_DELETE,
    STMT_RECIPIENT_STORED,
    STMT_RECIPIENT_DROP,
    STMT_RECIPIENT_NEXT,
    STMT_RECIPIENT_LOST,
    STMT_DAMAGED_PUT,
    STMT_DAMAGED_GET,
    STMT_CHUNK_PUT,
    STMT_CHUNK_GET,
    STMT_CHUNK_DELETE,
    STMT_CHUNK_ORPHANS,
    STMT_RECIPIENT_ORPHANS,
    STMT_UNSETTLED,
    STMT_COUNTS,
    STMT_HIGHEST,
    STMT_STRAY,
    STMT_OLDEST,
    STMT_LIST,
    STMT_VACUUM,
    SPOOL_STMT_COUNT,
};

/* What is in the spool. */
struct spool_counts {
    uint64_t messages, bytes; /* bytes of contents */
    uint64_t held, parked;    /* messages with such recipients */
};

struct spool_db {
    sqlite3 *handle; /* NULL: not open */
    sqlite3_stmt *stmts[SPOOL_STMT_COUNT];
    char why[256]; /* the last failure, in words */
    int rc;        /* and as SQLite's primary result code */
    bool is_newer; /* it was refused because a newer version wrote it */
    struct spool_counts counts, committed;
    uint64_t seq_reserved, seq_committed; /* seqs up to here were never given to another message */
};

/* Opens the file, sets what must hold for each connection, and makes or migrates the tables. */
enum spool_db_status spool_db_open(struct spool_db *db, const char *path);
void spool_db_close(struct spool_db *db);
/* Closes it without a word into the file: the log beside it stays as it is. */
void spool_db_leave(struct spool_db *db);
/* The WAL is written back by the commit that brings it to so many bytes, at most to 16 MiB (which is also
 * what holds until this is said). */
void spool_db_bound_wal(struct spool_db *db, uint64_t bytes);
/* Writes the WAL back now: only then the file gets smaller. Outside of transactions; when it fails, the WAL
 * stays. */
void spool_db_write_back(struct spool_db *db);
/* What an SQLite result code means, with db->why set when it is a failure. */
enum spool_db_status spool_db_failed(struct spool_db *db, int rc);
/* Was the last failure one of the content, not of the disk, the rights or the space? */
bool spool_db_is_damage(const struct spool_db *db);
/* Statements without parameters. */
enum spool_db_status spool_db_exec(struct spool_db *db, const char *sql);
/* The statement, ready to be bound; NULL: it cannot be prepared (db->why). */
sqlite3_stmt *spool_db_stmt(struct spool_db *db, enum spool_stmt id);
/* Runs a bound statement: OK with a row, NONE when it ended (and was reset), or a failure (and was reset). */
enum spool_db_status spool_db_step(struct spool_db *db, sqlite3_stmt *stmt);
/* Runs a bound statement whose rows are of no interest. */
enum spool_db_status spool_db_run(struct spool_db *db, sqlite3_stmt *stmt);
/* The one number a query of one integer parameter gives; NONE without a row. */
enum spool_db_status spool_db_number(struct spool_db *db, enum spool_stmt id, int64_t param,
    int64_t *value_out);
/* Runs a statement whose one parameter is a number. */
enum spool_db_status spool_db_run_number(struct spool_db *db, enum spool_stmt id, int64_t param);

enum spool_db_status spool_db_begin(struct spool_db *db);
/* Synced when it returns OK. Otherwise nothing of the transaction counts. */
enum spool_db_status spool_db_commit(struct spool_db *db);
void spool_db_rollback(struct spool_db *db);

/* One row on its way in or out, and the checksum of its fields so far. */
struct spool_row {
    sqlite3_stmt *stmt;
    int at;
    uint64_t sum;
    bool is_odd; /* a field that was read cannot be one of ours, whatever the checksum says */
};

/* at: the first parameter (from 1) or column (from 0) of the fields. seq, n: whose row it is; a row that got
 * to another place does not match. */
void spool_row_begin(struct spool_row *r, sqlite3_stmt *stmt, int at, uint64_t seq, uint64_t n);
void spool_row_put_number(struct spool_row *r, int64_t value);
/* Not copied: unchanged until the statement ran. NULL is kept apart from "". */
void spool_row_put_text(struct spool_row *r, const char *text);
void spool_row_put_bytes(struct spool_row *r, struct span bytes);
/* The checksum, as the last field. */
void spool_row_put_sum(struct spool_row *r);
int64_t spool_row_get_number(struct spool_row *r);
/* For what is kept in a narrower type; otherwise it is least, and the row is not whole. */
int64_t spool_row_get_within(struct spool_row *r, int64_t least, int64_t most);
/* p NULL: the field is NULL. Valid until the next step of the statement. */
struct span spool_row_get_bytes(struct spool_row *r);
/* A copy; NULL when the field is. One that is very long or has a NUL in it makes the row not whole. */
char *spool_row_get_text(struct spool_row *r);
/* Cut to the size of out; then the row is not whole, and neither with a NUL in it. */
void spool_row_get_name(struct spool_row *r, char *out, size_t size);
bool spool_row_is_whole(struct spool_row *r);

#endif
