/* The commands' handlers, by what they do: command_show.c only looks, command_act.c changes something and
 * logs who did; command_warmup.c does so with warm-ups, command_queue.c and command_queue_act.c with what the
 * spool holds; command_explain.c foretells. */
#ifndef SENDGOV_ADMIN_COMMAND_RUN_H
#define SENDGOV_ADMIN_COMMAND_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "policy/charge.h"

struct admin;
struct call;
struct pause;

/* Is there a route, mailbox or client of that name? Otherwise the call is refused, with what there is. */
bool call_check_named(struct call *call, enum limit_scope scope, const char *instance);
/* May that be the reason of a command, in a text of so many bytes? Otherwise the call is refused. */
bool call_check_reason(struct call *call, const char *reason, size_t size);

/* An operator's hold of this route's warm-up; NULL: none. Valid until the next turn. */
const struct pause *call_find_hold(const struct admin *a, const char *route);
json_t *pause_to_json(const struct admin *a, const struct pause *pause);
/* The store did not answer; ends the call. */
void call_refuse_store(struct call *call, enum store_error error);

void run_status(struct call *call);
void run_limits(struct call *call);
void run_explain(struct call *call);
void run_warmup(struct call *call);
void run_pauses(struct call *call);
void run_upstreams(struct call *call);
void run_config(struct call *call);

void run_pause(struct call *call);
void run_resume(struct call *call);
void run_open(struct call *call);
void run_reload(struct call *call);
void run_drain(struct call *call);

void run_warmup_hold(struct call *call);
void run_warmup_resume(struct call *call);
void run_warmup_step(struct call *call);
void run_warmup_set(struct call *call);

void run_queue(struct call *call);
void run_queue_show(struct call *call);
void run_queue_why(struct call *call);

void run_queue_hold(struct call *call);
void run_queue_release(struct call *call);
void run_queue_retry(struct call *call);
void run_queue_delete(struct call *call);

#endif
