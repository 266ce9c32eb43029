/* Unit tests of the spool on a healthy disk: what goes in comes out, before and after a restart. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_part.h"
#include "relay/spool/spool_place.h"
#include "tests/lib/spool_rig.h"

/* Bodies around every border: of a chunk, of an answer, of a transaction's slice. */
static void
test_round_trip(void **state)
{
    static const size_t sizes[] = {0, 2, 1000, 65535, 65536, 65537, 262143, 262144, 262145, 1048576, 1048577,
        5000000};
    struct spool_rig *r = *state;

    rig_open(r);
    for (int i = 0; i < (int)(sizeof(sizes) / sizeof(sizes[0])); i++)
        assert_int_equal(rig_add_new(r, i, 1 + (size_t)i % 3, sizes[i]), i + 1);
    assert_int_equal(rig_status(r).messages, 12);
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->n_found, 12);
    for (int i = 0; i < (int)(sizeof(sizes) / sizeof(sizes[0])); i++) {
        assert_int_equal(r->found[i].seq, i + 1);
        assert_int_equal(rig_take(r, (uint64_t)i + 1, 1, true), SPOOL_DONE);
        assert_int_equal(r->found[i].content_bytes, r->taken->content_bytes + strlen(r->taken->trace));
        rig_check_message(r->taken, i, 1 + (size_t)i % 3, sizes[i]);
        rig_deliver(r, (uint64_t)i + 1);
    }
    assert_int_equal(rig_status(r).messages, 0);
    assert_int_equal(rig_status(r).bytes, 0);
}

