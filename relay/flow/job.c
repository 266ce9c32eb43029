#include "relay/flow/job.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"
#include "relay/flow/refuse.h"

/* Clients give up after 30 s at the earliest and then send again. */
#define PATIENCE_MS 25000

/* Only the spool may say yes to recipients that do not go together, and it went away since it was asked; or a
 * reload brought the limit that parts them. */
static bool
is_mixed(const struct job *job)
{
    const struct envelope *e = &job->message->envelope;

    for (size_t i = 1; i < e->n_recipients; i++)
        if (e->recipients[i].class != e->recipients[0].class ||
            !span_eq(flow_domain_of(job->flow, job->message->route, &e->recipients[i]),
                flow_domain_of(job->flow, job->message->route, &e->recipients[0])))
            return true;
    return false;
}

static void
cancel_wait(struct job *job)
{
    if (job->state == JOB_LEASING)
        upstream_lease_cancel(job->flow->upstream, job->pending);
    else if (job->state == JOB_CHARGING)
        store_forget(job->flow->store, job->pending);
    job->pending = HANDLE_NONE;
    if (job->conn != NULL)
        upstream_release(&job->conn);
}

/* What is still open is not tried. */
static void
end_open(struct job *job, const char *end, const char *enhanced, const char *text)
{
    struct settlement s = {.outcome = "deferred", .class = CLASS_OK};

    cancel_wait(job);
    memcpy(s.end.letters, end, 3);
    reply_set(&s.answer, 451, enhanced, "%s", text);
    job_say(job, &s);
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        if (job->fates[i].kind == FATE_OPEN)
            job->fates[i].kind = FATE_HELD;
    job_finish(job);
}

static void
keep_first(struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        job->fates[i].kind = FATE_HELD;
    job->said = (struct settlement){.outcome = "spooled", .end = {"--"}};
    job_finish(job);
}

static void
start_message(struct job *job)
{
    if (job->seq == 0 && job->may_hold && job->message->client->accept == ACCEPT_SPOOL)
        keep_first(job);
    else if (!job->may_hold && is_mixed(job))
        end_open(job, "No", "4.3.0", "the recipients cannot go together any more; send again");
    else
        job_next_round(job);
}

static void
job_start(void *arg)
{
    struct job *job = arg;
    struct verdict verdict;

    if (job->message != NULL)
        start_message(job);
    else if (refuse_locally(job->flow, &job->request, &verdict))
        job_refuse(job, &verdict);
    else
        job_charge(job);
}

static void
fail_plan(void *arg)
{
    job_refuse_plan(arg);
}

/* ---- life ---- */

static void
on_patience(void *arg)
{
    struct job *job = arg;

    if (job->state == JOB_SENDING)
        job_take_over(job);
    else if (job->state == JOB_KEEPING)
        job_finish(job); /* the write that failed, again */
    else
        end_open(job, "Nc", "4.3.2", "no connection to the upstream came free in time");
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
    timer_init(&job->patience, f->loop, on_patience, job);
    task_init(&job->start, job_start, job);
    task_defer(f->loop, &job->start);
    return job;
}

void
job_take_message(struct job *job, struct message **m, const struct spool_recipient *states)
{
    size_t n = (*m)->envelope.n_recipients;

    job->message = *m;
    *m = NULL;
    job->fates = xcalloc(n, sizeof(*job->fates));
    job->round.recipients = xcalloc(n, sizeof(*job->round.recipients));
    for (size_t i = 0; i < n && states != NULL; i++) {
        job->fates[i].kept = states[i];
        job->fates[i].kind = states[i].state == SPOOL_IN_FLIGHT ? FATE_OPEN : FATE_RESTS;
    }
    if (states != NULL)
        job->may_hold = true;
    else
        job->may_hold = flow_may_hold(job->flow, job->message->client);
    if (states == NULL && job->may_hold)
        timer_start(&job->patience, PATIENCE_MS);
}

void
job_fail_plan(struct job *job)
{
    job->start.fn = fail_plan;
}

void
job_forget(struct job *job)
{
    static const char left[] = "the client left before its message was offered upstream";

    job->done = NULL;
    job->looked = NULL;
    if (job->state == JOB_SENDING)
        timer_stop(&job->patience); /* there is nobody to take it over for */
    if (job->state == JOB_SENDING || job->state == JOB_KEEPING)
        return;
    if (job->message != NULL) {
        end_open(job, "Cb", "4.4.2", left);
        return;
    }
    cancel_wait(job);
    job_end(job);
}
