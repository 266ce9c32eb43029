#include "relay/net/packets.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

struct packets {
    struct loop *loop;
    int fd;
    struct event ev;
    packets_fn *on_packet;
    void *arg;
    struct corpse corpse;
};

int
packets_pair(int fds_out[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds_out) == 0)
        return 0;
    return err_set_errno(err, "socketpair");
}

bool
packets_is_end(int fd)
{
    int type = 0;
    socklen_t n = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET;
}

bool
packets_send(int fd, const char *word, const char *rest)
{
    char packet[PACKET_MAX];
    int n = snprintf(packet, sizeof(packet), "%s%s", word, rest);

    if (n >= PACKET_MAX)
        n = PACKET_MAX - 1;
    return send(fd, packet, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n;
}

/* 0: the other end is closed; -1: errno. */
static ssize_t
receive(int fd, char packet_out[PACKET_MAX])
{
    ssize_t n = recv(fd, packet_out, PACKET_MAX - 1, MSG_DONTWAIT);

    packet_out[n > 0 ? n : 0] = '\0';
    return n;
}

bool
packets_wait(int fd, int wait_ms, char packet_out[PACKET_MAX], struct err *err)
{
    int64_t until_ms = clock_mono_ms() + wait_ms, left_ms;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc = 0;

    while ((left_ms = until_ms - clock_mono_ms()) > 0) {
        rc = poll(&p, 1, (int)left_ms);
        if (rc > 0 || (rc < 0 && errno != EINTR))
            break;
    }
    if (rc <= 0) {
        (void)err_set(err, "no word came within %d ms", wait_ms);
        return false;
    }
    if (receive(fd, packet_out) > 0)
        return true;
    (void)err_set(err, "the other process has ended");
    return false;
}

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct packets *p = arg;
    char packet[PACKET_MAX];
    ssize_t n;

    (void)what;
    loop_enter(p->loop);
    n = receive(fd, packet);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        event_del(&p->ev);
    p->on_packet(p->arg, n > 0 ? packet : NULL);
}

struct packets *
packets_new(struct loop *loop, int fd, packets_fn *on_packet, void *arg)
{
    struct packets *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->fd = fd;
    p->on_packet = on_packet;
    p->arg = arg;
    event_assign(&p->ev, loop_base(loop), fd, EV_READ | EV_PERSIST, on_ready, p);
    event_add(&p->ev, NULL);
    return p;
}

static void
bury(void *object)
{
    free(object);
}

void
packets_free(struct packets **pp)
{
    struct packets *p = *pp;

    if (p == NULL)
        return;
    *pp = NULL;
    event_del(&p->ev);
    loop_bury(p->loop, &p->corpse, bury, p);
}
