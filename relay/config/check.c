#include "relay/config/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

#include "relay/config/type.h"

void *
find_entry(const struct entries *e, enum section section, const char *name)
{
    for (size_t i = 0; i < e->n; i++) {
        struct entry_head *head = entries_at(e, section, i);

        if (strcmp(head->name, name) == 0)
            return head;
    }
    return NULL;
}

int
dangling(struct draft *d, const struct entry_head *e, const char *key, const char *name,
    const struct entries *among, enum section section)
{
    const char *known[64];
    char hint[512];
    size_t n = 0;

    for (; n < among->n && n < sizeof known / sizeof known[0]; n++)
        known[n] = ((struct entry_head *)entries_at(among, section, n))->name;
    if (n == 0)
        snprintf(hint, sizeof hint, "; there are none");
    else
        suggest(name, known, n, hint, sizeof hint);
    return draft_fail(d, entry_key(e, key), "%s '%.100s' is not in section %s%s", key, name,
        section_table[section].name, hint);
}

/* Does the wildcard cover the name? "*.x" covers "a.x", not "x". */
static bool
wildcard_covers(const char *wild, const char *name)
{
    return wild[0] == '*' && span_ends_nocase(span_str(name), span_str(wild + 1));
}

bool
domains_meet(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || wildcard_covers(a, b) || wildcard_covers(b, a);
}

/* An address and port as numbers. */
struct endpoint {
    bool is_v6;
    uint16_t port;
    struct in6_addr address; /* an IPv4 address in its first 4 bytes */
};

static struct endpoint
endpoint_of(const char *address)
{
    struct endpoint e = {.is_v6 = address[0] == '['};
    char text[INET6_ADDRSTRLEN];
    struct span host;

    sg_assert(!type_split_port(span_str(address), &host, &e.port) && host.n < sizeof text);
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    sg_assert(inet_pton(e.is_v6 ? AF_INET6 : AF_INET, text, &e.address) == 1);
    return e;
}

bool
addresses_meet(const char *a, const char *b)
{
    static const struct in6_addr any;
    struct endpoint x = endpoint_of(a), y = endpoint_of(b);

    return x.is_v6 == y.is_v6 && x.port == y.port
        && (memcmp(&x.address, &y.address, sizeof any) == 0 || memcmp(&x.address, &any, sizeof any) == 0
            || memcmp(&y.address, &any, sizeof any) == 0);
}

bool
is_loopback(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    struct in_addr v4;

    if (span_eq_nocase(host, SPAN_LIT("localhost")))
        return true;
    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1
        && (IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127));
}

static int
check_socket(struct draft *d)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (strlen(d->conf.admin.socket) <= most)
        return 0;
    return draft_fail(d, node_get(node_get(d->root, "admin"), "socket"),
        "socket is longer than the %zu bytes the path of one may have; choose a shorter one", most);
}

static int
check_http(struct draft *d)
{
    const struct node *at = node_get(node_get(d->root, "admin"), "http");
    struct span host;
    uint16_t port;

    if (!d->conf.admin.http || d->http_public)
        return 0;
    sg_assert(!type_split_port(span_str(d->conf.admin.http), &host, &port));
    if (is_loopback(host))
        return 0;
    return draft_fail(d, at,
        "http '%s' is not a loopback address and the pages have no login; say http_public: true if that is "
        "meant",
        d->conf.admin.http);
}

static int
check_pair(struct draft *d, const char *one, const char *other, const char *key)
{
    const struct node *tls = node_get(d->root, "tls");

    if (!one == !other)
        return 0;
    return draft_fail(d, tls, "section tls has no %s; certificate and key come together", key);
}

/* To at least one of the addresses over a network. */
static bool
leaves_host(const struct store_conf *s)
{
    struct span rest = span_str(s->target), one, host;
    uint16_t port;

    while (rest.n > 0) {
        rest = span_cut(rest, ',', &one);
        if (!span_starts_nocase(one, SPAN_LIT("unix:")) && !type_split_port(one, &host, &port)
            && !is_loopback(host))
            return true;
    }
    return false;
}

static int
check_redis(struct draft *d)
{
    const struct node *redis = node_get(d->root, "redis");
    const struct store_conf *s = &d->conf.store;
    const char *tls_only = s->tls_ca_file ? "ca_file" : s->tls_cert_file ? "cert_file" : "key_file";

    if (!s->tls && (s->tls_ca_file || s->tls_cert_file || s->tls_key_file))
        return draft_fail(d, node_get(redis, tls_only), "%s has a meaning only with rediss://", tls_only);
    if (!s->tls_cert_file != !s->tls_key_file)
        return draft_fail(d, redis, "section redis has no %s; certificate and key come together",
            s->tls_cert_file ? "key_file" : "cert_file");
    if (s->topology != STORE_SENTINEL && (s->sentinel_user || s->sentinel_password))
        return draft_fail(d, node_get(redis, s->sentinel_user ? "sentinel_user" : "sentinel_password_file"),
            "%s has a meaning only where url names sentinels",
            s->sentinel_user ? "sentinel_user" : "sentinel_password_file");
    if ((s->password || s->sentinel_password) && !s->tls && leaves_host(s))
        draft_warn(d, node_get(redis, s->password ? "password_file" : "sentinel_password_file"),
            "the Redis password travels in clear; use TLS (rediss)");
    return 0;
}

static int
check_smtp(struct draft *d)
{
    const struct front_conf *f = &d->conf.front;
    const struct node *smtp = node_get(d->root, "smtp");

    if (f->errors_hard < f->errors_soft)
        return draft_fail(
            d, smtp, "errors_hard (%u) is below errors_soft (%u)", f->errors_hard, f->errors_soft);
    if (f->header_bytes_max > f->message_bytes_max)
        return draft_fail(d, smtp, "header_size is above message_size");
    return 0;
}

int
draft_check(struct draft *d)
{
    if (check_socket(d) < 0 || check_http(d) < 0 || check_redis(d) < 0 || check_smtp(d) < 0
        || check_spool(d) < 0)
        return -1;
    if (check_pair(d, d->tls.cert_file, d->tls.key_file, d->tls.cert_file ? "key_file" : "cert_file") < 0)
        return -1;
    if (check_listeners(d) < 0 || check_routes(d) < 0 || check_mailboxes(d) < 0 || check_clients(d) < 0)
        return -1;
    return check_limits(d);
}
