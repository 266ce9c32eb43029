#include "tests/lib/private_redis.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
die(const char *what)
{
    perror(what);
    abort();
}

static void
run_server(const struct private_redis *r, const char *const *more)
{
    const char *args[40] = {"redis-server", "--port", "0", "--unixsocket", r->socket, "--dir", r->folder,
        "--save", "", "--logfile", "redis.log", "--maxmemory-policy", "noeviction"};
    size_t n = 13;
    int null_fd = open("/dev/null", O_RDWR);

    for (; more && *more && n < 39; more++)
        args[n++] = *more;
    args[n] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not left behind when the test dies */
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    dup2(null_fd, 2);
    execvp("redis-server", (char *const *)(const void *)args);
    _exit(127);
}

/* Asks once; true when it said PONG. */
static bool
answers(const struct private_redis *r)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char reply[16] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", r->socket);
    ok = fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && write(fd, "PING\r\n", 6) == 6
        && read(fd, reply, sizeof(reply) - 1) > 0
        && (strncmp(reply, "+PONG", 5) == 0 || strncmp(reply, "-NOAUTH", 7) == 0
            || strncmp(reply, "-LOADING", 8) == 0);
    if (fd >= 0)
        close(fd);
    return ok;
}

void
private_redis_restart(struct private_redis *r, const char *const *more)
{
    const struct timespec pause = {0, 5 * 1000 * 1000};

    r->pid = fork();
    if (r->pid < 0)
        die("fork");
    if (r->pid == 0)
        run_server(r, more);
    for (int i = 0; i < 2000; i++) {
        if (answers(r))
            return;
        if (waitpid(r->pid, NULL, WNOHANG) == r->pid)
            break;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "redis-server does not answer; see %s/redis.log\n", r->folder);
    abort();
}

void
private_redis_start(struct private_redis *r, const char *const *more)
{
    memset(r, 0, sizeof(*r));
    snprintf(r->folder, sizeof(r->folder), "/tmp/sendgov-test-redis-XXXXXX");
    if (!mkdtemp(r->folder))
        die("mkdtemp");
    snprintf(r->socket, sizeof(r->socket), "%s/redis.sock", r->folder);
    private_redis_restart(r, more);
}

void
private_redis_kill(struct private_redis *r, int signal)
{
    if (r->pid <= 0)
        return;
    kill(r->pid, signal);
    waitpid(r->pid, NULL, 0);
    r->pid = 0;
}

/* The folder holds plain files and at most one level of folders (appendonlydir). */
static void
remove_folder(const char *folder)
{
    char command[160];

    snprintf(command, sizeof(command), "rm -rf -- '%s'", folder);
    if (system(command) != 0)
        fprintf(stderr, "could not remove %s\n", folder);
}

void
private_redis_stop(struct private_redis *r)
{
    private_redis_kill(r, SIGKILL);
    remove_folder(r->folder);
}
