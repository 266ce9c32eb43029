#include "relay/flow/release.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/job.h"
#include "relay/flow/refuse.h"
#include "relay/flow/release_room.h"

/* Messages taken from the disk at once: enough to keep the connections of all pools busy, few enough that
 * their bodies fit into memory. */
#define OUT_MAX 256
/* Nobody said when it passes: asked again after so long. Local questions only, until one says yes. */
#define ASK_AGAIN_MS 1000
/* A reload is told of; this is for a disk that could not be read. */
#define NODE_AGAIN_MS 5000
/* Counters that were lost are trusted again when their time is over, a day perhaps, when the other nodes have
 * reported, or when an operator says so. */
#define STORE_AGAIN_MS 5000
#define DAY_MS (24 * 60 * 60 * 1000LL)

struct release {
    struct flow *flow;
    struct queue *queue;
    struct list takings;
    struct task run;
    struct timer wake;
    struct timer watch; /* pauses that ended early */
    uint64_t pauses_seen; /* a mark of those in force */
    bool pauses_changed;  /* since the watch looked */
    char caps_seen[sizeof(((struct store_status *)0)->differs)]; /* which limit another node lowers */
    uint64_t changes_seen; /* of the store */
    int64_t day_seen;      /* UTC, by the store's time */
    bool stopped;
};

/* A row on its way from the disk; in release->takings. */
struct taking {
    struct list link;
    struct release *release;
    uint64_t seq;
};

static void
release_wake(struct release *r)
{
    task_defer(r->flow->loop, &r->run);
}

/* ---- pauses that end before their time, here or on another node ---- */

static uint64_t
mark_of_pauses(struct flow *f)
{
    const struct pause *p;
    size_t n = store_pauses(f->store, &p);
    uint64_t mark = n;

    for (size_t i = 0; i < n; i++)
        mark = mark * 1099511628211u + (uint64_t)p[i].since_utc_ms * 31 + (uint64_t)p[i].until_utc_ms +
            (uint64_t)p[i].scope;
    return mark;
}

static void
look_at_pauses(struct release *r)
{
    uint64_t mark = mark_of_pauses(r->flow);

    r->pauses_changed = r->pauses_changed || mark != r->pauses_seen;
    r->pauses_seen = mark;
}

/* A cap that another node lowered is higher when that node goes or has another configuration, that of a
 * warm-up when its day turns or an operator put it on a higher step: what waits for the time it was told
 * under the lower one may ask again. */
static void
look_at_caps(struct release *r)
{
    int64_t day = store_now_ms(r->flow->store) / DAY_MS;
    struct store_status s;

    store_status(r->flow->store, &s);
    if (strcmp(s.differs, r->caps_seen) == 0 && s.changes == r->changes_seen && day == r->day_seen)
        return;
    r->day_seen = day;
    r->changes_seen = s.changes;
    memcpy(r->caps_seen, s.differs, sizeof(r->caps_seen));
    hints_clear(&r->flow->hints); /* they would send it back for as long */
    queue_open(r->queue, QUEUE_GATE_LIMIT, NULL);
    release_wake(r);
}

static void
on_watch(void *arg)
{
    struct release *r = arg;

    look_at_caps(r);
    look_at_pauses(r);
    if (r->pauses_changed) {
        queue_open(r->queue, QUEUE_GATE_PAUSE, NULL);
        release_wake(r);
    }
    r->pauses_changed = false;
    timer_start(&r->watch, ASK_AGAIN_MS);
}

/* ---- gates ---- */

static struct queue_gate *
gate_new(struct flow *f, enum queue_gate_kind kind, int64_t after_ms, const char *why)
{
    struct queue_gate *g = xcalloc(1, sizeof(*g));

    g->kind = kind;
    g->is_estimate = after_ms < 0;
    g->opens_mono_ms = loop_now_ms(f->loop) + (after_ms < 0 ? ASK_AGAIN_MS : after_ms > 0 ? after_ms : 1);
    snprintf(g->why, sizeof(g->why), "%.500s", why);
    return g;
}

