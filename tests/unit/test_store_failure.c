/* The Redis store while Redis is killed, stopped, silent, refuses or is not fit to keep counters: no decision
 * but the failure's own name, no charge after its deadline, and back to work when it is over. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "tests/lib/store_rig.h"

/* Each node that comes back may close for a moment, so that all can say their pauses. */
static bool
is_decided(struct rig *r)
{
    return all_open(r) && charge(r, 0, 1) != VERDICT_CLOSED;
}

static void
redis_killed_and_back_with_its_data(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 3, 3600000);
    begin(r, 2);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_DOWN);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, is_decided));
    assert_int_equal(r->verdict.kind, VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
}

/* Every failure of Redis is "no decision" under its own name, and nothing is counted. */
static void
errors_are_no_decision(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    cli(r, "CONFIG SET maxmemory 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_OOM);
    cli(r, "CONFIG SET maxmemory 0");
    assert_true(turn_until(r, all_up));
    cli(r, "CONFIG SET min-replicas-to-write 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_NOREPLICAS);
    cli(r, "CONFIG SET min-replicas-to-write 0");
    assert_true(turn_until(r, all_up));
    cli(r, "HSET sendgov:{t%%7B%%7Dx}:s:0:contoso a b");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_WRONGTYPE);
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    cli(r, "SET sendgov:{t%%7B%%7Dx}:s:0:contoso %b", "\x07zz", (size_t)3); /* a newer version's */
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_SCHEMA);
    cli(r, "SET sendgov:{t%%7B%%7Dx}:s:0:contoso %b", "\x01zz", (size_t)3); /* cut off */
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(metric_get(r->metrics, M_STORE_ERRORS, "oom", NULL, NULL) >= 1);
    cli(r, "REPLICAOF 127.0.0.1 1");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    cli(r, "REPLICAOF NO ONE");
}

/* Heartbeats succeed and charges do not: that is not ready. */
static void
failing_charges_show_in_the_status(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    cli(r, "SADD sendgov:{t%%7B%%7Dx}:s:0:contoso not-a-string");
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    turn_for(r, 1200); /* a heartbeat does not make it good */
    store_status(r->nodes[0].store, &s);
    assert_true(s.up);
    assert_int_equal(s.charge_error, STORE_WRONGTYPE);
    assert_non_null(strstr(s.detail, "WRONGTYPE"));
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    store_status(r->nodes[0].store, &s);
    assert_int_equal(s.charge_error, STORE_OK);
}

static void
a_stopped_redis_times_out_and_late_scripts_do_nothing(void **state)
{
    struct rig *r = *state;
    int64_t before;

    r->conf.command_ms = 250;
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    kill(r->server.pid, SIGSTOP);
    before = clock_mono_ms();
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_TIMEOUT);
    assert_true(clock_mono_ms() - before < 500 + 250);
    while (clock_mono_ms() - before < 700)
        loop_turn(r->loop, 50);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 0)->used, 2); /* the late one came after its not_after */
}

static size_t
forward(int from, int to, char *bytes, size_t size)
{
    ssize_t n = read(from, bytes, size - 1);

    if (n <= 0 || write(to, bytes, (size_t)n) != n)
        return 0;
    bytes[n] = '\0';
    return (size_t)n;
}

static int
unix_socket(const char *path, bool listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (listening ? bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0
                  : connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail_msg("%s", path);
    return fd;
}

/* One connection between a node and Redis: nothing passes any more, either way, after Redis said NOSCRIPT. */
static void
relay_until_noscript(int node, int redis)
{
    struct pollfd fds[] = {{.fd = node, .events = POLLIN}, {.fd = redis, .events = POLLIN}};
    char bytes[65536];

    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents && forward(node, redis, bytes, sizeof(bytes)) == 0)
            return;
        if (fds[1].revents && forward(redis, node, bytes, sizeof(bytes)) == 0)
            return;
        if (fds[1].revents && strstr(bytes, "NOSCRIPT"))
            break;
    }
    while (read(node, bytes, sizeof(bytes)) > 0)
        continue;
}

static pid_t
start_proxy(struct rig *r, const char *path)
{
    int listener = unix_socket(path, true);
    pid_t pid = fork();

    if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        for (;;) {
            int node = accept(listener, NULL, NULL), redis = unix_socket(r->server.socket, false);

            relay_until_noscript(node, redis);
            close(node);
            close(redis);
        }
    close(listener);
    return pid;
}

/* The script is loaded again, with more time than a charge has: that must not be the charge's. */
static void
a_script_under_way_does_not_stretch_a_deadline(void **state)
{
    struct rig *r = *state;
    char path[112];
    int64_t before;
    pid_t proxy;

    snprintf(path, sizeof(path), "%s.proxy", r->server.socket);
    snprintf(r->target, sizeof(r->target), "unix:%s", path);
    r->conf.command_ms = 250;
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    proxy = start_proxy(r, path);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    cli(r, "SCRIPT FLUSH");
    before = clock_mono_ms();
    assert_int_equal(charge(r, 0, 1), VERDICT_NO_DECISION);
    assert_int_equal(r->verdict.error, STORE_TIMEOUT);
    assert_true(clock_mono_ms() - before < 500 + 250);
    kill(proxy, SIGKILL);
    waitpid(proxy, NULL, 0);
    unlink(path);
}

static bool
misconf(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    return !s.up && s.error == STORE_MISCONF;
}

static void
a_redis_that_may_forget_is_refused(void **state)
{
    struct rig *r = *state;
    struct store_status s;

    cli(r, "CONFIG SET maxmemory-policy allkeys-lru");
    open_node(r, 0);
    assert_true(turn_until(r, misconf));
    store_status(r->nodes[0].store, &s);
    assert_non_null(strstr(s.detail, "noeviction"));
    cli(r, "CONFIG SET maxmemory-policy noeviction");
    assert_true(turn_until(r, all_open));
    store_free(&r->nodes[0].store);
    cli(r, "CONFIG SET appendonly no");
    r->conf.allow_volatile = false;
    open_node(r, 0);
    assert_true(turn_until(r, misconf));
    store_status(r->nodes[0].store, &s);
    assert_non_null(strstr(s.detail, "appendonly"));
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(redis_killed_and_back_with_its_data),
        CASE(errors_are_no_decision),
        CASE(failing_charges_show_in_the_status),
        CASE(a_stopped_redis_times_out_and_late_scripts_do_nothing),
        CASE(a_script_under_way_does_not_stretch_a_deadline),
        CASE(a_redis_that_may_forget_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
