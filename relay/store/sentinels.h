/* sentinels: which Redis is the master, by the word of its Sentinels.
 *
 * Every one of the configured Sentinels is asked twice a second, each over a connection of its own. Only what
 * more than half of all configured say is believed, and each answer only for SENTINELS_FRESH_MS from when it
 * was asked for. A majority that names a new master cannot name the old one again (their configuration epoch
 * only grows), and two majorities share a Sentinel: so FRESH_MS after one node went to the new master no
 * other node can still believe in the old one, whatever was partitioned from whom. That is what the counters
 * at the new master wait for (redis_link_others_ms).
 *
 * Where the majority is away, there is no master: stricter than clients of Sentinel usually are, but a node
 * that cannot hear of a failover could charge where nobody counts any more. */
#ifndef SENDGOV_STORE_SENTINELS_H
#define SENDGOV_STORE_SENTINELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/store/redis_address.h"
#include "relay/store/store_conf.h"

#define SENTINELS_FRESH_MS 2000

struct dialer;
struct loop;
struct sentinels;
struct tls_ctx;

/* What one Sentinel said last. */
struct sentinel_word {
    char master[REDIS_ADDRESS_MAX]; /* "host:port"; "": nothing */
    int64_t asked_mono_ms;
};
/* The first of the n words whose master more than half of them name, freshly; -1: there is none. */
int sentinels_majority(const struct sentinel_word *words, size_t n, int64_t now_mono_ms);

/* Asks until it is freed; on_change(arg), from the loop: sentinels_master gives another answer than before.
 * conf and tls (NULL: plain) must live as long. */
struct sentinels *sentinels_new(struct loop *loop, struct dialer *dialer, const struct store_conf *conf,
    struct tls_ctx *tls, void (*on_change)(void *arg), void *arg);
void sentinels_free(struct sentinels **s);
/* "host:port", good until the next turn; NULL: there is no majority for any. */
const char *sentinels_master(const struct sentinels *s);
/* Some have neither answered nor failed yet, since it was made. */
bool sentinels_are_new(const struct sentinels *s);
/* Why there is no master, for people. */
void sentinels_explain(const struct sentinels *s, char *out, size_t size);

#endif
