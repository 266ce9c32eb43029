#include "relay/flow/refuse.h"

#include <string.h>

#include "policy/refusal.h"
#include "relay/flow/flow_part.h"

void
refuse_too_many_limits(struct reply *reply_out)
{
    reply_set(reply_out, 451, "4.3.5", "too many limits apply to one message; see the log of the relay");
}

void
refuse_with_verdict(const struct verdict *verdict, const struct charge_request *request,
    struct reply *reply_out)
{
    char text[REPLY_TEXT_MAX], enhanced[ENHANCED_MAX];
    struct enhanced code_enhanced;
    int code;

    refusal_format(verdict, request, &code, &code_enhanced, text, sizeof(text));
    enhanced_format(code_enhanced, enhanced);
    reply_set(reply_out, code, enhanced, "%s", text);
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
