#include "relay/admin/http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/admin/http_conns.h"
#include "relay/admin/http_host.h"
#include "relay/admin/http_page.h"
#include "relay/base/xmalloc.h"
#include "relay/net/addr.h"
#include "relay/net/inherited.h"
#include "relay/net/listener.h"
#include "relay/net/loop.h"

#define BACKLOG 64

struct http {
    struct admin *admin;
    char *address;
    unsigned port;
    int fd; /* listens; the server's */
    struct evhttp *server;
    struct http_conns *conns;
};

struct page {
    const char *path, *type;
    int (*render)(struct admin *a, struct buf *out);
};

static const struct page pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
    {"/live", "text/plain; charset=utf-8", page_live},
    {"/ready", "text/plain; charset=utf-8", page_ready},
    {"/style.css", "text/css; charset=utf-8", page_style},
    {"/", "text/html; charset=utf-8", page_status},
};

static const char *const fixed_headers[][2] = {
    {"Connection", "close"},
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy",
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static void
reply(struct evhttp_request *req, int status, const char *type, const struct buf *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    struct span text = buf_span(body);
    char length[24];

    for (size_t i = 0; i < sizeof(fixed_headers) / sizeof(fixed_headers[0]); i++)
        evhttp_add_header(headers, fixed_headers[i][0], fixed_headers[i][1]);
    evhttp_add_header(headers, "Content-Type", type);
    if (status == HTTP_BADMETHOD)
        evhttp_add_header(headers, "Allow", "GET, HEAD");
    snprintf(length, sizeof(length), "%zu", text.n);
    evhttp_add_header(headers, "Content-Length", length);
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD) /* evhttp would send it */
        evbuffer_add(evhttp_request_get_output_buffer(req), text.p, text.n);
    evhttp_send_reply(req, status, NULL, NULL);
}

static void
refuse(struct evhttp_request *req, int status, const char *why)
{
    struct buf body;

    buf_init(&body);
    buf_printf(&body, "%s\n", why);
    reply(req, status, "text/plain; charset=utf-8", &body);
    buf_fini(&body);
}

/* HTTP/1.0 health checks send no Host; a browser always does. */
static bool
host_is_ours(const struct http *h, struct evhttp_request *req)
{
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)));
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    struct net_addr local = {0};

    if (!host)
        return true;
    if (getsockname(fd, (struct sockaddr *)&ss, &n) == 0)
        net_addr_from_sockaddr(&local, (struct sockaddr *)&ss, n);
    return http_host_is_ours(span_str(host), http_host_of(span_str(h->address)), span_str(local.text));
}

static const struct page *
find_page(struct evhttp_request *req)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri && !evhttp_uri_get_host(uri) ? evhttp_uri_get_path(uri) : NULL;

    for (size_t i = 0; path && i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strcmp(path, pages[i].path) == 0)
            return &pages[i];
    }
    return NULL;
}

static void
on_request(struct evhttp_request *req, void *arg)
{
    struct http *h = arg;
    enum evhttp_cmd_type method = evhttp_request_get_command(req);
    const struct page *page;
    struct buf body;
    int status;

    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        refuse(req, HTTP_BADMETHOD, "only GET and HEAD");
        return;
    }
    if (!host_is_ours(h, req)) {
        refuse(req, 403, "this Host is not served here; use the address of admin.http");
        return;
    }
    page = find_page(req);
    if (!page) {
        refuse(req, HTTP_NOTFOUND, "there are /, /metrics, /live and /ready");
        return;
    }
    buf_init(&body);
    status = page->render(h->admin, &body);
    reply(req, status, page->type, &body);
    buf_fini(&body);
}

/* ---- life ---- */

static struct evconnlistener *
listen_at(struct admin *a, const char *address, struct err *err)
{
    struct event_base *base = loop_base(a->setup.loop);
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
    struct evconnlistener *listener;
    struct net_addr at;
    int fd;

    if (net_addr_parse(address, &at, err) != 0)
        return NULL;
    if (at.ss.ss_family == AF_INET6)
        flags |= LEV_OPT_BIND_IPV6ONLY;
    fd = inherited_take(a->setup.inherited, address);
    if (fd >= 0)
        listener = evconnlistener_new(base, NULL, NULL, flags, 0, fd);
    else
        listener = evconnlistener_new_bind(
            base, NULL, NULL, flags, BACKLOG, (struct sockaddr *)&at.ss, (int)at.len);
    if (!listener)
        err_set_errno(err, "admin.http: cannot listen on %s", address);
    return listener;
}

static unsigned
port_of(struct evconnlistener *listener)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    struct net_addr local = {0};

    if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&ss, &n) == 0)
        net_addr_from_sockaddr(&local, (struct sockaddr *)&ss, n);
    return local.port;
}

static void
set_bounds(struct http *h)
{
    evhttp_set_allowed_methods(h->server,
        EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
            EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH); /* to say 405 */
    evhttp_set_max_headers_size(h->server, HTTP_HEADERS_MAX);
    evhttp_set_max_body_size(h->server, 0);
    evhttp_set_timeout(h->server, HTTP_IDLE_SEC);
    evhttp_set_gencb(h->server, on_request, h);
}

struct http *
http_open(struct admin *a, const char *address, struct err *err)
{
    struct evconnlistener *listener = listen_at(a, address, err);
    struct http *h;

    if (!listener)
        return NULL;
    h = xcalloc(1, sizeof(*h));
    h->admin = a;
    h->address = xstrdup(address);
    h->port = port_of(listener);
    h->fd = evconnlistener_get_fd(listener);
    h->server = evhttp_new(loop_base(a->setup.loop));
    sg_assert(h->server);
    set_bounds(h);
    sg_assert(evhttp_bind_listener(h->server, listener));
    h->conns = http_conns_new(a->setup.loop, h->server, listener, HTTP_LIFE_MS);
    return h;
}

void
http_close(struct http **hp)
{
    struct http *h = *hp;

    if (!h)
        return;
    evhttp_free(h->server);
    http_conns_free(&h->conns);
    free(h->address);
    free(h);
    *hp = NULL;
}

const char *
http_address(const struct http *h)
{
    return h->address;
}

unsigned
http_port(const struct http *h)
{
    return h->port;
}

int
http_fd(const struct http *h)
{
    return h->fd;
}

unsigned
http_connections(const struct http *h)
{
    return http_conns_open(h->conns);
}