/* The bodies of large messages do not keep a small one from being committed. */
static void
test_large_does_not_block(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *large = rig_message(r, 1, 1, 30000000), *small = rig_message(r, 2, 1, 1000);

    rig_open(r);
    spool_add(r->spool, &large, 1, rig_done, r);
    spool_add(r->spool, &small, 1, rig_done, r);
    r->wanted = 1;
    rig_wait(r);
    assert_int_equal(rig_take(r, small->seq, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, 2, 1, 1000); /* answered before the large one, which went on */
    r->wanted = 3;
    rig_wait(r);
    assert_int_equal(rig_take(r, large->seq, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, 1, 1, 30000000);
    rig_message_free(&large);
    rig_message_free(&small);
}

/* What was submitted is carried out although nobody is answered any more. */
static void
test_free_carries_out(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *messages[50];

    rig_open(r);
    for (int i = 0; i < 50; i++)
        messages[i] = rig_message(r, i, 1, i == 7 ? 9000000 : 500);
    for (int i = 0; i < 50; i++)
        spool_add(r->spool, &messages[i], 1, rig_done, r);
    rig_close(r);
    assert_int_equal(r->answers, 0);
    for (int i = 0; i < 50; i++)
        rig_message_free(&messages[i]);
    rig_open(r);
    assert_int_equal(r->n_found, 50);
    assert_int_equal(rig_take(r, 8, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, 7, 1, 9000000);
}

/* Several in one question are stored together, with seqs in their order. */
static void
test_add_together(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *both[] = {rig_message(r, 1, 1, 100), rig_message(r, 2, 2, 200)};

    rig_open(r);
    spool_add(r->spool, both, 2, rig_done, r);
    assert_int_equal(both[0]->seq, 1);
    assert_int_equal(both[1]->seq, 2);
    r->wanted++;
    rig_wait(r);
    assert_int_equal(r->result, SPOOL_DONE);
    assert_int_equal(rig_take(r, 2, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, 2, 2, 200);
    rig_message_free(&both[0]);
    rig_message_free(&both[1]);
}

static void
test_take_marks_due(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 3, 100);

    m->states[1].due_utc_ms = 5000;
    m->states[2].state = SPOOL_PARKED;
    rig_open(r);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    assert_int_equal(rig_take(r, m->seq, -1, false), SPOOL_DONE); /* nothing is due: all as it was */
    assert_int_equal(r->taken->states[0].state, SPOOL_WAITING);
    assert_null(r->taken->body);
    assert_int_equal(rig_take(r, m->seq, 4999, false), SPOOL_DONE);
    assert_int_equal(r->taken->states[0].state, SPOOL_IN_FLIGHT);
    assert_int_equal(r->taken->states[1].state, SPOOL_WAITING);
    assert_int_equal(r->taken->states[2].state, SPOOL_PARKED);
    assert_int_equal(rig_take(r, m->seq, 9999, false), SPOOL_BUSY);
    assert_null(r->taken);
    assert_int_equal(rig_take(r, 77, 9999, false), SPOOL_GONE);
    assert_int_equal(rig_status(r).parked, 1);
    rig_message_free(&m);
}

/* A retry changes the recipients and not the body, which comes back as it was. */
static void
test_settle_keeps_body(void **state)
{
    struct spool_rig *r = *state;
    uint64_t seq;

    rig_open(r);
    seq = rig_add_new(r, 4, 2, 70000);
    assert_int_equal(rig_take(r, seq, 1, false), SPOOL_DONE);
    r->taken->states[0].state = SPOOL_WAITING;
    r->taken->states[0].due_utc_ms = 42;
    r->taken->states[1].state = SPOOL_UNCERTAIN;
    r->taken->states[1].uncertain = 1;
    assert_int_equal(rig_settle(r, r->taken), SPOOL_DONE);
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->found[0].recipients, 2);
    assert_int_equal(r->found[0].due_utc_ms, 0);
    assert_int_equal(rig_take(r, seq, 41, true), SPOOL_DONE);
    assert_int_equal(r->taken->states[0].due_utc_ms, 42);
    assert_int_equal(r->taken->states[0].state, SPOOL_WAITING);
    assert_int_equal(r->taken->states[1].state, SPOOL_IN_FLIGHT);
    assert_int_equal(r->taken->states[1].uncertain, 1);
    rig_check_message(r->taken, 4, 2, 70000);
}

/* A settlement and the notification it causes are one step; without a waiter the spool keeps copies. */
static void
test_settle_with_notification(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *gone = spool_message_new(), *dsn = rig_message(r, 9, 1, 3000);

    rig_open(r);
    gone->seq = rig_add_new(r, 1, 1, 100);
    dsn->is_dsn = true;
    spool_settle(r->spool, gone, &dsn, 1, NULL, NULL);
    assert_int_equal(dsn->seq, 2);
    rig_message_free(&dsn);
    spool_message_free(&gone, false);
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->n_found, 1);
    assert_int_equal(r->found[0].seq, 2);
    assert_int_equal(rig_take(r, 2, 1, true), SPOOL_DONE);
    assert_true(r->taken->is_dsn);
    r->taken->is_dsn = false;
    rig_check_message(r->taken, 9, 1, 3000);
}

/* An old seq never means another message, not even after everything is gone. */
static void
test_seq_grows(void **state)
{
    struct spool_rig *r = *state;
    uint64_t last = 0;

    for (int i = 0; i < 4; i++) {
        uint64_t seq;

        rig_open(r);
        assert_int_equal(r->n_found, 0);
        seq = rig_add_new(r, i, 1, 10);
        assert_true(seq > last);
        last = seq;
        rig_deliver(r, seq);
        rig_close(r);
    }
}

/* What was in flight when the node ended is uncertain, then the operator's; others are as they were. */
static void
test_in_flight_at_start(void **state)
{
    struct spool_rig *r = *state;
    int64_t now = clock_utc_ms();
    uint64_t seq;

    rig_open(r);
    rig_add_new(r, 1, 1, 10);
    seq = rig_add_new(r, 2, 2, 10);
    assert_int_equal(rig_take(r, seq, now, false), SPOOL_DONE);
    rig_close(r);
    rig_open(r);
    assert_true(metric_get(r->metrics, M_UNCERTAIN, NULL, NULL, NULL) == 2);
    assert_int_equal(r->found[0].due_utc_ms, 0);
    assert_true(r->found[1].due_utc_ms >= now + r->conf.uncertain_ms);
    assert_int_equal(rig_take(r, seq, now, false), SPOOL_DONE); /* not due */
    assert_int_equal(r->taken->states[0].state, SPOOL_UNCERTAIN);
    assert_int_equal(r->taken->states[0].uncertain, 1);
    assert_int_equal(r->taken->states[0].attempts, 1); /* of which that was one */
    assert_int_equal(rig_take(r, seq, now + 2 * r->conf.uncertain_ms, false), SPOOL_DONE);
    assert_int_equal(r->taken->states[0].state, SPOOL_IN_FLIGHT);
    rig_close(r);
    rig_open(r);
    assert_true(r->found[1].due_utc_ms == INT64_MAX);
    assert_int_equal(rig_take(r, seq, now + 9 * r->conf.uncertain_ms, false), SPOOL_DONE);
    assert_int_equal(r->taken->states[0].state, SPOOL_PARKED);
    assert_int_equal(rig_status(r).parked, 1);
}

/* A due time beyond everything the settings allow was written under a wrong clock. */
static void
test_due_far_away(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 2, 10);
    int64_t now = clock_utc_ms(), allowed = now + INT64_C(48) * 3600000;

    m->states[0].due_utc_ms = now + INT64_C(400) * 86400000;
    m->states[1].due_utc_ms = allowed;
    rig_open(r);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_close(r);
    rig_open(r);
    assert_int_equal(rig_take(r, m->seq, 0, false), SPOOL_DONE);
    assert_true(r->taken->states[0].due_utc_ms >= now + r->conf.retry_max_ms);
    assert_true(r->taken->states[0].due_utc_ms <= clock_utc_ms() + r->conf.retry_max_ms);
    assert_true(r->taken->states[1].due_utc_ms == allowed);
    rig_message_free(&m);
}

