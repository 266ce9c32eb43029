/* What PowerShell prints of one object, in each of its forms, and what Get-LimitsEnforcementStatus says in
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "relay/ctl/limits_status.h"
#include "tests/lib/guard.h"

#define LIST \
    "\r\n\r\nObservedValue      : 1234\r\nThreshold          : 10000\r\n" \
    "Verdict            : WithinLimit\r\nEnforcementEnabled : True\r\n\r\n\r\n"
#define TABLE \
    "\nObservedValue Threshold Verdict     EnforcementEnabled\n------------- --------- -------     " \
    "------------------\n         1234     10000 WithinLimit               True\n\n"
#define JSON \
    "{\r\n    \"ObservedValue\":  1234,\r\n    \"Threshold\":  10000,\r\n" \
    "    \"Verdict\":  \"WithinLimit\",\r\n    \"EnforcementEnabled\":  true\r\n}\r\n"
#define CSV \
    "\"ObservedValue\",\"Threshold\",\"Verdict\",\"EnforcementEnabled\"\r\n" \
    "\"1234\",\"10000\",\"WithinLimit\",\"True\"\r\n"

static struct limits_status status;
static struct err err;

/* Against a guard page: nothing behind the text is read. */
static int
read_bytes(const char *bytes, size_t n)
{
    struct powershell_object o;
    struct guard g;
    int result;

    err.text[0] = '\0';
    result = powershell_parse(guard_copy(&g, bytes, n), &o, &err);
    if (result == 0)
        result = limits_status_read(&o, &status, &err);
    guard_free(&g);
    return result;
}

static void
expect_status(const char *bytes, size_t n)
{
    if (read_bytes(bytes, n) != 0)
        fail_msg("%s: %.*s", err.text, (int)n, bytes);
    assert_int_equal(status.threshold, 10000);
    assert_true(status.has_observed && status.has_enforcement && status.is_enforced);
    assert_int_equal(status.observed, 1234);
    assert_string_equal(status.verdict, "WithinLimit");
    assert_string_equal(status.others, "");
}

static size_t
to_utf16(const char *text, bool big, bool mark, char *out)
{
    size_t n = 0;

    if (mark) {
        out[n++] = big ? '\xfe' : '\xff';
        out[n++] = big ? '\xff' : '\xfe';
    }
    for (; *text; text++) {
        out[n++] = big ? '\0' : *text;
        out[n++] = big ? *text : '\0';
    }
    return n;
}

static void
every_form_in_every_encoding(void **state)
{
    static const char *const forms[] = {LIST, TABLE, JSON, CSV, "[" JSON "]",
        "#TYPE Deserialized.Microsoft.Exchange.LimitsStatus\r\n" CSV,
        "ObservedValue;Threshold;Verdict;EnforcementEnabled\n1234;10000;WithinLimit;True\n",
        "PS C:\\> Get-LimitsEnforcementStatus | fl\n" LIST "PS C:\\> ",
        "PS C:\\> Get-LimitsEnforcementStatus\n" TABLE};
    char wide[2048], marked[1024];

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        expect_status(forms[i], strlen(forms[i]));
        for (int how = 0; how < 4; how++)
            expect_status(wide, to_utf16(forms[i], how & 1, how & 2, wide));
        snprintf(marked, sizeof marked, "\xef\xbb\xbf%s", forms[i]);
        expect_status(marked, strlen(marked));
    }
}

