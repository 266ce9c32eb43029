/* The control commands: who may use which, what their parameters may be, what they answer
 * and whom they ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "relay/admin/command.h"
#include "tests/unit/admin_fakes.h"

static const struct peer root = {.uid = 0, .privilege = PRIVILEGE_ALL, .actor = "uid=0(root)"};
static const struct peer reader = {.uid = 1000, .privilege = PRIVILEGE_READ, .actor = "uid=1000"};

static void
keep(void *arg, json_t *answer)
{
    json_t **out = arg;

    *out = json_incref(answer);
}

static json_t *
ask_as(struct fixture *f, const struct peer *peer, const char *line)
{
    json_t *answer = NULL;

    command_start(f->admin, peer, span_str(line), keep, &answer);
    assert_null(answer); /* never during the call */
    for (int i = 0; i < 20 && !answer; i++)
        loop_turn(f->loop, 0);
    assert_non_null(answer);
    return answer;
}

static void
expect_error(
    struct fixture *f, const struct peer *peer, const char *line, const char *code, const char *words)
{
    json_t *a = ask_as(f, peer, line);

    assert_false(json_is_true(json_object_get(a, "ok")));
    assert_string_equal(json_string_value(json_object_get(a, "code")), code);
    if (!strstr(json_string_value(json_object_get(a, "error")), words))
        fail_msg("\"%s\" is not in \"%s\"", words, json_string_value(json_object_get(a, "error")));
    json_decref(a);
}

static json_t *
expect_ok(struct fixture *f, const char *line)
{
    json_t *a = ask_as(f, &root, line);

    if (!json_is_true(json_object_get(a, "ok")))
        fail_msg("%s: %s", line, json_string_value(json_object_get(a, "error")));
    return a;
}

static void
test_lines_that_are_no_request(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, NULL);
    expect_error(&f, &root, "", "usage", "not one JSON object");
    expect_error(&f, &root, "status", "usage", "not one JSON object");
    expect_error(&f, &root, "[1]", "usage", "no text \"command\"");
    expect_error(&f, &root, "{}", "usage", "no text \"command\"");
    expect_error(&f, &root, "{\"command\":7}", "usage", "no text \"command\"");
    expect_error(&f, &root, "{\"command\":\"status\"} x", "usage", "not one JSON object");
    expect_error(&f, &root, "{\"command\":\"status\",\"command\":\"drain\"}", "usage", "not one JSON object");
    expect_error(&f, &root, "{\"command\":\"stauts\"}", "usage", "did you mean \"status\"");
    expect_error(&f, &root, "{\"command\":\"frobnicate\"}", "usage", "no command \"frobnicate\"");
    fixture_close(&f);
}

static void
test_parameters(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, NULL);
    expect_error(&f, &root, "{\"command\":\"pause\"}", "usage", "\"scope\" is missing");
    expect_error(&f, &root, "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\"}", "usage",
        "\"reason\" is missing");
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"rout\",\"instance\":\"contoso\",\"reason\":\"x\"}", "usage",
        "did you mean \"route\"");
    expect_error(&f, &root, "{\"command\":\"pause\",\"scop\":\"route\"}", "usage", "did you mean \"scope\"");
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contosso\",\"reason\":\"x\"}", "usage",
        "did you mean \"contoso\"");
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"x\",\"for\":"
        "\"soon\"}",
        "usage", "for example 90s");
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"a\\nb\"}", "usage",
        "printable ASCII");
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"sender\",\"instance\":\"nobody\",\"reason\":\"x\"}", "usage",
        "no mail address");
    expect_error(&f, &root, "{\"command\":\"open\",\"reason\":\"\"}", "usage", "not empty");
    expect_error(&f, &root, "{\"command\":\"open\",\"reason\":\"  \\t \"}", "usage", "not empty");
    expect_error(&f, &root, "{\"command\":\"open\",\"reason\":7}", "usage", "must be a text");
    expect_error(&f, &root, "{\"command\":\"reload\",\"now\":\"yes\"}", "usage", "leave it out");
    assert_int_equal(fake.asked + fake.reloads + fake.opens, 0);
    fixture_close(&f);
}

