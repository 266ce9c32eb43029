/* Unit tests of queue: the room of a pool, alone and together with gates, turns and weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>

#include "relay/spool/queue.h"

#define NOW 1000000

/* A sanitizer's malloc is not what mallinfo2 tells of. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OTHER_MALLOC 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define OTHER_MALLOC 1
#endif

/* Each message is of a sender, so of a lane, of its own. */
static void
put_as(struct queue *q, uint64_t seq, struct queue_key key)
{
    char sender[32];

    snprintf(sender, sizeof(sender), "s%llu@contoso.com", (unsigned long long)seq);
    key.sender = sender;
    key.recipients_are = RECIPIENT_EXTERNAL;
    queue_put(q, &key, &(struct queue_item){.seq = seq, .recipients = 2, .bytes = 1000});
}

static void
put(struct queue *q, uint64_t seq, const char *class, const char *client, const char *mailbox)
{
    put_as(q, seq, (struct queue_key){.route = "contoso", .mailbox = mailbox, .client = client,
        .class = class});
}

static void
put_many(struct queue *q, uint64_t first, unsigned n, const char *class, const char *client,
    const char *mailbox)
{
    for (uint64_t seq = first; seq < first + n; seq++)
        put(q, seq, class, client, mailbox);
}

/* The seq of the next message; 0: none. */
static uint64_t
next_at(struct queue *q, int64_t now_mono_ms)
{
    struct queue_item item;
    struct queue_key key;

    return queue_next(q, now_mono_ms, &item, &key) ? item.seq : 0;
}

static uint64_t
next(struct queue *q)
{
    return next_at(q, NOW);
}

static unsigned
drain_now(struct queue *q)
{
    unsigned n = 0;

    while (next(q) != 0)
        n++;
    return n;
}

static void
refuse(struct queue *q, uint64_t seq, const char *name, int64_t opens_mono_ms)
{
    struct queue_gate gate = {.kind = QUEUE_GATE_LIMIT, .opens_mono_ms = opens_mono_ms};

    snprintf(gate.name, sizeof(gate.name), "%s", name);
    queue_refuse(q, seq, &gate);
}

/* ---- the bound ---- */

static void
test_pool_never_named_has_default_room(void **state)
{
    struct queue *q = queue_new();
    struct queue_counts counts;
    struct queue_why why;

    (void)state;
    put_many(q, 1, 100, "bulk", "erp", "a");
    assert_int_equal(drain_now(q), QUEUE_ROOM_DEFAULT);
    queue_counts(q, &counts);
    assert_int_equal(counts.in_flight, QUEUE_ROOM_DEFAULT);
    assert_int_equal(counts.ready, 100 - QUEUE_ROOM_DEFAULT);
    assert_int_equal(counts.gates, 0);
    queue_why(q, 100, NOW, &why);
    assert_true(why.known && !why.in_flight && !why.waits_for_operator && !why.gate);
    assert_int_equal(queue_place(q, 100, NOW), 1);
    assert_true(queue_wake_mono_ms(q) == INT64_MAX); /* no time makes room */
    queue_free(&q);
}

static void
test_put_refused_or_dropped_makes_room(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 2);
    put_many(q, 1, 10, "bulk", "erp", "a");
    assert_int_equal(drain_now(q), 2);
    queue_passed(q, 1); /* still on its way */
    assert_int_equal(next(q), 0);
    queue_drop(q, 1);
    assert_int_equal(next(q), 3);
    assert_int_equal(next(q), 0);
    refuse(q, 2, "sender", INT64_MAX);
    assert_int_equal(next(q), 4);
    assert_int_equal(next(q), 0);
    put(q, 3, "bulk", "erp", "a"); /* tried, and due again */
    assert_int_equal(next(q), 3);
    assert_int_equal(next(q), 0);
    queue_drop(q, 2); /* not in flight: no room */
    queue_drop(q, 10);
    assert_int_equal(next(q), 0);
    queue_free(&q);
}

