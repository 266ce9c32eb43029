/* Unit tests of command and param. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/smtp/command.h"
#include "tests/lib/guard.h"

static void
test_verbs(void **state)
{
    static const struct {
        const char *line;
        enum command_verb verb;
        const char *args;
    } cases[] = {
        {"EHLO host", COMMAND_EHLO, "host"},
        {"ehlo   host  ", COMMAND_EHLO, "host"},
        {"QUIT", COMMAND_QUIT, ""},
        {"QUIT ", COMMAND_QUIT, ""},
        {"QUITE", COMMAND_UNKNOWN, ""},
        {"", COMMAND_UNKNOWN, ""},
        {" QUIT", COMMAND_UNKNOWN, "QUIT"},
        {"Mail FROM:<a@b>", COMMAND_MAIL, "FROM:<a@b>"},
        {"XCLIENT ADDR=1.2.3.4", COMMAND_KNOWN, "ADDR=1.2.3.4"},
        {"BDAT 70 LAST", COMMAND_BDAT, "70 LAST"},
        {"GET / HTTP/1.1", COMMAND_STRANGER, "/ HTTP/1.1"},
        {"Host: x", COMMAND_STRANGER, "x"},
        {"SSH-2.0-OpenSSH_9.2", COMMAND_UNKNOWN, ""},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", COMMAND_UNKNOWN, "TCP4 1.2.3.4 5.6.7.8 1 2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guard guard;
        struct command c;

        command_parse(guard_copy(&guard, cases[i].line, strlen(cases[i].line)), &c);
        if (c.verb != cases[i].verb || !span_eq(c.args, span_str(cases[i].args)))
            fail_msg("%s: another command", cases[i].line);
        guard_free(&guard);
    }
}

static void
test_strangers(void **state)
{
    (void)state;
    assert_true(command_is_stranger(SPAN_LIT("\x16\x03\x01")));
    assert_true(command_is_stranger(SPAN_LIT("\x80")));
    assert_true(command_is_stranger(SPAN_LIT("SSH-2.0-OpenSSH_9.2")));
    assert_true(command_is_stranger(span_of("", 1)));
    assert_true(command_is_stranger(SPAN_LIT("\x04")));
    assert_false(command_is_stranger(SPAN_LIT("")));
    assert_false(command_is_stranger(SPAN_LIT("\r\n")));
    assert_false(command_is_stranger(SPAN_LIT("EHLO")));
}

struct mail_case {
    const char *args;
    bool lenient;
    int code; /* 0: fine */
    const char *enhanced;
};

static const struct mail_case mails[] = {
    {"FROM:<a@b>", false, 0, NULL},
    {"from:<a@b>", false, 0, NULL},
    {"FROM:<>", false, 0, NULL},
    {"FROM:<a@b> SIZE=10 BODY=8BITMIME AUTH=<>", false, 0, NULL},
    {"FROM:<a@b>  size=10   body=7bit auth=a+3Db", false, 0, NULL},
    {"FROM: <a@b>", true, 0, NULL},
    {"FROM:        \t<a@b>", true, 0, NULL},
    {"FROM: <a@b>", false, 501, "5.1.7"},
    {"FROM:a@b", true, 501, "5.1.7"},
    {"FROM a@b", true, 501, "5.5.4"},
    {"TO:<a@b>", true, 501, "5.5.4"},
    {"", true, 501, "5.5.4"},
    {"FROM:<a>", false, 553, "5.1.7"},
    {"FROM:<a@[1.2.3.4]>", false, 550, "5.7.1"},
    {"FROM:<@x:a@b>", false, 550, "5.7.1"},
    {"FROM:<\xc3\xa4@b>", false, 553, "5.6.7"},
    {"FROM:<a@b>x", false, 501, "5.1.7"},
    {"FROM:<a@b>\tSIZE=1", false, 501, "5.1.7"},
    {"FROM:<a@b> SMTPUTF8", false, 553, "5.6.7"},
    {"FROM:<a@b> SIZE=18446744073709551616", false, 552, "5.3.4"},
    {"FROM:<a@b> SIZE=18446744073709551615", false, 0, NULL},
    {"FROM:<a@b> SIZE=-1", false, 501, "5.5.4"},
    {"FROM:<a@b> SIZE=", false, 501, "5.5.4"},
    {"FROM:<a@b> SIZE", false, 501, "5.5.4"},
    {"FROM:<a@b> SIZE=1 SIZE=2", false, 501, "5.5.4"},
    {"FROM:<a@b> BODY=BINARYMIME", false, 504, "5.5.4"},
    {"FROM:<a@b> RET=FULL", false, 555, "5.5.4"},
    {"FROM:<a@b> ENVID=x", false, 555, "5.5.4"},
    {"FROM:<a@b> X=\xff", false, 501, "5.5.4"},
    {"FROM:<a@b> X=a=b", false, 501, "5.5.4"},
    {"FROM:<a@b> =x", false, 501, "5.5.4"},
    {"FROM:<a@b> AUTH=", false, 501, "5.5.4"},
    {"FROM:<a@b> AUTH=+0", false, 501, "5.5.4"},
    {"FROM:<a@b> AUTH=<admin@l>", false, 0, NULL},
};