/* A take that nobody wants any more is undone: the message may be taken again. */
static void
test_forget_take(void **state)
{
    struct spool_rig *r = *state;
    struct handle h;
    uint64_t seq;

    rig_open(r);
    seq = rig_add_new(r, 1, 1, 100);
    h = spool_take(r->spool, seq, 1, r->pool, rig_taken, r);
    spool_forget(r->spool, h);
    while (rig_take(r, seq, 1, true) == SPOOL_BUSY)
        ;
    assert_int_equal(r->result, SPOOL_DONE);
    rig_check_message(r->taken, 1, 1, 100);
}

/* Who ends before he heard the answer offered nothing: no message is uncertain for that. */
static void
test_take_nobody_heard_of(void **state)
{
    struct spool_rig *r = *state;
    struct spool_filter waiting = {.state = "waiting"};
    uint64_t small, large;

    rig_open(r);
    small = rig_add_new(r, 1, 2, 100);
    large = rig_add_new(r, 2, 1, 700000); /* comes in slices */
    (void)spool_take(r->spool, small, 1, r->pool, rig_taken, r);
    (void)spool_take(r->spool, large, 1, r->pool, rig_taken, r);
    rig_close(r);
    rig_open(r);
    assert_int_equal(rig_list(r, &waiting), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 2);
    assert_int_equal(rig_take(r, large, 1, true), SPOOL_DONE);
    assert_int_equal(r->taken->states[0].uncertain, 0);
    rig_check_message(r->taken, 2, 1, 700000);
}

/* Found in order of seq, and the loop turns meanwhile. */
static void
test_many_found(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *all[2500];

    rig_open(r);
    for (int i = 0; i < 2500; i++)
        all[i] = rig_message(r, i, 1, 10);
    spool_add(r->spool, all, 2500, rig_done, r);
    rig_close(r);
    for (int i = 0; i < 2500; i++)
        rig_message_free(&all[i]);
    rig_open(r);
    assert_int_equal(r->n_found, 2500);
    for (int i = 0; i < 2500; i++)
        assert_int_equal(r->found[i].seq, i + 1);
}

