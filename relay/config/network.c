/* IPv4 and IPv6 networks in CIDR form. v4 is kept as v4-mapped v6, so one comparison serves both; a v6
 * prefix that holds the whole v4-mapped range would match every IPv4 address and is refused with the two
 * "all" networks. */
#include <arpa/inet.h>
#include <stdio.h>

#include "relay/config/draft.h"

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool
no(const char **why_out, const char *why)
{
    *why_out = why;
    return false;
}

static bool
parse_address(struct span in, struct network *out, unsigned *bits_out)
{
    char text[INET6_ADDRSTRLEN + 1];

    if (in.n >= sizeof text)
        return false;
    memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    if (inet_pton(AF_INET, text, out->address.s6_addr + 12) == 1) {
        memcpy(out->address.s6_addr, mapped, sizeof mapped);
        *bits_out = 32;
        return true;
    }
    *bits_out = 128;
    return inet_pton(AF_INET6, text, &out->address) == 1;
}

static bool
has_host_bits(const struct network *n)
{
    for (unsigned bit = n->prefix; bit < 128; bit++)
        if (n->address.s6_addr[bit / 8] & (0x80 >> bit % 8))
            return true;
    return false;
}

/* Are the first `prefix` bits of n those of base? */
static bool
lies_in(const struct network *n, const unsigned char *base, unsigned prefix)
{
    if (n->prefix < prefix)
        return false;
    for (unsigned bit = 0; bit < prefix; bit++)
        if ((n->address.s6_addr[bit / 8] ^ base[bit / 8]) & (0x80 >> bit % 8))
            return false;
    return true;
}

static bool
holds_all_v4(const struct network *n)
{
    struct network all = {.prefix = 96};

    memcpy(all.address.s6_addr, mapped, sizeof mapped);
    return lies_in(&all, n->address.s6_addr, n->prefix);
}

bool
network_parse(struct span in, struct network *out, const char **why_out)
{
    struct span address, prefix = span_cut(in, '/', &address);
    uint64_t number;
    unsigned bits;

    memset(out, 0, sizeof *out);
    if (span_find_byte(in, '%') >= 0)
        return no(why_out, "has a zone; write the network without it");
    if (!parse_address(address, out, &bits))
        return no(why_out, "is no network; write 10.20.0.0/16, 192.168.1.7 or fd00:1::/64");
    number = bits;
    if (prefix.n == 0 && address.n != in.n)
        return no(why_out, "has no prefix length after the slash");
    if (prefix.n > 0 && (!span_to_u64(prefix, &number) || number > bits))
        return no(why_out, "has no valid prefix length");
    out->prefix = (unsigned)number + 128 - bits;
    if (number == 0 || holds_all_v4(out))
        return no(why_out, "is everybody; name the networks your own machines are in");
    if (has_host_bits(out))
        return no(why_out,
            "has bits set behind its prefix; write the first address of the network, or a longer prefix");
    return true;
}

void
network_format(const struct network *n, struct buf *out)
{
    char text[INET6_ADDRSTRLEN];

    if (n->prefix >= 96 && memcmp(n->address.s6_addr, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, n->address.s6_addr + 12, text, sizeof text);
        buf_printf(out, "%s/%u", text, n->prefix - 96);
    } else {
        inet_ntop(AF_INET6, &n->address, text, sizeof text);
        buf_printf(out, "%s/%u", text, n->prefix);
    }
}

bool
network_is_private(const struct network *n)
{
    static const char *const ranges[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"};

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct network range;
        const char *why;

        sg_assert(network_parse(span_str(ranges[i]), &range, &why));
        if (lies_in(n, range.address.s6_addr, range.prefix))
            return true;
    }
    return false;
}
