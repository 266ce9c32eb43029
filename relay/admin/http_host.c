#include "relay/admin/http_host.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

static bool
is_port(struct span s)
{
    uint64_t port;

    return span_to_u64(s, &port) && port <= 65535;
}

struct span
http_host_of(struct span s)
{
    const struct span none = {"", 0};
    struct span host;
    ptrdiff_t end;

    if (s.n > 0 && s.p[0] == '[') {
        end = span_find_byte(s, ']');
        if (end < 0)
            return none;
        host = span_of(s.p + 1, (size_t)end - 1);
        s = span_from(s, (size_t)end + 1);
        return s.n == 0 || (s.p[0] == ':' && is_port(span_from(s, 1))) ? host : none;
    }
    end = span_find_byte(s, ':');
    if (end < 0)
        return s;
    return is_port(span_from(s, (size_t)end + 1)) ? span_head(s, (size_t)end) : none;
}

static bool
is_loopback(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;

    if (span_eq_nocase(host, SPAN_LIT("localhost")) || span_eq_nocase(host, SPAN_LIT("localhost.")))
        return true;
    if (host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool
http_host_is_ours(struct span header, struct span configured, struct span local)
{
    struct span host = http_host_of(header);

    if (host.n == 0)
        return false;
    return is_loopback(host) || span_eq_nocase(host, configured) ||
        (local.n > 0 && span_eq_nocase(host, local));
}
