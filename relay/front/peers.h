/* peers: what is remembered of each address that connects: open connections, their rate, failed logins,
 * refusals.
 *
 * IPv4 addresses stand for themselves, IPv6 ones for their /64, since that is what one subscriber has. The
 * table is bounded: past PEERS_MAX addresses newcomers share one entry. */
#ifndef SENDGOV_FRONT_PEERS_H
#define SENDGOV_FRONT_PEERS_H

#include <netinet/in.h>

#include "relay/base/table.h"

#define PEERS_MAX 65536
#define PEERS_AUTH_WINDOW_MS (10 * 60 * 1000)
#define PEERS_QUIET_MS (10 * 1000) /* refusals of one kind: one line per so long, the others are counted */
#define PEERS_KINDS 8              /* of one address that are told apart; those beyond share the last */

/* Refusals of one address for one reason and one client. */
struct peer_quiet {
    uint32_t kind;
    uint32_t unlogged;      /* since the last line */
    int64_t logged_mono_ms; /* the last line, 0: none */
};

struct peer {
    unsigned char key[16];
    uint32_t connections;
    int64_t rate_mono_ms;       /* GCRA: when the next connection would be in time */
    uint32_t auth_failures;     /* since: */
    int64_t auth_since_mono_ms;
    struct peer_quiet quiet[PEERS_KINDS];
};

struct peers {
    struct table table;
    struct peer crowd; /* those beyond PEERS_MAX */
    size_t sweep_at;   /* entries at which the idle ones are dropped */
};

void peers_init(struct peers *p);
void peers_fini(struct peers *p);
/* The entry of an address; NULL address: the crowd's. Valid while it has connections, and otherwise until the
 * next call. */
struct peer *peers_get(struct peers *p, const struct in6_addr *address, int64_t now_mono_ms);

/* Takes one connection off the rate; false when it comes too early. */
bool peer_take_rate(struct peer *peer, uint32_t per_minute, uint32_t burst, int64_t now_mono_ms);
void peer_auth_failed(struct peer *peer, int64_t now_mono_ms);
uint32_t peer_auth_failures(const struct peer *peer, int64_t now_mono_ms);
/* May a refusal for this reason, of this client ("": none), be logged now? Then *unlogged_out says how many
 * of those that share its line were not since the last one. */
bool peer_log_refusal(struct peer *peer, const char *why, const char *client, int64_t now_mono_ms,
    uint32_t *unlogged_out);

#endif
