/* admin: what the operator sees and says. The control socket (one JSON line in, one out; peer credentials),
 * and over HTTP /metrics, /live, /ready and a status page (evhttp, read-only). Only main includes it. */
#ifndef SENDGOV_ADMIN_ADMIN_H
#define SENDGOV_ADMIN_ADMIN_H

#include "relay/config/config.h"

struct admin;
struct admin_plan;
struct loop;
struct store;
struct upstream;
struct flow;
struct front;
struct metrics;
struct inherited;

struct admin_setup {
    struct loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct flow *flow;
    struct front *front;
    struct metrics *metrics;
    struct inherited *inherited; /* asked before a socket is opened; NULL: none */
    void *arg;
    /* Loads the configuration file again; -1 and err when it was refused (and the old one stays). */
    int (*reload)(void *arg, const char *actor, struct err *err); /* logs it, whatever comes of it */
    void (*drain)(void *arg);
};

/* Opens both doors. Free it before the modules it was given. */
struct admin *admin_new(const struct admin_setup *setup, struct config *config, struct err *err);
void admin_free(struct admin **a);
/* A new configuration in two steps. prepare opens the sockets whose settings changed, beside those in force,
 * and changes nothing; NULL when one cannot be opened. commit cannot fail. */
struct admin_plan *admin_prepare(struct admin *a, struct config *config, struct err *err);
void admin_commit(struct admin *a, struct admin_plan **plan);
void admin_discard(struct admin *a, struct admin_plan **plan);
/* Both steps at once; -1 and nothing changed when the first fails. */
int admin_configure(struct admin *a, struct config *config, struct err *err);
/* The sockets of both doors, which stay the admin's; returns how many there are. */
size_t admin_sockets(const struct admin *a, int *fds_out, size_t max);
/* Another process listens on the same sockets: no new connections here, and the socket's file stays. */
void admin_hand_over(struct admin *a);
/* The process has begun to stop, whoever said so: /ready says it from now on. */
void admin_set_draining(struct admin *a);

#endif
