#include "relay/store/redis_address.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool
is_plain(struct span text)
{
    static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:-_";

    for (size_t i = 0; i < text.n; i++)
        if (!memchr(plain, text.p[i], sizeof(plain) - 1))
            return false;
    return text.n > 0 && text.n < 256;
}

bool
redis_address_format(struct span host, struct span port, char out[REDIS_ADDRESS_MAX])
{
    bool is_v6 = span_find_byte(host, ':') >= 0;
    uint64_t number;

    if (!is_plain(host) || !span_to_u64(port, &number) || number == 0 || number > 65535)
        return false;
    snprintf(out, REDIS_ADDRESS_MAX, "%s%.*s%s:%u", is_v6 ? "[" : "", SPAN_FMT(host), is_v6 ? "]" : "",
        (unsigned)number);
    return true;
}

/* Everything before the last colon, and what is behind it. A v6 address may have brackets or none. */
static struct span
split_port(struct span address, struct span *port_out)
{
    size_t colon = address.n;
    struct span host;

    while (colon > 0 && address.p[colon - 1] != ':')
        colon--;
    *port_out = span_from(address, colon);
    host = span_head(address, colon > 0 ? colon - 1 : 0);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = span_of(host.p + 1, host.n - 2);
    return host;
}

bool
redis_address_redirect(struct span text, const char *here, char out[REDIS_ADDRESS_MAX], bool *asking_out)
{
    struct span word, slot, address, host, port, unused;

    text = span_cut(text, ' ', &word);
    text = span_cut(text, ' ', &slot);
    span_cut(text, ' ', &address);
    *asking_out = span_eq(word, SPAN_LIT("ASK"));
    if (!*asking_out && !span_eq(word, SPAN_LIT("MOVED")))
        return false;
    host = split_port(address, &port);
    if (host.n == 0)
        host = split_port(span_str(here), &unused);
    return redis_address_format(host, port, out);
}

void
redis_address_pick(const char *list, size_t i, char out[REDIS_ADDRESS_MAX])
{
    struct span rest = span_str(list), one;

    for (;;) {
        rest = span_cut(rest, ',', &one);
        if (i-- == 0)
            break;
        if (rest.n == 0)
            rest = span_str(list);
    }
    snprintf(out, REDIS_ADDRESS_MAX, "%.*s", SPAN_FMT(one));
}
