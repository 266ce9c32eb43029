/* Statements are prepared at first use and kept as long as the handle. Each connection is the only one
 * (exclusive locking), so the index of the WAL is in memory and no transaction pays for a file lock. */
#include "relay/spool/spool_db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/siphash.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_schema.h"

#define PAGE_BYTES 4096    /* as in settings */
#define WAL_PAGES_MAX 4096 /* likewise */

static const char *const statements[] = {
    [STMT_BEGIN] = "BEGIN",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    [STMT_META_PUT] = "INSERT OR REPLACE INTO meta(key, value) VALUES('seq', ?1)",
    [STMT_META_GET] = "SELECT value FROM meta WHERE key = 'seq'",
    [STMT_MESSAGE_PUT] = "INSERT OR REPLACE INTO message(seq, " SPOOL_MESSAGE_FIELDS ") VALUES"
        "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_MESSAGE_GET] = "SELECT " SPOOL_MESSAGE_FIELDS " FROM message WHERE seq = ?1",
    [STMT_MESSAGE_HEAD] = "SELECT content_bytes, body_bytes, held, parked FROM message WHERE seq = ?1",
    [STMT_MESSAGE_DELETE] = "DELETE FROM message WHERE seq = ?1",
    [STMT_MESSAGE_NEXT] = "SELECT seq FROM message WHERE seq > ?1 ORDER BY seq LIMIT 1",
    [STMT_MESSAGE_BEFORE] = "SELECT seq FROM message WHERE seq < ?1 ORDER BY seq DESC LIMIT 1",
    [STMT_MESSAGE_ASIDE] = "INSERT OR REPLACE INTO damaged(seq, at_utc_ms, why, " SPOOL_MESSAGE_FIELDS ") "
        "SELECT seq, ?2, ?3, " SPOOL_MESSAGE_FIELDS " FROM message WHERE seq = ?1",
    [STMT_RECIPIENT_PUT] = "INSERT OR REPLACE INTO recipient(seq, n, " SPOOL_RECIPIENT_FIELDS ") VALUES"
        "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_RECIPIENT_GET] = "SELECT n, " SPOOL_RECIPIENT_FIELDS " FROM recipient WHERE seq = ?1 ORDER BY n",
    [STMT_RECIPIENT_DELETE] = "DELETE FROM recipient WHERE seq = ?1",
    [STMT_RECIPIENT_STORED] = "SELECT n, sum, address FROM recipient WHERE seq = ?1 AND n > ?2 "
        "ORDER BY n LIMIT 1",
    [STMT_RECIPIENT_DROP] = "DELETE FROM recipient WHERE seq = ?1 AND n = ?2",
    [STMT_RECIPIENT_NEXT] = "SELECT seq FROM recipient WHERE seq > ?1 ORDER BY seq LIMIT 1",
    [STMT_RECIPIENT_LOST] = "SELECT seq FROM recipient WHERE seq > ?1 "
        "AND seq NOT IN (SELECT seq FROM message) AND seq NOT IN (SELECT seq FROM damaged) "
        "ORDER BY seq LIMIT 1",
    [STMT_DAMAGED_PUT] = "INSERT OR REPLACE INTO damaged(seq, at_utc_ms, why, id) VALUES(?1, ?2, ?3, ?4)",
    [STMT_DAMAGED_GET] = "SELECT seq FROM damaged WHERE seq = ?1",
    [STMT_CHUNK_PUT] = "INSERT OR REPLACE INTO chunk(id, bytes, sum) VALUES(?,?,?)",
    [STMT_CHUNK_GET] = "SELECT bytes, sum FROM chunk WHERE id = ?1",
    [STMT_CHUNK_DELETE] = "DELETE FROM chunk WHERE id >= ?1 << 16 AND id < (?1 + 1) << 16",
    [STMT_CHUNK_ORPHANS] = "DELETE FROM chunk WHERE id >> 16 NOT IN (SELECT seq FROM message) "
        "AND id >> 16 NOT IN (SELECT seq FROM damaged)",
    [STMT_RECIPIENT_ORPHANS] = "DELETE FROM recipient WHERE seq NOT IN (SELECT seq FROM message) "
        "AND seq NOT IN (SELECT seq FROM damaged)",
    [STMT_UNSETTLED] = "SELECT r.seq FROM recipient r JOIN message m ON m.seq = r.seq "
        "WHERE r.seq > ?1 AND (r.state = 1 OR r.due_utc_ms > ?2) ORDER BY r.seq LIMIT 1",
    [STMT_COUNTS] = "SELECT count(*), total(content_bytes), total(held), total(parked) FROM message",
    [STMT_HIGHEST] = "SELECT max((SELECT ifnull(max(seq), 0) FROM message WHERE seq <= ?1), "
        "(SELECT ifnull(max(seq), 0) FROM damaged WHERE seq <= ?1), "
        "(SELECT ifnull(max(id), 0) >> 16 FROM chunk WHERE id >> 16 <= ?1))",
    [STMT_STRAY] = "SELECT seq FROM message WHERE seq < 1 OR seq > ?1 LIMIT 1",
    [STMT_OLDEST] = "SELECT received_utc_ms FROM message ORDER BY seq LIMIT 1",
    [STMT_LIST] = SPOOL_LIST_SQL,
    [STMT_VACUUM] = "PRAGMA incremental_vacuum(256)",
};
static_assert(sizeof(statements) / sizeof(statements[0]) == SPOOL_STMT_COUNT, "a statement for each");

