/* Addresses that servers of Redis tell: only what can be dialled and logged comes through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/store/redis_address.h"

static void
redirections_are_read(void **state)
{
    static const struct {
        const char *text, *address; /* NULL: it is none */
        bool asking;
    } table[] = {
        {"MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381", false},
        {"ASK 3999 redis-2.x.test:6381", "redis-2.x.test:6381", true},
        {"MOVED 3999 ::1:6381", "[::1]:6381", false},
        {"MOVED 3999 [::1]:6381", "[::1]:6381", false},
        {"MOVED 3999 :6381", "here:6381", false}, /* its host is not known there */
        {"MOVED 3999 10.0.0.1:6381 more", "10.0.0.1:6381", false},
        {"MOVED 3999 ?:6381", NULL, false},
        {"MOVED 3999 10.0.0.1", NULL, false},
        {"MOVED 3999 10.0.0.1:0", NULL, false},
        {"MOVED 3999 10.0.0.1:65536", NULL, false},
        {"MOVED 3999 10.0.0.1:63 81", "10.0.0.1:63", false},
        {"MOVED 3999 a\tb:6381", NULL, false},
        {"MOVED 3999 unix:/run/x:1", NULL, false},
        {"MOVED 3999", NULL, false},
        {"MOVED", NULL, false},
        {"", NULL, false},
        {"TRYAGAIN Multiple keys request during rehashing of slot", NULL, false},
        {"moved 3999 10.0.0.1:6381", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        char out[REDIS_ADDRESS_MAX];
        bool asking, is = redis_address_redirect(span_str(table[i].text), "here:7000", out, &asking);

        if (is != (table[i].address != NULL) || (is && strcmp(out, table[i].address) != 0))
            fail_msg("%s: %s", table[i].text, is ? out : "none");
        if (is)
            assert_int_equal(asking, table[i].asking);
    }
}

static void
a_host_that_is_too_long_is_none(void **state)
{
    char host[300], out[REDIS_ADDRESS_MAX];

    (void)state;
    memset(host, 'a', sizeof(host));
    assert_true(redis_address_format(span_of(host, 255), SPAN_LIT("65535"), out));
    assert_int_equal(strlen(out), 255 + 6);
    assert_false(redis_address_format(span_of(host, 256), SPAN_LIT("1"), out));
    assert_false(redis_address_format(span_of(host, 0), SPAN_LIT("1"), out));
}

static void
a_list_is_gone_round(void **state)
{
    static const char *const want[] = {"a:1", "[::1]:2", "c:3", "a:1", "[::1]:2"};
    char out[REDIS_ADDRESS_MAX];

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        redis_address_pick("a:1,[::1]:2,c:3", i, out);
        assert_string_equal(out, want[i]);
    }
    redis_address_pick("a:1", 7, out);
    assert_string_equal(out, "a:1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redirections_are_read),
        cmocka_unit_test(a_host_that_is_too_long_is_none),
        cmocka_unit_test(a_list_is_gone_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