static void
test_privileges(void **state)
{
    struct fixture f;
    const struct command *table;
    size_t n;
    char line[128];

    (void)state;
    fixture_open(&f, NULL);
    table = command_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (table[i].privilege == PRIVILEGE_READ)
            continue;
        snprintf(line, sizeof(line), "{\"command\":\"%s\"}", table[i].name);
        expect_error(&f, &reader, line, "refused", "uid=1000 may not use");
    }
    json_decref(ask_as(&f, &reader, "{\"command\":\"status\"}"));
    assert_int_equal(fake.reloads + fake.drains + fake.opens + fake.resumes, 0);
    fixture_close(&f);
}

static void
test_status(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    fixture_open(&f, NULL);
    snprintf(fake.pauses[0].instance, INSTANCE_MAX, "contoso");
    fake.pauses[0].class = CLASS_BLOCK_TENANT;
    snprintf(fake.pauses[0].reason, PAUSE_TEXT_MAX, "550 5.7.708 \xff");
    fake.n_pauses = 1;
    a = expect_ok(&f, "{\"command\":\"status\"}");
    assert_string_equal(json_string_value(json_object_get(a, "node")), "relay1");
    assert_true(json_is_true(json_object_get(a, "ready")));
    assert_int_equal(json_integer_value(json_object_get(a, "messages_in_flight")), 3);
    assert_int_equal(json_array_size(json_object_get(a, "profiles")), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *p = json_array_get(json_object_get(a, "profiles"), i);

        assert_int_equal(json_is_true(json_object_get(p, "old")), i == 0);
        assert_int_equal(json_integer_value(json_object_get(p, "age_days")) > 2000, i == 0);
    }
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(a, "warmups"), 0), "cap")), 70);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(a, "pauses"), 0), "reason")),
        "550 5.7.708 ?");
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(a, "pauses"), 0), "advice")),
        "Look at Restricted entities, then open a ticket.");
    json_decref(a);
    fake.pauses[0].class = CLASS_OK; /* somebody's own words, whatever they look like */
    a = expect_ok(&f, "{\"command\":\"pauses\"}");
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(a, "pauses"), 0), "advice")), "");
    json_decref(a);
    fake.store.up = false;
    fake.store.error = STORE_TIMEOUT;
    a = expect_ok(&f, "{\"command\":\"status\"}");
    assert_false(json_is_true(json_object_get(a, "ready")));
    json_decref(a);
    fixture_close(&f);
}

static size_t
count_limits(struct fixture *f, const char *line)
{
    json_t *a = expect_ok(f, line);
    size_t n = json_array_size(json_object_get(a, "limits"));

    json_decref(a);
    return n;
}

static void
test_limits(void **state)
{
    struct fixture f;
    json_t *a, *row;

    (void)state;
    fixture_open(&f, NULL);
    fake.used = 30;
    assert_int_equal(
        count_limits(&f, "{\"command\":\"limits\"}"), 5); /* the sender limit has one known sender */
    assert_int_equal(count_limits(&f, "{\"command\":\"limits\",\"scope\":\"route\"}"), 2);
    expect_error(&f, &root, "{\"command\":\"limits\",\"scope\":\"client\",\"instance\":\"nobody\"}", "usage",
        "there is no client \"nobody\"; there is erp");
    expect_error(&f, &root, "{\"command\":\"limits\",\"scope\":\"route\",\"instance\":\"contosso\"}", "usage",
        "did you mean \"contoso\"?");
    expect_error(&f, &root, "{\"command\":\"limits\",\"instance\":\"nobody\"}", "usage", "nothing called");
    assert_int_equal(count_limits(&f, "{\"command\":\"limits\",\"instance\":\"erp\"}"), 1);
    assert_int_equal(
        count_limits(&f, "{\"command\":\"limits\",\"scope\":\"sender\",\"instance\":\"a@contoso.com\"}"), 1);
    a = expect_ok(&f, "{\"command\":\"limits\",\"scope\":\"sender\",\"instance\":\"SCAN@contoso.com\"}");
    row = json_array_get(json_object_get(a, "limits"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "instance")), "scan@contoso.com");
    json_decref(a);
    a = expect_ok(&f, "{\"command\":\"limits\",\"scope\":\"mailbox\"}");
    row = json_array_get(json_object_get(a, "limits"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "limit")), "mailbox-minute");
    assert_int_equal(json_integer_value(json_object_get(row, "used")), 30);
    assert_int_equal(json_integer_value(json_object_get(row, "cap")), 25);
    assert_int_equal(json_integer_value(json_object_get(row, "remaining")), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "configured")), 25);
    assert_int_equal(json_integer_value(json_object_get(row, "frees_after_ms")), 90000);
    assert_true(json_is_null(json_object_get(row, "rate")));
    json_decref(a);
    a = expect_ok(&f, "{\"command\":\"limits\",\"scope\":\"client\",\"instance\":\"erp\"}");
    row = json_array_get(json_object_get(a, "limits"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "kind")), "rate");
    assert_int_equal(json_integer_value(json_object_get(row, "rate")), 100);
    json_decref(a);
    a = expect_ok(&f, "{\"command\":\"limits\",\"scope\":\"sender\"}");
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(a, "limits"), 0), "cap")));
    json_decref(a);
    fake.answers = ANSWER_FAILS;
    expect_error(&f, &root, "{\"command\":\"limits\"}", "refused", "timeout");
    fixture_close(&f);
}

