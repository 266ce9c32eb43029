/* settle: each outcome of the upstream against what the client hears and what follows for later mail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"
#include "relay/flow/settle.h"

static const struct reply_rule rules[] = {
    {.code = 5, .from = {5, 7, 708}, .to = {5, 7, 708}, .class = CLASS_BLOCK_TENANT},
    {.code = 5, .from = {5, 7, 711}, .to = {5, 7, 711}, .class = CLASS_BLOCK_CONNECTOR},
    {.code = 5, .from = {5, 1, 8}, .to = {5, 1, 8}, .class = CLASS_BLOCK_SENDER},
    {.code = 5, .from = {5, 7, 750}, .to = {5, 7, 750}, .class = CLASS_BLOCK_DOMAIN},
    {.code = 5, .from = {5, 7, 233}, .to = {5, 7, 233}, .class = CLASS_BUDGET},
    {.code = 4, .from = {4, 7, 500}, .to = {4, 7, 699}, .class = CLASS_THROTTLE},
    {.code = 535, .class = CLASS_AUTH},
    {.code = 5, .from = {5, 9, 9}, .to = {5, 9, 9}, .class = CLASS_TEMPORARY},
};
static const struct route_conf route = {.name = "contoso",
    .replies = {rules, sizeof(rules) / sizeof(rules[0])}};
static const struct mailbox_conf mailbox = {.name = "relay@contoso.com", .route = "contoso"};
static const struct client_conf client = {.name = "erp"};

struct scene {
    struct message message;
    struct recipient recipients[2];
    struct tx_recipient fates[2];
    struct tx_outcome outcome;
    struct settlement result;
};

static struct address
address(const char *text)
{
    struct address a;

    assert_int_equal(address_parse_plain(span_str(text), &a), ADDRESS_OK);
    return a;
}

static int
setup(void **state)
{
    struct scene *s = xcalloc(1, sizeof(*s));

    s->message = (struct message){.id = "0123456789abcdefghjkmn", .client = &client, .route = &route,
        .mailbox = &mailbox};
    s->message.envelope.sender = address("erp@contoso.com");
    s->recipients[0] = (struct recipient){.address = address("a@example.com"), .class = RECIPIENT_EXTERNAL};
    s->recipients[1] = (struct recipient){.address = address("b@example.com"), .class = RECIPIENT_EXTERNAL};
    s->message.envelope.recipients = s->recipients;
    s->message.envelope.n_recipients = 2;
    s->outcome.recipients = s->fates;
    s->outcome.offered = true;
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct scene *s = *state;

    address_fini(&s->message.envelope.sender);
    address_fini(&s->recipients[0].address);
    address_fini(&s->recipients[1].address);
    free(s);
    return 0;
}

static void
say(struct scene *s, enum tx_phase phase, int code, const char *enhanced, const char *text)
{
    s->outcome.phase = phase;
    reply_set(&s->outcome.reply, code, enhanced, "%s", text);
    settle_outcome(&s->message, &s->outcome, &s->result);
}

static void
test_success_names_the_id(void **state)
{
    struct scene *s = *state;

    say(s, TX_DOT, 250, "2.0.0", "queued");
    assert_string_equal(s->result.outcome, "relayed");
    assert_string_equal(s->result.end.letters, "--");
    assert_int_equal(s->result.answer.code, 250);
    assert_non_null(strstr(s->result.answer.text, s->message.id));
    assert_int_equal(s->result.action, ACTION_NONE);
}

static void
test_a_block_named_in_a_success_is_a_success(void **state)
{
    struct scene *s = *state;

    say(s, TX_DOT, 250, "2.0.0", "550 5.7.708 is only a string here");
    assert_string_equal(s->result.outcome, "relayed");
    assert_int_equal(s->result.action, ACTION_NONE);
}

static void
test_block_of_the_tenant_at_every_step(void **state)
{
    static const enum tx_phase phases[] = {TX_MAIL, TX_RCPT, TX_DATA, TX_DOT};
    static const char *const ends[] = {"Um", "Ur", "Ud", "U."};
    struct scene *s = *state;

    for (size_t i = 0; i < 4; i++) {
        say(s, phases[i], 550, "5.7.708", "Access denied, traffic not accepted from this IP");
        assert_int_equal(s->result.action, ACTION_PAUSE);
        assert_int_equal(s->result.pause.scope, SCOPE_ROUTE);
        assert_string_equal(s->result.pause.instance, "contoso");
        assert_int_equal(s->result.pause.extent, PAUSE_EXTERNAL);
        assert_int_equal(s->result.pause_for_ms, 0);
        assert_string_equal(s->result.pause.actor, "upstream");
        assert_true(s->result.warmup_back);
        assert_int_equal(s->result.answer.code, 451);
        assert_string_equal(s->result.outcome, "deferred");
        assert_string_equal(s->result.end.letters, ends[i]);
        assert_null(strstr(s->result.answer.text, "paused")); /* not yet */
        settle_paused(&s->result, &s->result.pause, 1000);
        assert_int_equal(s->result.answer.code, 451);
        assert_non_null(strstr(s->result.answer.text, "paused until an operator resumes it, because"));
        assert_non_null(s->result.rule);
    }
}

