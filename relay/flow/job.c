#include "relay/flow/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/ledger.h"
#include "relay/flow/overshoot.h"
#include "relay/flow/refuse.h"
#include "relay/flow/settle.h"

#define LEASE_MS 30000
/* Fresh starts of one message: a pooled connection died unseen, or a charge outlived its lifetime. */
#define TRIES_MAX 4

static const char closed_again[] =
    "the connection to the upstream closed again and again before mail could be offered";

static void job_lease(struct job *job);

static void
bury_job(void *object)
{
    struct job *job = object;

    message_free(&job->message);
    config_unref(&job->config);
    free(job->recipients);
    free(job);
}

static void
job_set_state(struct job *job, enum job_state state)
{
    /* NEW -> LEASING | CHARGING (a look); CHARGING, SENDING -> LEASING (again); each -> SETTLED, the end. */
    sg_assert(job->state != JOB_SETTLED);
    job->state = state;
}

static void
job_end(struct job *job)
{
    job_set_state(job, JOB_SETTLED);
    task_cancel(&job->start);
    if (job->conn != NULL)
        upstream_release(&job->conn);
    slots_del(&job->flow->jobs, job->self);
    list_del(&job->link);
    loop_bury(job->flow->loop, &job->corpse, bury_job, job);
}

/* The client's answer, if it still wants one. Before metrics and log: the client waits. */
static void
job_answer(struct job *job, const struct reply *answer)
{
    flow_done_fn *done = job->done;

    job->done = NULL;
    if (done != NULL)
        done(job->arg, answer);
}

static void
act(struct job *job, struct settlement *s)
{
    struct flow *f = job->flow;
    const struct message *m = job->message;

    switch (s->action) {
    case ACTION_PAUSE:
        ledger_pause(m, s, f->store);
        break;
    case ACTION_LOWER_CAP:
        ledger_lower_cap(&job->request, f->store);
        break;
    case ACTION_SLOW_DOWN:
        upstream_slow_down(f->upstream, m->route, m->mailbox);
        break;
    case ACTION_NONE:
        break;
    }
    for (size_t i = 0; i < job->request.n_lines && (s->warmup_hold || s->warmup_back); i++) {
        const struct limit_conf *limit = job->request.lines[i].limit;

        if (limit->kind != LIMIT_WARMUP || limit->hour_cap)
            continue;
        if (s->warmup_back)
            store_warmup_back(f->store, limit, m->route->name);
        else
            store_warmup_hold(f->store, limit, m->route->name);
    }
}

/* The one place where a message ends: pause, client reply, metrics, one log line. A refund was before. */
static void
job_settle(struct job *job, struct settlement *s, const struct reply *upstream_reply)
{
    struct ledger_entry entry = {
        .message = job->message,
        .settlement = s,
        .verdict = &job->verdict,
        .caps = job->caps.peer[0] != '\0' ? &job->caps : NULL,
        .upstream_reply = upstream_reply,
        .waited_ms = loop_now_ms(job->flow->loop) - job->message->received_mono_ms,
        .client_left = job->done == NULL,
    };

    act(job, s);
    job_answer(job, &s->answer);
    ledger_count(job->flow->metrics, &entry);
    ledger_log(&entry);
    job_end(job);
}

/* A look has seen; refusal NULL: it may go on. Whoever asked has the books of it. */
static void
job_show(struct job *job, const struct flow_refusal *refusal)
{
    flow_looked_fn *looked = job->looked;

    job->looked = NULL;
    if (looked != NULL)
        looked(job->arg, refusal);
    job_end(job);
}

static void
job_refuse_as(struct job *job, const struct flow_refusal *refusal)
{
    struct settlement s = {.outcome = refusal->reply.code >= 500 ? "rejected" : "deferred", .class = CLASS_OK,
        .end = refusal->end};

    if (job->message == NULL) {
        job_show(job, refusal);
        return;
    }
    reply_copy(&s.answer, &refusal->reply);
    job_settle(job, &s, NULL);
}

/* Refused by the governor, with or without having asked it. */
static void
job_refuse(struct job *job, const struct verdict *verdict)
{
    struct flow_refusal refusal;

    refuse_with_verdict(verdict, &job->request, job->config, &refusal);
    job->verdict = *verdict;
    ledger_decision(job->flow->metrics, verdict);
    job_refuse_as(job, &refusal);
}

static void
job_refuse_with(struct job *job, const char *end, int code, const char *enhanced, const char *text)
{
    struct settlement s = {.outcome = code >= 500 ? "rejected" : "deferred", .class = CLASS_OK};

    memcpy(s.end.letters, end, 3);
    reply_set(&s.answer, code, enhanced, "%s", text);
    job_settle(job, &s, NULL);
}

