/* Messages are walked over in order of seq. A page that cannot be read stops the walk; then it is tried to
 * go on behind it, first a seq further and then ever longer strides, and what a stride leapt over is reached
 * from behind. Recipients without a message row are what is left of a lost one. What is whole is copied. It
 * may be an older state of the message, when the log was cut, and have been tried since: its recipients are
 * uncertain. */
#include "relay/spool/spool_salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_overlay.h"
#include "relay/spool/spool_wal.h"

#define STRIDE_TRIES 1024 /* seqs tried before the stride doubles */
#define COMMIT_MESSAGES 1000
#define SEQ_MARGIN (UINT64_C(1) << 20) /* beyond what was seen, where nothing says what was given away */
#define SUFFIX_MAX 48

struct salvage {
    struct spool_thread *t;
    struct spool_db from, to;
    uint64_t copied, lost, highest;
    bool knows_lost; /* all of them: none can be gone without a trace */
    int64_t now_utc_ms;
    struct buf body;
    struct list notes; /* told once it is complete */
    enum spool_db_status status; /* of the new file; a failure ends it all */
};

static char *
path_with(const struct spool_thread *t, const char *suffix)
{
    size_t size = strlen(t->path) + SUFFIX_MAX;
    char *path = xmalloc(size);

    snprintf(path, size, "%s%s", t->path, suffix);
    return path;
}

/* ---- one message ---- */

static void
make_uncertain(struct salvage *v, struct spool_message *m)
{
    int64_t least = v->now_utc_ms + v->t->terms.uncertain_ms, due;

    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        struct spool_recipient *r = &m->states[i];

        if (r->state == SPOOL_PARKED)
            continue;
        if (r->state == SPOOL_IN_FLIGHT && spool_seqs_has(&v->t->in_flight, m->seq))
            continue; /* in this process's hands */
        due = r->due_utc_ms > least ? r->due_utc_ms : least;
        if (r->state == SPOOL_IN_FLIGHT) {
            spool_recipient_doubt(r, v->t->terms.uncertain_max, due);
            continue;
        }
        r->state = SPOOL_UNCERTAIN;
        r->due_utc_ms = due;
    }
}

/* It is kept among the damaged, so that it is known which they were. */
static void
lose(struct salvage *v, uint64_t seq, const char *id, const char *what)
{
    sqlite3_stmt *stmt = spool_db_stmt(&v->to, STMT_DAMAGED_PUT);
    char why[128];

    snprintf(why, sizeof(why), "message %llu: %s", (unsigned long long)seq, what);
    spool_note(&v->notes, NOTE_LOST, id, why);
    v->lost++;
    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    sqlite3_bind_int64(stmt, 2, v->now_utc_ms);
    sqlite3_bind_text(stmt, 3, why, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, id, -1, SQLITE_STATIC);
    v->status = spool_db_run(&v->to, stmt);
}

/* All chunks are read before the first is written: a message is copied whole or not at all. */
static enum spool_db_status
check_chunks(struct salvage *v, uint64_t seq, int64_t body_bytes)
{
    enum spool_db_status status = SPOOL_DB_OK;
    int64_t have = 0;

    for (uint32_t n = 0; have < body_bytes && status == SPOOL_DB_OK; n++) {
        buf_clear(&v->body);
        status = spool_chunk_get(&v->from, seq, n, &v->body);
        if (buf_len(&v->body) == 0)
            return SPOOL_DB_DAMAGED;
        have += (int64_t)buf_len(&v->body);
    }
    return status == SPOOL_DB_OK && body_bytes > 0 && have != body_bytes ? SPOOL_DB_DAMAGED : status;
}

static enum spool_db_status
copy_chunks(struct salvage *v, uint64_t seq, int64_t body_bytes)
{
    enum spool_db_status status = SPOOL_DB_OK;

    for (uint32_t n = 0; (int64_t)n * (int64_t)SPOOL_CHUNK_BYTES < body_bytes && status == SPOOL_DB_OK; n++) {
        buf_clear(&v->body);
        if (spool_chunk_get(&v->from, seq, n, &v->body) != SPOOL_DB_OK)
            return SPOOL_DB_BROKEN; /* it could be read a moment ago */
        status = spool_chunk_put(&v->to, seq, n, buf_span(&v->body));
    }
    return status;
}

static enum spool_db_status
commit_some(struct salvage *v)
{
    enum spool_db_status status = spool_db_commit(&v->to);

    return status == SPOOL_DB_OK ? spool_db_begin(&v->to) : status;
}

