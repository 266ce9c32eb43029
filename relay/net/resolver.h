/* resolver: names to addresses with c-ares, for dial. */
#ifndef SENDGOV_NET_RESOLVER_H
#define SENDGOV_NET_RESOLVER_H

#include "relay/base/err.h"
#include "relay/net/addr.h"
#include "relay/net/loop.h"

struct resolver;
struct resolver_query;

/* Addresses tried per name. */
#define RESOLVER_ADDRS_MAX 5

/* n = 0: error says why. */
typedef void resolver_done_fn(void *arg, const struct net_addr *addrs, size_t n, const char *error);

struct resolver *resolver_new(struct loop *loop, struct err *err);
/* After everybody who asked has forgotten or been answered. */
void resolver_free(struct resolver **r);
/* done exactly once, never during the call, unless forgotten. The addresses carry `port`. /etc/hosts
 * counts. */
struct resolver_query *resolver_ask(struct resolver *r, const char *name, uint16_t port,
    resolver_done_fn *done, void *arg);
void resolver_forget(struct resolver_query **q);
/* "127.0.0.1:5353" instead of the system's servers. For tests. */
int resolver_set_servers(struct resolver *r, const char *servers);

#endif
