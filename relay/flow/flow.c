#include "relay/flow/flow.h"

#include <stdlib.h>

#include "policy/plan.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/connections.h"
#include "relay/flow/job.h"
#include "relay/flow/ledger.h"
#include "relay/flow/refuse.h"

struct flow *
flow_new(const struct flow_setup *setup)
{
    struct flow *f = xcalloc(1, sizeof(*f));

    f->loop = setup->loop;
    f->store = setup->store;
    f->upstream = setup->upstream;
    f->metrics = setup->metrics;
    slots_init(&f->jobs);
    list_init(&f->all);
    return f;
}

void
flow_free(struct flow **f)
{
    if (*f == NULL)
        return;
    LIST_EACH_SAFE(it, &(*f)->all)
        job_abandon(LIST_ITEM(it, struct job, link));
    slots_fini(&(*f)->jobs);
    config_unref(&(*f)->config);
    free(*f);
    *f = NULL;
}

void
flow_configure(struct flow *f, struct config *config)
{
    struct config *before = f->config;

    f->config = config_ref(config);
    hints_clear(&f->hints);
    connections_configure(f->store, config);
    store_set_limits(f->store, config->limits, config->n_limits);
    config_unref(&before); /* only now: the store pointed to its limits */
}

/* ---- plan ---- */

/* The limits are those in force now, not those the session began with: an edited cap holds for the next
 * message. */
static int
plan(struct flow *f, const struct plan_subject *subject, struct charge_request *request_out)
{
    return plan_charge(f->config->limits, f->config->n_limits, subject, request_out);
}

static struct plan_subject
subject_of(struct flow *f, const struct client_conf *client, const struct route_conf *route,
    const struct mailbox_conf *mailbox, const struct address *sender)
{
    return (struct plan_subject){
        .route = span_str(route->name),
        .mailbox = span_str(mailbox != NULL ? mailbox->name : ""),
        .client = span_str(client->name),
        .sender = span_str(sender->text),
        .sender_domain = address_domain(sender),
        .warmup_step = store_warmup_step(f->store, route->name),
        .owner = config_owner(f->config),
    };
}

int
flow_plan_message(struct flow *f, const struct message *m, struct charge_request *request_out)
{
    struct plan_subject subject = subject_of(f, m->client, m->route, m->mailbox, &m->envelope.sender);

    sg_assert(m->envelope.n_recipients > 0);
    subject.external = m->envelope.recipients[0].class == RECIPIENT_EXTERNAL;
    subject.recipients = (uint32_t)m->envelope.n_recipients;
    subject.least = subject.recipients; /* what is not granted could not be held */
    subject.bytes = m->content_bytes + span_str(m->trace).n;
    return plan(f, &subject, request_out);
}

static int
plan_look(struct flow *f, const struct flow_look *look, enum recipient_class class, uint32_t recipients,
    struct charge_request *request_out)
{
    struct plan_subject subject;

    subject = subject_of(f, look->client, look->route, look->mailbox, &look->envelope->sender);
    subject.external = class == RECIPIENT_EXTERNAL;
    subject.recipients = subject.least = recipients;
    subject.bytes = look->bytes;
    if (plan(f, &subject, request_out) != 0)
        return -1;
    request_out->look = true;
    return 0;
}

bool
flow_hint(struct flow *f, const struct flow_look *look, enum recipient_class class, struct flow_refusal *out)
{
    const struct envelope *e = look->envelope;
    struct charge_request request;
    struct verdict verdict;

    if (e->n_recipients > 0 && e->recipients[0].class != class) {
        refuse_mixed(out);
        return true;
    }
    if (plan_look(f, look, class, (uint32_t)e->n_recipients + 1, &request) != 0) {
        refuse_too_many_limits(out);
        return true;
    }
    if (!refuse_locally(f, &request, &verdict))
        return false;
    ledger_decision(f->metrics, &verdict);
    refuse_with_verdict(&verdict, &request, f->config, out);
    return true;
}

struct handle
flow_submit(struct flow *f, struct message **m, flow_done_fn *done, void *arg)
{
    struct job *job = job_new(f, done, arg);

    job->message = *m;
    *m = NULL;
    if (flow_plan_message(f, job->message, &job->request) != 0)
        job_fail_plan(job);
    return job->self;
}

struct handle
flow_look(struct flow *f, const struct flow_look *look, flow_looked_fn *looked, void *arg)
{
    const struct envelope *e = look->envelope;
    struct job *job = job_new(f, NULL, arg);

    job->looked = looked;
    sg_assert(e->n_recipients > 0);
    if (plan_look(f, look, e->recipients[0].class, (uint32_t)e->n_recipients, &job->request) != 0)
        job_fail_plan(job);
    return job->self;
}

/* ---- books ---- */

static struct settlement
settlement_of(const struct flow_refusal *why)
{
    struct settlement s = {.outcome = why->reply.code >= 500 ? "rejected" : "deferred", .class = CLASS_OK,
        .end = why->end};

    reply_copy(&s.answer, &why->reply);
    return s;
}

void
flow_book_message(struct flow *f, struct message **m, const struct flow_refusal *why)
{
    struct settlement s = settlement_of(why);
    struct ledger_entry entry = {.message = *m, .settlement = &s, .verdict = &why->verdict};

    ledger_count(f->metrics, &entry);
    ledger_log(&entry);
    message_free(m);
}

void
flow_book_recipients(struct flow *f, struct message **m, const struct flow_refusal *why)
{
    struct settlement s = settlement_of(why);
    struct ledger_entry entry = {.message = *m, .settlement = &s, .verdict = &why->verdict};

    ledger_count_recipients(f->metrics, &entry);
    ledger_log_recipients(&entry);
    message_free(m);
}

void
flow_forget(struct flow *f, struct handle h)
{
    struct job *job = slots_get(&f->jobs, h);

    if (job != NULL)
        job_forget(job);
}

void
flow_route_caps(const struct flow *f, const struct route_conf *route, uint64_t *size_out, bool *eightbit_out)
{
    upstream_route_caps(f->upstream, route, size_out, eightbit_out);
}

void
flow_status(const struct flow *f, struct flow_status *out)
{
    out->in_flight = f->jobs.live;
}
