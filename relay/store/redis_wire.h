/* redis_wire: one connection that speaks RESP, to a Redis or to a Sentinel.
 *
 * Dials (TCP or unix socket), does TLS where it is told to, and shows whole replies one by one, bounded by
 * resp_guard before the RESP reader of hiredis sees them. What the replies belong to, deadlines of commands
 * and a new try after the end are the owner's. The owner embeds it. Callbacks come from the loop, never
 * during a call of these functions; each of them may close the wire. */
#ifndef SENDGOV_STORE_REDIS_WIRE_H
#define SENDGOV_STORE_REDIS_WIRE_H

#include "policy/charge.h"
#include "relay/base/slots.h"
#include "relay/base/span.h"
#include "relay/net/loop.h"
#include "relay/store/resp_guard.h"

struct dialer;
struct redisReader;
struct redisReply;
struct stream;
struct tls_ctx;

struct redis_wire_ops {
    void (*on_open)(void *arg); /* connected, and secured where that was asked for */
    void (*on_reply)(void *arg, const struct redisReply *reply);
    /* It is closed. Not after redis_wire_close. detail: for people, without secrets. */
    void (*on_broken)(void *arg, enum store_error error, const char *detail);
};

struct redis_wire {
    struct loop *loop;
    struct dialer *dialer;
    struct tls_ctx *tls; /* the owner's; NULL: plain */
    const struct redis_wire_ops *ops;
    void *arg;
    struct handle dial;
    struct stream *stream;
    struct redisReader *reader;
    struct resp_guard guard;
    struct timer handshake; /* deadline of the TLS handshake */
    int connect_ms;
    char host[256]; /* as the certificate must name it */
};

void redis_wire_init(struct redis_wire *w, struct loop *loop, struct dialer *dialer, struct tls_ctx *tls,
    const struct redis_wire_ops *ops, void *arg);
void redis_wire_fini(struct redis_wire *w);
/* target: "redis.example:6379", "[::1]:6379" or "unix:/path"; each address and the handshake have
 * connect_ms. The wire must be closed. */
void redis_wire_dial(struct redis_wire *w, const char *target, int connect_ms);
/* Idempotent. */
void redis_wire_close(struct redis_wire *w);
/* Only while it is open. */
void redis_wire_write(struct redis_wire *w, struct span bytes);
/* A command of at most REDIS_WIRE_WORDS words, wiped from memory here once written: it may be AUTH. */
#define REDIS_WIRE_WORDS 8
void redis_wire_say(struct redis_wire *w, int argc, const char **argv);
/* Bytes Redis has not taken. */
size_t redis_wire_queued(const struct redis_wire *w);

#endif
