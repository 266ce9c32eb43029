#include "relay/flow/flow.h"

#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/connections.h"
#include "relay/flow/held.h"
#include "relay/flow/job.h"
#include "relay/flow/ledger.h"
#include "relay/flow/refuse.h"
#include "relay/flow/release.h"
#include "relay/net/loop.h"

struct flow *
flow_new(const struct flow_setup *setup)
{
    struct flow *f = xcalloc(1, sizeof(*f));

    f->loop = setup->loop;
    f->store = setup->store;
    f->upstream = setup->upstream;
    f->metrics = setup->metrics;
    f->inherits_spool = setup->inherits_spool;
    slots_init(&f->jobs);
    list_init(&f->all);
    list_init(&f->orders);
    f->random = (uint32_t)clock_mono_us();
    return f;
}

/* What the spool still reads is freed after it. */
static void
abandon_all(struct flow *f)
{
    struct list lent;

    list_init(&lent);
    LIST_EACH_SAFE(it, &f->all) {
        struct job *job = LIST_ITEM(it, struct job, link);

        if (!job_abandon(job))
            continue;
        list_del(it);
        list_add_tail(&lent, it);
    }
    spool_free(&f->spool);
    held_abandon(f);
    LIST_EACH_SAFE(it, &lent)
        job_bury(LIST_ITEM(it, struct job, link));
}

void
flow_free(struct flow **f)
{
    if (*f == NULL)
        return;
    release_stop(*f);
    abandon_all(*f);
    release_free(&(*f)->release);
    blob_pool_free(&(*f)->bodies);
    slots_fini(&(*f)->jobs);
    config_unref(&(*f)->config);
    free(*f);
    *f = NULL;
}

/* Bodies up to here stay in memory. */
#define SPILL_BYTES ((size_t)256 * 1024)

/* Bodies that are on their way keep the old pool alive. */
static void
renew_bodies(struct flow *f, const struct front_conf *old, const struct front_conf *new)
{
    if (f->bodies != NULL && old != NULL && strcmp(old->temp_folder, new->temp_folder) == 0 &&
        old->body_memory_bytes == new->body_memory_bytes)
        return;
    blob_pool_free(&f->bodies);
    f->bodies = blob_pool_new(new->temp_folder, SPILL_BYTES, new->body_memory_bytes);
}

void
flow_configure(struct flow *f, struct config *config)
{
    struct config *before = f->config;

    f->config = config_ref(config);
    hints_clear(&f->hints);
    renew_bodies(f, before != NULL ? &before->front : NULL, &config->front);
    if (f->spool != NULL)
        spool_configure(f->spool, &config->spool);
    release_configure(f, before);
    connections_configure(f->store, config);
    if (before == NULL)
        connections_disown(f->store, config, NULL);
    store_set_limits(f->store, config->limits, config->n_limits);
    config_unref(&before); /* only now: the store pointed to its limits */
}

/* ---- plan ---- */

struct span
flow_counted_domain(const struct flow *f, const struct route_conf *route, enum recipient_class class,
    struct span domain)
{
    struct plan_subject subject = {.route = span_str(route->name), .recipient_domain = domain,
        .external = class == RECIPIENT_EXTERNAL};

    if (domain.n > 0 && plan_counts_domain(f->config->limits, f->config->n_limits, &subject))
        return domain;
    return span_of("", 0);
}

struct span
flow_domain_of(const struct flow *f, const struct route_conf *route, const struct recipient *r)
{
    return flow_counted_domain(f, route, r->class, address_domain(&r->address));
}

/* The limits are those in force now, not those the session began with: an edited cap holds for the next
 * message. */
int
flow_plan_subject(struct flow *f, const struct flow_subject *subject, struct charge_request *request_out)
{
    const char *at = strrchr(subject->sender, '@');
    struct plan_subject plan = {
        .route = span_str(subject->route->name),
        .mailbox = span_str(subject->mailbox != NULL ? subject->mailbox->name : ""),
        .client = span_str(subject->client->name),
        .sender = span_str(subject->sender),
        .sender_domain = span_str(at != NULL ? at + 1 : ""),
        .recipient_domain = subject->domain,
        .external = subject->class == RECIPIENT_EXTERNAL,
        .recipients = subject->recipients,
        .least = subject->least > 0 ? subject->least : 1,
        .bytes = subject->bytes,
        .warmup_step = store_warmup_step(f->store, subject->route->name),
        .owner = config_owner(f->config),
    };

    return plan_charge(f->config->limits, f->config->n_limits, &plan, request_out);
}

