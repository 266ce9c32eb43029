/* Unit tests of the spool's file under every kind of damage: truncated, emptied, flipped bits, foreign, not
 * a file, not readable. Whatever was done to it: each message that was accepted is there unchanged, or its
 * loss is counted and said; never another byte, never the end of the process.
 *
 * SPOOL_DAMAGE_VARIANTS says how many random variants are tried (default 200), SPOOL_DAMAGE_SEED with which
 * seed. */
#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/file.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_wal.h"
#include "tests/lib/spool_rig.h"

#define CLEAN_MESSAGES 40 /* in the database */
#define LOG_MESSAGES 12   /* in the log only, each in a transaction of its own */
#define MESSAGES (CLEAN_MESSAGES + LOG_MESSAGES)
#define PAGE 4096
#define FILE_MAX (16u << 20)

/* The files of a spool, as a node left them. */
struct image {
    struct buf db, wal;
    int messages;
};

/* Ended in order; killed; killed with a log in which message 0 was delivered and the first page is not. */
static struct image images[3];
static uint64_t seqs[MESSAGES];
static uint64_t random_state;

static uint32_t
next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static size_t
below(size_t n)
{
    return n > 0 ? next_random() % n : 0;
}

static size_t
body_bytes(int n)
{
    static const size_t sizes[] = {0, 10, 700, 3000, 9000, 70000};

    return sizes[n % 6];
}

static const char *
path_of(struct spool_rig *r, const char *suffix)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/spool.db%s", r->folder, suffix);
    return path;
}

/* ---- images ---- */

static void
add(struct spool_rig *r, int n)
{
    struct spool_message *m = rig_message(r, n, 1 + (size_t)n % 3, body_bytes(n));

    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    seqs[n] = m->seq;
    rig_message_free(&m);
}

static void
copy_image(struct spool_rig *r, struct image *image, int messages)
{
    struct err err;

    buf_init(&image->db);
    buf_init(&image->wal);
    image->messages = messages;
    assert_int_equal(file_read(path_of(r, ""), FILE_MAX, FILE_ANY, &image->db, &err), 0);
    if (access(path_of(r, "-wal"), F_OK) == 0)
        assert_int_equal(file_read(path_of(r, "-wal"), FILE_MAX, FILE_ANY, &image->wal, &err), 0);
}

/* As a log is when it began anew in the middle of a run: opening a spool writes the first page. */
static void
deliver_by_hand(struct spool_rig *r)
{
    char sql[200];
    sqlite3 *db;

    snprintf(sql, sizeof(sql),
        "BEGIN; DELETE FROM message WHERE seq = %llu; DELETE FROM recipient WHERE seq = %llu; COMMIT",
        (unsigned long long)seqs[0], (unsigned long long)seqs[0]);
    assert_int_equal(sqlite3_open(path_of(r, ""), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    copy_image(r, &images[2], MESSAGES);
    sqlite3_close(db);
}

static int
make_images(void **state)
{
    struct spool_rig *r;
    void *rig;

    (void)state;
    if (rig_set_up_fast(&rig) != 0)
        return -1;
    r = rig;
    rig_open(r);
    for (int n = 0; n < CLEAN_MESSAGES; n++)
        add(r, n);
    for (uint64_t seq = 3; seq < 9; seq++)
        rig_take(r, seq, 1, false);
    rig_close(r);
    copy_image(r, &images[0], CLEAN_MESSAGES);
    rig_open(r);
    rig_close(r); /* so that what was in flight is settled before the log begins */
    rig_open(r);
    for (int n = CLEAN_MESSAGES; n < MESSAGES; n++)
        add(r, n);
    copy_image(r, &images[1], MESSAGES);
    rig_close(r);
    deliver_by_hand(r);
    return rig_tear_down(&rig);
}

static int
drop_images(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        buf_fini(&images[i].db);
        buf_fini(&images[i].wal);
    }
    return 0;
}

static void
write_file(const char *path, struct span bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
    close(fd);
}

static void
write_image(struct spool_rig *r, const struct buf *db, const struct buf *wal)
{
    char command[160];

    if (mkdir(r->folder, 0700) != 0) {
        snprintf(command, sizeof(command), "rm -rf '%s'/*", r->folder);
        assert_int_equal(system(command), 0);
    }
    write_file(path_of(r, ""), buf_span(db));
    if (buf_len(wal) > 0)
        write_file(path_of(r, "-wal"), buf_span(wal));
}

/* ---- what is left ---- */

struct reading {
    struct spool_rig *rig;
    int n;
    bool there;
};

static void
on_read(void *arg, enum spool_result result, struct spool_message *m)
{
    struct reading *reading = arg;

    reading->rig->answers++;
    reading->there = result == SPOOL_DONE;
    if (m == NULL)
        return;
    if (!rig_is_message(m, reading->n, 1 + (size_t)reading->n % 3, body_bytes(reading->n)))
        fail_msg("message %d came back with other bytes", reading->n);
    spool_message_free(&m, true);
}

/* How many messages are missing of those from `from` up to `to`. */
static int
count_missing(struct spool_rig *r, int from, int to)
{
    struct reading readings[MESSAGES];
    int missing = 0;

    for (int n = from; n < to; n++) {
        readings[n] = (struct reading){r, n, false};
        spool_take(r->spool, seqs[n], INT64_MAX - 1, r->pool, on_read, &readings[n]);
        r->wanted++;
    }
    rig_wait(r);
    for (int n = from; n < to; n++)
        missing += !readings[n].there;
    return missing;
}

static int log_before = -1; /* where the log goes otherwise */

/* The log is a file from now on, until the end of the test. */
static void
keep_log(void)
{
    FILE *kept = tmpfile();

    assert_non_null(kept);
    log_before = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(kept), STDERR_FILENO), STDERR_FILENO);
    fclose(kept);
}

