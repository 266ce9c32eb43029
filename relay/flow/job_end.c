/* The end of a message: what is left of it goes to the spool, the client is answered, the books are closed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/flow/job.h"
#include "relay/flow/keep.h"
#include "relay/flow/ledger.h"
#include "relay/flow/notify.h"
#include "relay/flow/refuse.h"
#include "relay/flow/release.h"

/* A write that failed is tried again until the spool is well. */
#define WRITE_AGAIN_MS 1000

static void job_write(struct job *job);

/* ---- life ---- */

static void
bury_job(void *object)
{
    struct job *job = object;

    message_free(&job->message);
    keep_free(&job->keep);
    config_unref(&job->config);
    free(job->round.recipients);
    free(job->fates);
    free(job->people);
    free(job->gate);
    free(job);
}

void
job_set_state(struct job *job, enum job_state state)
{
    /* NEW -> LEASING | KEEPING | CHARGING (a look); CHARGING, SENDING -> LEASING (again, or the next
     * round); each -> KEEPING, SETTLED, the end. */
    sg_assert(job->state != JOB_SETTLED);
    job->state = state;
}

void
job_end(struct job *job)
{
    job_set_state(job, JOB_SETTLED);
    task_cancel(&job->start);
    timer_fini(&job->patience);
    if (job->conn != NULL)
        upstream_release(&job->conn);
    slots_del(&job->flow->jobs, job->self);
    list_del(&job->link);
    loop_bury(job->flow->loop, &job->corpse, bury_job, job);
}

/* ---- answer and books ---- */

/* The client's answer, if it still wants one. Before metrics and log: the client waits. */
static void
job_answer(struct job *job, const struct reply *answer)
{
    flow_done_fn *done = job->done;

    job->done = NULL;
    if (done != NULL)
        done(job->arg, answer);
}

static size_t
count(const struct job *job, enum fate_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        n += job->fates[i].kind == kind;
    return n;
}

static size_t
count_waiting(const struct job *job)
{
    size_t n = 0;

    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        n += fate_waits(job->fates[i].kind);
    return n;
}

static void
book(struct job *job, bool client_left)
{
    struct ledger_entry entry = {
        .message = job->message,
        .settlement = &job->said,
        .verdict = &job->verdict,
        .shadow = job->shadow,
        .caps = job->caps.peer[0] != '\0' ? &job->caps : NULL,
        .upstream_reply = job->heard.code != 0 ? &job->heard : NULL,
        .waited_ms = loop_now_ms(job->flow->loop) - job->message->received_mono_ms,
        .client_left = client_left,
        .fates = job->may_hold ? job->fates : NULL,
        .is_release = job->seq != 0,
        .gate = job->gate,
    };

    ledger_count(job->flow->metrics, &entry);
    ledger_log(&entry);
}

/* Nothing of it is kept: the client hears what was said. */
static void
settle(struct job *job)
{
    bool client_left = job->done == NULL;

    job_answer(job, &job->said.answer);
    book(job, client_left);
    job_end(job);
}

/* ---- a new message ---- */

/* The upstream has it for some recipients, so "no" would be a lie. What became of the others is told by mail,
 * unless the client asked for none or there is no sender. */
static void
say_partly_refused(struct job *job)
{
    struct reply why;
    size_t failed = count(job, FATE_FAILED);

    if (failed == 0 || failed == job->message->envelope.n_recipients)
        return;
    reply_copy(&why, &job->said.answer);
    job->said.outcome = "relayed";
    reply_set(&job->said.answer, 250, "2.0.0", "relayed as %s; %zu of the recipients were refused%s: %s",
        job->message->id, failed, job->keep->n_fresh > 0 ? ", a notification follows" : "", why.text);
}

static void
say_queued(struct job *job)
{
    struct reply why;

    if (count_waiting(job) == 0) {
        say_partly_refused(job);
        return;
    }
    reply_copy(&why, &job->said.answer);
    job->said.outcome = "spooled";
    refuse_but_keep(job->message->id, &why, &job->said.answer);
}

static void
say_not_kept(struct job *job, enum spool_result result)
{
    if (count_waiting(job) + count(job, FATE_FAILED) == 0)
        return; /* only good news could not be stored */
    job->said.outcome = "deferred";
    memcpy(job->said.end.letters, "No", 3);
    if (result == SPOOL_NO_SPACE)
        reply_set(&job->said.answer, 452, "4.3.1", "no room to keep this message now; try again later");
    else
        reply_set(&job->said.answer, 451, "4.3.0", "the message could not be stored now; try again later");
}

static void
on_added(void *arg, enum spool_result result)
{
    struct job *job = arg;

    if (result == SPOOL_DONE) {
        for (size_t i = 0; i < job->keep->n_fresh; i++)
            release_put(job->flow, job->keep->fresh[i]);
        say_queued(job);
    } else {
        say_not_kept(job, result);
    }
    settle(job);
}

