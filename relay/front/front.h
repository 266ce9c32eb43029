/* front: towards apps and devices. Listeners, sessions, who the client is and what it may send; complete
 * messages go to flow, which answers each exactly once.
 */
#ifndef SENDGOV_FRONT_FRONT_H
#define SENDGOV_FRONT_FRONT_H

#include "relay/base/err.h"
#include "relay/config/config.h"
#include "relay/flow/flow.h"

struct front;
struct inherited;
struct front_plan;
struct worker;

struct front_setup {
    struct loop *loop;
    struct worker *worker; /* password hashing */
    struct flow *flow;
    struct metrics *metrics;
    bool waits; /* nobody is let in before front_open */
    struct inherited *inherited; /* asked before a socket is opened; NULL: none */
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

/* Lets clients in, where setup.waits held them back; otherwise nothing. */
void front_open(struct front *f);
/* The listening sockets, which stay the front's; returns how many there are. */
size_t front_sockets(const struct front *f, int *fds_out, size_t max);
/* Another process accepts on the same sockets: stop accepting, but refuse nobody who has come. A session gets
 * 421 when its client is silent between messages for some seconds; after half of deadline_ms all that is left
 * is as by front_drain. */
void front_retire(struct front *f, int deadline_ms, void (*done)(void *arg), void *arg);
/* Stop accepting; sessions get 421 after the message they are in. done when none is left or after
 * deadline_ms. */
void front_drain(struct front *f, int deadline_ms, void (*done)(void *arg), void *arg);

struct front_status {
    const char *listener, *address;
    unsigned connections;
};
size_t front_status(const struct front *f, struct front_status *out, size_t max);

#endif
