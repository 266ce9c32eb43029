/* A round: connection, charge, upstream transaction, and what that makes of its recipients. */
#include <stdio.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/flow/job.h"
#include "relay/flow/ledger.h"
#include "relay/flow/overshoot.h"
#include "relay/flow/refuse.h"
#include "relay/flow/release.h"

#define LEASE_MS 30000
/* Fresh starts of one round: a pooled connection died unseen, or a charge outlived its lifetime. */
#define TRIES_MAX 4

static const char closed_again[] =
    "the connection to the upstream closed again and again before mail could be offered";

static bool plan_again(struct job *job);
static void job_lease(struct job *job);

/* Does anybody wait for what becomes of it? A client that left will send again, and ours would be a second
 * copy. */
static bool
is_wanted(const struct job *job)
{
    return job->done != NULL || job->seq != 0;
}

/* ---- the end of a round ---- */

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

static struct fate *
fate_at(struct job *job, size_t i)
{
    return &job->fates[job->round.recipients[i] - job->message->envelope.recipients];
}

void
job_say(struct job *job, const struct settlement *s)
{
    if (job->said.outcome == NULL || strcmp(job->said.outcome, "relayed") == 0)
        job->said = *s;
}

/* The whole round ends alike, before a word of the upstream about a recipient. */
static void
end_round(struct job *job, struct settlement *s)
{
    enum fate_kind kind = s->answer.code >= 500 ? FATE_FAILED : FATE_HELD;

    act(job, s);
    job_say(job, s);
    for (size_t i = 0; i < job->round.n; i++) {
        struct fate *fate = fate_at(job, i);

        fate->kind = kind;
        if (kind != FATE_FAILED)
            continue;
        fate->refused_here = true;
        reply_copy(&fate->kept.reply, &s->answer);
    }
    job_next_round(job);
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
    end_round(job, &s);
}

void
job_refuse(struct job *job, const struct verdict *verdict)
{
    struct flow_refusal refusal;

    refuse_with_verdict(verdict, &job->request, job->config, &refusal);
    job->verdict = *verdict;
    ledger_decision(job->flow->metrics, verdict);
    job_part_round(job, verdict, refusal.reply.text);
    job_refuse_as(job, &refusal);
}

static void
job_refuse_with(struct job *job, const char *end, int code, const char *enhanced, const char *text)
{
    struct settlement s = {.outcome = code >= 500 ? "rejected" : "deferred", .class = CLASS_OK};

    memcpy(s.end.letters, end, 3);
    reply_set(&s.answer, code, enhanced, "%s", text);
    if (job->conn != NULL)
        upstream_release(&job->conn);
    end_round(job, &s);
}

/* Connections and charges are to be had, and none can be used. A message of the spool waits then as if there
 * were none, or its turn would come again at once. */
static void
give_up(struct job *job, const char *end, const char *enhanced, const char *why)
{
    static const struct lease_failure none = {0};

    if (job->seq != 0 && job->gate == NULL)
        job->gate = job->verdict.kind == VERDICT_NO_DECISION
            ? release_gate_of_verdict(job->flow, &job->verdict, why)
            : release_gate_of_upstream(job->flow, job->message, &none, why);
    job_refuse_with(job, end, 451, enhanced, why);
}

/* Once more from the start, as long as there are tries; each try is a charge of its own. */
static void
job_start_over(struct job *job, const char *end, const char *enhanced, const char *why)
{
    if (job->conn != NULL)
        upstream_release(&job->conn);
    for (size_t i = 0; i < job->round.n; i++)
        fate_at(job, i)->offered = false; /* nobody noticed */
    if (!is_wanted(job))
        job_refuse_with(job, "Cm", 451, "4.4.2", "the client left before its message could be tried again");
    else if (++job->tries >= TRIES_MAX)
        give_up(job, end, enhanced, why);
    else if (plan_again(job)) /* for those it was granted for */
        job_lease(job);
}

/* ---- the upstream transaction ---- */

/* Each recipient has its own answer; the gravest of them says what follows for other mail. */
static void
take_fates(struct job *job, const struct tx_outcome *outcome, struct settlement *s)
{
    for (size_t i = 0; i < job->round.n; i++) {
        const struct tx_recipient *r = &outcome->recipients[i];
        struct fate *fate = fate_at(job, i);

        if (r->reply.code != 0)
            reply_copy(&fate->kept.reply, &r->reply);
        fate->kind = fate_of(r, settle_recipient(job->message, outcome->phase, r, s));
    }
}