/* What is said is what is in force: who, until when, and not for which cause when somebody paused it. */
static void
test_the_answer_names_the_pause_in_force(void **state)
{
    struct pause in_force = {.scope = SCOPE_CLIENT, .instance = "erp", .extent = PAUSE_ALL,
        .class = CLASS_BLOCK_SENDER, .reason = "550 5.1.8 another", .until_utc_ms = 61500};
    struct scene *s = *state;

    say(s, TX_DOT, 550, "5.7.708", "Access denied");
    settle_paused(&s->result, &in_force, 1000);
    assert_string_equal(s->result.answer.text, "mail of client erp is paused from now on, retry after 61 s,"
        " because the upstream said: 550 5.7.708 Access denied");
    in_force.class = CLASS_OK;
    in_force.until_utc_ms = 0;
    settle_paused(&s->result, &in_force, 1000);
    assert_string_equal(s->result.answer.text, "mail of client erp is paused until an operator resumes it;"
        " the upstream said: 550 5.7.708 Access denied");
}

static void
test_scopes_of_the_other_blocks(void **state)
{
    struct scene *s = *state;

    say(s, TX_DOT, 550, "5.7.711", "bad inbound connector");
    assert_int_equal(s->result.pause.scope, SCOPE_ROUTE);
    assert_int_equal(s->result.pause.extent, PAUSE_ALL);
    say(s, TX_DOT, 550, "5.1.8", "bad outbound sender");
    assert_int_equal(s->result.pause.scope, SCOPE_SENDER);
    assert_string_equal(s->result.pause.instance, "erp@contoso.com");
    address_fini(&s->message.envelope.sender);
    s->message.envelope.sender = address("ERP@contoso.com"); /* the same to Microsoft */
    say(s, TX_DOT, 550, "5.1.8", "bad outbound sender");
    assert_string_equal(s->result.pause.instance, "erp@contoso.com");
    say(s, TX_DOT, 550, "5.7.750", "unregistered domains");
    assert_int_equal(s->result.pause.scope, SCOPE_SENDER_DOMAIN);
    assert_string_equal(s->result.pause.instance, "contoso.com");
}

static void
test_a_blocked_bounce_pauses_its_client(void **state)
{
    struct scene *s = *state;

    address_fini(&s->message.envelope.sender);
    s->message.envelope.sender = (struct address){xstrdup(""), 0};
    say(s, TX_DOT, 550, "5.1.8", "bad outbound sender");
    assert_int_equal(s->result.pause.scope, SCOPE_CLIENT);
    assert_string_equal(s->result.pause.instance, "erp");
}

static void
test_budget_throttle_and_mapped_5xx_stay_temporary(void **state)
{
    struct scene *s = *state;

    say(s, TX_DOT, 550, "5.7.233", "tenant exceeded");
    assert_int_equal(s->result.action, ACTION_LOWER_CAP);
    assert_int_equal(s->result.answer.code, 451);
    say(s, TX_MAIL, 451, "4.7.500", "Server busy");
    assert_int_equal(s->result.action, ACTION_SLOW_DOWN);
    assert_true(s->result.warmup_hold);
    assert_int_equal(s->result.answer.code, 451);
    say(s, TX_DOT, 550, "5.9.9", "an operator's rule calls it temporary");
    assert_int_equal(s->result.answer.code, 451);
    assert_string_equal(s->result.outcome, "deferred");
}

