/* What an earlier run left is made good when the file is opened. What was in flight when the node died may
 * have been delivered: it is uncertain, waits, and is tried once more, until it is the operator's. What was
 * in flight when only the database failed is still in the hands of who took it; what was marked for a take
 * that was answered no was never offered, and waits again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_salvage.h"
#include "relay/spool/spool_wal.h"

#define CLOCK_SLACK_MS (INT64_C(48) * 3600 * 1000)

/* A due time that no setting explains was written while the clock was wrong. */
static void
clamp_due(struct spool_thread *t, struct spool_recipient *r, int64_t now_utc_ms)
{
    if (r->due_utc_ms > now_utc_ms + CLOCK_SLACK_MS + t->terms.retry_max_ms)
        r->due_utc_ms = now_utc_ms + t->terms.retry_max_ms;
}

/* first: nothing is in anybody's hands, because this process has given out nothing yet. */
static void
make_good(struct spool_thread *t, struct spool_message *m, bool first, int64_t now_utc_ms)
{
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        struct spool_recipient *r = &m->states[i];

        clamp_due(t, r, now_utc_ms);
        if (r->state != SPOOL_IN_FLIGHT)
            continue;
        if (!first) {
            r->state = spool_recipient_waits_as(r);
            continue;
        }
        spool_recipient_doubt(r, t->terms.uncertain_max, now_utc_ms + t->terms.uncertain_ms);
        spool_note(&t->notes, NOTE_UNCERTAIN, m->id, r->state == SPOOL_PARKED
            ? "in flight when the node ended; tried often enough, waits for an operator"
            : "in flight when the node ended");
    }
}

static enum spool_db_status
make_good_seq(struct spool_thread *t, uint64_t seq, bool first, int64_t now_utc_ms)
{
    struct spool_message *m;
    struct spool_head head;
    int64_t body_bytes;
    enum spool_db_status status = spool_rows_get(&t->db, seq, &m, &body_bytes);

    if (status == SPOOL_DB_DAMAGED)
        return spool_put_aside(t, seq);
    if (status == SPOOL_DB_OK)
        status = spool_rows_head(&t->db, seq, &head);
    if (status == SPOOL_DB_OK) {
        make_good(t, m, first, now_utc_ms);
        status = spool_rows_put(&t->db, m, &head, body_bytes);
    }
    spool_message_free(&m, false);
    return status;
}

static enum spool_db_status
next_unsettled(struct spool_thread *t, int64_t after, int64_t now_utc_ms, int64_t *seq_out)
{
    sqlite3_stmt *stmt = spool_db_stmt(&t->db, STMT_UNSETTLED);

    sqlite3_bind_int64(stmt, 2, now_utc_ms + CLOCK_SLACK_MS + t->terms.retry_max_ms);
    return spool_db_number(&t->db, STMT_UNSETTLED, after, seq_out);
}

