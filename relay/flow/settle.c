/* settle: all failure policy of the relay in one place.
 *
 * The upstream's reply decides, in this order: a 2xx to the dot is success, whatever its text says. A lost
 * connection after the dot left is `uncertain`: only the upstream knows, the client is told 451 and may send
 * again, which is the one duplicate SMTP cannot avoid. Any other loss offered nothing that counts as a
 * message: 451.
 * A refusal is classified by the route's reply table, and then
 *
 *   class             the mail that follows                        the client hears
 *   block-tenant      external mail of the route is paused,        451 4.7.0: it will pass later,
 *                     the warm-up steps back                       after the operator resumed
 *   block-connector   the whole route is paused                    451 4.7.0
 *   block-sender      that sender is paused                        451 4.7.0
 *   block-domain      that sender domain is paused                 451 4.7.0
 *   budget            the cap in force sinks to 0.9 of our count   451 4.7.0
 *   throttle          connections halve, the warm-up day is held   the 4xx itself
 *   auth              the mailbox is paused for 15 minutes         451 4.7.0
 *   temporary         nothing                                      the 4xx itself
 *   message           nothing                                      the 5xx itself
 *
 * So a 5xx of Microsoft about the tenant never reaches a client as a 5xx: the message is not at fault
 * and would be lost for nothing. Example: `550 5.7.708 ... traffic not accepted from this IP` to RCPT pauses
 * external mail of the route on all nodes and the client gets `451 4.7.0 external mail of route contoso is
 * paused ...`. What the answer says of a pause is what is in force by then: a wider one, one that stood and
 * ends later, or, where there is no place for it, none.
 */
#include "relay/flow/settle.h"

#include <stdio.h>

#include "policy/plan.h"

#define AUTH_PAUSE_MS (15 * 60 * 1000)
#define SAID_MAX (400 + ENHANCED_MAX + 16)

static const char phase_letter[] = {
    [TX_CONNECT] = 'c', [TX_TLS] = 't', [TX_AUTH] = 'a', [TX_MAIL] = 'm',
    [TX_RCPT] = 'r', [TX_DATA] = 'd', [TX_BODY] = 'o', [TX_DOT] = '.',
};

static struct end_code
ended_by_upstream(enum tx_phase phase)
{
    return (struct end_code){{'U', phase_letter[phase], '\0'}};
}

/* "535 5.7.139 words" */
static void
format_said(const struct reply *reply, char *out, size_t size)
{
    char enhanced[ENHANCED_MAX];

    enhanced_format(reply->enhanced, enhanced);
    snprintf(out, size, "%d %s%s%.400s", reply->code, enhanced, enhanced[0] == '\0' ? "" : " ", reply->text);
}

static void
pause_scope(struct settlement *out, enum limit_scope scope, const char *instance, enum pause_extent extent,
    const struct reply *cause)
{
    out->action = ACTION_PAUSE;
    out->pause.scope = scope;
    out->pause.extent = extent;
    out->pause.class = out->class;
    snprintf(out->pause.instance, sizeof(out->pause.instance), "%s", instance);
    snprintf(out->pause.actor, sizeof(out->pause.actor), "upstream");
    format_said(cause, out->pause.reason, sizeof(out->pause.reason));
}

/* A bounce has no sender to pause: the client that sends it is. */
static void
pause_sender(const struct message *m, struct settlement *out, const struct reply *cause)
{
    char instance[INSTANCE_MAX];

    if (address_is_null(&m->envelope.sender))
        pause_scope(out, SCOPE_CLIENT, m->client->name, PAUSE_ALL, cause);
    else {
        plan_sender_instance(span_str(m->envelope.sender.text), instance);
        pause_scope(out, SCOPE_SENDER, instance, PAUSE_ALL, cause);
    }
}

static void
pause_domain(const struct message *m, struct settlement *out, const struct reply *cause)
{
    if (address_is_null(&m->envelope.sender))
        pause_scope(out, SCOPE_CLIENT, m->client->name, PAUSE_ALL, cause);
    else
        pause_scope(out, SCOPE_SENDER_DOMAIN, address_domain(&m->envelope.sender).p, PAUSE_ALL, cause);
}