static void
test_room_is_of_the_pool_where_it_went_out(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    queue_set_room(q, "contoso", "b", 1);
    put_many(q, 1, 2, "bulk", "erp", "a");
    assert_int_equal(next(q), 1);
    put(q, 1, "bulk", "erp", "b"); /* comes back with another mailbox */
    assert_int_equal(drain_now(q), 2);
    put_many(q, 3, 2, "bulk", "erp", "a");
    queue_drop(q, 1); /* room of b only */
    assert_int_equal(next(q), 0);
    queue_drop(q, 2);
    assert_int_equal(next(q), 3);
    assert_int_equal(next(q), 0);
    queue_free(&q);
}

static void
test_room_changes_at_once(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 2);
    put_many(q, 1, 300, "bulk", "erp", "a");
    assert_int_equal(drain_now(q), 2);
    queue_set_room(q, "contoso", "a", 5);
    assert_int_equal(drain_now(q), 3);
    queue_set_room(q, "contoso", "a", 3); /* 1 to 5 are out */
    queue_drop(q, 1);
    queue_drop(q, 2);
    assert_int_equal(next(q), 0);
    queue_drop(q, 3);
    assert_int_equal(drain_now(q), 1);
    queue_set_room(q, "contoso", "a", 0);
    assert_int_equal(drain_now(q), 300 - 6);
    queue_set_room(q, "contoso", "a", 1);
    put(q, 301, "bulk", "erp", "a");
    assert_int_equal(next(q), 0);
    queue_free(&q);
}

static void
test_pool_is_route_and_mailbox(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put(q, 1, "bulk", "erp", "a");
    assert_int_equal(next(q), 1);
    put(q, 2, "bulk", "crm", "a");  /* other clients and classes share it */
    put(q, 3, "alert", "erp", "a");
    assert_int_equal(next(q), 0);
    put(q, 4, "bulk", "erp", "");
    assert_int_equal(next(q), 4);
    put_as(q, 5, (struct queue_key){.route = "fabrikam", .mailbox = "a", .client = "erp", .class = "bulk"});
    assert_int_equal(next(q), 5);
    queue_free(&q);
}

/* ---- with gates ---- */

static void
test_gate_of_full_pool_opens_in_vain(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put(q, 1, "bulk", "erp", "a");
    assert_int_equal(next(q), 1);
    refuse(q, 1, "sender", NOW + 10);
    put_many(q, 2, 2, "bulk", "erp", "a");
    assert_int_equal(next(q), 2);
    assert_int_equal(next_at(q, NOW + 10), 0); /* the gate is open, the pool full */
    assert_true(queue_wake_mono_ms(q) == INT64_MAX);
    queue_drop(q, 2);
    assert_int_equal(next_at(q, NOW + 10), 1);
    assert_int_equal(next_at(q, NOW + 10), 0);
    queue_free(&q);
}

static void
test_room_leaves_a_closed_gate_closed(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 2, "bulk", "erp", "a");
    assert_int_equal(next(q), 1);
    refuse(q, 1, "day", NOW + 100);
    assert_int_equal(next(q), 2);
    refuse(q, 2, "day", NOW + 100); /* makes room for nobody */
    assert_int_equal(next_at(q, NOW + 99), 0);
    assert_int_equal(next_at(q, NOW + 100), 1);
    queue_free(&q);
}

/* A narrow pool does not keep a gate from opening wide. */
static void
test_gate_opens_through_a_narrow_pool(void **state)
{
    struct queue *q = queue_new();
    struct queue_counts counts;

    (void)state;
    put_many(q, 1, 20, "bulk", "erp", "a");
    assert_int_equal(drain_now(q), 20);
    for (uint64_t seq = 1; seq <= 20; seq++)
        refuse(q, seq, "day", NOW + 10);
    queue_set_room(q, "contoso", "a", 1);
    for (unsigned i = 0; i < 7; i++) {
        uint64_t seq = next_at(q, NOW + 10);

        assert_int_not_equal(seq, 0);
        queue_passed(q, seq);
        assert_int_equal(next_at(q, NOW + 10), 0);
        queue_drop(q, seq);
    }
    queue_counts(q, &counts);
    assert_int_equal(counts.gates, 0);
    queue_free(&q);
}

/* ---- with turns ---- */

