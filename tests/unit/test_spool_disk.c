/* Unit tests of the spool on a disk that fails. A VFS between SQLite and the system lets the N-th operation
 * fail, once or from then on, for N from 1 until nothing fails any more. Whatever fails: a message that was
 * taken is there afterwards, one that was refused is not, and the spool works again by itself. */
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/spool/spool_part.h"
#include "tests/lib/spool_rig.h"

/* ---- a disk that fails ---- */

enum fault { FAULT_IO, FAULT_SPACE };

static struct {
    atomic_long left; /* operations until it fails; negative: never */
    atomic_bool stays;
    atomic_bool failed;
    enum fault fault;
} disk;

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs;

static void
break_disk(long at, enum fault fault, bool stays)
{
    disk.fault = fault;
    atomic_store(&disk.stays, stays);
    atomic_store(&disk.failed, false);
    atomic_store(&disk.left, at);
}

static void
heal_disk(void)
{
    atomic_store(&disk.left, -1);
}

static bool
fails(void)
{
    long left = atomic_load(&disk.left);

    if (left < 0)
        return false;
    if (left > 1) {
        atomic_store(&disk.left, left - 1);
        return false;
    }
    atomic_store(&disk.failed, true);
    if (!atomic_load(&disk.stays))
        atomic_store(&disk.left, -1);
    return true;
}

static sqlite3_file *
real_of(sqlite3_file *f)
{
    return ((struct shim_file *)f)->real;
}

static int
shim_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int
shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

/* A write that fails may have written a part. */
static int
shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (!fails())
        return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
    real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
    return disk.fault == FAULT_SPACE ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int
shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

/* What was written before stays written: it may be found after all. */
static int
shim_sync(sqlite3_file *f, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int
shim_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int
shim_lock(sqlite3_file *f, int kind)
{
    return real_of(f)->pMethods->xLock(real_of(f), kind);
}

static int
shim_unlock(sqlite3_file *f, int kind)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), kind);
}

static int
shim_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int
shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int
shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int
shim_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static const sqlite3_io_methods shim_methods = {1, shim_close, shim_read, shim_write, shim_truncate,
    shim_sync, shim_size, shim_lock, shim_unlock, shim_reserved, shim_control, shim_sector, shim_traits, NULL,
    NULL, NULL, NULL, NULL, NULL};

static int
shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *flags_out)
{
    struct shim_file *file = (struct shim_file *)f;
    int rc;

    (void)vfs;
    file->base.pMethods = NULL;
    if (fails())
        return SQLITE_CANTOPEN;
    file->real = (sqlite3_file *)(file + 1);
    rc = real_vfs->xOpen(real_vfs, name, file->real, flags, flags_out);
    if (file->real->pMethods != NULL)
        file->base.pMethods = &shim_methods;
    return rc;
}

static int
shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    return fails() ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, sync_folder);
}

static int
use_shim(void **state)
{
    static sqlite3_vfs vfs;

    (void)state;
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "failing";
    vfs.szOsFile += (int)sizeof(struct shim_file);
    vfs.xOpen = shim_open;
    vfs.xDelete = shim_delete;
    heal_disk();
    return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK ? 0 : -1;
}

/* ---- what was done, and what must be true afterwards ---- */

#define MESSAGES 6
#define LARGE 1200000 /* more than a slice */
static size_t bodies[MESSAGES] = {500, 0, 9000, 20000, 100, 3000};

struct history {
    struct spool_rig *rig;
    struct spool_message *messages[MESSAGES];
    enum spool_result added[MESSAGES];
    bool removed[MESSAGES];
    bool settled; /* it was tried, for the first */
};

struct one {
    struct history *h;
    int n;
};

static void
on_added(void *arg, enum spool_result result)
{
    struct one *one = arg;

    one->h->added[one->n] = result;
    one->h->rig->answers++;
}

static void
add_some(struct history *h, int from, int to)
{
    struct one ones[MESSAGES];

    for (int n = from; n < to; n++) {
        ones[n] = (struct one){h, n};
        spool_add(h->rig->spool, &h->messages[n], 1, on_added, &ones[n]);
        h->rig->wanted++;
    }
    rig_wait(h->rig);
}