int
flow_plan_round(struct flow *f, const struct flow_plan *p, struct charge_request *request_out)
{
    const struct message *m = p->message;
    struct flow_subject subject = {m->client, m->route, m->mailbox, m->envelope.sender.text, p->class,
        p->recipients, p->least, m->content_bytes + span_str(m->trace).n, p->domain};

    return flow_plan_subject(f, &subject, request_out);
}

/* Those that have come go together with the one that is to come. */
int
flow_plan_look(struct flow *f, const struct flow_look *look, enum recipient_class class, uint32_t recipients,
    struct charge_request *request_out)
{
    const struct envelope *e = look->envelope;
    struct flow_subject subject = {look->client, look->route, look->mailbox, e->sender.text, class,
        recipients, recipients, look->bytes,
        e->n_recipients > 0 ? flow_domain_of(f, look->route, &e->recipients[0]) :
        flow_counted_domain(f, look->route, class, look->domain)};

    if (flow_plan_subject(f, &subject, request_out) != 0)
        return -1;
    request_out->look = true;
    return 0;
}

/* ---- the spool ---- */

int
flow_open_spool(struct flow *f, const struct spool_conf *conf, struct err *err)
{
    struct spool_setup setup = {.loop = f->loop, .metrics = f->metrics, .inherits = f->inherits_spool,
        .found = release_on_found, .changed = release_on_changed};

    setup.arg = f->release = release_new(f);
    f->spool = spool_new(&setup, conf, err);
    if (f->spool != NULL)
        return 0;
    release_free(&f->release);
    return -1;
}

int
flow_start_spool(struct flow *f, struct err *err)
{
    return f->spool != NULL ? spool_start(f->spool, err) : 0;
}

bool
flow_may_hold(const struct flow *f, const struct client_conf *client)
{
    enum spool_result why;

    return f->spool != NULL && client->accept != ACCEPT_DEFER && spool_takes(f->spool, &why);
}

bool
flow_keeps(const struct flow *f, const struct client_conf *client, struct reply *refusal_out)
{
    enum spool_result why;

    if (f->spool == NULL || client->accept != ACCEPT_SPOOL || spool_takes(f->spool, &why) ||
        why != SPOOL_NO_SPACE)
        return true;
    reply_set(refusal_out, 452, "4.3.1", "no room to keep mail now; try again later");
    return false;
}

void
flow_disown(struct flow *f, const char *identity)
{
    connections_disown(f->store, f->config, identity);
}

void
flow_stop_release(struct flow *f)
{
    release_stop(f);
}

struct blob_pool *
flow_bodies(const struct flow *f)
{
    return f->bodies;
}

/* ---- looks and messages ---- */

/* One transaction takes recipients of one class, and of one domain where a limit counts it. */
static bool
refuse_to_mix(const struct flow *f, const struct flow_look *look, enum recipient_class class,
    struct flow_refusal *out)
{
    const struct recipient *first = look->envelope->recipients;
    struct span domain = flow_counted_domain(f, look->route, class, look->domain);

    if (look->envelope->n_recipients == 0)
        return false;
    if (first->class != class)
        refuse_mixed(out);
    else if (!span_eq(flow_domain_of(f, look->route, first), domain))
        refuse_other_domain(out);
    else
        return false;
    return true;
}

bool
flow_hint(struct flow *f, const struct flow_look *look, enum recipient_class class, struct flow_refusal *out)
{
    const struct envelope *e = look->envelope;
    struct charge_request request;
    struct verdict verdict;

    if (flow_may_hold(f, look->client))
        return false; /* what cannot go now waits */
    if (refuse_to_mix(f, look, class, out))
        return true;
    if (flow_plan_look(f, look, class, (uint32_t)e->n_recipients + 1, &request) != 0) {
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

    job_take_message(job, m, NULL);
    return job->self;
}

struct handle
flow_look(struct flow *f, const struct flow_look *look, flow_looked_fn *looked, void *arg)
{
    const struct envelope *e = look->envelope;
    struct job *job = job_new(f, NULL, arg);

    job->looked = looked;
    sg_assert(e->n_recipients > 0);
    if (flow_plan_look(f, look, e->recipients[0].class, (uint32_t)e->n_recipients, &job->request) != 0)
        job_fail_plan(job);
    else
        job_name_look(job, e);
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

bool
flow_awaits_spool(struct flow *f)
{
    return f->spool != NULL && !spool_is_ours(f->spool);
}
