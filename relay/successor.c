#include "relay/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/handover.h"
#include "relay/net/packets.h"

#define FIRST_FD 3 /* sd_listen_fds(3) */
#define PID_DIGITS 10
#define END_LOOK_MS 20 /* it closes its link a little before it can be waited for */

enum successor_state {
    SUCCESSOR_STARTED,
    SUCCESSOR_PREPARED,
    SUCCESSOR_TAKING,
    SUCCESSOR_SERVING,
    SUCCESSOR_FAILED,
};

struct successor {
    struct successor_setup setup;
    enum successor_state state;
    pid_t pid;
    int link;
    struct packets *packets;
    struct timer deadline;
    struct task tell_failed;
    char why[PACKET_MAX];
};

extern char **environ;

/* ---- the start: all memory is made before the fork, for behind it only what is async-signal-safe may be
 * called (fork(2), "Notes" of multithreaded programs) ---- */

struct launch {
    char *const *argv;
    char **env;
    char *own[4];         /* of env: made here; the rest is environ's */
    char *pid_places[2];  /* in own: where the new process' number goes */
    size_t n_own, n_pids;
    int *fds; /* sockets, link, lock: to be 3, 4, ... */
    int n_fds;
    int link;
};

static bool
is_named(const char *setting, const char *name)
{
    size_t n = strlen(name);

    return strncmp(setting, name, n) == 0 && setting[n] == '=';
}

static bool
is_replaced(const char *setting)
{
    static const char *const names[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID",
        HANDOVER_ENVIRONMENT};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (is_named(setting, names[i]))
            return true;
    return false;
}

static char * __attribute__((format(printf, 2, 3)))
add_setting(struct launch *l, const char *fmt, ...)
{
    char *text = xmalloc(64);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, 64, fmt, ap);
    va_end(ap);
    l->own[l->n_own++] = text;
    return text;
}

static void
add_pid_setting(struct launch *l, const char *name)
{
    char *text = add_setting(l, "%s=%0*d", name, PID_DIGITS, 0);

    l->pid_places[l->n_pids++] = text + strlen(name) + 1;
}

static void
make_environment(struct launch *l, size_t n_sockets)
{
    int after = FIRST_FD + (int)n_sockets;
    size_t n = 0, used = 0;

    add_setting(l, HANDOVER_ENVIRONMENT "=%d,%d", after, after + 1);
    add_setting(l, "LISTEN_FDS=%zu", n_sockets);
    add_pid_setting(l, "LISTEN_PID");
    if (getenv("WATCHDOG_PID") != NULL)
        add_pid_setting(l, "WATCHDOG_PID");
    while (environ[n] != NULL)
        n++;
    l->env = xcalloc(n + l->n_own + 1, sizeof(*l->env));
    for (size_t i = 0; i < n; i++)
        if (!is_replaced(environ[i]))
            l->env[used++] = environ[i];
    memcpy(l->env + used, l->own, l->n_own * sizeof(*l->env));
}

static void
launch_init(struct launch *l, const struct successor_setup *setup, int link)
{
    memset(l, 0, sizeof(*l));
    l->argv = setup->argv;
    l->link = link;
    l->n_fds = (int)setup->n_sockets + 2;
    l->fds = xcalloc((size_t)l->n_fds, sizeof(*l->fds));
    memcpy(l->fds, setup->sockets, setup->n_sockets * sizeof(*l->fds));
    l->fds[l->n_fds - 2] = link;
    l->fds[l->n_fds - 1] = setup->lock;
    make_environment(l, setup->n_sockets);
}

static void
launch_fini(struct launch *l)
{
    for (size_t i = 0; i < l->n_own; i++)
        free(l->own[i]);
    free(l->env);
    free(l->fds);
}

static void
write_pid(char *place, pid_t pid)
{
    for (int i = PID_DIGITS - 1; i >= 0; i--, pid /= 10)
        place[i] = (char)('0' + pid % 10);
}

/* First out of the way of each other, then to their places; dup2 takes close-on-exec away. */
static bool
place_descriptors(const struct launch *l)
{
    for (int i = 0; i < l->n_fds; i++) {
        l->fds[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, FIRST_FD + l->n_fds);
        if (l->fds[i] < 0)
            return false;
    }
    for (int i = 0; i < l->n_fds; i++)
        if (dup2(l->fds[i], FIRST_FD + i) < 0)
            return false;
    return true;
}

/* strerrordesc_np, unlike strerror, may be called here (glibc manual, "Error Messages"). */
static void
tell_why(int link, int error)
{
    static const char head[] = HANDOVER_FAILED "the program could not be started: ";
    const char *text = strerrordesc_np(error);
    struct iovec parts[] = {{(char *)(uintptr_t)head, sizeof(head) - 1},
        {(char *)(uintptr_t)(text != NULL ? text : "?"), text != NULL ? strlen(text) : 1}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = sizeof(parts) / sizeof(parts[0])};

    (void)sendmsg(link, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The loop's handlers would tell this process' signals to the one it was forked from. Those that ask for
 * something must not end it before it watches them: ignored, for other versions would not unblock them. */
static void
leave_handlers(void)
{
    sigset_t none;

    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn))
become(struct launch *l)
{
    int link = FIRST_FD + l->n_fds - 2;

    leave_handlers();
    for (size_t i = 0; i < l->n_pids; i++)
        write_pid(l->pid_places[i], getpid());
    if (place_descriptors(l))
        (void)execvpe(l->argv[0], l->argv, l->env);
    else
        link = l->link;
    tell_why(link, errno);
    _exit(127);
}

/* ---- what it says ---- */

static void
put_away(struct successor *s)
{
    timer_stop(&s->deadline);
    packets_free(&s->packets);
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        s->pid = -1;
    }
}