static void
test_mail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mails / sizeof mails[0]; i++) {
        const struct mail_case *m = &mails[i];
        struct guard guard;
        struct mail_command out;
        const struct complaint *c =
            command_parse_mail(guard_copy(&guard, m->args, strlen(m->args)), m->lenient, &out);

        if ((c ? c->code : 0) != m->code || (c && strcmp(c->enhanced, m->enhanced) != 0))
            fail_msg("%s: %d %s", m->args, c ? c->code : 0, c ? c->enhanced : "");
        if (c == NULL)
            address_fini(&out.sender);
        guard_free(&guard);
    }
}

static void
test_mail_values(void **state)
{
    struct mail_command out;

    (void)state;
    assert_null(command_parse_mail(SPAN_LIT("FROM:<A@B.c> BODY=8BITMIME SIZE=123"), false, &out));
    assert_string_equal(out.sender.text, "A@b.c");
    assert_int_equal(out.declared_bytes, 123);
    assert_int_equal(out.body, SMTP_BODY_8BITMIME);
    address_fini(&out.sender);
}

static void
test_rcpt(void **state)
{
    struct address a;

    (void)state;
    assert_null(command_parse_rcpt(SPAN_LIT("TO:<a@b>"), false, &a));
    assert_string_equal(a.text, "a@b");
    address_fini(&a);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<>"), false, &a)->code, 501);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<postmaster>"), false, &a)->code, 553);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<a@b> NOTIFY=NEVER"), false, &a)->code, 555);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO: <a@b>"), false, &a)->code, 501);
    assert_null(command_parse_rcpt(SPAN_LIT("TO: <a@b>"), true, &a));
    address_fini(&a);
}

static void
test_helo_names(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'a', sizeof name);
    assert_true(command_is_helo_name(SPAN_LIT("mail.contoso.com")));
    assert_true(command_is_helo_name(SPAN_LIT("[IPv6:fe80::1]")));
    assert_true(command_is_helo_name(SPAN_LIT("MY_PRINTER")));
    assert_true(command_is_helo_name(span_of(name, 255)));
    assert_false(command_is_helo_name(span_of(name, 256)));
    assert_false(command_is_helo_name(SPAN_LIT("")));
    assert_false(command_is_helo_name(SPAN_LIT("a b")));
    assert_false(command_is_helo_name(SPAN_LIT("<script>")));
    assert_false(command_is_helo_name(SPAN_LIT("%n")));
    assert_false(command_is_helo_name(SPAN_LIT("b\xc3\xbc")));
    assert_false(command_is_helo_name(span_of("a\0b", 3)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_mail_values),
        cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_helo_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
