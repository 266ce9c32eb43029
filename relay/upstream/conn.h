/* conn: one upstream connection, from the dial to its end. It executes what the client machine decides,
 * lets bodies flow with back-pressure, and keeps the deadlines.
 *
 * Owned by its pool. Whoever leased it holds the pointer until upstream_send or upstream_release, so a
 * leased connection that dies stays, as CONN_DEAD, until then. */
#ifndef SENDGOV_UPSTREAM_CONN_H
#define SENDGOV_UPSTREAM_CONN_H

#include "relay/net/dial.h"
#include "relay/net/stream.h"
#include "relay/upstream/upstream.h"
#include "relay/smtp/client.h"

struct pool;

enum conn_state {
    CONN_DIALING,  /* name and TCP */
    CONN_LOGIN,    /* banner to AUTH */
    CONN_IDLE,     /* in the pool */
    CONN_LEASED,   /* given out, nothing sent yet */
    CONN_DEAD,     /* given out, and closed since */
    CONN_BUSY,     /* a transaction runs */
    CONN_TIDYING,  /* outcome told, RSET under way */
    CONN_QUITTING, /* QUIT sent */
    CONN_CLOSED,   /* to be freed when the turn ends */
    CONN_STATE_COUNT,
};

/* What we know of the other side when we close: when may another node have the slot? */
enum conn_end {
    CONN_END_KNOWN,  /* it closed, said it would, or never was: at once */
    CONN_END_LIKELY, /* it was alive a moment ago and will see our FIN: soon */
    CONN_END_SILENT, /* it did not answer: after its own idle cut */
};

enum pump_state { PUMP_OFF, PUMP_PREFIX, PUMP_BODY, PUMP_WRITTEN };

/* The body on its way to the stream. */
struct pump {
    enum pump_state state;
    uint64_t at;          /* of the body, next to be read */
    uint64_t written;     /* bytes given to the stream */
    uint64_t gone;        /* bytes that had left it when last looked at */
    int64_t gone_mono_ms; /* when that last grew */
};

struct upstream_conn {
    struct list link;
    struct pool *pool;
    enum conn_state state;
    enum conn_end end;
    bool has_slot;
    uint64_t slot;
    int64_t begun_mono_ms;  /* the dial */
    int64_t opened_mono_ms; /* TCP is up */
    int64_t rests_mono_ms;  /* CONN_IDLE: since when */
    struct handle dial;
    struct stream *stream;
    struct timer deadline;
    struct client client;
    struct upstream_caps caps;
    struct pump pump;
    const struct transaction *tx;
    struct tx_recipient *recipients;
    upstream_send_fn *done;
    void *done_arg;
    struct task refuse; /* upstream_send on a dead connection answers at the end of the turn */
    struct corpse corpse;
};

/* slot NULL: none was needed. */
void conn_open(struct pool *pool, const uint64_t *slot);
/* IDLE -> LEASED */
void conn_lease(struct upstream_conn *c);
/* From READY: says good-bye, waits a little for the answer. */
void conn_quit(struct upstream_conn *c);
/* At once, without a word. Nobody is told. */
void conn_close(struct upstream_conn *c);

/* conn_body.c. False: the body cannot be read. */
bool pump_run(struct upstream_conn *c);
void pump_start(struct upstream_conn *c);
/* Looks at what left since; true: nothing did for block_ms. */
bool pump_is_stuck(struct upstream_conn *c);
/* Of the whole message nothing waits in the stream any more. */
bool pump_is_through(const struct upstream_conn *c);

#endif
