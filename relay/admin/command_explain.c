/* limits-explain: what would become of a message. First what needs no store, in the order of a session: the
 * client, its sender, the size, each recipient; then the use of every limit the charges would take, in one
 * question; then a look for each class of recipients. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "relay/admin/command.h"
#include "relay/admin/command_run.h"
#include "relay/admin/explain_view.h"
#include "relay/admin/json_text.h"
#include "relay/base/buf.h"
#include "relay/base/xmalloc.h"
#include "relay/front/identity.h"
#include "relay/front/sender.h"
#include "relay/front/trace.h"

/* One explanation; belongs to its call. */
struct work {
    struct config *config; /* reference held: the parts point to its limits */
    const struct client_conf *client;
    const char *client_by;
    struct sender_path path;
    struct address sender;
    uint64_t bytes;
    json_t *refused;            /* recipients that would not be taken */
    struct explain_part *parts; /* one for each transaction, in the order in which they would be sent */
    size_t n_parts, asked;      /* asked: the part that is looked at */
};

static void ask_part(struct call *call);

static void
work_free(void *arg)
{
    struct work *w = arg;

    for (size_t i = 0; i < w->n_parts; i++) {
        free(w->parts[i].usage);
        free(w->parts[i].request.people);
        envelope_fini(&w->parts[i].envelope);
    }
    free(w->parts);
    json_decref(w->refused);
    address_fini(&w->sender);
    config_unref(&w->config);
    free(w);
}

static struct flow_look
look_of(const struct work *w, const struct explain_part *p)
{
    return (struct flow_look){.config = w->config, .client = w->client, .route = w->path.route,
        .mailbox = w->path.mailbox, .envelope = &p->envelope, .bytes = w->bytes};
}

/* ---- the client ---- */

static const struct client_conf *
client_of_login(const struct config *c, const char *login)
{
    for (size_t i = 0; i < c->n_clients; i++)
        for (size_t k = 0; k < c->clients[i].n_logins; k++)
            if (strcmp(c->clients[i].logins[k], login) == 0)
                return &c->clients[i];
    return NULL;
}

static bool
parse_peer(const char *text, struct in6_addr *out)
{
    char mapped[80];

    snprintf(mapped, sizeof(mapped), "::ffff:%.64s", text);
    return inet_pton(AF_INET6, strchr(text, ':') ? text : mapped, out) == 1;
}

/* As a session from there would be known on a listener that is open to all. */
static const struct client_conf *
client_of_peer(const struct config *c, const char *text)
{
    const struct listener_conf any = {.name = ""};
    struct in6_addr address;
    struct identity_facts facts = {.address = &address};

    return parse_peer(text, &address) ? identity_find(c, &any, &facts) : NULL;
}

static const struct client_conf *
find_client(struct call *call, struct work *w, const char *given)
{
    const struct client_conf *client = config_client(w->config, given);

    w->client_by = "name";
    if (!client) {
        client = client_of_login(w->config, given);
        w->client_by = "login";
    }
    if (!client) {
        client = client_of_peer(w->config, given);
        w->client_by = "network";
    }
    if (!client)
        call_check_named(call, SCOPE_CLIENT, given);
    return client;
}

/* The only one that may send so. */
static const struct client_conf *
guess_client(struct call *call, struct work *w)
{
    const struct address *sender = &w->sender;
    const struct client_conf *found = NULL;
    struct buf names;
    size_t n = 0;

    buf_init(&names);
    for (size_t i = 0; i < w->config->n_clients; i++) {
        if (!sender_is_of(&w->config->clients[i], sender))
            continue;
        found = &w->config->clients[i];
        buf_printf(&names, "%s%s", n++ ? ", " : "", found->name);
    }
    if (n == 0)
        call_refuse(call, "no client may send as %.300s: add it to the senders of one",
            address_is_null(sender) ? "the null sender <>" : sender->text);
    else if (n > 1)
        call_usage(call, "%s: several clients may send as %.300s, say which: %.300s", call->command->name,
            address_is_null(sender) ? "the null sender <>" : sender->text, buf_span(&names).p);
    buf_fini(&names);
    w->client_by = "sender";
    return n == 1 ? found : NULL;
}

/* ---- the envelope ---- */

static bool
parse_address(struct call *call, const char *text, struct address *out)
{
    if (address_parse_plain(span_str(text), out) == ADDRESS_OK)
        return true;
    call_usage(call, "%s: \"%.64s\" is no mail address", call->command->name, text);
    return false;
}

static bool
parse_sender(struct call *call, struct work *w)
{
    const char *text = call_text(call, "sender");

    if (strcmp(text, "<>") != 0)
        return parse_address(call, text, &w->sender);
    address_init(&w->sender);
    return true;
}

