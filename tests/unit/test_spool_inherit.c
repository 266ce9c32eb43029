/* Unit tests of a spool that another process still has: what is to be stored meanwhile waits, in its order,
 * and is stored first of all, or is answered no. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/spool/spool_part.h"
#include "tests/lib/spool_rig.h"

#define EARLY 4

/* The old process' spool, with messages 1 to n; the rig has none then. */
static struct spool *
predecessor(struct spool_rig *r, int n)
{
    struct spool *old;

    rig_open(r);
    for (int i = 1; i <= n; i++)
        rig_add_new(r, i, 1, 1000);
    old = r->spool;
    r->spool = NULL;
    return old;
}

/* The lock was asked for more than once. */
static void
turn_a_while(struct spool_rig *r)
{
    for (int64_t until = clock_mono_ms() + 60; clock_mono_ms() < until;)
        loop_turn(r->loop, 10);
}

static void
wait_answers(struct spool_rig *r, size_t n)
{
    r->wanted += n;
    rig_wait(r);
}

static void
check_stored(struct spool_rig *r, uint64_t seq, int n, size_t body_bytes)
{
    assert_int_equal(rig_take(r, seq, 1, true), SPOOL_DONE);
    rig_check_message(r->taken, n, 1, body_bytes);
}

static void
test_stored_when_it_is_ours(void **state)
{
    static const size_t sizes[EARLY] = {500, 300000, 0, 70000};
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 3);
    struct spool_message *m[EARLY], *late = rig_message(r, 20, 1, 10);
    size_t answers = r->answers;
    enum spool_result why;
    uint64_t first;

    rig_start(r, true);
    assert_true(spool_takes(r->spool, &why));
    for (int i = 0; i < EARLY; i++)
        m[i] = rig_message(r, 10 + i, 1, sizes[i]);
    spool_add(r->spool, m, 2, rig_done, r); /* together */
    spool_add(r->spool, m + 2, 1, rig_done, r);
    turn_a_while(r);
    spool_add(r->spool, m + 3, 1, rig_done, r);
    turn_a_while(r);
    assert_int_equal(r->answers, answers);
    assert_int_equal(rig_status(r).state, SPOOL_LOADING);
    assert_true(spool_takes(r->spool, &why));
    spool_free(&old);
    rig_wait_state(r, SPOOL_READY);
    wait_answers(r, 3);
    for (size_t i = answers; i < r->answers; i++)
        assert_int_equal(r->results[i], SPOOL_DONE);
    first = m[0]->seq;
    assert_true(first > 3);
    for (size_t i = 0; i < EARLY; i++)
        assert_int_equal(m[i]->seq, first + i);
    assert_int_equal(r->n_found, 3); /* the old one's; the others are known */
    for (int i = 0; i < 3; i++)
        assert_int_equal(r->found[i].seq, i + 1);
    assert_int_equal(rig_add(r, late), SPOOL_DONE);
    assert_int_equal(late->seq, first + EARLY);
    rig_message_free(&late);
    for (int i = 0; i < EARLY; i++)
        rig_message_free(&m[i]);
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->n_found, 3 + EARLY + 1);
    for (int i = 0; i < EARLY; i++)
        check_stored(r, first + (uint64_t)i, 10 + i, sizes[i]);
}

/* Nobody has it any more: nothing is to be waited for. */
static void
test_free_already(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1);
    struct spool_message *m = rig_message(r, 2, 1, 100);

    spool_free(&old);
    rig_start(r, true);
    spool_add(r->spool, &m, 1, rig_done, r);
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_DONE);
    assert_true(m->seq > 1);
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(r->n_found, 1);
    rig_message_free(&m);
}

/* The lock is ours, and the files cannot be had. */
static void
test_opening_fails(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1);
    struct spool_message *m = rig_message(r, 2, 1, 100);
    char file[128], away[136];
    enum spool_result why;

    snprintf(file, sizeof(file), "%s/spool.db", r->folder);
    snprintf(away, sizeof(away), "%s.away", file);
    rig_start(r, true);
    spool_add(r->spool, &m, 1, rig_done, r);
    turn_a_while(r);
    spool_free(&old);
    assert_int_equal(rename(file, away), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_FAILED);
    rig_wait_state(r, SPOOL_SICK);
    assert_false(spool_takes(r->spool, &why));
    assert_int_equal(why, SPOOL_FAILED);
    assert_int_equal(rig_add(r, m), SPOOL_FAILED);
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(rename(away, file), 0);
    r->spool->reopen_mono_ms = 1; /* the time has come */
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(r->n_found, 1);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_message_free(&m);
}

