/* Unit tests of pace: back-off, lock-out guard, slow-down; the clock and the dice are the test's. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/upstream/pace.h"

static void
test_backoff_doubles_to_a_minute(void **state)
{
    static const int64_t base_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    struct pace p;
    int64_t now = 1000000;

    (void)state;
    pace_init(&p, 10, false);
    assert_int_equal(pace_wait_ms(&p, now), 0);
    for (size_t i = 0; i < sizeof(base_ms) / sizeof(*base_ms); i++) {
        uint32_t dice = (uint32_t)i * 2654435761u;

        pace_on_failure(&p, now, now, dice);
        assert_in_range(pace_wait_ms(&p, now), base_ms[i] * 8 / 10, base_ms[i] * 12 / 10);
        assert_int_equal(pace_backoff_ms(&p, now), pace_wait_ms(&p, now));
        now += pace_wait_ms(&p, now);
        assert_int_equal(pace_wait_ms(&p, now), 0);
        assert_int_equal(pace_at_once(&p, now), 1);
    }
    assert_true(pace_is_failing(&p));
    pace_on_success(&p);
    assert_false(pace_is_failing(&p));
    assert_int_equal(pace_at_once(&p, now), UINT_MAX);
    pace_on_failure(&p, now, now, 0);
    assert_int_equal(pace_wait_ms(&p, now), 800);
}

static void
test_jitter_spreads(void **state)
{
    struct pace p;
    int64_t least = INT64_MAX, most = 0;

    (void)state;
    for (uint32_t dice = 0; dice < 1000; dice++) {
        int64_t wait;

        pace_init(&p, 1, false);
        pace_on_failure(&p, 0, 0, dice * 7919);
        wait = pace_wait_ms(&p, 0);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_in_range(least, 800, 820);
    assert_in_range(most, 1180, 1200);
}

/* Ten connections that were on their way when the first one failed are one failure. */
static void
test_one_failure_counts_once(void **state)
{
    struct pace p;

    (void)state;
    pace_init(&p, 10, false);
    pace_on_success(&p);
    for (int i = 0; i < 10; i++)
        pace_on_failure(&p, 5000, 6000 + i * 100, 0);
    assert_int_equal(pace_wait_ms(&p, 6000), 800);
    pace_on_failure(&p, 6900, 6900, 0); /* begun after it: the next one */
    assert_int_equal(pace_wait_ms(&p, 6900), 1600);
}

static void
test_no_more_than_three_auth_failures(void **state)
{
    struct pace p;
    int64_t now = 10000, failed[64];
    size_t n = 0;

    (void)state;
    pace_init(&p, 10, true);
    assert_int_equal(pace_at_once(&p, now), 1);
    while (n < 64 && now < 7200000) {
        now += pace_wait_ms(&p, now);
        failed[n++] = now;
        pace_on_auth_failure(&p, now);
        pace_on_failure(&p, now, now, 0);
    }
    assert_true(n > 3);
    for (size_t i = 3; i < n; i++)
        assert_true(failed[i] - failed[i - 3] >= PACE_AUTH_WINDOW_MS);
}

/* So many may be on their way that even if all fail there are no more than three. */
static void
test_logins_at_once_with_auth(void **state)
{
    struct pace p, successor;

    (void)state;
    pace_init(&p, 10, true);
    pace_on_success(&p);
    assert_int_equal(pace_at_once(&p, 1000), 3);
    pace_on_auth_failure(&p, 1000);
    pace_on_failure(&p, 1000, 1000, 0);
    pace_on_success(&p);
    assert_int_equal(pace_at_once(&p, 2000), 2);
    assert_int_equal(pace_at_once(&p, 1000 + PACE_AUTH_WINDOW_MS), 3);
    pace_init(&successor, 5, true);
    pace_inherit(&successor, &p);
    pace_on_success(&successor);
    assert_int_equal(pace_at_once(&successor, 2000), 2);
}

static void
test_slow_down(void **state)
{
    struct pace p;
    int64_t now = 1000, held;

    (void)state;
    pace_init(&p, 8, false);
    pace_on_success(&p);
    assert_int_equal(pace_limit(&p, now), 8);
    assert_true(pace_slow_down(&p, 6, now, 12345));
    held = pace_wait_ms(&p, now);
    assert_in_range(held, 5000, 30000);
    assert_int_equal(pace_backoff_ms(&p, now), 0); /* what is open may be used */
    assert_int_equal(pace_limit(&p, now), 3);
    assert_false(pace_slow_down(&p, 6, now + 1, 1)); /* the same complaint from the others */
    assert_int_equal(pace_limit(&p, now), 3);
    now += held;
    assert_int_equal(pace_wait_ms(&p, now), 0);
    assert_int_equal(pace_limit(&p, now + 59999), 3);
    assert_int_equal(pace_limit(&p, now + 60000), 4);
    assert_int_equal(pace_limit(&p, now + 5 * 60000), 8);
    assert_int_equal(pace_limit(&p, now + INT32_MAX), 8);
    assert_true(pace_slow_down(&p, 1, now + 60000, 0));
    assert_int_equal(pace_limit(&p, now + 60000), 1);
    now += 120000;
    assert_true(pace_slow_down(&p, 0, now, 0));
    assert_int_equal(pace_limit(&p, now), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_doubles_to_a_minute),
        cmocka_unit_test(test_jitter_spreads),
        cmocka_unit_test(test_one_failure_counts_once),
        cmocka_unit_test(test_no_more_than_three_auth_failures),
        cmocka_unit_test(test_logins_at_once_with_auth),
        cmocka_unit_test(test_slow_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