static int
tear_down_with_log(void **state)
{
    dup2(log_before, STDERR_FILENO);
    close(log_before);
    return rig_tear_down(state);
}

static void
forget_log(void)
{
    assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
}

static bool
log_says(const char *words)
{
    static char text[1 << 18];
    ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

    assert_in_range(n, 0, sizeof(text) - 2);
    text[n] = '\0';
    return strstr(text, words) != NULL;
}

/* silent: how many of the last messages may be gone without a word, because nobody could know that they were
 * there. */
static void
check_spool(struct spool_rig *r, const struct image *image, int silent, const char *what)
{
    struct spool_status status;
    int missing;

    rig_open(r);
    missing = count_missing(r, 0, image->messages - silent);
    spool_status(r->spool, &status);
    if (missing > 0 && status.damaged == 0 && (status.state != SPOOL_SICK || status.why[0] == '\0'))
        fail_msg("%s: %d messages are gone without a word", what, missing);
    if (missing > (int)status.damaged && status.state == SPOOL_READY && !log_says("how many cannot be known"))
        fail_msg("%s: %d messages are gone, %d are said to be", what, missing, (int)status.damaged);
    if (status.damaged == 0 && status.state == SPOOL_READY)
        count_missing(r, image->messages - silent, image->messages);
    rig_close(r);
}

/* ---- random variants ---- */

enum damage {
    TRUNCATE,
    EMPTY,
    FLIP_BITS,
    FLIP_HEADER,
    FLIP_PAGE_HEAD,
    FLIP_CELLS,
    ZERO_PAGE,
    NOISE_PAGE,
    SWAP_PAGES,
    CUT_MIDDLE,
    FLIP_LOG,
    FLIP_LOG_FRAME,
    FLIP_LOG_HEADER,
    TRUNCATE_LOG,
    DAMAGE_COUNT,
};

static void
flip(struct buf *b, size_t from, size_t n)
{
    size_t at = from + below(n);

    if (at < b->len)
        b->p[at] = (char)(b->p[at] ^ (1 << below(8)));
}

static size_t
any_page(const struct buf *b)
{
    return below(b->len / PAGE) * PAGE;
}

