/* The commands by which an operator moves a warm-up, or keeps it where it is. Each leaves one log line with
 * who (peer credentials), why, and from which step to which. A hold is a pause of the growth: kept, shared
 * and told again like the pauses of mail. */
#include <stdio.h>
#include <string.h>

#include "policy/warmup.h"
#include "relay/admin/command.h"
#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"
#include "relay/base/log.h"
#include "relay/store/store.h"

struct steps {
    uint32_t before, step; /* 0: nothing is known of them */
};

static void
log_order(const struct call *call, struct steps steps, const char *outcome)
{
    const char *const shown[] = {"for", "reason"};
    struct log_line l;

    log_begin(&l, LOG_NOTICE, call->command->name);
    log_cstr(&l, "actor", call->peer.actor);
    log_str(&l, "route", span_str(call_text(call, "route")));
    if (steps.step > 0) {
        log_int(&l, "from", steps.before);
        log_int(&l, "to", steps.step);
    }
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (call_text(call, shown[i]))
            log_str(&l, shown[i], span_str(call_text(call, shown[i])));
    }
    log_cstr(&l, "outcome", outcome);
    log_end(&l);
}

const struct pause *
call_find_hold(const struct admin *a, const char *route)
{
    const struct pause *p;
    size_t n = store_pauses(a->setup.store, &p);

    for (size_t i = 0; i < n; i++) {
        if (p[i].extent == PAUSE_GROWTH && p[i].scope == SCOPE_ROUTE && strcmp(p[i].instance, route) == 0)
            return &p[i];
    }
    return NULL;
}

/* The limit whose steps are those of the named route. NULL: the call is refused. */
static const struct limit_conf *
check_order(struct call *call)
{
    const struct config *c = call->admin->config;
    const char *route = call_text(call, "route");

    if (!call_check_named(call, SCOPE_ROUTE, route)
        || !call_check_reason(call, call_text(call, "reason"), PAUSE_TEXT_MAX))
        return NULL;
    for (size_t i = 0; i < c->n_limits; i++) {
        const struct limit_conf *l = &c->limits[i];

        if (l->kind == LIMIT_WARMUP && !l->hour_cap && l->scope == SCOPE_ROUTE
            && (!l->only || strcmp(l->only, route) == 0))
            return l;
    }
    call_refuse(call, "route %.64s has no warm-up", route);
    return NULL;
}

static void
refuse_store(struct call *call, enum store_error error, const char *what)
{
    log_order(call, (struct steps){0, 0}, store_error_to_str(error));
    call_refuse(call,
        "%s: Redis gave no answer (%s), so it is not known to have happened; `sendgovctl status` says what "
        "is wrong, then look with `sendgovctl warmup`",
        what, store_error_to_str(error));
}

/* ---- hold and resume ---- */

void
run_warmup_hold(struct call *call)
{
    struct pause p = {.scope = SCOPE_ROUTE, .extent = PAUSE_GROWTH, .class = CLASS_OK};
    enum pause_result result;
    json_t *o;

    if (!check_order(call))
        return;
    snprintf(p.instance, sizeof(p.instance), "%s", call_text(call, "route"));
    snprintf(p.reason, sizeof(p.reason), "%s", call_text(call, "reason"));
    snprintf(p.actor, sizeof(p.actor), "%s", call->peer.actor);
    result = store_pause(call->admin->setup.store, &p, call_duration_ms(call, "for"), NULL);
    if (result == PAUSE_NO_PLACE) {
        log_order(call, (struct steps){0, 0}, "no place");
        call_refuse(call, "not held: as many warm-ups as may be are held; resume some of them");
        return;
    }
    log_order(call, (struct steps){0, 0}, result == PAUSE_SET ? "held" : "one that ends no earlier stands");
    o = json_object();
    json_object_set_new(o, "route", json_text(p.instance));
    json_object_set_new(o, "until", json_time(p.until_utc_ms));
    json_object_set_new(o, "stood", json_boolean(result == PAUSE_STANDS));
    call_ok(call, o);
}

static void
answer_resumed(struct call *call, bool resumed)
{
    json_t *o = json_object();

    log_order(call, (struct steps){0, 0}, resumed ? "resumed" : "was not held");
    json_object_set_new(o, "route", json_text(call_text(call, "route")));
    json_object_set_new(o, "resumed", json_boolean(resumed));
    call_ok(call, o);
}

static void
on_resumed(void *arg, bool ok, enum store_error error)
{
    struct call *call = arg;

    if (ok)
        answer_resumed(call, true);
    else
        refuse_store(call, error, "not resumed");
}

void
run_warmup_resume(struct call *call)
{
    struct store_status st;

    if (!check_order(call))
        return;
    if (call_find_hold(call->admin, call_text(call, "route"))) {
        call->asking = true;
        store_warmup_resume(call->admin->setup.store, call_text(call, "route"), on_resumed, call);
        return;
    }
    store_status(call->admin->setup.store, &st);
    if (st.up)
        answer_resumed(call, false);
    else /* another node may have held it */
        refuse_store(call, st.error, "not resumed");
}

/* ---- step and set ---- */

static void
on_moved(void *arg, bool ok, enum store_error error, uint32_t before, uint32_t step)
{
    struct call *call = arg;
    const struct route_conf *r;
    json_t *o;

    if (!ok) {
        refuse_store(call, error, "not moved");
        return;
    }
    log_order(call, (struct steps){before, step}, step == before ? "stays" : "moved");
    o = json_object();
    json_object_set_new(o, "route", json_text(call_text(call, "route")));
    json_object_set_new(o, "from", json_integer(before));
    json_object_set_new(o, "to", json_integer(step));
    r = call->admin ? config_route(call->admin->config, call_text(call, "route")) : NULL;
    json_object_set_new(o, "cap", r && r->warmup ? json_cap(warmup_cap(r->warmup, step)) : json_null());
    call_ok(call, o);
}

static void
move(struct call *call, const struct warmup_move *to)
{
    struct warmup_order order = {.limit = check_order(call), .owner = config_owner(call->admin->config),
        .route = call_text(call, "route"), .move = *to};

    if (!order.limit)
        return;
    call->asking = true;
    store_warmup_move(call->admin->setup.store, &order, on_moved, call);
}

void
run_warmup_step(struct call *call)
{
    move(call, &(struct warmup_move){.kind = call_text(call, "back") ? WARMUP_MOVE_BACK : WARMUP_MOVE_ON});
}

void
run_warmup_set(struct call *call)
{
    uint64_t step = call_number(call, "step", 0);

    if (step < 1 || step > WARMUP_STEP_MAX) {
        call_usage(call, "warmup-set: a step is from 1 to %d", WARMUP_STEP_MAX);
        return;
    }
    move(call, &(struct warmup_move){.kind = WARMUP_MOVE_TO, .to = (uint32_t)step});
}
