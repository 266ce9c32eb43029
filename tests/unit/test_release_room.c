/* Unit tests of release_room: how many messages of a backlog are out at once, by configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/flow/release_room.h"

static const struct route_conf routes[] = {
    {.name = "contoso", .connections = 3, .pool_max = 20, .default_mailbox = "relay@contoso.com"},
    {.name = "connector", .connections = LIMIT_UNLIMITED, .pool_max = 7},
    {.name = "small", .connections = 5, .pool_max = 4},
};
static const struct mailbox_conf mailboxes[] = {
    {.name = "relay@contoso.com", .route = "contoso", .connections = 2},
    {.name = "mass@contoso.com", .route = "contoso", .connections = 30},
    {.name = "any@small.example", .route = "small", .connections = LIMIT_UNLIMITED},
};

static struct config
config_of_all(void)
{
    return (struct config){.routes = routes, .n_routes = 3, .mailboxes = mailboxes, .n_mailboxes = 3};
}

static void
put_backlog(struct queue *q, uint64_t first, const char *route, const char *mailbox)
{
    struct queue_key key = {route, mailbox, "erp", "bulk", "a@contoso.com", RECIPIENT_EXTERNAL, NULL, false};

    for (uint64_t seq = first; seq < first + 100; seq++)
        queue_put(q, &key, &(struct queue_item){.seq = seq, .recipients = 1, .bytes = 1});
}

static unsigned
drain_now(struct queue *q)
{
    struct queue_item item;
    struct queue_key key;
    unsigned n = 0;

    while (queue_next(q, 1000, &item, &key))
        n++;
    return n;
}

static unsigned
out_of(const struct config *config, const char *route, const char *mailbox)
{
    struct queue *q = queue_new();
    unsigned n;

    release_set_rooms(q, config);
    put_backlog(q, 1, route, mailbox);
    n = drain_now(q);
    queue_free(&q);
    return n;
}

static void
test_mailbox_has_its_connections_and_two(void **state)
{
    struct config config = config_of_all();

    (void)state;
    assert_int_equal(out_of(&config, "contoso", "relay@contoso.com"), 2 + 2);
}

static void
test_pool_of_the_node_bounds(void **state)
{
    struct config config = config_of_all();

    (void)state;
    assert_int_equal(out_of(&config, "contoso", "mass@contoso.com"), 20 + 2);
    assert_int_equal(out_of(&config, "small", "any@small.example"), 4 + 2);
    assert_int_equal(out_of(&config, "small", ""), 4 + 2);
    assert_int_equal(out_of(&config, "connector", ""), 7 + 2);
}

static void
test_route_has_room_without_its_mailbox(void **state)
{
    struct config config = config_of_all();

    (void)state;
    assert_int_equal(out_of(&config, "contoso", ""), 3 + 2);
}

static void
test_another_configuration_counts_at_once(void **state)
{
    static const struct mailbox_conf wider = {.name = "relay@contoso.com", .route = "contoso",
        .connections = 9};
    struct config before = config_of_all(), after = before;
    struct queue *q = queue_new();

    (void)state;
    after.mailboxes = &wider;
    after.n_mailboxes = 1;
    release_set_rooms(q, &before);
    put_backlog(q, 1, "contoso", "relay@contoso.com");
    assert_int_equal(drain_now(q), 4);
    release_set_rooms(q, &after);
    assert_int_equal(drain_now(q), 7);
    queue_free(&q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox_has_its_connections_and_two),
        cmocka_unit_test(test_pool_of_the_node_bounds),
        cmocka_unit_test(test_route_has_room_without_its_mailbox),
        cmocka_unit_test(test_another_configuration_counts_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
