/* Unit tests of blob: memory, spilling, bounds, a full disk. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/blob.h"

static char folder[] = "/tmp/sendgov-blob.XXXXXX";

static char
byte_at(uint64_t i)
{
    return (char)(i * 31 + i / 251);
}

static void
fill(struct blob *b, size_t n, size_t step)
{
    char chunk[5000];

    for (uint64_t at = blob_size(b), end = at + n; at < end; at = blob_size(b)) {
        size_t len = step < end - at ? step : (size_t)(end - at);

        for (size_t i = 0; i < len; i++)
            chunk[i] = byte_at(at + i);
        assert_int_equal(blob_append(b, span_of(chunk, len)), BLOB_OK);
    }
}

static void
check(struct blob *b, size_t n, size_t max)
{
    char scratch[5000];
    uint64_t at = 0;
    struct span s;

    assert_int_equal(blob_size(b), n);
    for (;;) {
        assert_int_equal(blob_read(b, at, scratch, max, &s), BLOB_OK);
        if (s.n == 0)
            break;
        assert_true(s.n <= max);
        for (size_t i = 0; i < s.n; i++)
            assert_int_equal(s.p[i], byte_at(at + i));
        at += s.n;
    }
    assert_int_equal(at, n);
}

static void
test_memory(void **state)
{
    struct blob_pool *pool = blob_pool_new(folder, 100000, 1000000);
    struct blob *b = blob_new(pool);

    (void)state;
    assert_int_equal(blob_pool_memory(pool), 0);
    check(b, 0, 10);
    fill(b, 100000, 777);
    assert_int_equal(blob_pool_memory(pool), 100000);
    check(b, 100000, 999);
    check(b, 100000, 5000);
    blob_free(&b);
    assert_null(b);
    blob_free(&b);
    assert_int_equal(blob_pool_memory(pool), 0);
    blob_pool_free(&pool);
}

/* The pool's owner goes first: a body on its way stays readable (leaks show in the sanitizer build). */
static void
test_pool_left(void **state)
{
    struct blob_pool *pool = blob_pool_new(folder, 100000, 1000000);
    struct blob *b = blob_new(pool);

    (void)state;
    fill(b, 1000, 777);
    blob_pool_free(&pool);
    assert_null(pool);
    fill(b, 200000, 777);
    check(b, 201000, 999);
    blob_free(&b);
}

static void
test_spill(void **state)
{
    static const size_t steps[] = {1, 78, 4999};
    struct blob_pool *pool = blob_pool_new(folder, 10000, 1000000);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct blob *b = blob_new(pool);

        fill(b, 70000, steps[i]);
        assert_true(blob_pool_memory(pool) <= 16384);
        check(b, 70000, 1234);
        assert_int_equal(blob_pool_memory(pool), 0); /* a blob that is read holds no memory */
        fill(b, 500, 78);                            /* and may still grow */
        check(b, 70500, 5000);
        blob_free(&b);
    }
    blob_pool_free(&pool);
}

static void
test_pool_bound(void **state)
{
    struct blob_pool *pool = blob_pool_new(folder, 50000, 120000);
    struct blob *b[5];

    (void)state;
    for (int i = 0; i < 5; i++) {
        b[i] = blob_new(pool);
        fill(b[i], 50000, 1000);
    }
    assert_true(blob_pool_memory(pool) <= 120000 + 5 * 16384);
    for (int i = 0; i < 5; i++)
        check(b[i], 50000, 4096);
    for (int i = 0; i < 5; i++)
        blob_free(&b[i]);
    assert_int_equal(blob_pool_memory(pool), 0);
    blob_pool_free(&pool);
}

