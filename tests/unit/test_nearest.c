/* nearest: which word was meant, and when none was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/nearest.h"

static const char *const verbs[] = {"status", "limits", "pause", "pauses", "resume", "reload", "open"};

static const char *
meant(const char *word)
{
    return nearest_word(span_str(word), verbs, sizeof(verbs) / sizeof(verbs[0]));
}

static void
test_distance(void **state)
{
    (void)state;
    assert_int_equal(nearest_distance(SPAN_LIT(""), SPAN_LIT("")), 0);
    assert_int_equal(nearest_distance(SPAN_LIT("pause"), SPAN_LIT("")), 5);
    assert_int_equal(nearest_distance(SPAN_LIT("pause"), SPAN_LIT("PAUSE")), 0);
    assert_int_equal(nearest_distance(SPAN_LIT("puase"), SPAN_LIT("pause")), 1);
    assert_int_equal(nearest_distance(SPAN_LIT("reload"), SPAN_LIT("resume")), 4);
}

static void
test_meant(void **state)
{
    (void)state;
    assert_string_equal(meant("stauts"), "status");
    assert_string_equal(meant("Limit"), "limits");
    assert_string_equal(meant("puase"), "pause");
    assert_string_equal(meant("opne"), "open");
}

static void
test_none_is_close(void **state)
{
    char huge[NEAREST_WORD_MAX + 1];

    (void)state;
    assert_null(meant("frobnicate"));
    assert_null(meant(""));
    assert_null(meant("x"));
    memset(huge, 'a', sizeof(huge));
    assert_null(nearest_word(span_of(huge, sizeof(huge)), verbs, 7));
    assert_true(nearest_distance(span_of(huge, sizeof(huge)), SPAN_LIT("a")) == SIZE_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_meant),
        cmocka_unit_test(test_none_is_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
