/* Lines of mail logs: what is understood, what is about something else, and that nothing else counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/ctl/mail_log.h"
#include "tests/lib/guard.h"

#define NOON_US 1795608000000000ull /* 2026-11-25T12:00:00Z */
#define POSTFIX "mx postfix/smtp[7]: 4A: to=<b@example.com>, relay=x[1.2.3.4]:25, delay=1, dsn=2.0.0, status="

static const struct {
    const char *line;
    enum mail_line kind;
    uint64_t at_us, recipients;
} cases[] = {
    {"2026-11-25T12:00:00Z " POSTFIX "sent (250 ok)", MAIL_LINE_ARRIVAL, NOON_US, 1},
    {"2026-11-25T13:00:00.250+01:00 " POSTFIX "sent (250 ok)", MAIL_LINE_ARRIVAL, NOON_US + 250000, 1},
    {"Nov 25 12:00:00 " POSTFIX "sent (250 ok)", MAIL_LINE_ARRIVAL, NOON_US, 1},
    {"Nov  5 12:00:00 " POSTFIX "sent (250 ok)", MAIL_LINE_ARRIVAL, NOON_US - 20 * 86400000000ull, 1},
    {"Nov 25 12:00:00 " POSTFIX "deferred (host x said: 450 , status=sent (x)", MAIL_LINE_OTHER, 0, 0},
    {"Nov 25 12:00:00 mx postfix/smtp[7]: 4A: to=<b@Contoso.com>, status=sent (250)", MAIL_LINE_OTHER, 0, 0},
    {"Nov 25 12:00:00 mx postfix/local[7]: 4A: to=<b@example.com>, status=sent (x)", MAIL_LINE_OTHER, 0, 0},
    {"Nov 25 12:00:00 mx postfix/qmgr[7]: 4A: from=<a@b>, size=1, nrcpt=3 (queue active)", MAIL_LINE_OTHER,
        0, 0},
    {"Nov 25 12:00:00 mx dovecot: imap-login: /smtp[ status=sent", MAIL_LINE_OTHER, 0, 0},
    {"Nov 31 12:00:00 " POSTFIX "sent (250 ok)", MAIL_LINE_BAD, 0, 0},
    {"ts=2026-11-25T12:00:00.000Z level=info event=message id=1 outcome=relayed external=3 internal=1",
        MAIL_LINE_ARRIVAL, NOON_US, 3},
    {"ts=2026-11-25T12:00:00.000Z event=message outcome=spooled sender=\"a external=9 \\\" external=8\" "
        "external=2", MAIL_LINE_ARRIVAL, NOON_US, 2},
    {"ts=2026-11-25T12:00:00.000Z event=message outcome=relayed released=true external=3", MAIL_LINE_OTHER,
        0, 0},
    {"ts=2026-11-25T12:00:00.000Z event=message outcome=deferred external=3", MAIL_LINE_OTHER, 0, 0},
    {"ts=2026-11-25T12:00:00.000Z event=message outcome=relayed external=0", MAIL_LINE_OTHER, 0, 0},
    {"ts=2026-11-25T12:00:00.000Z event=pause scope=route", MAIL_LINE_OTHER, 0, 0},
    {"ts=yesterday event=message outcome=relayed external=3", MAIL_LINE_BAD, 0, 0},
    {"ts=2026-11-25T12:00:00.000Z event=message outcome=relayed external=3x", MAIL_LINE_BAD, 0, 0},
    {"{\"ts\":\"2026-11-25T12:00:00.000Z\",\"event\":\"message\",\"outcome\":\"relayed\",\"external\":4}",
        MAIL_LINE_ARRIVAL, NOON_US, 4},
    {"{\"ts\":\"2026-11-25T12:00:00.000Z\",\"event\":\"store\"}", MAIL_LINE_OTHER, 0, 0},
    {"{\"ts\":", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00Z,a@contoso.com,7", MAIL_LINE_ARRIVAL, NOON_US, 7},
    {"2026-11-25 12:00:00Z,\"a,b\"@contoso.com, 7\r", MAIL_LINE_ARRIVAL, NOON_US, 7},
    {"1795608000.5,a@contoso.com,7", MAIL_LINE_ARRIVAL, NOON_US + 500000, 7},
    {"2028-02-29T00:00:00Z,a,1", MAIL_LINE_ARRIVAL, 1835395200000000ull, 1},
    {"2026-02-29T00:00:00Z,a,1", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T24:00:00Z,a,1", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00,a,1", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00Z,7", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00Z,a,-7", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00Z,a,1000001", MAIL_LINE_BAD, 0, 0},
    {"99999999999999999999,a,1", MAIL_LINE_BAD, 0, 0},
    {"2026-11-25T12:00:00Z,a,0", MAIL_LINE_OTHER, 0, 0},
    {"# a comment", MAIL_LINE_OTHER, 0, 0},
    {"", MAIL_LINE_OTHER, 0, 0},
    {"time,sender,recipients", MAIL_LINE_BAD, 0, 0}, /* a heading is in line 1 only */
    {"\x01\x02\xff", MAIL_LINE_BAD, 0, 0},
};

#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static struct mail_log
new_log(void)
{
    return (struct mail_log){.internal = "fabrikam.com, contoso.com", .year = 2026, .n_lines = 1};
}

static void
lines_mean_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct mail_log log = new_log();
        struct mail_arrival a;
        enum mail_line kind = mail_log_parse(&log, span_str(cases[i].line), &a);

        if (kind != cases[i].kind)
            fail_msg("%s: %d, not %d", cases[i].line, (int)kind, (int)cases[i].kind);
        if (kind == MAIL_LINE_ARRIVAL) {
            assert_int_equal(a.at_us, cases[i].at_us);
            assert_int_equal(a.recipients, cases[i].recipients);
        }
    }
}

