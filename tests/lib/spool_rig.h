/* spool_rig: what a test of the spool stands on: a real loop, a folder of its own, messages that can be told
 * apart, and the last answer. set_up and tear_down are cmocka's. */
#ifndef SENDGOV_TESTS_SPOOL_RIG_H
#define SENDGOV_TESTS_SPOOL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/metric.h"
#include "relay/net/loop.h"
#include "relay/spool/spool.h"

#define RIG_BRIEFS 4096

struct spool_rig {
    struct loop *loop;
    struct metrics *metrics;
    struct blob_pool *pool;
    struct spool *spool;
    struct spool_conf conf;
    char base[64], folder[96];
    /* found and changed */
    struct spool_brief found[RIG_BRIEFS]; /* of their strings nothing is kept */
    char found_client[32];
    size_t n_found, n_changed;
    /* answers */
    size_t answers, wanted;
    enum spool_result result, results[RIG_BRIEFS];
    struct spool_message *taken; /* the rig's */
    uint64_t seqs[RIG_BRIEFS];   /* listed or ordered */
    size_t n_seqs, busy;
    int64_t due_utc_ms;          /* of the first brief */
    bool more;
};

int rig_set_up(void **state);
/* The same in memory where there is such a file system: for tests that open very many spools. */
int rig_set_up_fast(void **state);
int rig_tear_down(void **state);
/* Opens the spool, which another process may have and will give up. */
void rig_start(struct spool_rig *r, bool inherits);
/* Opens the spool and waits until its state is no longer LOADING. */
void rig_open(struct spool_rig *r);
/* Closes it; what was asked before is on disk then. */
void rig_close(struct spool_rig *r);
/* Turns the loop until as many answers came as were asked for. */
void rig_wait(struct spool_rig *r);
void rig_wait_state(struct spool_rig *r, enum spool_state state);

/* Message number n: names, addresses and body follow from it. body_bytes 0: an empty body. */
struct spool_message *rig_message(struct spool_rig *r, int n, size_t recipients, size_t body_bytes);
void rig_message_free(struct spool_message **m);
/* Fails the test when it is another, apart from seq and states. */
void rig_check_message(struct spool_message *m, int n, size_t recipients, size_t body_bytes);
/* Is it message n, every byte of it? */
bool rig_is_message(struct spool_message *m, int n, size_t recipients, size_t body_bytes);

struct spool_status rig_status(struct spool_rig *r);
/* Each asks and waits for the answer. */
enum spool_result rig_add(struct spool_rig *r, struct spool_message *m);
/* Adds message n, which must succeed, and returns its seq. */
uint64_t rig_add_new(struct spool_rig *r, int n, size_t recipients, size_t body_bytes);
/* Removed by a settlement without recipients, as after a delivery. */
void rig_deliver(struct spool_rig *r, uint64_t seq);
/* r->taken is the message until the next take. */
enum spool_result rig_take(struct spool_rig *r, uint64_t seq, int64_t due_by_utc_ms, bool with_body);
enum spool_result rig_settle(struct spool_rig *r, const struct spool_message *m);
enum spool_result rig_list(struct spool_rig *r, const struct spool_filter *filter);
enum spool_result rig_order(struct spool_rig *r, enum spool_order order, const struct spool_filter *filter);
void rig_done(void *arg, enum spool_result result);
void rig_taken(void *arg, enum spool_result result, struct spool_message *m);

#endif
