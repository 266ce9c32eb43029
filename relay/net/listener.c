#include "relay/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

#define BATCH 32
#define REST_MS 100
#define BACKLOG 1024

enum listener_state {
    LISTENER_ACCEPTING,
    LISTENER_RESTING, /* no descriptor was left: goes on by itself after REST_MS */
    LISTENER_PAUSED,  /* until listener_resume */
    LISTENER_CLOSED,  /* waits for the end of the turn */
};

struct listener {
    struct loop *loop;
    int fd;
    int spare; /* given up for a moment when the process has no descriptor left */
    char *address;
    listener_accept_fn *on_accept;
    void *arg;
    enum listener_state state;
    struct event ev;
    struct timer rest;
    struct corpse corpse;
};

static void
set_state(struct listener *l, enum listener_state state)
{
    if (l->state == state || l->state == LISTENER_CLOSED)
        return;
    l->state = state;
    if (state == LISTENER_ACCEPTING)
        event_add(&l->ev, NULL);
    else
        event_del(&l->ev);
    if (state == LISTENER_RESTING)
        timer_start(&l->rest, REST_MS);
    else
        timer_stop(&l->rest);
}

static int
open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Out of descriptors: one peer is taken and hung up on, so it does not wait for nothing. */
static void
shed_one(struct listener *l)
{
    int fd;

    log_text(LOG_WARNING, "accept", "%s: no descriptor left, resting", l->address);
    if (l->spare >= 0) {
        close(l->spare);
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            close(fd);
        l->spare = open_spare();
    }
    set_state(l, LISTENER_RESTING);
}

static void
hand_over(struct listener *l, int fd, const struct sockaddr *sa, socklen_t len)
{
    struct sockaddr_storage ss = {0};
    socklen_t ss_len = sizeof(ss);
    struct net_addr peer, local;

    getsockname(fd, (struct sockaddr *)&ss, &ss_len);
    net_addr_from_sockaddr(&peer, sa, len);
    net_addr_from_sockaddr(&local, (struct sockaddr *)&ss, ss_len);
    l->on_accept(l->arg, fd, &peer, &local);
}

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)fd;
    (void)what;
    loop_enter(l->loop);
    for (int n = 0; n < BATCH && l->state == LISTENER_ACCEPTING; n++) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof(ss);
        int peer = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (peer >= 0)
            hand_over(l, peer, (struct sockaddr *)&ss, len);
        else if (errno == EAGAIN)
            return;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            shed_one(l);
        /* anything else concerns only the connection that was lost (accept(2), "Error handling") */
    }
}

static void
on_rested(void *arg)
{
    set_state(arg, LISTENER_ACCEPTING);
}

/* A socket file nobody listens on is left over from a crash. */
static void
remove_stale(const struct net_addr *a)
{
    const char *path = ((const struct sockaddr_un *)&a->ss)->sun_path;
    struct stat st;
    int fd;

    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&a->ss, a->len) != 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static int
bind_fd(int fd, const struct net_addr *a)
{
    int on = 1, rc;
    mode_t before;

    if (a->ss.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (a->ss.ss_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        return bind(fd, (const struct sockaddr *)&a->ss, a->len);
    }
    remove_stale(a);
    before = umask(0117); /* owner and group only, from the first moment on */
    rc = bind(fd, (const struct sockaddr *)&a->ss, a->len);
    umask(before);
    return rc;
}

struct listener *
listener_open(struct loop *loop, const char *address, listener_accept_fn *on_accept, void *arg,
    struct err *err)
{
    struct net_addr a;
    int fd;

    if (net_addr_parse(address, &a, err) != 0)
        return NULL;
    fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind_fd(fd, &a) != 0 || listen(fd, BACKLOG) != 0) {
        err_set_errno(err, "listen on %s", address);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    return listener_adopt(loop, fd, address, on_accept, arg, err);
}

struct listener *
listener_adopt(struct loop *loop, int fd, const char *address, listener_accept_fn *on_accept, void *arg,
    struct err *err)
{
    struct listener *l;
    int listens = 0;
    socklen_t len = sizeof(listens);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens) {
        err_set(err, "%s: descriptor %d does not listen", address, fd);
        return NULL;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    l = xcalloc(1, sizeof(*l));
    l->loop = loop;
    l->fd = fd;
    l->spare = open_spare();
    l->address = xstrdup(address);
    l->on_accept = on_accept;
    l->arg = arg;
    timer_init(&l->rest, loop, on_rested, l);
    event_assign(&l->ev, loop_base(loop), fd, EV_READ | EV_PERSIST, on_ready, l);
    event_add(&l->ev, NULL);
    return l;
}

static void
bury(void *object)
{
    struct listener *l = object;

    free(l->address);
    free(l);
}

void
listener_close(struct listener **l)
{
    struct listener *x = *l;

    if (!x)
        return;
    *l = NULL;
    set_state(x, LISTENER_PAUSED);
    x->state = LISTENER_CLOSED;
    timer_fini(&x->rest);
    close(x->fd);
    if (x->spare >= 0)
        close(x->spare);
    loop_bury(x->loop, &x->corpse, bury, x);
}

void
listener_pause(struct listener *l)
{
    set_state(l, LISTENER_PAUSED);
}

void
listener_resume(struct listener *l)
{
    set_state(l, LISTENER_ACCEPTING);
}

const char *
listener_address(const struct listener *l)
{
    return l->address;
}

int
listener_fd(const struct listener *l)
{
    return l->fd;
}
