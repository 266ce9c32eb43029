/* upgrade: replacing this process by a new one of the same node, without refusing anybody (SIGUSR2).
 *
 * The new one is started from the program's file as it is now and checks its configuration; this one becomes
 * a guest of the group (store.h), so that state folder and name are free; the new one takes over the
 * sockets, connects to Redis and serves. Only then this one stops to accept. Whatever fails before leaves
 * everything as it was. The spool follows last: it is this process' until it has drained. */
#ifndef SENDGOV_UPGRADE_H
#define SENDGOV_UPGRADE_H

#include <stdbool.h>

#include "relay/base/err.h"

struct upgrade;
struct loop;
struct store;
struct flow;
struct front;
struct admin;
struct config;

struct upgrade_setup {
    struct loop *loop;
    struct store *store;
    struct flow *flow;
    struct front *front;
    struct admin *admin;
    char *const *argv; /* as this process was started */
    int lock;          /* of the state folder */
    void (*replaced)(void *arg); /* the other one serves */
    void *arg;
};

/* Who a process of this configuration would be; a successor must be the same. */
#define UPGRADE_IDENTITY_MAX 2048
void upgrade_identity(const struct config *c, char out[UPGRADE_IDENTITY_MAX]);

struct upgrade *upgrade_new(const struct upgrade_setup *setup);
void upgrade_free(struct upgrade **u);
/* config: in force; kept until the outcome. -1: not now, err says why. */
int upgrade_begin(struct upgrade *u, struct config *config, struct err *err);
bool upgrade_is_under_way(const struct upgrade *u);
/* This process ends in another way; not once it was replaced. */
void upgrade_cancel(struct upgrade *u);

#endif
