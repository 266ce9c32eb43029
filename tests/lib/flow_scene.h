/* flow_scene: a message's whole way in a test: flow over the real upstream pool, a scripted peer and the
 * in-memory store, with one limit of external recipients on the route, and somebody who meddles in a turn. */
#ifndef SENDGOV_TESTS_FLOW_SCENE_H
#define SENDGOV_TESTS_FLOW_SCENE_H

#include "relay/flow/explain.h"
#include "relay/flow/flow.h"
#include "relay/store/store.h"
#include "tests/lib/upstream_world.h"

struct scene;

/* Waits, round by round of a turn, for a connection to be in a state, and then does something once: what no
 * peer can time. Leased: the charge is under way. Busy: MAIL was handed over and has not left. */
struct meddler {
    struct task task;
    enum conn_state when;
    void (*what)(struct scene *s);
    bool done;
    int rounds_left;
};

struct scene {
    struct world w;
    struct store *store;
    struct flow *flow;
    struct config *config;
    struct limit_conf limit;
    struct meddler meddler;
    struct handle job;
    unsigned answers;
    bool answered;
    struct reply answer;
    struct usage usage;
    bool usage_came, look_came;
    struct verdict look;
};

extern const struct client_conf scene_client;

void scene_start(struct scene *s, uint64_t cap, uint64_t period_ms, const struct peer_rule *rules,
    size_t n_rules);
void scene_stop(struct scene *s);
void scene_meddle(struct scene *s, enum conn_state when, void (*what)(struct scene *s));
void scene_turn(struct scene *s);
/* Until the peer saw the step so often. */
void scene_until_seen(struct scene *s, const char *step, unsigned n);
/* Until nothing is in flight. */
void scene_finish(struct scene *s);
bool scene_is_over(struct scene *s);

/* Sender and 1-4 external recipients. */
void scene_fill_envelope(struct envelope *e, unsigned recipients);
/* Whole but for its recipients. */
struct message *scene_message(struct scene *s);
void scene_submit_message(struct scene *s, struct message *m);
void scene_submit(struct scene *s, unsigned recipients);
/* One message, start to end; the code the client heard, which hears exactly once. */
int scene_relay(struct scene *s, unsigned recipients);
/* What would become of such mail of the client; charges nothing. */
void scene_explain(struct scene *s, const struct client_conf *client, const struct envelope *e,
    const struct recipient *first, struct explained *out);
/* A flow_done_fn. */
void scene_on_answer(void *arg, const struct reply *reply);

/* What the store counts now. */
uint64_t scene_used(struct scene *s);
double scene_count(const struct scene *s, enum metric_id id, const char *label);

#endif