static void
damage_page(enum damage kind, struct buf *db)
{
    size_t at = any_page(db), other = any_page(db);
    char page[PAGE];

    memcpy(page, db->p + at, PAGE);
    if (kind == SWAP_PAGES) {
        memcpy(db->p + at, db->p + other, PAGE);
        memcpy(db->p + other, page, PAGE);
    }
    for (size_t i = 0; i < PAGE && kind != SWAP_PAGES; i++)
        db->p[at + i] = kind == ZERO_PAGE ? '\0' : (char)next_random();
}

/* Returns how many of the last messages may be gone without a word. */
static int
damage_log(enum damage kind, struct buf *wal)
{
    size_t frame = PAGE + 24, frames = (wal->len - 32) / frame;

    if (kind == FLIP_LOG_HEADER)
        flip(wal, 0, 32);
    else if (kind == FLIP_LOG_FRAME)
        flip(wal, 32 + below(frames) * frame, 24);
    else if (kind == FLIP_LOG)
        for (size_t i = 1 + below(4); i > 0; i--)
            flip(wal, 0, wal->len);
    else
        wal->len = below(wal->len);
    return kind == TRUNCATE_LOG ? LOG_MESSAGES : 1; /* the last may be a commit that was being written */
}

static void
cut_middle(struct buf *db)
{
    size_t from = any_page(db), n = (1 + below(3)) * PAGE;

    if (from + n > db->len)
        return;
    memmove(db->p + from, db->p + from + n, db->len - from - n);
    db->len -= n;
}

static void
damage_file(enum damage kind, struct buf *db)
{
    switch (kind) {
    case TRUNCATE:
        db->len = below(db->len);
        break;
    case EMPTY:
        db->len = 0;
        break;
    case FLIP_BITS:
        for (size_t i = 1 + below(8); i > 0; i--)
            flip(db, 0, db->len);
        break;
    case FLIP_HEADER:
        flip(db, 0, 100);
        break;
    case FLIP_PAGE_HEAD:
        flip(db, any_page(db), 12);
        break;
    case FLIP_CELLS:
        flip(db, any_page(db) + 8, 60);
        break;
    case ZERO_PAGE:
    case NOISE_PAGE:
    case SWAP_PAGES:
        damage_page(kind, db);
        break;
    case CUT_MIDDLE:
        cut_middle(db);
        break;
    case FLIP_LOG:
    case FLIP_LOG_FRAME:
    case FLIP_LOG_HEADER:
    case TRUNCATE_LOG:
    case DAMAGE_COUNT:
        break;
    }
}

static unsigned long
setting(const char *name, unsigned long otherwise)
{
    const char *value = getenv(name);

    return value != NULL ? strtoul(value, NULL, 10) : otherwise;
}

static void
copy_buf(const struct buf *from, struct buf *to)
{
    buf_init(to);
    buf_add_span(to, buf_span(from));
}

static void
try_variant(struct spool_rig *r, unsigned long variant)
{
    enum damage kind = (enum damage)(variant % DAMAGE_COUNT);
    struct image *image = &images[kind >= FLIP_LOG || next_random() % 2 ? 1 : 0];
    struct buf db, wal;
    int silent = 0;
    char what[64];

    snprintf(what, sizeof(what), "variant %lu, kind %d", variant, (int)kind);
    copy_buf(&image->db, &db);
    copy_buf(&image->wal, &wal);
    if (kind >= FLIP_LOG)
        silent = damage_log(kind, &wal);
    else
        damage_file(kind, &db);
    write_image(r, &db, &wal);
    check_spool(r, image, silent, what);
    buf_fini(&db);
    buf_fini(&wal);
}

static void
test_random_damage(void **state)
{
    unsigned long variants = setting("SPOOL_DAMAGE_VARIANTS", 200);

    keep_log();
    for (unsigned long i = 0; i < variants; i++) {
        random_state = 88172645463325252ull + (setting("SPOOL_DAMAGE_SEED", 1) << 32 | i) * 2654435761u;
        next_random();
        forget_log();
        try_variant(*state, i);
    }
}

/* ---- chosen variants ---- */

