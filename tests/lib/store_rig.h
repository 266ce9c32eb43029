/* store_rig: what a test of the Redis store stands on: a real loop, real connections, a redis-server of the
 * test's own, and up to NODES nodes with their folders. set_up and tear_down are cmocka's: each case has its
 * own rig, adds its limits and begins with as many nodes as it needs. */
#ifndef SENDGOV_TESTS_STORE_RIG_H
#define SENDGOV_TESTS_STORE_RIG_H

#include "relay/base/metric.h"
#include "relay/net/dial.h"
#include "relay/store/store.h"
#include "tests/lib/private_redis.h"

#define NODES 3
#define WAIT_MS 10000

struct node {
    struct store *store;
    char folder[96];
    char name[16];
    bool replaces; /* as a process that takes the place of another */
};

struct rig {
    struct private_redis server;
    struct metrics *metrics;
    struct loop *loop;
    struct resolver *resolver;
    struct dialer *dialer;
    struct store_conf conf;
    char target[128];
    struct node nodes[NODES];
    struct limit_conf limits[4];
    size_t n_limits;
    uint32_t step; /* of the warm-up, as the asker believes */
    /* answers */
    struct verdict verdict;
    size_t answers, granted;
    bool ok;
    enum store_error error;
    uint64_t lease;
    struct usage usage;
};

/* The arguments Redis was started with, for private_redis_restart. */
extern const char *const with_aof[];

int set_up(void **state);
int tear_down(void **state);
/* A limit of routes; the nodes are told of it when they are opened. */
void add_limit(struct rig *r, const char *name, enum limit_kind kind, enum limit_unit unit, uint64_t value,
    uint64_t period_ms);
void open_node(struct rig *r, size_t i);
/* Opens the first nodes, until they may charge. */
void begin(struct rig *r, size_t nodes);

/* Turns the loop until it is so; false: not within WAIT_MS. */
bool turn_until(struct rig *r, bool (*done)(struct rig *r));
void turn_for(struct rig *r, int64_t ms);
/* Of the nodes that were opened: up and not closed; up; down. */
bool all_open(struct rig *r);
bool all_up(struct rig *r);
bool none_up(struct rig *r);
/* An answer came. */
bool answered(struct rig *r);
/* Node 0 knows of another, whose limits are not its own. */
bool node_0_sees_2(struct rig *r);

/* A command of an operator at redis-cli: its number, or how many elements it has. */
long long cli(struct rig *r, const char *fmt, ...);
/* How often Redis ran a command ("get"), by itself or in a script. */
long long commands_run(struct rig *r, const char *command);
/* How often Redis was asked to run a script; heartbeats are among them. */
long long scripts_run(struct rig *r);

/* A message of one sender and client on the route contoso. */
void make_request(struct rig *r, uint32_t recipients, bool external, struct charge_request *out);
/* Asks for one of external recipients; the answer goes to on_charge. */
void ask(struct rig *r, size_t node, uint32_t recipients);
/* The same and its answer: r->verdict, r->granted. */
enum verdict_kind charge(struct rig *r, size_t node, uint32_t recipients);
/* Asks for a connection of relay@contoso.com. */
void start_lease(struct rig *r, size_t node, uint64_t cap);
/* The same and its answer: r->lease when it was granted. */
bool take_lease(struct rig *r, size_t node, uint64_t cap);
/* What is used on contoso of this limit of r->limits; good until the next answer. */
const struct usage *use(struct rig *r, size_t node, size_t limit);

/* Callbacks, arg: the rig. They count answers. */
void on_charge(void *arg, const struct verdict *v);
void on_done(void *arg, bool ok, enum store_error error);
void on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n);

#endif