static void
pause_identity(const struct message *m, struct settlement *out, const struct reply *cause)
{
    if (m->mailbox == NULL)
        pause_scope(out, SCOPE_ROUTE, m->route->name, PAUSE_ALL, cause);
    else
        pause_scope(out, SCOPE_MAILBOX, m->mailbox->name, PAUSE_ALL, cause);
    out->pause_for_ms = AUTH_PAUSE_MS;
}

/* What follows for later mail, from the class alone. */
static void
choose_action(const struct message *m, const struct reply *cause, struct settlement *out)
{
    switch (out->class) {
    case CLASS_BLOCK_TENANT:
        pause_scope(out, SCOPE_ROUTE, m->route->name, PAUSE_EXTERNAL, cause);
        out->warmup_back = true;
        break;
    case CLASS_BLOCK_CONNECTOR:
        pause_scope(out, SCOPE_ROUTE, m->route->name, PAUSE_ALL, cause);
        break;
    case CLASS_BLOCK_SENDER:
        pause_sender(m, out, cause);
        break;
    case CLASS_BLOCK_DOMAIN:
        pause_domain(m, out, cause);
        break;
    case CLASS_AUTH:
        pause_identity(m, out, cause);
        break;
    case CLASS_BUDGET:
        out->action = ACTION_LOWER_CAP;
        break;
    case CLASS_THROTTLE:
        out->action = ACTION_SLOW_DOWN;
        out->warmup_hold = true;
        break;
    case CLASS_OK:
    case CLASS_TEMPORARY:
    case CLASS_MESSAGE:
    case CLASS_COUNT:
        break;
    }
}

/* Does the client hear the upstream's own 5xx? Only where the message itself is at fault. */
static bool
is_final(enum reply_class class, const struct reply *reply)
{
    return class == CLASS_MESSAGE && reply->code >= 500;
}

/* The upstream's reply in our mouth: its class and words, never its 421 (that is about its connection, not
 * the client's). */
static void
pass_on(struct reply *answer, const struct reply *reply, const char *about)
{
    char enhanced[ENHANCED_MAX];

    if (reply->enhanced.class * 100 <= reply->code && reply->code < reply->enhanced.class * 100 + 100)
        enhanced_format(reply->enhanced, enhanced);
    else
        snprintf(enhanced, sizeof(enhanced), "%d.0.0", reply->code / 100);
    reply_set(answer, reply->code == 421 ? 451 : reply->code, enhanced, "upstream said%s%s: %d %s",
        about[0] == '\0' ? "" : " to ", about, reply->code, reply->text);
}

/* Who must act, or when it ends, comes before the upstream's words: many clients keep one line of a reply. */
void
settle_paused(struct settlement *s, const struct pause *in_force, int64_t now_ms)
{
    int64_t left_ms = in_force->until_utc_ms > now_ms ? in_force->until_utc_ms - now_ms : 1;
    char end[64] = "until an operator resumes it";

    if (in_force->until_utc_ms > 0)
        snprintf(end, sizeof(end), "from now on, retry after %lld s", (long long)(left_ms + 999) / 1000);
    reply_set(&s->answer, 451, "4.7.0", "%s %s %s is paused %s%s the upstream said: %s",
        in_force->extent == PAUSE_EXTERNAL ? "external mail of" : "mail of",
        limit_scope_to_str(in_force->scope), in_force->instance, end,
        in_force->class == CLASS_OK ? ";" : ", because", s->pause.reason);
}

static void
settle_refusal(const struct message *m, const struct reply *reply, enum tx_phase phase, const char *about,
    struct settlement *out)
{
    out->end = ended_by_upstream(phase);
    out->class = reply_classify(&m->route->replies, reply->code, reply->enhanced, span_str(reply->text),
        &out->rule);
    choose_action(m, reply, out);
    out->outcome = is_final(out->class, reply) ? "rejected" : "deferred";
    if (out->action == ACTION_PAUSE) /* not in force yet: settle_paused */
        reply_set(&out->answer, 451, "4.7.0", "the upstream said: %s; try again later", out->pause.reason);
    else if (out->class == CLASS_BUDGET)
        reply_set(&out->answer, 451, "4.7.0",
            "the upstream's own cap is lower than ours: %d %s; sending less, try again later", reply->code,
            reply->text);
    else
        pass_on(&out->answer, reply, about);
    if (out->answer.code >= 500 && !is_final(out->class, reply))
        reply_set(&out->answer, 451, "4.7.0", "%s; try again later", out->answer.text);
}

