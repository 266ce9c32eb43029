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
#include "relay/store/store.h"

/* A paused node is ready: internal mail flows. One without Redis, or without counters it may trust, is not: nothing
 * leaves through it. */
bool
admin_is_ready(const struct admin *a, char reason_out[READY_TEXT_MAX])
{
    struct store_status st;

    store_status(a->setup.store, &st);
    switch (a->phase) {
    case ADMIN_DRAINING:
        snprintf(reason_out, READY_TEXT_MAX, "not ready: draining");
        return false;
    case ADMIN_SERVING:
        break;
    }
    if (!st.up) {
        snprintf(reason_out, READY_TEXT_MAX, "not ready: Redis gives no decision (%s%s%s)",
            store_error_to_str(st.error), st.detail[0] ? ": " : "", st.detail);
        return false;
    }
    if (st.closed_for_ms != 0) {
        snprintf(reason_out, READY_TEXT_MAX, "not ready: the counters are new, or Redis lost some; nothing leaves");
        if (st.closed_for_ms > 0)
            snprintf(reason_out, READY_TEXT_MAX,
                "not ready: the counters are new, or Redis lost some; nothing leaves for %" PRId64 " s",
                (st.closed_for_ms + 999) / 1000);
        return false;
    }
    snprintf(reason_out, READY_TEXT_MAX, "ready");
    return true;
}

void
admin_set_draining(struct admin *a)
{
    a->phase = ADMIN_DRAINING;
}

/* -1: nothing changed. *http_out: what to use from now on. */
static int
open_http(struct admin *a, const char *address, struct http **http_out, struct err *err)
{
    *http_out = a->http;
    if (!address) {
        *http_out = NULL;
        return 0;
    }
    if (a->http && strcmp(http_address(a->http), address) == 0)
        return 0;
    *http_out = http_open(a, address, err);
    return *http_out ? 0 : -1;
}

int
admin_configure(struct admin *a, struct config *config, struct err *err)
{
    struct http *http;

    if (open_http(a, config->admin.http, &http, err) != 0)
        return -1;
    if (control_configure(a->control, config, err) != 0) {
        if (http != a->http)
            http_close(&http);
        return -1;
    }
    if (http != a->http)
        http_close(&a->http);
    a->http = http;
    if (config != a->config) {
        config_unref(&a->config);
        a->config = config_ref(config);
    }
    usage_cache_reset(a->usage);
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
