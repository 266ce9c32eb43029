#include "relay/admin/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/admin/admin_state.h"
#include "relay/admin/command.h"
#include "relay/admin/control.h"
#include "relay/admin/http.h"
#include "relay/admin/usage_view.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/held.h"
#include "relay/store/store.h"

static bool
is_store_ready(const struct store *s, char reason_out[READY_TEXT_MAX])
{
    struct store_status st;

    store_status(s, &st);
    if (!st.up) {
        snprintf(reason_out, READY_TEXT_MAX, "not ready: Redis gives no decision (%s%s%s)",
            store_error_to_str(st.error), st.detail[0] ? ": " : "", st.detail);
        return false;
    }
    if (st.charge_error != STORE_OK) {
        snprintf(reason_out, READY_TEXT_MAX, "not ready: Redis answers, but charges fail (%s: %s)",
            store_error_to_str(st.charge_error), st.detail);
        return false;
    }
    if (st.closed_for_ms != 0) {
        snprintf(reason_out, READY_TEXT_MAX,
            "not ready: the counters are new, or Redis was away or lost some; nothing leaves");
        if (st.closed_for_ms > 0)
            snprintf(reason_out, READY_TEXT_MAX,
                "not ready: the counters are new, or Redis was away or lost some; nothing leaves for %" PRId64
                " s",
                (st.closed_for_ms + 999) / 1000);
        return false;
    }
    return true;
}

/* A full spool takes nothing more, but what need not be held passes, and what is held leaves. After an
 * upgrade in place the service does not stop because the spool follows later. */
static bool
is_spool_ready(const struct flow *f, char reason_out[READY_TEXT_MAX])
{
    struct spool_status spool;
    struct queue_counts queue;

    if (!held_is_on(f))
        return true;
    held_status(f, &spool, &queue);
    if (spool.takes_early)
        return true;
    switch (spool.state) {
    case SPOOL_READY:
    case SPOOL_FULL:
        return true;
    case SPOOL_CLOSED:
    case SPOOL_LOADING:
    case SPOOL_SICK:
    case SPOOL_STATE_COUNT:
        break;
    }
    snprintf(reason_out, READY_TEXT_MAX, "not ready: the spool takes no mail (%s%s%s)",
        spool_state_to_str(spool.state), spool.why[0] ? ": " : "", spool.why);
    return false;
}

/* A paused node is ready: internal mail flows. One without Redis, or without counters it may trust, is not:
 * nothing leaves through it. Nor is one whose spool cannot be written: it could promise nothing. */
bool
admin_is_ready(const struct admin *a, char reason_out[READY_TEXT_MAX])
{
    switch (a->phase) {
    case ADMIN_DRAINING:
        snprintf(reason_out, READY_TEXT_MAX, "not ready: draining");
        return false;
    case ADMIN_SERVING:
        break;
    }
    if (!is_store_ready(a->setup.store, reason_out) || !is_spool_ready(a->setup.flow, reason_out))
        return false;
    snprintf(reason_out, READY_TEXT_MAX, "ready");
    return true;
}

void
admin_set_draining(struct admin *a)
{
    a->phase = ADMIN_DRAINING;
}

struct admin_plan {
    struct config *config; /* reference held */
    struct http *http;     /* to use from now on, perhaps the one in use; NULL: none */
    struct control_plan *control;
};

static int
open_http(struct admin *a, struct admin_plan *plan, struct err *err)
{
    const char *address = plan->config->admin.http;

    if (!address)
        return 0;
    if (a->http && strcmp(http_address(a->http), address) == 0)
        plan->http = a->http;
    else
        plan->http = http_open(a, address, err);
    return plan->http ? 0 : -1;
}

struct admin_plan *
admin_prepare(struct admin *a, struct config *config, struct err *err)
{
    struct admin_plan *plan = xcalloc(1, sizeof(*plan));

    plan->config = config_ref(config);
    if (open_http(a, plan, err) == 0)
        plan->control = control_prepare(a->control, config, err);
    if (!plan->control)
        admin_discard(a, &plan);
    return plan;
}

void
admin_discard(struct admin *a, struct admin_plan **plan)
{
    if (!*plan)
        return;
    if ((*plan)->http != a->http)
        http_close(&(*plan)->http);
    control_discard(&(*plan)->control);
    config_unref(&(*plan)->config);
    free(*plan);
    *plan = NULL;
}

void
admin_commit(struct admin *a, struct admin_plan **plan)
{
    struct admin_plan *p = *plan;

    control_commit(a->control, &p->control);
    if (p->http != a->http)
        http_close(&a->http);
    a->http = p->http;
    config_unref(&a->config);
    a->config = p->config;
    usage_cache_reset(a->usage);
    free(p);
    *plan = NULL;
}

int
admin_configure(struct admin *a, struct config *config, struct err *err)
{
    struct admin_plan *plan = admin_prepare(a, config, err);

    if (!plan)
        return -1;
    admin_commit(a, &plan);
    return 0;
}

struct admin *
admin_new(const struct admin_setup *setup, struct config *config, struct err *err)
{
    struct admin *a = xcalloc(1, sizeof(*a));

    a->setup = *setup;
    a->started_mono_ms = clock_mono_ms();
    a->config = config_ref(config);
    list_init(&a->calls);
    a->usage = usage_cache_new(a);
    a->control = control_new(a);
    if (admin_configure(a, config, err) != 0)
        admin_free(&a);
    return a;
}

size_t
admin_sockets(const struct admin *a, int *fds_out, size_t max)
{
    const int fds[] = {control_fd(a->control), a->http ? http_fd(a->http) : -1};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] < 0)
            continue;
        if (n < max)
            fds_out[n] = fds[i];
        n++;
    }
    return n;
}

void
admin_hand_over(struct admin *a)
{
    admin_set_draining(a);
    control_hand_over(a->control);
    http_close(&a->http);
}

void
admin_free(struct admin **ap)
{
    struct admin *a = *ap;

    if (!a)
        return;
    http_close(&a->http);
    control_free(&a->control);
    command_abandon(a);
    usage_cache_free(&a->usage);
    config_unref(&a->config);
    free(a);
    *ap = NULL;
}
