/* The door: who may connect at all. What is refused here costs one write and no session. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "relay/base/log.h"
#include "relay/front/front_part.h"
#include "relay/front/identity.h"
#include "relay/front/session.h"

#define RESERVED_DESCRIPTORS 32

bool
front_address_of(const struct net_addr *peer, struct in6_addr *out)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (peer->ss.ss_family == AF_INET) {
        memcpy(&v4, &peer->ss, sizeof v4);
        memset(out, 0, sizeof *out);
        out->s6_addr[10] = out->s6_addr[11] = 0xff;
        memcpy(out->s6_addr + 12, &v4.sin_addr, 4);
        return true;
    }
    if (peer->ss.ss_family != AF_INET6)
        return false;
    memcpy(&v6, &peer->ss, sizeof v6);
    *out = v6.sin6_addr;
    return true;
}

/* The last descriptors are not for clients: the upstream, Redis, bodies on disk and the operator need them.
 * The kernel gives the lowest free number, so the number says how many are in use. */
static bool
is_reserved(int fd)
{
    struct rlimit limit;
    rlim_t reserve = RESERVED_DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    if (reserve > limit.rlim_cur / 4)
        reserve = limit.rlim_cur / 4;
    return (rlim_t)fd >= limit.rlim_cur - reserve;
}

/* Why this connection may not come in; NULL: it may. Each reason is also a label of the metric. */
static const char *
refusal(struct front *f, const struct front_listener *l, struct peer *peer, const struct in6_addr *address,
    bool plain_talk, int fd)
{
    const struct front_conf *c = front_conf_of(f);
    struct identity_facts facts = {address, NULL, NULL};
    char byte;

    if (f->n_sessions >= c->connections_max)
        return "connections";
    if (is_reserved(fd))
        return "descriptors";
    if (peer->connections >= c->connections_per_ip)
        return "connections-per-ip";
    if (!peer_take_rate(peer, c->connection_rate_per_minute, c->connection_rate_burst, loop_now_ms(f->loop)))
        return "connection-rate";
    if (f->n_strangers >= c->unauthenticated_max &&
        identity_find(f->generation->config, l->conf, &facts) == NULL)
        return "unauthenticated";
    if (plain_talk && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return "early-talk";
    return NULL;
}

/* What the client said already is read, so that the close does not become a reset that takes our reply with
 * it. */
static void
turn_away(int fd, bool plain_talk, const char *why)
{
    static const char busy[] = "421 4.7.0 Too many connections; try again later\r\n";
    static const char early[] = "554 5.5.0 Synchronisation error: wait for the banner\r\n";
    bool is_early = strcmp(why, "early-talk") == 0;
    char said[4096];
    ssize_t n = 0;

    if (is_early)
        n = recv(fd, said, sizeof said, MSG_DONTWAIT);
    if (plain_talk && n >= 0)
        n = send(fd, is_early ? early : busy, (is_early ? sizeof early : sizeof busy) - 1,
            MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

void
front_on_accept(void *arg, int fd, const struct net_addr *peer, const struct net_addr *local)
{
    struct front_socket *socket = arg;
    struct front *f = socket->front;
    const struct front_listener *l = socket->in_force;
    struct in6_addr address;
    bool has_address = front_address_of(peer, &address), plain_talk = l->conf->tls != FRONT_TLS_IMPLICIT;
    struct peer *entry = peers_get(&f->peers, has_address ? &address : NULL, loop_now_ms(f->loop));
    const char *why = refusal(f, l, entry, has_address ? &address : NULL, plain_talk, fd);

    (void)local;
    if (why != NULL) {
        front_count_refusal(f, &(struct front_refusal){.peer = entry, .peer_text = peer->text,
            .session_id = "", .listener = l->conf->name, .client = "", .why = why,
            .text = "connection refused"});
        turn_away(fd, plain_talk, why);
        return;
    }
    entry->connections++;
    front_refresh_offers(f);
    session_open(socket, fd, peer, entry);
}
