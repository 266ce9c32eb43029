/* Unit tests of the rows of a message with many recipients: what is stored is what was said, and no more is
 * written than changed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "relay/base/xmalloc.h"
#include "tests/lib/spool_rig.h"

static off_t
wal_bytes(struct spool_rig *r)
{
    char path[160];
    struct stat st;

    snprintf(path, sizeof(path), "%s/spool.db-wal", r->folder);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void
drop_recipient(struct spool_message *m, size_t i)
{
    struct envelope *e = &m->envelope;

    address_fini(&e->recipients[i].address);
    free(e->recipients[i].orcpt);
    e->n_recipients--;
    memmove(&e->recipients[i], &e->recipients[i + 1], (e->n_recipients - i) * sizeof(*e->recipients));
    memmove(&m->states[i], &m->states[i + 1], (e->n_recipients - i) * sizeof(*m->states));
}

/* One of 500 is due and goes: neither the take nor the settlement writes the rows of the others. */
static void
test_few_rows_written(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 500, 10);
    off_t before;

    for (size_t i = 0; i < 500; i++) {
        reply_set(&m->states[i].reply, 451, "4.7.500", "%0200d", 0);
        m->states[i].due_utc_ms = i == 3 ? 1 : 5000;
    }
    rig_open(r);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    before = wal_bytes(r);
    assert_true(before > 100000);
    assert_int_equal(rig_take(r, m->seq, 1, false), SPOOL_DONE);
    assert_int_equal(r->taken->states[3].state, SPOOL_IN_FLIGHT);
    assert_in_range(wal_bytes(r), before + 1, before + 10 * 4096);
    before = wal_bytes(r);
    drop_recipient(r->taken, 3);
    assert_int_equal(rig_settle(r, r->taken), SPOOL_DONE);
    assert_in_range(wal_bytes(r), before + 1, before + 10 * 4096);
    rig_message_free(&m);
}

#define SOME 12

/* Two are the same address: a client may say it twice. */
static struct spool_message *
message_with_twins(struct spool_rig *r)
{
    struct spool_message *m = rig_message(r, 1, SOME, 10);

    address_fini(&m->envelope.recipients[7].address);
    address_copy(&m->envelope.recipients[4].address, &m->envelope.recipients[7].address);
    for (size_t i = 0; i < SOME; i++)
        m->states[i].spent_ms = (int64_t)i; /* tells them apart */
    return m;
}

static void
expect_recipients(const struct spool_message *got, const struct spool_message *expected)
{
    size_t n = expected->envelope.n_recipients;

    assert_int_equal(got->envelope.n_recipients, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(got->envelope.recipients[i].address.text,
            expected->envelope.recipients[i].address.text);
        assert_int_equal(got->states[i].spent_ms, expected->states[i].spent_ms);
        assert_int_equal(got->states[i].due_utc_ms, expected->states[i].due_utc_ms);
        assert_int_equal(got->states[i].state, expected->states[i].state);
    }
}

/* Any of them go, any change, until nobody is left: what is stored is always what was said. */
static void
test_settle_any(void **state)
{
    struct spool_rig *r = *state;
    unsigned random = 1;

    rig_open(r);
    for (int round = 0; round < 30; round++) {
        struct spool_message *m = message_with_twins(r);

        assert_int_equal(rig_add(r, m), SPOOL_DONE);
        while (m->envelope.n_recipients > 0) {
            assert_int_equal(rig_take(r, m->seq, -1, false), SPOOL_DONE);
            expect_recipients(r->taken, m);
            for (size_t i = m->envelope.n_recipients; i > 0; i--) {
                random = random * 1103515245 + 12345;
                if ((random >> 16) % 4 == 0)
                    drop_recipient(m, i - 1);
                else if ((random >> 16) % 4 == 1)
                    m->states[i - 1].due_utc_ms += 7;
            }
            assert_int_equal(rig_settle(r, m), SPOOL_DONE);
        }
        assert_int_equal(rig_take(r, m->seq, 1, false), SPOOL_GONE);
        rig_message_free(&m);
    }
}

/* The order is the caller's. */
static void
test_settle_reversed(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = message_with_twins(r);

    rig_open(r);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    for (size_t i = 0; i < SOME / 2; i++) {
        struct recipient to = m->envelope.recipients[i];
        struct spool_recipient s = m->states[i];

        m->envelope.recipients[i] = m->envelope.recipients[SOME - 1 - i];
        m->envelope.recipients[SOME - 1 - i] = to;
        m->states[i] = m->states[SOME - 1 - i];
        m->states[SOME - 1 - i] = s;
    }
    assert_int_equal(rig_settle(r, m), SPOOL_DONE);
    rig_close(r);
    rig_open(r);
    assert_int_equal(rig_take(r, m->seq, -1, false), SPOOL_DONE);
    expect_recipients(r->taken, m);
    assert_int_equal(rig_status(r).damaged, 0);
    rig_message_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_few_rows_written, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_settle_any, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_settle_reversed, rig_set_up_fast, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