/* The images are whole: the test above would find damage in them otherwise. */
static void
test_whole(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct spool_rig *r = *state;
        struct spool_status status;

        write_image(r, &images[i].db, &images[i].wal);
        rig_open(r);
        assert_int_equal(count_missing(r, 0, images[i].messages), 0);
        spool_status(r->spool, &status);
        assert_int_equal(status.damaged, 0);
        assert_int_equal(status.messages, images[i].messages);
        rig_close(r);
    }
}

static void
add_another(struct spool_rig *r)
{
    struct spool_message *m = rig_message(r, 1000, 1, 10);

    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_message_free(&m);
}

static bool
has_file_with(struct spool_rig *r, const char *pattern)
{
    char command[200];

    snprintf(command, sizeof(command), "ls '%s' | grep -q '%s'", r->folder, pattern);
    return system(command) == 0;
}

/* A damaged page costs the messages on it. The others are in a new file, uncertain; the old files are
 * kept. */
static void
test_salvage(void **state)
{
    struct spool_rig *r = *state;
    struct spool_status status;
    struct buf db;
    int missing;

    copy_buf(&images[1].db, &db);
    memset(db.p + db.len / PAGE / 2 * PAGE, 0xff, PAGE);
    write_image(r, &db, &images[1].wal);
    rig_open(r);
    spool_status(r->spool, &status);
    assert_int_equal(status.state, SPOOL_READY);
    assert_true(status.damaged > 0 && status.damaged < 20);
    assert_true(has_file_with(r, "^spool.db.damaged-[0-9]*T[0-9]*Z$"));
    assert_true(has_file_with(r, "^spool.db.damaged-[0-9]*T[0-9]*Z-wal$"));
    missing = count_missing(r, 0, MESSAGES);
    assert_int_equal(missing, status.damaged);
    assert_true(r->n_found == (size_t)(MESSAGES - missing));
    for (size_t i = 0; i < r->n_found; i++)
        assert_true(r->found[i].due_utc_ms > 0); /* nothing goes at once: it may have been tried since */
    add_another(r);
    rig_close(r);
    rig_open(r); /* the new file is whole */
    spool_status(r->spool, &status);
    assert_int_equal(status.damaged, 0);
    assert_int_equal(status.messages, MESSAGES - missing + 1);
    buf_fini(&db);
}

/* ---- the first page ---- */

static bool
is_file(const char *path, const struct buf *bytes)
{
    struct buf have;
    struct err err;
    bool same;

    buf_init(&have);
    assert_int_equal(file_read(path, FILE_MAX, FILE_ANY, &have, &err), 0);
    same = have.len == bytes->len && memcmp(have.p, bytes->p, have.len) == 0;
    buf_fini(&have);
    return same;
}

