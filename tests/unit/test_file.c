/* Unit tests of file: bounds, kinds, privacy, replacing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/file.h"

static char folder[] = "/tmp/sendgov-file.XXXXXX";

static const char *
path_of(const char *name, char out[200])
{
    snprintf(out, 200, "%s/%s", folder, name);
    return out;
}

static void
test_replace_and_read(void **state)
{
    char mem[200];
    const char *path = path_of("users", mem);
    struct err err;
    struct buf b;
    struct stat st;

    (void)state;
    buf_init(&b);
    assert_int_equal(file_replace(path, SPAN_LIT("old content"), 0640, &err), 0);
    assert_int_equal(file_replace(path, SPAN_LIT("new"), 0600, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(file_read(path, 3, FILE_SECRET, &b, &err), 0);
    assert_true(span_eq(buf_span(&b), SPAN_LIT("new")));
    buf_wipe(&b);
    assert_int_equal(file_read(path, 2, FILE_ANY, &b, &err), -1);
    assert_non_null(strstr(err.text, "larger than 2 bytes"));
    buf_wipe(&b);
    assert_int_equal(file_replace("/nonexistent/x", SPAN_LIT("x"), 0600, &err), -1);
    unlink(path);
}

static void
test_privacy(void **state)
{
    char mem[200];
    const char *path = path_of("secret", mem);
    struct err err;
    struct buf b;

    (void)state;
    buf_init(&b);
    assert_int_equal(file_replace(path, SPAN_LIT("s"), 0644, &err), 0);
    assert_int_equal(file_read(path, 100, FILE_SECRET, &b, &err), -1);
    assert_non_null(strstr(err.text, "mode 0644"));
    assert_int_equal(file_check(path, FILE_SECRET, &err), -1);
    assert_int_equal(file_check(path, FILE_ANY, &err), 0);
    chmod(path, 0640);
    assert_int_equal(file_check(path, FILE_SECRET, &err), 0);
    unlink(path);
    buf_fini(&b);
}

static void
test_kinds(void **state)
{
    char mem[200];
    const char *path = path_of("fifo", mem);
    struct err err;
    struct buf b;

    (void)state;
    buf_init(&b);
    assert_int_equal(file_read(path, 100, FILE_ANY, &b, &err), -1);
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(file_read(folder, 100, FILE_ANY, &b, &err), -1);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(path, 100, FILE_ANY, &b, &err), -1); /* and does not hang */
    unlink(path);
    assert_int_equal(file_read("/proc/self/status", 100000, FILE_ANY, &b, &err), 0); /* says it has size 0 */
    assert_true(buf_len(&b) > 100);
    buf_fini(&b);
}

/* Values of statfs(2), written out: the table must not be compared with its own names. */
static void
test_network_types(void **state)
{
    static const struct {
        uint32_t f_type;
        const char *name;
    } network[] = {{0x6969, "NFS"}, {0x517b, "SMB"}, {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"},
        {0x01021997, "9p"}, {0x65735546, "FUSE"}, {0x00c36400, "Ceph"}, {0x5346414f, "AFS"},
        {0x6b414653, "AFS"}, {0x73757245, "Coda"}, {0x7461636f, "OCFS2"}, {0x01161970, "GFS2"}};
    static const uint32_t local[] = {0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1, 0};

    (void)state;
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        assert_string_equal(file_network_type(network[i].f_type), network[i].name);
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        assert_null(file_network_type(local[i]));
}

static void
test_network_of_path(void **state)
{
    const char *name = "untouched";

    (void)state;
    assert_false(file_is_on_network("/proc", &name));
    assert_false(file_is_on_network("/nonexistent/x", &name));
    assert_string_equal(name, "untouched");
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
    return rmdir(folder); /* fails when a temporary file was left behind */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace_and_read),
        cmocka_unit_test(test_privacy),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_network_types),
        cmocka_unit_test(test_network_of_path),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
