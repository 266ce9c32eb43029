/* The commands that change something. Each leaves one log line with who (peer credentials) and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/admin/command.h"
#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"
#include "relay/base/log.h"
#include "relay/base/nearest.h"
#include "relay/base/xmalloc.h"
#include "relay/smtp/address.h"
#include "relay/store/store.h"

static void
log_act(const struct call *call, const char *outcome)
{
    const char *const shown[] = {"scope", "instance", "extent", "for", "reason"};
    struct log_line l;

    log_begin(&l, LOG_NOTICE, call->command->name);
    log_cstr(&l, "actor", call->peer.actor);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (call_text(call, shown[i]))
            log_str(&l, shown[i], span_str(call_text(call, shown[i])));
    }
    log_cstr(&l, "outcome", outcome);
    log_end(&l);
}

/* ---- pause and resume: what they are about ---- */

struct target {
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
};

static enum limit_scope
parse_scope(const char *name)
{
    int s = 0;

    while (s < SCOPE_COUNT && strcmp(name, limit_scope_to_str((enum limit_scope)s)) != 0)
        s++;
    return (enum limit_scope)s;
}

static const char *
name_of(const struct config *c, enum limit_scope scope, size_t i)
{
    if (scope == SCOPE_ROUTE)
        return c->routes[i].name;
    return scope == SCOPE_MAILBOX ? c->mailboxes[i].name : c->clients[i].name;
}

/* The configured names of a route, mailbox or client scope; the caller frees the array. */
static const char **
names_of(const struct config *c, enum limit_scope scope, size_t *n_out)
{
    size_t n = scope == SCOPE_ROUTE ? c->n_routes : scope == SCOPE_MAILBOX ? c->n_mailboxes : c->n_clients;
    const char **names = xcalloc(n ? n : 1, sizeof(*names));

    for (size_t i = 0; i < n; i++)
        names[i] = name_of(c, scope, i);
    *n_out = n;
    return names;
}

static bool
is_known(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* A pause may outlive the section it names, so resume accepts what is paused, configured or not. */
static bool
is_paused(const struct admin *a, const struct target *t)
{
    const struct pause *p;
    size_t n = store_pauses(a->setup.store, &p);

    for (size_t i = 0; i < n; i++) {
        if (p[i].extent != PAUSE_GROWTH && p[i].scope == t->scope
            && strcmp(p[i].instance, t->instance) == 0)
            return true;
    }
    return false;
}

#define SHOWN_NAMES_MAX 8

static void
refuse_unknown(
    struct call *call, enum limit_scope scope, const char *instance, const char *const *names, size_t n)
{
    const char *near = nearest_word(span_str(instance), names, n);
    struct buf hint;

    buf_init(&hint);
    if (near)
        buf_printf(&hint, "; did you mean \"%s\"?", near);
    else if (n == 0)
        buf_add_str(&hint, "; there are none");
    for (size_t i = 0; !near && i < n && i < SHOWN_NAMES_MAX; i++)
        buf_printf(&hint, "%s%s", i ? ", " : "; there is ", names[i]);
    if (!near && n > SHOWN_NAMES_MAX)
        buf_add_str(&hint, ", ...; `sendgovctl config` lists them");
    call_usage(call, "%s: there is no %s \"%.64s\"%s", call->command->name, limit_scope_to_str(scope),
        instance, buf_span(&hint).p);
    buf_fini(&hint);
}

bool
call_check_named(struct call *call, enum limit_scope scope, const char *instance)
{
    size_t n;
    const char **names = names_of(call->admin->config, scope, &n);
    bool known = is_known(instance, names, n);

    if (!known)
        refuse_unknown(call, scope, instance, names, n);
    free(names);
    return known;
}

/* Senders and domains are compared in the form the charges carry. "<>" is the null sender. */
static bool
parse_sender(struct call *call, struct target *t, const char *given)
{
    struct address address;
    char probe[INSTANCE_MAX];

    if (strcmp(given, "<>") == 0)
        return true;
    snprintf(probe, sizeof(probe), "%s%s", t->scope == SCOPE_SENDER_DOMAIN ? "x@" : "", given);
    if (address_parse_plain(span_str(probe), &address) != ADDRESS_OK) {
        call_usage(call, "%s: \"%.64s\" is no %s", call->command->name, given,
            t->scope == SCOPE_SENDER ? "mail address" : "mail domain");
        return false;
    }
    if (t->scope == SCOPE_SENDER)
        plan_sender_instance(span_str(address.text), t->instance);
    else
        snprintf(t->instance, sizeof(t->instance), "%s", address_domain(&address).p);
    address_fini(&address);
    return true;
}

static bool
parse_target(struct call *call, struct target *t)
{
    const char *instance = call_text(call, "instance");

    t->scope = parse_scope(call_text(call, "scope"));
    if (strlen(instance) >= INSTANCE_MAX - 2) {
        call_usage(call, "%s: the instance is longer than %d bytes", call->command->name, INSTANCE_MAX - 3);
        return false;
    }
    snprintf(t->instance, sizeof(t->instance), "%s", instance);
    if (t->scope == SCOPE_SENDER || t->scope == SCOPE_SENDER_DOMAIN)
        return parse_sender(call, t, instance);
    return is_paused(call->admin, t) || call_check_named(call, t->scope, t->instance);
}

/* The reason ends up in SMTP replies and on terminals: printable ASCII, one line. */
bool
call_check_reason(struct call *call, const char *reason, size_t size)
{
    if (strlen(reason) >= size) {
        call_usage(call, "%s: the reason is longer than %zu bytes", call->command->name, size - 1);
        return false;
    }
    for (const char *p = reason; *p; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e) {
            call_usage(call, "%s: the reason may hold printable ASCII only, because replies quote it",
                call->command->name);
            return false;
        }
    }
    return true;
}

