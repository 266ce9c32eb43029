/* redis://[user@]host[:port][/database], unix:/path,
 * redis+sentinel://[user@]host[:port],.../master[/database],
 * redis+cluster://[user@]host[:port],... and with rediss instead of redis over TLS. */
#include <stdio.h>
#include <sys/un.h>

#include "relay/config/type.h"

struct scheme {
    const char *prefix;
    enum store_topology topology;
    bool tls;
    unsigned port;
};

static const struct scheme schemes[] = {
    {"redis://", STORE_ALONE, false, 6379},
    {"rediss://", STORE_ALONE, true, 6379},
    {"redis+sentinel://", STORE_SENTINEL, false, 26379},
    {"rediss+sentinel://", STORE_SENTINEL, true, 26379},
    {"redis+cluster://", STORE_CLUSTER, false, 6379},
    {"rediss+cluster://", STORE_CLUSTER, true, 6379},
};
#define SCHEMES (sizeof schemes / sizeof schemes[0])

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static bool
take_prefix(struct span *in, const char *prefix)
{
    struct span p = span_str(prefix);

    if (!span_starts_nocase(*in, p))
        return false;
    *in = span_from(*in, p.n);
    return true;
}

static int
parse_unix(struct draft *d, const struct node *v, struct span path, struct store_conf *conf)
{
    struct node at = *v;

    at.text = draft_keep(d, path.p);
    conf->target = draft_printf(d, "unix:%s", draft_path(d, &at));
    if (strlen(conf->target) - strlen("unix:") > SOCKET_PATH_MAX)
        return draft_fail(d, v,
            "url names a socket whose path is longer than the %d bytes one may have; move it",
            (int)SOCKET_PATH_MAX);
    return 0;
}

/* "host", "host:port", "[v6]:port" -> always with a port. NULL or what is wrong. */
static const char *
parse_target(struct span in, unsigned default_port, struct buf *out)
{
    bool has_port = in.n > 0 && in.p[in.n - 1] != ']' && span_find_byte(in, ':') >= 0;
    char text[300];
    struct span host;
    uint16_t port;
    const char *why;

    in = span_head(in, 270);
    if (has_port)
        snprintf(text, sizeof text, "%.*s", SPAN_FMT(in));
    else
        snprintf(text, sizeof text, "%.*s:%u", SPAN_FMT(in), default_port);
    why = type_split_port(span_str(text), &host, &port);
    if (!why && port == 0)
        why = "has port 0";
    if (!why && text[0] != '[')
        why = type_check_hostname(host);
    buf_add_str(out, text);
    return why;
}

static bool
holds(struct span list, struct span item)
{
    struct span one;

    while (list.n > 0) {
        list = span_cut(list, ',', &one);
        if (span_eq_nocase(one, item))
            return true;
    }
    return false;
}

/* Several of them, with commas between. One that stands there twice would have two voices. */
static const char *
parse_targets(struct span in, unsigned default_port, struct buf *out)
{
    struct span one;
    const char *why = NULL;
    size_t n = 0;

    do {
        size_t before = buf_len(out);
        struct span known, added;

        in = span_cut(in, ',', &one);
        if (++n > STORE_TARGETS_MAX)
            return "names more than 9 addresses";
        if (n > 1)
            buf_add_str(out, ",");
        why = parse_target(one, default_port, out);
        added = span_from(buf_span(out), before + (n > 1));
        known = span_head(buf_span(out), before);
        if (!why && holds(known, added))
            why = "names an address twice";
    } while (!why && in.n > 0);
    return why;
}

static const char *
parse_master(struct draft *d, struct span in, struct store_conf *conf)
{
    const char *why = in.n == 0 ? "has no name of a master after the addresses of the sentinels"
                                : type_check_name(in, "");

    if (!why)
        conf->master = arena_strdup(&d->conf.arena, in);
    return why;
}

static const char *
parse_user(struct draft *d, struct span in, struct store_conf *conf)
{
    if (span_find_byte(in, ':') >= 0)
        return "holds a password; put it into a file and name that in password_file";
    if (in.n == 0)
        return "has an empty user";
    conf->user = arena_strdup(&d->conf.arena, in);
    return NULL;
}

static const char *
parse_database(struct span in, struct store_conf *conf)
{
    uint64_t number = 0;

    if (in.n > 0 && (!span_to_u64(in, &number) || number > 65535))
        return "has no valid database number after the slash";
    conf->database = (unsigned)number;
    return NULL;
}

/* The complaint must not repeat a password that stands in the url. */
static int
bad_url(struct draft *d, const struct node *v, const char *why)
{
    return draft_fail(d, v, "url %s", why);
}

static const struct scheme *
take_scheme(struct span *in)
{
    for (size_t i = 0; i < SCHEMES; i++)
        if (take_prefix(in, schemes[i].prefix))
            return &schemes[i];
    return NULL;
}

/* What comes behind the scheme. NULL or what is wrong. */
static const char *
parse_rest(struct draft *d, const struct scheme *scheme, struct span in, struct store_conf *conf)
{
    bool is_many = scheme->topology != STORE_ALONE;
    struct span authority, database, user, host, master;
    struct buf targets;
    const char *why = NULL;

    database = span_cut(in, '/', &authority);
    host = span_cut(authority, '@', &user);
    if (user.n == authority.n)
        host = authority;
    else
        why = parse_user(d, user, conf);
    if (!why && scheme->topology == STORE_SENTINEL) {
        database = span_cut(database, '/', &master);
        why = parse_master(d, master, conf);
    }
    if (!why)
        why = parse_database(database, conf);
    if (!why && scheme->topology == STORE_CLUSTER && conf->database != 0)
        why = "names a database, and a cluster has only 0";
    buf_init(&targets);
    if (!why)
        why = is_many ? parse_targets(host, scheme->port, &targets)
                      : parse_target(host, scheme->port, &targets);
    conf->target = arena_strdup(&d->conf.arena, buf_span(&targets));
    buf_fini(&targets);
    return why;
}

TYPE_PARSER(type_parse_redis_url)
{
    struct store_conf *conf = field;
    const struct scheme *scheme;
    struct span in;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (take_prefix(&in, "unix:"))
        return in.n > 0 ? parse_unix(d, v, in, conf) : bad_url(d, v, "has no path after unix:");
    scheme = take_scheme(&in);
    if (!scheme)
        return bad_url(d, v,
            "must begin with redis://, redis+sentinel://, redis+cluster://, the same with rediss, or unix:");
    conf->topology = scheme->topology;
    conf->tls = scheme->tls;
    why = parse_rest(d, scheme, in, conf);
    return why ? bad_url(d, v, why) : 0;
}

TYPE_FORMATTER(type_format_redis_url)
{
    const struct store_conf *conf = field;

    (void)s;
    if (strncmp(conf->target, "unix:", 5) == 0) {
        buf_add_str(out, conf->target);
        return;
    }
    for (size_t i = 0; i < SCHEMES; i++)
        if (schemes[i].topology == conf->topology && schemes[i].tls == conf->tls)
            buf_add_str(out, schemes[i].prefix);
    buf_printf(out, "%s%s%s", conf->user ? conf->user : "", conf->user ? "@" : "", conf->target);
    if (conf->master)
        buf_printf(out, "/%s", conf->master);
    buf_printf(out, "/%u", conf->database);
}