static void
deliver(struct history *h, int n)
{
    struct spool_message *gone = spool_message_new();

    gone->seq = h->messages[n]->seq;
    if (rig_take(h->rig, gone->seq, 1, false) == SPOOL_DONE) {
        h->settled = true;
        h->removed[n] = rig_settle(h->rig, gone) == SPOOL_DONE;
    }
    spool_message_free(&gone, false);
}

static void
deliver_again(struct history *h, int n)
{
    struct spool_message *gone = spool_message_new();

    gone->seq = h->messages[n]->seq;
    assert_int_equal(rig_settle(h->rig, gone), SPOOL_DONE);
    h->removed[n] = true;
    spool_message_free(&gone, false);
}

/* A failed disk is looked at again every few seconds; here at once. */
static void
recover(struct spool_rig *r)
{
    heal_disk();
    for (int i = 0; i < 3; i++) {
        struct spool_status status;

        spool_status(r->spool, &status);
        if (status.state == SPOOL_READY)
            return;
        if (r->spool->reopen_mono_ms != 0) {
            r->spool->reopen_mono_ms = 1;
            timer_start(&r->spool->look, 0);
        }
        rig_wait_state(r, SPOOL_READY);
    }
}

/* A message in flight was taken and its settlement refused: whoever holds it settles it again. That finds it
 * gone when the refused one is in the file after all. */
static void
check_message(struct history *h, int n, long at)
{
    struct spool_rig *r = h->rig;
    uint64_t seq = h->messages[n]->seq;
    enum spool_result result = rig_take(r, seq, INT64_MAX - 1, true);

    if (h->added[n] != SPOOL_DONE || h->removed[n]) {
        if (result != SPOOL_GONE)
            fail_msg("failure %ld: message %d is there (%s), added %s", at, n, spool_result_to_str(result),
                spool_result_to_str(h->added[n]));
        return;
    }
    if (n == 0 && h->settled && (result == SPOOL_BUSY || result == SPOOL_GONE)) {
        deliver_again(h, n);
        return;
    }
    if (result != SPOOL_DONE)
        fail_msg("failure %ld: message %d was taken, and is %s", at, n, spool_result_to_str(result));
    rig_check_message(r->taken, n, 1, bodies[n]);
    memset(r->taken->states, 0, sizeof(*r->taken->states));
    r->taken->states[0] = h->messages[n]->states[0];
    assert_int_equal(rig_settle(r, r->taken), SPOOL_DONE);
}

static void
check_all(struct history *h, long at)
{
    struct spool_status status;
    uint64_t there = 0;

    for (int n = 0; n < MESSAGES; n++) {
        check_message(h, n, at);
        there += h->added[n] == SPOOL_DONE && !h->removed[n];
    }
    spool_status(h->rig->spool, &status);
    assert_int_equal(status.messages, there);
    assert_int_equal(status.damaged, 0);
}

/* False: nothing failed, the end of the history came first. */
static bool
live_through(long at, enum fault fault, bool stays)
{
    struct history h = {.rig = NULL};
    void *state;
    bool failed;

    assert_int_equal(rig_set_up_fast(&state), 0);
    h.rig = state;
    for (int n = 0; n < MESSAGES; n++)
        h.messages[n] = rig_message(h.rig, n, 1, bodies[n]);
    break_disk(at, fault, stays);
    rig_open(h.rig);
    add_some(&h, 0, 3);
    deliver(&h, 0);
    add_some(&h, 3, 5);
    failed = atomic_load(&disk.failed);
    recover(h.rig);
    add_some(&h, 5, 6);
    assert_int_equal(h.added[5], SPOOL_DONE);
    check_all(&h, at);
    rig_close(h.rig);
    rig_open(h.rig);
    check_all(&h, at);
    for (int n = 0; n < MESSAGES; n++)
        rig_message_free(&h.messages[n]);
    assert_int_equal(rig_tear_down(&state), 0);
    return failed;
}

static void
try_all(enum fault fault, bool stays)
{
    long at = 1;

    while (live_through(at, fault, stays))
        at++;
    assert_true(at > 20); /* there was something to fail */
}

/* The same with a body of several transactions; it has very many operations, so not each is tried. */
static void
test_large_body(void **state)
{
    size_t before = bodies[3];
    long at = 1;

    (void)state;
    bodies[3] = LARGE;
    for (int i = 0; live_through(at, i % 2 ? FAULT_IO : FAULT_SPACE, i % 4 < 2); i++)
        at += 17;
    bodies[3] = before;
    assert_true(at > 500);
}

