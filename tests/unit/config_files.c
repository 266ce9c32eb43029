#include "tests/unit/config_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

void
config_files_write(const char *name, const void *bytes, size_t n, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

void
config_files_copy(const char *from, const char *to)
{
    static char text[65536];
    FILE *in = fopen(from, "r");
    size_t n;

    if (!in)
        fail_msg("%s cannot be opened", from);
    n = fread(text, 1, sizeof text, in);
    assert_true(n < sizeof text);
    fclose(in);
    config_files_write(to, text, n, 0600);
}

void
config_files_open(void)
{
    snprintf(folder, sizeof folder, "/tmp/sendgov-config.XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    config_files_write("secret", "pass word\n", 10, 0600);
    config_files_write("key.pem", "k\n", 2, 0600);
    config_files_write("cert.pem", "c\n", 2, 0644);
    config_files_write("users", "", 0, 0600);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(setenv("SENDGOV_PROFILE_PATH", TOP_SRCDIR "/conf/profiles", 1), 0);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
config_files_close(void)
{
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
config_files_folder(void)
{
    return folder;
}

struct config *
config_files_load(const char *yaml)
{
    struct err err = {""};
    struct config *c;

    config_files_write("c.yaml", yaml, strlen(yaml), 0600);
    c = config_load("c.yaml", &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}
