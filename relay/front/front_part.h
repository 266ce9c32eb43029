/* front_part: what the files of front share. Private. */
#ifndef SENDGOV_FRONT_FRONT_PART_H
#define SENDGOV_FRONT_FRONT_PART_H

#include "relay/base/blob.h"
#include "relay/front/front.h"
#include "relay/front/peers.h"
#include "relay/front/verify.h"
#include "relay/net/listener.h"
#include "relay/net/loop.h"
#include "relay/smtp/server.h"

/* One listener of one configuration. */
struct front_listener {
    const struct listener_conf *conf;
    struct tls_ctx *tls; /* NULL: no TLS here */
    struct server_conf server;
};

/* All that a configuration gives to the front; sessions hold a reference to the one they are under. */
struct generation {
    unsigned references;
    struct config *config;
    struct users *users; /* NULL: no logins */
    struct front_listener *listeners;
    size_t n_listeners;
};

/* One listening address; lives on over reloads as long as the configuration names it. */
struct front_socket {
    struct list link;
    struct front *front;
    struct listener *listener;
    char *address;
    const struct front_listener *in_force; /* of front->generation */
    unsigned connections;
};

enum front_state {
    FRONT_OPEN,
    FRONT_WAITING,  /* nobody is let in yet */
    FRONT_RETIRING, /* no new connections; sessions end when they are silent */
    FRONT_DRAINING, /* no new connections; sessions end after their message */
};

struct front {
    struct loop *loop;
    struct worker *worker;
    struct flow *flow;
    struct metrics *metrics;
    struct inherited *inherited;
    enum front_state state;
    struct generation *generation; /* in force; NULL before the first commit */
    struct list sockets, sessions;
    struct slots handles; /* of sessions, for what is answered later */
    size_t n_sessions, n_strangers; /* strangers: without an identity so far */
    struct peers peers;
    struct verify *verify;
    struct buf out; /* replies of the session that is being served; empty between calls */
    struct timer retire; /* RETIRING: who is silent now? */
    int64_t retire_until_mono_ms;
    int drain_ms; /* what comes after RETIRING has so long */
    struct timer drain_deadline;
    struct task drained;
    void (*drain_done)(void *arg);
    void *drain_arg;
};

/* ---- plan.c ---- */
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation **g);
const struct front_listener *generation_listener(const struct generation *g, const char *name);
/* SIZE and 8BITMIME follow what the upstreams were last seen to take. */
void front_refresh_offers(struct front *f);

/* ---- accept.c ---- */
void front_on_accept(void *arg, int fd, const struct net_addr *peer, const struct net_addr *local);

/* v4 as v4-mapped v6. False: the peer has no IP address. */
bool front_address_of(const struct net_addr *peer, struct in6_addr *out);

/* ---- front.c ---- */
void front_session_gone(struct front *f);
/* A refusal that is about no message. */
struct front_refusal {
    struct peer *peer;
    const char *peer_text, *session_id, *listener;
    const char *client; /* "": no identity */
    const char *why;    /* a word of a fixed set */
    const char *text;
};
/* Counted always, logged once per address, client, reason and while. */
void front_count_refusal(struct front *f, const struct front_refusal *r);

static inline const struct front_conf *
front_conf_of(const struct front *f)
{
    return &f->generation->config->front;
}

#endif
