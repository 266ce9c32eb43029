#include "relay/front/peers.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"

#define SWEEP_FIRST 1024

void
peers_init(struct peers *p)
{
    memset(p, 0, sizeof *p);
    table_init(&p->table, siphash_key_random());
    p->sweep_at = SWEEP_FIRST;
}

static bool
drop_any(void *arg, struct span key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

void
peers_fini(struct peers *p)
{
    table_sweep(&p->table, drop_any, NULL);
    table_fini(&p->table);
}

static bool
is_quiet(const struct peer_quiet *q, int64_t now_mono_ms)
{
    return q->logged_mono_ms != 0 && now_mono_ms - q->logged_mono_ms < PEERS_QUIET_MS;
}

/* Nothing is lost with an entry that would begin anew with the same values. */
static bool
drop_idle(void *arg, struct span key, void *value)
{
    const struct peer *peer = value;
    int64_t now = *(const int64_t *)arg;

    (void)key;
    if (peer->connections > 0 || peer->rate_mono_ms > now || peer_auth_failures(peer, now) > 0)
        return false;
    for (size_t i = 0; i < PEERS_KINDS; i++)
        if (is_quiet(&peer->quiet[i], now))
            return false;
    free(value);
    return true;
}

static void
sweep(struct peers *p, int64_t now_mono_ms)
{
    table_sweep(&p->table, drop_idle, &now_mono_ms);
    p->sweep_at = 2 * table_count(&p->table);
    if (p->sweep_at < SWEEP_FIRST)
        p->sweep_at = SWEEP_FIRST;
}

static void
make_key(const struct in6_addr *address, unsigned char key[16])
{
    memcpy(key, address->s6_addr, 16);
    if (!IN6_IS_ADDR_V4MAPPED(address))
        memset(key + 8, 0, 8);
}

struct peer *
peers_get(struct peers *p, const struct in6_addr *address, int64_t now_mono_ms)
{
    unsigned char key[16];
    struct peer *peer;

    if (address == NULL)
        return &p->crowd;
    make_key(address, key);
    peer = table_get(&p->table, span_of((const char *)key, sizeof key));
    if (peer != NULL)
        return peer;
    if (table_count(&p->table) >= p->sweep_at)
        sweep(p, now_mono_ms);
    if (table_count(&p->table) >= PEERS_MAX)
        return &p->crowd;
    peer = xcalloc(1, sizeof *peer);
    memcpy(peer->key, key, sizeof key);
    table_put(&p->table, span_of((const char *)key, sizeof key), peer);
    return peer;
}

/* GCRA in milliseconds: the burst is how far the next due time may lie ahead. */
bool
peer_take_rate(struct peer *peer, uint32_t per_minute, uint32_t burst, int64_t now_mono_ms)
{
    int64_t step_ms = 60000 / (int64_t)per_minute;
    int64_t due = peer->rate_mono_ms > now_mono_ms ? peer->rate_mono_ms : now_mono_ms;

    if (due - now_mono_ms > step_ms * ((int64_t)burst - 1))
        return false;
    peer->rate_mono_ms = due + step_ms;
    return true;
}

uint32_t
peer_auth_failures(const struct peer *peer, int64_t now_mono_ms)
{
    return now_mono_ms - peer->auth_since_mono_ms < PEERS_AUTH_WINDOW_MS ? peer->auth_failures : 0;
}

void
peer_auth_failed(struct peer *peer, int64_t now_mono_ms)
{
    if (peer_auth_failures(peer, now_mono_ms) == 0) {
        peer->auth_failures = 0;
        peer->auth_since_mono_ms = now_mono_ms;
    }
    peer->auth_failures++;
}

static uint32_t
hash_word(uint32_t hash, const char *word)
{
    for (const char *p = word; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    return (hash ^ 0xff) * 16777619u;
}

/* FNV-1a: kinds that collide only share their line. The place of a kind that was not seen for long goes to
 * the next one; while all are taken, what is new shares the last one: no variety of refusals
 * fills the log. */
static struct peer_quiet *
quiet_of(struct peer *peer, uint32_t kind, int64_t now_mono_ms)
{
    struct peer_quiet *q = NULL;

    for (size_t i = 0; i < PEERS_KINDS; i++) {
        if (peer->quiet[i].kind == kind && peer->quiet[i].logged_mono_ms != 0)
            return &peer->quiet[i];
        if (q == NULL && !is_quiet(&peer->quiet[i], now_mono_ms))
            q = &peer->quiet[i];
    }
    if (q == NULL)
        return &peer->quiet[PEERS_KINDS - 1];
    q->kind = kind;
    return q;
}

bool
peer_log_refusal(struct peer *peer, const char *why, const char *client, int64_t now_mono_ms,
    uint32_t *unlogged_out)
{
    struct peer_quiet *q = quiet_of(peer, hash_word(hash_word(2166136261u, why), client), now_mono_ms);

    if (is_quiet(q, now_mono_ms)) {
        q->unlogged++;
        return false;
    }
    *unlogged_out = q->unlogged;
    q->unlogged = 0;
    q->logged_mono_ms = now_mono_ms;
    return true;
}
