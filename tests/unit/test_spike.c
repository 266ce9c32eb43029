/* spike: what is usual, the ceiling that follows from it, and how fast a runaway lifts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/refusal.h"
#include "policy/spike.h"
#include "policy/window.h"

#define START_US (HOUR_US * 480000)
#define HISTORY 2000

static uint64_t
at_hour(size_t hour)
{
    return START_US + hour * HOUR_US;
}

static uint64_t
next(uint64_t *random, uint64_t below)
{
    *random = *random * 6364136223846793005ull + 1442695040888963407ull;
    return (*random >> 33) % below;
}

/* The usual by its definition, from all that ever happened. */
static uint64_t
by_definition(const uint64_t *counts, size_t now)
{
    uint64_t sorted[SPIKE_HOURS + SPIKE_HOURS_LEAST] = {0};
    size_t n = 0, used = 0;

    for (size_t h = now > SPIKE_HOURS ? now - SPIKE_HOURS : 0; h < now; h++)
        used += counts[h] > 0;
    for (n = used; n < SPIKE_HOURS_LEAST; n++)
        sorted[n - used] = 0;
    n = n > used ? n - used : 0;
    for (size_t h = now > SPIKE_HOURS ? now - SPIKE_HOURS : 0; h < now; h++) {
        size_t i = n;

        if (counts[h] == 0)
            continue;
        for (; i > 0 && sorted[i - 1] > counts[h]; i--)
            sorted[i] = sorted[i - 1];
        sorted[i] = counts[h];
        n++;
    }
    return sorted[(n - 1) / 2];
}

static void
the_usual_is_the_lower_median_of_hours_with_use(void **state)
{
    static uint64_t counts[HISTORY];
    uint64_t random = 7;
    struct spike s;

    (void)state;
    memset(counts, 0, sizeof(counts));
    spike_init(&s, at_hour(0));
    for (size_t h = 0; h < HISTORY; h += next(&random, 50) == 0 ? next(&random, 200) : 1 + next(&random, 2)) {
        spike_turn(&s, at_hour(h));
        assert_int_equal(s.usual, by_definition(counts, h));
        for (uint64_t i = next(&random, 3); i > 0; i--) {
            uint64_t n = 1 + next(&random, 40);

            counts[h] += n;
            spike_take(&s, n);
            assert_int_equal(s.usual, by_definition(counts, h)); /* the present hour has no say */
        }
    }
}

/* As spike.h says: a scope that is new, and uses all it may. */
static void
a_runaway_lifts_its_ceiling_slowly(void **state)
{
    struct spike s;

    (void)state;
    spike_init(&s, at_hour(0));
    for (size_t hour = 1; hour <= 55; hour++) {
        uint64_t ceiling;

        spike_turn(&s, at_hour(hour));
        ceiling = spike_ceiling(s.usual, 20, 3000);
        assert_int_equal(ceiling, hour <= 13 ? 20 : hour <= 27 ? 60 : 180);
        spike_take(&s, ceiling);
    }
    spike_turn(&s, at_hour(56));
    assert_int_equal(spike_ceiling(s.usual, 20, 3000), 540);
}

static void
hours_of_use_must_be_outnumbered(void **state)
{
    struct spike s;

    (void)state;
    spike_init(&s, at_hour(0));
    for (size_t hour = 1; hour <= 40; hour++) {
        spike_turn(&s, at_hour(hour));
        spike_take(&s, 20);
    }
    for (size_t hour = 41; hour <= 81; hour++) {
        spike_turn(&s, at_hour(hour));
        assert_int_equal(spike_ceiling(s.usual, 20, 3000), 60);
        spike_take(&s, 60);
    }
    spike_turn(&s, at_hour(82));
    assert_int_equal(spike_ceiling(s.usual, 20, 3000), 180);
}

static void
a_week_of_silence_forgets_all(void **state)
{
    struct spike s;

    (void)state;
    spike_init(&s, at_hour(0));
    for (size_t hour = 0; hour < 30; hour++) {
        spike_turn(&s, at_hour(hour));
        spike_take(&s, 50);
    }
    spike_turn(&s, at_hour(29 + SPIKE_HOURS - 20));
    assert_int_equal(s.usual, 50); /* 21 hours of it are left */
    spike_turn(&s, at_hour(29 + SPIKE_HOURS - 11));
    assert_int_equal(s.usual, 0); /* 12 are too few */
    spike_turn(&s, at_hour(29 + SPIKE_HOURS));
    assert_int_equal(s.counts[(480000 + 29) % SPIKE_SLOTS], 50);
    spike_turn(&s, at_hour(29 + SPIKE_HOURS + 1));
    for (size_t i = 0; i < SPIKE_SLOTS; i++)
        assert_int_equal(s.counts[i], 0);
    spike_take(&s, 5);
    spike_turn(&s, at_hour(10000));
    for (size_t i = 0; i < SPIKE_SLOTS; i++)
        assert_int_equal(s.counts[i], 0);
}

