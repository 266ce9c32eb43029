/* Unit tests of siphash and table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/base/table.h"
#include "tests/lib/guard.h"

/* Published vectors of SipHash-1-3 with key 00..0f; every length differs; nothing past the end is read. */
static void
test_siphash(void **state)
{
    struct siphash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    char bytes[40];
    uint64_t seen[40];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        struct guard g;

        seen[n] = siphash13(key, guard_copy(&g, bytes, n));
        for (size_t m = 0; m < n; m++)
            assert_true(seen[m] != seen[n]);
        guard_free(&g);
    }
    assert_true(seen[0] == UINT64_C(0xabac0158050fc4dc));
    assert_true(siphash13(key, SPAN_LIT("x")) != siphash13((struct siphash_key){1, 2}, SPAN_LIT("x")));
}

struct drop {
    size_t calls;
    unsigned modulus;
};

static bool
drop_some(void *arg, struct span key, void *value)
{
    struct drop *d = arg;

    (void)key;
    d->calls++;
    return (uintptr_t)value % d->modulus == 0;
}

static struct span
key_of(uintptr_t i, char out[24])
{
    return span_of(out, (size_t)snprintf(out, 24, "k%zu", (size_t)i));
}

static void
test_table(void **state)
{
    enum { N = 5000 };
    struct drop all = {0, 1}, thirds = {0, 3};
    struct table t;
    char text[24];

    (void)state;
    table_init(&t, siphash_key_random());
    assert_null(table_get(&t, SPAN_LIT("")));
    assert_null(table_del(&t, SPAN_LIT("x")));
    for (uintptr_t i = 1; i <= N; i++)
        assert_null(table_put(&t, key_of(i, text), (void *)i));
    assert_int_equal(table_count(&t), N);
    assert_ptr_equal(table_put(&t, SPAN_LIT("k7"), (void *)70), (void *)7);
    assert_ptr_equal(table_put(&t, SPAN_LIT("k7"), (void *)7), (void *)70);
    for (uintptr_t i = 1; i <= N; i += 2)
        assert_ptr_equal(table_del(&t, key_of(i, text)), (void *)i);
    for (uintptr_t i = 1; i <= N; i++)
        assert_ptr_equal(table_get(&t, key_of(i, text)), i % 2 ? NULL : (void *)i);
    table_sweep(&t, drop_some, &thirds);
    assert_true(thirds.calls >= N / 2);
    for (uintptr_t i = 2; i <= N; i += 2)
        assert_ptr_equal(table_get(&t, key_of(i, text)), i % 3 == 0 ? NULL : (void *)i);
    table_sweep(&t, drop_some, &all);
    assert_int_equal(table_count(&t), 0);
    assert_null(table_put(&t, SPAN_LIT(""), &t)); /* the empty key is a key */
    assert_ptr_equal(table_get(&t, SPAN_LIT("")), &t);
    table_fini(&t);
}

static void
test_bytes(void **state)
{
    struct table t;
    size_t one;

    (void)state;
    table_init(&t, siphash_key_random());
    assert_int_equal(table_bytes(&t), 0);
    table_put(&t, SPAN_LIT("a"), &t);
    one = table_bytes(&t);
    assert_in_range(one, 16 * 32 + 32, 16 * 32 + 64);
    table_put(&t, SPAN_LIT("0123456789012345678901234567890123456789"), &t);
    assert_int_equal(table_bytes(&t) - one, 48); /* 40, and malloc's own 8 */
    table_del(&t, SPAN_LIT("a"));
    assert_int_equal(table_bytes(&t), one - 32 + 48);
    table_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
