/* Unit tests of inherited: what a service manager or a predecessor hands over, by the environment and from
 * descriptor 3 on. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/log.h"
#include "relay/base/log_sink.h"
#include "relay/net/inherited.h"

#define FIRST 3

static char folder[64];

/* Nothing but the standard descriptors is open, so that what is made next is 3, 4, ... */
static int
set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/sendgov-inherited.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    log_setup(LOG_NOTICE, LOG_LOGFMT);
    return close_range(FIRST, ~0u, 0);
}

static int
tear_down(void **state)
{
    char path[96];

    (void)state;
    log_sink_set_fd(STDERR_FILENO);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    snprintf(path, sizeof(path), "%s/s", folder);
    unlink(path);
    close_range(FIRST, ~0u, 0);
    return rmdir(folder);
}

/* ---- what is handed over ---- */

static void
bind_to(int fd, const struct sockaddr *sa, socklen_t len, bool listens)
{
    assert_true(fd >= FIRST);
    assert_int_equal(bind(fd, sa, len), 0);
    if (listens)
        assert_int_equal(listen(fd, 4), 0);
}

static int
v4(int type, bool listens, char address_out[64])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, type, 0);

    bind_to(fd, (struct sockaddr *)&sa, len, listens);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address_out, 64, "127.0.0.1:%d", ntohs(sa.sin_port));
    return fd;
}

static int
v6(char address_out[64])
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);

    bind_to(fd, (struct sockaddr *)&sa, len, true);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address_out, 64, "[::1]:%d", ntohs(sa.sin6_port));
    return fd;
}

static int
local(char address_out[128])
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", folder);
    bind_to(fd, (struct sockaddr *)&sa, sizeof(sa), true);
    snprintf(address_out, 128, "unix:%s/s", folder);
    return fd;
}

static void
announce(const char *pid, const char *n)
{
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", n, 1);
    setenv("LISTEN_FDNAMES", "smtp:x", 1);
}

static const char *
own_pid(void)
{
    static char text[16];

    snprintf(text, sizeof(text), "%ld", (long)getpid());
    return text;
}

