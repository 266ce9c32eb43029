/* The commands that change what the spool holds. What was ordered is carried out whether or not somebody
 * still waits for the answer, and is logged with who and why. */
#include <string.h>

#include "relay/admin/command_queue.h"
#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"
#include "relay/base/log.h"
#include "relay/flow/held.h"

/* Numbers come as such or as text. */
static void
log_param(struct log_line *l, const char *name, const json_t *value)
{
    if (json_is_integer(value))
        log_int(l, name, json_integer_value(value));
    else if (value)
        log_str(l, name, span_str(json_string_value(value)));
}

static void
log_order(const struct call *call, enum spool_result result, size_t changed, size_t busy)
{
    const struct param *p = call->command->params;
    struct log_line l;

    log_begin(&l, LOG_NOTICE, call->command->name);
    log_cstr(&l, "actor", call->peer.actor);
    for (size_t i = 0; i < COMMAND_PARAMS_MAX && p[i].name; i++)
        log_param(&l, p[i].name, json_object_get(call->args, p[i].name));
    log_cstr(&l, "outcome", spool_result_to_str(result));
    log_int(&l, "changed", (int64_t)changed);
    log_int(&l, "busy", (int64_t)busy);
    log_end(&l);
}

/* One that was named and is not changed is an error; of a filter what was left alone is a number. */
static enum spool_result
judge(const struct call *call, enum spool_result result, size_t changed, size_t busy)
{
    if (result != SPOOL_DONE || changed > 0 || !call_text(call, "id"))
        return result;
    return busy > 0 ? SPOOL_BUSY : SPOOL_GONE;
}

static void
on_ordered(void *arg, enum spool_result result, size_t changed, size_t busy)
{
    struct call *call = arg;
    json_t *o;

    result = judge(call, result, changed, busy);
    log_order(call, result, changed, busy);
    if (result != SPOOL_DONE) {
        call_refuse_spool(call, result);
        return;
    }
    o = json_object();
    json_object_set_new(o, "changed", json_u64(changed));
    json_object_set_new(o, "busy", json_u64(busy));
    call_ok(call, o);
}

/* A reason and a number say nothing about which ones. */
static bool
is_filter(const char *param)
{
    return strcmp(param, "reason") != 0 && strcmp(param, "all") != 0 && strcmp(param, "max") != 0;
}

static bool
has_filter(const struct call *call)
{
    const struct param *p = call->command->params;

    for (size_t i = 0; i < COMMAND_PARAMS_MAX && p[i].name; i++) {
        if (is_filter(p[i].name) && call_text(call, p[i].name))
            return true;
    }
    return false;
}

/* A forgotten filter must not become an order about everything. */
static bool
check_meant(struct call *call)
{
    bool all = call_text(call, "all") != NULL;

    if (has_filter(call) != all)
        return true;
    if (all)
        call_usage(call, "%s: give a filter or all=yes, not both", call->command->name);
    else
        call_usage(call, "%s: which messages? give an id or a filter, or all=yes (--all) for every one",
            call->command->name);
    return false;
}

static void
order(struct call *call, enum spool_order what)
{
    const char *reason = call_text(call, "reason");
    struct spool_filter filter;

    if (!call_has_spool(call) || !check_meant(call) || !call_spool_filter(call, &filter) ||
        !call_spool_max(call, UINT32_MAX, &filter.max))
        return;
    if (reason && !call_check_reason(call, reason, sizeof(((struct spool_message *)0)->held_why)))
        return;
    call->asking = true;
    held_order(call->admin->setup.flow, what, &filter, call->peer.actor, reason ? reason : "", on_ordered,
        call);
}

void
run_queue_hold(struct call *call)
{
    order(call, SPOOL_HOLD);
}

void
run_queue_release(struct call *call)
{
    order(call, SPOOL_RELEASE);
}

void
run_queue_retry(struct call *call)
{
    order(call, SPOOL_RETRY);
}

void
run_queue_delete(struct call *call)
{
    order(call, SPOOL_DELETE);
}
