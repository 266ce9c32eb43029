/* Slots for connections over the Redis store: shared by all nodes, never more than the lowest cap among them,
 * and free again when their holder gives them or dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "tests/lib/store_rig.h"

static bool
slot_taken_by_1(struct rig *r)
{
    return take_lease(r, 1, 2);
}

static bool
slot_taken_of_3(struct rig *r)
{
    return take_lease(r, 0, 3);
}

static void
slots_are_shared_and_freed(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 2};
    uint64_t first;

    begin(r, 2);
    assert_true(take_lease(r, 0, 2));
    first = r->lease;
    assert_true(take_lease(r, 1, 2));
    assert_false(take_lease(r, 0, 2));
    assert_int_equal(r->error, STORE_OK);
    store_lease_give(r->nodes[0].store, &request, first);
    assert_true(turn_until(r, slot_taken_by_1)); /* told on another connection */
    assert_false(take_lease(r, 0, 2));
    /* Node 1 dies and comes back: its connections died with it. */
    store_free(&r->nodes[1].store);
    open_node(r, 1);
    assert_true(turn_until(r, all_open));
    assert_true(take_lease(r, 1, 2));
    assert_true(take_lease(r, 0, 2));
    assert_false(take_lease(r, 0, 2));
}

/* Node 1 dies with all slots and comes back with nothing to send: node 0 need not wait until they expire. */
static void
slots_of_a_former_run_are_disowned(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 2};

    begin(r, 2);
    assert_true(take_lease(r, 1, 3));
    assert_true(take_lease(r, 1, 3));
    assert_true(take_lease(r, 0, 3));
    assert_false(take_lease(r, 0, 3));
    store_free(&r->nodes[1].store);
    open_node(r, 1);
    store_lease_disown(r->nodes[1].store, &request, NULL); /* before it is connected */
    assert_true(turn_until(r, all_open));
    assert_true(turn_until(r, slot_taken_of_3));
    assert_true(take_lease(r, 0, 3)); /* its own one was not touched: */
    assert_false(take_lease(r, 0, 3));
}

/* The same by another node, which was told who it was. */
static void
slots_of_a_dead_node_are_disowned(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 2};
    char identity[STORE_IDENTITY_MAX];

    begin(r, 2);
    assert_true(take_lease(r, 1, 3));
    assert_true(take_lease(r, 1, 3));
    assert_true(take_lease(r, 0, 3));
    snprintf(identity, sizeof(identity), "%s", store_identity(r->nodes[1].store));
    store_free(&r->nodes[1].store);
    store_lease_disown(r->nodes[0].store, &request, identity);
    assert_true(turn_until(r, slot_taken_of_3));
    assert_true(take_lease(r, 0, 3)); /* its own one was not touched: */
    assert_false(take_lease(r, 0, 3));
}

static struct limit_conf lower[1];

static void
allow_connections(struct rig *r, size_t node, uint64_t cap, const struct limit_conf *limits)
{
    struct slot_cap caps[] = {
        {SCOPE_MAILBOX, "other@contoso.com", 1}, {SCOPE_MAILBOX, "relay@contoso.com", cap}};

    store_set_slot_caps(r->nodes[node].store, caps, 2);
    store_set_limits(r->nodes[node].store, limits, r->n_limits);
}

static bool
two_nodes_alike(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return s.nodes == 2 && s.differs[0] == '\0';
}

static bool
node_1_takes_slot(struct rig *r)
{
    return take_lease(r, 1, 3);
}

/* Of 3 and 2, 2 hold, whoever asks; when the other node is raised too, 3. */
static void
the_lowest_cap_of_slots_holds(void **state)
{
    struct rig *r = *state;
    struct lease_request request = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 3};
    uint64_t first;

    begin(r, 2);
    allow_connections(r, 0, 3, r->limits);
    allow_connections(r, 1, 2, r->limits);
    assert_true(turn_until(r, node_0_sees_2));
    assert_true(take_lease(r, 0, 3));
    first = r->lease;
    assert_true(take_lease(r, 0, 3));
    assert_false(take_lease(r, 0, 3));
    assert_false(take_lease(r, 1, 2));
    assert_int_equal(r->error, STORE_OK);
    store_lease_give(r->nodes[0].store, &request, first);
    assert_true(turn_until(r, node_1_takes_slot)); /* it travels on another connection */
    allow_connections(r, 1, 3, r->limits);
    assert_true(turn_until(r, two_nodes_alike));
    assert_true(take_lease(r, 0, 3));
    assert_false(take_lease(r, 1, 3));
}

/* A limit may have the name the slots have in texts and keys. */
static void
a_limit_named_connections_is_not_that_of_slots(void **state)
{
    struct rig *r = *state;

    add_limit(r, "connections", LIMIT_WINDOW, UNIT_MESSAGES, 100, 60000);
    begin(r, 2);
    lower[0] = r->limits[0];
    lower[0].value = 1;
    allow_connections(r, 0, 3, r->limits);
    allow_connections(r, 1, 3, lower);
    assert_true(turn_until(r, node_0_sees_2));
    for (int i = 0; i < 3; i++)
        assert_true(take_lease(r, i & 1, 3));
    assert_false(take_lease(r, 1, 3));
}

static bool
slot_taken(struct rig *r)
{
    return take_lease(r, 0, 2);
}

/* Redis forgets the slots while their connections live: nobody gets one before all holders said so again. */
static void
slots_outlive_flushall(void **state)
{
    struct rig *r = *state;
    int64_t until;

    r->conf.settle_ms = 2000;
    begin(r, 2);
    assert_true(turn_until(r, slot_taken)); /* a node's own estimate of Redis' time may run a moment ahead */
    assert_true(take_lease(r, 0, 2));
    cli(r, "FLUSHALL");
    for (until = clock_mono_ms() + 3500; clock_mono_ms() < until;) {
        assert_false(take_lease(r, 1, 2));
        loop_turn(r->loop, 20);
    }
    assert_int_equal(r->error, STORE_OK);
    assert_true(take_lease(r, 1, 3)); /* and work goes on */
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(slots_are_shared_and_freed),
        CASE(slots_of_a_former_run_are_disowned),
        CASE(slots_of_a_dead_node_are_disowned),
        CASE(the_lowest_cap_of_slots_holds),
        CASE(a_limit_named_connections_is_not_that_of_slots),
        CASE(slots_outlive_flushall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
