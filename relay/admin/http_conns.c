#include "relay/admin/http_conns.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"

#define SWEEP_MS 100
/* With nobody there: only to listen again after the process was out of descriptors. */
#define IDLE_SWEEP_MS 1000

struct seat {
    struct bufferevent *bev; /* our reference; NULL: the seat is free */
    int64_t until_mono_ms;
};

struct http_conns {
    struct loop *loop;
    struct evconnlistener *listener;
    int64_t life_ms;
    struct timer sweep;
    struct seat seats[HTTP_CONNECTIONS_MAX];
    unsigned taken;
};

/* bufferevent_free takes the callbacks away, whoever else holds a reference; evhttp's own argument is never
 * NULL. */
static bool
is_released(struct bufferevent *bev)
{
    void *owner = NULL;

    bufferevent_getcb(bev, NULL, NULL, NULL, &owner);
    return owner == NULL;
}

static void
leave(struct http_conns *c, struct seat *seat)
{
    bufferevent_decref(seat->bev);
    seat->bev = NULL;
    c->taken--;
}

static void
sweep(void *arg)
{
    struct http_conns *c = arg;
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct seat *seat = &c->seats[i];

        if (!seat->bev)
            continue;
        if (is_released(seat->bev))
            leave(c, seat);
        else if (now >= seat->until_mono_ms)
            shutdown(bufferevent_getfd(seat->bev), SHUT_RDWR); /* evhttp sees the end and lets go */
    }
    if (c->taken < HTTP_CONNECTIONS_MAX)
        evconnlistener_enable(c->listener);
    timer_start(&c->sweep, c->taken > 0 ? SWEEP_MS : IDLE_SWEEP_MS);
}

/* accept failed, and would again at once: the next sweep listens anew. arg is evhttp's. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    log_text(LOG_WARNING, "accept", "admin.http: %s, resting", strerror(errno));
    evconnlistener_disable(listener);
}

/* evhttp asks for the bufferevent of a connection it has just accepted. */
static struct bufferevent *
on_connection(struct event_base *base, void *arg)
{
    struct http_conns *c = arg;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    size_t i = 0;

    if (!bev)
        return NULL;
    while (i < HTTP_CONNECTIONS_MAX && c->seats[i].bev)
        i++;
    if (i == HTTP_CONNECTIONS_MAX)
        return bev; /* cannot be: the listener rests when the last seat is taken */
    bufferevent_incref(bev);
    c->seats[i] = (struct seat){bev, clock_mono_ms() + c->life_ms};
    if (++c->taken == HTTP_CONNECTIONS_MAX)
        evconnlistener_disable(c->listener);
    timer_start(&c->sweep, SWEEP_MS);
    return bev;
}

struct http_conns *
http_conns_new(struct loop *loop, struct evhttp *server, struct evconnlistener *listener, int64_t life_ms)
{
    struct http_conns *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->listener = listener;
    c->life_ms = life_ms;
    timer_init(&c->sweep, loop, sweep, c);
    evhttp_set_bevcb(server, on_connection, c);
    evconnlistener_set_error_cb(listener, on_accept_error);
    timer_start(&c->sweep, IDLE_SWEEP_MS);
    return c;
}

void
http_conns_free(struct http_conns **cp)
{
    struct http_conns *c = *cp;

    if (!c)
        return;
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        if (c->seats[i].bev)
            leave(c, &c->seats[i]);
    }
    timer_fini(&c->sweep);
    free(c);
    *cp = NULL;
}

unsigned
http_conns_open(const struct http_conns *c)
{
    return c->taken;
}
