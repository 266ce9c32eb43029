#include "relay/upstream/pool_conf.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"

static char *
copy(const char *s)
{
    return s != NULL ? xstrdup(s) : NULL;
}

/* "name:port" and "[v6]:port" without port and brackets. */
static char *
host_of(const char *target)
{
    const char *colon = strrchr(target, ':');
    size_t n = colon != NULL ? (size_t)(colon - target) : strlen(target);

    if (n >= 2 && target[0] == '[' && target[n - 1] == ']')
        return xstrndup(target + 1, n - 2);
    return xstrndup(target, n);
}

static enum client_tls
tls_of(enum upstream_tls tls)
{
    switch (tls) {
    case UPSTREAM_TLS_STARTTLS:
        return CLIENT_TLS_STARTTLS;
    case UPSTREAM_TLS_IMPLICIT:
        return CLIENT_TLS_IMPLICIT;
    case UPSTREAM_TLS_OFF:
        return CLIENT_TLS_OFF;
    }
    return CLIENT_TLS_STARTTLS;
}

static enum client_auth
auth_of(enum upstream_auth auth)
{
    switch (auth) {
    case UPSTREAM_AUTH_NONE:
        return CLIENT_AUTH_NONE;
    case UPSTREAM_AUTH_LOGIN:
        return CLIENT_AUTH_LOGIN;
    case UPSTREAM_AUTH_PLAIN:
        return CLIENT_AUTH_PLAIN;
    }
    return CLIENT_AUTH_NONE;
}

static void
take_identity(struct pool_conf *c, const struct route_conf *route, const struct mailbox_conf *mailbox)
{
    if (mailbox == NULL) {
        c->scope = SCOPE_ROUTE;
        c->instance = c->route;
        c->connections = route->connections;
        return;
    }
    c->mailbox = xstrdup(mailbox->name);
    c->user = xstrdup(mailbox->user != NULL ? mailbox->user : mailbox->name);
    c->password = xstrdup(mailbox->password != NULL ? mailbox->password : "");
    c->client.auth = auth_of(mailbox->auth);
    c->scope = SCOPE_MAILBOX;
    c->instance = c->mailbox;
    c->connections = mailbox->connections;
}

struct pool_conf *
pool_conf_new(const struct route_conf *route, const struct mailbox_conf *mailbox, const char *hostname)
{
    struct pool_conf *c = xcalloc(1, sizeof(*c));

    c->route = xstrdup(route->name);
    c->target = xstrdup(route->upstream);
    c->host = host_of(route->upstream);
    c->hostname = xstrdup(route->helo != NULL ? route->helo : hostname);
    c->tls_ca_file = copy(route->tls_ca_file);
    c->tls_cert_file = copy(route->tls_cert_file);
    c->tls_key_file = copy(route->tls_key_file);
    c->tls_verify = route->tls_verify;
    take_identity(c, route, mailbox);
    c->client.hostname = c->hostname;
    c->client.tls = tls_of(route->tls);
    c->client.user = c->user;
    c->client.password = c->password;
    c->client.reply_ms = route->reply_ms;
    c->client.data_ms = route->data_ms;
    c->client.dot_ms = route->dot_ms;
    c->pool_max = route->pool_max;
    c->messages_per_connection = route->messages_per_connection;
    c->idle_ms = route->idle_ms;
    c->age_ms = route->age_ms;
    c->connect_ms = route->connect_ms;
    c->block_ms = route->block_ms;
    return c;
}

void
pool_conf_free(struct pool_conf **conf)
{
    struct pool_conf *c = *conf;

    *conf = NULL;
    if (c == NULL)
        return;
    if (c->password != NULL)
        explicit_bzero(c->password, strlen(c->password));
    free(c->route);
    free(c->mailbox);
    free(c->target);
    free(c->host);
    free(c->hostname);
    free(c->user);
    free(c->password);
    free(c->tls_ca_file);
    free(c->tls_cert_file);
    free(c->tls_key_file);
    free(c);
}

static bool
same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_waits(const struct pool_conf *a, const struct pool_conf *b)
{
    return a->client.reply_ms == b->client.reply_ms && a->client.data_ms == b->client.data_ms
        && a->client.dot_ms == b->client.dot_ms && a->idle_ms == b->idle_ms && a->age_ms == b->age_ms
        && a->connect_ms == b->connect_ms && a->block_ms == b->block_ms;
}

bool
pool_conf_same_identity(const struct pool_conf *a, const struct pool_conf *b)
{
    return same(a->user, b->user) && same(a->password, b->password);
}

bool
pool_conf_eq(const struct pool_conf *a, const struct pool_conf *b)
{
    return same(a->route, b->route) && same(a->mailbox, b->mailbox) && same(a->target, b->target)
        && same(a->hostname, b->hostname) && pool_conf_same_identity(a, b)
        && same(a->tls_ca_file, b->tls_ca_file) && same(a->tls_cert_file, b->tls_cert_file)
        && same(a->tls_key_file, b->tls_key_file) && a->tls_verify == b->tls_verify
        && a->client.tls == b->client.tls && a->client.auth == b->client.auth
        && a->connections == b->connections && a->pool_max == b->pool_max
        && a->messages_per_connection == b->messages_per_connection && same_waits(a, b);
}
