/* Unit tests of sasl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/smtp/sasl.h"
#include "tests/lib/guard.h"

static bool
decodes(const char *in, const char *want, size_t want_n)
{
    char out[64];
    struct guard guard;
    size_t n = 999;
    bool ok = sasl_base64_decode(guard_copy(&guard, in, strlen(in)), out, &n);

    guard_free(&guard);
    return ok && n == want_n && memcmp(out, want, n) == 0;
}

/* RFC 4648 section 10, and what must not pass. */
static void
test_decode(void **state)
{
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9=v", "Zm9v\n", " Zm9",
        "Zm 9", "Zh==", "Zm9", "Zm8=Zm8=", "-_-_", "Zg=g", "Zm9v=", "\xc3\xa4z="};
    char out[64];
    size_t n;

    (void)state;
    assert_true(decodes("", "", 0));
    assert_true(decodes("Zg==", "f", 1));
    assert_true(decodes("Zm8=", "fo", 2));
    assert_true(decodes("Zm9v", "foo", 3));
    assert_true(decodes("Zm9vYmFy", "foobar", 6));
    assert_true(decodes("AAD/", "\0\0\xff", 3));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sasl_base64_decode(span_str(bad[i]), out, &n))
            fail_msg("%s decodes", bad[i]);
}

static void
test_round_trip(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 300; round++) {
        char in[100], back[200];
        size_t n = (size_t)rand() % sizeof in, back_n;
        struct buf text;

        for (size_t i = 0; i < n; i++)
            in[i] = (char)rand();
        buf_init(&text);
        sasl_base64_encode(span_of(in, n), &text);
        assert_int_equal(buf_len(&text), (n + 2) / 3 * 4);
        assert_true(sasl_base64_decode(buf_span(&text), back, &back_n));
        assert_int_equal(back_n, n);
        assert_memory_equal(back, in, n);
        buf_fini(&text);
    }
}

static void
test_plain(void **state)
{
    struct span authzid, user, password;
    char message[5000];

    (void)state;
    assert_true(sasl_plain_parse(span_of("\0u\0p", 4), &authzid, &user, &password));
    assert_int_equal(authzid.n, 0);
    assert_true(span_eq(user, SPAN_LIT("u")));
    assert_true(span_eq(password, SPAN_LIT("p")));
    assert_true(sasl_plain_parse(span_of("a\0u\0", 4), &authzid, &user, &password));
    assert_int_equal(password.n, 0);
    assert_false(sasl_plain_parse(span_of("", 0), &authzid, &user, &password));
    assert_false(sasl_plain_parse(span_of("u\0p", 3), &authzid, &user, &password));
    assert_false(sasl_plain_parse(span_of("\0\0p", 3), &authzid, &user, &password));
    assert_false(sasl_plain_parse(span_of("\0u\0p\0", 5), &authzid, &user, &password));
    memset(message, 'x', sizeof message);
    message[0] = message[256] = '\0';
    assert_true(sasl_plain_parse(span_of(message, 300), &authzid, &user, &password));
    assert_int_equal(user.n, 255);
    assert_false(sasl_plain_parse(span_of(message, 257 + SASL_PASSWORD_MAX + 1), &authzid, &user, &password));
    message[256] = 'x';
    message[257] = '\0';
    assert_false(sasl_plain_parse(span_of(message, 300), &authzid, &user, &password));
}

static void
test_plain_format(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    sasl_plain_format(SPAN_LIT("test"), SPAN_LIT("1234"), &out);
    assert_string_equal(buf_span(&out).p, "AHRlc3QAMTIzNA==");
    buf_fini(&out);
}

static void
test_mechanisms(void **state)
{
    enum sasl_mechanism m;

    (void)state;
    assert_true(sasl_mechanism_parse(SPAN_LIT("plain"), &m));
    assert_string_equal(sasl_mechanism_to_str(m), "PLAIN");
    assert_true(sasl_mechanism_parse(SPAN_LIT("LOGIN"), &m));
    assert_string_equal(sasl_mechanism_to_str(m), "LOGIN");
    assert_false(sasl_mechanism_parse(SPAN_LIT("CRAM-MD5"), &m));
    assert_false(sasl_mechanism_parse(SPAN_LIT(""), &m));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_plain_format),
        cmocka_unit_test(test_mechanisms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