/* Once more from the start, as long as there are tries; each try is a charge of its own. Not for a client
 * that left meanwhile: it will send again, and ours would be a second copy. */
static void
job_start_over(struct job *job, const char *end, const char *enhanced, const char *why)
{
    if (job->conn != NULL)
        upstream_release(&job->conn);
    if (job->done == NULL)
        job_refuse_with(job, "Cm", 451, "4.4.2", "the client left before its message could be tried again");
    else if (++job->tries < TRIES_MAX)
        job_lease(job);
    else
        job_refuse_with(job, end, 451, enhanced, why);
}

/* ---- the upstream transaction ---- */

static void
on_sent(void *arg, const struct tx_outcome *outcome)
{
    struct job *job = arg;
    struct settlement s;

    if (!outcome->offered) {
        /* Proven: not a byte of MAIL left. */
        store_refund(job->flow->store, &job->request, &job->verdict);
        job_start_over(job, "Uc", "4.4.1", closed_again);
        return;
    }
    if (outcome->lost_on_reuse) {
        job_start_over(job, "Uc", "4.4.1", "connections to the upstream are lost as soon as they are used");
        return;
    }
    settle_outcome(job->message, outcome, &s);
    job_settle(job, &s, outcome->reply.code != 0 ? &outcome->reply : NULL);
}

static void
job_watch(const struct job *job)
{
    struct offer offer = {job->message->id, job->transaction.n_recipients, &job->request, &job->verdict};

    overshoot_watch(job->flow->loop, job->flow->metrics, &offer);
}

static void
job_send(struct job *job)
{
    const struct message *m = job->message;

    if (job->recipients == NULL) {
        job->recipients = xcalloc(m->envelope.n_recipients, sizeof(*job->recipients));
        for (size_t i = 0; i < m->envelope.n_recipients; i++)
            job->recipients[i] = &m->envelope.recipients[i];
    }
    job->transaction = (struct transaction){
        .sender = &m->envelope.sender,
        .recipients = job->recipients,
        .n_recipients = m->envelope.n_recipients,
        .body = m->body,
        .prefix = span_str(m->trace),
        .content_bytes = m->content_bytes + span_str(m->trace).n,
        .body_type = m->envelope.body,
        .ret = m->envelope.ret,
        .envid = m->envelope.envid,
        .all_or_nothing = true,
    };
    job_set_state(job, JOB_SENDING);
    job_watch(job);
    upstream_send(&job->conn, &job->transaction, on_sent, job);
}

/* ---- the charge ---- */

/* A charge is good for its lifetime from when it was asked for: Redis counted it no earlier than that. A
 * fifth is left for the rest of the turn, at whose end MAIL leaves. */
static bool
is_charge_fresh(const struct job *job)
{
    int64_t age_ms = clock_mono_ms() - job->verdict.sent_mono_ms;

    return age_ms * 5 <= (int64_t)job->request.lifetime_ms * 4;
}

/* Redis is far or busy, and the shortest limit of this message leaves little time. */
static void
start_over_late(struct job *job)
{
    char why[REPLY_TEXT_MAX];

    snprintf(why, sizeof(why), "Redis' answers come too late to be used: the last took %lld ms, a charge of"
        " the limits of this message is good for %u ms",
        (long long)(clock_mono_ms() - job->verdict.sent_mono_ms), job->request.lifetime_ms);
    store_note_late(job->flow->store, why);
    job->verdict = (struct verdict){.kind = VERDICT_NO_DECISION, .error = STORE_TIMEOUT,
        .retry_after_ms = -1};
    ledger_decision(job->flow->metrics, &job->verdict);
    job_start_over(job, "Sb", "4.3.2", why);
}

static void
on_granted(struct job *job)
{
    struct flow *f = job->flow;

    if (!is_charge_fresh(job)) {
        metric_add(f->metrics, M_CHARGES_VOID, 1, "late", NULL, NULL);
        store_refund(f->store, &job->request, &job->verdict); /* not a byte was offered */
        start_over_late(job);
    } else if (upstream_conn_is_dead(job->conn)) {
        store_refund(f->store, &job->request, &job->verdict);
        job_start_over(job, "Uc", "4.4.1", closed_again);
    } else {
        ledger_decision(f->metrics, &job->verdict);
        job_send(job);
    }
}

static void
on_verdict(void *arg, const struct verdict *verdict)
{
    struct job *job = arg;
    struct flow *f = job->flow;

    job->pending = HANDLE_NONE;
    metric_add(f->metrics, M_DECISION_SECONDS, (double)(clock_mono_us() - job->asked_mono_us) / 1e6, NULL,
        NULL, NULL);
    if (verdict->kind == VERDICT_OVER)
        hints_learn(&f->hints, &job->request, verdict, loop_now_ms(f->loop));
    job->verdict = *verdict;
    if (verdict->kind != VERDICT_GRANTED)
        job_refuse(job, verdict);
    else if (job->message != NULL)
        on_granted(job);
    else
        job_show(job, NULL);
}

