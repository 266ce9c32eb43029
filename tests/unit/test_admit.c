/* Unit tests of admit: which pattern covers which address, as a table an operator can read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/admit.h"
#include "tests/lib/guard.h"

static const struct {
    const char *pattern, *address;
    bool covers;
} cases[] = {
    {"scan@contoso.com", "scan@contoso.com", true},
    {"scan@contoso.com", "SCAN@Contoso.com", true},
    {"scan@contoso.com", "scan2@contoso.com", false},
    {"scan@contoso.com", "scan@contoso.com.evil.example", false},
    {"scan@contoso.com", "scan@sub.contoso.com", false},
    {"@contoso.com", "anybody@contoso.com", true},
    {"@contoso.com", "\"a@b\"@contoso.com", true},
    {"@contoso.com", "\"x@contoso.com\"@evil.example", false},
    {"@contoso.com", "a@sub.contoso.com", false},
    {"@contoso.com", "a@xcontoso.com", false},
    {"@contoso.com", "a@contoso.co", false},
    {"@contoso.com", "@contoso.com", false},
    {"@*.contoso.com", "a@sub.contoso.com", true},
    {"@*.contoso.com", "a@x.sub.contoso.com", true},
    {"@*.contoso.com", "a@contoso.com", false},
    {"@*.contoso.com", "a@.contoso.com", false},
    {"@*.contoso.com", "a@xcontoso.com", false},
    {"bot@*.contoso.com", "bot@a.contoso.com", true},
    {"bot@*.contoso.com", "other@a.contoso.com", false},
    {"*", "a@b", true},
    {"*", "", false},
    {"*", "a", false},
    {"*", "a@", false},
    {"@contoso.com", "", false},
    {"", "a@contoso.com", false},
    {"contoso.com", "a@contoso.com", false},
    {"@", "a@b", false},
    {"@*.", "a@b.", false},
};

static void
test_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guard p, a;
        bool covers = admit_pattern_covers(guard_copy(&p, cases[i].pattern, strlen(cases[i].pattern)),
            guard_copy(&a, cases[i].address, strlen(cases[i].address)));

        if (covers != cases[i].covers)
            fail_msg("%s / %s: %s", cases[i].pattern, cases[i].address, covers ? "covered" : "not covered");
        guard_free(&p);
        guard_free(&a);
    }
}

static void
test_domains(void **state)
{
    static const char *const domains[] = {"contoso.com", "*.fabrikam.com"};

    (void)state;
    assert_true(admit_domain_in(domains, 2, SPAN_LIT("contoso.com")));
    assert_true(admit_domain_in(domains, 2, SPAN_LIT("CONTOSO.com")));
    assert_true(admit_domain_in(domains, 2, SPAN_LIT("a.fabrikam.com")));
    assert_false(admit_domain_in(domains, 2, SPAN_LIT("fabrikam.com")));
    assert_false(admit_domain_in(domains, 2, SPAN_LIT("a.contoso.com")));
    assert_false(admit_domain_in(domains, 2, SPAN_LIT("")));
    assert_false(admit_domain_in(domains, 0, SPAN_LIT("contoso.com")));
    assert_false(admit_domain_in(NULL, 0, SPAN_LIT("contoso.com")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_domains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