/* ---- a message that is in the spool ---- */

static void
name_release(struct job *job)
{
    size_t waiting = count_waiting(job);

    job->said.outcome = count(job, FATE_UNCERTAIN) > 0 ? "uncertain" : waiting > 0 ? "held" :
        count(job, FATE_FAILED) > 0 ? "failed" : "relayed";
}

static void
on_settled(void *arg, enum spool_result result)
{
    struct job *job = arg;

    if (result != SPOOL_DONE && result != SPOOL_GONE) {
        /* It must not be taken for untried, so its place in the order stays empty until this is written. */
        timer_start(&job->patience, WRITE_AGAIN_MS);
        return;
    }
    if (result == SPOOL_GONE && keep_anew(job->keep)) { /* its row was damaged; what we have of it is whole */
        job_write(job);
        return;
    }
    if (job->keep->row != NULL && job->keep->row->envelope.n_recipients > 0)
        release_put(job->flow, job->keep->row);
    else
        release_drop(job->flow, job->seq);
    for (size_t i = 0; i < job->keep->n_fresh && result == SPOOL_DONE; i++)
        release_put(job->flow, job->keep->fresh[i]);
    name_release(job);
    book(job, false);
    job_end(job);
}

static bool
is_untouched(const struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++) {
        const struct fate *fate = &job->fates[i];

        if (fate->kind != FATE_RESTS && (fate->kind != FATE_HELD || fate->offered || fate->wait_ms > 0))
            return false;
    }
    return job->gate != NULL && !job->taken_over;
}

/* Refused before anything of it was offered: it is back in its place at once, and nobody needs to wait for
 * the disk. */
static void
put_back(struct job *job)
{
    (void)spool_settle(job->flow->spool, job->keep->row, NULL, 0, NULL, NULL);
    if (release_is_placed(job->flow, job->keep->row, job->are_strangers))
        release_refuse(job->flow, job->seq, job->gate);
    else /* it asks again, in the lane where it belongs */
        release_put_apart(job->flow, job->keep->row, job->are_strangers);
    ledger_held(job->flow->metrics, job->gate);
    job_end(job);
}

/* ---- the write ---- */

static void
job_write(struct job *job)
{
    struct keep *k = job->keep;

    job_set_state(job, JOB_KEEPING);
    timer_stop(&job->patience);
    if (k->row == NULL)
        (void)spool_add(job->flow->spool, k->fresh, k->n_fresh, job->seq != 0 ? on_settled : on_added, job);
    else if (is_untouched(job))
        put_back(job);
    else
        (void)spool_settle(job->flow->spool, k->row, k->fresh, k->n_fresh, on_settled, job);
}

/* What a take-over worked out and could not write stands. All recipients get the same jitter: what was
 * refused together stays one transaction, and is told of in one notification. */
static void
settle_fates(struct job *job)
{
    int64_t now_utc_ms = clock_utc_ms();

    job->flow->random = job->flow->random * 1103515245u + 12345u;
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++) {
        struct fate *fate = &job->fates[i];

        if (!fate->settled)
            fate_settle(fate, &job->config->spool, now_utc_ms, job->flow->random >> 8);
        fate->settled = fate->kind != FATE_OPEN;
    }
}

/* A failure that nobody could be told of is no end: the recipient is tried again, to fail again when there is
 * room to say so. */
static void
hold_untold(struct job *job)
{
    int64_t due_utc_ms = clock_utc_ms() + job->config->spool.retry_first_ms;

    for (size_t i = 0; i < job->message->envelope.n_recipients; i++) {
        struct fate *fate = &job->fates[i];

        if (fate->kind != FATE_FAILED || fate->told)
            continue;
        fate->kind = FATE_HELD;
        fate->expired = false;
        fate->kept.state = spool_recipient_waits_as(&fate->kept);
        fate->kept.due_utc_ms = due_utc_ms;
    }
}

/* What is left is of one domain: it stands at the gate of that, in its turn. */
static void
end_own_waits(struct job *job)
{
    const struct recipient *r = job->message->envelope.recipients, *first = NULL;

    for (size_t i = 0; i < job->message->envelope.n_recipients; i++) {
        if (!fate_waits(job->fates[i].kind))
            continue;
        first = first != NULL ? first : &r[i];
        if (!span_eq(address_domain(&first->address), address_domain(&r[i].address)))
            return;
    }
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        job->fates[i].wait_ms = 0;
}

/* Before the rows are made: it decides what is in them. */
static void
keep_notification(struct job *job)
{
    struct notify_setup setup = {job->message, job->fates, job->config, job->flow->bodies,
        job->caps.dsn, job->flow->metrics};
    struct spool_message *notification;

    if (!notify_make(&setup, &notification))
        hold_untold(job);
    keep_add(job->keep, notification);
}

