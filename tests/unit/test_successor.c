/* Unit tests of successor and predecessor, each in a process of its own: this program starts itself, and the
 * argument says what the new process does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/handover.h"
#include "relay/net/inherited.h"
#include "relay/net/packets.h"
#include "relay/predecessor.h"
#include "relay/successor.h"

#define WAIT_MS 10000

/* ---- the new process: argv is role, address, state folder; it ends with ALL_WELL when it found that ---- */

enum { ALL_WELL, NO_LINK, NO_SOCKET, NO_LOCK, NO_GO, ENVIRONMENT, PAUSES, FINAL };

static int
count_pauses(int n, struct span line)
{
    static const char *const lines[] = {"new first", "new second"};

    return n < 2 && span_eq(line, span_str(lines[n])) ? n + 1 : -1;
}

static void
heir_on_pause(void *arg, struct span line)
{
    int *n = arg;

    *n = count_pauses(*n, line);
}

/* The test's own process lives on. */
static void
heir_on_gone(void *arg, const char *identity)
{
    int *n = arg;

    (void)identity;
    *n = -1;
}

static const struct predecessor_ops heir_ops = {heir_on_pause, heir_on_gone};

static int
hear_pauses(struct predecessor *p)
{
    struct err err;
    struct loop *loop = loop_new(NULL, &err);
    int64_t until = clock_mono_ms() + WAIT_MS;
    int n = 0;

    predecessor_listen(p, loop, &heir_ops, &n);
    while (n >= 0 && n < 2 && clock_mono_ms() < until)
        loop_turn(loop, 20);
    return n == 2 ? ALL_WELL : PAUSES;
}

static bool
environment_is_its_own(void)
{
    const char *watched = getenv("WATCHDOG_PID"), *kept = getenv("KEPT");

    return getenv(HANDOVER_ENVIRONMENT) == NULL && getenv("LISTEN_FDS") == NULL
        && getenv("LISTEN_FDNAMES") == NULL && watched != NULL && atol(watched) == (long)getpid()
        && kept != NULL && strcmp(kept, "as it was") == 0;
}

static int
serve(struct predecessor *p, char **argv)
{
    struct err err;
    struct inherited *in = inherited_from_environment(&err);

    if (in == NULL || inherited_take(in, argv[1]) < 0)
        return NO_SOCKET;
    if (!environment_is_its_own())
        return ENVIRONMENT;
    if (predecessor_take_lock(p, "/", &err) >= 0 || predecessor_take_lock(p, argv[2], &err) < 0)
        return NO_LOCK;
    if (predecessor_ask(p, "node x", &err) != 0)
        return NO_GO;
    predecessor_tell_running(p);
    return hear_pauses(p);
}

static int
be_heir(char **argv)
{
    const char *role = argv[0], *link = getenv(HANDOVER_ENVIRONMENT);
    struct predecessor *p;
    struct err err;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) /* not left behind when the test dies */
        return FINAL;
    if (strcmp(role, "speaks-otherwise") == 0)
        (void)packets_send(atoi(link), "hello", "");
    if (predecessor_from_environment(&p, &err) != 0 || p == NULL)
        return NO_LINK;
    if (strcmp(role, "serves") == 0)
        return serve(p, argv);
    if (strcmp(role, "fails") == 0)
        predecessor_tell_failed(p, "no such limit");
    if (strcmp(role, "serves-unasked") == 0)
        predecessor_tell_running(p);
    if (strcmp(role, "asks") == 0 || strcmp(role, "ends-late") == 0)
        (void)predecessor_ask(p, "node x", &err);
    if (strcmp(role, "ends") == 0 || strcmp(role, "ends-late") == 0)
        return FINAL;
    pause(); /* until it is killed */
    return FINAL;
}

/* ---- the old one ---- */

struct old {
    struct loop *loop;
    struct successor *successor;
    int socket, lock;
    char address[64], folder[64];
    unsigned prepared, serving, failed;
    char identity[100], why[PACKET_MAX];
    pid_t pid;
};

static void
on_prepared(void *arg, const char *identity)
{
    struct old *o = arg;

    o->prepared++;
    snprintf(o->identity, sizeof(o->identity), "%s", identity);
}

static void
on_serving(void *arg)
{
    ((struct old *)arg)->serving++;
}

static void
on_failed(void *arg, const char *why)
{
    struct old *o = arg;

    o->failed++;
    snprintf(o->why, sizeof(o->why), "%s", why);
}

static const struct successor_ops ops = {on_prepared, on_serving, on_failed};

static int
set_up(void **state)
{
    static struct old o;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    char path[80];
    struct err err;

    memset(&o, 0, sizeof(o));
    *state = &o;
    setenv("LISTEN_FDNAMES", "x", 1);
    setenv("WATCHDOG_PID", "1", 1);
    setenv("KEPT", "as it was", 1);
    o.loop = loop_new(NULL, &err);
    o.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(o.folder, sizeof(o.folder), "/tmp/sendgov-successor.XXXXXX");
    if (o.loop == NULL || mkdtemp(o.folder) == NULL || bind(o.socket, (struct sockaddr *)&sa, len) != 0
        || listen(o.socket, 4) != 0 || getsockname(o.socket, (struct sockaddr *)&sa, &len) != 0)
        return -1;
    snprintf(o.address, sizeof(o.address), "127.0.0.1:%d", ntohs(sa.sin_port));
    snprintf(path, sizeof(path), "%s/lock", o.folder);
    o.lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return o.lock < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
    struct old *o = *state;
    char path[80];

    successor_free(&o->successor);
    loop_free(&o->loop);
    close(o->socket);
    close(o->lock);
    snprintf(path, sizeof(path), "%s/lock", o->folder);
    unlink(path);
    return rmdir(o->folder);
}

