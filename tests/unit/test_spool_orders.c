/* Unit tests of the operator's view of the spool: what is listed, and what orders do. */
#include <malloc.h>

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

/* What an operator asks for while an order of many slices is carried out. */
struct between {
    struct spool_rig *rig;
    int64_t first_due_utc_ms; /* of message 1, as it was told last */
    bool ordered;
};

static void
on_let_go(void *arg, enum spool_result result, const struct spool_ordered *slice)
{
    struct between *b = arg;

    assert_int_equal(slice->n, 1);
    b->first_due_utc_ms = slice->briefs[0].due_utc_ms;
    rig_done(b->rig, result);
}

static void
on_slice(void *arg, enum spool_result result, const struct spool_ordered *slice)
{
    static const struct spool_filter first = {.max = 1};
    struct between *b = arg;

    for (size_t i = 0; i < slice->n; i++)
        if (slice->briefs[i].seq == 1)
            b->first_due_utc_ms = slice->briefs[i].due_utc_ms;
    if (!b->ordered)
        spool_order(b->rig->spool, SPOOL_RELEASE, &first, "uid=0", "test", on_let_go, b);
    b->ordered = true;
    if (!slice->more)
        rig_done(b->rig, result);
}

/* The message is held by the first slice and let go before the last: whoever believes what he hears last
 * must not take it for held. */
static void
test_order_between_slices(void **state)
{
    static struct spool_message *all[1300];
    struct spool_rig *r = *state;
    struct between b = {.rig = r};

    rig_open(r);
    for (int i = 0; i < 1300; i++)
        all[i] = rig_message(r, i, 1, 10);
    spool_add(r->spool, all, 1300, rig_done, r);
    r->wanted++;
    rig_wait(r);
    spool_order(r->spool, SPOOL_HOLD, &(struct spool_filter){.max = 0}, "uid=0", "test", on_slice, &b);
    r->wanted += 2;
    rig_wait(r);
    assert_true(b.first_due_utc_ms < INT64_MAX);
    assert_int_equal(rig_take(r, 1, INT64_MAX, false), SPOOL_DONE);
    assert_false(r->taken->held);
    for (int i = 0; i < 1300; i++)
        rig_message_free(&all[i]);
}

/* ---- messages of very many recipients ---- */

#define WIDE 500 /* recipients of each */
#define WIDE_MESSAGES 60

/* Each recipient is a KiB in memory: all of them are 30 MB. The rest is SQLite's pages. */
#define HEAP_MAX (UINT64_C(12) << 20)

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

static uint64_t
heap_bytes(void)
{
#ifdef __SANITIZE_ADDRESS__
    extern size_t __sanitizer_get_current_allocated_bytes(void);

    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
#endif
}

static uint64_t most_bytes;

static void
note_heap(void)
{
    uint64_t bytes = heap_bytes();

    if (bytes > most_bytes)
        most_bytes = bytes;
}

static void
on_wide_found(void *arg, const struct spool_brief *brief)
{
    struct spool_rig *r = arg;

    assert_int_equal(brief->recipients, WIDE);
    assert_string_equal(brief->route, "m365");
    r->seqs[r->n_found++] = brief->seq;
    note_heap();
}

static void
on_nothing(void *arg)
{
    (void)arg;
}

static void
on_wide_ordered(void *arg, enum spool_result result, const struct spool_ordered *slice)
{
    struct spool_rig *r = arg;

    note_heap();
    for (size_t i = 0; i < slice->n; i++) {
        const struct spool_brief *brief = &slice->briefs[i];

        r->seqs[r->n_seqs++] = brief->seq;
        assert_string_equal(brief->class, "alerts");
        assert_string_equal(brief->mailbox, brief->seq % 2 ? "relay@contoso.com" : "");
    }
    r->busy += slice->busy;
    if (!slice->more)
        rig_done(r, result);
}

static void
add_wide(struct spool_rig *r)
{
    for (int i = 1; i <= WIDE_MESSAGES; i++)
        assert_int_equal(rig_add_new(r, i, WIDE, 10), i);
}

/* What is kept of an order does not grow with the recipients it reaches. */
static void
test_order_memory(void **state)
{
    struct spool_rig *r = *state;
    uint64_t before;

    rig_open(r);
    add_wide(r);
    assert_int_equal(rig_take(r, 9, 1, false), SPOOL_DONE);
    before = heap_bytes();
    assert_true(before > 0);
    most_bytes = 0;
    r->n_seqs = r->busy = 0;
    spool_order(r->spool, SPOOL_RETRY, &(struct spool_filter){.max = 0}, "uid=0", "test", on_wide_ordered, r);
    r->wanted++;
    rig_wait(r);
    assert_int_equal(r->result, SPOOL_DONE);
    assert_int_equal(r->n_seqs, WIDE_MESSAGES - 1);
    assert_int_equal(r->busy, 1);
    assert_int_equal(r->seqs[0], 1);
    assert_int_equal(r->seqs[8], 10);
    assert_int_equal(r->seqs[WIDE_MESSAGES - 2], WIDE_MESSAGES);
    assert_in_range(most_bytes, before, before + HEAP_MAX);
    assert_int_equal(rig_order(r, SPOOL_HOLD, &(struct spool_filter){.max = 20}), SPOOL_DONE);
    assert_int_equal(r->n_seqs + r->busy, 20); /* no more than it may, over all slices */
}

static void
test_scan_memory(void **state)
{
    struct spool_rig *r = *state;
    struct spool_setup setup = {.loop = r->loop, .metrics = r->metrics, .found = on_wide_found,
        .changed = on_nothing, .arg = r};
    struct err err = {""};
    uint64_t before;

    rig_open(r);
    add_wide(r);
    rig_close(r);
    r->n_found = 0;
    most_bytes = 0;
    before = heap_bytes();
    r->spool = spool_new(&setup, &r->conf, &err);
    assert_int_equal(spool_start(r->spool, &err), 0);
    rig_wait_state(r, SPOOL_READY);
    assert_int_equal(r->n_found, WIDE_MESSAGES);
    for (size_t i = 0; i < WIDE_MESSAGES; i++)
        assert_int_equal(r->seqs[i], i + 1);
    assert_in_range(most_bytes, before, before + HEAP_MAX);
}

/* A list ends early, and goes on behind its last one. */
static void
test_list_pages(void **state)
{
    struct spool_filter filter = {.max = 0};
    struct spool_rig *r = *state;
    size_t n = 0, pages = 0;

    rig_open(r);
    add_wide(r);
    do {
        assert_int_equal(rig_list(r, &filter), SPOOL_DONE);
        assert_in_range(r->n_seqs, 1, 10);
        for (size_t i = 0; i < r->n_seqs; i++)
            assert_int_equal(r->seqs[i], ++n);
        filter.after_seq = n;
        pages++;
    } while (r->more);
    assert_int_equal(n, WIDE_MESSAGES);
    assert_true(pages >= 6);
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
        cmocka_unit_test_setup_teardown(test_order_between_slices, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_order_memory, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_scan_memory, rig_set_up_fast, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_list_pages, rig_set_up_fast, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
