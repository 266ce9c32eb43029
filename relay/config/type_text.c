#include <arpa/inet.h>
#include <stdio.h>

#include "relay/base/ascii.h"
#include "relay/config/type.h"
#include "relay/config/units.h"

int
type_bad(struct draft *d, const struct setting *s, const struct node *v, const char *why)
{
    return draft_fail(d, v, "%s '%.100s' %s", s->key, v->text, why);
}

int
type_scalar(struct draft *d, const struct setting *s, const struct node *v, struct span *out)
{
    char expected[EXPECTED_MAX];

    if (v->kind != NODE_SCALAR)
        return draft_fail(d, v, "%s must be %s, not %s", s->key, setting_expects(s, expected),
            node_kind_to_str(v->kind));
    if (v->text[0] == '\0')
        return draft_fail(d, v, "%s has no value; it must be %s%s", s->key, setting_expects(s, expected),
            s->flags & SETTING_REQUIRED ? "" : ", or be left out");
    *out = node_span(v);
    return 0;
}

static int
keep(struct draft *d, const struct node *v, void *field)
{
    *(const char **)field = draft_keep(d, v->text);
    return 0;
}

/* Keeps the text with the bytes from offset on in lower case. */
static int
keep_lower(struct draft *d, struct span in, size_t offset, void *field)
{
    char *copy = arena_strdup(&d->conf.arena, in);

    for (size_t i = offset; i < in.n; i++)
        copy[i] = ascii_lower(copy[i]);
    *(const char **)field = copy;
    return 0;
}

const char *
type_check_name(struct span in, const char *also)
{
    if (in.n > 64 + (also[0] ? 190u : 0u))
        return "is too long for a name";
    if (!ascii_is_alnum(in.p[0]))
        return "is no name; names begin with a letter or digit";
    for (size_t i = 0; i < in.n; i++)
        if (!ascii_is_alnum(in.p[i]) && !strchr("._-", in.p[i]) && !(also[0] && strchr(also, in.p[i])))
            return "is no name; names are made of letters, digits, '.', '_' and '-'";
    return NULL;
}

const char *
type_check_hostname(struct span in)
{
    size_t label = 0;

    if (in.n == 0 || in.n > 253)
        return "is no host or domain name";
    for (size_t i = 0; i <= in.n; i++) {
        if (i == in.n || in.p[i] == '.') {
            if (label == 0)
                return "has an empty label (a dot too many)";
            if (label > 63 || in.p[i - label] == '-' || in.p[i - 1] == '-')
                return "has a label that is too long or begins or ends with '-'";
            label = 0;
        } else if ((unsigned char)in.p[i] >= 0x80) {
            return "is not ASCII; write the domain in its xn-- form";
        } else if (!ascii_is_alnum(in.p[i]) && in.p[i] != '-') {
            return "is no host or domain name";
        } else {
            label++;
        }
    }
    return NULL;
}

/* "contoso.com" or "*.contoso.com". The wildcard must leave two labels that are not everybody's. */
static const char *
check_domain(struct span in)
{
    bool wild = in.n > 2 && in.p[0] == '*' && in.p[1] == '.';
    struct span rest = wild ? span_from(in, 2) : in;
    const char *why = type_check_hostname(rest);

    if (why)
        return why;
    if (wild && (span_find_byte(rest, '.') < 0 || span_eq_nocase(rest, SPAN_LIT("onmicrosoft.com"))))
        return "covers domains of other people; name your own";
    return NULL;
}

static const char *
check_sender(struct span in, size_t *domain_at_out)
{
    ptrdiff_t at = -1;

    *domain_at_out = 0;
    if (span_eq(in, SPAN_LIT("*")))
        return NULL;
    for (size_t i = 0; i < in.n; i++) {
        if ((unsigned char)in.p[i] <= 0x20 || (unsigned char)in.p[i] >= 0x7f
            || strchr("<>,;:\\\"()[]", in.p[i]))
            return "is no sender; write \"@contoso.com\", scan@contoso.com or \"@*.contoso.com\"";
        if (in.p[i] == '@')
            at = (ptrdiff_t)i;
    }
    if (at < 0)
        return "has no '@'; write \"@contoso.com\" for every sender of a domain";
    if (at > 64 || span_find_byte(in, '@') != at || (at > 0 && span_find_byte(in, '*') >= 0))
        return "is no sender; write \"@contoso.com\", scan@contoso.com or \"@*.contoso.com\"";
    *domain_at_out = (size_t)at + 1;
    return check_domain(span_from(in, *domain_at_out));
}

