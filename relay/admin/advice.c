#include "relay/admin/advice.h"

#include <string.h>

#include "relay/smtp/reply.h"

/* The reason of a pause is the reply that caused it: "550 5.7.708 words". */
static bool
parse_reason(const char *reason, struct reply *reply)
{
    const char *why;
    struct buf wire;
    size_t used;
    bool ok;

    buf_init(&wire);
    buf_printf(&wire, "%s\r\n", reason);
    ok = reply_parse(buf_span(&wire), reply, &used, &why) == REPLY_OK;
    buf_fini(&wire);
    return ok;
}

static const char *
route_of(const struct config *config, const struct pause *pause)
{
    if (pause->scope == SCOPE_ROUTE)
        return pause->instance;
    for (size_t i = 0; pause->scope == SCOPE_MAILBOX && i < config->n_mailboxes; i++)
        if (strcmp(config->mailboxes[i].name, pause->instance) == 0)
            return config->mailboxes[i].route;
    return NULL;
}

/* A sender is on no route by itself: any table that reads the reply as the pause's class will do. */
static const struct reply_rule *
rule_of(const struct config *config, const struct pause *pause, const struct reply *reply)
{
    const char *theirs = route_of(config, pause);
    const struct reply_rule *rule;

    for (size_t i = 0; i < config->n_routes; i++) {
        const struct route_conf *r = &config->routes[i];

        if (theirs != NULL && strcmp(theirs, r->name) != 0)
            continue;
        if (reply_classify(&r->replies, reply->code, reply->enhanced, span_str(reply->text), &rule)
                == pause->class && rule != NULL)
            return rule;
    }
    return NULL;
}

void
advice_of_pause(const struct config *config, const struct pause *pause, char out[REPLY_ADVICE_MAX])
{
    struct reply reply;

    out[0] = '\0';
    if (pause->class != CLASS_OK && parse_reason(pause->reason, &reply))
        reply_advice(rule_of(config, pause, &reply), out);
}
