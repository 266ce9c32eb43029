/* dial: from "host:port" (or "unix:/path") to a connected descriptor.
 *
 * Resolves with c-ares (numeric addresses and /etc/hosts included), tries at most 5 addresses one after
 * the other, IPv6 and IPv4 as the resolver orders them, each within its deadline and all within the
 * total. Exactly one completion, never during dial_start; none after dial_cancel. */
#ifndef SENDGOV_NET_DIAL_H
#define SENDGOV_NET_DIAL_H

#include "relay/base/slots.h"
#include "relay/net/addr.h"
#include "relay/net/loop.h"
#include "relay/net/resolver.h"

struct dialer;

struct dial_result {
    int fd;             /* -1 on failure */
    struct net_addr peer; /* of the address that answered */
    const char *error;  /* "x:587 does not resolve: ...", "connect to 192.0.2.1:587: timed out"; else "" */
};

typedef void dial_done_fn(void *arg, const struct dial_result *result);

#define DIAL_ADDRESS_MS 15000
#define DIAL_TOTAL_MS 30000

struct dialer *dialer_new(struct loop *loop, struct resolver *resolver);
/* Cancels what is under way. To be freed before its resolver. */
void dialer_free(struct dialer **d);
/* target as "smtp.office365.com:587", "127.0.0.1:25", "[::1]:25" or "unix:/run/redis.sock". */
struct handle dial_start(struct dialer *d, const char *target, int address_ms, int total_ms,
    dial_done_fn *done, void *arg);
void dial_cancel(struct dialer *d, struct handle h);

#endif
