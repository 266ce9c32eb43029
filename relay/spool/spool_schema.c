#include "relay/spool/spool_schema.h"

#include <assert.h>
#include <stdio.h>

/* How to get from version i to i + 1. A file is read with the first page of another when its own is lost:
 * tables are only ever added at the end. */
static const char *const steps[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE message(seq INTEGER PRIMARY KEY, " SPOOL_MESSAGE_FIELDS ");"
    "CREATE TABLE recipient(seq INTEGER NOT NULL, n INTEGER NOT NULL, " SPOOL_RECIPIENT_FIELDS ", "
    "PRIMARY KEY(seq, n)) WITHOUT ROWID;"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, bytes BLOB, sum INTEGER);"
    "CREATE TABLE damaged(seq INTEGER PRIMARY KEY, at_utc_ms, why, " SPOOL_MESSAGE_FIELDS ");",
};
static_assert(sizeof(steps) / sizeof(steps[0]) == SPOOL_DB_VERSION, "a step for each version");

static enum spool_db_status
get_pragma(struct spool_db *db, const char *sql, int64_t *value_out)
{
    sqlite3_stmt *stmt = NULL;
    enum spool_db_status status;

    *value_out = 0;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK)
        return spool_db_failed(db, sqlite3_errcode(db->handle));
    status = spool_db_step(db, stmt);
    if (status == SPOOL_DB_OK)
        *value_out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return status;
}

static enum spool_db_status
refuse(struct spool_db *db, int rc, const char *why)
{
    snprintf(db->why, sizeof(db->why), "%s", why);
    db->rc = rc;
    return SPOOL_DB_BROKEN;
}

static enum spool_db_status
migrate(struct spool_db *db, int64_t version)
{
    enum spool_db_status status = spool_db_exec(db, "BEGIN IMMEDIATE");
    char sql[256];

    for (; version < SPOOL_DB_VERSION && status == SPOOL_DB_OK; version++)
        status = spool_db_exec(db, steps[version]);
    snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO meta VALUES('schema', %d);"
        "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
        SPOOL_DB_VERSION, SPOOL_DB_APPLICATION, SPOOL_DB_VERSION);
    if (status == SPOOL_DB_OK)
        status = spool_db_exec(db, sql);
    if (status != SPOOL_DB_OK)
        spool_db_rollback(db);
    return status;
}

enum spool_db_status
spool_schema_check(struct spool_db *db)
{
    int64_t application, version, tables, said = 0;
    enum spool_db_status status = get_pragma(db, "PRAGMA application_id", &application);

    if (status == SPOOL_DB_OK)
        status = get_pragma(db, "PRAGMA user_version", &version);
    if (status == SPOOL_DB_OK)
        status = get_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (status == SPOOL_DB_OK && tables > 0)
        status = get_pragma(db, "SELECT value FROM meta WHERE key = 'schema'", &said);
    if (status != SPOOL_DB_OK && status != SPOOL_DB_NONE)
        return status;
    if (tables > 0 && (application != SPOOL_DB_APPLICATION || version != said))
        return refuse(db, SQLITE_NOTADB, "it is no spool");
    db->is_newer = version > SPOOL_DB_VERSION;
    if (db->is_newer)
        return refuse(db, SQLITE_ERROR, "spool.db was written by a newer sendgov; this one cannot read it");
    return SPOOL_DB_OK;
}

enum spool_db_status
spool_schema_prepare(struct spool_db *db)
{
    int64_t version;
    enum spool_db_status status = get_pragma(db, "PRAGMA user_version", &version);

    if (status != SPOOL_DB_OK || version == SPOOL_DB_VERSION)
        return status;
    return migrate(db, version);
}