static void
test_a_message_at_fault_is_rejected_and_names_the_recipient(void **state)
{
    struct scene *s = *state;

    s->fates[0] = (struct tx_recipient){.fate = TX_REFUSED_FOR_NOW};
    s->fates[1] = (struct tx_recipient){.fate = TX_REFUSED_FOR_GOOD};
    reply_set(&s->fates[1].reply, 550, "5.1.1", "no such user");
    say(s, TX_RCPT, 550, "5.1.1", "no such user");
    assert_string_equal(s->result.outcome, "rejected");
    assert_int_equal(s->result.answer.code, 550);
    assert_non_null(strstr(s->result.answer.text, "b@example.com"));
}

static void
test_421_is_about_their_connection_not_ours(void **state)
{
    struct scene *s = *state;

    say(s, TX_MAIL, 421, "4.3.2", "closing");
    assert_int_equal(s->result.answer.code, 451);
}

static void
test_lost_before_and_after_the_dot(void **state)
{
    struct scene *s = *state;

    s->outcome.lost = true;
    s->outcome.phase = TX_BODY;
    settle_outcome(&s->message, &s->outcome, &s->result);
    assert_string_equal(s->result.outcome, "deferred");
    assert_string_equal(s->result.end.letters, "Uo");
    s->outcome.phase = TX_DOT;
    settle_outcome(&s->message, &s->outcome, &s->result);
    assert_string_equal(s->result.outcome, "uncertain");
    assert_int_equal(s->result.answer.code, 451);
}

static void
test_no_connection_is_never_a_permanent_answer(void **state)
{
    struct scene *s = *state;
    struct lease_failure f = {.phase = TX_AUTH};

    reply_set(&f.reply, 535, "5.7.139", "basic authentication is disabled");
    settle_no_connection(&s->message, &f, &s->result);
    assert_int_equal(s->result.action, ACTION_PAUSE);
    assert_int_equal(s->result.pause.scope, SCOPE_MAILBOX);
    assert_true(s->result.pause_for_ms > 0);
    assert_int_equal(s->result.answer.code, 451);
    f.repeated = true; /* an old refusal pauses nothing: somebody may just have resumed the mailbox */
    settle_no_connection(&s->message, &f, &s->result);
    assert_int_equal(s->result.action, ACTION_NONE);
    assert_int_equal(s->result.answer.code, 451);
    assert_non_null(strstr(s->result.answer.text, "535 5.7.139 basic"));
    f.repeated = false;
    reply_set(&f.reply, 554, "5.0.0", "go away");
    f.phase = TX_CONNECT;
    settle_no_connection(&s->message, &f, &s->result);
    assert_int_equal(s->result.answer.code, 451);
    assert_non_null(strstr(s->result.answer.text, "554 5.0.0 go away"));
    assert_string_equal(s->result.outcome, "deferred");
    f = (struct lease_failure){.phase = TX_CONNECT, .timed_out = true};
    settle_no_connection(&s->message, &f, &s->result);
    assert_string_equal(s->result.end.letters, "Nc");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_success_names_the_id),
        TEST(test_a_block_named_in_a_success_is_a_success),
        TEST(test_block_of_the_tenant_at_every_step),
        TEST(test_scopes_of_the_other_blocks),
        TEST(test_the_answer_names_the_pause_in_force),
        TEST(test_a_blocked_bounce_pauses_its_client),
        TEST(test_budget_throttle_and_mapped_5xx_stay_temporary),
        TEST(test_a_message_at_fault_is_rejected_and_names_the_recipient),
        TEST(test_421_is_about_their_connection_not_ours),
        TEST(test_lost_before_and_after_the_dot),
        TEST(test_no_connection_is_never_a_permanent_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