struct queue_gate *
release_gate_of_verdict(struct flow *f, const struct verdict *v, const char *why)
{
    enum queue_gate_kind kind = v->kind == VERDICT_PAUSED ? QUEUE_GATE_PAUSE :
        v->kind == VERDICT_OVER || v->kind == VERDICT_IMPOSSIBLE ? QUEUE_GATE_LIMIT : QUEUE_GATE_STORE;
    bool may_end_early = kind == QUEUE_GATE_STORE && v->retry_after_ms > STORE_AGAIN_MS;
    struct queue_gate *g = gate_new(f, kind, may_end_early ? STORE_AGAIN_MS : v->retry_after_ms, why);

    if (kind == QUEUE_GATE_PAUSE) {
        look_at_pauses(f->release); /* one that ends before the watch looks again is a change too */
        if (v->retry_after_ms < 0)
            g->opens_mono_ms = INT64_MAX; /* the watch opens it */
    }
    if (kind == QUEUE_GATE_LIMIT && v->limit != NULL)
        snprintf(g->name, sizeof(g->name), "%.100s %s %s", v->limit->name, limit_scope_to_str(v->scope),
            v->instance);
    else if (kind == QUEUE_GATE_PAUSE)
        snprintf(g->name, sizeof(g->name), "%s %s %s", limit_scope_to_str(v->scope), v->instance,
            v->pause.extent == PAUSE_EXTERNAL ? "external" : "all");
    else
        snprintf(g->name, sizeof(g->name), "store");
    return g;
}

struct queue_gate *
release_gate_of_upstream(struct flow *f, const struct message *m, const struct lease_failure *failure,
    const char *why)
{
    struct queue_gate *g = gate_new(f, QUEUE_GATE_UPSTREAM,
        failure->retry_after_ms > 0 ? failure->retry_after_ms : -1, why);

    snprintf(g->name, sizeof(g->name), "%.150s %.300s", m->route->name,
        m->mailbox != NULL ? m->mailbox->name : "-");
    return g;
}

static void
refuse_here(struct release *r, uint64_t seq, const char *name, const char *why)
{
    struct queue_gate *g = gate_new(r->flow, QUEUE_GATE_NODE, NODE_AGAIN_MS, why);

    snprintf(g->name, sizeof(g->name), "%s", name);
    queue_refuse(r->queue, seq, g);
    free(g);
}

/* ---- from the disk to a job ---- */

/* The names of a row, in the configuration of now; false: one of them is not there any more, or the mailbox
 * is that of another route, whose upstream alone may hear its password. */
static bool
resolve(const struct config *c, const struct queue_key *key, struct flow_subject *out)
{
    out->client = config_client(c, key->client);
    out->route = config_route(c, key->route);
    out->mailbox = key->mailbox[0] != '\0' ? config_mailbox(c, key->mailbox) : NULL;
    if (out->client == NULL || out->route == NULL)
        return false;
    return key->mailbox[0] == '\0' || (out->mailbox != NULL && strcmp(out->mailbox->route, key->route) == 0);
}

static struct message *
make_message(struct flow *f, struct spool_message *row, const struct flow_subject *subject)
{
    struct message *m = message_new(f->config);

    memcpy(m->id, row->id, sizeof(m->id));
    m->client = subject->client;
    m->route = subject->route;
    m->mailbox = subject->mailbox;
    m->envelope = row->envelope;
    envelope_init(&row->envelope);
    m->body = row->body;
    row->body = NULL;
    m->content_bytes = row->content_bytes;
    m->trace = row->trace;
    row->trace = NULL;
    snprintf(m->peer, sizeof(m->peer), "%s", row->peer);
    memcpy(m->session, row->session, sizeof(m->session));
    snprintf(m->tls, sizeof(m->tls), "%s", row->tls);
    m->received_utc_ms = row->received_utc_ms;
    m->received_mono_ms = loop_now_ms(f->loop) - (clock_utc_ms() - row->received_utc_ms);
    m->is_dsn = row->is_dsn;
    return m;
}

