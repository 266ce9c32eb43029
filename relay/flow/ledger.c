#include "relay/flow/ledger.h"

#include <stdio.h>

#include "policy/known.h"
#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/store/store.h"

#define DAY_MS (24 * 60 * 60 * 1000LL)

static const char *const class_names[] = {"internal", "external"};
_Static_assert(sizeof(class_names) / sizeof(class_names[0]) == RECIPIENT_CLASS_COUNT, "a name for each");

size_t
ledger_recipients(const struct message *m, enum recipient_class class)
{
    size_t n = m->unnamed[class];

    for (size_t i = 0; i < m->envelope.n_recipients; i++)
        n += m->envelope.recipients[i].class == class;
    return n;
}

void
ledger_count_recipients(struct metrics *metrics, const struct ledger_entry *entry)
{
    for (int c = 0; c < RECIPIENT_CLASS_COUNT; c++) {
        size_t n = ledger_recipients(entry->message, (enum recipient_class)c);

        if (n > 0)
            metric_add(metrics, M_RECIPIENTS, (double)n, class_names[c], entry->settlement->outcome, NULL);
    }
}

/* What the metric calls it; NULL: it waits on, and was counted when it began to. */
static const char *
fate_label(const struct ledger_entry *entry, const struct fate *fate)
{
    switch (fate->kind) {
    case FATE_SENT:
        return entry->is_release ? "delivered" : "relayed";
    case FATE_FAILED:
        return entry->is_release ? "failed" : "rejected";
    case FATE_HELD:
    case FATE_DEFERRED:
    case FATE_UNCERTAIN:
        return entry->is_release ? NULL : entry->settlement->outcome;
    case FATE_OPEN:
    case FATE_RESTS:
    case FATE_ELSEWHERE:
    case FATE_KIND_COUNT:
        break;
    }
    return NULL;
}

static void
count_fates(struct metrics *metrics, const struct ledger_entry *entry)
{
    for (size_t i = 0; i < entry->message->envelope.n_recipients; i++) {
        const char *label = fate_label(entry, &entry->fates[i]);

        if (label != NULL)
            metric_add(metrics, M_RECIPIENTS, 1, class_names[entry->message->envelope.recipients[i].class],
                label, NULL);
    }
}

static bool
is_any_uncertain(const struct ledger_entry *entry)
{
    for (size_t i = 0; entry->fates != NULL && i < entry->message->envelope.n_recipients; i++)
        if (entry->fates[i].kind == FATE_UNCERTAIN)
            return true;
    return false;
}

/* A message of the spool is counted when it leaves it. */
static void
count_release(struct metrics *metrics, const struct ledger_entry *entry)
{
    const char *outcome = entry->settlement->outcome;

    if (outcome[0] == 'r' || outcome[0] == 'f')
        metric_add(metrics, M_RELEASED, 1, outcome[0] == 'r' ? "delivered" : "failed", NULL, NULL);
    else if (outcome[0] != 'u' && entry->gate != NULL)
        ledger_held(metrics, entry->gate);
    else
        metric_add(metrics, M_HELD, 1, outcome[0] == 'u' ? "uncertain" : "upstream", NULL, NULL);
}

void
ledger_count(struct metrics *metrics, const struct ledger_entry *entry)
{
    const struct settlement *s = entry->settlement;

    if (entry->is_release)
        count_release(metrics, entry);
    else
        metric_add(metrics, M_MESSAGES, 1, s->outcome, NULL, NULL);
    if (entry->fates != NULL)
        count_fates(metrics, entry);
    else
        ledger_count_recipients(metrics, entry);
    if (s->outcome[0] == 'u' || is_any_uncertain(entry))
        metric_add(metrics, M_UNCERTAIN, 1, NULL, NULL, NULL);
}

void
ledger_reply(struct metrics *metrics, enum reply_class class, const struct reply *reply)
{
    char enhanced[ENHANCED_MAX];

    enhanced_format(reply->enhanced, enhanced);
    metric_add(metrics, M_UPSTREAM_REPLIES, 1, reply_class_to_str(class), enhanced, NULL);
}

void
ledger_take_over(struct metrics *metrics, const struct message *m, const struct reply *answer)
{
    struct settlement s = {.outcome = "spooled", .class = CLASS_OK, .end = {"U."}};
    struct verdict granted = {.kind = VERDICT_GRANTED};
    struct ledger_entry entry = {.message = m, .settlement = &s, .verdict = &granted};

    reply_copy(&s.answer, answer);
    ledger_count(metrics, &entry);
    ledger_log(&entry);
}

void
ledger_held(struct metrics *metrics, const struct queue_gate *gate)
{
    metric_add(metrics, M_HELD, 1, queue_gate_kind_to_str(gate->kind), NULL, NULL);
}

