/* Every file of tests/tables/config_errors is refused with the text on its first line. %D there stands for
 * the folder the files lie in, %S for the installed data. Files that cannot lie in a source tree (modes,
 * size) are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/buf.h"
#include "tests/unit/config_files.h"

#define TABLES TOP_SRCDIR "/tests/tables/config_errors"
#define FIRST_LINE_MAX 1200

/* Calls fn for each *.yaml of a folder. */
static unsigned
each_yaml(const char *path, void (*fn)(const char *name))
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        const char *dot = strrchr(entry->d_name, '.');

        if (dot && strcmp(dot, ".yaml") == 0) {
            fn(entry->d_name);
            n++;
        }
    }
    closedir(dir);
    return n;
}

static void
copy_case(const char *name)
{
    char from[4096];

    snprintf(from, sizeof from, "%s/%s", TABLES, name);
    config_files_copy(from, name);
}

static void
copy_included(const char *name)
{
    char from[4096], to[512];

    snprintf(from, sizeof from, "%s/inc/%s", TABLES, name);
    snprintf(to, sizeof to, "inc/%s", name);
    config_files_copy(from, to);
}

static int
setup(void **state)
{
    static char large[20000];

    (void)state;
    config_files_open();
    assert_int_equal(mkdir("inc", 0700), 0);
    memset(large, 'x', sizeof large);
    config_files_write("open-secret", "pw\n", 3, 0644);
    config_files_write("empty-secret", "\n", 1, 0600);
    config_files_write("two-lines", "a\nb\n", 4, 0600);
    config_files_write("control-secret", "a\001b\n", 4, 0600);
    config_files_write("large-secret", large, sizeof large, 0600);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    config_files_close();
    return 0;
}

/* "# expected text" of the file, with %D and %S filled in. */
static void
read_expected(const char *name, struct buf *out)
{
    char line[FIRST_LINE_MAX];
    FILE *in = fopen(name, "r");

    assert_non_null(in);
    assert_non_null(fgets(line, sizeof line, in));
    fclose(in);
    assert_memory_equal(line, "# ", 2);
    for (const char *p = line + 2; *p && *p != '\n'; p++) {
        if (p[0] == '%' && (p[1] == 'D' || p[1] == 'S'))
            buf_add_str(out, *++p == 'D' ? config_files_folder() : SENDGOV_DATADIR);
        else
            buf_add(out, p, 1);
    }
}

static void
check_case(const char *name)
{
    struct err err = {""};
    struct buf expected;
    struct config *config = config_load(name, &err);

    buf_init(&expected);
    read_expected(name, &expected);
    if (config)
        fail_msg("%s was accepted", name);
    assert_string_equal(err.text, buf_span(&expected).p);
    buf_fini(&expected);
}

static void
every_table_is_refused_as_it_says(void **state)
{
    (void)state;
    each_yaml(TABLES "/inc", copy_included);
    assert_true(each_yaml(TABLES, copy_case) > 150);
    each_yaml(".", check_case);
}

static void
refused(const char *name, const char *part)
{
    struct err err = {""};

    assert_null(config_load(name, &err));
    if (!strstr(err.text, part))
        fail_msg("'%s' does not say '%s'", err.text, part);
}

/* 1 MiB is the end, not the beginning of swapping. */
static void
huge_files_are_refused(void **state)
{
    size_t n = 1024 * 1024 + 1;
    char *text = malloc(n);

    (void)state;
    assert_non_null(text);
    memset(text, '#', n);
    config_files_write("huge.yaml", text, n, 0600);
    refused("huge.yaml", "huge.yaml:1:1: is larger than 1 MiB");
    memset(text, '[', n - 1);
    config_files_write("brackets.yaml", text, n - 1, 0600);
    refused("brackets.yaml", "brackets.yaml:1:");
    for (size_t i = 0; i + 2 < n; i += 2)
        memcpy(text + i, "- ", 2);
    config_files_write("dashes.yaml", text, n - 1, 0600);
    refused("dashes.yaml", "dashes.yaml:1:");
    for (size_t i = 0; i + 2 < n; i += 2)
        memcpy(text + i, i == 0 ? "[1" : ",1", 2);
    config_files_write("many.yaml", text, n - 1, 0600);
    refused("many.yaml", "many.yaml:");
    free(text);
}

static void
only_plain_files_are_read(void **state)
{
    (void)state;
    refused("nowhere.yaml", "nowhere.yaml:1:1: cannot be opened: No such file");
    refused("inc", "inc:1:1: is not a plain file");
    refused("/dev/zero", "/dev/zero:1:1: is not a plain file");
    assert_int_equal(mkfifo("pipe.yaml", 0600), 0);
    refused("pipe.yaml", "pipe.yaml:1:1: is not a plain file"); /* and does not wait for a writer */
    assert_int_equal(unlink("pipe.yaml"), 0);
}

/* A complaint about the address of Redis must not repeat the password in it. */
static void
complaints_hold_no_secret(void **state)
{
    struct err err = {""};

    (void)state;
    copy_case("redis_password_in_url.yaml");
    assert_null(config_load("redis_password_in_url.yaml", &err));
    assert_null(strstr(err.text, "hunter2"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_refused_as_it_says),
        cmocka_unit_test(huge_files_are_refused),
        cmocka_unit_test(only_plain_files_are_read),
        cmocka_unit_test(complaints_hold_no_secret),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
