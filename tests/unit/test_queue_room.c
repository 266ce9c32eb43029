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
    assert_int_equal(why.position, 1);
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

/* A question in vain gives its turn back where several clients stand, not where one stands with two pools. */
static void
test_two_pools_of_one_client_share_no_gate(void **state)
{
    struct queue *q = queue_new();

    (void)state;
    put(q, 1, "bulk", "erp", "a");
    put(q, 2, "bulk", "erp", "b");
    assert_int_equal(next(q), 1);
    assert_int_equal(next(q), 2);
    refuse(q, 1, "client erp", NOW + 10);
    refuse(q, 2, "client erp", NOW + 10);
    put_many(q, 101, 2, "bulk", "crm", "a");
    assert_int_equal(next(q), 101);
    assert_int_equal(next_at(q, NOW + 10), 1);
    refuse(q, 1, "client erp", NOW + 20);
    assert_int_equal(next_at(q, NOW + 20), 102);
    assert_int_not_equal(next_at(q, NOW + 20), 0);
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
    }
    taken = allocated_bytes() - before;
    told = queue_bytes(q) - told_before;
    print_message("%zu bytes a pool by malloc, %zu by queue_bytes\n", taken / 1000, told / 1000);
    assert_in_range(told, 100 * 1000, 300 * 1000);
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
        cmocka_unit_test(test_two_pools_of_one_client_share_no_gate),
        cmocka_unit_test(test_memory_of_pools),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