/* The recipient whose refusal stopped an all-or-nothing transaction, for the reply's text. */
static const char *
refused_recipient(const struct message *m, const struct tx_outcome *o)
{
    if (o->phase != TX_RCPT || o->recipients == NULL)
        return "";
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        const struct reply *theirs = &o->recipients[i].reply;

        if (theirs->code == o->reply.code && strcmp(theirs->text, o->reply.text) == 0)
            return m->envelope.recipients[i].address.text;
    }
    return "";
}

void
settle_outcome(const struct message *m, const struct tx_outcome *o, struct settlement *out)
{
    *out = (struct settlement){.class = CLASS_OK, .outcome = "relayed", .end = {"--"}};
    if (!o->lost && o->phase == TX_DOT && reply_is_positive(&o->reply)) {
        reply_set(&out->answer, 250, "2.0.0", "relayed as %s; upstream: %d %s", m->id, o->reply.code,
            o->reply.text);
        return;
    }
    if (!o->lost) {
        settle_refusal(m, &o->reply, o->phase, refused_recipient(m, o), out);
        return;
    }
    out->end = ended_by_upstream(o->phase);
    out->class = CLASS_TEMPORARY;
    out->outcome = o->phase == TX_DOT ? "uncertain" : "deferred";
    reply_set(&out->answer, 451, o->phase == TX_DOT ? "4.4.2" : "4.4.1",
        "connection to the upstream lost %s: %s; try again",
        o->phase == TX_DOT ? "before it said whether it took the message" : "in the middle", o->detail);
}

enum reply_class
settle_recipient(const struct message *m, enum tx_phase phase, const struct tx_recipient *r,
    struct settlement *s)
{
    struct settlement theirs = {.class = CLASS_TEMPORARY};

    if (r->fate == TX_ACCEPTED || r->reply.code < 400)
        return r->fate == TX_ACCEPTED ? CLASS_OK : CLASS_TEMPORARY;
    settle_refusal(m, &r->reply, phase, "", &theirs);
    if (s->class == CLASS_OK || theirs.class < s->class)
        *s = theirs;
    return theirs.class;
}

/* The pool still knows why it failed and has not tried again: nothing new was said, so nothing follows from
 * it. Else an operator who resumes a mailbox too early would find it paused anew by an old refusal. */
static void
settle_repeated(const struct message *m, const struct lease_failure *f, struct settlement *out)
{
    char words[SAID_MAX];

    out->end = ended_by_upstream(f->phase);
    out->class = reply_classify(&m->route->replies, f->reply.code, f->reply.enhanced, span_str(f->reply.text),
        NULL);
    format_said(&f->reply, words, sizeof(words));
    reply_set(&out->answer, 451, "4.4.1", "no connection to the upstream since it said: %s; retry after"
        " %lld s", words, (long long)(f->retry_after_ms + 999) / 1000);
}

void
settle_no_connection(const struct message *m, const struct lease_failure *f, struct settlement *out)
{
    char words[SAID_MAX];

    *out = (struct settlement){.class = CLASS_TEMPORARY, .outcome = "deferred"};
    if (f->reply.code >= 400 && f->repeated) {
        settle_repeated(m, f, out);
        return;
    }
    if (f->reply.code >= 400) {
        settle_refusal(m, &f->reply, f->phase, f->phase == TX_AUTH ? "AUTH" : "our connection", out);
        format_said(&f->reply, words, sizeof(words));
        /* Refused before MAIL: never the message's fault, whatever the code. */
        if (out->answer.code >= 500)
            reply_set(&out->answer, 451, "4.4.0", "upstream refuses our connection: %s", words);
        out->outcome = "deferred";
        return;
    }
    out->end = f->timed_out ? (struct end_code){"Nc"} : ended_by_upstream(f->phase);
    reply_set(&out->answer, 451, f->timed_out ? "4.3.2" : f->phase == TX_TLS ? "4.7.5" : "4.4.1",
        "%s: %s; retry after %lld s",
        f->timed_out ? "all upstream connections are busy" : "no connection to the upstream", f->detail,
        (long long)(f->retry_after_ms + 999) / 1000);
}
