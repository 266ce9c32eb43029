/* The commands that look at the spool. What they ask is forgotten when nobody waits for it any more. */
#include "relay/admin/command_queue.h"
#include "relay/admin/command_run.h"
#include "relay/admin/control.h"
#include "relay/admin/json_text.h"
#include "relay/admin/spool_view.h"
#include "relay/base/clock.h"
#include "relay/flow/held.h"

#define LIST_DEFAULT 100
#define LIST_MAX 1000
/* Both halves of a message with internal and external recipients may go by one id. */
#define HALVES_MAX 8
#define ANSWER_FRAME 1024 /* what stands around rows */
#define MESSAGE_BYTES 8192 /* of JSON, without its recipients: names, one address, a reason */

static void
withdraw(struct admin *a, struct handle question)
{
    held_forget(a->setup.flow, question);
}

static void
ask(struct call *call, const struct spool_filter *filter, spool_listed_fn *listed)
{
    call->asking = true;
    call->withdraw = withdraw;
    call->question = held_list(call->admin->setup.flow, filter, listed, call);
}

static void
wait_of(const struct call *call, const struct spool_message *m, struct spool_wait *out)
{
    struct queue_why why;

    held_why(call->admin->setup.flow, m->seq, &why);
    spool_view_wait(m, &why, clock_mono_ms(), out);
}

/* ---- list ---- */

/* As many rows as one answer may hold; the rest is the next page's. */
static void
on_list(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct call *call = arg;
    json_t *o, *list;
    size_t bytes = ANSWER_FRAME, i;

    if (result != SPOOL_DONE) {
        call_refuse_spool(call, result);
        return;
    }
    list = json_array();
    for (i = 0; i < n; i++) {
        struct spool_wait wait;
        json_t *row;

        wait_of(call, messages[i], &wait);
        row = spool_view_row(messages[i], &wait);
        bytes += json_dumpb(row, NULL, 0, SPOOL_VIEW_FLAGS) + 1;
        if (bytes > CONTROL_ANSWER_MAX) {
            json_decref(row);
            break;
        }
        json_array_append_new(list, row);
    }
    more = more || i < n;
    o = json_object();
    json_object_set_new(o, "messages", list);
    json_object_set_new(o, "more", json_boolean(more));
    json_object_set_new(o, "next", more && i > 0 ? json_u64(messages[i - 1]->seq) : json_null());
    call_ok(call, o);
}

static bool
check_name(struct call *call, enum limit_scope scope, const char *name)
{
    return !name || call_check_named(call, scope, name);
}

void
run_queue(struct call *call)
{
    struct spool_filter filter;

    if (!call_has_spool(call) || !call_spool_filter(call, &filter))
        return;
    if (!check_name(call, SCOPE_CLIENT, filter.client) || !check_name(call, SCOPE_ROUTE, filter.route) ||
        !check_name(call, SCOPE_MAILBOX, filter.mailbox))
        return;
    filter.max = LIST_DEFAULT;
    if (call_spool_max(call, LIST_MAX, &filter.max))
        ask(call, &filter, on_list);
}

/* ---- one message ---- */

/* The first stands at the top of the answer, other halves of it under "also". */
static void
answer_halves(struct call *call, json_t *const *halves, size_t n)
{
    json_t *also = json_array();

    for (size_t i = 1; i < n; i++)
        json_array_append_new(also, halves[i]);
    json_object_set_new(halves[0], "also", also);
    call_ok(call, halves[0]);
}

static bool
is_there(struct call *call, enum spool_result result, size_t n)
{
    if (result == SPOOL_DONE && n > 0)
        return true;
    call_refuse_spool(call, result == SPOOL_DONE ? SPOOL_GONE : result);
    return false;
}

static json_t *
show(const struct spool_message *m, size_t from, size_t bytes_max)
{
    json_t *o = spool_view_message(m);
    size_t next;

    json_object_set_new(o, "recipients", spool_view_recipients(m, from, bytes_max, &next));
    json_object_set_new(o, "recipient_count", json_u64(m->envelope.n_recipients));
    json_object_set_new(o, "next", next ? json_u64(next) : json_null());
    return o;
}

static void
on_show(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct call *call = arg;
    json_t *halves[HALVES_MAX];

    (void)more;
    if (!is_there(call, result, n))
        return;
    n = n < HALVES_MAX ? n : HALVES_MAX;
    for (size_t i = 0; i < n; i++)
        halves[i] = show(messages[i], call_number(call, "after", 0), CONTROL_ANSWER_MAX / n - MESSAGE_BYTES);
    answer_halves(call, halves, n);
}

static void
on_why(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct call *call = arg;
    json_t *halves[HALVES_MAX];

    (void)more;
    if (!is_there(call, result, n))
        return;
    n = n < HALVES_MAX ? n : HALVES_MAX;
    for (size_t i = 0; i < n; i++) {
        struct spool_wait wait;

        wait_of(call, messages[i], &wait);
        halves[i] = spool_view_why(messages[i], &wait,
            held_place(call->admin->setup.flow, messages[i]->seq));
    }
    answer_halves(call, halves, n);
}

static void
ask_one(struct call *call, spool_listed_fn *listed)
{
    const struct spool_filter filter = {.id = call_text(call, "id"), .max = HALVES_MAX};

    if (call_has_spool(call))
        ask(call, &filter, listed);
}

void
run_queue_show(struct call *call)
{
    ask_one(call, on_show);
}

void
run_queue_why(struct call *call)
{
    ask_one(call, on_why);
}
