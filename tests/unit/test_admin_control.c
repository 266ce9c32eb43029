/* The control socket from outside: what its file may be, who gets in, and that nobody can hold it up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/admin/control.h"
#include "relay/admin/control_socket.h"
#include "tests/unit/admin_fakes.h"

static void
test_question_and_answer(void **state)
{
    struct fixture f;
    char answer[4096];
    struct stat st;

    (void)state;
    fixture_open(&f, NULL);
    assert_int_equal(stat(f.socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    fixture_ask(&f, "{\"command\":\"pauses\"}", answer, sizeof(answer));
    assert_string_equal(answer, "{\"ok\":true,\"pauses\":[]}");
    fixture_ask(&f, "{\"command\":\"limits\",\"scope\":\"mailbox\"}", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"used\":12"));
    fixture_close(&f);
    assert_int_equal(stat(f.socket, &st), -1);
}

/* Two requests in one write, the second cut in two: answered in order. */
static void
test_requests_in_a_row(void **state)
{
    struct fixture f;
    char answer[4096];
    const char *in = "{\"command\":\"limits\",\"scope\":\"mailbox\"}\n{\"command\":\"pau";
    int fd;

    (void)state;
    fixture_open(&f, NULL);
    fd = fixture_connect(&f);
    assert_int_equal(send(fd, in, strlen(in), 0), strlen(in));
    fixture_read(&f, fd, answer, sizeof(answer), false);
    assert_non_null(strstr(answer, "mailbox-minute"));
    assert_int_equal(send(fd, "ses\"}\n", 6, 0), 6);
    fixture_read(&f, fd, answer, sizeof(answer), false);
    assert_string_equal(answer, "{\"ok\":true,\"pauses\":[]}\n");
    close(fd);
    fixture_close(&f);
}

static void
test_long_line(void **state)
{
    struct fixture f;
    char answer[512], junk[8192];
    int fd;

    (void)state;
    fixture_open(&f, NULL);
    fd = fixture_connect(&f);
    memset(junk, 'x', sizeof(junk));
    for (int i = 0; i < 200; i++) {
        (void)!send(fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);
        loop_turn(f.loop, 0);
    }
    fixture_read(&f, fd, answer, sizeof(answer), true);
    assert_non_null(strstr(answer, "longer than 65536 bytes"));
    close(fd);
    fixture_close(&f);
}

static void
test_too_many_connections(void **state)
{
    struct fixture f;
    char answer[512];
    int fds[CONTROL_CONNECTIONS_MAX + 1];

    (void)state;
    fixture_open(&f, NULL);
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        fds[i] = fixture_connect(&f);
        loop_turn(f.loop, 10);
    }
    fds[CONTROL_CONNECTIONS_MAX] = fixture_connect(&f);
    fixture_read(&f, fds[CONTROL_CONNECTIONS_MAX], answer, sizeof(answer), true);
    assert_non_null(strstr(answer, "connections are open already"));
    for (int i = 0; i <= CONTROL_CONNECTIONS_MAX; i++)
        close(fds[i]);
    for (int i = 0; i < 5; i++)
        loop_turn(f.loop, 10);
    fixture_ask(&f, "{\"command\":\"pauses\"}", answer, sizeof(answer)); /* and room again */
    assert_non_null(strstr(answer, "\"ok\":true"));
    fixture_close(&f);
}

/* Who hangs up while the answer is on its way harms nobody. */
static void
test_hang_up(void **state)
{
    struct fixture f;
    char answer[512];
    int fd;

    (void)state;
    fixture_open(&f, NULL);
    fake.answers = ANSWER_NEVER;
    fd = fixture_connect(&f);
    assert_int_equal(send(fd, "{\"command\":\"limits\"}\n", 21, 0), 21);
    for (int i = 0; i < 3; i++)
        loop_turn(f.loop, 10);
    close(fd);
    for (int i = 0; i < 3; i++)
        loop_turn(f.loop, 10);
    fixture_ask(&f, "{\"command\":\"pauses\"}", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"ok\":true"));
    fixture_close(&f);
}