static struct inherited *
inherit(const char *n)
{
    struct inherited *in;
    struct err err = {""};

    announce(own_pid(), n);
    in = inherited_from_environment(&err);
    if (in == NULL)
        fail_msg("%s", err.text);
    return in;
}

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void
assert_environment_is_clean(void)
{
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

/* ---- tests ---- */

static void
test_taken_by_address(void **state)
{
    char a4[64], other[64], a6[64], path[128], text[200];
    int fd4 = v4(SOCK_STREAM, true, a4), fd4b = v4(SOCK_STREAM, true, other), fd6 = v6(a6),
        fdu = local(path);
    struct inherited *in = inherit("4");

    (void)state;
    assert_environment_is_clean();
    for (int fd = FIRST; fd < FIRST + 4; fd++) {
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    }
    snprintf(text, sizeof(text), "127.0.0.2:%s", strchr(a4, ':') + 1);
    assert_int_equal(inherited_take(in, text), -1);
    snprintf(text, sizeof(text), "[::]:%s", strrchr(a6, ':') + 1);
    assert_int_equal(inherited_take(in, text), -1);
    snprintf(text, sizeof(text), "%s2", path);
    assert_int_equal(inherited_take(in, text), -1);
    snprintf(text, sizeof(text), "%.*s", (int)strlen(path) - 1, path);
    assert_int_equal(inherited_take(in, text), -1);
    assert_int_equal(inherited_take(in, "no address"), -1);
    assert_int_equal(inherited_take(in, path), fdu);
    assert_int_equal(inherited_take(in, other), fd4b);
    assert_int_equal(inherited_take(in, a6), fd6);
    assert_int_equal(inherited_take(in, a4), fd4);
    assert_int_equal(inherited_take(in, a4), -1); /* it is somebody's */
    inherited_close_rest(in);
    inherited_free(&in);
    assert_null(in);
    for (int fd = FIRST; fd < FIRST + 4; fd++)
        assert_true(is_open(fd)); /* the takers' */
}

static void
test_none(void **state)
{
    struct err err = {""};
    struct inherited *in = inherited_from_environment(&err);

    (void)state;
    assert_non_null(in);
    assert_int_equal(inherited_take(in, "127.0.0.1:25"), -1);
    inherited_close_rest(in);
    inherited_free(&in);
    assert_int_equal(inherited_take(NULL, "127.0.0.1:25"), -1);
    inherited_free(&in); /* of nothing */
}

static void
check_refused(const char *n, int fd)
{
    struct err err = {""};
    char text[32];

    announce(own_pid(), n);
    assert_null(inherited_from_environment(&err));
    snprintf(text, sizeof(text), "descriptor %d ", fd);
    assert_non_null(strstr(err.text, text));
    assert_non_null(strstr(err.text, "LISTEN_FDS"));
    assert_environment_is_clean();
}

static void
test_no_listening_socket(void **state)
{
    char address[64];

    (void)state;
    (void)v4(SOCK_STREAM, true, address);
    (void)v4(SOCK_STREAM, false, address);
    check_refused("2", FIRST + 1);
    assert_false(is_open(FIRST)); /* a listening one nobody will serve */
}

static void
test_datagram(void **state)
{
    char address[64];

    (void)state;
    (void)v4(SOCK_DGRAM, false, address);
    check_refused("1", FIRST);
}

/* It listens, and cannot be spoken SMTP on. */
static void
test_seqpacket(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    (void)state;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", folder);
    bind_to(fd, (struct sockaddr *)&sa, sizeof(sa), true);
    check_refused("1", FIRST);
}

static void
test_file_or_nothing(void **state)
{
    (void)state;
    assert_int_equal(open("/dev/null", O_RDONLY), FIRST);
    check_refused("1", FIRST);
    close(FIRST);
    check_refused("1", FIRST);
}

/* Not ours, or no numbers: nothing is touched, and no child hears of it again. */
static void
test_foreign_or_garbage(void **state)
{
    static const char *const counts[] = {"", "0", "-1", "x", "1x", " 1", "1.0", "+1", "1025",
        "99999999999999999999", "0x1"};
    char address[64], pid[40];
    struct err err = {""};
    struct inherited *in;
    int fd = v4(SOCK_STREAM, true, address);
    const char *pids[] = {"1", "", "x", pid, "-1", "99999999999999999999"};

    (void)state;
    snprintf(pid, sizeof(pid), "%sx", own_pid());
    for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
        announce(pids[i], "1");
        in = inherited_from_environment(&err);
        assert_non_null(in);
        assert_int_equal(inherited_take(in, address), -1);
        inherited_free(&in);
        assert_environment_is_clean();
    }
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        announce(own_pid(), counts[i]);
        in = inherited_from_environment(&err);
        assert_non_null(in);
        if (inherited_take(in, address) != -1)
            fail_msg("\"%s\" was taken for a number", counts[i]);
        inherited_free(&in);
        assert_environment_is_clean();
    }
    assert_true(is_open(fd));
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

static void
test_rest_is_closed_and_said(void **state)
{
    char a4[64], taken[64], path[128], log[2000], text[100];
    int fds[2], fd4 = v4(SOCK_STREAM, true, a4), fd4b = v4(SOCK_STREAM, true, taken), fdu = local(path);
    struct inherited *in = inherit("3");
    ssize_t n;

    (void)state;
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    log_sink_set_fd(fds[1]);
    assert_int_equal(inherited_take(in, taken), fd4b);
    inherited_close_rest(in);
    n = read(fds[0], log, sizeof(log) - 1);
    assert_true(n > 0);
    log[n] = '\0';
    snprintf(text, sizeof(text), "127.0.0.1 port %s was handed over", strchr(a4, ':') + 1);
    assert_non_null(strstr(log, text));
    assert_non_null(strstr(log, "a unix socket was handed over"));
    assert_null(strstr(log, strchr(taken, ':') + 1));
    assert_false(is_open(fd4));
    assert_false(is_open(fdu));
    assert_true(is_open(fd4b));
    assert_int_equal(inherited_take(in, a4), -1);
    inherited_free(&in);
}

/* What nobody asked for until the end goes with it. */
static void
test_free_closes(void **state)
{
    char a4[64], taken[64];
    int fd4 = v4(SOCK_STREAM, true, a4), fd4b = v4(SOCK_STREAM, true, taken);
    struct inherited *in = inherit("2");

    (void)state;
    assert_int_equal(inherited_take(in, taken), fd4b);
    inherited_free(&in);
    assert_false(is_open(fd4));
    assert_true(is_open(fd4b));
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_taken_by_address),
        CASE(test_none),
        CASE(test_no_listening_socket),
        CASE(test_datagram),
        CASE(test_seqpacket),
        CASE(test_file_or_nothing),
        CASE(test_foreign_or_garbage),
        CASE(test_rest_is_closed_and_said),
        CASE(test_free_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
