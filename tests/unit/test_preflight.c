/* What the check of a configuration says about the spool's folder on this host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "relay/config/preflight.h"
#include "tests/unit/config_files.h"

#define BASE                                                                                                 \
    "user: nobody\nlisteners: {in: {address: \"127.0.0.1:2525\", tls: off}}\n"                               \
    "routes: {out: {upstream: \"mail.x.test:25\", domains: [x.test], warmup: established}}\n"                \
    "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"]}}\n"

/* In place of file_is_on_network: the folder that is on NFS, and what was asked last. */
static const char *remote;
static char asked[512];
bool __wrap_file_is_on_network(const char *path, const char **name_out);

bool
__wrap_file_is_on_network(const char *path, const char **name_out)
{
    snprintf(asked, sizeof asked, "%s", path);
    if (!remote || strcmp(path, remote) != 0)
        return false;
    *name_out = "NFS";
    return true;
}

static unsigned notes_of_spool;

static void
on_note(void *arg, const char *position, const char *text)
{
    (void)arg;
    (void)position;
    notes_of_spool += strstr(text, "spool") != NULL;
}

static struct err err;

static int
preflight_of(const char *yaml)
{
    char text[2048];
    struct config *c;
    int rc;

    snprintf(text, sizeof text, BASE "%s", yaml);
    c = config_files_load(text);
    err.text[0] = '\0';
    notes_of_spool = 0;
    rc = config_preflight(c, on_note, NULL, &err);
    config_unref(&c);
    return rc;
}

static void
refused(const char *yaml, const char *expected)
{
    assert_int_equal(preflight_of(yaml), -1);
    if (!strstr(err.text, expected))
        fail_msg("'%s' does not say '%s'", err.text, expected);
}

static const char *
path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", config_files_folder(), name);
    return path;
}

static void
make(const char *name, mode_t mode)
{
    assert_int_equal(mkdir(name, 0700), 0);
    assert_int_equal(chmod(name, mode), 0);
}

/* Neither state nor spool is there yet: the disk asked about is that of what is. */
static void
what_the_start_makes_need_not_be_there(void **state)
{
    (void)state;
    assert_int_equal(preflight_of("state: ./st\n"), 0);
    assert_string_equal(asked, config_files_folder());
    make("st", 0700);
    assert_int_equal(preflight_of("state: ./st\n"), 0);
    assert_string_equal(asked, path_of("st"));
    assert_int_equal(preflight_of("state: ./st\nspool: {folder: ./sp}\n"), 0);
    assert_string_equal(asked, config_files_folder());
    make("st/spool", 0700);
    assert_int_equal(preflight_of("state: ./st\n"), 0);
    assert_string_equal(asked, path_of("st/spool"));
    assert_int_equal(notes_of_spool, 0);
    assert_int_equal(access("sp", F_OK), -1); /* a check makes nothing */
    rmdir("st/spool");
    rmdir("st");
}

static void
what_is_no_place_is_refused(void **state)
{
    (void)state;
    refused("state: .\nspool: {folder: ./no/where}\n", "c.yaml:6:17: folder ");
    refused("state: .\nspool: {folder: ./cert.pem}\n", "cert.pem is no folder");
    refused("state: .\nspool: {folder: ./cert.pem/sp}\n", "c.yaml:6:17: ");
    assert_int_equal(preflight_of("state: .\nspool: {folder: ./no/where, enabled: false}\n"), 0);
    if (geteuid() != 0) {
        make("closed", 0500);
        refused("state: .\nspool: {folder: ./closed/sp}\n", "closed/sp cannot be made: Permission denied");
        rmdir("closed");
    }
}

static void
modes_keep_others_out(void **state)
{
    static const struct {
        mode_t mode;
        const char *said; /* NULL: taken */
    } cases[] = {{0700, NULL}, {0750, NULL}, {0755, "mode 0755"}, {0704, "mode 0704"},
        {0770, "mode 0770"}, {0702, "mode 0702"}, {01777, "mode 1777"}, {0500, "mode 0500"},
        {0600, "mode 0600"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make("sp", cases[i].mode);
        if (cases[i].said)
            refused("state: .\nspool: {folder: ./sp}\n", cases[i].said);
        else
            assert_int_equal(preflight_of("state: .\nspool: {folder: ./sp}\n"), 0);
        assert_int_equal(rmdir("sp"), 0);
    }
}

/* Root gives away its own at the start, but nothing that is somebody else's and nothing behind a link. */
static void
owners(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        refused("state: .\nspool: {folder: /usr}\n", "/usr belongs to uid 0, but sendgovd runs as uid ");
        return;
    }
    make("sp", 0700);
    assert_int_equal(preflight_of("state: .\nspool: {folder: ./sp}\n"), 0);
    assert_int_equal(symlink("sp", "link"), 0);
    refused("state: .\nspool: {folder: ./link}\n", "link is a symbolic link");
    assert_int_equal(chown("sp", 65534, 65534), 0);
    assert_int_equal(preflight_of("state: .\nspool: {folder: ./sp}\n"), 0);
    refused("state: .\nspool: {folder: ./link}\n", "link is a symbolic link"); /* the start opens none */
    assert_int_equal(chown("sp", 12345, 65534), 0);
    refused("state: .\nspool: {folder: ./sp}\n", "sp belongs to uid 12345, but sendgovd runs as uid 65534");
    unlink("link");
    rmdir("sp");
}

static void
network_file_systems_are_refused(void **state)
{
    char folder[512];

    (void)state;
    remote = config_files_folder();
    refused("state: ./st\n", "spool.folder: "); /* the setting that is not written */
    assert_non_null(strstr(err.text, "/st/spool is on NFS: locks and syncs"));
    refused("state: ./st\nspool: {folder: ./sp}\n", "c.yaml:6:17: ");
    make("sp", 0700);
    assert_int_equal(preflight_of("state: ./st\nspool: {folder: ./sp}\n"), 0); /* a mount of its own */
    snprintf(folder, sizeof folder, "%s", path_of("sp"));
    remote = folder;
    refused("state: ./st\nspool: {folder: ./sp}\n", "/sp is on NFS");
    assert_int_equal(preflight_of("state: ./st\nspool: {folder: ./sp, enabled: false}\n"), 0);
    remote = NULL;
    rmdir("sp");
}

static int
setup(void **state)
{
    (void)state;
    config_files_open();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    config_files_close();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_start_makes_need_not_be_there),
        cmocka_unit_test(what_is_no_place_is_refused),
        cmocka_unit_test(modes_keep_others_out),
        cmocka_unit_test(owners),
        cmocka_unit_test(network_file_systems_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
