/* redis://[user@]host[:port][/database], rediss://..., unix:/path. */
#include <stdio.h>
#include <sys/un.h>

#include "relay/config/type.h"

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
parse_target(struct draft *d, struct span in, struct store_conf *conf)
{
    bool has_port = in.n > 0 && in.p[in.n - 1] != ']' && span_find_byte(in, ':') >= 0;
    char text[300];
    struct span host;
    uint16_t port;
    const char *why;

    snprintf(text, sizeof text, "%.*s%s", (int)(in.n < 270 ? in.n : 270), in.p, has_port ? "" : ":6379");
    why = type_split_port(span_str(text), &host, &port);
    if (!why && port == 0)
        why = "has port 0";
    if (!why && text[0] != '[')
        why = type_check_hostname(host);
    conf->target = draft_keep(d, text);
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

TYPE_PARSER(type_parse_redis_url)
{
    struct store_conf *conf = field;
    struct span in, authority, database, user, host;
    const char *why = NULL;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    if (take_prefix(&in, "sentinel://") || take_prefix(&in, "cluster://"))
        return bad_url(
            d, v, "asks for Sentinel or Cluster, which is not built yet; use redis://, rediss:// or unix:");
    if (take_prefix(&in, "unix:"))
        return in.n > 0 ? parse_unix(d, v, in, conf) : bad_url(d, v, "has no path after unix:");
    conf->tls = take_prefix(&in, "rediss://");
    if (!conf->tls && !take_prefix(&in, "redis://"))
        return bad_url(d, v, "must begin with redis://, rediss:// or unix:");
    database = span_cut(in, '/', &authority);
    host = span_cut(authority, '@', &user);
    if (user.n == authority.n)
        host = authority;
    else
        why = parse_user(d, user, conf);
    if (!why)
        why = parse_database(database, conf);
    if (!why)
        why = parse_target(d, host, conf);
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
    buf_printf(out, "%s://%s%s%s/%u", conf->tls ? "rediss" : "redis", conf->user ? conf->user : "",
        conf->user ? "@" : "", conf->target, conf->database);
}
