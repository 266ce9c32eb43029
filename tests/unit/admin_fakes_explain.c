/* The stand-in for what explains: the plan is real, on the limits of the fixture; the verdict is
 * fake.verdict, and what becomes of the mail follows from it alone. */
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/explain.h"
#include "tests/unit/admin_fakes.h"

struct look_question {
    struct task task;
    store_charge_fn *done;
    void *arg;
    struct owner owner;
};
static struct look_question *open_look;

static void
answer_look(void *arg)
{
    struct look_question *q = arg;

    open_look = NULL;
    q->done(q->arg, &fake.verdict);
    owner_unref(&q->owner);
    free(q);
}

struct handle
store_charge(struct store *s, const struct charge_request *request, store_charge_fn *done, void *arg)
{
    struct look_question *q = xcalloc(1, sizeof(*q));

    (void)s;
    sg_assert(request->look);
    fake.looks++;
    fake.looked = *request;
    *q = (struct look_question){.done = done, .arg = arg, .owner = request->owner};
    owner_ref(&q->owner);
    task_init(&q->task, answer_look, q);
    open_look = q;
    if (!fake.look_hangs)
        task_defer(fake_loop, &q->task);
    return (struct handle){3, 1};
}

void
fake_forget_look(void)
{
    if (!open_look)
        return;
    task_cancel(&open_look->task);
    owner_unref(&open_look->owner);
    free(open_look);
    open_look = NULL;
}

void
flow_route_caps(const struct flow *f, const struct route_conf *route, uint64_t *size_out, bool *eightbit_out)
{
    (void)f;
    (void)route;
    *size_out = 0;
    *eightbit_out = true;
}

const char *
explain_outcome_to_str(enum explain_outcome o)
{
    const char *const names[] = {"relayed", "partly", "held", "refused"};

    return names[o];
}

bool
explain_goes_with(const struct flow *f, const struct route_conf *route, const struct recipient *a,
    const struct recipient *b)
{
    (void)f;
    (void)route;
    return a->class == b->class;
}

int
explain_plan(struct flow *f, const struct flow_look *look, struct charge_request *request_out)
{
    const struct envelope *e = look->envelope;
    struct plan_subject subject = {.route = span_str(look->route->name),
        .mailbox = span_str(look->mailbox ? look->mailbox->name : ""),
        .client = span_str(look->client->name),
        .sender = span_str(e->sender.text),
        .sender_domain = address_domain(&e->sender),
        .external = e->recipients[0].class == RECIPIENT_EXTERNAL,
        .recipients = (uint32_t)e->n_recipients,
        .least = 1,
        .bytes = look->bytes,
        .owner = config_owner(look->config)};
    int result;

    (void)f;
    result = plan_charge(look->config->limits, look->config->n_limits, &subject, request_out);
    request_out->look = true;
    return fake.plan_fails ? -1 : result;
}

void
explain_verdict(struct flow *f, const struct explain_asked *asked, struct explained *out)
{
    bool granted = asked->request && asked->verdict->kind == VERDICT_GRANTED;

    (void)f;
    out->outcome = granted && !fake.is_behind ? EXPLAIN_RELAYED : EXPLAIN_HELD;
    out->why.code = 0;
    if (out->outcome == EXPLAIN_HELD)
        reply_set(&out->why, 451, "4.4.5", "over");
    reply_set(&out->answer, 250, "2.0.0", out->outcome == EXPLAIN_HELD ? "queued as ID" : "relayed as ID");
}