/* Another user, who got past the file's mode: a child that is nobody. */
static void
test_stranger(void **state)
{
    struct fixture f;
    char answer[512] = "";
    int fd, status = -1;
    pid_t child;

    (void)state;
    if (geteuid() != 0)
        skip();
    fixture_open(&f, NULL);
    assert_int_equal(chmod(f.folder, 0755) | chmod(f.socket, 0666), 0);
    child = fork();
    if (child == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(9);
        fd = fixture_connect(&f);
        for (int i = 0; i < 500 && recv(fd, answer, sizeof(answer) - 1, 0) <= 0; i++)
            usleep(10000);
        _exit(strstr(answer, "may not use the control socket") ? 0 : 1);
    }
    for (int i = 0; i < 500 && waitpid(child, &status, WNOHANG) == 0; i++)
        loop_turn(f.loop, 10);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fixture_close(&f);
}

/* ---- the file ---- */

static void
test_stale_socket_is_replaced(void **state)
{
    struct fixture f;
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct socket_file file = {0};
    struct err err;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    fixture_open(&f, NULL);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/stale", f.folder);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    fd = control_socket_open(sun.sun_path, &file, &err);
    assert_true(fd >= 0);
    assert_int_equal(control_socket_open(sun.sun_path, &file, &err), -1);
    assert_non_null(strstr(err.text, "another process answers"));
    control_socket_remove(&file);
    assert_int_equal(access(sun.sun_path, F_OK), -1);
    close(fd);
    fixture_close(&f);
}

/* A copy of the descriptor, as another process has it, listens on. */
static void
test_a_file_left_behind_goes_with_the_last_listener(void **state)
{
    struct fixture f;
    struct socket_file file = {0};
    struct err err;
    char path[128];
    int fd, other;

    (void)state;
    fixture_open(&f, NULL);
    snprintf(path, sizeof(path), "%s/left", f.folder);
    fd = control_socket_open(path, &file, &err);
    assert_true(fd >= 0);
    other = dup(fd);
    close(fd);
    control_socket_leave(&file);
    assert_int_equal(access(path, F_OK), 0);
    assert_null(file.path);
    close(other);
    control_socket_know(path, &file);
    control_socket_leave(&file);
    assert_int_equal(access(path, F_OK), -1);
    control_socket_leave(&file); /* nothing is left to leave */
    fixture_close(&f);
}

static void
test_other_files_are_left_alone(void **state)
{
    struct fixture f;
    struct socket_file file = {0};
    struct err err;
    char link[128], long_path[200];

    (void)state;
    fixture_open(&f, NULL);
    snprintf(link, sizeof(link), "%s/link", f.folder);
    assert_int_equal(symlink(f.socket, link), 0);
    assert_int_equal(control_socket_open(link, &file, &err), -1);
    assert_non_null(strstr(err.text, "symbolic link"));
    unlink(link);
    assert_int_equal(mkdir(link, 0700), 0);
    assert_int_equal(control_socket_open(link, &file, &err), -1);
    assert_non_null(strstr(err.text, "no socket"));
    rmdir(link);
    memset(long_path, 'a', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(control_socket_open(long_path, &file, &err), -1);
    fixture_close(&f);
}

static void
test_reload_moves_the_socket(void **state)
{
    struct fixture f;
    char answer[512], old[96], moved[96];
    struct err err;

    (void)state;
    fixture_open(&f, NULL);
    snprintf(old, sizeof(old), "%s", f.socket);
    snprintf(moved, sizeof(moved), "%s/moved", f.folder);
    f.config.admin.socket = "/nonexistent/control";
    assert_int_equal(admin_configure(f.admin, &f.config, &err), -1);
    assert_int_equal(access(old, F_OK), 0);
    f.config.admin.socket = moved;
    assert_int_equal(admin_configure(f.admin, &f.config, &err), 0);
    assert_int_equal(access(old, F_OK), -1);
    snprintf(f.socket, sizeof(f.socket), "%s", moved);
    fixture_ask(&f, "{\"command\":\"pauses\"}", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"ok\":true"));
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_and_answer),
        cmocka_unit_test(test_requests_in_a_row),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_stale_socket_is_replaced),
        cmocka_unit_test(test_a_file_left_behind_goes_with_the_last_listener),
        cmocka_unit_test(test_other_files_are_left_alone),
        cmocka_unit_test(test_reload_moves_the_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
