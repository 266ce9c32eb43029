/* Unit tests of command, param and xtext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/smtp/command.h"
#include "relay/smtp/xtext.h"
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
    {"FROM:<a@b> NOTIFY=NEVER", false, 555, "5.5.4"},
};

static const struct command_dialect plain = {false, false}, lenient = {true, false}, dsn = {false, true};

static void
test_mail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mails / sizeof mails[0]; i++) {
        const struct mail_case *m = &mails[i];
        struct guard guard;
        struct mail_command out;
        const struct complaint *c =
            command_parse_mail(
                guard_copy(&guard, m->args, strlen(m->args)), m->lenient ? lenient : plain, &out);

        if ((c ? c->code : 0) != m->code || (c && strcmp(c->enhanced, m->enhanced) != 0))
            fail_msg("%s: %d %s", m->args, c ? c->code : 0, c ? c->enhanced : "");
        if (c == NULL)
            mail_command_fini(&out);
        guard_free(&guard);
    }
}

static void
test_mail_values(void **state)
{
    struct mail_command out;

    (void)state;
    assert_null(command_parse_mail(SPAN_LIT("FROM:<A@B.c> BODY=8BITMIME SIZE=123"), plain, &out));
    assert_string_equal(out.sender.text, "A@b.c");
    assert_int_equal(out.declared_bytes, 123);
    assert_int_equal(out.body, SMTP_BODY_8BITMIME);
    assert_int_equal(out.ret, RET_NONE);
    assert_null(out.envid);
    mail_command_fini(&out);
}

static void
test_rcpt(void **state)
{
    struct rcpt_command r;

    (void)state;
    assert_null(command_parse_rcpt(SPAN_LIT("TO:<a@b>"), plain, &r));
    assert_string_equal(r.recipient.text, "a@b");
    rcpt_command_fini(&r);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<>"), plain, &r)->code, 501);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<postmaster>"), plain, &r)->code, 553);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<a@b> NOTIFY=NEVER"), plain, &r)->code, 555);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO:<a@b> ORCPT=rfc822;a@b"), plain, &r)->code, 555);
    assert_int_equal(command_parse_rcpt(SPAN_LIT("TO: <a@b>"), plain, &r)->code, 501);
    assert_null(command_parse_rcpt(SPAN_LIT("TO: <a@b>"), lenient, &r));
    rcpt_command_fini(&r);
}

/* ---- RFC 3461 ---- */

struct dsn_case {
    const char *params;
    int code;           /* 0: fine; every complaint is an x.5.4 */
    unsigned value;     /* ret or notify */
    const char *string; /* envid or orcpt */
};

static const struct dsn_case mail_dsn[] = {
    {"RET=FULL", 0, RET_FULL, NULL},
    {"ret=hdrs", 0, RET_HDRS, NULL},
    {"ENVID=QQ314159", 0, RET_NONE, "QQ314159"},
    {"SIZE=1 ENVID=a+2Bb+20c RET=FULL BODY=8BITMIME", 0, RET_FULL, "a+2Bb+20c"},
    {"RET=HDRS  envid=+7E", 0, RET_HDRS, "+7E"},
    {"RET", 501, 0, NULL},
    {"RET=", 501, 0, NULL},
    {"RET=ALL", 501, 0, NULL},
    {"RET=FULL,HDRS", 501, 0, NULL},
    {"RET=FULL RET=FULL", 501, 0, NULL},
    {"ENVID", 501, 0, NULL},
    {"ENVID=", 501, 0, NULL},
    {"ENVID=a ENVID=a", 501, 0, NULL},
    {"ENVID=a RET=x", 501, 0, NULL},
    {"ENVID=a UNHEARD=1", 555, 0, NULL},
    {"ENVID=a=b", 501, 0, NULL},
    {"ENVID=a+", 501, 0, NULL},
    {"ENVID=a+2", 501, 0, NULL},
    {"ENVID=a+2b", 501, 0, NULL}, /* hexadecimal digits are in upper case */
    {"ENVID=a+G0", 501, 0, NULL},
    {"ENVID=a+0D+0Ab", 501, 0, NULL}, /* a line end in disguise */
    {"ENVID=a+00", 501, 0, NULL},
    {"ENVID=a+09", 501, 0, NULL},
    {"ENVID=a+1F", 501, 0, NULL},
    {"ENVID=a+7F", 501, 0, NULL},
    {"ENVID=a+E9", 501, 0, NULL},
    {"NOTIFY=NEVER", 555, 0, NULL},
    {"ORCPT=rfc822;a@b", 555, 0, NULL},
};

