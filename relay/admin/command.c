#include "relay/admin/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/admin/command_run.h"
#include "relay/admin/json_text.h"
#include "relay/base/log.h"
#include "relay/base/nearest.h"
#include "relay/base/xmalloc.h"
#include "relay/config/units.h"

#define PAUSED_SCOPES "route", "mailbox", "client", "sender", "sender_domain"
static const char *const scope_words[] = {PAUSED_SCOPES, "recipient_domain", NULL};
static const char *const pause_words[] = {PAUSED_SCOPES, NULL};
static const char *const extent_words[] = {"external", "all", NULL};

#define REASON {"reason", PARAM_TEXT, true, NULL, "why; kept in the log together with who"}
#define ROUTE {"route", PARAM_TEXT, true, NULL, "name of the route"}
#define INSTANCE_HELP "name of the route, mailbox, client, sender or sender domain"
#define INSTANCE(needed) {"instance", PARAM_TEXT, needed, NULL, INSTANCE_HELP}

static const char *const state_words[] = {"waiting", "in_flight", "uncertain", "parked", "held", NULL};
static const char *const yes_words[] = {"yes", NULL};

#define WHICH_MESSAGES \
    {"client", PARAM_TEXT, false, NULL, "messages of this client"}, \
        {"route", PARAM_TEXT, false, NULL, "messages of this route"}, \
        {"mailbox", PARAM_TEXT, false, NULL, "messages of this mailbox"}, \
        {"sender", PARAM_TEXT, false, NULL, "messages from this address"}, \
        {"recipient", PARAM_TEXT, false, NULL, "messages to this address"}, \
        {"sender_domain", PARAM_TEXT, false, NULL, "messages from this domain"}, \
        {"recipient_domain", PARAM_TEXT, false, NULL, "messages to this domain"}, \
        {"state", PARAM_WORD, false, state_words, "messages or recipients in this state"}, \
        {"older_than", PARAM_DURATION, false, NULL, "messages received longer ago than this"}
#define MESSAGE_ID(needed) {"id", PARAM_TEXT, needed, NULL, "the message's id, as the log has it"}
#define ORDER_PARAMS(needs_reason) \
    { \
        MESSAGE_ID(false), WHICH_MESSAGES, \
            {"reason", PARAM_TEXT, needs_reason, NULL, "why; kept in the log together with who"}, \
            {"all", PARAM_WORD, false, yes_words, "yes: every message in the spool"}, \
            {"max", PARAM_NUMBER, false, NULL, "at most so many, the oldest first"} \
    }

