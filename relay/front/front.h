/* front: towards apps and devices. Listeners, sessions, who the client is and what it may send; complete
 * messages go to flow, which answers each exactly once.
 */
#ifndef SENDGOV_FRONT_FRONT_H
#define SENDGOV_FRONT_FRONT_H

#include "relay/base/err.h"
#include "relay/config/config.h"
#include "relay/flow/flow.h"

struct front;
struct front_plan;
struct worker;

struct front_setup {
    struct loop *loop;
    struct worker *worker; /* password hashing */
    struct flow *flow;
    struct metrics *metrics;
};

struct front *front_new(const struct front_setup *setup);
void front_free(struct front **f);

/* A reload in two steps, so that it applies wholly or not at all. prepare opens new addresses, loads
 * certificates and the users file and changes nothing; commit cannot fail; discard forgets a prepared plan.
 * Unchanged addresses keep their listening sockets, open sessions go on under the configuration they began
 * with until their next MAIL. */
struct front_plan *front_prepare(struct front *f, struct config *config, struct err *err);
void front_commit(struct front *f, struct front_plan **plan);
void front_discard(struct front *f, struct front_plan **plan);

/* Stop accepting; sessions get 421 after the message they are in. done when none is left or after
 * deadline_ms. */
void front_drain(struct front *f, int deadline_ms, void (*done)(void *arg), void *arg);

struct front_status {
    const char *listener, *address;
    unsigned connections;
};
size_t front_status(const struct front *f, struct front_status *out, size_t max);

#endif