static void
test_full_pool_costs_no_turn(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 2, "bulk", "erp", "a");
    put_many(q, 101, 20, "bulk", "crm", "b");
    assert_int_equal(next(q), 1);
    for (uint64_t seq = 101; seq <= 110; seq++)
        assert_int_equal(next(q), seq);
    queue_drop(q, 1);
    assert_int_equal(next(q), 2); /* served longest ago */
    assert_int_equal(next(q), 111);
    queue_free(&q);
}

/* Of a client with mail for two pools the full one does not hold the other. */
static void
test_client_goes_by_its_other_pool(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 3, "bulk", "erp", "a");
    put_many(q, 11, 2, "bulk", "erp", "b");
    assert_int_equal(next(q), 1);
    assert_int_equal(next(q), 11);
    queue_drop(q, 1);
    assert_int_equal(next(q), 2);
    assert_int_equal(next(q), 12);
    assert_int_equal(next(q), 0);
    queue_free(&q);
}

static void
test_clients_take_turns_in_a_narrow_pool(void **state)
{
    struct queue *q = queue_new();
    unsigned of_erp = 0;

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 1000, "bulk", "erp", "a");
    put_many(q, 2001, 100, "bulk", "crm", "a");
    for (unsigned i = 0; i < 100; i++) {
        uint64_t seq = next(q);

        of_erp += seq <= 1000;
        assert_int_equal(next(q), 0);
        queue_drop(q, seq);
    }
    assert_int_equal(of_erp, 50);
    queue_free(&q);
}

static void
test_weights_divide_a_narrow_pool(void **state)
{
    struct queue *q = queue_new();
    unsigned alerts = 0;

    (void)state;
    queue_set_weight(q, "alert", 30);
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 500, "bulk", "erp", "a");
    put_many(q, 2001, 500, "alert", "erp", "a");
    for (unsigned i = 0; i < 400; i++) {
        uint64_t seq = next(q);

        alerts += seq > 2000;
        queue_drop(q, seq);
    }
    assert_in_range(alerts, 299, 301);
    queue_free(&q);
}

/* From pool a goes one message, from b ten. The one of a, which is still out. */
static uint64_t
next_of_a_and_ten_of_b(struct queue *q)
{
    uint64_t of_a = 0;

    put_many(q, 10001, 10, "bulk", "x", "b");
    for (unsigned i = 0; i < 11; i++) {
        uint64_t seq = next(q);

        assert_int_not_equal(seq, 0);
        if (seq > 10000)
            queue_drop(q, seq);
        else
            of_a = seq;
    }
    assert_int_equal(next(q), 0);
    return of_a;
}

/* What b sends changes nothing of how the classes divide a. */
static void
test_weights_divide_a_narrow_pool_beside_a_fast_one(void **state)
{
    struct queue *q = queue_new();
    unsigned alerts = 0;

    (void)state;
    queue_set_weight(q, "alert", 30);
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 500, "bulk", "y", "a");
    put_many(q, 2001, 500, "alert", "erp", "a");
    for (unsigned i = 0; i < 400; i++) {
        uint64_t seq = next_of_a_and_ten_of_b(q);

        alerts += seq > 2000;
        queue_drop(q, seq);
    }
    assert_in_range(alerts, 299, 301);
    queue_free(&q);
}

/* An alert comes whenever the one before has gone: it is never without, and never has two. */
static void
test_alerts_one_by_one_leave_others_their_share(void **state)
{
    struct queue *q = queue_new();
    unsigned alerts = 0;

    (void)state;
    queue_set_weight(q, "alert", 30);
    queue_set_room(q, "contoso", "a", 1);
    put_many(q, 1, 500, "bulk", "y", "a");
    put(q, 2001, "alert", "erp", "a");
    for (unsigned i = 0; i < 400; i++) {
        uint64_t seq = next_of_a_and_ten_of_b(q);

        alerts += seq > 2000;
        if (seq > 2000)
            put(q, seq + 1, "alert", "erp", "a");
        queue_drop(q, seq);
    }
    assert_in_range(alerts, 299, 301);
    queue_free(&q);
}

