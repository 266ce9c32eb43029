/* fate: what each answer of the upstream makes of a recipient, and when it is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/flow/fate.h"

#define NOW_MS INT64_C(1800000000000)
#define MINUTE_MS INT64_C(60000)

static const struct spool_conf conf = {
    .retry_first_ms = 60000,
    .retry_max_ms = 3600000,
    .lifetime_ms = 48 * 60 * MINUTE_MS,
    .uncertain_ms = 10 * MINUTE_MS,
    .uncertain_max = 2,
};
/* Random numbers for no jitter, the least and the most of a wait of one minute. */
enum { MIDDLE = 12000, LEAST = 0, MOST = 24000 };

static void
test_answer_decides(void **state)
{
    static const struct {
        enum tx_fate said;
        enum reply_class class;
        enum fate_kind kind;
    } rows[] = {
        {TX_ACCEPTED, CLASS_OK, FATE_SENT},
        {TX_UNCERTAIN, CLASS_TEMPORARY, FATE_UNCERTAIN},
        {TX_REFUSED_FOR_NOW, CLASS_TEMPORARY, FATE_DEFERRED},
        {TX_REFUSED_FOR_NOW, CLASS_THROTTLE, FATE_DEFERRED},
        {TX_REFUSED_FOR_NOW, CLASS_MESSAGE, FATE_DEFERRED},
        {TX_REFUSED_FOR_NOW, CLASS_BLOCK_TENANT, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_MESSAGE, FATE_FAILED},
        {TX_REFUSED_FOR_GOOD, CLASS_TEMPORARY, FATE_DEFERRED},
        {TX_REFUSED_FOR_GOOD, CLASS_THROTTLE, FATE_DEFERRED},
        {TX_REFUSED_FOR_GOOD, CLASS_BLOCK_TENANT, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_BLOCK_CONNECTOR, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_BLOCK_SENDER, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_BLOCK_DOMAIN, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_BUDGET, FATE_HELD},
        {TX_REFUSED_FOR_GOOD, CLASS_AUTH, FATE_HELD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tx_recipient r = {.fate = rows[i].said};

        assert_int_equal(fate_of(&r, rows[i].class), rows[i].kind);
    }
}

static int64_t
wait_after(struct fate *f, uint32_t random)
{
    f->kind = FATE_DEFERRED;
    fate_settle(f, &conf, NOW_MS, random);
    return f->kept.due_utc_ms - NOW_MS;
}

static void
test_wait_doubles_to_its_longest(void **state)
{
    static const int64_t minutes[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct fate f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
        int64_t wait_ms = minutes[i] * MINUTE_MS;

        assert_int_equal(wait_after(&f, (uint32_t)(wait_ms / 5)), wait_ms);
        assert_int_equal(f.kept.attempts, i + 1);
        assert_int_equal(f.kept.state, SPOOL_WAITING);
    }
}

static void
test_wait_is_spread_by_a_fifth(void **state)
{
    struct fate f = {0}, g = {0};

    (void)state;
    assert_int_equal(wait_after(&f, LEAST), 48000);
    assert_int_equal(wait_after(&g, MOST), 72000);
}

static void
test_lifetime_is_spent_by_retries_alone(void **state)
{
    struct fate f = {0};
    int tries = 0;
    int64_t spent_ms = 0;

    (void)state;
    for (f.kind = FATE_DEFERRED; !f.expired; tries++) {
        int64_t before_ms = f.kept.spent_ms;

        f.kind = FATE_HELD; /* for a year, say */
        f.offered = false;
        fate_settle(&f, &conf, NOW_MS, MIDDLE);
        assert_int_equal(f.kept.spent_ms, before_ms);
        spent_ms += wait_after(&f, MIDDLE);
        if (!f.expired)
            assert_int_equal(f.kept.spent_ms, spent_ms);
    }
    assert_int_equal(f.kind, FATE_FAILED);
    assert_in_range(f.kept.spent_ms, conf.lifetime_ms - 72 * MINUTE_MS, conf.lifetime_ms);
    assert_in_range(tries, 45, 75);
}

static void
test_held_before_it_was_offered_costs_nothing(void **state)
{
    struct fate f = {.kind = FATE_HELD, .kept = {.state = SPOOL_IN_FLIGHT, .attempts = 3, .spent_ms = 7}};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.state, SPOOL_WAITING);
    assert_int_equal(f.kept.due_utc_ms, NOW_MS);
    assert_int_equal(f.kept.attempts, 3);
    assert_int_equal(f.kept.spent_ms, 7);
}

/* A block for which there was no place for a pause must not be asked for again at once. */
static void
test_held_by_the_upstreams_word_waits(void **state)
{
    struct fate f = {.kind = FATE_HELD, .offered = true};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.due_utc_ms, NOW_MS + MINUTE_MS);
    assert_int_equal(f.kept.spent_ms, 0);
}

static void
test_held_by_a_pause_goes_when_that_ends(void **state)
{
    struct fate f = {.kind = FATE_HELD, .offered = true, .paused = true};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.due_utc_ms, NOW_MS);
    assert_int_equal(f.kept.attempts, 0);
}

static void
test_uncertain_is_tried_once_more(void **state)
{
    struct fate f = {.kind = FATE_UNCERTAIN};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.state, SPOOL_UNCERTAIN);
    assert_int_equal(f.kept.due_utc_ms, NOW_MS + conf.uncertain_ms);
    f.kind = FATE_HELD; /* a budget in between changes nothing about it */
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.state, SPOOL_UNCERTAIN);
    f.kind = FATE_UNCERTAIN;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.state, SPOOL_PARKED);
}

static void
test_rest_stays_as_it_was(void **state)
{
    struct fate f = {.kind = FATE_RESTS, .kept = {.state = SPOOL_UNCERTAIN, .due_utc_ms = 5, .attempts = 1}};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kept.state, SPOOL_UNCERTAIN);
    assert_int_equal(f.kept.due_utc_ms, 5);
    assert_int_equal(f.kept.attempts, 1);
}

/* The file is anybody's who runs as the same user. */
static void
test_no_number_is_too_large(void **state)
{
    struct fate f = {.kind = FATE_DEFERRED, .kept = {.spent_ms = INT64_MAX, .attempts = UINT32_MAX}};

    (void)state;
    fate_settle(&f, &conf, NOW_MS, MIDDLE);
    assert_int_equal(f.kind, FATE_FAILED);
    assert_true(f.expired);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_decides),
        cmocka_unit_test(test_wait_doubles_to_its_longest),
        cmocka_unit_test(test_wait_is_spread_by_a_fifth),
        cmocka_unit_test(test_lifetime_is_spent_by_retries_alone),
        cmocka_unit_test(test_held_before_it_was_offered_costs_nothing),
        cmocka_unit_test(test_held_by_the_upstreams_word_waits),
        cmocka_unit_test(test_held_by_a_pause_goes_when_that_ends),
        cmocka_unit_test(test_uncertain_is_tried_once_more),
        cmocka_unit_test(test_rest_stays_as_it_was),
        cmocka_unit_test(test_no_number_is_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
