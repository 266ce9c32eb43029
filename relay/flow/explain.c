#include "relay/flow/explain.h"

#include <assert.h>

#include "relay/flow/flow_part.h"
#include "relay/flow/refuse.h"
#include "relay/flow/release.h"

static const char *const outcome_names[] = {
    [EXPLAIN_RELAYED] = "relayed",
    [EXPLAIN_PARTLY] = "partly",
    [EXPLAIN_HELD] = "held",
    [EXPLAIN_REFUSED] = "refused",
};
static_assert(sizeof(outcome_names) / sizeof(*outcome_names) == EXPLAIN_OUTCOME_COUNT, "a name for each");

const char *
explain_outcome_to_str(enum explain_outcome o)
{
    return (unsigned)o < EXPLAIN_OUTCOME_COUNT ? outcome_names[o] : "?";
}

bool
explain_goes_with(const struct flow *f, const struct route_conf *route, const struct recipient *a,
    const struct recipient *b)
{
    return a->class == b->class && span_eq(flow_domain_of(f, route, a), flow_domain_of(f, route, b));
}

static enum recipient_class
class_of(const struct flow_look *look)
{
    sg_assert(look->envelope->n_recipients > 0);
    return look->envelope->recipients[0].class;
}

int
explain_plan(struct flow *f, const struct flow_look *look, struct charge_request *request_out)
{
    uint32_t n = (uint32_t)look->envelope->n_recipients;
    int result = flow_plan_look(f, look, class_of(look), n, request_out);

    if (result == 0)
        request_out->people = flow_name_people(request_out, look->envelope);
    if (result == 0 && flow_may_hold(f, look->client))
        request_out->least = 1; /* the others may wait */
    return result;
}

static bool
is_behind(struct flow *f, const struct flow_look *look)
{
    struct flow_subject subject = {.client = look->client, .route = look->route, .mailbox = look->mailbox,
        .sender = look->envelope->sender.text, .class = class_of(look),
        .domain = flow_domain_of(f, look->route, &look->envelope->recipients[0])};

    return flow_may_hold(f, look->client) && release_has_older(f, &subject);
}

/* Where it could not be held, the client is told at RCPT to bring it apart. */
static void
refuse_rest(const struct explain_asked *asked, struct flow_refusal *out)
{
    if (asked->first->class != class_of(&asked->look))
        refuse_mixed(out);
    else
        refuse_other_domain(out);
}

/* What stands against it, if anything does: in the order of job_round.c, what this node knows first. */
static bool
find_refusal(struct flow *f, const struct explain_asked *asked, struct flow_refusal *out)
{
    struct verdict known;

    if (asked->first != NULL && !flow_may_hold(f, asked->look.client))
        refuse_rest(asked, out);
    else if (asked->request == NULL)
        refuse_too_many_limits(out);
    else if (refuse_locally(f, asked->request, &known))
        refuse_with_verdict(&known, asked->request, f->config, out);
    else if (is_behind(f, &asked->look))
        refuse_behind_others(out);
    else if (asked->verdict->kind != VERDICT_GRANTED)
        refuse_with_verdict(asked->verdict, asked->request, f->config, out);
    else
        return false;
    return true;
}

static uint64_t
taken_of(const struct charge_request *request, const struct verdict *verdict)
{
    for (size_t i = 0; i < request->n_lines; i++)
        if (request->lines[i].limit == verdict->limit)
            return request->lines[i].fixed + (uint64_t)request->lines[i].each * verdict->granted;
    return 0;
}

/* "Some of them now": the next round asks for the others, after these were counted, and is told to wait. */
static void
explain_part(const struct verdict *verdict, const struct charge_request *request, struct explained *out)
{
    struct flow_refusal refusal;
    struct verdict rest = *verdict;

    rest.kind = VERDICT_OVER;
    rest.used += taken_of(request, verdict);
    rest.retry_after_ms = -1;
    refuse_with_verdict(&rest, request, NULL, &refusal);
    reply_copy(&out->why, &refusal.reply);
    out->outcome = EXPLAIN_PARTLY;
    refuse_but_keep("ID", &out->why, &out->answer);
}

static void
explain_grant(const struct verdict *verdict, const struct charge_request *request, struct explained *out)
{
    if (verdict->granted < request->recipients) {
        explain_part(verdict, request, out);
        return;
    }
    out->outcome = EXPLAIN_RELAYED;
    reply_set(&out->answer, 250, "2.0.0", "relayed as ID; upstream: what it says");
}

void
explain_verdict(struct flow *f, const struct explain_asked *asked, struct explained *out)
{
    const struct client_conf *client = asked->look.client;
    bool holds = flow_may_hold(f, client), is_refused;
    struct flow_refusal refusal;

    out->why.code = 0;
    out->outcome = EXPLAIN_REFUSED;
    if (!flow_keeps(f, client, &out->answer)) {
        reply_copy(&out->why, &out->answer);
        return;
    }
    is_refused = find_refusal(f, asked, &refusal);
    if (!is_refused) {
        explain_grant(asked->verdict, asked->request, out);
    } else {
        reply_copy(&out->why, &refusal.reply);
        reply_copy(&out->answer, &refusal.reply);
    }
    if (is_refused && holds && refusal.reply.code < 500) {
        out->outcome = EXPLAIN_HELD;
        refuse_but_keep("ID", &out->why, &out->answer);
    }
    if (holds && client->accept == ACCEPT_SPOOL) /* it is kept before anybody is asked */
        reply_set(&out->answer, 250, "2.0.0", "queued as ID");
}