/* For a new file the page size and the way it gives space back must be set before it has content; a WAL of
 * 16 MiB is written back at once by the commit that fills it. */
static const char settings[] =
    "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;"
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096;"
    "PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = OFF; PRAGMA foreign_keys = OFF;"
    "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cache_size = -16384;"
    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON";

/* A quota that is used up is a full disk to whom it is for. SQLite knows only the latter, and does not keep
 * the error of a commit's write; it is still the thread's last one. */
static bool
is_quota(int extended)
{
    return extended == SQLITE_IOERR_WRITE && errno == EDQUOT;
}

enum spool_db_status
spool_db_failed(struct spool_db *db, int rc)
{
    int sys = db->handle != NULL ? sqlite3_system_errno(db->handle) : 0, extended;
    bool is_full;

    if (rc == SQLITE_OK)
        return SPOOL_DB_OK;
    db->rc = rc & 0xff;
    extended = db->handle != NULL ? sqlite3_extended_errcode(db->handle) : rc;
    is_full = (rc & 0xff) == SQLITE_FULL || is_quota(extended);
    snprintf(db->why, sizeof(db->why), "%s%s%s (SQLite %d)",
        db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc), sys != 0 ? ": " : "",
        sys != 0 ? strerror(sys) : "", extended);
    return is_full ? SPOOL_DB_FULL : SPOOL_DB_BROKEN;
}

/* ERROR: a table or column is not there, or is there already. */
bool
spool_db_is_damage(const struct spool_db *db)
{
    static const int codes[] = {SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR, SQLITE_FORMAT, SQLITE_CONSTRAINT,
        SQLITE_MISMATCH, SQLITE_TOOBIG};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (db->rc == codes[i])
            return !db->is_newer;
    return false;
}

