/* A configuration made ready: certificates and logins loaded, new addresses bound. Nothing of it is in force
 * before front_commit, and nothing of it remains after front_discard. */
#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "relay/config/preflight.h"
#include "relay/front/front_part.h"
#include "relay/front/identity.h"
#include "relay/front/session.h"
#include "relay/front/trace.h"
#include "relay/net/inherited.h"

struct front_plan {
    struct generation *generation;
    struct list fresh; /* sockets opened for it; paused */
};

/* ---- generation ---- */

struct generation *
generation_ref(struct generation *g)
{
    g->references++;
    return g;
}

void
generation_unref(struct generation **gp)
{
    struct generation *g = *gp;

    *gp = NULL;
    if (g == NULL || --g->references > 0)
        return;
    for (size_t i = 0; i < g->n_listeners; i++)
        tls_ctx_unref(&g->listeners[i].tls);
    free(g->listeners);
    users_free(&g->users);
    config_unref(&g->config);
    free(g);
}

const struct front_listener *
generation_listener(const struct generation *g, const char *name)
{
    for (size_t i = 0; i < g->n_listeners; i++)
        if (strcmp(g->listeners[i].conf->name, name) == 0)
            return &g->listeners[i];
    return NULL;
}

/* Pinned keys need no CA: their certificates are asked for even without one. */
static bool
has_pins(const struct config *c)
{
    for (size_t i = 0; i < c->n_clients; i++)
        if (c->clients[i].n_cert_pins > 0)
            return true;
    return false;
}

static int
load_tls(const struct config *c, struct front_listener *l, struct err *err)
{
    struct tls_server_conf tls = {
        .cert_file = l->conf->tls_cert_file,
        .key_file = l->conf->tls_key_file,
        .client_ca_file = l->conf->tls_client_ca_file,
        .ask_client_cert = has_pins(c),
        .least = l->conf->tls_least,
    };
    struct err why;

    if (l->conf->tls == FRONT_TLS_OFF)
        return 0;
    l->tls = tls_server_ctx_new(&tls, &why);
    return l->tls != NULL ? 0 : err_set(err, "listener %s: %s", l->conf->name, why.text);
}

static struct server_conf
server_conf_of(const struct config *config, const struct listener_conf *l, bool auth)
{
    const struct front_conf *c = &config->front;

    return (struct server_conf){
        .hostname = c->hostname,
        .starttls = l->tls == FRONT_TLS_STARTTLS || l->tls == FRONT_TLS_REQUIRED,
        .tls_required = l->tls == FRONT_TLS_REQUIRED,
        .auth = auth,
        .auth_without_tls = l->auth_without_tls,
        .lenient = l->bare_newline == BARE_NORMALIZE,
        .eightbitmime = true,
        .dsn = config->spool.enabled, /* a notification is a message that is kept */
        .line_strict = c->line_strict,
        .newline = l->bare_newline == BARE_NORMALIZE ? BODY_NORMALIZE : BODY_REJECT,
        .size_max = c->message_bytes_max,
        .line_max = c->line_bytes_max,
        .header_bytes_max = c->header_bytes_max,
        .header_lines_max = c->header_lines_max,
        .hops_max = c->hops_max,
        .recipients_max = c->recipients_max,
        .messages_max = c->messages_max,
        .errors_soft = c->errors_soft,
        .errors_hard = c->errors_hard,
        .junk_max = c->junk_max,
        .auth_failures_max = c->auth_failures_session,
    };
}

/* Can a login be used on this listener, and does it make anybody a client? Else neither AUTH nor the advice
 * to authenticate is of use. */
static bool
takes_logins(const struct generation *g, const struct listener_conf *l)
{
    return g->users != NULL && (l->tls != FRONT_TLS_OFF || l->auth_without_tls) &&
        identity_login_helps(g->config, l);
}

static int
load(struct generation *g, struct err *err)
{
    const struct config *c = g->config;

    if (c->front.users_file != NULL) {
        g->users = users_load(c->front.users_file, err);
        if (g->users == NULL)
            return -1;
    }
    g->listeners = xcalloc(c->n_listeners, sizeof *g->listeners);
    for (size_t i = 0; i < c->n_listeners; i++) {
        struct front_listener *l = &g->listeners[i];

        l->conf = &c->listeners[i];
        l->server = server_conf_of(c, l->conf, takes_logins(g, l->conf));
        g->n_listeners++;
        if (load_tls(c, l, err) != 0)
            return -1;
    }
    return 0;
}

static struct generation *
generation_new(struct config *config, struct err *err)
{
    struct generation *g = xcalloc(1, sizeof *g);

    g->references = 1;
    g->config = config_ref(config);
    if (load(g, err) != 0)
        generation_unref(&g);
    return g;
}

/* ---- sockets ---- */

static struct front_socket *
find_socket(struct list *sockets, const char *address)
{
    LIST_EACH(it, sockets)
        if (strcmp(LIST_ITEM(it, struct front_socket, link)->address, address) == 0)
            return LIST_ITEM(it, struct front_socket, link);
    return NULL;
}

static void
socket_free(struct front_socket *s)
{
    listener_close(&s->listener);
    list_del(&s->link);
    free(s->address);
    free(s);
}