static void
test_full(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1);
    struct spool_message *m = rig_message(r, 2, 1, 100);

    r->conf.size_limit_bytes = UINT64_C(1) << 60;
    rig_start(r, true);
    spool_add(r->spool, &m, 1, rig_done, r);
    turn_a_while(r);
    spool_free(&old);
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_NO_SPACE);
    rig_wait_state(r, SPOOL_FULL);
    assert_int_equal(r->n_found, 1);
    check_stored(r, 1, 1, 1000);
    rig_message_free(&m);
}

/* What no accepted message can be like is refused at once, early or not. */
static void
test_unsound(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 0);
    struct spool_message *m = rig_message(r, 1, 1, 100);

    m->id[0] = '\0';
    rig_start(r, true);
    assert_int_equal(rig_add(r, m), SPOOL_FAILED);
    rig_message_free(&m);
    spool_free(&old);
}

/* It ends before the old one does: nothing is answered, nothing is kept, nothing was written. */
static void
test_freed_with_messages_waiting(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1);
    struct spool_message *m[] = {rig_message(r, 2, 1, 100), rig_message(r, 3, 1, 300000)};
    size_t answers = r->answers;

    rig_start(r, true);
    for (int i = 0; i < 2; i++)
        spool_add(r->spool, &m[i], 1, rig_done, r);
    turn_a_while(r);
    rig_close(r);
    assert_int_equal(r->answers, answers);
    for (int i = 0; i < 2; i++)
        rig_message_free(&m[i]);
    spool_free(&old);
    rig_open(r);
    assert_int_equal(r->n_found, 1);
}

/* The old one takes longer than a client can be kept waiting; the lock is asked for all the same. */
static void
test_patience_ends(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1);
    struct spool_message *m = rig_message(r, 2, 1, 100);
    enum spool_result why;
    int64_t left_ms;

    rig_start(r, true);
    left_ms = r->spool->early_until_mono_ms - clock_mono_ms();
    assert_in_range(left_ms, 55000, 60000);
    spool_add(r->spool, &m, 1, rig_done, r);
    turn_a_while(r);
    r->spool->early_until_mono_ms = clock_mono_ms(); /* that time has passed */
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_FAILED);
    assert_false(spool_takes(r->spool, &why));
    assert_int_equal(why, SPOOL_FAILED);
    assert_int_equal(rig_add(r, m), SPOOL_FAILED);
    assert_int_equal(rig_status(r).state, SPOOL_LOADING);
    turn_a_while(r);
    spool_free(&old);
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(r->n_found, 1); /* what was answered no is not there */
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    rig_message_free(&m);
}

/* An upgrade before the last one's old process has ended: the lock goes to one of the two, and what the other
 * was given waits on. */
static void
test_two_wait(void **state)
{
    struct spool_rig *r = *state;
    struct spool *old = predecessor(r, 1), *second;
    struct spool_message *m[] = {rig_message(r, 2, 1, 100), rig_message(r, 3, 1, 100)};
    bool second_has_it;

    rig_start(r, true);
    spool_add(r->spool, &m[0], 1, rig_done, r);
    second = r->spool;
    rig_start(r, true);
    spool_add(r->spool, &m[1], 1, rig_done, r);
    turn_a_while(r);
    spool_free(&old);
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_DONE);
    turn_a_while(r);
    second_has_it = second->early_until_mono_ms == 0;
    assert_true(second_has_it != (r->spool->early_until_mono_ms == 0));
    spool_free(second_has_it ? &second : &r->spool);
    wait_answers(r, 1);
    assert_int_equal(r->result, SPOOL_DONE);
    spool_free(second_has_it ? &r->spool : &second);
    assert_true(m[second_has_it ? 0 : 1]->seq > 1);
    assert_true(m[second_has_it ? 1 : 0]->seq > m[second_has_it ? 0 : 1]->seq);
    rig_open(r);
    assert_int_equal(r->n_found, 3);
    for (int i = 0; i < 2; i++) {
        check_stored(r, m[i]->seq, 2 + i, 100);
        rig_message_free(&m[i]);
    }
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_stored_when_it_is_ours),
        CASE(test_free_already),
        CASE(test_opening_fails),
        CASE(test_full),
        CASE(test_unsound),
        CASE(test_freed_with_messages_waiting),
        CASE(test_patience_ends),
        CASE(test_two_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
