#include "relay/net/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

struct dialer {
    struct loop *loop;
    struct resolver *resolver;
    struct slots dials;
};

struct dial {
    struct dialer *dialer;
    struct handle self;
    char *target;
    struct resolver_query *query; /* while the name is being resolved */
    size_t n, next;               /* addresses, and the one to try next */
    struct net_addr addrs[RESOLVER_ADDRS_MAX];
    int fd; /* connecting; -1: none */
    int address_ms;
    struct event ev;
    struct timer address_timer, total_timer;
    struct task begin;
    dial_done_fn *done;
    void *arg;
    char error[400]; /* of the last thing that failed */
    struct corpse corpse;
};

struct dialer *
dialer_new(struct loop *loop, struct resolver *resolver)
{
    struct dialer *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->resolver = resolver;
    slots_init(&d->dials);
    return d;
}

static void
bury(void *object)
{
    struct dial *d = object;

    free(d->target);
    free(d);
}

static void
hang_up(struct dial *d)
{
    timer_stop(&d->address_timer);
    if (d->fd < 0)
        return;
    event_del(&d->ev);
    close(d->fd);
    d->fd = -1;
}

static void
retire(void *object)
{
    struct dial *d = object;

    hang_up(d);
    resolver_forget(&d->query);
    task_cancel(&d->begin);
    timer_fini(&d->address_timer);
    timer_fini(&d->total_timer);
    slots_del(&d->dialer->dials, d->self);
    loop_bury(d->dialer->loop, &d->corpse, bury, d);
}

void
dialer_free(struct dialer **dialer)
{
    struct dialer *d = *dialer;

    if (!d)
        return;
    *dialer = NULL;
    slots_each(&d->dials, retire);
    slots_fini(&d->dials);
    free(d);
}

static void
complete(struct dial *d, int fd)
{
    struct dial_result result = {.fd = fd, .error = fd < 0 ? d->error : ""};

    if (fd >= 0)
        result.peer = d->addrs[d->next];
    retire(d); /* d lives until the end of the turn */
    d->done(d->arg, &result);
}

static void
note_failure(struct dial *d, const char *why)
{
    const struct net_addr *a = &d->addrs[d->next];

    if (a->ss.ss_family == AF_UNIX)
        snprintf(d->error, sizeof(d->error), "connect to %s: %s", d->target, why);
    else if (a->ss.ss_family == AF_INET6)
        snprintf(d->error, sizeof(d->error), "connect to [%s]:%u: %s", a->text, a->port, why);
    else
        snprintf(d->error, sizeof(d->error), "connect to %s:%u: %s", a->text, a->port, why);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* False when it is known at once that this address cannot be reached. Success is always told by an event. */
static bool
connect_to(struct dial *d, const struct net_addr *a)
{
    d->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0)
        return false;
    event_assign(&d->ev, loop_base(d->dialer->loop), d->fd, EV_WRITE, on_writable, d);
    if (connect(d->fd, (const struct sockaddr *)&a->ss, a->len) != 0 && errno != EINPROGRESS)
        return false;
    event_add(&d->ev, NULL);
    timer_start(&d->address_timer, d->address_ms);
    return true;
}

/* Tries the addresses from d->next on until one may answer; the dial is over when there is none. */
static void
try_next(struct dial *d)
{
    for (; d->next < d->n; d->next++) {
        if (connect_to(d, &d->addrs[d->next]))
            return;
        note_failure(d, strerror(errno));
        hang_up(d);
    }
    complete(d, -1);
}

static void
give_up_address(struct dial *d, const char *why)
{
    hang_up(d);
    note_failure(d, why);
    d->next++;
    try_next(d);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct dial *d = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    (void)what;
    loop_enter(d->dialer->loop);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        give_up_address(d, strerror(error));
        return;
    }
    d->fd = -1; /* the caller's now */
    complete(d, (int)fd);
}

static void
on_address_timeout(void *arg)
{
    give_up_address(arg, "timed out");
}

static void
on_total_timeout(void *arg)
{
    struct dial *d = arg;

    if (d->query)
        snprintf(d->error, sizeof(d->error), "%s does not resolve: no answer in time", d->target);
    else if (d->fd >= 0)
        note_failure(d, "timed out");
    complete(d, -1);
}

static void
on_resolved(void *arg, const struct net_addr *addrs, size_t n, const char *error)
{
    struct dial *d = arg;

    d->query = NULL;
    d->n = n;
    memcpy(d->addrs, addrs, n * sizeof(*addrs));
    if (n == 0)
        snprintf(d->error, sizeof(d->error), "%s does not resolve: %s", d->target, error);
    try_next(d);
}

static void
on_begin(void *arg)
{
    try_next(arg);
}

/* Numeric and unix targets need no resolver; a bad one completes with its error. */
static void
begin(struct dial *d)
{
    struct resolver *r = d->dialer->resolver;
    struct span host;
    uint16_t port;
    char name[256];
    struct err err;

    if (net_addr_parse(d->target, &d->addrs[0], &err) == 0) {
        d->n = 1;
    } else if (strncmp(d->target, "unix:", 5) != 0 && net_addr_split(span_str(d->target), &host, &port) &&
               host.n < sizeof(name)) {
        snprintf(name, sizeof(name), "%.*s", SPAN_FMT(host));
        d->query = resolver_ask(r, name, port, on_resolved, d);
        return;
    } else {
        snprintf(d->error, sizeof(d->error), "%.300s", err.text);
    }
    task_defer(d->dialer->loop, &d->begin);
}

struct handle
dial_start(struct dialer *dialer, const char *target, int address_ms, int total_ms, dial_done_fn *done,
    void *arg)
{
    struct dial *d = xcalloc(1, sizeof(*d));

    d->dialer = dialer;
    d->self = slots_add(&dialer->dials, d);
    d->target = xstrdup(target);
    d->fd = -1;
    d->address_ms = address_ms;
    d->done = done;
    d->arg = arg;
    task_init(&d->begin, on_begin, d);
    timer_init(&d->address_timer, dialer->loop, on_address_timeout, d);
    timer_init(&d->total_timer, dialer->loop, on_total_timeout, d);
    timer_start(&d->total_timer, total_ms);
    begin(d);
    return d->self;
}

void
dial_cancel(struct dialer *dialer, struct handle h)
{
    struct dial *d = slots_get(&dialer->dials, h);

    if (d)
        retire(d);
}
