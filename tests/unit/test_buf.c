/* Unit tests of buf, arena, err and clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/base/arena.h"
#include "relay/base/buf.h"
#include "relay/base/clock.h"
#include "relay/base/err.h"

static void
test_empty(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_non_null(buf_span(&b).p);
    buf_add(&b, NULL, 0);
    assert_null(b.p); /* costs nothing */
    buf_clear(&b);
    buf_consume(&b, 0);
    buf_wipe(&b);
    buf_fini(&b);
}

/* Against a plain model: random adds and consumes keep the content. */
static void
test_model(void **state)
{
    static char model[400000];
    size_t head = 0, tail = 0;
    struct buf b;

    (void)state;
    srand(7);
    buf_init(&b);
    for (int step = 0; step < 20000; step++) {
        size_t n = (size_t)rand() % 40;

        if (rand() % 2 && tail + n < sizeof(model)) {
            for (size_t i = 0; i < n; i++)
                model[tail + i] = (char)rand();
            buf_add(&b, model + tail, n);
            tail += n;
        } else {
            if (n > tail - head)
                n = tail - head;
            buf_consume(&b, n);
            head += n;
        }
        assert_int_equal(buf_len(&b), tail - head);
        assert_memory_equal(buf_span(&b).p, model + head, tail - head);
        if (b.p)
            assert_int_equal(buf_span(&b).p[tail - head], '\0');
    }
    assert_true(tail > 100000 && b.size < 32 * 1024); /* what was consumed is given up */
    buf_fini(&b);
}

static void
test_queue_does_not_creep(void **state)
{
    char block[1000] = {0};
    struct buf b;

    (void)state;
    buf_init(&b);
    buf_add(&b, block, 500);
    for (int i = 0; i < 10000; i++) {
        buf_add(&b, block, sizeof(block));
        buf_consume(&b, sizeof(block));
    }
    assert_int_equal(buf_len(&b), 500);
    assert_true(b.size <= 8192);
    buf_fini(&b);
}

static void
test_printf(void **state)
{
    char wide[3000];
    struct buf b;

    (void)state;
    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    buf_init(&b);
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%d-%s", 42, wide);
    buf_add_str(&b, "!");
    assert_int_equal(buf_len(&b), 3 + 2999 + 1);
    assert_memory_equal(b.p, "42-xxx", 6);
    assert_int_equal(b.p[buf_len(&b) - 1], '!');
    memcpy(buf_reserve(&b, 10), "0123456789", 10);
    buf_commit(&b, 10);
    assert_string_equal(b.p + b.len - 10, "0123456789");
    buf_clear(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_string_equal(b.p, "");
    buf_fini(&b);
}

static void
test_arena(void **state)
{
    struct arena a;
    char *first;

    (void)state;
    arena_init(&a);
    first = arena_alloc(&a, 3);
    for (size_t n = 0; n < 9000; n += 37) {
        char *p = arena_alloc(&a, n);

        assert_int_equal((uintptr_t)p % sizeof(long double), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xa5, n);
    }
    assert_int_equal(first[0], 0);
    assert_string_equal(arena_strdup(&a, SPAN_LIT("contoso.com")), "contoso.com");
    assert_string_equal(arena_strdup(&a, span_str(NULL)), "");
    arena_fini(&a);
    arena_fini(&a);
}

static void
test_err(void **state)
{
    struct err err;
    char wide[3000];

    (void)state;
    memset(wide, 'y', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_int_equal(err_set(NULL, "x"), -1);
    assert_int_equal(err_set(&err, "line %d", 7), -1);
    assert_string_equal(err.text, "line 7");
    errno = ENOENT;
    assert_int_equal(err_set_errno(&err, "open %s", "/x"), -1);
    assert_string_equal(err.text, "open /x: No such file or directory");
    err_set(&err, "%s", wide);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    errno = EACCES;
    err_set_errno(&err, "%s", wide);
    assert_non_null(strstr(err.text, ": Permission denied"));
}

static void
test_clock(void **state)
{
    char text[CLOCK_RFC5322_MAX];
    int64_t a = clock_mono_us(), b = clock_mono_us();

    (void)state;
    assert_true(b >= a);
    clock_format_rfc3339(INT64_C(1795489445678), text);
    assert_string_equal(text, "2026-11-24T03:04:05.678Z");
    clock_format_rfc5322(INT64_C(1795489445678), text);
    assert_string_equal(text, "Tue, 24 Nov 2026 03:04:05 +0000");
    clock_format_rfc3339(-5, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_queue_does_not_creep),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