void
ledger_new_recipients(struct metrics *metrics, const struct charge_request *request, uint32_t granted)
{
    for (size_t i = 0; i < request->n_lines && request->people != NULL; i++) {
        const struct charge_line *line = &request->lines[i];
        uint64_t cost = line->new_bit != 0 ? charge_cost(request, line, granted) : 0;

        if (cost > 0)
            metric_add(metrics, M_NEW_RECIPIENTS, (double)cost, line->limit->name, NULL, NULL);
    }
}

void
ledger_decision(struct metrics *metrics, const struct verdict *v)
{
    const char *bound = v->limit != NULL ? v->limit->name : "";

    if (v->kind == VERDICT_NO_DECISION)
        bound = store_error_to_str(v->error);
    else if (v->kind == VERDICT_PAUSED)
        bound = v->pause.class == CLASS_OK ? "operator" : reply_class_to_str(v->pause.class);
    metric_add(metrics, M_DECISIONS, 1, verdict_kind_to_str(v->kind), bound, NULL);
}

/* The first of these lines by number, counted with all others. */
static const char *
count_shadows(struct metrics *metrics, const struct charge_request *r, uint32_t lines, const char *would)
{
    const char *first = NULL;

    for (size_t i = 0; i < r->n_lines; i++) {
        if ((lines >> i & 1) == 0)
            continue;
        metric_add(metrics, M_SHADOW, 1, r->lines[i].limit->name, would, NULL);
        first = first != NULL ? first : r->lines[i].limit->name;
    }
    return first;
}

const char *
ledger_shadow(struct metrics *metrics, const struct charge_request *r, const struct verdict *v)
{
    const char *held = count_shadows(metrics, r, v->would_hold, "hold");
    const char *shortened = count_shadows(metrics, r, v->would_shorten, "shorten");

    return held != NULL ? held : shortened;
}

struct end_code
ledger_end_of_verdict(const struct verdict *v)
{
    switch (v->kind) {
    case VERDICT_GRANTED:
        return (struct end_code){"--"};
    case VERDICT_OVER:
    case VERDICT_IMPOSSIBLE:
        return (struct end_code){"Gb"};
    case VERDICT_PAUSED:
        return (struct end_code){"Gp"};
    case VERDICT_CLOSED:
    case VERDICT_NO_DECISION:
    case VERDICT_KIND_COUNT:
        break;
    }
    return (struct end_code){"Sb"};
}

static void
log_verdict(struct log_line *l, const struct verdict *v)
{
    if (v->kind == VERDICT_GRANTED)
        return;
    log_cstr(l, "decision", verdict_kind_to_str(v->kind));
    if (v->kind == VERDICT_NO_DECISION)
        log_cstr(l, "store_error", store_error_to_str(v->error));
    if (v->limit != NULL) {
        log_cstr(l, "limit", v->limit->name);
        log_cstr(l, "scope", limit_scope_to_str(v->scope));
        log_str(l, "instance", span_str(v->instance));
        log_ratio(l, "used", v->used, v->cap);
    }
    if (v->retry_after_ms >= 0)
        log_int(l, "retry_after_ms", v->retry_after_ms);
}

static void
log_upstream(struct log_line *l, const struct ledger_entry *entry)
{
    char text[REPLY_TEXT_MAX + 8], enhanced[ENHANCED_MAX];

    if (entry->caps != NULL) {
        log_cstr(l, "upstream", entry->caps->peer);
        log_cstr(l, "upstream_tls", entry->caps->tls_text);
        log_int(l, "reuse", entry->caps->uses);
    }
    if (entry->upstream_reply == NULL)
        return;
    snprintf(text, sizeof(text), "%d %s", entry->upstream_reply->code, entry->upstream_reply->text);
    enhanced_format(entry->upstream_reply->enhanced, enhanced);
    log_str(l, "reply", span_str(text));
    log_cstr(l, "enhanced", enhanced);
    log_cstr(l, "class", reply_class_to_str(entry->settlement->class));
}

static void
log_recipients(struct log_line *l, const struct message *m)
{
    for (int c = RECIPIENT_CLASS_COUNT - 1; c >= 0; c--) {
        size_t n = ledger_recipients(m, (enum recipient_class)c);

        if (n > 0)
            log_int(l, class_names[c], (int64_t)n);
    }
}

/* What the client was told, codes and all. */
static void
log_answer(struct log_line *l, const struct reply *answer)
{
    char text[REPLY_TEXT_MAX + ENHANCED_MAX + 8], enhanced[ENHANCED_MAX];

    enhanced_format(answer->enhanced, enhanced);
    snprintf(text, sizeof(text), "%d %s%s%s", answer->code, enhanced, enhanced[0] != '\0' ? " " : "",
        answer->text);
    log_str(l, "answer", span_str(text));
}