/* What was put aside is what was found. */
static void
check_aside(struct spool_rig *r, const struct buf *db, const struct buf *wal)
{
    glob_t found;
    char pattern[160];

    snprintf(pattern, sizeof(pattern), "%s/spool.db.damaged-*Z", r->folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_true(is_file(found.gl_pathv[0], db));
    snprintf(pattern, sizeof(pattern), "%s-wal", found.gl_pathv[0]);
    assert_true(buf_len(wal) == 0 || is_file(pattern, wal));
    globfree(&found);
    assert_false(has_file_with(r, "reading"));
}

/* All that was in the image is there, whatever its first page is like. is_damage: nobody may write a file
 * like that; otherwise it may also be found out later. */
static void
expect_all(struct spool_rig *r, const struct image *image, const struct buf *db, bool is_damage)
{
    int gone = image == &images[2] ? 1 : 0;
    struct spool_status status;

    write_image(r, db, &image->wal);
    rig_open(r);
    assert_int_equal(count_missing(r, 0, gone), gone);
    assert_int_equal(count_missing(r, gone, image->messages), 0);
    spool_status(r->spool, &status);
    assert_int_equal(status.messages, image->messages - gone);
    assert_in_range(status.damaged, is_damage, 1);
    rig_close(r);
    if (is_damage)
        check_aside(r, db, &image->wal);
    assert_false(log_says("cannot be known"));
}

static void
test_header_bytes(void **state)
{
    keep_log();
    for (size_t at = 0; at < 100; at++)
        for (size_t i = 0; i < 3; i++) {
            struct buf db;

            forget_log();
            copy_buf(&images[i].db, &db);
            db.p[at] = (char)(db.p[at] ^ 0x5a);
            expect_all(*state, &images[i], &db, at < 24);
            buf_fini(&db);
        }
}

static void
test_first_page(void **state)
{
    static const int fills[] = {0x00, 0xff, 0x0d, 'x'};

    keep_log();
    for (size_t n = 0; n < sizeof(fills) / sizeof(fills[0]); n++)
        for (size_t i = 0; i < 3; i++)
            for (size_t from = 0; from <= 100; from += 100) {
                struct buf db;

                forget_log();
                copy_buf(&images[i].db, &db);
                memset(db.p + from, fills[n], PAGE - from);
                expect_all(*state, &images[i], &db, from == 0);
                buf_fini(&db);
            }
}

/* Another file's head: the second page, too, is not ours. */
static void
test_first_pages(void **state)
{
    keep_log();
    for (size_t i = 0; i < 3; i++) {
        struct buf db;

        forget_log();
        copy_buf(&images[i].db, &db);
        memset(db.p, 'x', (size_t)2 * PAGE);
        expect_all(*state, &images[i], &db, true);
        buf_fini(&db);
    }
}

/* The page cannot be replaced: that is said, and the file is put aside as it is. */
static void
test_no_view(void **state)
{
    struct spool_rig *r = *state;
    struct spool_status status;
    struct buf db, none;

    keep_log();
    buf_init(&none);
    copy_buf(&images[0].db, &db);
    db.p[3] ^= 1;
    write_image(r, &db, &none);
    assert_int_equal(mkdir(path_of(r, ".reading"), 0700), 0);
    rig_open(r);
    spool_status(r->spool, &status);
    assert_int_equal(status.state, SPOOL_READY);
    assert_int_equal(status.damaged, 1);
    rig_close(r);
    assert_true(log_says("cannot be replaced, and is read as it is: File exists"));
    assert_true(log_says("how many cannot be known"));
    assert_int_equal(rmdir(path_of(r, ".reading")), 0);
    check_aside(r, &db, &none);
    buf_fini(&db);
}

/* What images[2] is for. */
static void
test_log_without_first_page(void **state)
{
    const struct buf *wal = &images[2].wal;
    size_t frames = 0;

    (void)state;
    for (size_t at = 32; at + 24 + PAGE <= wal->len; at += 24 + PAGE, frames++)
        assert_memory_not_equal(wal->p + at, "\0\0\0\1", 4);
    assert_true(frames > 0);
}

/* Where there is nothing left to count, no number is said. */
static void
test_unknown_loss(void **state)
{
    static const size_t lengths[] = {0, 100, PAGE, (size_t)3 * PAGE};
    struct spool_rig *r = *state;

    keep_log();
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct spool_status status;
        struct buf db, none;

        forget_log();
        buf_init(&none);
        copy_buf(&images[0].db, &db);
        db.len = lengths[i];
        write_image(r, &db, &none);
        rig_open(r);
        spool_status(r->spool, &status);
        assert_int_equal(status.damaged, 1);
        rig_close(r);
        assert_true(log_says("0 messages salvaged, some may be lost: how many cannot be known"));
        buf_fini(&db);
    }
}

/* ---- the log and the file ---- */

/* The log's first frames damaged: SQLite would say nothing and open what was before. */
static void
test_log_cut(void **state)
{
    struct spool_rig *r = *state;
    struct spool_status status;
    struct spool_wal look;
    struct buf wal;

    copy_buf(&images[1].wal, &wal);
    wal.p[32 + 24 + 100] ^= 1;
    write_image(r, &images[1].db, &wal);
    assert_true(spool_wal_look(path_of(r, "-wal"), &look));
    assert_int_equal(look.good, 0);
    assert_true(look.commits_lost >= LOG_MESSAGES);
    rig_open(r);
    spool_status(r->spool, &status);
    assert_true(status.damaged > 0);
    assert_int_equal(count_missing(r, 0, CLEAN_MESSAGES), 0);
    buf_fini(&wal);
}

