/* listener: accepts connections on one address, and rests when the process is full.
 *
 * Accepts up to a small batch per turn. On EMFILE/ENFILE it uses a spare descriptor to take and close one
 * connection and pauses 100 ms, so a full process neither spins nor leaves peers hanging. */
#ifndef SENDGOV_NET_LISTENER_H
#define SENDGOV_NET_LISTENER_H

#include "relay/base/err.h"
#include "relay/net/addr.h"
#include "relay/net/loop.h"

struct listener;

/* owner takes fd (non-blocking, close-on-exec). */
typedef void listener_accept_fn(void *arg, int fd, const struct net_addr *peer,
    const struct net_addr *local);

/* address: "192.0.2.1:25", "[::1]:25" ("[::]:25" is v6 only), or "unix:/path". */
struct listener *listener_open(struct loop *loop, const char *address, listener_accept_fn *on_accept,
    void *arg, struct err *err);
/* Takes over a listening descriptor (reload keeps unchanged addresses; socket activation). */
struct listener *listener_adopt(struct loop *loop, int fd, const char *address,
    listener_accept_fn *on_accept, void *arg, struct err *err);
void listener_close(struct listener **l);
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);
const char *listener_address(const struct listener *l);
int listener_fd(const struct listener *l);

#endif
