#include "relay/net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

void
net_addr_set_port(struct net_addr *a, uint16_t port)
{
    a->port = port;
    if (a->ss.ss_family == AF_INET)
        ((struct sockaddr_in *)&a->ss)->sin_port = htons(port);
    else if (a->ss.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&a->ss)->sin6_port = htons(port);
}

static void
set_in4(struct net_addr *a, const struct in_addr *ip, uint16_t port)
{
    struct sockaddr_in *sin = (struct sockaddr_in *)&a->ss;

    memset(&a->ss, 0, sizeof(a->ss));
    sin->sin_family = AF_INET;
    sin->sin_addr = *ip;
    a->len = sizeof(*sin);
    inet_ntop(AF_INET, ip, a->text, sizeof(a->text));
    net_addr_set_port(a, port);
}

static void
set_in6(struct net_addr *a, const struct sockaddr_in6 *sin6)
{
    struct in_addr mapped;

    if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
        memcpy(&mapped, sin6->sin6_addr.s6_addr + 12, sizeof(mapped));
        set_in4(a, &mapped, ntohs(sin6->sin6_port));
        return;
    }
    memcpy(&a->ss, sin6, sizeof(*sin6));
    a->len = sizeof(*sin6);
    inet_ntop(AF_INET6, &sin6->sin6_addr, a->text, sizeof(a->text));
    a->port = ntohs(sin6->sin6_port);
}

void
net_addr_from_sockaddr(struct net_addr *out, const struct sockaddr *sa, socklen_t len)
{
    struct sockaddr_in sin;
    struct sockaddr_in6 sin6;

    memset(out, 0, sizeof(*out));
    if (sa->sa_family == AF_INET && len >= sizeof(sin)) {
        memcpy(&sin, sa, sizeof(sin));
        set_in4(out, &sin.sin_addr, ntohs(sin.sin_port));
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(sin6)) {
        memcpy(&sin6, sa, sizeof(sin6));
        set_in6(out, &sin6);
    } else {
        if (len > sizeof(out->ss))
            len = sizeof(out->ss);
        memcpy(&out->ss, sa, len);
        out->len = len;
        snprintf(out->text, sizeof(out->text), "%s", sa->sa_family == AF_UNIX ? "unix" : "unknown");
    }
}

bool
net_addr_split(struct span text, struct span *host_out, uint16_t *port_out)
{
    const char *colon = text.n > 0 ? memrchr(text.p, ':', text.n) : NULL;
    struct span host;
    uint64_t port;

    if (!colon)
        return false;
    host = span_of(text.p, (size_t)(colon - text.p));
    if (!span_to_u64(span_from(text, host.n + 1), &port) || port > 65535)
        return false;
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = span_of(host.p + 1, host.n - 2);
    else if (span_find_byte(host, ':') >= 0)
        return false; /* a bare v6 address: which colon would be the port's? */
    if (host.n == 0)
        return false;
    *host_out = host;
    *port_out = (uint16_t)port;
    return true;
}

static int
parse_unix(const char *path, struct net_addr *out, struct err *err)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)&out->ss;
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof(sun->sun_path))
        return err_set(err, "unix:%s: the path must have 1 to %zu bytes", path, sizeof(sun->sun_path) - 1);
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, n + 1);
    out->len = (socklen_t)sizeof(*sun);
    snprintf(out->text, sizeof(out->text), "unix");
    return 0;
}

int
net_addr_parse(const char *text, struct net_addr *out, struct err *err)
{
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
    struct in_addr ip4;
    struct span host;
    uint16_t port;
    char copy[INET6_ADDRSTRLEN];

    memset(out, 0, sizeof(*out));
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, out, err);
    if (!net_addr_split(span_str(text), &host, &port))
        return err_set(err, "%s: not of the form 192.0.2.1:25, [::1]:25 or unix:/path", text);
    snprintf(copy, sizeof(copy), "%.*s", SPAN_FMT(host));
    if (host.n < sizeof(copy) && inet_pton(AF_INET, copy, &ip4) == 1) {
        set_in4(out, &ip4, port);
    } else if (host.n < sizeof(copy) && inet_pton(AF_INET6, copy, &sin6.sin6_addr) == 1) {
        sin6.sin6_port = htons(port);
        memcpy(&out->ss, &sin6, sizeof(sin6));
        out->len = sizeof(sin6);
        snprintf(out->text, sizeof(out->text), "%s", copy);
        out->port = port;
    } else {
        return err_set(err, "%s: not an IPv4 or IPv6 address", text);
    }
    return 0;
}