/* What both kinds of line begin with. */
static void
log_subject(struct log_line *l, const struct message *m, const struct settlement *s)
{
    log_cstr(l, "id", m->id);
    log_cstr(l, "session", m->session);
    log_cstr(l, "outcome", s->outcome);
    log_cstr(l, "end", s->end.letters);
    log_cstr(l, "client", m->client->name);
    log_cstr(l, "peer", m->peer);
    log_str(l, "sender", span_str(m->envelope.sender.text));
    log_recipients(l, m);
}

static void
log_way(struct log_line *l, const struct message *m)
{
    log_cstr(l, "route", m->route->name);
    if (m->mailbox != NULL)
        log_str(l, "mailbox", span_str(m->mailbox->name));
}

void
ledger_log_recipients(const struct ledger_entry *entry)
{
    struct log_line l;

    log_begin(&l, LOG_INFO, "recipients");
    log_subject(&l, entry->message, entry->settlement);
    log_way(&l, entry->message);
    log_verdict(&l, entry->verdict);
    log_answer(&l, &entry->settlement->answer);
    log_end(&l);
}

void
ledger_log(const struct ledger_entry *entry)
{
    const struct message *m = entry->message;
    const struct settlement *s = entry->settlement;
    bool is_plain = s->end.letters[0] == '-', is_relayed = is_plain && s->outcome[0] == 'r';
    struct log_line l;

    log_begin(&l, is_plain ? LOG_INFO : LOG_NOTICE, "message");
    log_subject(&l, m, s);
    log_int(&l, "bytes", (int64_t)m->content_bytes);
    log_way(&l, m);
    log_verdict(&l, entry->verdict);
    if (entry->shadow != NULL && entry->shadow[0] != '\0')
        log_cstr(&l, "shadow", entry->shadow);
    log_int(&l, "waited_ms", entry->waited_ms);
    if (entry->is_release)
        log_bool(&l, "released", true);
    if (is_any_uncertain(entry)) /* also where the outcome for the client is another */
        log_bool(&l, "uncertain", true);
    log_upstream(&l, entry);
    log_cstr(&l, "tls", m->tls);
    if (entry->client_left)
        log_bool(&l, "client_left", true);
    if (!is_relayed)
        log_answer(&l, &s->answer);
    log_end(&l);
}

static void
log_pause(const struct pause *pause, const struct reply_rule *rule)
{
    char advice[REPLY_ADVICE_MAX], until[CLOCK_RFC3339_MAX];
    struct log_line l;

    reply_advice(rule, advice);
    clock_format_rfc3339(pause->until_utc_ms, until);
    log_begin(&l, LOG_ERROR, "pause");
    log_cstr(&l, "scope", limit_scope_to_str(pause->scope));
    log_str(&l, "instance", span_str(pause->instance));
    log_cstr(&l, "extent", pause->extent == PAUSE_EXTERNAL ? "external" : "all");
    log_cstr(&l, "class", reply_class_to_str(pause->class));
    log_cstr(&l, "until", pause->until_utc_ms != 0 ? until : "resumed");
    log_str(&l, "reason", span_str(pause->reason));
    log_str(&l, "advice", span_str(advice));
    log_end(&l);
}

void
ledger_pause(const struct message *m, struct settlement *s, struct store *store)
{
    struct pause in_force = s->pause;
    struct pause_wider wider;
    enum pause_result result;

    snprintf(wider.client, sizeof(wider.client), "%s", m->client->name);
    snprintf(wider.route, sizeof(wider.route), "%s", m->route->name);
    result = store_pause(store, &in_force, s->pause_for_ms, &wider);
    if (result == PAUSE_SET)
        log_pause(&in_force, s->rule);
    if (result != PAUSE_NO_PLACE)
        settle_paused(s, &in_force, store_now_ms(store));
}

void
ledger_lower_cap(const struct charge_request *request, struct store *store)
{
    for (size_t s = 0; s < request->n_scopes; s++) {
        const struct charge_scope *scope = &request->scopes[s];

        if (scope->scope != SCOPE_ROUTE && scope->scope != SCOPE_MAILBOX)
            continue;
        for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
            const struct limit_conf *limit = request->lines[i].limit;
            bool counts_people = limit->unit == UNIT_EXTERNAL || limit->unit == UNIT_RECIPIENTS;

            if (limit->period_ms == DAY_MS && counts_people)
                store_lower_cap(store, limit, scope->instance, 90, DAY_MS);
        }
    }
}
