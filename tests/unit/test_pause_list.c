/* The pauses a node knows: which stay, which have a place, and who is stopped when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/store/pause_list.h"

static const struct pause_wider known = {.client = "erp", .route = "contoso"};

static struct pause
pause_of(enum limit_scope scope, const char *instance)
{
    struct pause p = {.scope = scope, .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER};

    snprintf(p.instance, sizeof(p.instance), "%s", instance);
    return p;
}

static void
fill(struct pause_list *l, enum limit_scope scope, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        struct pause p;

        snprintf(name, sizeof(name), "x%zu", i);
        p = pause_of(scope, name);
        assert_int_equal(pause_list_add(l, &p, NULL), PAUSE_SET);
    }
}

static void
expect_widened(struct pause p, const struct pause_wider *wider, enum limit_scope scope, const char *instance)
{
    assert_true(pause_widen(&p, wider));
    assert_int_equal(p.scope, scope);
    assert_string_equal(p.instance, instance);
    assert_int_equal(p.extent, PAUSE_ALL);
    assert_int_equal(p.class, CLASS_BLOCK_SENDER);
}

static void
test_widen(void **state)
{
    static const struct pause_wider no_client = {.route = "contoso"}, nobody = {.route = ""};
    struct pause route = pause_of(SCOPE_ROUTE, "other"), sender = pause_of(SCOPE_SENDER, "a@x.example");

    (void)state;
    expect_widened(sender, &known, SCOPE_CLIENT, "erp");
    expect_widened(pause_of(SCOPE_SENDER_DOMAIN, "x.example"), &known, SCOPE_CLIENT, "erp");
    expect_widened(sender, &no_client, SCOPE_ROUTE, "contoso");
    expect_widened(pause_of(SCOPE_CLIENT, "erp"), &known, SCOPE_ROUTE, "contoso");
    expect_widened(pause_of(SCOPE_MAILBOX, "relay@x.example"), &known, SCOPE_ROUTE, "contoso");
    assert_false(pause_widen(&route, &known));
    assert_string_equal(route.instance, "other");
    assert_false(pause_widen(&sender, &nobody));
    assert_int_equal(sender.scope, SCOPE_SENDER);
}

static void
test_no_kind_takes_the_places_of_another(void **state)
{
    struct pause p = pause_of(SCOPE_SENDER, "last@x.example");
    struct pause_list l;

    (void)state;
    pause_list_init(&l);
    fill(&l, SCOPE_SENDER, PLACES_SENDER / 2);
    fill(&l, SCOPE_SENDER_DOMAIN, PLACES_SENDER / 2);
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_NO_PLACE);
    assert_int_equal(p.scope, SCOPE_SENDER);
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_SET);
    assert_int_equal(p.scope, SCOPE_CLIENT);
    p = pause_of(SCOPE_SENDER, "another@x.example");
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_STANDS); /* the client's */
    fill(&l, SCOPE_MAILBOX, PLACES_MIDDLE - 1);
    p = pause_of(SCOPE_CLIENT, "another");
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_SET);
    assert_int_equal(p.scope, SCOPE_ROUTE);
    assert_string_equal(p.instance, "contoso");
    p = pause_of(SCOPE_ROUTE, "fabrikam");
    p.extent = PAUSE_EXTERNAL;
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_SET);
    fill(&l, SCOPE_ROUTE, PLACES_ROUTE - 2);
    p = pause_of(SCOPE_ROUTE, "one too many");
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_NO_PLACE);
    pause_list_fini(&l);
}

static void
test_what_stands_needs_no_place(void **state)
{
    struct pause p = pause_of(SCOPE_SENDER, "x3");
    struct pause_list l;

    (void)state;
    pause_list_init(&l);
    p.until_utc_ms = 1000;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
    fill(&l, SCOPE_SENDER_DOMAIN, PLACES_SENDER - 1);
    p.until_utc_ms = 0;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET); /* longer */
    p = pause_of(SCOPE_SENDER, "of another node");
    assert_true(pause_list_take_over(&l, &p));
    assert_non_null(pause_list_find(&l, SCOPE_SENDER, "of another node", PAUSE_ALL));
    p = pause_of(SCOPE_SENDER, "remembered");
    assert_true(pause_list_restore(&l, &p, NULL, PAUSE_KNOWN));
    assert_int_equal(l.n, PLACES_SENDER + 2);
    pause_list_fini(&l);
}