static void
on_tell_failed(void *arg)
{
    struct successor *s = arg;

    s->setup.ops->failed(s->setup.arg, s->why);
}

static void
fail(struct successor *s, const char *why)
{
    if (s->state == SUCCESSOR_SERVING || s->state == SUCCESSOR_FAILED)
        return;
    s->state = SUCCESSOR_FAILED;
    snprintf(s->why, sizeof(s->why), "%s", why);
    put_away(s);
    task_defer(s->setup.loop, &s->tell_failed);
}

/* Nobody is there to take over any more; one that has itself been replaced ends well. */
static void
look_at_end(struct successor *s)
{
    siginfo_t end = {0};

    if (waitid(P_PID, (id_t)s->pid, &end, WEXITED | WNOHANG | WNOWAIT) != 0)
        return;
    if (end.si_pid == 0)
        timer_start(&s->deadline, END_LOOK_MS);
    else if (end.si_code != CLD_EXITED)
        log_text(LOG_ERROR, "upgrade", "process %ld, which served, was ended by signal %d: start the daemon"
            " again", (long)s->pid, end.si_status);
    else if (end.si_status != 0)
        log_text(LOG_ERROR, "upgrade", "process %ld, which served, ended with status %d: start the daemon"
            " again", (long)s->pid, end.si_status);
}

static void
on_deadline(void *arg)
{
    struct successor *s = arg;

    if (s->state == SUCCESSOR_SERVING)
        look_at_end(s);
    else
        fail(s, "the new process was not ready in time");
}

static const char *
rest_after(const char *packet, const char *word)
{
    return strncmp(packet, word, strlen(word)) == 0 ? packet + strlen(word) : NULL;
}

static void
on_packet(void *arg, const char *packet)
{
    struct successor *s = arg;
    const char *rest;

    if (packet == NULL && s->state == SUCCESSOR_SERVING)
        look_at_end(s);
    else if (packet == NULL)
        fail(s, "the new process ended; what it wrote to its standard error says why");
    else if ((rest = rest_after(packet, HANDOVER_FAILED)) != NULL)
        fail(s, rest);
    else if ((rest = rest_after(packet, HANDOVER_READY)) != NULL && s->state == SUCCESSOR_STARTED) {
        s->state = SUCCESSOR_PREPARED;
        s->setup.ops->prepared(s->setup.arg, rest);
    } else if (strcmp(packet, HANDOVER_RUNNING) == 0 && s->state == SUCCESSOR_TAKING) {
        timer_stop(&s->deadline);
        s->state = SUCCESSOR_SERVING;
        s->setup.ops->serving(s->setup.arg);
    } else
        fail(s, "the new process said what makes no sense");
}

/* ---- life ---- */

static int
launch(struct successor *s, struct err *err)
{
    struct launch l;
    sigset_t all, before;
    int link[2], why;

    if (packets_pair(link, err) != 0)
        return -1;
    launch_init(&l, &s->setup, link[1]);
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    s->pid = fork();
    if (s->pid == 0)
        become(&l);
    why = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    launch_fini(&l);
    close(link[1]);
    s->link = link[0];
    errno = why;
    return s->pid > 0 ? 0 : err_set_errno(err, "cannot start a process");
}

struct successor *
successor_start(const struct successor_setup *setup, struct err *err)
{
    struct successor *s = xcalloc(1, sizeof(*s));

    s->setup = *setup;
    s->link = -1;
    timer_init(&s->deadline, setup->loop, on_deadline, s);
    task_init(&s->tell_failed, on_tell_failed, s);
    if (launch(s, err) != 0) {
        successor_free(&s);
        return NULL;
    }
    s->packets = packets_new(setup->loop, s->link, on_packet, s);
    timer_start(&s->deadline, HANDOVER_WAIT_MS);
    return s;
}

pid_t
successor_pid(const struct successor *s)
{
    return s->pid;
}

void
successor_go(struct successor *s, const char *identity)
{
    if (s->state != SUCCESSOR_PREPARED)
        return;
    s->state = SUCCESSOR_TAKING;
    timer_start(&s->deadline, HANDOVER_WAIT_MS);
    if (!packets_send(s->link, HANDOVER_GO, identity))
        fail(s, "the new process ended; what it wrote to its standard error says why");
}

void
successor_refuse(struct successor *s, const char *why)
{
    if (s->state != SUCCESSOR_PREPARED)
        return;
    (void)packets_send(s->link, HANDOVER_NO, why);
    fail(s, why);
}

void
successor_tell_pause(struct successor *s, const char *line)
{
    bool reads = s->state == SUCCESSOR_TAKING || s->state == SUCCESSOR_SERVING;

    if (reads && !packets_send(s->link, HANDOVER_PAUSE, line))
        log_text(LOG_ERROR, "upgrade", "the new process could not be told of a pause; Redis will tell it");
}

void
successor_free(struct successor **sp)
{
    struct successor *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    task_cancel(&s->tell_failed);
    if (s->state == SUCCESSOR_SERVING)
        packets_free(&s->packets);
    else
        put_away(s);
    timer_fini(&s->deadline);
    if (s->link >= 0)
        close(s->link);
    free(s);
}