static void
copy_whole(struct salvage *v, struct spool_message *m, int64_t body_bytes)
{
    make_uncertain(v, m);
    v->status = copy_chunks(v, m->seq, body_bytes);
    if (v->status == SPOOL_DB_OK)
        v->status = spool_rows_put(&v->to, m, NULL, body_bytes);
    if (v->status == SPOOL_DB_OK && ++v->copied % COMMIT_MESSAGES == 0)
        v->status = commit_some(v);
}

static void
copy_one(struct salvage *v, uint64_t seq)
{
    struct spool_message *m;
    int64_t body_bytes;
    enum spool_db_status status;
    char id[SPOOL_ID_MAX];

    if (seq > v->highest)
        v->highest = seq;
    if (spool_seqs_has(&v->t->dead, seq))
        return;
    status = spool_rows_get(&v->from, seq, &m, &body_bytes);
    if (status == SPOOL_DB_OK)
        status = check_chunks(v, seq, body_bytes);
    if (status == SPOOL_DB_OK) {
        copy_whole(v, m, body_bytes);
    } else {
        spool_rows_id(&v->from, seq, id);
        lose(v, seq, id, "its rows are damaged");
    }
    spool_message_free(&m, false);
}

/* ---- finding them ---- */

static enum spool_db_status
next_seq(struct salvage *v, enum spool_stmt id, uint64_t from, uint64_t *seq_out)
{
    int64_t seq;
    enum spool_db_status status = spool_db_number(&v->from, id, (int64_t)from, &seq);

    *seq_out = (uint64_t)seq;
    if (status == SPOOL_DB_OK && (seq <= 0 || seq > SPOOL_SEQ_MAX))
        return SPOOL_DB_BROKEN;
    return status;
}

/* From behind `last` on, up to the end or what cannot be read. Returns the last seq reached. */
static uint64_t
walk_up(struct salvage *v, uint64_t last, bool *ended_out)
{
    enum spool_db_status status = SPOOL_DB_OK;
    uint64_t seq;

    while (v->status == SPOOL_DB_OK
        && (status = next_seq(v, STMT_MESSAGE_NEXT, last, &seq)) == SPOOL_DB_OK && seq > last) {
        copy_one(v, seq);
        last = seq;
    }
    *ended_out = status == SPOOL_DB_NONE || v->status != SPOOL_DB_OK;
    return last;
}

/* From before `last` down to what is known already. */
static void
walk_down(struct salvage *v, uint64_t least, uint64_t last)
{
    uint64_t seq;

    while (v->status == SPOOL_DB_OK && next_seq(v, STMT_MESSAGE_BEFORE, last, &seq) == SPOOL_DB_OK
        && seq > least && seq < last) {
        copy_one(v, seq);
        last = seq;
    }
}

/* The first seq from which the walk can go on behind `low`; 0: none up to top. */
static uint64_t
leap(struct salvage *v, uint64_t low, uint64_t top)
{
    uint64_t stride = 1, seq;

    for (uint64_t at = low + 1, tries = 1; at < top; at += stride, tries++) {
        if (next_seq(v, STMT_MESSAGE_NEXT, at, &seq) != SPOOL_DB_BROKEN)
            return at;
        if (tries % STRIDE_TRIES == 0)
            stride *= 2;
    }
    return 0;
}

static void
copy_readable(struct salvage *v, uint64_t top)
{
    bool ended;
    uint64_t low = walk_up(v, 0, &ended), at;

    if (!ended)
        spool_note(&v->notes, NOTE_ERROR, "", v->from.why);
    while (!ended && (at = leap(v, low, top > low ? top : low + SEQ_MARGIN)) != 0) {
        walk_down(v, low, at + 1);
        low = walk_up(v, at, &ended);
    }
}

static bool
is_known(struct salvage *v, uint64_t seq)
{
    struct spool_head head;
    int64_t n;

    return spool_rows_head(&v->to, seq, &head) == SPOOL_DB_OK
        || spool_db_number(&v->to, STMT_DAMAGED_GET, (int64_t)seq, &n) == SPOOL_DB_OK
        || spool_seqs_has(&v->t->dead, seq);
}

/* Only who reads all recipients knows that none is missing: a walk over messages that ends in order may have
 * been in a page that belongs elsewhere. */
static void
count_lost(struct salvage *v)
{
    enum spool_db_status status = SPOOL_DB_OK;
    uint64_t last = 0, seq;

    while (v->status == SPOOL_DB_OK
        && (status = next_seq(v, STMT_RECIPIENT_NEXT, last, &seq)) == SPOOL_DB_OK && seq > last) {
        last = seq;
        if (!is_known(v, seq))
            lose(v, seq, "", "its envelope cannot be read");
    }
    v->knows_lost = status == SPOOL_DB_NONE;
    if (last > v->highest)
        v->highest = last;
}