static void
note_pause(struct job *job)
{
    bool paused = store_pause_for(job->flow->store, &job->request) != NULL;

    for (size_t i = 0; i < job->round.n; i++)
        fate_at(job, i)->paused = paused;
}

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
    ledger_new_recipients(job->flow->metrics, &job->request, job->verdict.granted);
    if (outcome->lost_on_reuse) {
        job_start_over(job, "Uc", "4.4.1", "connections to the upstream are lost as soon as they are used");
        return;
    }
    settle_outcome(job->message, outcome, &s);
    if (outcome->reply.code != 0) {
        reply_copy(&job->heard, &outcome->reply);
        ledger_reply(job->flow->metrics, s.class, &outcome->reply);
    }
    if (job->may_hold)
        take_fates(job, outcome, &s);
    else
        for (size_t i = 0; i < job->round.n; i++)
            fate_at(job, i)->kind = s.answer.code < 300 ? FATE_SENT : FATE_FAILED;
    act(job, &s);
    note_pause(job);
    job_say(job, &s);
    job_next_round(job);
}

static void
job_watch(const struct job *job)
{
    struct offer offer = {job->message->id, job->transaction.n_recipients, &job->request, &job->verdict};

    overshoot_watch(job->flow->metrics, &offer);
}

static void
job_send(struct job *job)
{
    const struct message *m = job->message;

    if (job->verdict.granted < job->round.n)
        job->round.n = job->verdict.granted; /* the others stay open: the next round asks for them */
    job->transaction = (struct transaction){
        .sender = &m->envelope.sender,
        .recipients = job->round.recipients,
        .n_recipients = job->round.n,
        .body = m->body,
        .prefix = span_str(m->trace),
        .content_bytes = m->content_bytes + span_str(m->trace).n,
        .body_type = m->envelope.body,
        .ret = m->envelope.ret,
        .envid = m->envelope.envid,
        .all_or_nothing = !job->may_hold,
    };
    for (size_t i = 0; i < job->round.n; i++)
        fate_at(job, i)->offered = true;
    job_set_state(job, JOB_SENDING);
    if (job->seq != 0)
        release_passed(job->flow, job->seq);
    upstream_send(&job->conn, &job->transaction, on_sent, job);
    job_watch(job);
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

/* One name for the message's line, the first that came in any round. */
static void
note_shadow(struct job *job)
{
    const char *name = ledger_shadow(job->flow->metrics, &job->request, &job->verdict);

    if (name != NULL && job->shadow[0] == '\0')
        snprintf(job->shadow, sizeof(job->shadow), "%s", name);
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
        note_shadow(job);
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
    job->verdict.people = NULL;
    if (verdict->kind == VERDICT_GRANTED && job->message != NULL) {
        job_order_round(job, verdict->people);
        on_granted(job);
    } else if (verdict->kind == VERDICT_GRANTED) {
        job_show(job, NULL);
    } else {
        if (job->conn != NULL)
            upstream_release(&job->conn);
        job_refuse(job, verdict);
    }
}

void
job_refuse_plan(struct job *job)
{
    struct flow_refusal refusal;

    refuse_too_many_limits(&refusal);
    if (job->conn != NULL)
        upstream_release(&job->conn);
    job_refuse_as(job, &refusal);
}

static int
plan_round(struct job *job)
{
    struct config *before = job->config;
    struct flow_plan plan = {job->message, job->round.class, job->round.domain, (uint32_t)job->round.n,
        job->may_hold ? 1 : (uint32_t)job->round.n};
    int result;

    job->config = config_ref(job->flow->config);
    result = flow_plan_round(job->flow, &plan, &job->request);
    if (before != job->config)
        job->verdict.limit = NULL; /* of an earlier round, for the log: it may go with its configuration */
    config_unref(&before);
    return result;
}

/* The limits in force now may count another domain than those by which the round was gathered. Those that are
 * not of it any more stay open for a round of their own. False: they cannot, it is all or nothing. */
static bool
gather_anew(struct job *job)
{
    size_t n = job->round.n;

    job->round.domain = flow_domain_of(job->flow, job->message->route, job->round.recipients[0]);
    job->round.n = 0;
    for (size_t i = 0; i < n; i++)
        if (job_is_of_round(job, job->round.recipients[i]))
            job->round.recipients[job->round.n++] = job->round.recipients[i];
    if (job->round.n == n || job->may_hold)
        return true;
    job->round.n = n;
    return false;
}

/* By the limits in force now. False: it was refused. */
static bool
plan_again(struct job *job)
{
    if (!gather_anew(job))
        job_refuse_with(job, "Gb", 451, "4.4.5", "the limits changed while this message waited; send again");
    else if (plan_round(job) != 0)
        job_refuse_plan(job);
    else
        return true;
    return false;
}

void
job_charge(struct job *job)
{
    bool is_reloaded = job->config != job->flow->config; /* perhaps while it waited for its connection */

    if (job->message != NULL && is_reloaded && !plan_again(job))
        return;
    if (job->message != NULL)
        job_name_round(job);
    job_set_state(job, JOB_CHARGING);
    job->asked_mono_us = clock_mono_us();
    job->pending = store_charge(job->flow->store, &job->request, on_verdict, job);
}

/* ---- the connection ---- */

static void
on_no_lease(struct job *job, const struct lease_failure *failure)
{
    struct settlement s;
    struct verdict verdict;

    if (failure->reply.code == 0 && refuse_locally(job->flow, &job->request, &verdict)) {
        job_refuse(job, &verdict);
        return;
    }
    settle_no_connection(job->message, failure, &s);
    if (failure->reply.code != 0) {
        reply_copy(&job->heard, &failure->reply);
        ledger_reply(job->flow->metrics, s.class, &failure->reply);
    }
    if (job->seq != 0 && job->gate == NULL)
        job->gate = release_gate_of_upstream(job->flow, job->message, failure, s.answer.text);
    end_round(job, &s);
}

static void
on_lease(void *arg, struct upstream_conn *conn, const struct lease_failure *failure)
{
    struct job *job = arg;
    const struct message *m = job->message;

    job->pending = HANDLE_NONE;
    if (conn == NULL) {
        on_no_lease(job, failure);
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

/* ---- rounds ---- */

bool
job_is_of_round(const struct job *job, const struct recipient *r)
{
    return r->class == job->round.class &&
        span_eq(flow_domain_of(job->flow, job->message->route, r), job->round.domain);
}

/* The open recipients that go with the first open one; false: none is open. */
static bool
gather_round(struct job *job)
{
    const struct envelope *e = &job->message->envelope;

    job->round.n = 0;
    for (size_t i = 0; i < e->n_recipients && job->keep == NULL; i++) {
        if (job->fates[i].kind != FATE_OPEN)
            continue;
        if (job->round.n == 0) {
            job->round.class = e->recipients[i].class;
            job->round.domain = flow_domain_of(job->flow, job->message->route, &e->recipients[i]);
        }
        if (job_is_of_round(job, &e->recipients[i]))
            job->round.recipients[job->round.n++] = &e->recipients[i];
    }
    return job->round.n > 0;
}

static bool
is_behind(const struct job *job)
{
    return release_is_behind(job->flow, job->message, job->round.class, job->round.domain);
}

static void
refuse_to_overtake(struct job *job)
{
    struct flow_refusal refusal;

    refuse_behind_others(&refusal);
    job_refuse_as(job, &refusal);
}

static bool
is_any_offered(const struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        if (job->fates[i].offered)
            return true;
    return false;
}

/* All of a row that was taken is in flight on disk. What was answered is written down before more of it is
 * offered: should the node end in between, the answered would be in doubt like the rest, and offered anew. */
static void
leave_rest_to_next_turn(struct job *job)
{
    struct verdict part = job->verdict;

    part.kind = VERDICT_OVER;
    if (job->gate == NULL)
        job->gate = release_gate_of_verdict(job->flow, &part,
            "as many of its recipients went as there was room for");
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        if (job->fates[i].kind == FATE_OPEN)
            job->fates[i].kind = FATE_HELD;
    job_finish(job);
}

void
job_next_round(struct job *job)
{
    struct verdict verdict;

    if (!gather_round(job)) {
        job_finish(job);
        return;
    }
    if (job->seq != 0 && is_any_offered(job)) {
        leave_rest_to_next_turn(job);
        return;
    }
    if (!is_wanted(job)) { /* what is sent again has these too */
        job_refuse_with(job, "Cb", 451, "4.4.2", "the client left before all of its message was offered");
        return;
    }
    job->tries = 0;
    if (plan_round(job) != 0)
        job_refuse_plan(job);
    else if (refuse_locally(job->flow, &job->request, &verdict))
        job_refuse(job, &verdict);
    else if (job->may_hold && job->seq == 0 && is_behind(job))
        refuse_to_overtake(job);
    else
        job_lease(job);
}