/* What a pool could not send while it was full is not made up for at the cost of another. */
static void
test_full_pool_saves_no_turns(void **state)
{
    struct queue *q = queue_new();
    unsigned of_a = 0;

    (void)state;
    queue_set_room(q, "contoso", "a", 1);
    queue_set_room(q, "contoso", "b", 0);
    put_many(q, 1, 500, "bulk", "erp", "a");
    put_many(q, 2001, 1000, "bulk", "crm", "b");
    for (unsigned i = 0; i < 500; i++)
        assert_int_not_equal(next(q), 0);
    queue_set_room(q, "contoso", "a", 0);
    for (unsigned i = 0; i < 100; i++)
        of_a += next(q) < 2000;
    assert_in_range(of_a, 49, 51);
    queue_free(&q);
}

static void
test_weights_divide_two_pools(void **state)
{
    struct queue *q = queue_new();
    unsigned alerts = 0;

    (void)state;
    queue_set_weight(q, "alert", 30);
    put_many(q, 1, 500, "bulk", "erp", "a");
    put_many(q, 2001, 500, "alert", "erp", "b");
    for (unsigned i = 0; i < 400; i++) {
        uint64_t seq = next(q);

        alerts += seq > 2000;
        queue_drop(q, seq);
    }
    assert_in_range(alerts, 299, 301);
    queue_free(&q);
}

/* All that may go at this time are refused at the gate of the tenant. */
static void
refuse_all(struct queue *q, int64_t now_mono_ms)
{
    uint64_t seq;

    while ((seq = next_at(q, now_mono_ms)) != 0)
        if (seq < 10000)
            refuse(q, seq, "tenant", now_mono_ms + 10);
        else
            queue_drop(q, seq);
}

/* A limit that two mailboxes share lets one pass at each opening; between two of them other_mail goes past
 * it. How many of n that pass have a seq above 2000? */
static unsigned
count_high_behind_a_gate(struct queue *q, unsigned n, unsigned other_mail)
{
    unsigned high = 0;
    int64_t now = NOW;

    refuse_all(q, now);
    for (unsigned i = 0; i < n; i++) {
        uint64_t seq;

        now += 10;
        seq = next_at(q, now);
        high += seq > 2000;
        queue_passed(q, seq);
        queue_drop(q, seq);
        refuse_all(q, now);
        put_many(q, 10001, other_mail, "other", "x", "c");
        refuse_all(q, now);
    }
    return high;
}

static void
test_weights_divide_a_limit_of_two_pools(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_weight(q, "alert", 30);
    put_many(q, 1, 60, "bulk", "erp", "a");
    put_many(q, 2001, 60, "alert", "crm", "b");
    assert_in_range(count_high_behind_a_gate(q, 40, 0), 28, 32);
    queue_free(&q);
}

/* Heavier or not, and however much mail goes past the limit. */
static void
test_nobody_starves_behind_a_gate_of_two_pools(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    queue_set_weight(q, "alert", 30);
    put_many(q, 1, 60, "bulk", "erp", "a");
    put_many(q, 2001, 60, "alert", "crm", "b");
    assert_in_range(count_high_behind_a_gate(q, 40, 50), 20, 32);
    queue_free(&q);
}

static void
test_two_pools_of_one_client_share_a_gate(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    put_many(q, 1, 60, "bulk", "erp", "a");
    put_many(q, 2001, 60, "bulk", "erp", "b");
    assert_in_range(count_high_behind_a_gate(q, 40, 0), 19, 21);
    queue_free(&q);
}

/* Where no other client of the class and pool stands, a question in vain is the client's turn there. */
static void
test_question_at_own_gate_of_two_pools_costs_turn(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    put(q, 1, "bulk", "erp", "a");
    put(q, 2, "bulk", "erp", "b");
    assert_int_equal(next(q), 1);
    assert_int_equal(next(q), 2);
    refuse(q, 2, "client erp", NOW + 10);
    refuse(q, 1, "client erp", NOW + 10);
    queue_set_room(q, "contoso", "b", 1);
    put(q, 3, "bulk", "web", "b");
    assert_int_equal(next(q), 3); /* b is full: a asks */
    put_many(q, 101, 2, "bulk", "crm", "a");
    assert_int_equal(next(q), 101);
    assert_int_equal(next_at(q, NOW + 10), 1);
    refuse(q, 1, "client erp", NOW + 20);
    assert_int_equal(next_at(q, NOW + 20), 102);
    assert_int_equal(next_at(q, NOW + 20), 1);
    queue_free(&q);
}

