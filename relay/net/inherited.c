#include "relay/net/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/net/addr.h"

#define FIRST_FD 3
#define SOCKETS_MAX 1024

struct inherited {
    size_t n;
    struct {
        int fd; /* -1: taken */
        struct sockaddr_storage ss;
        socklen_t len;
    } sockets[];
};

/* A whole number of the environment; -1: not there, or no such number. */
static long
number_of(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long n;

    if (text == NULL || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    n = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' ? n : -1;
}

/* 0: none, or they are another process'. */
static int
count_of_environment(void)
{
    long n = number_of("LISTEN_FDS");

    return number_of("LISTEN_PID") == (long)getpid() && n > 0 && n <= SOCKETS_MAX ? (int)n : 0;
}

/* -1: no stream socket that listens. */
static int
look_at(struct inherited *in, int fd)
{
    int listens = 0, type = 0;
    socklen_t n_listens = sizeof(listens), n_type = sizeof(type);
    struct sockaddr_storage *ss = &in->sockets[in->n].ss;
    socklen_t len = sizeof(*ss);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n_listens) != 0 || !listens ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_type) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)ss, &len) != 0)
        return -1;
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    in->sockets[in->n].fd = fd;
    in->sockets[in->n].len = len;
    in->n++;
    return 0;
}

static void
forget_environment(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

struct inherited *
inherited_from_environment(struct err *err)
{
    int n = count_of_environment();
    struct inherited *in = xcalloc(1, sizeof(*in) + (size_t)n * sizeof(in->sockets[0]));

    forget_environment();
    for (int fd = FIRST_FD; fd < FIRST_FD + n; fd++)
        if (look_at(in, fd) != 0) {
            err_set(err, "descriptor %d was handed over as a listening socket (LISTEN_FDS) and is none", fd);
            inherited_free(&in);
            return NULL;
        }
    return in;
}

static bool
is_same_path(const struct sockaddr_storage *a, socklen_t a_len, const struct net_addr *b)
{
    const struct sockaddr_un *x = (const struct sockaddr_un *)a, *y = (const struct sockaddr_un *)&b->ss;
    size_t head = offsetof(struct sockaddr_un, sun_path), room = a_len > head ? a_len - head : 0;

    return room > 0 && x->sun_path[0] != '\0' && strnlen(x->sun_path, room) == strlen(y->sun_path) &&
        strncmp(x->sun_path, y->sun_path, room) == 0;
}

static bool
is_same(const struct sockaddr_storage *a, socklen_t a_len, const struct net_addr *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)a, *b4 = (const struct sockaddr_in *)&b->ss;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)&b->ss;

    if (a->ss_family != b->ss.ss_family)
        return false;
    switch (a->ss_family) {
    case AF_INET:
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    case AF_INET6:
        return a6->sin6_port == b6->sin6_port && a6->sin6_scope_id == b6->sin6_scope_id &&
            memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
    case AF_UNIX:
        return is_same_path(a, a_len, b);
    default:
        return false;
    }
}

int
inherited_take(struct inherited *in, const char *address)
{
    struct net_addr wanted;
    struct err ignored;

    if (in == NULL || net_addr_parse(address, &wanted, &ignored) != 0)
        return -1;
    for (size_t i = 0; i < in->n; i++) {
        int fd = in->sockets[i].fd;

        if (fd < 0 || !is_same(&in->sockets[i].ss, in->sockets[i].len, &wanted))
            continue;
        in->sockets[i].fd = -1;
        return fd;
    }
    return -1;
}

static void
log_unwanted(const struct sockaddr_storage *ss, socklen_t len)
{
    struct net_addr a = {0};

    if (ss->ss_family == AF_UNIX) {
        log_text(LOG_NOTICE, "inherited",
            "a unix socket was handed over and is no listener of the configuration: closed");
        return;
    }
    net_addr_from_sockaddr(&a, (const struct sockaddr *)ss, len);
    log_text(LOG_NOTICE, "inherited", "%s port %u was handed over and is no listener of the configuration:"
        " closed", a.text, a.port);
}

void
inherited_close_rest(struct inherited *in)
{
    for (size_t i = 0; i < in->n; i++) {
        if (in->sockets[i].fd < 0)
            continue;
        log_unwanted(&in->sockets[i].ss, in->sockets[i].len);
        close(in->sockets[i].fd);
        in->sockets[i].fd = -1;
    }
}

void
inherited_free(struct inherited **in)
{
    if (*in == NULL)
        return;
    for (size_t i = 0; i < (*in)->n; i++)
        if ((*in)->sockets[i].fd >= 0)
            close((*in)->sockets[i].fd);
    free(*in);
    *in = NULL;
}