static void
start_job(struct release *r, struct spool_message *row)
{
    struct flow *f = r->flow;
    struct queue_key key = {row->route, row->mailbox != NULL ? row->mailbox : "", row->client, row->class, "",
        RECIPIENT_INTERNAL, NULL, false};
    struct flow_subject subject;
    struct message *m;
    struct job *job;

    if (!resolve(f->config, &key, &subject)) { /* a reload since it was looked at */
        for (size_t i = 0; i < row->envelope.n_recipients; i++)
            if (row->states[i].state == SPOOL_IN_FLIGHT)
                row->states[i].state = spool_recipient_waits_as(&row->states[i]);
        (void)spool_settle(f->spool, row, NULL, 0, NULL, NULL);
        release_put(f, row);
        return;
    }
    m = make_message(f, row, &subject);
    job = job_new(f, NULL, NULL);
    job->seq = row->seq;
    job_take_message(job, &m, row->states);
}

static void
on_taken(void *arg, enum spool_result result, struct spool_message *row)
{
    struct taking *t = arg;
    struct release *r = t->release;
    uint64_t seq = t->seq;

    list_del(&t->link);
    free(t);
    switch (result) {
    case SPOOL_DONE:
        if (spool_message_is_in_flight(row))
            start_job(r, row);
        else
            release_put(r->flow, row);
        spool_message_free(&row, true);
        break;
    case SPOOL_GONE:
    case SPOOL_DAMAGED:
        queue_drop(r->queue, seq);
        break;
    case SPOOL_NO_SPACE:
    case SPOOL_FAILED:
    case SPOOL_BUSY:
    case SPOOL_RESULT_COUNT:
        refuse_here(r, seq, "spool", "the spool cannot be read now");
        break;
    }
    release_wake(r);
}

static void
take(struct release *r, uint64_t seq)
{
    struct taking *t = xcalloc(1, sizeof(*t));

    t->release = r;
    t->seq = seq;
    list_add_tail(&r->takings, &t->link);
    (void)spool_take(r->flow->spool, seq, clock_utc_ms(), r->flow->bodies, on_taken, t);
}

/* ---- whose turn it is ---- */

static void
refuse_with(struct release *r, uint64_t seq, const struct verdict *v, const struct charge_request *request)
{
    struct flow_refusal refusal;
    struct queue_gate *g;

    refuse_with_verdict(v, request, r->flow->config, &refusal);
    g = release_gate_of_verdict(r->flow, v, refusal.reply.text);
    queue_refuse(r->queue, seq, g);
    free(g);
}

static void
try_one(struct release *r, const struct queue_item *item, const struct queue_key *key)
{
    struct flow_subject subject = {.sender = key->sender, .class = key->recipients_are,
        .recipients = item->recipients, .bytes = item->bytes, .domain = span_str(key->domain)};
    struct charge_request request;
    struct verdict verdict;
    char why[QUEUE_WHY_MAX];

    if (!resolve(r->flow->config, key, &subject)) {
        snprintf(why, sizeof(why), "the configuration has no client \"%.64s\", route \"%.64s\" or mailbox"
            " \"%.64s\" of it any more", key->client, key->route, key->mailbox);
        refuse_here(r, item->seq, why, why);
    } else if (flow_plan_subject(r->flow, &subject, &request) != 0) {
        refuse_here(r, item->seq, "plan", "too many limits apply to one message");
    } else if (refuse_locally(r->flow, &request, &verdict)) {
        refuse_with(r, item->seq, &verdict, &request);
    } else {
        take(r, item->seq);
    }
}

