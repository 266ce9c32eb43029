/* governor: what a charge costs Redis. One program, in two parts: this one asks Redis in bytes it has put
 * together before (governor_raw.c), the other through the store that the daemon uses (governor_store.c).
 * Both ask the same: 8 limits over route, mailbox, client and sender, one sender after the other. */
#ifndef SENDGOV_BENCH_GOVERNOR_H
#define SENDGOV_BENCH_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "policy/charge.h"

#define GOVERNOR_NODES_MAX 16
#define GOVERNOR_GROUP "bench"

struct governor {
    const char *socket, *folder; /* of redis-server; for the nodes' state */
    int server_pid;
    uint32_t step; /* of the warm-up */
};

/* What a run found. */
struct governor_result {
    uint64_t ops, wall_ns, server_ns;
    uint64_t p50_us, p99_us; /* of one question, from asking it to its answer */
    uint64_t request_bytes, reply_bytes;
};

/* What the message of this sender is charged. */
void governor_request(const struct governor *g, uint64_t sender, struct charge_request *out);
const struct limit_conf *governor_limits(size_t *n_out);
/* CPU time of the server's main thread so far. */
uint64_t governor_server_ns(const struct governor *g);
uint64_t governor_now_ns(void);
_Noreturn void governor_die(const char *what, const char *detail);

/* Opens so many nodes until they may charge; they are closed again. Afterwards the group exists. */
void governor_store_begin(const struct governor *g, unsigned nodes);
/* `ops` charges, for senders 0 .. senders - 1 in turn; each node has `depth` of them under way. */
void governor_store_run(const struct governor *g, unsigned nodes, unsigned depth, uint64_t ops,
    uint64_t senders, struct governor_result *out);

enum raw_what {
    RAW_CHARGE, /* charge.lua */
    RAW_TOUCH,  /* a script with the same keys and arguments that reads and writes what a charge does */
    RAW_STATES, /* GET and SET of the packed counters, by a script */
    RAW_INCR,   /* INCR of one key per sender */
    RAW_AGE,    /* not measured: makes counters as if their last charge were some time ago */
    RAW_COUNT,
};
struct raw_run {
    enum raw_what what;
    unsigned nodes, depth;
    uint64_t ops, senders;
    uint64_t idle_ms; /* RAW_AGE: since the last charge of the sender */
    bool full;        /* RAW_AGE: every bucket of every window holds something, else the last only */
};
void governor_raw_run(const struct governor *g, const struct raw_run *run, struct governor_result *out);

#endif