static void
test_io_error_once(void **state)
{
    (void)state;
    try_all(FAULT_IO, false);
}

static void
test_io_error_stays(void **state)
{
    (void)state;
    try_all(FAULT_IO, true);
}

static void
test_no_space_once(void **state)
{
    (void)state;
    try_all(FAULT_SPACE, false);
}

static void
test_no_space_stays(void **state)
{
    (void)state;
    try_all(FAULT_SPACE, true);
}

/* No space is no sickness: what does not fit is refused, what frees space goes on, and nothing has to be
 * opened anew. */
static void
test_no_space_keeps_handle(void **state)
{
    struct spool_rig *r = *state;
    struct history h = {.rig = r};
    struct spool_status status;

    for (int n = 0; n < MESSAGES; n++)
        h.messages[n] = rig_message(r, n, 1, bodies[n]);
    rig_open(r);
    add_some(&h, 0, 2);
    break_disk(1, FAULT_SPACE, true);
    add_some(&h, 2, 5);
    for (int n = 2; n < 5; n++)
        assert_int_equal(h.added[n], SPOOL_NO_SPACE);
    spool_status(r->spool, &status);
    assert_int_equal(status.state, SPOOL_READY);
    heal_disk();
    add_some(&h, 5, 6);
    check_all(&h, 0);
    for (int n = 0; n < MESSAGES; n++)
        rig_message_free(&h.messages[n]);
}

/* A settlement nobody waits for is tried again until there is space. */
static void
test_no_space_to_settle(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *gone = spool_message_new();

    rig_open(r);
    gone->seq = rig_add_new(r, 1, 1, 100);
    break_disk(1, FAULT_SPACE, true);
    spool_settle(r->spool, gone, NULL, 0, NULL, NULL);
    assert_int_equal(rig_take(r, gone->seq, 1, false), SPOOL_NO_SPACE);
    heal_disk();
    r->spool->looks = false;
    timer_start(&r->spool->look, 0);
    while (!list_is_empty(&r->spool->again) || r->spool->asks.live > 0)
        loop_turn(r->loop, 50);
    assert_int_equal(rig_take(r, gone->seq, 1, false), SPOOL_GONE);
    spool_message_free(&gone, false);
}

/* A settlement nobody waits for is carried out when the disk works again, and what is found again is all but
 * what is in somebody's hands. */
static void
test_sick_and_back(void **state)
{
    struct spool_rig *r = *state;
    struct history h = {.rig = r};
    struct spool_message *gone = spool_message_new();
    enum spool_result why;

    for (int n = 0; n < MESSAGES; n++)
        h.messages[n] = rig_message(r, n, 1, bodies[n]);
    rig_open(r);
    add_some(&h, 0, 5);
    rig_take(r, h.messages[0]->seq, 1, false);
    rig_take(r, h.messages[1]->seq, 1, false);
    r->n_found = 0;
    break_disk(1, FAULT_IO, true);
    gone->seq = h.messages[0]->seq;
    spool_settle(r->spool, gone, NULL, 0, NULL, NULL);
    rig_wait_state(r, SPOOL_SICK);
    assert_false(spool_takes(r->spool, &why));
    assert_int_equal(why, SPOOL_FAILED);
    assert_int_equal(rig_take(r, h.messages[2]->seq, 1, false), SPOOL_FAILED);
    recover(r);
    assert_int_equal(rig_take(r, h.messages[0]->seq, 1, false), SPOOL_GONE);
    assert_int_equal(rig_take(r, h.messages[1]->seq, 1, false), SPOOL_BUSY);
    assert_true(r->n_found == 3 || r->n_found == 4);
    assert_int_equal(r->found[r->n_found - 1].seq, h.messages[4]->seq);
    spool_message_free(&gone, false);
    for (int n = 0; n < MESSAGES; n++)
        rig_message_free(&h.messages[n]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_error_once),
        cmocka_unit_test(test_io_error_stays),
        cmocka_unit_test(test_no_space_once),
        cmocka_unit_test(test_no_space_stays),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test_setup_teardown(test_no_space_keeps_handle, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_no_space_to_settle, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_sick_and_back, rig_set_up_fast, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, use_shim, NULL);
}