/* Nothing is read behind the end of a line, wherever it is cut, and nothing of it counts for nothing. */
static void
lines_may_be_cut_anywhere(void **state)
{
    struct guard g;

    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        for (size_t n = 0; n <= strlen(cases[i].line); n++) {
            struct mail_log log = new_log();
            struct mail_arrival a;
            struct span line = guard_copy(&g, cases[i].line, n);

            if (mail_log_parse(&log, line, &a) == MAIL_LINE_ARRIVAL)
                assert_true(a.recipients > 0 && a.recipients <= 1000000 && a.at_us > 0);
            guard_free(&g);
        }
}

static void
the_first_line_may_be_a_heading(void **state)
{
    struct mail_log log = {.year = 2026};
    struct mail_arrival a;

    (void)state;
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("time,sender,recipients"), &a), MAIL_LINE_OTHER);
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("time,sender,recipients"), &a), MAIL_LINE_BAD);
}

/* A log over New Year; a line that comes late does not make another year. */
static void
years_follow_the_months(void **state)
{
    struct mail_log log = {.year = 2026};
    struct mail_arrival a;

    (void)state;
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("Dec 31 23:59:59 " POSTFIX "sent (x)"), &a),
        MAIL_LINE_ARRIVAL);
    assert_int_equal(a.at_us, 1798761599000000ull);
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("Jan  1 00:00:00 " POSTFIX "sent (x)"), &a),
        MAIL_LINE_ARRIVAL);
    assert_int_equal(a.at_us, 1798761600000000ull);
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("Feb  1 00:00:00 " POSTFIX "sent (x)"), &a),
        MAIL_LINE_ARRIVAL);
    assert_int_equal(mail_log_parse(&log, SPAN_LIT("Jan 31 23:59:59 " POSTFIX "sent (x)"), &a),
        MAIL_LINE_ARRIVAL);
    assert_int_equal(log.year, 2027);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_mean_what_the_table_says),
        cmocka_unit_test(lines_may_be_cut_anywhere),
        cmocka_unit_test(the_first_line_may_be_a_heading),
        cmocka_unit_test(years_follow_the_months),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
