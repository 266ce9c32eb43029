/* limits-explain: who the client is, which way its mail goes, what each limit says, and when all of it
 * passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "relay/admin/command.h"
#include "tests/unit/admin_fakes.h"

#define APP "\"sender\":\"app@contoso.com\",\"recipients\":"
#define ONE APP "[\"u@fabrikam.com\"]"
#define OTHER "\"sender\":\"x@other.com\",\"recipients\":[\"a@b.c\"]"

static const struct peer reader = {.uid = 1000, .privilege = PRIVILEGE_READ, .actor = "uid=1000"};

static void
keep(void *arg, json_t *answer)
{
    json_t **out = arg;

    *out = json_incref(answer);
}

static json_t *
ask(struct fixture *f, const char *params)
{
    json_t *answer = NULL;
    char line[4096];

    snprintf(line, sizeof(line), "{\"command\":\"limits-explain\",%s}", params);
    command_start(f->admin, &reader, span_str(line), keep, &answer);
    assert_null(answer);
    for (int i = 0; i < 20 && !answer; i++)
        loop_turn(f->loop, 0);
    assert_non_null(answer);
    return answer;
}

static json_t *
ask_ok(struct fixture *f, const char *params)
{
    json_t *a = ask(f, params);

    if (!json_is_true(json_object_get(a, "ok")))
        fail_msg("%s: %s", params, json_string_value(json_object_get(a, "error")));
    return a;
}

static void
expect_error(struct fixture *f, const char *params, const char *code, const char *words)
{
    json_t *a = ask(f, params);

    assert_false(json_is_true(json_object_get(a, "ok")));
    assert_string_equal(json_string_value(json_object_get(a, "code")), code);
    if (!strstr(json_string_value(json_object_get(a, "error")), words))
        fail_msg("\"%s\" is not in \"%s\"", words, json_string_value(json_object_get(a, "error")));
    json_decref(a);
}

static const char *
text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "(none)";
}

static json_int_t
number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static json_t *
transaction(const json_t *a, size_t i)
{
    return json_array_get(json_object_get(a, "transactions"), i);
}

static json_t *
limit(const json_t *t, const char *name)
{
    json_t *l;
    size_t i;

    json_array_foreach(json_object_get(t, "limits"), i, l)
        if (strcmp(text(l, "limit"), name) == 0)
            return l;
    fail_msg("limit %s is not named", name);
    return NULL;
}

static void
open_fixture(struct fixture *f)
{
    fixture_open(f, NULL);
    fake.now_ms = 1700000000000;
    fake.verdict = (struct verdict){.kind = VERDICT_GRANTED, .granted = 1, .time_us = 1700000000000000};
}

static void
test_questions_that_make_no_sense(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    expect_error(&f, "\"sender\":\"app@contoso.com\"", "usage", "\"recipients\" is missing");
    expect_error(&f, APP "\"a@b.c\"", "usage", "a list of 1 to 100");
    expect_error(&f, APP "[]", "usage", "a list of 1 to 100");
    expect_error(&f, APP "[7]", "usage", "a list of 1 to 100");
    expect_error(&f, APP "[\"a@b.c\",\"x\"]", "usage", "\"x\" is no");
    expect_error(&f, "\"sender\":\"app\",\"recipients\":[\"a@b.c\"]", "usage", "\"app\" is no mail address");
    expect_error(&f, ONE ",\"client\":\"rep\"", "usage", "did you mean \"erp\"");
    expect_error(&f, ONE ",\"client\":\"10.21.0.1\"", "usage", "there is no client");
    expect_error(&f, ONE ",\"bytes\":\"many\"", "usage", "must be a number");
    expect_error(&f, OTHER, "refused", "no client may send as");
    expect_error(&f, "\"sender\":\"<>\",\"recipients\":[\"a@b.c\"]", "refused", "the null sender");
    assert_int_equal(fake.asked + fake.looks, 0);
    fake.answers = ANSWER_FAILS;
    expect_error(&f, ONE, "refused", "timeout");
    fixture_close(&f);
}

static void
test_each_limit_is_named(void **state)
{
    struct fixture f;
    json_t *a, *t, *l;

    (void)state;
    open_fixture(&f);
    fake.used = 3;
    a = ask_ok(&f, ONE);
    assert_string_equal(text(a, "client"), "erp");
    assert_string_equal(text(a, "client_by"), "sender");
    assert_string_equal(text(a, "route"), "contoso");
    assert_string_equal(text(a, "outcome"), "relayed");
    assert_string_equal(text(a, "answer"), "250 2.0.0 relayed as ID");
    assert_int_equal(number(a, "passes_after_ms"), 0);
    t = transaction(a, 0);
    assert_string_equal(text(t, "class"), "external");
    assert_int_equal(json_array_size(json_object_get(t, "limits")), 3); /* it has no mailbox */
    l = limit(t, "warmup");
    assert_string_equal(text(l, "instance"), "contoso");
    assert_int_equal(number(l, "step"), 2);
    assert_int_equal(number(l, "configured"), 70);
    l = limit(t, "erp-burst");
    assert_int_equal(number(l, "configured"), 20);
    assert_int_equal(number(l, "rate"), 100);
    assert_int_equal(number(l, "wanted"), 1);
    assert_false(json_is_true(json_object_get(l, "binds")));
    json_decref(a);
    assert_int_equal(f.config.references, 2); /* of fixture and admin: the explanation let go of it */
    fixture_close(&f);
}

