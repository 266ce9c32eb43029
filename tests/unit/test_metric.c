/* Unit tests of metric: counting, the bound on series, the exposition format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/base/metric.h"

static void
test_count(void **state)
{
    struct metrics *m = metrics_new();

    (void)state;
    metric_add(m, M_DECISIONS, 1, "granted", NULL, NULL);
    metric_add(m, M_DECISIONS, 2, "granted", NULL, NULL);
    metric_add(m, M_DECISIONS, 5, "granted", "erp", NULL);
    metric_add(m, M_UNCERTAIN, 1, NULL, NULL, NULL);
    assert_true(metric_get(m, M_DECISIONS, "granted", NULL, NULL) == 3);
    assert_true(metric_get(m, M_DECISIONS, "granted", "erp", NULL) == 5);
    assert_true(metric_get(m, M_DECISIONS, "erp", "granted", NULL) == 0);
    assert_true(metric_get(m, M_UNCERTAIN, NULL, NULL, NULL) == 1);
    assert_true(metric_get(m, M_OVERSHOOT, NULL, NULL, NULL) == 0);
    metric_set(m, M_PAUSED, 1, "route", "block-tenant", NULL);
    metric_reset(m, M_PAUSED);
    assert_true(metric_get(m, M_PAUSED, "route", "block-tenant", NULL) == 0);
    metrics_free(&m);
    assert_null(m);
}

static void
test_series_are_bounded(void **state)
{
    struct metrics *m = metrics_new();
    char name[32];
    double sum = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "reason-%d", i);
        metric_add(m, M_CLIENTS_REFUSED, 1, name, NULL, NULL);
        metric_add(m, M_CLIENTS_REFUSED, 1, name, NULL, NULL);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "reason-%d", i);
        sum += metric_get(m, M_CLIENTS_REFUSED, name, NULL, NULL);
    }
    assert_true(sum == 2 * METRIC_SERIES_MAX);
    assert_true(metric_get(m, M_CLIENTS_REFUSED, "other", NULL, NULL) == 2000 - sum);
    metrics_free(&m);
}

static bool
has_line(const struct buf *b, const char *line)
{
    size_t n = strlen(line);

    for (const char *p = b->p; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, line, n) == 0 && p[n] == '\n')
            return true;
    return false;
}

static void
test_format(void **state)
{
    struct metrics *m = metrics_new();
    struct buf b;

    (void)state;
    buf_init(&b);
    metric_add(m, M_STORE_SECONDS, 0.00005, NULL, NULL, NULL);
    metric_add(m, M_STORE_SECONDS, 0.02, NULL, NULL, NULL);
    metric_add(m, M_STORE_SECONDS, 100, NULL, NULL, NULL);
    metric_set(m, M_LIMIT, 1e6, "a\"b\\c\nd\xff", "route", "contoso");
    metric_set(m, M_STORE_UP, 0.5, NULL, NULL, NULL);
    metrics_format(m, &b);
    assert_true(has_line(&b, "# TYPE sendgov_store_seconds histogram"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"5e-05\"} 1"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"0.01\"} 1"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"0.02\"} 2"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"0.025\"} 2"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"10\"} 2"));
    assert_true(has_line(&b, "sendgov_store_seconds_bucket{le=\"+Inf\"} 3"));
    assert_true(has_line(&b, "sendgov_store_seconds_count 3"));
    assert_true(has_line(&b, "sendgov_store_seconds_sum 100.02005"));
    assert_true(has_line(&b,
        "sendgov_limit{limit=\"a\\\"b\\\\c\\nd?\",scope=\"route\",instance=\"contoso\"} 1000000"));
    assert_true(has_line(&b, "sendgov_store_up 0.5"));
    assert_true(has_line(&b, "sendgov_overshoot_total 0"));
    assert_true(has_line(&b, "sendgov_decision_seconds_count 0"));
    assert_null(strstr(b.p, "sendgov_paused")); /* no series, no family */
    buf_fini(&b);
    metrics_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