static void
prepare_write(struct job *job)
{
    end_own_waits(job);
    settle_fates(job);
    job->keep = keep_new();
    /* A new message that failed as a whole: the client is there to hear of it. */
    if (job->seq != 0 || count(job, FATE_FAILED) < job->message->envelope.n_recipients)
        keep_notification(job);
    if (job->seq != 0) {
        job->keep->row = keep_row(job->message, job->fates, job->seq);
        return;
    }
    for (int c = 0; c < RECIPIENT_CLASS_COUNT; c++)
        keep_add(job->keep, keep_part(job->message, job->fates, (enum recipient_class)c, fate_waits));
}

void
job_finish(struct job *job)
{
    task_cancel(&job->start);
    if (job->keep == NULL && job->may_hold && (job->done != NULL || job->seq != 0))
        prepare_write(job);
    if (job->keep != NULL && job->keep->is_take_over) {
        job_set_state(job, JOB_KEEPING); /* on_taken_over goes on from here */
    } else if (job->keep != NULL && (job->keep->row != NULL || job->keep->n_fresh > 0)) {
        job_write(job);
    } else {
        if (job->keep != NULL)
            say_partly_refused(job);
        settle(job);
    }
}

/* ---- the upstream is slow after the dot ---- */

static bool
is_open(enum fate_kind k)
{
    return k == FATE_OPEN;
}

/* What the upstream has stays open; all else is settled as far as it goes. */
static void
part_with_the_rest(struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++) {
        struct fate *fate = &job->fates[i];

        if (fate->kind == FATE_OPEN && !fate->offered)
            fate->kind = FATE_HELD;
        if (fate->kind == FATE_OPEN)
            fate->kept.state = SPOOL_IN_FLIGHT;
    }
    settle_fates(job);
}

/* What was settled when the take-over began has a row of its own now. */
static void
part_for_good(struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        if (job->fates[i].settled && fate_waits(job->fates[i].kind))
            job->fates[i].kind = FATE_ELSEWHERE;
}

/* The client waits on. */
static void
part_in_vain(struct job *job)
{
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        job->fates[i].told = false;
}

/* The row is ours now, the outcome will settle it; the client goes. */
static void
become_release(struct job *job)
{
    struct keep *k = job->keep;
    struct reply answer;

    job->seq = k->fresh[0]->seq;
    job->taken_over = true;
    part_for_good(job);
    for (size_t i = 1; i < k->n_fresh; i++)
        release_put(job->flow, k->fresh[i]);
    reply_set(&answer, 250, "2.0.0", "queued as %s; the upstream has it and has not answered yet",
        job->message->id);
    ledger_take_over(job->flow->metrics, job->message, &answer);
    job_answer(job, &answer);
}

static void
on_taken_over(void *arg, enum spool_result result)
{
    struct job *job = arg;

    if (result == SPOOL_DONE)
        become_release(job);
    else
        part_in_vain(job);
    keep_free(&job->keep);
    if (job->state == JOB_KEEPING)
        job_finish(job);
}

void
job_take_over(struct job *job)
{
    struct keep *k = job->keep = keep_new();

    k->is_take_over = true;
    part_with_the_rest(job);
    keep_add(k, keep_part(job->message, job->fates, job->round.class, is_open));
    keep_notification(job); /* the daemon may end before the rest of it does */
    for (int c = 0; c < RECIPIENT_CLASS_COUNT; c++)
        keep_add(k, keep_part(job->message, job->fates, (enum recipient_class)c, fate_waits));
    (void)spool_add(job->flow->spool, k->fresh, k->n_fresh, on_taken_over, job);
}

/* ---- the daemon ends ---- */

static void
abandon_sending(struct job *job)
{
    job->said = (struct settlement){.outcome = "uncertain", .class = CLASS_TEMPORARY, .end = {"N."}};
    reply_set(&job->said.answer, 451, "4.3.2", "the relay was stopped before the upstream answered");
    for (size_t i = 0; i < job->message->envelope.n_recipients; i++)
        if (job->fates[i].kind == FATE_OPEN)
            job->fates[i].kind = FATE_UNCERTAIN;
}

bool
job_abandon(struct job *job)
{
    job->done = NULL;
    job->looked = NULL;
    if (job->state == JOB_KEEPING || job->keep != NULL)
        return true;
    if (job->state == JOB_SENDING) {
        abandon_sending(job);
        if (job->seq == 0) {
            settle(job);
            return false;
        }
        book(job, false); /* its row is in flight: the next start finds it uncertain */
        job_end(job);
        return false;
    }
    job_forget(job);
    return job->state == JOB_KEEPING;
}

void
job_bury(struct job *job)
{
    keep_free(&job->keep);
    job_end(job);
}
