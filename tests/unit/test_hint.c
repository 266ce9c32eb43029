/* hint: refuses only what the store refused a moment ago, and at least as much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"
#include "relay/flow/hint.h"

static const struct limit_conf limit = {.name = "contoso-warmup", .scope = SCOPE_ROUTE,
    .unit = UNIT_EXTERNAL};
static const struct limit_conf other = {.name = "erp-burst", .scope = SCOPE_CLIENT, .unit = UNIT_EXTERNAL};

static struct charge_request
request(const char *route, const struct limit_conf *which, uint32_t least)
{
    struct charge_request r = {.recipients = least, .least = least, .n_scopes = 1, .n_lines = 1};

    r.scopes[0].scope = SCOPE_ROUTE;
    r.scopes[0].n_lines = 1;
    memcpy(r.scopes[0].instance, route, strlen(route) + 1);
    r.lines[0].limit = which;
    r.lines[0].each = 1;
    return r;
}

static struct hints *
taught(int64_t now, int64_t retry_after_ms)
{
    struct hints *h = xcalloc(1, sizeof(*h));
    struct charge_request r = request("contoso", &limit, 3);
    struct verdict v = {.kind = VERDICT_OVER, .limit = &limit, .scope = SCOPE_ROUTE, .instance = "contoso",
        .used = 50, .cap = 50, .retry_after_ms = retry_after_ms};

    hints_learn(h, &r, &v, now);
    return h;
}

/* It was enforced when the hint was learnt, here or by another node. */
static void
test_a_shadow_refuses_nothing(void **state)
{
    struct limit_conf shadow = limit;
    struct hints *h = taught(1000, 60000);
    struct charge_request same = request("contoso", &shadow, 3);
    struct verdict v;

    (void)state;
    assert_true(hints_refuse(h, &same, 1010, &v));
    shadow.mode = MODE_SHADOW;
    assert_false(hints_refuse(h, &same, 1010, &v));
    free(h);
}

static void
test_refuses_as_much_or_more(void **state)
{
    struct hints *h = taught(1000, 60000);
    struct charge_request less = request("contoso", &limit, 2), same = request("contoso", &limit, 3);
    struct verdict v;

    (void)state;
    assert_false(hints_refuse(h, &less, 1010, &v));
    assert_true(hints_refuse(h, &same, 1010, &v));
    assert_int_equal(v.kind, VERDICT_OVER);
    assert_int_equal(v.used, 50);
    assert_int_equal(v.retry_after_ms, 59990);
    assert_string_equal(v.instance, "contoso");
    free(h);
}

static void
test_forgets_after_a_second_or_when_it_frees(void **state)
{
    struct hints *h = taught(1000, 60000);
    struct charge_request same = request("contoso", &limit, 3);
    struct verdict v;

    (void)state;
    assert_true(hints_refuse(h, &same, 1000 + HINT_MS - 1, &v));
    assert_false(hints_refuse(h, &same, 1000 + HINT_MS, &v));
    free(h);
    h = taught(1000, 20);
    assert_true(hints_refuse(h, &same, 1019, &v));
    assert_false(hints_refuse(h, &same, 1020, &v));
    free(h);
}

static void
test_other_limits_and_instances_pass(void **state)
{
    struct hints *h = taught(1000, 60000);
    struct charge_request elsewhere = request("fabrikam", &limit, 3), another = request("contoso", &other, 3);
    struct charge_request same = request("contoso", &limit, 3);
    struct verdict v;

    (void)state;
    assert_false(hints_refuse(h, &elsewhere, 1010, &v));
    assert_false(hints_refuse(h, &another, 1010, &v));
    hints_clear(h);
    assert_false(hints_refuse(h, &same, 1010, &v));
    free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_as_much_or_more),
        cmocka_unit_test(test_a_shadow_refuses_nothing),
        cmocka_unit_test(test_forgets_after_a_second_or_when_it_frees),
        cmocka_unit_test(test_other_limits_and_instances_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