static bool
is_able(const struct release *r)
{
    struct spool_status s;

    spool_status(r->flow->spool, &s);
    return !r->stopped && (s.state == SPOOL_READY || s.state == SPOOL_FULL);
}

static void
set_alarm(struct release *r)
{
    int64_t wake = queue_wake_mono_ms(r->queue), now = loop_now_ms(r->flow->loop);

    if (wake != INT64_MAX)
        timer_start(&r->wake, wake > now ? wake - now : 1);
}

static void
release_run(void *arg)
{
    struct release *r = arg;
    struct queue_counts counts;
    struct queue_item item;
    struct queue_key key;
    uint64_t out;

    if (!is_able(r))
        return; /* until the spool's state is another */
    queue_counts(r->queue, &counts);
    out = counts.in_flight;
    while (out < OUT_MAX && queue_next(r->queue, loop_now_ms(r->flow->loop), &item, &key)) {
        try_one(r, &item, &key);
        out++; /* also when it was refused: a turn has an end */
    }
    if (out < OUT_MAX)
        set_alarm(r);
    else if (counts.in_flight < OUT_MAX)
        timer_start(&r->wake, 1);
}

static void
on_wake(void *arg)
{
    release_wake(arg);
}

/* ---- life ---- */

struct release *
release_new(struct flow *f)
{
    struct release *r = xcalloc(1, sizeof(*r));

    r->flow = f;
    r->queue = queue_new();
    list_init(&r->takings);
    task_init(&r->run, release_run, r);
    timer_init(&r->wake, f->loop, on_wake, r);
    timer_init(&r->watch, f->loop, on_watch, r);
    timer_start(&r->watch, ASK_AGAIN_MS);
    return r;
}

void
release_free(struct release **rp)
{
    struct release *r = *rp;

    if (r == NULL)
        return;
    *rp = NULL;
    task_cancel(&r->run);
    timer_fini(&r->wake);
    timer_fini(&r->watch);
    for (struct list *it; (it = list_pop(&r->takings)) != NULL;)
        free(LIST_ITEM(it, struct taking, link));
    queue_free(&r->queue);
    free(r);
}

void
release_stop(struct flow *f)
{
    if (f->release == NULL)
        return;
    f->release->stopped = true;
    timer_stop(&f->release->wake);
}

void
release_configure(struct flow *f, const struct config *before)
{
    static const enum queue_gate_kind kinds[] = {QUEUE_GATE_LIMIT, QUEUE_GATE_UPSTREAM, QUEUE_GATE_NODE};
    struct release *r = f->release;

    if (r == NULL)
        return;
    for (size_t i = 0; before != NULL && i < before->n_classes; i++)
        queue_set_weight(r->queue, before->classes[i].name, QUEUE_WEIGHT_DEFAULT);
    for (size_t i = 0; i < f->config->n_classes; i++)
        queue_set_weight(r->queue, f->config->classes[i].name, f->config->classes[i].weight);
    release_set_rooms(r->queue, f->config);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        queue_open(r->queue, kinds[i], NULL);
    release_wake(r);
}

/* ---- rows ---- */

bool
release_is_out(const struct flow *f, uint64_t seq)
{
    struct queue_why why;

    queue_why(f->release->queue, seq, -1, &why); /* nothing is due by then: no walk over its lane */
    if (why.known)
        return why.in_flight;
    LIST_EACH(it, &f->all) /* taken over: the order does not know it */
        if (LIST_ITEM(it, struct job, link)->seq == seq)
            return true;
    return false;
}

/* The spool tells of all it has when it opened anew. */
void
release_on_found(void *arg, const struct spool_brief *brief)
{
    struct release *r = arg;

    if (!release_is_out(r->flow, brief->seq))
        release_put_brief(r->flow, brief);
}

void
release_on_changed(void *arg)
{
    release_wake(arg);
}