static void
start(struct old *o, const char *program, const char *role)
{
    char text[32];
    char *argv[] = {(char *)(uintptr_t)program, text, o->address, o->folder, NULL};
    struct successor_setup setup = {.loop = o->loop, .argv = argv, .sockets = &o->socket, .n_sockets = 1,
        .lock = o->lock, .ops = &ops, .arg = o};
    struct err err;

    snprintf(text, sizeof(text), "%s", role);
    o->successor = successor_start(&setup, &err);
    if (o->successor == NULL)
        fail_msg("%s", err.text);
    o->pid = successor_pid(o->successor);
}

static void
turn_until(struct old *o, const unsigned *count)
{
    int64_t until = clock_mono_ms() + WAIT_MS;

    while (*count == 0) {
        assert_true(clock_mono_ms() < until);
        loop_turn(o->loop, 20);
    }
}

static bool
is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

static void
expect_failure(struct old *o, const char *why)
{
    turn_until(o, &o->failed);
    for (int i = 0; i < 3; i++)
        loop_turn(o->loop, 0);
    assert_int_equal(o->failed, 1);
    assert_int_equal(o->serving, 0);
    assert_non_null(strstr(o->why, why));
    assert_true(is_gone(o->pid));
}

/* Sockets, lock, link and environment are as the new one finds them; it hears of pauses from GO on. */
static void
test_serves(void **state)
{
    struct old *o = *state;
    int status = -1;

    start(o, "/proc/self/exe", "serves");
    successor_go(o->successor, "0123456789abcdef"); /* too early: it is not asked for */
    successor_tell_pause(o->successor, "new too early");
    turn_until(o, &o->prepared);
    assert_string_equal(o->identity, "node x");
    successor_tell_pause(o->successor, "new early");
    successor_go(o->successor, "0123456789abcdef");
    successor_tell_pause(o->successor, "new first");
    turn_until(o, &o->serving);
    successor_tell_pause(o->successor, "new second");
    assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ALL_WELL);
    for (int i = 0; i < 3; i++)
        loop_turn(o->loop, 20);
    assert_int_equal(o->prepared, 1);
    assert_int_equal(o->serving, 1);
    assert_int_equal(o->failed, 0); /* whatever becomes of it now */
    successor_tell_pause(o->successor, "new last"); /* nobody hears it */
}

static void
test_fails(void **state)
{
    static const char *const roles[][2] = {{"fails", "no such limit"}, {"ends", "ended"},
        {"serves-unasked", "no sense"}, {"speaks-otherwise", "no sense"}};

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        struct old *o = *state;

        o->failed = 0;
        start(o, "/proc/self/exe", roles[i][0]);
        expect_failure(o, roles[i][1]);
        successor_free(&o->successor);
    }
}

static void
test_no_program(void **state)
{
    struct old *o = *state;

    start(o, "/nonexistent/sendgovd", "serves");
    expect_failure(o, "could not be started");
}

static void
test_refused(void **state)
{
    struct old *o = *state;

    start(o, "/proc/self/exe", "asks");
    turn_until(o, &o->prepared);
    successor_refuse(o->successor, "another node");
    assert_int_equal(o->failed, 0); /* never during the call */
    expect_failure(o, "another node");
    successor_go(o->successor, "0123456789abcdef"); /* too late */
}

static void
test_ends_after_go(void **state)
{
    struct old *o = *state;

    start(o, "/proc/self/exe", "ends-late");
    turn_until(o, &o->prepared);
    successor_go(o->successor, "0123456789abcdef");
    expect_failure(o, "ended");
}

/* Whoever frees it is not told of an end, and nothing is left. */
static void
test_freed(void **state)
{
    struct old *o = *state;

    start(o, "/proc/self/exe", "hangs");
    successor_free(&o->successor);
    assert_true(is_gone(o->pid));
    start(o, "/proc/self/exe", "asks");
    turn_until(o, &o->prepared);
    successor_free(&o->successor);
    assert_true(is_gone(o->pid));
    loop_turn(o->loop, 0);
    assert_int_equal(o->failed, 0);
}

/* What the environment names is looked at before it is believed. */
static void
test_garbage_in_the_environment(void **state)
{
    struct old *o = *state;
    char text[64];
    int link[2], ends[2];
    struct predecessor *p = (struct predecessor *)o;
    struct err err = {""};

    assert_int_equal(packets_pair(link, &err), 0);
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 6; i++) {
        const int pairs[][2] = {
            {o->socket, o->lock}, {link[0], ends[0]}, {link[0], o->socket}, {link[0], 99999}};

        if (i < 4)
            snprintf(text, sizeof(text), "%d,%d", pairs[i][0], pairs[i][1]);
        else
            snprintf(text, sizeof(text), i < 5 ? "%d,%d," : "%d", link[0], o->lock);
        setenv(HANDOVER_ENVIRONMENT, text, 1);
        if (predecessor_from_environment(&p, &err) != -1)
            fail_msg("%s was believed", text);
        assert_null(p);
        assert_non_null(strstr(err.text, HANDOVER_ENVIRONMENT));
    }
    unsetenv(HANDOVER_ENVIRONMENT);
    assert_int_equal(predecessor_from_environment(&p, &err), 0);
    assert_null(p);
    for (int i = 0; i < 2; i++) {
        close(link[i]);
        close(ends[i]);
    }
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_serves),
        CASE(test_fails),
        CASE(test_no_program),
        CASE(test_refused),
        CASE(test_ends_after_go),
        CASE(test_freed),
        CASE(test_garbage_in_the_environment),
    };

    if (argc > 1)
        _exit(be_heir(argv + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
