/* command: what can be asked over the control socket. One table says for each command who may use it, which
 * parameters it takes and who answers; nothing else checks privileges.
 *
 * A request is one JSON object, {"command":"pause","scope":"route","instance":"contoso","reason":"..."}.
 * The answer is one too: {"ok":true,...}, or {"ok":false,"error":"what is wrong; what to do","code":"..."}
 * with the code `usage` or `refused`. A call lives from command_start to its answer, and asks the store in
 * between where it must. */
#ifndef SENDGOV_ADMIN_COMMAND_H
#define SENDGOV_ADMIN_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "relay/admin/admin_state.h"
#include "relay/admin/peer.h"
#include "relay/base/slots.h"
#include "relay/base/span.h"
#include "relay/net/loop.h"

struct call;

enum param_type {
    PARAM_TEXT,
    PARAM_WORD,
    PARAM_DURATION,
    PARAM_NUMBER,
    PARAM_TEXTS, /* an array of PARAM_TEXTS_MAX texts at most */
};
#define PARAM_TEXTS_MAX 100

struct param {
    const char *name;
    enum param_type type;
    bool required;
    const char *const *words; /* PARAM_WORD: what it may be, NULL-terminated */
    const char *help;
};

#define COMMAND_PARAMS_MAX 13

struct command {
    const char *name;
    enum privilege privilege;
    struct param params[COMMAND_PARAMS_MAX]; /* ends with name NULL */
    /* Answers now or later, exactly once, with call_ok or call_refuse. Parameters were checked. */
    void (*run)(struct call *call);
    const char *help;
};

/* NULL: no such command. */
const struct command *command_find(struct span name);
/* The table, for help and tests. */
const struct command *command_table(size_t *n_out);

typedef void call_done_fn(void *arg, json_t *answer);

struct call {
    struct list link;
    struct admin *admin;         /* NULL: admin is gone, store or flow still owe their answer */
    const struct command *command;
    struct peer peer;
    json_t *args;
    json_t *answer;
    struct task tell;
    bool asking;                 /* store or flow hold a pointer to this call */
    struct handle question;      /* one that may be withdrawn, and how; HANDLE_NONE: it runs to its end */
    void (*withdraw)(struct admin *a, struct handle question);
    void *work;                  /* of a handler that asks more than once; freed with the call */
    void (*work_free)(void *work);
    call_done_fn *done;          /* NULL: nobody waits any more */
    void *arg;
};

/* Parses and checks one line and runs the command. done exactly once, never during the call, with an answer
 * that is valid during done only; not after call_forget. */
struct call *command_start(
    struct admin *a, const struct peer *peer, struct span line, call_done_fn *done, void *arg);
/* The answer is not wanted; what only looks ends, what changes something runs to its end. */
void call_forget(struct call **call);
/* Ends all calls without an answer: admin goes. */
void command_abandon(struct admin *a);

/* For handlers. NULL: the parameter was not given. */
const char *call_text(const struct call *call, const char *param);
/* 0 when not given. */
int64_t call_duration_ms(const struct call *call, const char *param);
uint64_t call_number(const struct call *call, const char *param, uint64_t fallback);
/* Takes fields (NULL: none), adds "ok". */
void call_ok(struct call *call, json_t *fields);
void call_refuse(struct call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void call_usage(struct call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
