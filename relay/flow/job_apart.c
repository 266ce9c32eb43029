/* Who of a round goes first, and what of a message waits apart from the rest of it. */
#include <stdlib.h>
#include <string.h>

#include "policy/known.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/job.h"
#include "relay/flow/release.h"

/* A round that is over a limit of its own, in a message with others, asks again after the time it was told,
 * within these. */
#define ROUND_AGAIN_MIN_MS 5000
#define ROUND_AGAIN_MAX_MS 300000

/* ---- new recipients ---- */

static struct charge_person *
people_of(const struct charge_request *request, size_t n)
{
    bool is_asked = false;

    for (size_t i = 0; i < request->n_lines; i++)
        is_asked = is_asked || request->lines[i].new_bit != 0;
    return is_asked ? xcalloc(n, sizeof(struct charge_person)) : NULL;
}

static uint64_t
person_of(const struct recipient *r)
{
    return known_person(span_str(r->address.text));
}

struct charge_person *
flow_name_people(const struct charge_request *request, const struct envelope *e)
{
    struct charge_person *people = people_of(request, e->n_recipients);

    for (size_t i = 0; people != NULL && i < e->n_recipients; i++)
        people[i].hash = person_of(&e->recipients[i]);
    return people;
}

void
job_name_look(struct job *job, const struct envelope *e)
{
    job->people = job->request.people = flow_name_people(&job->request, e);
}

void
job_name_round(struct job *job)
{
    free(job->people);
    job->people = job->request.people = people_of(&job->request, job->round.n);
    for (size_t i = 0; job->people != NULL && i < job->round.n; i++)
        job->people[i].hash = person_of(job->round.recipients[i]);
}

void
job_order_round(struct job *job, const struct charge_person *people)
{
    size_t n = job->round.n;
    const struct recipient **recipients;
    uint32_t *order;

    if (people == NULL)
        return;
    order = xcalloc(n, sizeof(*order));
    recipients = xcalloc(n, sizeof(*recipients));
    charge_order(people, n, order);
    for (size_t i = 0; i < n; i++) {
        recipients[i] = job->round.recipients[order[i]];
        job->people[i] = people[order[i]];
    }
    memcpy(job->round.recipients, recipients, n * sizeof(*recipients));
    free(recipients);
    free(order);
}

/* ---- what waits apart ---- */

/* The known go first: when a limit of new recipients leaves no room for one, all of the round are new. */
static bool
is_about_strangers(const struct verdict *verdict)
{
    return verdict->kind == VERDICT_OVER && verdict->limit != NULL && verdict->limit->unit == UNIT_NEW;
}

/* Is the round over a limit of its domain, or of new recipients, in a message that has others too? Then these
 * wait by themselves: at a gate they would keep the others, and all mail behind them, from going. */
static bool
waits_by_itself(const struct job *job, const struct verdict *verdict)
{
    const struct envelope *e = job->message != NULL ? &job->message->envelope : NULL;

    if (e == NULL || verdict->kind != VERDICT_OVER)
        return false;
    if (verdict->scope != SCOPE_RECIPIENT_DOMAIN && !is_about_strangers(verdict))
        return false;
    for (size_t i = 0; i < e->n_recipients; i++)
        if (job->fates[i].kind != FATE_SENT && job->fates[i].kind != FATE_FAILED &&
            !job_is_of_round(job, &e->recipients[i]))
            return true;
    return false;
}

static void
let_round_wait(struct job *job, const struct verdict *verdict)
{
    int64_t wait_ms = verdict->retry_after_ms;

    if (wait_ms < 0 || wait_ms > ROUND_AGAIN_MAX_MS)
        wait_ms = ROUND_AGAIN_MAX_MS;
    else if (wait_ms < ROUND_AGAIN_MIN_MS)
        wait_ms = ROUND_AGAIN_MIN_MS;
    for (size_t i = 0; i < job->round.n; i++)
        job->fates[job->round.recipients[i] - job->message->envelope.recipients].wait_ms = wait_ms;
}

/* The first gate counts, but that of strangers only where there are no others: the rest has no part in it. */
static void
take_gate(struct job *job, const struct verdict *verdict, const char *why)
{
    bool are_strangers = is_about_strangers(verdict);

    if (job->seq == 0 || (job->gate != NULL && (are_strangers || !job->are_strangers)))
        return;
    free(job->gate);
    job->gate = release_gate_of_verdict(job->flow, verdict, why);
    job->are_strangers = are_strangers;
}

void
job_part_round(struct job *job, const struct verdict *verdict, const char *why)
{
    if (waits_by_itself(job, verdict))
        let_round_wait(job, verdict);
    take_gate(job, verdict, why);
}
