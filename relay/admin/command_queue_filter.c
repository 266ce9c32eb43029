#include "relay/admin/command_queue.h"

#include <inttypes.h>
#include <string.h>

#include "relay/admin/json_text.h"
#include "relay/base/buf.h"
#include "relay/base/clock.h"
#include "relay/flow/held.h"
#include "relay/smtp/address.h"

bool
call_has_spool(struct call *call)
{
    if (held_is_on(call->admin->setup.flow))
        return true;
    call_refuse(call,
        "%s: this node has no spool, so nothing is held; to have one set spool.enabled: true and restart "
        "sendgovd",
        call->command->name);
    return false;
}

/* Addresses are compared in the form they are kept in, so that is what stays in the call. */
static bool
canonise(struct call *call, const char *param, const char *prefix)
{
    const char *given = call_text(call, param);
    struct address address;
    struct buf probe;
    bool ok;

    if (!given || (strcmp(param, "sender") == 0 && strcmp(given, "<>") == 0))
        return true;
    buf_init(&probe);
    buf_printf(&probe, "%s%s", prefix, given);
    ok = address_parse_plain(buf_span(&probe), &address) == ADDRESS_OK;
    buf_fini(&probe);
    if (!ok) {
        call_usage(call, "%s: parameter \"%s\": \"%.64s\" is no mail %s", call->command->name, param, given,
            prefix[0] ? "domain" : "address");
        return false;
    }
    json_object_set_new(
        call->args, param, json_text(prefix[0] ? address_domain(&address).p : address.text));
    address_fini(&address);
    return true;
}

static bool
canonise_all(struct call *call)
{
    return canonise(call, "sender", "") && canonise(call, "recipient", "") &&
        canonise(call, "sender_domain", "x@") && canonise(call, "recipient_domain", "x@");
}

bool
call_spool_filter(struct call *call, struct spool_filter *filter_out)
{
    int64_t older_ms = call_duration_ms(call, "older_than");

    if (!canonise_all(call))
        return false;
    *filter_out = (struct spool_filter){
        .id = call_text(call, "id"),
        .client = call_text(call, "client"),
        .route = call_text(call, "route"),
        .mailbox = call_text(call, "mailbox"),
        .sender = call_text(call, "sender"),
        .recipient = call_text(call, "recipient"),
        .sender_domain = call_text(call, "sender_domain"),
        .recipient_domain = call_text(call, "recipient_domain"),
        .state = call_text(call, "state"),
        .before_utc_ms = older_ms ? clock_utc_ms() - older_ms : 0,
        .after_seq = call_number(call, "after", 0),
    };
    return true;
}

bool
call_spool_max(struct call *call, uint32_t most, uint32_t *max_out)
{
    uint64_t max = call_number(call, "max", *max_out);

    if (!json_object_get(call->args, "max"))
        return true;
    if (max < 1 || max > most) {
        call_usage(call, "%s: parameter \"max\" is from 1 to %" PRIu32, call->command->name, most);
        return false;
    }
    *max_out = (uint32_t)max;
    return true;
}

static void
refuse_failed(struct call *call)
{
    struct spool_status spool;
    struct queue_counts queue;

    held_status(call->admin->setup.flow, &spool, &queue);
    call_refuse(call, "%s: the spool failed (%s%s%s); see `sendgovctl status`, then try again",
        call->command->name, spool_state_to_str(spool.state), spool.why[0] ? ": " : "", spool.why);
}

void
call_refuse_spool(struct call *call, enum spool_result result)
{
    const char *id = call_text(call, "id");

    if (!call->admin) { /* nobody is told; the call ends */
        call_refuse(call, "stopping");
        return;
    }
    switch (result) {
    case SPOOL_NO_SPACE:
        call_refuse(call, "%s: no space is left for the spool; make some, then try again",
            call->command->name);
        return;
    case SPOOL_GONE:
        call_refuse(call, "%s: there is no message \"%.64s\" in the spool (any more)", call->command->name,
            id ? id : "");
        return;
    case SPOOL_BUSY:
        call_refuse(call, "%s: message \"%.64s\" is on its way; try again in a minute", call->command->name,
            id ? id : "");
        return;
    case SPOOL_DAMAGED:
        call_refuse(call, "%s: it cannot be read any more and was put aside; the log names it",
            call->command->name);
        return;
    case SPOOL_DONE:
    case SPOOL_FAILED:
    case SPOOL_RESULT_COUNT:
        break;
    }
    refuse_failed(call);
}
