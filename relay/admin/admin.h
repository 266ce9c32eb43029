/* admin: what the operator sees and says. The control socket (one JSON line in, one out; peer credentials),
 * and over HTTP /metrics, /live, /ready and a status page (evhttp, read-only). Only main includes it. */
#ifndef SENDGOV_ADMIN_ADMIN_H
#define SENDGOV_ADMIN_ADMIN_H

#include "relay/config/config.h"

struct admin;
struct loop;
struct store;
struct upstream;
struct flow;
struct front;
struct metrics;

struct admin_setup {
    struct loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct flow *flow;
    struct front *front;
    struct metrics *metrics;
    void *arg;
    /* Loads the configuration file again; -1 and err when it was refused (and the old one stays). */
    int (*reload)(void *arg, struct err *err);
    void (*drain)(void *arg);
};

/* Opens both doors. Free it before the modules it was given. */
struct admin *admin_new(const struct admin_setup *setup, struct config *config, struct err *err);
void admin_free(struct admin **a);
/* After a reload: the new configuration; sockets move when their settings changed. -1: nothing changed. Its
 * checks are its own sockets only, so call it last among what may refuse. */
int admin_configure(struct admin *a, struct config *config, struct err *err);
/* The process has begun to stop, whoever said so: /ready says it from now on. */
void admin_set_draining(struct admin *a);

#endif