static void
refuse_plan(void *arg)
{
    struct job *job = arg;
    struct flow_refusal refusal;

    refuse_too_many_limits(&refusal);
    job_refuse_as(job, &refusal);
}

/* A reload since the plan, perhaps while the job waited for its connection: the limits are those in force
 * now. */
static int
plan_anew(struct job *job)
{
    struct flow *f = job->flow;
    struct config *before = job->config;
    int result;

    if (before == f->config || job->message == NULL)
        return 0;
    job->config = config_ref(f->config);
    result = flow_plan_message(f, job->message, &job->request);
    config_unref(&before);
    return result;
}

static void
job_charge(struct job *job)
{
    if (plan_anew(job) != 0) {
        refuse_plan(job);
        return;
    }
    job_set_state(job, JOB_CHARGING);
    job->asked_mono_us = clock_mono_us();
    job->pending = store_charge(job->flow->store, &job->request, on_verdict, job);
}

/* ---- the connection ---- */

static void
on_lease(void *arg, struct upstream_conn *conn, const struct lease_failure *failure)
{
    struct job *job = arg;
    const struct message *m = job->message;
    struct settlement s;
    struct verdict verdict;

    job->pending = HANDLE_NONE;
    if (conn == NULL && failure->reply.code == 0 && refuse_locally(job->flow, &job->request, &verdict)) {
        job_refuse(job, &verdict);
        return;
    }
    if (conn == NULL) {
        settle_no_connection(m, failure, &s);
        job_settle(job, &s, failure->reply.code != 0 ? &failure->reply : NULL);
        return;
    }
    job->conn = conn;
    job->caps = *upstream_conn_caps(conn);
    if (upstream_conn_is_dead(conn))
        job_start_over(job, "Uc", "4.4.1", "the upstream closes every connection before it can be used");
    else if (job->caps.size_max != 0 && m->content_bytes + span_str(m->trace).n > job->caps.size_max)
        job_refuse_with(job, "Ud", 552, "5.3.4", "message is larger than the upstream takes");
    else if (m->envelope.body == SMTP_BODY_8BITMIME && !job->caps.eightbitmime)
        job_refuse_with(job, "Ud", 554, "5.6.3",
            "message has 8-bit content and the upstream takes 7 bits only");
    else
        job_charge(job);
}

static void
job_lease(struct job *job)
{
    const struct message *m = job->message;

    job_set_state(job, JOB_LEASING);
    job->pending = upstream_lease(job->flow->upstream, m->route, m->mailbox, LEASE_MS, on_lease, job);
}

static void
job_start(void *arg)
{
    struct job *job = arg;
    struct verdict verdict;

    if (refuse_locally(job->flow, &job->request, &verdict))
        job_refuse(job, &verdict);
    else if (job->message != NULL)
        job_lease(job);
    else
        job_charge(job);
}

struct job *
job_new(struct flow *f, flow_done_fn *done, void *arg)
{
    struct job *job = xcalloc(1, sizeof(*job));

    job->flow = f;
    job->config = config_ref(f->config);
    job->state = JOB_NEW;
    job->done = done;
    job->arg = arg;
    job->self = slots_add(&f->jobs, job);
    list_add_tail(&f->all, &job->link);
    task_init(&job->start, job_start, job);
    task_defer(f->loop, &job->start);
    return job;
}

void
job_fail_plan(struct job *job)
{
    job->start.fn = refuse_plan;
}

/* Not offered yet: drop it. A charge under way stays counted, as the store will tell; nobody will use it. */
static void
job_drop(struct job *job)
{
    if (job->state == JOB_LEASING)
        upstream_lease_cancel(job->flow->upstream, job->pending);
    else if (job->state == JOB_CHARGING)
        store_forget(job->flow->store, job->pending);
    if (job->message == NULL)
        job_end(job);
    else
        job_refuse_with(job, "Cb", 451, "4.4.2", "the client left before its message was offered upstream");
}

void
job_forget(struct job *job)
{
    job->done = NULL;
    job->looked = NULL;
    if (job->state != JOB_SENDING)
        job_drop(job);
}

void
job_abandon(struct job *job)
{
    job->done = NULL;
    job->looked = NULL;
    if (job->state != JOB_SENDING) {
        job_drop(job);
    } else {
        struct settlement s = {.outcome = "uncertain", .class = CLASS_TEMPORARY, .end = {"N."}};

        reply_set(&s.answer, 451, "4.3.2", "the relay was stopped before the upstream answered");
        job_settle(job, &s, NULL);
    }
}