static void
refuse_recipient(struct work *w, const struct address *a, const struct reply *refusal)
{
    json_t *o = json_object();

    json_object_set_new(o, "recipient", json_text(a->text));
    json_object_set_new(o, "answer", explain_reply_to_json(refusal));
    json_array_append_new(w->refused, o);
}

/* To those with which it would leave, or to a transaction of its own. */
static void
add_recipient(const struct flow *flow, struct work *w, struct address *address, enum recipient_class class)
{
    const struct recipient probe = {.address = *address, .class = class};
    struct explain_part *p;
    size_t i = 0;

    while (i < w->n_parts &&
        !explain_goes_with(flow, w->path.route, &w->parts[i].envelope.recipients[0], &probe))
        i++;
    if (i == w->n_parts) {
        w->parts = xrealloc(w->parts, (w->n_parts + 1) * sizeof(*w->parts));
        p = &w->parts[w->n_parts++];
        memset(p, 0, sizeof(*p));
        address_copy(&w->sender, &p->envelope.sender);
        p->verdict = (struct verdict){.kind = VERDICT_NO_DECISION, .retry_after_ms = -1};
    }
    envelope_add(&w->parts[i].envelope, address, class);
}

static bool
add_recipients(struct call *call, struct work *w)
{
    json_t *list = json_object_get(call->args, "recipients"), *text;
    size_t i;

    json_array_foreach(list, i, text) {
        enum recipient_class class;
        struct address address;
        struct reply refusal;

        if (!parse_address(call, json_string_value(text), &address))
            return false;
        if (sender_admit_recipient(w->path.route, &address, &class, &refusal)) {
            add_recipient(call->admin->setup.flow, w, &address, class);
        } else {
            refuse_recipient(w, &address, &refusal);
            address_fini(&address);
        }
    }
    return true;
}

static bool
is_size_admitted(struct call *call, const struct work *w, struct reply *refusal)
{
    uint64_t most = w->config->front.message_bytes_max, route_most = 0;
    bool eightbit;

    flow_route_caps(call->admin->setup.flow, w->path.route, &route_most, &eightbit);
    if (route_most > TRACE_ROOM && route_most - TRACE_ROOM < most)
        most = route_most - TRACE_ROOM;
    return sender_admit_size(w->path.route, w->bytes, most, refusal);
}

/* ---- the answer ---- */

static json_t *
begin_answer(const struct work *w)
{
    static const char *const modes[] = {
        [ACCEPT_RELAY] = "relay", [ACCEPT_DEFER] = "defer", [ACCEPT_SPOOL] = "spool"};
    json_t *o = json_object();

    json_object_set_new(o, "sender", json_text(w->sender.text));
    json_object_set_new(o, "client", json_text(w->client->name));
    json_object_set_new(o, "client_by", json_string(w->client_by));
    json_object_set_new(o, "accept", json_string(modes[w->client->accept]));
    json_object_set_new(o, "route", w->path.route ? json_text(w->path.route->name) : json_null());
    json_object_set_new(o, "mailbox", w->path.mailbox ? json_text(w->path.mailbox->name) : json_null());
    json_object_set_new(o, "bytes", json_u64(w->bytes));
    return o;
}

/* A rule of the relay says no before any limit is asked. */
static void
answer_refused(struct call *call, const struct work *w, const struct reply *refusal)
{
    json_t *o = begin_answer(w);

    json_object_set_new(o, "outcome", json_string("refused"));
    json_object_set_new(o, "answer", refusal ? explain_reply_to_json(refusal) : json_null());
    json_object_set_new(o, "passes_after_ms", json_integer(-1));
    json_object_set_new(o, "passes_at", json_null());
    json_object_set_new(o, "refused_recipients", json_incref(w->refused));
    json_object_set_new(o, "transactions", json_array());
    call_ok(call, o);
}

/* What the client hears of the whole: the first thing that was not a success. */
static const struct explained *
gravest(const struct work *w)
{
    for (size_t i = 0; i < w->n_parts; i++)
        if (w->parts[i].result.outcome != EXPLAIN_RELAYED)
            return &w->parts[i].result;
    return &w->parts[0].result;
}

static enum explain_outcome
outcome_of_all(const struct work *w)
{
    for (size_t i = 1; i < w->n_parts; i++)
        if (w->parts[i].result.outcome != w->parts[0].result.outcome)
            return EXPLAIN_PARTLY;
    return w->parts[0].result.outcome;
}