static const struct dsn_case rcpt_dsn[] = {
    {"NOTIFY=NEVER", 0, NOTIFY_NEVER, NULL},
    {"notify=success", 0, NOTIFY_SUCCESS, NULL},
    {"NOTIFY=FAILURE,DELAY", 0, NOTIFY_FAILURE | NOTIFY_DELAY, NULL},
    {"NOTIFY=DELAY,SUCCESS,FAILURE", 0, NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, NULL},
    {"NOTIFY=DELAY,Delay", 0, NOTIFY_DELAY, NULL},
    {"ORCPT=rfc822;u+40example.com", 0, 0, "rfc822;u+40example.com"},
    {"orcpt=X-local;+20;y NOTIFY=NEVER", 0, NOTIFY_NEVER, "X-local;+20;y"},
    {"NOTIFY", 501, 0, NULL},
    {"NOTIFY=", 501, 0, NULL},
    {"NOTIFY=,", 501, 0, NULL},
    {"NOTIFY=FAILURE,", 501, 0, NULL},
    {"NOTIFY=,FAILURE", 501, 0, NULL},
    {"NOTIFY=FAILURE,,DELAY", 501, 0, NULL},
    {"NOTIFY=FAILURE;DELAY", 501, 0, NULL},
    {"NOTIFY=NEVER,FAILURE", 501, 0, NULL},
    {"NOTIFY=SUCCESS,NEVER", 501, 0, NULL},
    {"NOTIFY=ALWAYS", 501, 0, NULL},
    {"NOTIFY=NEVER NOTIFY=NEVER", 501, 0, NULL},
    {"ORCPT", 501, 0, NULL},
    {"ORCPT=", 501, 0, NULL},
    {"ORCPT=rfc822", 501, 0, NULL},
    {"ORCPT=rfc822;", 501, 0, NULL},
    {"ORCPT=;a@b", 501, 0, NULL},
    {"ORCPT=rfc(822);a@b", 501, 0, NULL},
    {"ORCPT=x+0Ay;z", 501, 0, NULL},
    {"ORCPT=rfc822;+", 501, 0, NULL},
    {"ORCPT=rfc822;a+0D+0AB:@b", 501, 0, NULL},
    {"ORCPT=rfc822;a+C3+A9@b", 501, 0, NULL},
    {"ORCPT=rfc822;a@b ORCPT=rfc822;a@b", 501, 0, NULL},
    {"ORCPT=rfc822;a@b NOTIFY=x", 501, 0, NULL},
    {"ORCPT=rfc822;a@b UNHEARD", 555, 0, NULL},
    {"RET=FULL", 555, 0, NULL},
    {"ENVID=a", 555, 0, NULL},
    {"SIZE=1", 555, 0, NULL},
};

static bool
is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
check_dsn(const struct dsn_case *want, const struct complaint *c, unsigned value, const char *string)
{
    if ((c ? c->code : 0) != want->code || (c && strcmp(c->enhanced, "5.5.4") != 0))
        fail_msg("%s: %d %s", want->params, c ? c->code : 0, c ? c->text : "");
    if (c == NULL && (value != want->value || !is_same(string, want->string)))
        fail_msg("%s: %u %s", want->params, value, string ? string : "none");
}

static void
test_mail_dsn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mail_dsn / sizeof mail_dsn[0]; i++) {
        char args[200];
        int n = snprintf(args, sizeof args, "FROM:<a@b> %s", mail_dsn[i].params);
        struct mail_command m;
        struct guard guard;
        const struct complaint *c = command_parse_mail(guard_copy(&guard, args, (size_t)n), dsn, &m);

        check_dsn(&mail_dsn[i], c, m.ret, m.envid);
        mail_command_fini(&m); /* harmless after a complaint */
        guard_free(&guard);
    }
}

static void
test_rcpt_dsn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rcpt_dsn / sizeof rcpt_dsn[0]; i++) {
        char args[200];
        int n = snprintf(args, sizeof args, "TO:<a@b> %s", rcpt_dsn[i].params);
        struct rcpt_command r;
        struct guard guard;
        const struct complaint *c = command_parse_rcpt(guard_copy(&guard, args, (size_t)n), dsn, &r);

        check_dsn(&rcpt_dsn[i], c, r.notify, r.orcpt);
        rcpt_command_fini(&r);
        guard_free(&guard);
    }
}

/* 100 characters of ENVID, 500 of ORCPT: as they stand on the line. */
static void
test_dsn_lengths(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        char args[600];
        struct mail_command m;
        struct rcpt_command r;
        size_t n;

        memset(args, 'x', sizeof args);
        memcpy(args, "FROM:<a@b> ENVID=", 17);
        n = 17 + 100 + over;
        assert_int_equal(command_parse_mail(span_of(args, n), dsn, &m) != NULL, over);
        assert_true(over || strlen(m.envid) == 100);
        mail_command_fini(&m);
        memcpy(args, "TO:<a@b> ORCPT=rfc822;", 22);
        n = 15 + 500 + over;
        assert_int_equal(command_parse_rcpt(span_of(args, n), dsn, &r) != NULL, over);
        assert_true(over || strlen(r.orcpt) == 500);
        rcpt_command_fini(&r);
    }
}

static void
test_xtext(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    assert_true(xtext_is(SPAN_LIT("a+00+FF+2B+3D<>")));
    assert_false(xtext_is_printable(SPAN_LIT("a+00")));
    assert_true(xtext_is_printable(SPAN_LIT("+20~!")));
    assert_false(xtext_is(SPAN_LIT("")) || xtext_is_printable(SPAN_LIT("")));
    assert_false(xtext_is(SPAN_LIT("a b")) || xtext_is(SPAN_LIT("\x80")) || xtext_is(SPAN_LIT("+4")));
    xtext_decode(SPAN_LIT("u+2Btag+40b+20+3D+7E;c"), &out);
    assert_string_equal(buf_span(&out).p, "u+tag@b =~;c");
    buf_fini(&out);
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
        cmocka_unit_test(test_mail_dsn),
        cmocka_unit_test(test_rcpt_dsn),
        cmocka_unit_test(test_dsn_lengths),
        cmocka_unit_test(test_xtext),
        cmocka_unit_test(test_helo_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