static void
expect_refusal(const char *text, const char *words)
{
    if (read_bytes(text, strlen(text)) == 0)
        fail_msg("taken: %s", text);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void
what_is_not_clear_is_refused(void **state)
{
    (void)state;
    expect_refusal("", "nothing in it");
    expect_refusal("\r\n \n", "nothing in it");
    expect_refusal("ObservedValue : 5\n", "no Threshold");
    expect_refusal("Threshold : \n", "no Threshold");
    expect_refusal(LIST LIST, "ObservedValue is there twice");
    expect_refusal("hello\n", "line 1 is no \"Name : Value\"");
    expect_refusal("two words : 5\n", "no name of a property");
    expect_refusal("Threshold : 10.000\n", "whole number without separators");
    expect_refusal("Threshold : 10,000\n", "whole number without separators");
    expect_refusal("Threshold : -1\n", "whole number");
    expect_refusal("Threshold : 99999999999999999999\n", "whole number");
    expect_refusal("Threshold : 1000000000001\n", "whole number");
    expect_refusal("Threshold : 5\nEnforcementEnabled : Wahr\n", "True or False");
    expect_refusal("Threshold : 5\nObservedValue : many\n", "whole number");
    expect_refusal("A B\n- -\n", "no row");
    expect_refusal("A B\n- -\n1 2\n3 4\n", "more than one row");
    expect_refusal("Threshold Verdict\n--------- -------\n5 In limit\n", "told apart; use | Format-List");
    expect_refusal("\"A\",\"B\"\n", "no row");
    expect_refusal("\"A\",\"B\"\n1,2\n3,4\n", "more than one row");
    expect_refusal("A,B\n1\n", "not as many");
    expect_refusal("A,B\n1,2,3\n", "not as many");
    expect_refusal("A,\n1,2\n", "not as many");
    expect_refusal("\"A\",\"B\n1,2\n", "does not end");
    expect_refusal("\"A\"x,B\n1,2\n", "behind a quote");
    expect_refusal("{\"Threshold\":5,\"Threshold\":6}", "JSON");
    expect_refusal("{\"Threshold\":5,\"threshold\":6}", "twice");
    expect_refusal("[{\"Threshold\":5},{\"Threshold\":6}]", "not one object");
    expect_refusal("[]", "not one object");
    expect_refusal("{\"Threshold\":{\"a\":1}}", "whole number");
    expect_refusal("{\"Threshold\":5.5}", "whole number");
    expect_refusal("{\"Threshold\":", "JSON");
    assert_int_equal(read_bytes("\xff\xfeT", 3), -1);
    assert_non_null(strstr(err.text, "cut off"));
    assert_int_equal(read_bytes("Thr\0eshold", 10), -1);
    assert_non_null(strstr(err.text, "no text"));
}

static void
what_is_not_understood_is_named(void **state)
{
    static const char more[] = "Threshold : 0\nRunspaceId : 1-2\nFuture : a very\n"
                               "             long value : of two lines\nZz :\n";
    char many[POWERSHELL_TEXT_MAX + 100];
    size_t n = 0;

    (void)state;
    assert_int_equal(read_bytes(more, sizeof more - 1), 0);
    assert_int_equal(status.threshold, 0);
    assert_false(status.has_observed || status.has_enforcement);
    assert_string_equal(status.others, "RunspaceId, Future, Zz");
    assert_int_equal(limits_status_share(&(struct limits_status){.threshold = 4999}, 80), 3999);

    for (int i = 0; i < POWERSHELL_FIELDS_MAX - 1; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, "VeryLongNameOfAPropertyNobodyKnows%02d : x\n", i);
    n += (size_t)snprintf(many + n, sizeof many - n, "Threshold : 7\n");
    assert_int_equal(read_bytes(many, n), 0);
    assert_int_equal(strlen(status.others), LIMITS_STATUS_OTHERS_MAX - 1);
    snprintf(many + n, sizeof many - n, "More : 7\n");
    expect_refusal(many, "more than 64 properties");
    memset(many, ' ', sizeof many);
    assert_int_equal(read_bytes(many, sizeof many), -1);
    assert_non_null(strstr(err.text, "more than 64 KiB"));
    assert_int_equal(read_bytes("Threshold : 5\nVerdict : a\xc3\xbc\x1b[2J\n", 32), 0);
    assert_string_equal(status.verdict, "a???[2J");
}

/* Cut anywhere it is refused or means what it says so far; never more. */
static void
cut_short(void **state)
{
    static const char *const forms[] = {LIST, TABLE, JSON, CSV};
    char wide[2048];

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t n = to_utf16(forms[i], false, true, wide);

        for (size_t cut = 0; cut <= strlen(forms[i]); cut++)
            if (read_bytes(forms[i], cut) == 0)
                assert_in_range(status.threshold, 1, 10000);
        for (size_t cut = 0; cut <= n; cut++)
            read_bytes(wide, cut);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_in_every_encoding),
        cmocka_unit_test(what_is_not_clear_is_refused),
        cmocka_unit_test(what_is_not_understood_is_named),
        cmocka_unit_test(cut_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