enum spool_db_status
spool_db_exec(struct spool_db *db, const char *sql)
{
    return spool_db_failed(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/* SQLite would make it for everybody to read, and the WAL gets the mode of the file. */
static void
make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

static int
open_handle(struct spool_db *db, const char *path)
{
    make_file(path);
    return sqlite3_open_v2(path, &db->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
}

static void
keep_log(struct spool_db *db, bool keep)
{
    if (db->handle != NULL)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep, NULL);
}

enum spool_db_status
spool_db_open(struct spool_db *db, const char *path)
{
    enum spool_db_status status = spool_db_failed(db, open_handle(db, path));

    keep_log(db, true);
    if (status == SPOOL_DB_OK) {
        sqlite3_extended_result_codes(db->handle, 1);
        status = spool_db_exec(db, "PRAGMA locking_mode = EXCLUSIVE");
    }
    if (status == SPOOL_DB_OK)
        status = spool_schema_check(db); /* before anything is changed in a file of somebody else */
    if (status == SPOOL_DB_OK)
        status = spool_db_exec(db, settings);
    if (status == SPOOL_DB_OK)
        status = spool_schema_prepare(db);
    if (status != SPOOL_DB_OK)
        spool_db_close(db);
    keep_log(db, false);
    return status;
}

void
spool_db_close(struct spool_db *db)
{
    for (int i = 0; i < SPOOL_STMT_COUNT; i++) {
        sqlite3_finalize(db->stmts[i]);
        db->stmts[i] = NULL;
    }
    sqlite3_close(db->handle);
    db->handle = NULL;
}

void
spool_db_leave(struct spool_db *db)
{
    keep_log(db, true);
    spool_db_close(db);
}

void
spool_db_bound_wal(struct spool_db *db, uint64_t bytes)
{
    uint64_t pages = bytes / PAGE_BYTES;

    if (db->handle != NULL)
        sqlite3_wal_autocheckpoint(db->handle,
            pages < 1 ? 1 : pages < WAL_PAGES_MAX ? (int)pages : WAL_PAGES_MAX);
}

void
spool_db_write_back(struct spool_db *db)
{
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

sqlite3_stmt *
spool_db_stmt(struct spool_db *db, enum spool_stmt id)
{
    int rc;

    if (db->stmts[id] != NULL)
        return db->stmts[id];
    rc = sqlite3_prepare_v3(db->handle, statements[id], -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[id], NULL);
    spool_db_failed(db, rc);
    return db->stmts[id];
}

enum spool_db_status
spool_db_step(struct spool_db *db, sqlite3_stmt *stmt)
{
    enum spool_db_status status;
    int rc;

    if (stmt == NULL)
        return SPOOL_DB_BROKEN;
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return SPOOL_DB_OK;
    status = rc == SQLITE_DONE ? SPOOL_DB_NONE : spool_db_failed(db, rc);
    sqlite3_reset(stmt);
    return status;
}

enum spool_db_status
spool_db_run(struct spool_db *db, sqlite3_stmt *stmt)
{
    enum spool_db_status status;

    while ((status = spool_db_step(db, stmt)) == SPOOL_DB_OK)
        ;
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

enum spool_db_status
spool_db_number(struct spool_db *db, enum spool_stmt id, int64_t param, int64_t *value_out)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, id);
    enum spool_db_status status;

    *value_out = 0;
    sqlite3_bind_int64(stmt, 1, param);
    status = spool_db_step(db, stmt);
    if (status != SPOOL_DB_OK)
        return status;
    *value_out = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return SPOOL_DB_OK;
}

enum spool_db_status
spool_db_run_number(struct spool_db *db, enum spool_stmt id, int64_t param)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, id);

    sqlite3_bind_int64(stmt, 1, param);
    return spool_db_run(db, stmt);
}

enum spool_db_status
spool_db_begin(struct spool_db *db)
{
    db->committed = db->counts;
    db->seq_committed = db->seq_reserved;
    return spool_db_run(db, spool_db_stmt(db, STMT_BEGIN));
}

enum spool_db_status
spool_db_commit(struct spool_db *db)
{
    enum spool_db_status status = spool_db_run(db, spool_db_stmt(db, STMT_COMMIT));

    if (status != SPOOL_DB_OK)
        spool_db_rollback(db);
    return status;
}