/* A large blob gets all at once while there is plenty, and what it did not need goes back. */
static void
test_seal(void **state)
{
    struct blob_pool *pool = blob_pool_new(folder, 200000, 1000000);
    struct blob *b = blob_new(pool), *small = blob_new(pool);

    (void)state;
    fill(b, 60000, 5000);
    assert_int_equal(blob_pool_memory(pool), 200000);
    fill(small, 100, 100);
    assert_int_equal(blob_pool_memory(pool), 202048);
    blob_seal(b);
    blob_seal(small);
    assert_int_equal(blob_pool_memory(pool), 60100);
    check(b, 60000, 4096);
    blob_free(&b);
    blob_free(&small);
    b = blob_new(pool);
    blob_seal(b); /* empty */
    fill(b, 300000, 5000);
    blob_seal(b); /* in a file */
    check(b, 300000, 4096);
    blob_free(&b);
    assert_int_equal(blob_pool_memory(pool), 0);
    blob_pool_free(&pool);
}

/* What a helper thread sees of a blob, in memory and in a file, at once and byte by byte. */
static void
test_view(void **state)
{
    static const size_t sizes[] = {0, 1, 9000, 70500};
    struct blob_pool *pool = blob_pool_new(folder, 10000, 1000000);
    char scratch[777];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct blob *b = blob_new(pool);
        struct blob_view view;
        struct span s;
        uint64_t at = 0;

        fill(b, sizes[i], 78);
        blob_seal(b);
        assert_int_equal(blob_view(b, &view), BLOB_OK);
        assert_int_equal(view.bytes, sizes[i]);
        do {
            assert_int_equal(blob_view_read(&view, at, scratch, sizeof(scratch), &s), BLOB_OK);
            for (size_t k = 0; k < s.n; k++)
                assert_int_equal(s.p[k], byte_at(at + k));
            at += s.n;
        } while (s.n > 0);
        assert_int_equal(at, sizes[i]);
        blob_free(&b);
    }
    blob_pool_free(&pool);
}

/* A blob that failed has no view, and a view whose file is shorter than it should be does not end early. */
static void
test_view_fails(void **state)
{
    struct blob_pool *none = blob_pool_new("/nonexistent/folder", 10, 1000);
    struct blob *b = blob_new(none);
    struct blob_view view, cut = {.mem = NULL, .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .bytes = 10};
    char scratch[16];
    struct span s;

    (void)state;
    assert_int_equal(blob_append(b, SPAN_LIT("12345678901")), BLOB_IO_ERROR);
    assert_int_equal(blob_view(b, &view), BLOB_IO_ERROR);
    assert_int_equal(blob_view_read(&cut, 0, scratch, sizeof(scratch), &s), BLOB_IO_ERROR);
    close(cut.fd);
    blob_free(&b);
    blob_pool_free(&none);
}

static void
test_no_folder(void **state)
{
    struct blob_pool *pool = blob_pool_new("/nonexistent/folder", 10, 1000);
    struct blob *b = blob_new(pool);

    (void)state;
    assert_int_equal(blob_append(b, SPAN_LIT("12345")), BLOB_OK);
    assert_int_equal(blob_append(b, SPAN_LIT("1234567890")), BLOB_IO_ERROR);
    assert_int_equal(blob_append(b, SPAN_LIT("1")), BLOB_IO_ERROR); /* stays */
    blob_free(&b);
    blob_pool_free(&pool);
}

/* RLIMIT_FSIZE stands in for a full disk. */
static void
test_full_disk(void **state)
{
    struct blob_pool *pool = blob_pool_new(folder, 1000, 1000000);
    struct blob *b = blob_new(pool);
    struct rlimit before, small;
    char chunk[4000] = {0};
    enum blob_status st = BLOB_OK;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 30000;
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 100 && st == BLOB_OK; i++)
        st = blob_append(b, span_of(chunk, sizeof(chunk)));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(st, BLOB_NO_SPACE);
    blob_free(&b);
    blob_pool_free(&pool);
}

static int
make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a blob left a name behind */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_pool_left),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_pool_bound),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_view_fails),
        cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_full_disk),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