const char *
type_split_port(struct span in, struct span *host_out, uint16_t *port_out)
{
    struct span port;
    uint64_t number;
    size_t colon = in.n;

    while (colon > 0 && in.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return "has no port; write host:port";
    *host_out = span_head(in, colon - 1);
    port = span_from(in, colon);
    if (!span_to_u64(port, &number) || number > 65535 || port.n > 5)
        return "has no valid port; write host:port, [IPv6]:port";
    *port_out = (uint16_t)number;
    if (host_out->n > 2 && host_out->p[0] == '[' && host_out->p[host_out->n - 1] == ']')
        *host_out = span_of(host_out->p + 1, host_out->n - 2);
    else if (span_find_byte(*host_out, ':') >= 0)
        return "is ambiguous; write [IPv6]:port";
    return host_out->n > 0 ? NULL : "has no host; write host:port";
}

/* Does the text spell an IP address? bracketed: only IPv6 may be one then, and only then. */
static bool
is_literal(struct span host, bool bracketed)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr scratch;

    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(bracketed ? AF_INET6 : AF_INET, text, &scratch) == 1;
}

TYPE_PARSER(type_parse_name)
{
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = type_check_name(in, "");
    return why ? type_bad(d, s, v, why) : keep(d, v, field);
}

TYPE_PARSER(type_parse_mailbox_name)
{
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = type_check_name(in, "@+");
    return why ? type_bad(d, s, v, why) : keep(d, v, field);
}

TYPE_PARSER(type_parse_text)
{
    struct span in;

    return type_scalar(d, s, v, &in) < 0 ? -1 : keep(d, v, field);
}

TYPE_PARSER(type_parse_hostname)
{
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = type_check_hostname(in);
    return why ? type_bad(d, s, v, why) : keep_lower(d, in, 0, field);
}

TYPE_PARSER(type_parse_domain)
{
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = check_domain(in);
    return why ? type_bad(d, s, v, why) : keep_lower(d, in, 0, field);
}

TYPE_PARSER(type_parse_sender)
{
    struct span in;
    const char *why;
    size_t domain_at;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = check_sender(in, &domain_at);
    return why ? type_bad(d, s, v, why) : keep_lower(d, in, domain_at, field);
}

TYPE_PARSER(type_parse_pin)
{
    struct span in;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (in.n != 64 || strspn(v->text, "0123456789abcdefABCDEF") != 64)
        return type_bad(d, s, v, "is no SHA-256: 64 hex digits without colons");
    return keep_lower(d, in, 0, field);
}

TYPE_PARSER(type_parse_host_port)
{
    struct span in, host;
    const char *why;
    uint16_t port;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = type_split_port(in, &host, &port);
    if (!why && port == 0)
        why = "has port 0";
    if (!why && !is_literal(host, in.p[0] == '['))
        why = in.p[0] == '[' ? "has no valid IPv6 address" : type_check_hostname(host);
    return why ? type_bad(d, s, v, why) : keep_lower(d, in, 0, field);
}

TYPE_PARSER(type_parse_listen)
{
    struct span in, host;
    const char *why;
    uint16_t port;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    why = type_split_port(in, &host, &port);
    if (!why && !is_literal(host, in.p[0] == '['))
        why = "is no IP address with port; write 0.0.0.0:25 or \"[::]:25\"";
    if (!why && port == 0)
        why = "has port 0; name the port";
    return why ? type_bad(d, s, v, why) : keep_lower(d, in, 0, field);
}

TYPE_PARSER(type_parse_path)
{
    struct span in;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    *(const char **)field = draft_path(d, v);
    return 0;
}

TYPE_PARSER(type_parse_file)
{
    struct span in;

    return type_scalar(d, s, v, &in) < 0 ? -1 : draft_check_file(d, v, false, field);
}

TYPE_PARSER(type_parse_key_file)
{
    struct span in;

    return type_scalar(d, s, v, &in) < 0 ? -1 : draft_check_file(d, v, true, field);
}

TYPE_PARSER(type_parse_secret)
{
    struct span in;

    return type_scalar(d, s, v, &in) < 0 ? -1 : draft_read_secret(d, v, field);
}

TYPE_FORMATTER(type_format_text)
{
    const char *text = *(const char *const *)field;

    (void)s;
    buf_add_str(out, text ? text : "");
}

TYPE_FORMATTER(type_format_secret)
{
    (void)s;
    buf_add_str(out, *(const char *const *)field ? "***" : "");
}