static void
test_warmup(void **state)
{
    struct fixture f;
    json_t *a, *row;

    (void)state;
    fixture_open(&f, NULL);
    a = expect_ok(&f, "{\"command\":\"warmup\"}");
    assert_int_equal(json_array_size(json_object_get(a, "warmups")), 1);
    row = json_array_get(json_object_get(a, "warmups"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "cap")), 70);
    assert_int_equal(json_integer_value(json_object_get(row, "hour_cap")), 10);
    assert_int_equal(json_integer_value(json_object_get(row, "next_cap")), 98);
    assert_int_equal(
        json_integer_value(json_object_get(row, "peak_needed")), 53); /* 75 % of 70, rounded up */
    json_decref(a);
    expect_error(&f, &root, "{\"command\":\"warmup\",\"route\":\"x\"}", "usage", "no route \"x\"");
    fixture_close(&f);
}

static void
test_pause(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    fixture_open(&f, NULL);
    fake.now_ms = 1700000000000; /* not this machine's clock: Redis' */
    json_decref(expect_ok(&f,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"tests\",\"for\":"
        "\"30min\"}"));
    assert_int_equal(fake.paused.scope, SCOPE_ROUTE);
    assert_int_equal(fake.paused.extent, PAUSE_EXTERNAL);
    assert_int_equal(fake.paused.class, CLASS_OK);
    assert_int_equal(fake.paused.until_utc_ms, fake.now_ms + 30 * 60 * 1000);
    fake.pauses[0] = fake.paused;
    fake.n_pauses = 1;
    fake.now_ms += 10 * 60 * 1000;
    a = expect_ok(&f, "{\"command\":\"pauses\"}");
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(a, "pauses"), 0), "left_ms")),
        20 * 60 * 1000);
    json_decref(a);
    assert_string_equal(fake.paused.actor, "uid=0(root)");
    json_decref(expect_ok(&f,
        "{\"command\":\"pause\",\"scope\":\"sender\",\"instance\":\"A@CONTOSO.com\",\"extent\":\"all\","
        "\"reason\":\"x\"}"));
    assert_string_equal(fake.paused.instance, "a@contoso.com");
    assert_int_equal(fake.paused.extent, PAUSE_ALL);
    assert_int_equal(fake.paused.until_utc_ms, 0);
    json_decref(expect_ok(&f,
        "{\"command\":\"pause\",\"scope\":\"sender_domain\",\"instance\":\"Contoso.COM\",\"reason\":\"x\"}"));
    assert_string_equal(fake.paused.instance, "contoso.com");
    fake.pause_result = PAUSE_STANDS; /* then it must say until when that one does */
    fake.pauses[0].until_utc_ms = fake.now_ms + 2000;
    a = expect_ok(&f,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"x\",\"for\":"
        "\"1min\"}");
    assert_string_equal(json_string_value(json_object_get(a, "until")), "2023-11-14T22:23:22.000Z");
    assert_true(json_is_true(json_object_get(a, "stood")));
    json_decref(a);
    fake.pause_result = PAUSE_NO_PLACE; /* then it must not say that it holds */
    expect_error(&f, &root,
        "{\"command\":\"pause\",\"scope\":\"sender_domain\",\"instance\":\"contoso.com\",\"reason\":\"x\"}",
        "refused", "not paused: as many pauses");
    fixture_close(&f);
}

/* ---- an operator's word about a warm-up ---- */

#define WARMUP(verb, more) "{\"command\":\"warmup-" verb "\",\"route\":\"contoso\"" more "}"
#define WHY ",\"reason\":\"audit\""