/* What was committed behind the cut may have been anything. */
static bool
is_log_cut(const struct spool_thread *t)
{
    char *path = path_with(t, "-wal");
    struct spool_wal wal;
    bool cut = !spool_wal_look(path, &wal) || wal.commits_lost > 0;

    free(path);
    return cut;
}

static uint64_t
seq_reserved(struct salvage *v)
{
    int64_t reserved;

    if (v->t->db.seq_reserved > 0)
        return v->t->db.seq_reserved;
    if (spool_db_number(&v->from, STMT_META_GET, 0, &reserved) == SPOOL_DB_OK && reserved > 0
        && reserved < SPOOL_SEQ_MAX)
        return (uint64_t)reserved;
    return 0;
}

static void
copy_all(struct salvage *v)
{
    uint64_t reserved = seq_reserved(v);

    copy_readable(v, reserved);
    count_lost(v);
    if (is_log_cut(v->t))
        v->knows_lost = false;
    if (v->status == SPOOL_DB_OK)
        v->status = spool_rows_reserve(&v->to, reserved > v->highest ? reserved : v->highest + SEQ_MARGIN);
}

/* ---- the files ---- */

/* With the first page of the new file, which is what the old one's was, if it is a spool at all. */
static bool
make_view(struct salvage *v, const char *view)
{
    sqlite3_int64 n = 0;
    unsigned char *fresh = sqlite3_serialize(v->to.handle, "main", &n, 0);
    struct span pages = span_of((const char *)fresh, fresh != NULL ? (size_t)n : 0);
    char why[128];
    bool made = false;

    if (spool_overlay_fits(v->t->path, pages)) {
        made = spool_overlay_make(v->t->path, view, pages);
        snprintf(why, sizeof(why), "the first page of spool.db cannot be replaced, and is read as it is: %s",
            made ? "" : strerror(errno));
        if (!made)
            spool_note(&v->notes, NOTE_ERROR, "", why);
    }
    sqlite3_free(fresh);
    return made;
}