static void
test_files(void **state)
{
    struct spool_rig *r = *state;
    char path[128];
    struct stat st;

    rig_open(r);
    assert_int_equal(stat(r->folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    snprintf(path, sizeof(path), "%s/spool.db", r->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(path, sizeof(path), "%s/spool.db-wal", r->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* What was delivered gives its space back to the file system while nothing else is to be done. */
static void
test_space_given_back(void **state)
{
    struct spool_rig *r = *state;
    char path[128];
    struct stat st;

    rig_open(r);
    rig_deliver(r, rig_add_new(r, 1, 1, 3000000));
    rig_close(r);
    snprintf(path, sizeof(path), "%s/spool.db", r->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 3000000);
    rig_open(r);
    for (int i = 0; i < 5; i++) {
        r->spool->looks = false;
        timer_start(&r->spool->look, 0);
        while (!r->spool->looks)
            loop_turn(r->loop, 50);
        while (r->spool->looks)
            loop_turn(r->loop, 50);
    }
    rig_close(r);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 200000);
}

/* The guard refuses new messages, lets everything else go on, and ends by itself. */
static void
test_full(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 2, 1, 10);
    uint64_t limit = r->conf.size_limit_bytes, seq;
    enum spool_result why;

    rig_open(r);
    seq = rig_add_new(r, 1, 1, 10);
    r->conf.size_limit_bytes = UINT64_C(1) << 60;
    spool_configure(r->spool, &r->conf);
    rig_wait_state(r, SPOOL_FULL);
    assert_false(spool_takes(r->spool, &why));
    assert_int_equal(why, SPOOL_NO_SPACE);
    assert_int_equal(rig_add(r, m), SPOOL_NO_SPACE);
    assert_true(metric_get(r->metrics, M_SPOOL_REFUSED, "no_space", NULL, NULL) == 1);
    assert_non_null(strstr(rig_status(r).why, "MiB free"));
    assert_int_equal(rig_take(r, seq, 1, true), SPOOL_DONE);
    assert_int_equal(rig_settle(r, r->taken), SPOOL_DONE);
    r->conf.size_limit_bytes = limit;
    spool_configure(r->spool, &r->conf);
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_message_free(&m);
}

/* What is added to a file that is not in the folder any more is lost at the next start. What waits in it
 * leaves all the same. */
static void
expect_moved(struct spool_rig *r, const char *suffix)
{
    struct spool_message *m = rig_message(r, 2, 1, 10);
    char path[600], away[620];
    uint64_t seq = rig_add_new(r, 1, 1, 10);

    snprintf(path, sizeof(path), "%s/spool.db%s", r->conf.folder, suffix);
    snprintf(away, sizeof(away), "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(rig_add(r, m), SPOOL_FAILED);
    rig_wait_state(r, SPOOL_FULL);
    assert_non_null(strstr(rig_status(r).why, "moved or removed"));
    assert_int_equal(rig_take(r, seq, 1, true), SPOOL_DONE);
    assert_int_equal(rig_settle(r, r->taken), SPOOL_DONE);
    assert_int_equal(rename(away, path), 0);
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_message_free(&m);
}

static void
test_moved(void **state)
{
    struct spool_rig *r = *state;

    rig_open(r);
    expect_moved(r, "");
    expect_moved(r, "-wal");
}

static void
refuse_place(struct spool_rig *r, const char *why)
{
    struct spool_setup setup = {.loop = r->loop, .metrics = r->metrics};
    struct err err = {""};

    assert_null(spool_new(&setup, &r->conf, &err));
    assert_non_null(strstr(err.text, why));
}

static void
test_place(void **state)
{
    struct spool_rig *r = *state;
    char inside[128];
    FILE *f;

    rig_open(r);
    refuse_place(r, "another sendgovd");
    rig_close(r);
    assert_int_equal(chmod(r->folder, 0755), 0);
    refuse_place(r, "chmod 0700");
    assert_int_equal(chmod(r->folder, 0700), 0);
    snprintf(inside, sizeof(inside), "%s/file", r->base);
    f = fopen(inside, "w");
    assert_non_null(f);
    fclose(f);
    r->conf.folder = inside;
    refuse_place(r, "cannot open");
    assert_int_equal(unlink(inside), 0);
    assert_int_equal(symlink(r->folder, inside), 0);
    refuse_place(r, "cannot open");
    assert_int_equal(unlink(inside), 0);
}

static void
change_file(struct spool_rig *r, const char *sql)
{
    sqlite3 *db;
    char path[128];

    snprintf(path, sizeof(path), "%s/spool.db", r->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A file of a later version is left alone. */
static void
test_newer_schema(void **state)
{
    struct spool_rig *r = *state;

    rig_open(r);
    rig_add_new(r, 1, 1, 10);
    rig_close(r);
    change_file(r, "PRAGMA user_version = 99; UPDATE meta SET value = 99 WHERE key = 'schema'");
    rig_open(r);
    assert_int_equal(rig_status(r).state, SPOOL_SICK);
    assert_non_null(strstr(rig_status(r).why, "newer sendgov"));
    rig_close(r);
    change_file(r, "PRAGMA user_version = 1; UPDATE meta SET value = 1 WHERE key = 'schema'");
    rig_open(r);
    assert_int_equal(rig_take(r, 1, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, 1, 1, 10);
}

/* A file of version 0 had no tables yet. */
static void
test_older_schema(void **state)
{
    struct spool_rig *r = *state;

    assert_int_equal(mkdir(r->folder, 0700), 0);
    change_file(r, "PRAGMA application_id = 1936159600; VACUUM");
    rig_open(r);
    assert_int_equal(rig_status(r).state, SPOOL_READY);
    assert_int_equal(rig_status(r).damaged, 0);
    assert_int_equal(rig_add_new(r, 1, 1, 10), 1);
}

/* One damaged message is put aside, counted and said; the others do not suffer. */
static void
test_damaged_message(void **state)
{
    struct spool_rig *r = *state;

    rig_open(r);
    for (int i = 1; i <= 5; i++)
        rig_add_new(r, i, 1, 100);
    rig_close(r);
    change_file(r, "UPDATE chunk SET bytes = zeroblob(100) WHERE id = 2 << 16;"
        "UPDATE recipient SET due_utc_ms = 7 WHERE seq = 4");
    rig_open(r);
    assert_int_equal(r->n_found, 4); /* the envelope of one is read at start */
    assert_int_equal(rig_status(r).damaged, 1);
    assert_int_equal(rig_take(r, 2, 1, true), SPOOL_DAMAGED);
    assert_null(r->taken);
    assert_int_equal(rig_take(r, 2, 1, true), SPOOL_GONE);
    assert_int_equal(rig_status(r).damaged, 2);
    assert_int_equal(rig_status(r).messages, 3);
    assert_true(metric_get(r->metrics, M_SPOOL_DAMAGED, NULL, NULL, NULL) == 2);
    for (int i = 1; i <= 5; i += 2) {
        assert_int_equal(rig_take(r, (uint64_t)i, 1, true), SPOOL_DONE);
        rig_check_message(r->taken, i, 1, 100);
    }
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->n_found, 3);
    assert_int_equal(rig_status(r).damaged, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_large_does_not_block, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_free_carries_out, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_add_together, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_take_marks_due, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_settle_keeps_body, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_settle_with_notification, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_seq_grows, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_in_flight_at_start, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_due_far_away, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_forget_take, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_take_nobody_heard_of, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_many_found, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_files, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_space_given_back, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_full, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_moved, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_place, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_newer_schema, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_older_schema, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_message, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