static void
test_warmup_hold(void **state)
{
    struct fixture f;
    json_t *a, *row, *hold;

    (void)state;
    fixture_open(&f, NULL);
    fake.now_ms = 1700000000000;
    expect_error(&f, &root, WARMUP("hold", ""), "usage", "\"reason\" is missing");
    expect_error(&f, &root, "{\"command\":\"warmup-hold\",\"route\":\"contosso\"" WHY "}", "usage",
        "did you mean \"contoso\"");
    json_decref(expect_ok(&f, WARMUP("hold", WHY ",\"for\":\"12h\"")));
    assert_int_equal(fake.paused.scope, SCOPE_ROUTE);
    assert_int_equal(fake.paused.extent, PAUSE_GROWTH);
    assert_string_equal(fake.paused.instance, "contoso");
    assert_string_equal(fake.paused.reason, "audit");
    assert_string_equal(fake.paused.actor, "uid=0(root)");
    assert_int_equal(fake.paused.until_utc_ms, fake.now_ms + 12 * 3600000);
    fake.pauses[0] = fake.paused;
    fake.n_pauses = 1;
    a = expect_ok(&f, "{\"command\":\"warmup\"}");
    row = json_array_get(json_object_get(a, "warmups"), 0);
    hold = json_object_get(row, "hold");
    assert_string_equal(json_string_value(json_object_get(hold, "actor")), "uid=0(root)");
    assert_string_equal(json_string_value(json_object_get(hold, "reason")), "audit");
    assert_int_equal(json_integer_value(json_object_get(hold, "left_ms")), 12 * 3600000);
    json_decref(a);
    a = expect_ok(&f, "{\"command\":\"pauses\"}"); /* it stops no mail */
    assert_int_equal(json_array_size(json_object_get(a, "pauses")), 0);
    json_decref(a);
    a = expect_ok(&f, "{\"command\":\"resume\",\"scope\":\"route\",\"instance\":\"contoso\"" WHY "}");
    assert_true(json_is_false(json_object_get(a, "resumed"))); /* which is about mail */
    json_decref(a);
    a = expect_ok(&f, WARMUP("resume", WHY));
    assert_true(json_is_true(json_object_get(a, "resumed")));
    json_decref(a);
    fake.n_pauses = 0;
    a = expect_ok(&f, WARMUP("resume", WHY));
    assert_true(json_is_false(json_object_get(a, "resumed")));
    json_decref(a);
    fake.store.up = false;
    expect_error(&f, &root, WARMUP("resume", WHY), "refused", "not known to have happened");
    fake.pause_result = PAUSE_NO_PLACE;
    expect_error(&f, &root, WARMUP("hold", WHY), "refused", "not held: as many");
    fixture_close(&f);
}

static void
test_warmup_step(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    fixture_open(&f, NULL);
    fake.moved_to = 6;
    a = expect_ok(&f, WARMUP("step", WHY));
    assert_int_equal(fake.move.kind, WARMUP_MOVE_ON);
    assert_int_equal(fake.moved_limit->kind, LIMIT_WARMUP);
    assert_false(fake.moved_limit->hour_cap);
    assert_int_equal(json_integer_value(json_object_get(a, "from")), 5);
    assert_int_equal(json_integer_value(json_object_get(a, "to")), 6);
    assert_int_equal(json_integer_value(json_object_get(a, "cap")), 268);
    json_decref(a);
    json_decref(expect_ok(&f, WARMUP("step", WHY ",\"back\":\"yes\"")));
    assert_int_equal(fake.move.kind, WARMUP_MOVE_BACK);
    json_decref(expect_ok(&f, WARMUP("set", WHY ",\"step\":\"9\"")));
    assert_int_equal(fake.move.kind, WARMUP_MOVE_TO);
    assert_int_equal(fake.move.to, 9);
    expect_error(&f, &root, WARMUP("set", WHY), "usage", "\"step\" is missing");
    expect_error(&f, &root, WARMUP("set", WHY ",\"step\":\"0\""), "usage", "from 1 to 1000");
    expect_error(&f, &root, WARMUP("set", WHY ",\"step\":\"1001\""), "usage", "from 1 to 1000");
    expect_error(&f, &root, WARMUP("set", WHY ",\"step\":\"x\""), "usage", "must be a number");
    expect_error(&f, &root, WARMUP("set", ",\"step\":\"9\""), "usage", "\"reason\" is missing");
    fake.answers = ANSWER_FAILS;
    expect_error(&f, &root, WARMUP("step", WHY), "refused", "not known to have happened");
    fixture_close(&f);
}