/* An operator's word is not stretched: who names a sender does not mean a client. */
static void
refuse_no_place(struct call *call, enum limit_scope scope)
{
    log_act(call, "no place");
    call_refuse(call, "not paused: as many pauses of this kind as there may be are in force; resume some of"
        " them%s", scope == SCOPE_ROUTE ? "" : ", or pause the route");
}

void
run_pause(struct call *call)
{
    const char *extent = call_text(call, "extent");
    int64_t for_ms = call_duration_ms(call, "for");
    struct pause p = {.class = CLASS_OK};
    enum pause_result result;
    struct target t;
    json_t *o;

    if (!parse_target(call, &t) ||
        !call_check_reason(call, call_text(call, "reason"), PAUSE_TEXT_MAX))
        return;
    p.scope = t.scope;
    p.extent = extent && strcmp(extent, "all") == 0 ? PAUSE_ALL : PAUSE_EXTERNAL;
    snprintf(p.instance, sizeof(p.instance), "%s", t.instance);
    snprintf(p.reason, sizeof(p.reason), "%s", call_text(call, "reason"));
    snprintf(p.actor, sizeof(p.actor), "%s", call->peer.actor);
    result = store_pause(call->admin->setup.store, &p, for_ms, NULL);
    if (result == PAUSE_NO_PLACE) {
        refuse_no_place(call, p.scope);
        return;
    }
    log_act(call, result == PAUSE_SET ? "paused" : "one that ends no earlier stands");
    o = json_object();
    json_object_set_new(o, "scope", json_string(limit_scope_to_str(p.scope)));
    json_object_set_new(o, "instance", json_text(p.instance));
    json_object_set_new(o, "extent", json_string(pause_extent_to_str(p.extent)));
    json_object_set_new(o, "until", json_time(p.until_utc_ms));
    json_object_set_new(o, "stood", json_boolean(result == PAUSE_STANDS));
    call_ok(call, o);
}

static void
refuse_store(struct call *call, enum store_error error, const char *what)
{
    log_act(call, store_error_to_str(error));
    call_refuse(call,
        "%s: Redis gave no answer (%s), so it is not known to have happened; "
        "`sendgovctl status` says what is wrong, then try again",
        what, store_error_to_str(error));
}

static void
on_resumed(void *arg, bool ok, enum store_error error)
{
    struct call *call = arg;
    json_t *o;

    if (!ok) {
        refuse_store(call, error, "not resumed");
        return;
    }
    log_act(call, "resumed");
    o = json_object();
    json_object_set_new(o, "resumed", json_true());
    call_ok(call, o);
}

void
run_resume(struct call *call)
{
    struct store_status st;
    struct target t;
    json_t *o;

    if (!parse_target(call, &t) ||
        !call_check_reason(call, call_text(call, "reason"), PAUSE_TEXT_MAX))
        return;
    if (is_paused(call->admin, &t)) {
        call->asking = true;
        store_resume(call->admin->setup.store, t.scope, t.instance, call->peer.actor,
            call_text(call, "reason"), on_resumed, call);
        return;
    }
    store_status(call->admin->setup.store, &st);
    if (!st.up) { /* another node may have paused it */
        refuse_store(call, st.error, "not resumed");
        return;
    }
    log_act(call, "was not paused");
    o = json_object();
    json_object_set_new(o, "resumed", json_false());
    call_ok(call, o);
}

/* ---- the rest ---- */

static void
on_opened(void *arg, bool ok, enum store_error error)
{
    struct call *call = arg;

    if (!ok) {
        refuse_store(call, error, "not opened");
        return;
    }
    log_act(call, "opened");
    call_ok(call, NULL);
}

void
run_open(struct call *call)
{
    if (!call_check_reason(call, call_text(call, "reason"), PAUSE_TEXT_MAX))
        return;
    call->asking = true;
    store_open(call->admin->setup.store, call->peer.actor, call_text(call, "reason"), on_opened, call);
}

void
run_reload(struct call *call)
{
    struct err err;
    json_t *o;

    if (call->admin->setup.reload(call->admin->setup.arg, call->peer.actor, &err) != 0) {
        call_refuse(call, "%s; the old configuration stays in force", err.text);
        return;
    }
    o = json_object();
    json_object_set_new(o, "hash", json_text(call->admin->config->hash));
    call_ok(call, o);
}

void
run_drain(struct call *call)
{
    struct admin *a = call->admin;

    log_act(call, "begun");
    admin_set_draining(a);
    call_ok(call, NULL);
    a->setup.drain(a->setup.arg);
}
