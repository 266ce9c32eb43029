/* What the parts of admin share. Private to relay/admin. */
#ifndef SENDGOV_ADMIN_ADMIN_STATE_H
#define SENDGOV_ADMIN_ADMIN_STATE_H

#include "relay/admin/admin.h"
#include "relay/base/list.h"

struct control;
struct http;
struct usage_cache;

enum admin_phase {
    ADMIN_SERVING,
    ADMIN_DRAINING, /* stopping: /ready is 503, everything else answers on */
};

struct admin {
    struct admin_setup setup;
    struct config *config; /* reference held; replaced by admin_configure */
    enum admin_phase phase;
    int64_t started_mono_ms;
    struct list calls;         /* commands under way (command.c) */
    struct usage_cache *usage; /* the counters as last heard, for pages and metrics */
    struct control *control;
    struct http *http;         /* NULL: not wanted */
};

/* May a load balancer send mail here? The reason is one line, "ready" when it may. */
#define READY_TEXT_MAX 400
bool admin_is_ready(const struct admin *a, char reason_out[READY_TEXT_MAX]);

#endif
