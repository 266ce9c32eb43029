/* redis_link: one connection to Redis and the commands under way on it.
 *
 * hiredis is used as the codec only; bytes travel over our stream (TCP, unix socket, TLS). After connecting:
 * AUTH, SELECT, a look at INFO (version, persistence, eviction, role), SCRIPT LOAD of every script; only then
 * on_up. The look at INFO is repeated as often as the owner asks for it. Every command has a deadline; when
 * one misses its own, the connection is dropped with everything under way, so no late reply can ever be taken
 * for another's. A script that Redis forgot (NOSCRIPT) is loaded and asked again once, unseen. Reconnects by
 * itself, after 50 ms doubling to 0.5 s (so that mail moves within 2 s of Redis' return).
 *
 * Where Sentinels are configured, it is connected to the master they name, and to nothing while they name
 * none (sentinels.h). In a cluster it is connected to the node that has the group's slot: MOVED and ASK are
 * followed by a new connection.
 *
 * Callbacks come from the loop, never during link_send. */
#ifndef SENDGOV_STORE_REDIS_LINK_H
#define SENDGOV_STORE_REDIS_LINK_H

#include "relay/base/err.h"
#include "relay/base/slots.h"
#include "relay/store/store_codec.h"
#include "relay/store/store_conf.h"

struct redis_link;
struct redisReply;
struct loop;
struct dialer;
struct metrics;
struct tls_ctx;

/* reply: NULL unless error is STORE_OK. */
typedef void link_reply_fn(void *arg, const struct redisReply *reply, enum store_error error);

struct redis_link_ops {
    void (*on_up)(void *arg);
    /* Also when an attempt to connect failed. detail: for people, without secrets. After it every command
     * under way was answered. */
    void (*on_down)(void *arg, enum store_error error, const char *detail);
};

struct redis_link_setup {
    struct loop *loop;
    struct dialer *dialer;
    struct metrics *metrics; /* may be NULL */
};

/* All that can fail: loads what conf says about TLS. -1: it is bad; *tls_out NULL: without TLS. */
int redis_link_load_tls(const struct store_conf *conf, struct tls_ctx **tls_out, struct err *err);
/* Starts to connect. conf and what it points to must live as long as the link; tls is the
 * link's from now on. */
struct redis_link *redis_link_new(const struct redis_link_setup *setup, const struct store_conf *conf,
    struct tls_ctx *tls, const struct redis_link_ops *ops, void *arg);
/* The one exception to "never during a call": what is under way is answered STORE_DOWN now, so that its
 * owners can free it. */
void redis_link_free(struct redis_link **link);
/* Closes it; what is under way is answered STORE_DOWN at the end of the turn, then it is freed. on_down
 * is not called. */
void redis_link_retire(struct redis_link **link);
/* False: not up, or too much is queued; then done is not called. deadline_ms from now. */
bool redis_link_send(struct redis_link *link, struct command *c, int64_t deadline_ms, link_reply_fn *done,
    void *arg);
bool redis_link_is_up(const struct redis_link *link);
/* Asks Redis once more whether it may be trusted with the counters: its role and its settings may have been
 * changed since. If not, the connection is dropped with everything under way. Nothing when it is not up. */
void redis_link_recheck(struct redis_link *link, int64_t deadline_ms);
/* So long after this node went to another Redis, others may still take the former for the right one. 0: all
 * hear of it at once, as their connections break. */
uint64_t redis_link_others_ms(const struct redis_link *link);
/* What tells the Redis at the other end from others; good while it is up. "": it does not say. */
const char *redis_link_server(const struct redis_link *link);
/* Text of the last error reply, for people. */
const char *redis_link_error_text(const struct redis_link *link);
/* Drops the connection, as after a missed deadline. */
void redis_link_drop(struct redis_link *link, enum store_error error, const char *detail);

#endif