static enum spool_db_status
settle_earlier_run(struct spool_thread *t, bool first)
{
    int64_t now_utc_ms = clock_utc_ms(), seq = 0;
    enum spool_db_status status;

    while ((status = next_unsettled(t, seq, now_utc_ms, &seq)) == SPOOL_DB_OK) {
        if (spool_seqs_has(&t->in_flight, (uint64_t)seq))
            continue;
        status = make_good_seq(t, (uint64_t)seq, first, now_utc_ms);
        if (status != SPOOL_DB_OK)
            return status;
    }
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

enum spool_db_status
spool_bury_dead(struct spool_thread *t)
{
    enum spool_db_status status = SPOOL_DB_OK;

    for (size_t i = 0; i < t->dead.n && status == SPOOL_DB_OK; i++)
        status = spool_rows_erase(&t->db, t->dead.seqs[i]);
    return status;
}

/* A message row and its recipients come and go together: recipients alone are what is left of a lost
 * message. */
static enum spool_db_status
note_lost(struct spool_thread *t)
{
    enum spool_db_status status;
    int64_t seq = 0;
    char why[96];

    while ((status = spool_db_number(&t->db, STMT_RECIPIENT_LOST, seq, &seq)) == SPOOL_DB_OK) {
        snprintf(why, sizeof(why), "message %lld: its envelope is not there", (long long)seq);
        spool_note(&t->notes, NOTE_LOST, "", why);
        t->damaged++;
    }
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

/* Rows with a key that was never given away: no walk would find them. */
static enum spool_db_status
put_strays_aside(struct spool_thread *t)
{
    enum spool_db_status status;
    int64_t seq;

    while ((status = spool_db_number(&t->db, STMT_STRAY, SPOOL_SEQ_MAX, &seq)) == SPOOL_DB_OK) {
        status = spool_put_aside(t, (uint64_t)seq);
        if (status != SPOOL_DB_OK)
            return status;
    }
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

static enum spool_db_status
put_in_order(struct spool_thread *t, bool first)
{
    enum spool_db_status status = spool_bury_dead(t);

    if (status == SPOOL_DB_OK)
        status = put_strays_aside(t);
    if (status == SPOOL_DB_OK)
        status = note_lost(t);
    if (status == SPOOL_DB_OK)
        status = spool_db_run(&t->db, spool_db_stmt(&t->db, STMT_CHUNK_ORPHANS));
    if (status == SPOOL_DB_OK)
        status = spool_db_run(&t->db, spool_db_stmt(&t->db, STMT_RECIPIENT_ORPHANS));
    if (status == SPOOL_DB_OK)
        status = spool_rows_count(&t->db);
    return status == SPOOL_DB_OK ? settle_earlier_run(t, first) : status;
}

/* ---- is it whole? ---- */

static enum spool_db_status
broken(struct spool_thread *t, int rc, const char *what)
{
    snprintf(t->db.why, sizeof(t->db.why), "%s", what);
    t->db.rc = rc;
    return SPOOL_DB_BROKEN;
}

static enum spool_db_status
broken_errno(struct spool_thread *t, const char *what)
{
    snprintf(t->db.why, sizeof(t->db.why), "%s: %s", what, strerror(errno));
    t->db.rc = SQLITE_IOERR;
    return SPOOL_DB_BROKEN;
}

static enum spool_db_status
check_wal(struct spool_thread *t, bool has_file)
{
    size_t size = strlen(t->path) + sizeof("-wal");
    char *path = xmalloc(size), why[128];
    struct spool_wal wal;
    bool ok;

    snprintf(path, size, "%s-wal", t->path);
    ok = spool_wal_look(path, &wal);
    free(path);
    if (!ok)
        return broken_errno(t, "cannot read spool.db-wal");
    if (wal.commits_lost > 0) {
        snprintf(why, sizeof(why), "the log ends in damage at frame %zu; %zu commits behind it are lost",
            wal.good + 1, wal.commits_lost);
        return broken(t, SQLITE_CORRUPT, why);
    }
    if (has_file || wal.good == 0)
        return SPOOL_DB_OK;
    return broken(t, SQLITE_CORRUPT, "there is a log without a database");
}

/* What SQLite would believe or take for a file it may not write: fields that never change. */
static bool
header_is_ours(const unsigned char h[100])
{
    static const unsigned char fixed[] = {0x10, 0x00}, fractions[] = {0, 64, 32, 32};

    return memcmp(h, "SQLite format 3", 16) == 0 && memcmp(h + 16, fixed, sizeof(fixed)) == 0
        && (h[18] == 1 || h[18] == 2) && h[18] == h[19] && memcmp(h + 20, fractions, sizeof(fractions)) == 0;
}

/* NONE: there is no file. */
static enum spool_db_status
check_header(struct spool_thread *t)
{
    unsigned char header[100];
    int fd = open(t->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); /* it may be a pipe */
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? SPOOL_DB_NONE : broken_errno(t, "cannot open spool.db");
    n = read(fd, header, sizeof(header));
    close(fd);
    if (n < 0)
        return broken_errno(t, "cannot read spool.db");
    if (n < (ssize_t)sizeof(header) || !header_is_ours(header))
        return broken(t, SQLITE_NOTADB, n == 0 ? "spool.db is empty" : "spool.db is no database of ours");
    return SPOOL_DB_OK;
}

/* Each page once, and whether tables and their pages fit together. */
static enum spool_db_status
quick_check(struct spool_thread *t)
{
    sqlite3_stmt *stmt = NULL;
    enum spool_db_status status;
    const char *said;

    if (sqlite3_prepare_v2(t->db.handle, "PRAGMA quick_check(1)", -1, &stmt, NULL) != SQLITE_OK)
        return spool_db_failed(&t->db, sqlite3_errcode(t->db.handle));
    status = spool_db_step(&t->db, stmt);
    said = status == SPOOL_DB_OK ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (status == SPOOL_DB_OK && (said == NULL || strcmp(said, "ok") != 0))
        status = broken(t, SQLITE_CORRUPT, said != NULL ? said : "it fails the check");
    sqlite3_finalize(stmt);
    return status == SPOOL_DB_NONE ? broken(t, SQLITE_CORRUPT, "it fails the check") : status;
}

static enum spool_db_status
open_and_check(struct spool_thread *t, uint64_t *highest_out)
{
    enum spool_db_status status = check_header(t), wal;

    if (status == SPOOL_DB_OK || status == SPOOL_DB_NONE) {
        wal = check_wal(t, status == SPOOL_DB_OK);
        if (wal != SPOOL_DB_OK)
            return wal;
    }
    if (status == SPOOL_DB_NONE)
        status = spool_salvage_make(t);
    if (status == SPOOL_DB_OK)
        status = spool_db_open(&t->db, t->path);
    if (status == SPOOL_DB_OK)
        status = quick_check(t);
    if (status == SPOOL_DB_OK)
        status = spool_rows_highest(&t->db, highest_out);
    if (status == SPOOL_DB_OK)
        status = spool_db_begin(&t->db);
    if (status != SPOOL_DB_OK)
        return status;
    status = put_in_order(t, !t->was_open);
    return status == SPOOL_DB_OK ? spool_db_commit(&t->db) : status;
}

static bool
is_damaged(const struct spool_thread *t, enum spool_db_status status)
{
    return status == SPOOL_DB_BROKEN && spool_db_is_damage(&t->db);
}

/* Damage is believed when all of the file can be read and it is found a second time. */
static enum spool_db_status
open_certainly(struct spool_thread *t, uint64_t *highest_out)
{
    uint64_t reserved = t->db.seq_reserved, damaged = t->damaged;
    enum spool_db_status status = open_and_check(t, highest_out);

    if (!is_damaged(t, status))
        return status;
    spool_db_leave(&t->db);
    t->db.seq_reserved = reserved;
    t->damaged = damaged;
    if (!spool_salvage_can_read(t))
        return broken_errno(t, "cannot read spool.db");
    return open_and_check(t, highest_out);
}

enum spool_db_status
spool_recover(struct spool_thread *t)
{
    uint64_t highest = 0, reserved = t->db.seq_reserved;
    enum spool_db_status status;
    char why[sizeof(t->db.why)];

    if (!spool_salvage_resume(t))
        return broken_errno(t, "cannot end the exchange of spool.db");
    t->db.is_newer = false;
    status = open_certainly(t, &highest);
    if (is_damaged(t, status)) {
        spool_db_leave(&t->db);
        snprintf(why, sizeof(why), "%s", t->db.why);
        t->db.seq_reserved = reserved;
        status = spool_salvage(t, why);
        if (status == SPOOL_DB_OK)
            status = open_and_check(t, &highest);
    }
    t->db.seq_reserved = reserved > highest ? reserved : highest;
    if (status != SPOOL_DB_OK)
        return status;
    t->dead.n = 0;
    t->was_open = true;
    t->highest_seq = highest;
    return SPOOL_DB_OK;
}