static int64_t
mono_of(struct flow *f, int64_t utc_ms)
{
    int64_t now_utc_ms = clock_utc_ms();

    if (utc_ms == INT64_MAX)
        return INT64_MAX;
    return utc_ms > now_utc_ms ? loop_now_ms(f->loop) + (utc_ms - now_utc_ms) : 0;
}

/* The lane of a row; its sender is written to sender_out. */
static struct queue_key
key_of(const struct flow *f, const struct spool_brief *b, char sender_out[INSTANCE_MAX])
{
    const struct route_conf *route = config_route(f->config, b->route);
    struct queue_key key = {b->route, b->mailbox, b->client, b->class, sender_out, b->recipients_are, NULL,
        false};

    if (route != NULL)
        key.domain = flow_counted_domain(f, route, b->recipients_are, span_str(b->domain)).p;
    plan_sender_instance(span_str(b->sender), sender_out);
    return key;
}

static void
put_in_lane(struct flow *f, const struct spool_brief *b, bool are_strangers)
{
    char sender[INSTANCE_MAX];
    struct queue_key key = key_of(f, b, sender);
    struct queue_item item = {b->seq, b->recipients, b->content_bytes < QUEUE_BYTES_MAX ? b->content_bytes :
        QUEUE_BYTES_MAX, mono_of(f, b->due_utc_ms)};

    key.strangers = are_strangers;
    queue_put(f->release->queue, &key, &item);
    release_wake(f->release);
}

void
release_put_brief(struct flow *f, const struct spool_brief *b)
{
    put_in_lane(f, b, false);
}

void
release_put(struct flow *f, const struct spool_message *m)
{
    struct spool_brief b;

    spool_brief_of(m, &b);
    release_put_brief(f, &b);
}

void
release_put_apart(struct flow *f, const struct spool_message *m, bool are_strangers)
{
    struct spool_brief b;

    spool_brief_of(m, &b);
    put_in_lane(f, &b, are_strangers);
}

bool
release_is_placed(struct flow *f, const struct spool_message *m, bool are_strangers)
{
    char sender[INSTANCE_MAX];
    struct spool_brief b;
    struct queue_key key;

    spool_brief_of(m, &b);
    key = key_of(f, &b, sender);
    key.strangers = are_strangers;
    return queue_is_in(f->release->queue, m->seq, &key);
}

void
release_drop(struct flow *f, uint64_t seq)
{
    queue_drop(f->release->queue, seq);
    release_wake(f->release);
}

void
release_refuse(struct flow *f, uint64_t seq, const struct queue_gate *gate)
{
    queue_refuse(f->release->queue, seq, gate);
    release_wake(f->release);
}

void
release_passed(struct flow *f, uint64_t seq)
{
    queue_passed(f->release->queue, seq);
    release_wake(f->release);
}

bool
release_has_older(struct flow *f, const struct flow_subject *s)
{
    char sender[INSTANCE_MAX];
    struct queue_key key = {s->route->name, s->mailbox != NULL ? s->mailbox->name : "", s->client->name,
        message_client_class(s->client), sender, s->class, s->domain.p, false};

    plan_sender_instance(span_str(s->sender), sender);
    return queue_has_waiting(f->release->queue, &key);
}

bool
release_is_behind(struct flow *f, const struct message *m, enum recipient_class class, struct span domain)
{
    struct flow_subject subject = {.client = m->client, .route = m->route, .mailbox = m->mailbox,
        .sender = m->envelope.sender.text, .class = class, .domain = domain};

    return release_has_older(f, &subject);
}

/* ---- the operator's view (held.h) ---- */

void
release_why(const struct flow *f, uint64_t seq, struct queue_why *out)
{
    queue_why(f->release->queue, seq, loop_now_ms(f->loop), out);
}

uint64_t
release_place(const struct flow *f, uint64_t seq)
{
    return queue_place(f->release->queue, seq, loop_now_ms(f->loop));
}

void
release_counts(const struct flow *f, struct queue_counts *out)
{
    queue_counts(f->release->queue, out);
}