/* A weight is of the class in all pools, those that have it and those that get it later. */
static void
test_weight_holds_in_all_pools(void **state)
{
    static const char *const mailboxes[] = {"a", "b"};
    struct queue *q = queue_new();

    (void)state;
    put(q, 1, "alert", "erp", "a");
    queue_set_weight(q, "alert", 30);
    for (unsigned p = 0; p < 2; p++) {
        unsigned alerts = 0;

        put_many(q, 1001, 500, "bulk", "erp", mailboxes[p]);
        put_many(q, 2001, 500, "alert", "erp", mailboxes[p]);
        for (unsigned i = 0; i < 400; i++) {
            uint64_t seq = next(q);

            alerts += seq < 1000 || seq > 2000;
            queue_drop(q, seq);
        }
        assert_in_range(alerts, 299, 301);
        for (uint64_t seq = 1001; seq <= 2500; seq++)
            queue_drop(q, seq);
    }
    queue_free(&q);
}

/* ---- memory ---- */

static size_t
allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void
test_memory_of_pools(void **state)
{
    struct queue *q = queue_new();
    size_t before = allocated_bytes(), told_before = queue_bytes(q), taken, told;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char mailbox[64];

        snprintf(mailbox, sizeof(mailbox), "a-mailbox-with-a-long-name-%u@contoso.com", i);
        queue_set_room(q, "contoso", mailbox, 4);
        queue_set_room(q, "contoso", mailbox, 5);
        put(q, 1, "a-class-with-a-name-that-is-long-too", "erp", mailbox);
        put(q, 1, "bulk", "erp", mailbox);
    }
    queue_drop(q, 1);
    taken = allocated_bytes() - before;
    told = queue_bytes(q) - told_before;
    print_message("%zu bytes a pool by malloc, %zu by queue_bytes\n", taken / 1000, told / 1000);
    assert_in_range(told, 400 * 1000, 900 * 1000);
#ifndef OTHER_MALLOC
    assert_in_range(told, taken / 100 * 97, taken / 100 * 103);
#endif
    queue_free(&q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_never_named_has_default_room),
        cmocka_unit_test(test_put_refused_or_dropped_makes_room),
        cmocka_unit_test(test_room_is_of_the_pool_where_it_went_out),
        cmocka_unit_test(test_room_changes_at_once),
        cmocka_unit_test(test_pool_is_route_and_mailbox),
        cmocka_unit_test(test_gate_of_full_pool_opens_in_vain),
        cmocka_unit_test(test_room_leaves_a_closed_gate_closed),
        cmocka_unit_test(test_gate_opens_through_a_narrow_pool),
        cmocka_unit_test(test_full_pool_costs_no_turn),
        cmocka_unit_test(test_client_goes_by_its_other_pool),
        cmocka_unit_test(test_clients_take_turns_in_a_narrow_pool),
        cmocka_unit_test(test_weights_divide_a_narrow_pool),
        cmocka_unit_test(test_weights_divide_a_narrow_pool_beside_a_fast_one),
        cmocka_unit_test(test_alerts_one_by_one_leave_others_their_share),
        cmocka_unit_test(test_full_pool_saves_no_turns),
        cmocka_unit_test(test_weights_divide_two_pools),
        cmocka_unit_test(test_weights_divide_a_limit_of_two_pools),
        cmocka_unit_test(test_nobody_starves_behind_a_gate_of_two_pools),
        cmocka_unit_test(test_two_pools_of_one_client_share_a_gate),
        cmocka_unit_test(test_question_at_own_gate_of_two_pools_costs_turn),
        cmocka_unit_test(test_weight_holds_in_all_pools),
        cmocka_unit_test(test_memory_of_pools),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