static const struct command commands[] = {
    {"status", PRIVILEGE_READ, {{0}}, run_status, "the node at a glance"},
    {"limits", PRIVILEGE_READ,
        {{"scope", PARAM_WORD, false, scope_words, "only limits of this scope"}, INSTANCE(false)}, run_limits,
        "each limit: used, cap in force, when it frees"},
    {"limits-explain", PRIVILEGE_READ,
        {{"sender", PARAM_TEXT, true, NULL, "envelope sender; <> is the null sender"},
            {"recipients", PARAM_TEXTS, true, NULL, "envelope recipients"},
            {"client", PARAM_TEXT, false, NULL, "a client, one of its logins, or an address of its network"},
            {"bytes", PARAM_NUMBER, false, NULL, "size of the message; 0 without it"}},
        run_explain, "what would become of such a message, and which limits it meets"},
    {"warmup", PRIVILEGE_READ, {{"route", PARAM_TEXT, false, NULL, "only this route"}}, run_warmup,
        "each route's step, cap and peak of today"},
    {"warmup-hold", PRIVILEGE_ALL,
        {ROUTE, REASON, {"for", PARAM_DURATION, false, NULL, "how long; without it until somebody resumes"}},
        run_warmup_hold, "keep a warm-up on its step"},
    {"warmup-resume", PRIVILEGE_ALL, {ROUTE, REASON}, run_warmup_resume, "let it advance again"},
    {"warmup-step", PRIVILEGE_ALL,
        {ROUTE, REASON, {"back", PARAM_WORD, false, yes_words, "yes: one step back"}}, run_warmup_step,
        "put a warm-up one step on"},
    {"warmup-set", PRIVILEGE_ALL, {ROUTE, {"step", PARAM_NUMBER, true, NULL, "the step, from 1"}, REASON},
        run_warmup_set, "put a warm-up on a step"},
    {"pauses", PRIVILEGE_READ, {{0}}, run_pauses, "the pauses in force"},
    {"upstreams", PRIVILEGE_READ, {{0}}, run_upstreams, "connections towards the upstreams"},
    {"config", PRIVILEGE_READ, {{0}}, run_config, "the configuration in force, secrets masked"},
    {"pause", PRIVILEGE_ALL,
        {{"scope", PARAM_WORD, true, pause_words, "what to stop"}, INSTANCE(true), REASON,
            {"for", PARAM_DURATION, false, NULL, "how long; without it until somebody resumes"},
            {"extent", PARAM_WORD, false, extent_words, "external (default) or all mail"}},
        run_pause, "stop mail of one scope on all nodes"},
    {"resume", PRIVILEGE_ALL,
        {{"scope", PARAM_WORD, true, pause_words, "what to resume"}, INSTANCE(true), REASON}, run_resume,
        "end a pause on all nodes"},
    {"open", PRIVILEGE_ALL, {REASON}, run_open, "trust the counters although memory was lost"},
    {"reload", PRIVILEGE_ALL, {{0}}, run_reload, "apply the configuration file, wholly or not at all"},
    {"drain", PRIVILEGE_ALL, {{0}}, run_drain, "finish what is under way, then exit"},
    {"queue", PRIVILEGE_READ,
        {MESSAGE_ID(false), WHICH_MESSAGES,
            {"max", PARAM_NUMBER, false, NULL, "how many, from 1 to 1000; 100 without it"},
            {"after", PARAM_NUMBER, false, NULL, "only what comes after this: next of the page before"}},
        run_queue, "what the spool holds"},
    {"queue-show", PRIVILEGE_READ,
        {MESSAGE_ID(true), {"after", PARAM_NUMBER, false, NULL, "skip so many recipients"}}, run_queue_show,
        "one message, recipient by recipient"},
    {"queue-why", PRIVILEGE_READ, {MESSAGE_ID(true)}, run_queue_why, "what one message waits for"},
    {"queue-hold", PRIVILEGE_ALL, ORDER_PARAMS(true), run_queue_hold, "keep messages until released"},
    {"queue-release", PRIVILEGE_ALL, ORDER_PARAMS(false), run_queue_release,
        "let held and parked messages go"},
    {"queue-retry", PRIVILEGE_ALL, ORDER_PARAMS(false), run_queue_retry, "make messages due at once"},
    {"queue-delete", PRIVILEGE_ALL, ORDER_PARAMS(true), run_queue_delete, "delete messages without a report"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *
command_table(size_t *n_out)
{
    *n_out = N_COMMANDS;
    return commands;
}

const struct command *
command_find(struct span name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (span_eq(name, span_str(commands[i].name)))
            return &commands[i];
    }
    return NULL;
}

/* ---- answers ---- */

static void
call_free(struct call *call)
{
    list_del(&call->link);
    task_cancel(&call->tell);
    json_decref(call->args);
    json_decref(call->answer);
    if (call->work)
        call->work_free(call->work);
    free(call);
}

static void
on_tell(void *arg)
{
    struct call *call = arg;
    json_t *answer = call->answer;
    call_done_fn *done = call->done;
    void *done_arg = call->arg;

    call->answer = NULL;
    call_free(call);
    if (done)
        done(done_arg, answer);
    json_decref(answer);
}

static void
settle(struct call *call, json_t *answer)
{
    sg_assert(call->answer == NULL);
    call->answer = answer;
    call->asking = false;
    call->question = HANDLE_NONE;
    if (call->admin)
        task_defer(call->admin->setup.loop, &call->tell);
    else
        call_free(call);
}

void
call_ok(struct call *call, json_t *fields)
{
    json_t *answer = json_object();

    json_object_set_new(answer, "ok", json_true());
    if (fields)
        json_object_update(answer, fields);
    json_decref(fields);
    settle(call, answer);
}

static void fail(struct call *call, const char *code, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void
fail(struct call *call, const char *code, const char *fmt, va_list ap)
{
    char text[ERR_TEXT_MAX + 256];
    json_t *answer = json_object();

    vsnprintf(text, sizeof(text), fmt, ap);
    json_object_set_new(answer, "ok", json_false());
    json_object_set_new(answer, "error", json_text(text));
    json_object_set_new(answer, "code", json_string(code));
    settle(call, answer);
}

void
call_refuse(struct call *call, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail(call, "refused", fmt, ap);
    va_end(ap);
}

void
call_usage(struct call *call, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail(call, "usage", fmt, ap);
    va_end(ap);
}

/* ---- parameters ---- */

const char *
call_text(const struct call *call, const char *param)
{
    return json_string_value(json_object_get(call->args, param));
}

int64_t
call_duration_ms(const struct call *call, const char *param)
{
    const char *text = call_text(call, param), *why;
    uint64_t ms = 0;

    if (text)
        (void)units_parse_duration_ms(span_str(text), &ms, &why);
    return (int64_t)ms;
}

static bool
parse_number(const json_t *value, uint64_t *out)
{
    const char *text = json_string_value(value), *why;

    *out = 0;
    if (!text) {
        *out = json_is_integer(value) ? (uint64_t)json_integer_value(value) : UINT64_MAX;
        return *out <= INT64_MAX;
    }
    return units_parse_number(span_str(text), out, &why) && *out <= INT64_MAX;
}

uint64_t
call_number(const struct call *call, const char *param, uint64_t fallback)
{
    const json_t *value = json_object_get(call->args, param);
    uint64_t number;

    return value && parse_number(value, &number) ? number : fallback;
}

static const struct param *
find_param(const struct command *command, const char *name)
{
    for (size_t i = 0; i < COMMAND_PARAMS_MAX && command->params[i].name; i++) {
        if (strcmp(command->params[i].name, name) == 0)
            return &command->params[i];
    }
    return NULL;
}

static bool
check_word(struct call *call, const struct param *p, const char *value)
{
    const char *near;
    size_t n = 0;
    struct buf all;

    buf_init(&all);
    for (; p->words[n]; n++) {
        if (strcmp(p->words[n], value) == 0)
            break;
        buf_printf(&all, "%s%s", n ? ", " : "", p->words[n]);
    }
    if (p->words[n]) {
        buf_fini(&all);
        return true;
    }
    near = nearest_word(span_str(value), p->words, n);
    call_usage(call, "%s: parameter \"%s\" cannot be \"%.64s\"%s%s%s; it is one of %s", call->command->name,
        p->name, value, near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
        buf_span(&all).p);
    buf_fini(&all);
    return false;
}

/* Durations end at 10 years: what is longer is a typing error, and sums stay far from overflow. */
#define DURATION_MAX_MS UINT64_C(315360000000)

static bool
check_duration(struct call *call, const struct param *p, const char *text)
{
    const char *why = NULL;
    uint64_t ms;

    if (!units_parse_duration_ms(span_str(text), &ms, &why)) {
        call_usage(call, "%s: parameter \"%s\": \"%.64s\": %s; for example 90s, 30min, 12h",
            call->command->name, p->name, text, why);
        return false;
    }
    if (ms == 0 || ms > DURATION_MAX_MS) {
        call_usage(call, "%s: parameter \"%s\" must be more than 0 and at most 10 years",
            call->command->name, p->name);
        return false;
    }
    return true;
}

static bool
check_number(struct call *call, const struct param *p, const json_t *value)
{
    uint64_t number;

    if (parse_number(value, &number))
        return true;
    call_usage(call, "%s: parameter \"%s\" must be a number (%s)", call->command->name, p->name, p->help);
    return false;
}

static bool
check_texts(struct call *call, const struct param *p, const json_t *list)
{
    size_t n = json_array_size(list), i = 0;

    while (i < n && span_trim(span_str(json_string_value(json_array_get(list, i)))).n > 0)
        i++;
    if (n > 0 && n <= PARAM_TEXTS_MAX && i == n)
        return true;
    call_usage(call, "%s: parameter \"%s\" must be a list of 1 to %d texts that are not empty (%s)",
        call->command->name, p->name, PARAM_TEXTS_MAX, p->help);
    return false;
}

static bool
check_value(struct call *call, const struct param *p, const json_t *value)
{
    const char *text = json_string_value(value);

    if (p->type == PARAM_NUMBER)
        return check_number(call, p, value);
    if (p->type == PARAM_TEXTS)
        return check_texts(call, p, value);
    if (span_trim(span_str(text)).n == 0) {
        call_usage(call, "%s: parameter \"%s\" must be a text that is not empty (%s)", call->command->name,
            p->name, p->help);
        return false;
    }
    switch (p->type) {
    case PARAM_TEXT:
        return true;
    case PARAM_WORD:
        return check_word(call, p, text);
    case PARAM_DURATION:
        return check_duration(call, p, text);
    case PARAM_NUMBER:
    case PARAM_TEXTS:
        break;
    }
    return false;
}

static void
refuse_param(struct call *call, const char *name)
{
    const char *names[COMMAND_PARAMS_MAX], *near;
    size_t n = 0;

    for (; n < COMMAND_PARAMS_MAX && call->command->params[n].name; n++)
        names[n] = call->command->params[n].name;
    near = nearest_word(span_str(name), names, n);
    if (near)
        call_usage(call, "%s: there is no parameter \"%.64s\"; did you mean \"%s\"?", call->command->name,
            name, near);
    else
        call_usage(call, "%s: there is no parameter \"%.64s\"; leave it out", call->command->name, name);
}

static bool
check_params(struct call *call)
{
    const char *name;
    json_t *value;

    json_object_foreach(call->args, name, value) {
        const struct param *p = find_param(call->command, name);

        if (strcmp(name, "command") == 0)
            continue;
        if (!p) {
            refuse_param(call, name);
            return false;
        }
        if (!check_value(call, p, value))
            return false;
    }
    for (size_t i = 0; i < COMMAND_PARAMS_MAX && call->command->params[i].name; i++) {
        const struct param *p = &call->command->params[i];

        if (p->required && !json_object_get(call->args, p->name)) {
            call_usage(call, "%s: parameter \"%s\" is missing (%s)", call->command->name, p->name, p->help);
            return false;
        }
    }
    return true;
}

/* ---- dispatch ---- */

static void
refuse_command(struct call *call, const char *name)
{
    const char *names[N_COMMANDS], *near;

    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    near = nearest_word(span_str(name), names, N_COMMANDS);
    if (near)
        call_usage(call, "there is no command \"%.64s\"; did you mean \"%s\"?", name, near);
    else
        call_usage(call, "there is no command \"%.64s\"; sendgovctl(8) lists them", name);
}

static bool
check_privilege(struct call *call)
{
    if (call->peer.privilege >= call->command->privilege)
        return true;
    log_text(LOG_WARNING, "control-refused", "%s may not use \"%s\"", call->peer.actor, call->command->name);
    call_refuse(call, "%s may not use \"%s\"; become root or the user sendgovd runs as", call->peer.actor,
        call->command->name);
    return false;
}

static bool
parse(struct call *call, struct span line)
{
    json_error_t error;
    const char *name;

    call->args = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &error);
    if (!call->args) {
        call_usage(call, "not one JSON object on a line: %s", error.text);
        return false;
    }
    name = json_string_value(json_object_get(call->args, "command"));
    if (!name) {
        call_usage(call, "the object has no text \"command\"; send {\"command\":\"status\"}");
        return false;
    }
    call->command = command_find(span_str(name));
    if (!call->command)
        refuse_command(call, name);
    return call->command != NULL;
}

struct call *
command_start(struct admin *a, const struct peer *peer, struct span line, call_done_fn *done, void *arg)
{
    struct call *call = xcalloc(1, sizeof(*call));

    call->admin = a;
    call->peer = *peer;
    call->done = done;
    call->arg = arg;
    task_init(&call->tell, on_tell, call);
    list_init(&call->link);
    list_add_tail(&a->calls, &call->link);
    if (parse(call, line) && check_privilege(call) && check_params(call))
        call->command->run(call);
    return call;
}

/* False: whoever was asked answers all the same. */
static bool
withdraw(struct call *call, struct admin *a)
{
    if (handle_is_none(call->question))
        return false;
    call->withdraw(a, call->question);
    call->question = HANDLE_NONE;
    call->asking = false;
    return true;
}

void
call_forget(struct call **callp)
{
    struct call *call = *callp;

    *callp = NULL;
    if (!call)
        return;
    call->done = NULL;
    if (withdraw(call, call->admin))
        call_free(call);
}

void
command_abandon(struct admin *a)
{
    LIST_EACH_SAFE(it, &a->calls) {
        struct call *call = LIST_ITEM(it, struct call, link);

        call->done = NULL;
        withdraw(call, a);
        if (call->asking) {
            list_del(&call->link);
            call->admin = NULL; /* freed when it is answered */
        } else {
            call_free(call);
        }
    }
}