/* Read with its log, and left as it is: no checkpoint at its end. */
static bool
open_from(struct salvage *v)
{
    char *view = path_with(v->t, ".reading");
    bool has_view = make_view(v, view);
    int rc = sqlite3_open_v2(has_view ? view : v->t->path, &v->from.handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);

    free(view);
    if (rc != SQLITE_OK)
        return false;
    sqlite3_db_config(v->from.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return spool_db_exec(&v->from, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; BEGIN")
        == SPOOL_DB_OK;
}

static bool
sync_folder(const struct spool_thread *t)
{
    int fd = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static bool
rename_if_there(const char *from, const char *to)
{
    return rename(from, to) == 0 || errno == ENOENT;
}

/* The log goes first: a log beside a database it does not belong to would be played into it. */
static bool
exchange(struct spool_thread *t)
{
    char suffix[SUFFIX_MAX], wal_suffix[SUFFIX_MAX];
    time_t now = (time_t)(clock_utc_ms() / 1000);
    char *aside, *aside_wal, *wal = path_with(t, "-wal"), *made = path_with(t, ".salvaged");
    struct tm tm;
    bool ok;

    gmtime_r(&now, &tm);
    strftime(suffix, sizeof(suffix), ".damaged-%Y%m%dT%H%M%SZ", &tm);
    snprintf(wal_suffix, sizeof(wal_suffix), "%.40s-wal", suffix);
    aside = path_with(t, suffix);
    aside_wal = path_with(t, wal_suffix);
    ok = rename_if_there(wal, aside_wal) && rename_if_there(t->path, aside) && sync_folder(t)
        && rename(made, t->path) == 0 && sync_folder(t);
    free(aside);
    free(aside_wal);
    free(wal);
    free(made);
    return ok;
}

bool
spool_salvage_resume(struct spool_thread *t)
{
    char *made = path_with(t, ".salvaged");
    bool waits = access(made, F_OK) == 0;

    free(made);
    return !waits || exchange(t);
}

static void
remove_file(const struct spool_thread *t, const char *suffix)
{
    char *path = path_with(t, suffix);

    unlink(path);
    free(path);
}

static void
remove_view(const struct spool_thread *t)
{
    remove_file(t, ".reading");
    remove_file(t, ".reading-wal");
}

static void
remove_half_made(const struct spool_thread *t)
{
    remove_file(t, ".building");
    remove_file(t, ".building-wal");
    remove_file(t, ".building-journal");
    remove_view(t);
}

/* Everything into the file itself: only that is renamed. */
static enum spool_db_status
finish(struct spool_db *db, enum spool_db_status status)
{
    if (status == SPOOL_DB_OK)
        status = spool_db_exec(db, "PRAGMA journal_mode = DELETE");
    spool_db_close(db);
    return status;
}

/* An empty file has nothing to read, and SQLite would delete the log beside it. */
static bool
has_content(const struct spool_thread *t)
{
    struct stat st;

    return lstat(t->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
}

/* ---- can it be read at all? ---- */

static bool
read_to_end(const char *path, char *scratch)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = 1;
    int why;

    if (fd < 0)
        return errno == ENOENT;
    while (n > 0)
        n = read(fd, scratch, SPOOL_CHUNK_BYTES);
    why = errno;
    close(fd);
    errno = why;
    return n == 0;
}

bool
spool_salvage_can_read(const struct spool_thread *t)
{
    char *wal = path_with(t, "-wal");
    bool can = read_to_end(t->path, t->scratch) && read_to_end(wal, t->scratch);
    int why = errno;

    free(wal);
    errno = why;
    return can;
}

/* ---- the exchange as a whole ---- */

static void
build(struct salvage *v, const char *path)
{
    bool is_open;

    v->status = spool_db_open(&v->to, path);
    is_open = v->status == SPOOL_DB_OK && has_content(v->t) && open_from(v);
    if (v->status == SPOOL_DB_OK)
        v->status = spool_db_begin(&v->to);
    if (v->status == SPOOL_DB_OK && is_open)
        copy_all(v);
    else if (v->status == SPOOL_DB_OK)
        v->status = spool_rows_reserve(&v->to, SEQ_MARGIN + v->t->db.seq_reserved);
    if (v->status == SPOOL_DB_OK)
        v->status = spool_db_commit(&v->to);
    spool_db_close(&v->from);
    remove_view(v->t);
    v->status = finish(&v->to, v->status);
}

static void
say_lost(const struct salvage *v, char *out, size_t size)
{
    if (v->knows_lost)
        snprintf(out, size, "%llu lost", (unsigned long long)v->lost);
    else if (v->lost > 0)
        snprintf(out, size, "at least %llu lost: how many cannot be known", (unsigned long long)v->lost);
    else
        snprintf(out, size, "some may be lost: how many cannot be known");
}

static void
report(struct salvage *v, const char *why)
{
    char text[256], lost[64];

    say_lost(v, lost, sizeof(lost));
    snprintf(text, sizeof(text), "spool.db is damaged and was put aside: %.120s; %llu messages salvaged, %s",
        why, (unsigned long long)v->copied, lost);
    list_move_all(&v->t->notes, &v->notes);
    spool_note(&v->t->notes, NOTE_ERROR, "", text);
    v->t->damaged += v->lost > 0 ? v->lost : 1;
}

enum spool_db_status
spool_salvage(struct spool_thread *t, const char *why)
{
    struct salvage v = {.t = t, .now_utc_ms = clock_utc_ms()};
    char *building = path_with(t, ".building"), *made = path_with(t, ".salvaged");

    buf_init(&v.body);
    list_init(&v.notes);
    remove_half_made(t);
    build(&v, building);
    if (v.status == SPOOL_DB_OK && (!spool_salvage_can_read(t) || rename(building, made) != 0
            || !sync_folder(t) || !exchange(t))) {
        snprintf(v.to.why, sizeof(v.to.why), "cannot exchange %s: %s", t->path, strerror(errno));
        v.status = SPOOL_DB_BROKEN;
    }
    if (v.status == SPOOL_DB_OK)
        report(&v, why);
    else
        snprintf(t->db.why, sizeof(t->db.why), "salvage: %.200s", v.to.why);
    for (struct list *it; (it = list_pop(&v.notes)) != NULL;)
        free(LIST_ITEM(it, struct spool_note, link));
    buf_fini(&v.body);
    free(building);
    free(made);
    return v.status;
}

enum spool_db_status
spool_salvage_make(struct spool_thread *t)
{
    char *building = path_with(t, ".building");
    enum spool_db_status status;

    remove_half_made(t);
    status = finish(&t->db, spool_db_open(&t->db, building));
    if (status == SPOOL_DB_OK && (rename(building, t->path) != 0 || !sync_folder(t))) {
        snprintf(t->db.why, sizeof(t->db.why), "cannot make %s: %s", t->path, strerror(errno));
        t->db.rc = SQLITE_IOERR;
        status = SPOOL_DB_BROKEN;
    }
    free(building);
    return status;
}