/* What a crash leaves of the last commit is not damage. */
static void
test_torn_commit(void **state)
{
    struct spool_rig *r = *state;
    struct spool_status status;
    struct buf wal;

    copy_buf(&images[1].wal, &wal);
    wal.len -= 2000;
    write_image(r, &images[1].db, &wal);
    rig_open(r);
    spool_status(r->spool, &status);
    assert_int_equal(status.damaged, 0);
    assert_int_equal(count_missing(r, 0, MESSAGES - 1), 0);
    buf_fini(&wal);
}

static void
expect_new(struct spool_rig *r)
{
    struct spool_status status;

    rig_open(r);
    spool_status(r->spool, &status);
    assert_int_equal(status.state, SPOOL_READY);
    assert_int_equal(status.damaged, 1);
    assert_int_equal(status.messages, 0);
    assert_true(has_file_with(r, "^spool.db.damaged-"));
    add_another(r);
    rig_close(r);
}

static void
test_foreign_files(void **state)
{
    static const char text[] = "dear diary, today I was put into a folder where I do not belong. "
                               "It has more than a hundred bytes, so it might be a database.";
    struct spool_rig *r = *state;
    struct buf file, none;
    sqlite3 *db;

    buf_init(&none);
    buf_init(&file);
    write_image(r, &none, &none);
    expect_new(r);
    buf_add_str(&file, text);
    write_image(r, &file, &none);
    expect_new(r);
    write_image(r, &none, &none);
    assert_int_equal(unlink(path_of(r, "")), 0);
    assert_int_equal(sqlite3_open(path_of(r, ""), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE cats(name); INSERT INTO cats VALUES('Tom')", 0, 0, 0),
        SQLITE_OK);
    sqlite3_close(db);
    expect_new(r);
    buf_fini(&file);
}

static void
expect_sick(struct spool_rig *r)
{
    struct spool_status status;

    rig_open(r);
    spool_status(r->spool, &status);
    assert_int_equal(status.state, SPOOL_SICK);
    assert_true(status.why[0] != '\0');
    assert_int_equal(rig_take(r, 1, 1, true), SPOOL_FAILED);
    rig_close(r);
}

/* What is no file, or may not be opened, waits for somebody who puts it right, and is not touched. */
static void
test_not_a_file(void **state)
{
    struct spool_rig *r = *state;
    char moved[96];

    snprintf(moved, sizeof(moved), "%s/moved", r->base);
    write_image(r, &images[0].db, &images[0].wal);
    assert_int_equal(rename(path_of(r, ""), moved), 0);
    assert_int_equal(mkdir(path_of(r, ""), 0700), 0);
    expect_sick(r);
    assert_int_equal(rmdir(path_of(r, "")), 0);
    assert_int_equal(symlink(moved, path_of(r, "")), 0);
    expect_sick(r);
    assert_int_equal(unlink(path_of(r, "")), 0);
    assert_int_equal(rename(moved, path_of(r, "")), 0);
    if (geteuid() != 0) {
        assert_int_equal(chmod(path_of(r, ""), 0), 0);
        expect_sick(r);
        assert_int_equal(chmod(path_of(r, ""), 0600), 0);
    }
    rig_open(r);
    assert_int_equal(count_missing(r, 0, CLEAN_MESSAGES), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_salvage, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_header_bytes, rig_set_up_fast, tear_down_with_log),
        cmocka_unit_test_setup_teardown(test_first_page, rig_set_up_fast, tear_down_with_log),
        cmocka_unit_test_setup_teardown(test_first_pages, rig_set_up_fast, tear_down_with_log),
        cmocka_unit_test_setup_teardown(test_no_view, rig_set_up_fast, tear_down_with_log),
        cmocka_unit_test(test_log_without_first_page),
        cmocka_unit_test_setup_teardown(test_unknown_loss, rig_set_up_fast, tear_down_with_log),
        cmocka_unit_test_setup_teardown(test_log_cut, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_torn_commit, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_files, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_not_a_file, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_random_damage, rig_set_up_fast, tear_down_with_log),
    };

    return cmocka_run_group_tests(tests, make_images, drop_images);
}
