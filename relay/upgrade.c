#include "relay/upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/admin/admin.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/config/config.h"
#include "relay/flow/flow.h"
#include "relay/front/front.h"
#include "relay/process.h"
#include "relay/store/store.h"
#include "relay/successor.h"

struct upgrade {
    struct upgrade_setup setup;
    struct config *config;       /* of this process, while an upgrade is under way */
    struct successor *successor; /* NULL: none is under way */
};

void
upgrade_identity(const struct config *c, char out[UPGRADE_IDENTITY_MAX])
{
    snprintf(out, UPGRADE_IDENTITY_MAX, "node %s, state %s, spool %s", c->node, c->state,
        c->spool.enabled ? c->spool.folder : "off");
}

static void
log_outcome(enum log_level level, const char *event, const char *text)
{
    struct log_line l;

    log_begin(&l, level, event);
    log_cstr(&l, "msg", text);
    log_end(&l);
}

static void
forget(struct upgrade *u)
{
    successor_free(&u->successor);
    config_unref(&u->config);
}

/* A folder that cannot be had again is said; mail goes on under the guest's name. What was held before goes
 * by the run that the node was then: the new process would have given it back, as it gives back what a dead
 * one held. */
static void
take_back(struct upgrade *u)
{
    struct err err;

    if (store_return(u->setup.store, &err) != 0)
        log_text(LOG_ERROR, "upgrade", "this process stays a guest of its group, and needs a restart: %s",
            err.text);
    else
        flow_disown(u->setup.flow, NULL);
}

/* ---- step by step ---- */

static void
on_pause(void *arg, const char *line)
{
    struct upgrade *u = arg;

    if (u->successor != NULL)
        successor_tell_pause(u->successor, line);
}

static void
on_guest(void *arg, bool ok, enum store_error error)
{
    struct upgrade *u = arg;
    char why[128];

    if (u->successor == NULL)
        return; /* it failed meanwhile, and all was taken back */
    if (ok) {
        successor_go(u->successor, store_identity(u->setup.store));
        return;
    }
    snprintf(why, sizeof(why), "Redis is needed for it (%s): try again when it is back",
        store_error_to_str(error));
    successor_refuse(u->successor, why);
}

static void
on_prepared(void *arg, const char *identity)
{
    struct upgrade *u = arg;
    char own[UPGRADE_IDENTITY_MAX], why[UPGRADE_IDENTITY_MAX * 2 + 64];

    upgrade_identity(u->config, own);
    if (strcmp(own, identity) == 0) {
        store_become_guest(u->setup.store, on_pause, on_guest, u);
        return;
    }
    snprintf(why, sizeof(why), "changed from %s to %s; that needs a restart", own, identity);
    successor_refuse(u->successor, why);
}

static void
on_serving(void *arg)
{
    struct upgrade *u = arg;
    char text[64];

    snprintf(text, sizeof(text), "MAINPID=%ld", (long)successor_pid(u->successor));
    process_notify(text);
    snprintf(
        text, sizeof(text), "process %ld serves now; this one drains", (long)successor_pid(u->successor));
    log_outcome(LOG_NOTICE, "upgrade", text);
    u->setup.replaced(u->setup.arg);
}

static void
on_failed(void *arg, const char *why)
{
    struct upgrade *u = arg;

    log_outcome(LOG_ERROR, "upgrade-refused", why);
    forget(u);
    take_back(u);
}

static const struct successor_ops ops = {on_prepared, on_serving, on_failed};

/* ---- its beginning and end ---- */

static int
may_begin(const struct upgrade *u, struct err *err)
{
    if (u->successor != NULL)
        return err_set(err, "an upgrade is under way");
    if (getpid() == 1)
        return err_set(
            err, "this process is the first one of its container, which would end with it: restart");
    return 0;
}

static int
start(struct upgrade *u, struct config *config, struct err *err)
{
    size_t n_front = front_sockets(u->setup.front, NULL, 0), n_admin = admin_sockets(u->setup.admin, NULL, 0);
    int *sockets = xcalloc(n_front + n_admin, sizeof(*sockets));
    struct successor_setup setup = {.loop = u->setup.loop, .argv = u->setup.argv, .sockets = sockets,
        .n_sockets = n_front + n_admin, .lock = u->setup.lock, .ops = &ops, .arg = u};

    (void)front_sockets(u->setup.front, sockets, n_front);
    (void)admin_sockets(u->setup.admin, sockets + n_front, n_admin);
    u->successor = successor_start(&setup, err);
    free(sockets);
    if (u->successor == NULL)
        return -1;
    u->config = config_ref(config);
    log_text(LOG_NOTICE, "upgrade", "process %ld of %s is to take over", (long)successor_pid(u->successor),
        u->setup.argv[0]);
    return 0;
}

int
upgrade_begin(struct upgrade *u, struct config *config, struct err *err)
{
    return may_begin(u, err) == 0 ? start(u, config, err) : -1;
}

bool
upgrade_is_under_way(const struct upgrade *u)
{
    return u->successor != NULL;
}

void
upgrade_cancel(struct upgrade *u)
{
    if (u->successor == NULL)
        return;
    log_outcome(LOG_NOTICE, "upgrade-refused", "this process is told to end");
    forget(u);
    take_back(u);
}

struct upgrade *
upgrade_new(const struct upgrade_setup *setup)
{
    struct upgrade *u = xcalloc(1, sizeof(*u));

    u->setup = *setup;
    return u;
}

void
upgrade_free(struct upgrade **u)
{
    if (*u == NULL)
        return;
    forget(*u);
    free(*u);
    *u = NULL;
}