/* A list with an older and shorter pause is that of a Redis that lost the newer one: that is put back. One
 * that came later is what somebody wanted. */
static void
test_an_older_pause_does_not_end_a_newer(void **state)
{
    struct pause block = pause_of(SCOPE_ROUTE, "contoso"), older = block, later = block;
    struct pause_list l;

    (void)state;
    block.since_utc_ms = 2000;
    older.since_utc_ms = 1000;
    later.since_utc_ms = 3000;
    older.until_utc_ms = later.until_utc_ms = 9000;
    pause_list_init(&l);
    assert_true(pause_list_take_over(&l, &block));
    pause_list_begin_sync(&l);
    assert_true(pause_list_take_over(&l, &older));
    pause_list_end_sync(&l);
    assert_memory_equal(&l.pauses[0], &block, sizeof(block));
    assert_int_equal(pause_list_note(&l, &l.pauses[0])->state, PAUSE_FORGOTTEN);
    assert_true(pause_list_take_over(&l, &later));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.pauses[0].until_utc_ms, 9000);
    pause_list_fini(&l);
}

/* Refusals that come one after the other are one pause; what lasts longer, or has another cause, is news. */
static void
test_hardly_longer_is_no_news(void **state)
{
    struct pause p = pause_of(SCOPE_MAILBOX, "relay@x.example");
    struct pause_list l;

    (void)state;
    pause_list_init(&l);
    p.until_utc_ms = 900000;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
    for (int64_t late_ms = -300; late_ms < 60000; late_ms += 300) {
        p.until_utc_ms = 900000 + late_ms;
        p.since_utc_ms = 1;
        assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_STANDS);
        assert_int_equal(l.pauses[0].until_utc_ms, 900000);
        assert_memory_equal(&p, &l.pauses[0], sizeof(p)); /* what stands is told */
    }
    p.until_utc_ms = 960000;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
    p.class = CLASS_AUTH;
    p.until_utc_ms++;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
    p.until_utc_ms = 0;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
    assert_int_equal(l.n, 1);
    pause_list_fini(&l);
}

/* An operator is told an end and gets it, however little later it is. */
static void
test_an_operators_word_is_kept(void **state)
{
    struct pause p = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_ALL, .class = CLASS_OK};
    struct pause_list l;

    (void)state;
    pause_list_init(&l);
    for (p.until_utc_ms = 2000; p.until_utc_ms < 62000; p.until_utc_ms += 20000) {
        assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_SET);
        assert_int_equal(l.pauses[0].until_utc_ms, p.until_utc_ms);
    }
    p.until_utc_ms = 3000;
    assert_int_equal(pause_list_add(&l, &p, NULL), PAUSE_STANDS);
    assert_int_equal(p.until_utc_ms, 42000);
    assert_int_equal(l.n, 1);
    pause_list_fini(&l);
}

/* Who has no place, even as a wider one, is as before. */
static void
test_no_place_leaves_the_pause_alone(void **state)
{
    struct pause p = pause_of(SCOPE_SENDER, "last@x.example");
    struct pause_list l;

    (void)state;
    pause_list_init(&l);
    fill(&l, SCOPE_SENDER, PLACES_SENDER);
    fill(&l, SCOPE_CLIENT, PLACES_MIDDLE);
    fill(&l, SCOPE_ROUTE, PLACES_ROUTE);
    assert_int_equal(pause_list_add(&l, &p, &known), PAUSE_NO_PLACE);
    assert_int_equal(p.scope, SCOPE_SENDER);
    assert_string_equal(p.instance, "last@x.example");
    pause_list_fini(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widen),
        cmocka_unit_test(test_no_kind_takes_the_places_of_another),
        cmocka_unit_test(test_what_stands_needs_no_place),
        cmocka_unit_test(test_an_older_pause_does_not_end_a_newer),
        cmocka_unit_test(test_hardly_longer_is_no_news),
        cmocka_unit_test(test_an_operators_word_is_kept),
        cmocka_unit_test(test_no_place_leaves_the_pause_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