/* SQLite has rolled back by itself after most failures; then there is nothing left to do. */
void
spool_db_rollback(struct spool_db *db)
{
    db->counts = db->committed;
    db->seq_reserved = db->seq_committed;
    if (db->handle != NULL && !sqlite3_get_autocommit(db->handle))
        sqlite3_step(spool_db_stmt(db, STMT_ROLLBACK));
    if (db->stmts[STMT_ROLLBACK] != NULL)
        sqlite3_reset(db->stmts[STMT_ROLLBACK]);
}

/* ---- rows ---- */

static void
sum_up(struct spool_row *r, uint64_t kind, struct span bytes)
{
    struct siphash_key key = {r->sum, kind}; /* no secret: it finds damage, not forgery */

    r->sum = siphash13(key, bytes);
}

void
spool_row_begin(struct spool_row *r, sqlite3_stmt *stmt, int at, uint64_t seq, uint64_t n)
{
    uint64_t place[] = {seq, n};

    *r = (struct spool_row){.stmt = stmt, .at = at, .sum = SPOOL_DB_APPLICATION};
    sum_up(r, 0, span_of((const char *)place, sizeof(place)));
}

static void
sum_number(struct spool_row *r, int64_t value)
{
    sum_up(r, SQLITE_INTEGER, span_of((const char *)&value, sizeof(value)));
}

static void
sum_bytes(struct spool_row *r, struct span bytes)
{
    sum_up(r, bytes.p != NULL ? SQLITE_TEXT : SQLITE_NULL, bytes.p != NULL ? bytes : span_of("", 0));
}

void
spool_row_put_number(struct spool_row *r, int64_t value)
{
    sqlite3_bind_int64(r->stmt, r->at++, value);
    sum_number(r, value);
}

void
spool_row_put_text(struct spool_row *r, const char *text)
{
    struct span s = span_str(text);

    sqlite3_bind_text(r->stmt, r->at++, text, (int)s.n, SQLITE_STATIC);
    sum_bytes(r, s);
}

void
spool_row_put_bytes(struct spool_row *r, struct span bytes)
{
    sqlite3_bind_blob(r->stmt, r->at++, bytes.p, (int)bytes.n, SQLITE_STATIC);
    sum_bytes(r, bytes);
}

void
spool_row_put_sum(struct spool_row *r)
{
    sqlite3_bind_int64(r->stmt, r->at++, (int64_t)r->sum);
}

int64_t
spool_row_get_number(struct spool_row *r)
{
    int64_t value = sqlite3_column_int64(r->stmt, r->at++);

    sum_number(r, value);
    return value;
}

struct span
spool_row_get_bytes(struct spool_row *r)
{
    const char *p = sqlite3_column_blob(r->stmt, r->at);
    struct span s = span_of(p, (size_t)sqlite3_column_bytes(r->stmt, r->at));

    if (p == NULL && sqlite3_column_type(r->stmt, r->at) != SQLITE_NULL)
        s.p = ""; /* SQLite has no pointer for a value without bytes */
    r->at++;
    sum_bytes(r, s);
    return s;
}

int64_t
spool_row_get_within(struct spool_row *r, int64_t least, int64_t most)
{
    int64_t value = spool_row_get_number(r);

    if (value >= least && value <= most)
        return value;
    r->is_odd = true;
    return least;
}

/* The next field, as one that ends in NUL can hold it. */
static struct span
get_string(struct spool_row *r, size_t max)
{
    struct span s = spool_row_get_bytes(r);

    if (s.n > max || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
        r->is_odd = true;
    return span_head(s, max);
}

char *
spool_row_get_text(struct spool_row *r)
{
    struct span s = get_string(r, SPOOL_TEXT_MAX);

    return s.p != NULL ? xstrndup(s.p, s.n) : NULL;
}

void
spool_row_get_name(struct spool_row *r, char *out, size_t size)
{
    struct span s = get_string(r, size - 1);

    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

bool
spool_row_is_whole(struct spool_row *r)
{
    return !r->is_odd && sqlite3_column_int64(r->stmt, r->at) == (int64_t)r->sum;
}
