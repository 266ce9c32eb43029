/* Stand-ins for what admin looks at: store, flow, upstream and front that say what a test wrote into `fake`.
 * A real loop runs; the sockets are real. */
#ifndef SENDGOV_TESTS_ADMIN_FAKES_H
#define SENDGOV_TESTS_ADMIN_FAKES_H

#include "relay/admin/admin.h"
#include "relay/base/metric.h"
#include "relay/flow/held.h"
#include "relay/net/loop.h"
#include "relay/store/store.h"

enum fake_answer { ANSWER_LATER, ANSWER_FAILS, ANSWER_NEVER };

struct fake {
    struct store_status store;
    struct pause pauses[4];
    size_t n_pauses;
    uint32_t warmup_step;
    enum fake_answer answers; /* of usage, resume and open */
    uint64_t used;            /* every counter's */
    unsigned asked, forgotten, reloads, drains, resumes, opens;
    char reload_actor[64];
    struct pause paused;      /* the last store_pause */
    int64_t now_ms;           /* the store's time */
    enum pause_result pause_result;
    struct warmup_move move;  /* the last store_warmup_move, and its answer: from step 5 to this one */
    const struct limit_conf *moved_limit;
    uint32_t moved_to;
    bool reload_fails;
    struct verdict verdict;       /* of every look */
    struct charge_request looked; /* the last one */
    unsigned looks;
    bool plan_fails, look_hangs, is_behind;
    uint64_t nodes_cap, upstream_cap; /* of every counter; 0: nothing lowers it */

    /* what flow holds */
    bool spool_on, more;
    struct spool_status spool;
    struct queue_counts queue;
    struct queue_why why;
    uint64_t place;          /* of every message */
    struct spool_message **held;   /* in the answer to every list */
    size_t n_held, changed, busy;
    enum spool_result result;      /* of lists and orders */
    unsigned lists, orders, held_forgotten;
    enum spool_order order;        /* the last one */
    char order_actor[64], order_why[256], filter[1024]; /* of the last list or order */
    int64_t before_utc_ms;
    uint64_t after_seq;
    uint32_t max;
};
extern struct fake fake;
extern struct loop *fake_loop;

/* One more message of client erp, received 2023-11-14T22:13:20Z, for r000@example.com and so on. */
struct spool_message *fake_hold(const char *id, const char *sender, size_t recipients);
void fake_hold_nothing(void);
/* The answer of a look is not wanted any more. */
void fake_forget_look(void);

struct fixture {
    struct loop *loop;
    struct metrics *metrics;
    struct config config;
    struct admin *admin;
    char folder[64], socket[96];
};

/* A temporary folder, a configuration of one of each, an admin on them; http: NULL or an address. */
void fixture_open(struct fixture *f, const char *http);
void fixture_close(struct fixture *f);
void fixture_setup(const struct fixture *f, struct admin_setup *setup_out);

/* Turns the loop until fd is readable; false after a second. */
bool fixture_wait(struct fixture *f, int fd);
/* What the peer of fd sends until it closes or the line ends; at most size - 1 bytes. Returns how many. */
size_t fixture_read(struct fixture *f, int fd, char *out, size_t size, bool to_eof);
/* A non-blocking connection to the control socket. */
int fixture_connect(const struct fixture *f);
/* One line there, one line back, without its end. */
void fixture_ask(struct fixture *f, const char *line, char *out, size_t size);

#endif
