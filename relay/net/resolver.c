/* c-ares brings its own sockets, which are watched by events of ours, and its own timeouts, which one timer
 * drives. It reads /etc/resolv.conf only when a channel is made, so a changed file makes a new channel. */
#include "relay/net/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <ares.h>
#include <event2/event.h>

#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

#define TIMEOUT_MS 2000 /* for the first try; c-ares doubles it for each further one */
#define TRIES 3

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct timer timer;
    struct list watches;
    size_t queries;            /* that c-ares has not answered */
    struct timespec conf_time; /* of /etc/resolv.conf when the channel was made */
    char *servers;             /* NULL: the system's */
};

struct watch {
    struct list link;
    struct resolver *resolver;
    struct event ev;
    struct corpse corpse;
    int fd;
};

struct resolver_query {
    struct resolver *resolver;
    resolver_done_fn *done; /* NULL: forgotten */
    void *arg;
    uint16_t port;
    bool answered; /* `report` waits */
    struct task report;
    size_t n;
    struct net_addr addrs[RESOLVER_ADDRS_MAX];
    char error[300];
};

static void
arm(struct resolver *r)
{
    struct timeval tv, *wait = ares_timeout(r->channel, NULL, &tv);

    if (wait)
        timer_start(&r->timer, (int64_t)wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1);
    else
        timer_stop(&r->timer);
}

static void
on_timer(void *arg)
{
    struct resolver *r = arg;

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = ((struct watch *)arg)->resolver;
    ares_socket_t readable = what & EV_READ ? fd : ARES_SOCKET_BAD;
    ares_socket_t writable = what & EV_WRITE ? fd : ARES_SOCKET_BAD;

    loop_enter(r->loop);
    ares_process_fd(r->channel, readable, writable);
    arm(r);
}

static struct watch *
find_watch(struct resolver *r, int fd)
{
    LIST_EACH (it, &r->watches) {
        struct watch *w = LIST_ITEM(it, struct watch, link);

        if (w->fd == fd)
            return w;
    }
    return NULL;
}

static void
watch_close(struct resolver *r, struct watch *w)
{
    event_del(&w->ev);
    list_del(&w->link);
    loop_bury(r->loop, &w->corpse, free, w); /* its own callback may be on the stack */
}

/* c-ares tells what it wants to know of a socket; nothing: it closes it. */
static void
on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct watch *w = find_watch(r, fd);
    short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

    if (!readable && !writable) {
        if (w)
            watch_close(r, w);
        return;
    }
    if (w) {
        event_del(&w->ev);
    } else {
        w = xcalloc(1, sizeof(*w));
        w->resolver = r;
        w->fd = fd;
        list_add_tail(&r->watches, &w->link);
    }
    event_assign(&w->ev, loop_base(r->loop), fd, what, on_socket, w);
    event_add(&w->ev, NULL);
}

static struct timespec
conf_time(void)
{
    struct stat st;

    return stat("/etc/resolv.conf", &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static int
channel_open(struct resolver *r)
{
    struct ares_options options = {.timeout = TIMEOUT_MS, .tries = TRIES, .sock_state_cb = on_sock_state,
        .sock_state_cb_data = r};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    int rc;

    r->conf_time = conf_time();
    rc = ares_init_options(&r->channel, &options, mask);
    if (rc == ARES_SUCCESS && r->servers)
        rc = ares_set_servers_ports_csv(r->channel, r->servers);
    return rc;
}

/* A new channel when /etc/resolv.conf changed, at a moment when nobody is being answered. */
static void
refresh(struct resolver *r)
{
    struct timespec now = conf_time();
    ares_channel old = r->channel;

    if (r->queries > 0 || (now.tv_sec == r->conf_time.tv_sec && now.tv_nsec == r->conf_time.tv_nsec))
        return;
    if (channel_open(r) == ARES_SUCCESS)
        ares_destroy(old);
    else
        r->channel = old;
}

struct resolver *
resolver_new(struct loop *loop, struct err *err)
{
    struct resolver *r = xcalloc(1, sizeof(*r));
    int rc = ares_library_init(ARES_LIB_INIT_ALL);

    r->loop = loop;
    list_init(&r->watches);
    timer_init(&r->timer, loop, on_timer, r);
    if (rc == ARES_SUCCESS)
        rc = channel_open(r);
    if (rc != ARES_SUCCESS) {
        err_set(err, "resolver: %s", ares_strerror(rc));
        free(r);
        return NULL;
    }
    return r;
}

void
resolver_free(struct resolver **resolver)
{
    struct resolver *r = *resolver;

    if (!r)
        return;
    *resolver = NULL;
    ares_destroy(r->channel);
    sg_assert(r->queries == 0 && list_is_empty(&r->watches));
    timer_fini(&r->timer);
    ares_library_cleanup();
    free(r->servers);
    free(r);
}

int
resolver_set_servers(struct resolver *r, const char *servers)
{
    free(r->servers);
    r->servers = xstrdup(servers);
    return ares_set_servers_ports_csv(r->channel, servers) == ARES_SUCCESS ? 0 : -1;
}

static void
on_report(void *arg)
{
    struct resolver_query *q = arg;

    q->done(q->arg, q->addrs, q->n, q->error);
    free(q);
}

static void
take_addrs(struct resolver_query *q, const struct ares_addrinfo_node *node)
{
    for (; node && q->n < RESOLVER_ADDRS_MAX; node = node->ai_next) {
        net_addr_from_sockaddr(&q->addrs[q->n], node->ai_addr, node->ai_addrlen);
        net_addr_set_port(&q->addrs[q->n++], q->port);
    }
}

static void
on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
    struct resolver_query *q = arg;

    (void)timeouts;
    q->resolver->queries--;
    if (result) {
        take_addrs(q, result->nodes);
        ares_freeaddrinfo(result);
    }
    if (!q->done) {
        free(q);
        return;
    }
    sg_assert(status != ARES_EDESTRUCTION);
    if (status == ARES_SUCCESS)
        status = ARES_ENODATA;
    if (q->n == 0)
        snprintf(q->error, sizeof(q->error), "%s", ares_strerror(status));
    q->answered = true;
    task_defer(q->resolver->loop, &q->report);
}

struct resolver_query *
resolver_ask(struct resolver *r, const char *name, uint16_t port, resolver_done_fn *done, void *arg)
{
    static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolver_query *q = xcalloc(1, sizeof(*q));

    refresh(r);
    q->resolver = r;
    q->port = port;
    q->done = done;
    q->arg = arg;
    task_init(&q->report, on_report, q);
    r->queries++;
    ares_getaddrinfo(r->channel, name, NULL, &hints, on_answer, q);
    arm(r);
    return q;
}

void
resolver_forget(struct resolver_query **query)
{
    struct resolver_query *q = *query;

    *query = NULL;
    if (!q)
        return;
    q->done = NULL;
    if (!q->answered)
        return; /* c-ares still holds it */
    task_cancel(&q->report);
    free(q);
}
