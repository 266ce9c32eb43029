/* config: the whole configuration as typed, immutable, reference-counted data.
 *
 * YAML (libyaml, document API, so that every complaint names file:line:column) -> nodes -> one table of
 * settings -> these structs -> cross-checks. A configuration either loads wholly or not at all. Sessions and
 * messages hold a reference to the one they began with. Everything in it lives in its arena.
 */
#ifndef SENDGOV_CONFIG_CONFIG_H
#define SENDGOV_CONFIG_CONFIG_H

#include "policy/types.h"
#include "relay/base/arena.h"
#include "relay/base/buf.h"
#include "relay/base/err.h"
#include "relay/base/log.h"
#include "relay/base/owner.h"
#include "relay/front/front_conf.h"
#include "relay/spool/spool_conf.h"
#include "relay/store/store_conf.h"
#include "relay/upstream/upstream_conf.h"

struct admin_conf {
    const char *socket;        /* control socket path, default /run/sendgov/control */
    const char *http;          /* "127.0.0.1:9825"; NULL: none; loopback only unless http_public */
    /* unix groups that may look through the control socket, besides root and the daemon's user */
    const char *const *groups;
    size_t n_groups;
};

/* The share of a priority class of what leaves from the spool while more waits than may leave. A class that
 * is not configured has weight 10. */
struct class_conf {
    const char *name;
    uint32_t weight; /* 1..1000 */
};

/* Nothing that stops the configuration from being used, but the operator should know. */
struct config_warning {
    const char *position; /* "file:line:column" */
    const char *text;
};

/* Where a setting stands, if it is written: "routes.contoso.upstream" -> "file:line:column". */
struct config_origin {
    const struct config_origin *next;
    const char *path, *position;
};

/* A file that had to be read to make this configuration, and will be for the next. */
struct config_file {
    const struct config_file *next;
    const char *path;
    const char *position; /* of the setting that names it; NULL: the main file */
};

/* A profile in use, also by being extended. */
struct profile_conf {
    const char *name, *file;
    const char *dated;    /* "2026-11-01": the day its facts are of */
    int64_t dated_utc_ms; /* when that day began */
};

/* What is said in profiles changes without notice: facts older than this are to be looked at again. */
#define PROFILE_OLD_DAYS 180

struct config {
    struct arena arena;
    unsigned references;
    char hash[17];        /* of the effective values: hex, changes exactly when something changed */
    const char *file;     /* main file */
    const char *node;     /* default: host name */
    const char *state;    /* folder, default /var/lib/sendgov */
    const char *user;     /* to run as when started as root, default "sendgov"; has no meaning otherwise */
    enum log_level log_level;
    enum log_format log_format;
    struct front_conf front;
    struct store_conf store;
    struct spool_conf spool;
    struct admin_conf admin;
    const struct listener_conf *listeners;
    size_t n_listeners;
    const struct client_conf *clients;
    size_t n_clients;
    const struct class_conf *classes;
    size_t n_classes;
    const struct route_conf *routes;
    size_t n_routes;
    const struct mailbox_conf *mailboxes;
    size_t n_mailboxes;
    const struct schedule_conf *schedules;
    size_t n_schedules;
    const struct limit_conf *limits; /* the configured ones and those derived from profiles and warm-ups */
    size_t n_limits;
    const struct profile_conf *profiles;
    size_t n_profiles;
    int drain_ms;
    const struct config_warning *warnings; /* for the log, at start and after a reload */
    size_t n_warnings;
    const struct config_origin *origins;
    const struct config_file *files;
    char *dump;           /* effective configuration, one line a setting with its origin, secrets masked */
};

/* NULL and err ("file:line:column: what is wrong; what to do") when anything is wrong. */
struct config *config_load(const char *file, struct err *err);
struct config *config_ref(struct config *c);
void config_unref(struct config **c);
/* For those who keep pointers into it without knowing what it is. */
struct owner config_owner(struct config *c);

/* NULL: the setting is not written, its default is in force. */
const char *config_position(const struct config *c, const char *path);

/* How old its facts are; 0 before their day. */
int64_t profile_age_days(const struct profile_conf *p, int64_t now_utc_ms);
bool profile_is_old(const struct profile_conf *p, int64_t now_utc_ms);

const struct client_conf *config_client(const struct config *c, const char *name);
const struct route_conf *config_route(const struct config *c, const char *name);
const struct mailbox_conf *config_mailbox(const struct config *c, const char *name);
const struct limit_conf *config_limit(const struct config *c, const char *name);
/* The route that registered this sender domain; NULL: none, or *ambiguous_out: more than one did. */
const struct route_conf *config_route_for_domain(
    const struct config *c, struct span domain, bool *ambiguous_out);

#endif