static void
answer(struct call *call)
{
    const struct store *store = call->admin->setup.store;
    struct work *w = call->work;
    json_t *o = begin_answer(w), *list = json_array();
    int64_t after_ms = 0;

    for (size_t i = 0; i < w->n_parts; i++) {
        int64_t part_ms = explain_passes_after_ms(store, &w->parts[i]);

        if (after_ms >= 0 && (part_ms < 0 || part_ms > after_ms))
            after_ms = part_ms;
        json_array_append_new(list, explain_part_to_json(call->admin, &w->parts[i]));
    }
    json_object_set_new(o, "outcome", json_string(explain_outcome_to_str(outcome_of_all(w))));
    json_object_set_new(o, "answer", explain_reply_to_json(&gravest(w)->answer));
    json_object_set_new(o, "passes_after_ms", json_integer(after_ms));
    json_object_set_new(o, "passes_at", json_time(after_ms < 0 ? 0 : store_now_ms(store) + after_ms));
    json_object_set_new(o, "refused_recipients", json_incref(w->refused));
    json_object_set_new(o, "transactions", list);
    call_ok(call, o);
}

/* ---- what has to be asked ---- */

static void
withdraw(struct admin *a, struct handle question)
{
    store_forget(a->setup.store, question);
}

static void
on_verdict(void *arg, const struct verdict *verdict)
{
    struct call *call = arg;
    struct work *w = call->work;

    if (!call->admin) { /* nobody is told; the call ends */
        call_refuse(call, "stopping");
        return;
    }
    w->parts[w->asked++].verdict = *verdict;
    ask_part(call);
}

static void
ask_part(struct call *call)
{
    struct work *w = call->work;

    while (w->asked < w->n_parts && !w->parts[w->asked].is_planned)
        w->asked++;
    if (w->asked < w->n_parts) {
        call->question =
            store_charge(call->admin->setup.store, &w->parts[w->asked].request, on_verdict, call);
        return;
    }
    for (size_t i = 0; i < w->n_parts; i++) {
        struct explain_part *p = &w->parts[i];
        struct explain_asked asked = {look_of(w, p), i > 0 ? &w->parts[0].envelope.recipients[0] : NULL,
            p->is_planned ? &p->request : NULL, &p->verdict};

        explain_verdict(call->admin->setup.flow, &asked, &p->result);
    }
    answer(call);
}

static void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct call *call = arg;
    struct work *w = call->work;

    if (!ok || !call->admin) {
        call_refuse_store(call, error);
        return;
    }
    for (size_t i = 0, at = 0; i < w->n_parts; i++) {
        size_t lines = w->parts[i].is_planned ? w->parts[i].request.n_lines : 0;

        sg_assert(at + lines <= n);
        w->parts[i].usage = xcalloc(lines + 1, sizeof(*w->parts[i].usage));
        memcpy(w->parts[i].usage, usage + at, lines * sizeof(*usage));
        at += lines;
    }
    ask_part(call);
}

static void
add_questions(const struct explain_part *part, struct usage *rows, size_t *n)
{
    const struct charge_request *r = &part->request;

    for (size_t i = 0; part->is_planned && i < r->n_lines; i++) {
        struct usage *u = &rows[(*n)++];

        u->limit = r->lines[i].limit;
        u->owner = r->owner;
        u->cap = r->lines[i].cap;
        u->wanted = explain_wanted(r, &r->lines[i]);
        memcpy(u->instance, explain_scope_of(r, i)->instance, sizeof(u->instance));
    }
}

/* A question of nothing is answered as well, so mail without limits takes the same way. */
static void
ask_usage(struct call *call)
{
    struct work *w = call->work;
    struct usage *rows = xcalloc(w->n_parts * CHARGE_LINES_MAX, sizeof(*rows));
    size_t n = 0;

    for (size_t i = 0; i < w->n_parts; i++)
        add_questions(&w->parts[i], rows, &n);
    call->asking = true;
    call->withdraw = withdraw;
    call->question = store_usage(call->admin->setup.store, rows, n, on_usage, call);
    free(rows);
}

static void
plan_parts(struct call *call)
{
    struct work *w = call->work;

    for (size_t i = 0; i < w->n_parts; i++) {
        struct flow_look look = look_of(w, &w->parts[i]);

        w->parts[i].is_planned =
            explain_plan(call->admin->setup.flow, &look, &w->parts[i].request) == 0;
    }
}

void
run_explain(struct call *call)
{
    struct work *w = xcalloc(1, sizeof(*w));
    const char *given = call_text(call, "client");
    struct reply refusal;

    call->work = w;
    call->work_free = work_free;
    w->config = config_ref(call->admin->config);
    w->refused = json_array();
    w->bytes = call_number(call, "bytes", 0);
    if (!parse_sender(call, w))
        return;
    w->client = given ? find_client(call, w, given) : guess_client(call, w);
    if (!w->client)
        return;
    if (!sender_admit(w->config, w->client, &w->sender, &w->path, &refusal)
        || !is_size_admitted(call, w, &refusal)) {
        answer_refused(call, w, &refusal);
        return;
    }
    if (!add_recipients(call, w))
        return;
    if (w->n_parts == 0) {
        answer_refused(call, w, NULL);
        return;
    }
    plan_parts(call);
    ask_usage(call);
}