static void
test_a_client_by_login_or_network(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    open_fixture(&f);
    a = ask_ok(&f, ONE ",\"client\":\"erp-login\"");
    assert_string_equal(text(a, "client_by"), "login");
    json_decref(a);
    a = ask_ok(&f, ONE ",\"client\":\"10.20.3.4\"");
    assert_string_equal(text(a, "client_by"), "network");
    json_decref(a);
    a = ask_ok(&f, OTHER ",\"client\":\"erp\"");
    assert_string_equal(text(a, "outcome"), "refused");
    assert_non_null(strstr(text(a, "answer"), "550 5.7.60 client erp may not send as x@other.com"));
    json_decref(a);
    a = ask_ok(&f, ONE ",\"bytes\":40000000");
    assert_non_null(strstr(text(a, "answer"), "552 5.3.4"));
    json_decref(a);
    assert_int_equal(fake.looks, 2);
    fixture_close(&f);
}

static void
test_why_a_cap_is_lower(void **state)
{
    struct fixture f;
    json_t *a, *low;

    (void)state;
    open_fixture(&f);
    fake.nodes_cap = 15;
    fake.upstream_cap = 18;
    a = ask_ok(&f, ONE);
    low = json_object_get(limit(transaction(a, 0), "erp-burst"), "lowered");
    assert_int_equal(json_array_size(low), 2);
    assert_string_equal(text(json_array_get(low, 0), "by"), "node");
    assert_int_equal(number(json_array_get(low, 0), "cap"), 15);
    assert_string_equal(text(json_array_get(low, 1), "by"), "upstream");
    assert_string_equal(text(json_array_get(low, 1), "until"), "2023-11-14T23:13:20.000Z");
    json_decref(a);
    fake.nodes_cap = 20; /* no less than here */
    fake.upstream_cap = 0;
    a = ask_ok(&f, ONE);
    assert_int_equal(json_array_size(json_object_get(limit(transaction(a, 0), "erp-burst"), "lowered")), 0);
    json_decref(a);
    fixture_close(&f);
}