static void
what_is_given_back_was_never_usual(void **state)
{
    struct spike s;

    (void)state;
    spike_init(&s, at_hour(0));
    for (size_t hour = 0; hour < 24; hour++) {
        spike_turn(&s, at_hour(hour));
        spike_take(&s, hour < 12 ? 10 : 30);
    }
    spike_turn(&s, at_hour(24));
    assert_int_equal(s.usual, 10);
    spike_take(&s, 30);
    spike_turn(&s, at_hour(25));
    assert_int_equal(s.usual, 30);
    spike_give(&s, 31, at_hour(24)); /* more than there was: not of this hour */
    spike_give(&s, 30, at_hour(26));
    assert_int_equal(s.usual, 30);
    spike_take(&s, 70);
    spike_give(&s, 30, at_hour(24) + 5);
    assert_int_equal(s.usual, 10); /* the present hour still has no say */
    spike_give(&s, 70, at_hour(25));
    spike_turn(&s, at_hour(26));
    assert_int_equal(s.usual, 10);
}

static void
time_that_goes_back_changes_nothing(void **state)
{
    struct spike s, before;

    (void)state;
    spike_init(&s, at_hour(5));
    spike_take(&s, 3);
    before = s;
    assert_false(spike_turn(&s, at_hour(4)));
    assert_false(spike_turn(&s, at_hour(5) + HOUR_US - 1));
    assert_memory_equal(&s, &before, sizeof(s));
    assert_true(spike_turn(&s, at_hour(6)));
}

static void
sums_stay_exact(void **state)
{
    struct spike s;

    (void)state;
    spike_init(&s, at_hour(0));
    for (int i = 0; i < 5; i++)
        spike_take(&s, CAP_MAX - 1);
    assert_int_equal(s.counts[s.hour % SPIKE_SLOTS], CAP_MAX);
    assert_int_equal(spike_ceiling(CAP_MAX, 1, 100000), CAP_MAX);
    assert_int_equal(spike_ceiling(CAP_MAX, 1, 1000), CAP_MAX);
    assert_int_equal(spike_ceiling(21, 20, 2500), 52);
    assert_int_equal(spike_ceiling(6, 20, 3000), 20);
    assert_int_equal(spike_ceiling(123456789012, 1, 1001), 123580245801);
    for (uint64_t usual = 1; usual < 5000; usual += 7)
        for (uint64_t factor = 1000; factor < 9000; factor += 333)
            assert_int_equal(spike_usual_of(spike_ceiling(usual, 1, factor), factor), usual);
    assert_int_equal(spike_usual_of(CAP_MAX, 1000), CAP_MAX);
}

static void
the_refusal_says_what_is_usual(void **state)
{
    struct limit_conf l = {.name = "loop", .kind = LIMIT_SPIKE, .scope = SCOPE_CLIENT, .unit = UNIT_MESSAGES,
        .value = 20, .period_ms = 3600000, .factor_milli = 3000};
    struct charge_request r = {.recipients = 1, .least = 1};
    struct verdict v = {.kind = VERDICT_OVER, .limit = &l, .scope = SCOPE_CLIENT, .instance = "erp",
        .used = 60, .cap = 60, .retry_after_ms = 90000};
    struct enhanced enhanced;
    char text[512];
    int code;

    (void)state;
    refusal_format(&v, &r, &code, &enhanced, text, sizeof(text));
    assert_int_equal(code, 451);
    assert_int_equal(enhanced.detail, 5);
    assert_string_equal(text, "spike: limit loop (client erp) used 60 of 60 messages in an hour, 3 x the "
        "usual 20; retry after 90 s");
    v.used = v.cap = 52;
    l.factor_milli = 2500;
    refusal_format(&v, &r, &code, &enhanced, text, sizeof(text));
    assert_string_equal(text, "spike: limit loop (client erp) used 52 of 52 messages in an hour, 2.5 x the "
        "usual 21; retry after 90 s");
    v.used = v.cap = 20;
    refusal_format(&v, &r, &code, &enhanced, text, sizeof(text));
    assert_string_equal(text, "spike: limit loop (client erp) used 20 of 20 messages in an hour, the least "
        "it admits; retry after 90 s");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_is_the_lower_median_of_hours_with_use),
        cmocka_unit_test(a_runaway_lifts_its_ceiling_slowly),
        cmocka_unit_test(hours_of_use_must_be_outnumbered),
        cmocka_unit_test(a_week_of_silence_forgets_all),
        cmocka_unit_test(what_is_given_back_was_never_usual),
        cmocka_unit_test(time_that_goes_back_changes_nothing),
        cmocka_unit_test(sums_stay_exact),
        cmocka_unit_test(the_refusal_says_what_is_usual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
