/* Unit tests of the operator's view of the spool: what is listed, and what orders do. */
#include "tests/lib/spool_rig.h"

static void
expect_list(struct spool_rig *r, const struct spool_filter *filter, size_t n, uint64_t first, bool more)
{
    assert_int_equal(rig_list(r, filter), SPOOL_DONE);
    assert_int_equal(r->n_seqs, n);
    assert_int_equal(r->more, more);
    if (n > 0)
        assert_int_equal(r->seqs[0], first);
}

static void
test_list(void **state)
{
    struct spool_rig *r = *state;

    rig_open(r);
    for (int i = 1; i <= 30; i++)
        rig_add_new(r, i, 1 + (size_t)i % 2, 10);
    rig_take(r, 5, 1, false);
    expect_list(r, &(struct spool_filter){.max = 0}, 30, 1, false);
    expect_list(r, &(struct spool_filter){.max = 30}, 30, 1, false);
    expect_list(r, &(struct spool_filter){.max = 10, .after_seq = 7}, 10, 8, true);
    expect_list(r, &(struct spool_filter){.id = "id17"}, 1, 17, false);
    expect_list(r, &(struct spool_filter){.client = "client1", .route = "m365"}, 10, 1, false);
    expect_list(r, &(struct spool_filter){.route = "other"}, 0, 0, false);
    expect_list(r, &(struct spool_filter){.mailbox = "relay@contoso.com"}, 15, 1, false);
    expect_list(r, &(struct spool_filter){.sender = "fROM3@Contoso.COM"}, 1, 3, false);
    expect_list(r, &(struct spool_filter){.sender_domain = "CONTOSO.com"}, 30, 1, false);
    expect_list(r, &(struct spool_filter){.sender_domain = "ntoso.com"}, 0, 0, false);
    expect_list(r, &(struct spool_filter){.sender_domain = "%"}, 0, 0, false);
    expect_list(r, &(struct spool_filter){.recipient = "TO901@example.net"}, 1, 9, false);
    expect_list(r, &(struct spool_filter){.recipient_domain = "example.net"}, 15, 1, false);
    expect_list(r, &(struct spool_filter){.before_utc_ms = 1000006}, 5, 1, false);
    expect_list(r, &(struct spool_filter){.state = "in_flight"}, 1, 5, false);
    expect_list(r, &(struct spool_filter){.state = "waiting", .client = "client2"}, 9, 2, false);
    expect_list(r, &(struct spool_filter){.state = "nonsense"}, 0, 0, false);
    expect_list(r, &(struct spool_filter){.state = "held", .client = ""}, 0, 0, false);
}

/* "<>" asks for the null sender; no sender asks for any. */
static void
test_list_null_sender(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 2, 1, 10);

    rig_open(r);
    rig_add_new(r, 1, 1, 10);
    address_fini(&m->envelope.sender);
    address_init(&m->envelope.sender);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    expect_list(r, &(struct spool_filter){.sender = "<>"}, 1, m->seq, false);
    expect_list(r, &(struct spool_filter){.sender = ""}, 2, 1, false);
    assert_int_equal(rig_take(r, m->seq, 1, false), SPOOL_DONE);
    assert_true(address_is_null(&r->taken->envelope.sender));
    rig_message_free(&m);
}

static void
test_orders(void **state)
{
    struct spool_rig *r = *state;
    struct spool_filter second = {.client = "client2"}, held = {.state = "held"};

    rig_open(r);
    for (int i = 1; i <= 9; i++)
        rig_add_new(r, i, 2, 10);
    rig_take(r, 2, 1, false);
    assert_int_equal(rig_order(r, SPOOL_HOLD, &second), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 2);
    assert_int_equal(r->busy, 1);
    assert_int_equal(r->seqs[0], 5);
    assert_true(r->due_utc_ms == INT64_MAX);
    assert_int_equal(rig_status(r).held, 2);
    assert_int_equal(rig_take(r, 5, INT64_MAX - 1, false), SPOOL_DONE); /* held: nothing of it is tried */
    assert_int_equal(r->taken->states[0].state, SPOOL_WAITING);
    assert_string_equal(r->taken->held_by, "uid=0");
    assert_string_equal(r->taken->held_why, "test");
    expect_list(r, &held, 2, 5, false);
    assert_int_equal(rig_order(r, SPOOL_DELETE, &(struct spool_filter){.id = "id8"}), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 1);
    assert_int_equal(rig_status(r).messages, 8);
    assert_int_equal(rig_order(r, SPOOL_RELEASE, &held), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 1);
    assert_int_equal(r->due_utc_ms, 0);
    assert_int_equal(rig_status(r).held, 0);
    assert_int_equal(rig_take(r, 8, 1, false), SPOOL_GONE);
}

static void
test_retry_order(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 2, 10);

    m->states[0].state = SPOOL_PARKED;
    m->states[0].due_utc_ms = 5000;
    m->states[1].due_utc_ms = 7000;
    rig_open(r);
    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    assert_int_equal(rig_order(r, SPOOL_RELEASE, &(struct spool_filter){.state = "parked"}), SPOOL_DONE);
    assert_int_equal(r->due_utc_ms, 5000);
    assert_int_equal(rig_status(r).parked, 0);
    assert_int_equal(rig_order(r, SPOOL_RETRY, &(struct spool_filter){.max = 0}), SPOOL_DONE);
    assert_int_equal(r->due_utc_ms, 0);
    rig_message_free(&m);
}

/* An order for more than one slice reaches all, and no more than it may. */
static void
test_order_slices(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *all[1300];

    rig_open(r);
    for (int i = 0; i < 1300; i++)
        all[i] = rig_message(r, i, 1, 10);
    spool_add(r->spool, all, 1300, rig_done, r);
    r->wanted++;
    rig_wait(r);
    assert_int_equal(rig_order(r, SPOOL_HOLD, &(struct spool_filter){.max = 700}), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 700);
    assert_int_equal(rig_order(r, SPOOL_DELETE, &(struct spool_filter){.max = 0}), SPOOL_DONE);
    assert_int_equal(r->n_seqs, 1300);
    assert_int_equal(r->seqs[1299], 1300);
    assert_int_equal(rig_status(r).messages, 0);
    for (int i = 0; i < 1300; i++)
        rig_message_free(&all[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_list, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_list_null_sender, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_orders, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_retry_order, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_order_slices, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