/* Of what the limits say, what the verdict says and the pauses, the latest counts. */
static void
test_when_all_of_it_passes(void **state)
{
    struct fixture f;
    json_t *a, *l;
    struct limit_conf limits[8];

    (void)state;
    open_fixture(&f);
    assert_true(f.config.n_limits <= sizeof(limits) / sizeof(limits[0]));
    memcpy(limits, f.config.limits, f.config.n_limits * sizeof(limits[0]));
    f.config.limits = limits;
    fake.used = 30; /* erp-burst is full for 90 s */
    fake.verdict = (struct verdict){.kind = VERDICT_OVER, .granted = 1, .limit = &f.config.limits[3],
        .scope = SCOPE_CLIENT, .instance = "erp", .used = 31, .cap = 19, .retry_after_ms = 100000};
    a = ask_ok(&f, ONE);
    assert_string_equal(text(a, "outcome"), "held");
    l = limit(transaction(a, 0), "erp-burst");
    assert_true(json_is_true(json_object_get(l, "binds")));
    assert_int_equal(number(l, "used"), 31);
    assert_int_equal(number(l, "cap"), 19);
    assert_int_equal(number(l, "passes_after_ms"), 100000);
    assert_string_equal(text(l, "passes_at"), "2023-11-14T22:15:00.000Z");
    assert_int_equal(number(a, "passes_after_ms"), 100000);
    json_decref(a);
    fake.verdict.kind = VERDICT_GRANTED; /* of limits whose answer is another by now */
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), 0);
    json_decref(a);
    fake.is_behind = true; /* of what else holds it nobody knows the end */
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), -1);
    json_decref(a);
    fake.is_behind = false;
    fake.verdict.kind = VERDICT_OVER;
    fake.verdict.limit = NULL; /* what is full in shadow holds nothing */
    fake.verdict.retry_after_ms = 1000;
    for (size_t i = 0; i < f.config.n_limits; i++)
        limits[i].mode = MODE_SHADOW;
    a = ask_ok(&f, ONE);
    l = limit(transaction(a, 0), "erp-burst");
    assert_string_equal(text(l, "mode"), "shadow");
    assert_false(json_is_true(json_object_get(l, "binds")));
    assert_int_equal(number(a, "passes_after_ms"), 1000);
    json_decref(a);
    for (size_t i = 0; i < f.config.n_limits; i++)
        limits[i].mode = MODE_ENFORCE;
    fake.verdict.limit = &f.config.limits[3];
    fake.verdict.retry_after_ms = 1000; /* the use of all limits says more */
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), 90000);
    json_decref(a);

    snprintf(fake.pauses[0].instance, INSTANCE_MAX, "contoso");
    fake.pauses[0].until_utc_ms = 1700000200000;
    snprintf(fake.pauses[1].instance, INSTANCE_MAX, "other");
    fake.n_pauses = 2;
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), 200000);
    assert_int_equal(json_array_size(json_object_get(transaction(a, 0), "pauses")), 1);
    json_decref(a);
    fake.pauses[0].until_utc_ms = 0;
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), -1);
    assert_true(json_is_null(json_object_get(a, "passes_at")));
    json_decref(a);
    fixture_close(&f);
}

/* Both classes, each in a transaction of its own; an external pause does not stop the internal one. */
static void
test_both_classes(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    open_fixture(&f);
    fake.pauses[0].extent = PAUSE_EXTERNAL;
    snprintf(fake.pauses[0].instance, INSTANCE_MAX, "contoso");
    fake.n_pauses = 1;
    a = ask_ok(&f, APP "[\"b@contoso.com\",\"u@x.com\",\"a%b@x.com\",\"v@x.com\"]");
    assert_int_equal(json_array_size(json_object_get(a, "transactions")), 2);
    assert_string_equal(text(transaction(a, 0), "class"), "internal");
    assert_int_equal(json_array_size(json_object_get(transaction(a, 0), "limits")), 0);
    assert_int_equal(number(transaction(a, 0), "passes_after_ms"), 0);
    assert_int_equal(number(limit(transaction(a, 1), "warmup"), "wanted"), 2);
    assert_int_equal(number(transaction(a, 1), "passes_after_ms"), -1);
    assert_int_equal(number(a, "passes_after_ms"), -1);
    assert_int_equal(json_array_size(json_object_get(a, "refused_recipients")), 1);
    json_decref(a);
    a = ask_ok(&f, APP "[\"a%b@x.com\"]");
    assert_string_equal(text(a, "outcome"), "refused");
    json_decref(a);
    fake.plan_fails = true;
    a = ask_ok(&f, ONE);
    assert_int_equal(number(a, "passes_after_ms"), -1);
    json_decref(a);
    fixture_close(&f);
}

static void
test_gone_before_the_answer(void **state)
{
    struct fixture f;
    json_t *answer = NULL;
    struct call *call;

    (void)state;
    open_fixture(&f);
    fake.look_hangs = true;
    for (int turns = 0; turns < 2; turns++) { /* while the use is asked for, and while it is looked */
        fake.answers = turns == 0 ? ANSWER_NEVER : ANSWER_LATER;
        call = command_start(
            f.admin, &reader, SPAN_LIT("{\"command\":\"limits-explain\"," ONE "}"), keep, &answer);
        for (int i = 0; i < 3 && turns > 0; i++)
            loop_turn(f.loop, 0);
        assert_int_equal(fake.looks, turns);
        call_forget(&call);
        loop_turn(f.loop, 0);
        assert_null(answer);
        assert_int_equal(fake.forgotten, turns + 1);
    }
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions_that_make_no_sense),
        cmocka_unit_test(test_each_limit_is_named),
        cmocka_unit_test(test_a_client_by_login_or_network),
        cmocka_unit_test(test_why_a_cap_is_lower),
        cmocka_unit_test(test_when_all_of_it_passes),
        cmocka_unit_test(test_both_classes),
        cmocka_unit_test(test_gone_before_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