static const char resume_line[] =
    "{\"command\":\"resume\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"fixed\"}";

static void
test_resume(void **state)
{
    struct fixture f;
    json_t *a;

    (void)state;
    fixture_open(&f, NULL);
    a = expect_ok(&f, resume_line);
    assert_true(json_is_false(
        json_object_get(a, "resumed"))); /* and nothing was asked: saying it twice does no harm */
    assert_int_equal(fake.resumes, 0);
    json_decref(a);
    fake.store.up = false; /* then another node may know of a pause that this one does not */
    expect_error(&f, &root, resume_line, "refused", "not known to have happened");
    fake.store.up = true;
    snprintf(fake.pauses[0].instance, INSTANCE_MAX, "contoso");
    fake.n_pauses = 1;
    a = expect_ok(&f, resume_line);
    assert_true(json_is_true(json_object_get(a, "resumed")));
    json_decref(a);
    fake.answers = ANSWER_FAILS;
    expect_error(&f, &root, resume_line, "refused", "not known to have happened");
    assert_int_equal(fake.resumes, 2);
    fixture_close(&f);
}

static void
test_open_reload_drain(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, NULL);
    json_decref(expect_ok(&f, "{\"command\":\"open\",\"reason\":\"restored from backup\"}"));
    assert_int_equal(fake.opens, 1);
    json_decref(expect_ok(&f, "{\"command\":\"reload\"}"));
    assert_string_equal(fake.reload_actor, "uid=0(root)");
    fake.reload_fails = true;
    expect_error(&f, &root, "{\"command\":\"reload\"}", "refused", "sendgov.yaml:3:1");
    json_decref(expect_ok(&f, "{\"command\":\"drain\"}"));
    assert_int_equal(fake.drains, 1);
    fixture_close(&f);
}

/* The process may end, and the asker hang up, while Redis still owes the answer. */
static void
test_gone_before_the_answer(void **state)
{
    struct fixture f;
    json_t *answer = NULL;
    struct call *call;

    (void)state;
    fixture_open(&f, NULL);
    call = command_start(f.admin, &root, SPAN_LIT("{\"command\":\"limits\"}"), keep, &answer);
    call_forget(&call);
    loop_turn(f.loop, 0);
    assert_null(answer);
    fake.answers = ANSWER_NEVER;
    command_start(f.admin, &root, SPAN_LIT("{\"command\":\"limits\"}"), keep, &answer);
    admin_free(&f.admin);
    assert_true(fake.forgotten > 0);
    assert_null(answer);
    fixture_close(&f);
}

/* A reload on another connection, while Redis still owes the counters of the configuration before. */
static void
test_reload_before_the_answer(void **state)
{
    struct fixture f;
    struct config other;
    json_t *answer = NULL;
    struct err err;

    (void)state;
    fixture_open(&f, NULL);
    loop_turn(f.loop, 0);
    other = f.config;
    command_start(f.admin, &root, SPAN_LIT("{\"command\":\"limits\"}"), keep, &answer);
    assert_int_equal(admin_configure(f.admin, &other, &err), 0);
    assert_true(f.config.references > 1); /* its limits are named in the answer */
    while (answer == NULL)
        loop_turn(f.loop, 5);
    assert_true(json_is_true(json_object_get(answer, "ok")));
    assert_int_equal(f.config.references, 1);
    json_decref(answer);
    fixture_close(&f);
}

static void
test_gone_before_resume_is_answered(void **state)
{
    struct fixture f;
    json_t *answer = NULL;

    (void)state;
    fixture_open(&f, NULL);
    snprintf(fake.pauses[0].instance, INSTANCE_MAX, "contoso");
    fake.n_pauses = 1;
    command_start(f.admin, &root, SPAN_LIT(resume_line), keep, &answer);
    admin_free(&f.admin);
    loop_turn(f.loop, 0); /* the store answers into the void; nothing leaks, nothing is touched */
    assert_null(answer);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_that_are_no_request),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_privileges),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_warmup_hold),
        cmocka_unit_test(test_warmup_step),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_open_reload_drain),
        cmocka_unit_test(test_gone_before_the_answer),
        cmocka_unit_test(test_gone_before_resume_is_answered),
        cmocka_unit_test(test_reload_before_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
