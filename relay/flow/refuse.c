#include "relay/flow/refuse.h"

#include <stdlib.h>
#include <string.h>

#include "policy/refusal.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/flow_part.h"
#include "relay/flow/ledger.h"

static void
start(struct flow_refusal *out, const char *end)
{
    out->verdict = (struct verdict){.kind = VERDICT_GRANTED};
    out->config = NULL;
    memcpy(out->end.letters, end, sizeof(out->end.letters));
}

void
refuse_too_many_limits(struct flow_refusal *out)
{
    start(out, "Nb");
    reply_set(&out->reply, 451, "4.3.5", "too many limits apply to one message; see the log of the relay");
}

void
refuse_mixed(struct flow_refusal *out)
{
    start(out, "Rr");
    reply_set(&out->reply, 452, "4.5.3", "recipients inside and outside the organisation go in separate "
        "transactions; send this one again after the rest");
}

void
refuse_other_domain(struct flow_refusal *out)
{
    start(out, "Rr");
    reply_set(&out->reply, 452, "4.5.3", "recipients of a domain with a limit of its own go in a transaction "
        "of their own; send this one again after the rest");
}

void
refuse_behind_others(struct flow_refusal *out)
{
    start(out, "Gq");
    reply_set(&out->reply, 451, "4.4.5", "older mail of this sender waits; this one goes after it");
}

void
refuse_with_verdict(const struct verdict *verdict, const struct charge_request *request,
    struct config *config, struct flow_refusal *out)
{
    char text[REPLY_TEXT_MAX], enhanced[ENHANCED_MAX];
    struct enhanced code_enhanced;
    int code;

    refusal_format(verdict, request, &code, &code_enhanced, text, sizeof(text));
    enhanced_format(code_enhanced, enhanced);
    reply_set(&out->reply, code, enhanced, "%s", text);
    out->end = ledger_end_of_verdict(verdict);
    out->verdict = *verdict;
    out->config = config;
}

void
refuse_but_keep(const char *id, const struct reply *why, struct reply *answer_out)
{
    static const char *const advice[] = {"; try again", ", try again", "; send again"};
    struct reply reason;

    reply_copy(&reason, why);
    for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
        char *at = strstr(reason.text, advice[i]);

        if (at != NULL)
            *at = '\0';
    }
    reply_set(answer_out, 250, "2.0.0", "queued as %s%s%s", id, reason.code == 0 ? "" : "; held for now: ",
        reason.code == 0 ? "" : reason.text);
}

struct flow_refusal *
flow_refusal_keep(const struct flow_refusal *r)
{
    struct flow_refusal *kept = xmalloc(sizeof(*kept));

    reply_copy(&kept->reply, &r->reply);
    kept->end = r->end;
    kept->verdict = r->verdict;
    kept->config = r->config != NULL ? config_ref(r->config) : NULL;
    return kept;
}

void
flow_refusal_free(struct flow_refusal **r)
{
    if (*r == NULL)
        return;
    config_unref(&(*r)->config);
    free(*r);
    *r = NULL;
}

bool
refuse_locally(struct flow *f, const struct charge_request *request, struct verdict *verdict_out)
{
    const struct pause *pause = store_pause_for(f->store, request);
    struct store_status store;
    int64_t now_ms;

    if (pause == NULL) {
        store_status(f->store, &store);
        if (store.up)
            return hints_refuse(&f->hints, request, loop_now_ms(f->loop), verdict_out);
        *verdict_out = (struct verdict){.kind = VERDICT_NO_DECISION, .error = store.error,
            .retry_after_ms = -1};
        return true;
    }
    now_ms = store_now_ms(f->store);
    *verdict_out = (struct verdict){.kind = VERDICT_PAUSED, .scope = pause->scope, .pause = *pause,
        .retry_after_ms = pause->until_utc_ms > now_ms ? pause->until_utc_ms - now_ms : -1,
        .time_us = (uint64_t)now_ms * 1000};
    memcpy(verdict_out->instance, pause->instance, sizeof(verdict_out->instance));
    return true;
}