static int
open_socket(struct front *f, struct front_plan *plan, const char *address, struct err *err)
{
    struct front_socket *s = xcalloc(1, sizeof *s);
    int fd;

    s->front = f;
    s->address = xstrdup(address);
    list_add_tail(&plan->fresh, &s->link);
    fd = inherited_take(f->inherited, address);
    s->listener = fd >= 0 ? listener_adopt(f->loop, fd, address, front_on_accept, s, err)
                          : listener_open(f->loop, address, front_on_accept, s, err);
    if (s->listener == NULL)
        return -1;
    listener_pause(s->listener);
    return 0;
}

/* A socket of ours that this port of the same family already is bound by; NULL: none. */
static const struct front_socket *
find_rival(struct list *sockets, const char *address)
{
    const char *port = strrchr(address, ':');

    LIST_EACH(it, sockets) {
        const struct front_socket *s = LIST_ITEM(it, struct front_socket, link);
        const char *other = strrchr(s->address, ':');

        if (port != NULL && other != NULL && strcmp(port, other) == 0
            && (address[0] == '[') == (s->address[0] == '['))
            return s;
    }
    return NULL;
}

/* From 127.0.0.1:25 to 0.0.0.0:25: the old address stays bound until the commit, which cannot fail. */
static int
refuse_address(struct front *f, const struct config *c, const struct listener_conf *l, const char *address,
    struct err *err)
{
    const struct front_socket *rival = find_rival(&f->sockets, address);
    struct err why = *err;
    char path[256];

    if (rival != NULL)
        err_set(err,
            "%.600s; sendgovd itself still listens on %s: take that out by one reload and put this in by the "
            "next, or restart",
            why.text, rival->address);
    snprintf(path, sizeof path, "listeners.%s.address", l->name);
    return config_locate(c, path, err);
}

static int
open_sockets(struct front *f, struct front_plan *plan, struct err *err)
{
    const struct config *c = plan->generation->config;

    for (size_t i = 0; i < c->n_listeners; i++)
        for (size_t k = 0; k < c->listeners[i].n_addresses; k++) {
            const char *address = c->listeners[i].addresses[k];

            if (find_socket(&f->sockets, address) == NULL && open_socket(f, plan, address, err) != 0)
                return refuse_address(f, c, &c->listeners[i], address, err);
        }
    return 0;
}

struct front_plan *
front_prepare(struct front *f, struct config *config, struct err *err)
{
    struct front_plan *plan = xcalloc(1, sizeof *plan);

    list_init(&plan->fresh);
    plan->generation = generation_new(config, err);
    if (plan->generation == NULL || open_sockets(f, plan, err) != 0)
        front_discard(f, &plan);
    return plan;
}

void
front_discard(struct front *f, struct front_plan **plan)
{
    (void)f;
    if (*plan == NULL)
        return;
    LIST_EACH_SAFE(it, &(*plan)->fresh)
        socket_free(LIST_ITEM(it, struct front_socket, link));
    generation_unref(&(*plan)->generation);
    free(*plan);
    *plan = NULL;
}

/* ---- commit ---- */

/* Which listener of the generation an address belongs to; NULL: none any more. */
static const struct front_listener *
listener_of_address(const struct generation *g, const char *address)
{
    for (size_t i = 0; i < g->n_listeners; i++)
        for (size_t k = 0; k < g->listeners[i].conf->n_addresses; k++)
            if (strcmp(g->listeners[i].conf->addresses[k], address) == 0)
                return &g->listeners[i];
    return NULL;
}

static void
assign_sockets(struct front *f)
{
    LIST_EACH_SAFE(it, &f->sockets) {
        struct front_socket *s = LIST_ITEM(it, struct front_socket, link);

        s->in_force = listener_of_address(f->generation, s->address);
        if (s->in_force == NULL) {
            session_leave_socket(f, s);
            socket_free(s);
        } else if (f->state == FRONT_OPEN)
            listener_resume(s->listener);
    }
}

void
front_commit(struct front *f, struct front_plan **plan)
{
    struct generation *old = f->generation;

    f->generation = generation_ref((*plan)->generation);
    LIST_EACH_SAFE(it, &(*plan)->fresh) {
        list_del(it);
        list_add_tail(&f->sockets, it);
    }
    assign_sockets(f);
    front_refresh_offers(f);
    generation_unref(&old);
    front_discard(f, plan);
}

void
front_refresh_offers(struct front *f)
{
    const struct config *c = f->generation->config;
    uint64_t size = 0;
    bool eightbit = true;

    for (size_t i = 0; i < c->n_routes; i++) {
        uint64_t route_size = 0;
        bool route_eightbit = true;

        flow_route_caps(f->flow, &c->routes[i], &route_size, &route_eightbit);
        eightbit = eightbit && route_eightbit;
        if (route_size > TRACE_ROOM)
            route_size -= TRACE_ROOM; /* RFC 1870: what is offered is taken */
        if (route_size == 0 || route_size > c->front.message_bytes_max)
            route_size = c->front.message_bytes_max;
        size = route_size > size ? route_size : size;
    }
    for (size_t i = 0; i < f->generation->n_listeners; i++) {
        f->generation->listeners[i].server.size_max = size > 0 ? size : c->front.message_bytes_max;
        f->generation->listeners[i].server.eightbitmime = eightbit;
    }
}
