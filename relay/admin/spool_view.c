#include "relay/admin/spool_view.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "relay/admin/json_text.h"
#include "relay/base/clock.h"

/* Beyond a gate there is no other name for it than the gate's. */
static const char *const waits_names[] = {"own-time", "operator", "in-flight", "nothing"};
static_assert(sizeof(waits_names) / sizeof(waits_names[0]) == WAITS_COUNT - WAITS_OWN_TIME,
    "a name for each");
static_assert((int)WAITS_OWN_TIME == (int)QUEUE_GATE_KIND_COUNT, "one for each gate");

const char *
waits_for_to_str(enum waits_for w)
{
    if (w < WAITS_OWN_TIME)
        return queue_gate_kind_to_str((enum queue_gate_kind)w);
    return waits_names[w - WAITS_OWN_TIME];
}

/* ---- states ---- */

/* From waiting to parked each is graver than the one before it. */
static const struct spool_recipient *
gravest(const struct spool_message *m)
{
    const struct spool_recipient *worst = NULL;

    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        if (!worst || m->states[i].state > worst->state)
            worst = &m->states[i];
    }
    return worst;
}

const char *
spool_view_state(const struct spool_message *m)
{
    const struct spool_recipient *worst = gravest(m);

    if (m->held)
        return "held";
    return spool_recipient_state_to_str(worst ? worst->state : SPOOL_WAITING);
}

/* ---- why it waits ---- */

static void
say_operator(const struct spool_message *m, char why_out[QUEUE_WHY_MAX])
{
    if (m->held)
        snprintf(why_out, QUEUE_WHY_MAX, "held by %s: %s", m->held_by, m->held_why);
    else
        snprintf(why_out, QUEUE_WHY_MAX,
            "parked: it is not tried again by itself, because it may have arrived; retry or delete it");
}

/* The recipient whose time comes first. */
static const struct spool_recipient *
first_due(const struct spool_message *m)
{
    const struct spool_recipient *first = NULL;

    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        const struct spool_recipient *r = &m->states[i];

        if (r->state != SPOOL_PARKED && (!first || r->due_utc_ms < first->due_utc_ms))
            first = r;
    }
    return first;
}

#define REPLY_SHOWN_MAX (REPLY_TEXT_MAX + ENHANCED_MAX + 8)

static void
format_reply(const struct reply *r, char out[REPLY_SHOWN_MAX])
{
    char enhanced[ENHANCED_MAX];

    enhanced_format(r->enhanced, enhanced);
    snprintf(out, REPLY_SHOWN_MAX, "%d %s%s%s", r->code, enhanced, enhanced[0] ? " " : "", r->text);
}

static void
say_own_time(const struct spool_message *m, char why_out[QUEUE_WHY_MAX])
{
    const struct spool_recipient *r = first_due(m);
    char reply[REPLY_SHOWN_MAX];

    if (r && r->state == SPOOL_UNCERTAIN)
        snprintf(why_out, QUEUE_WHY_MAX,
            "the connection was lost behind the final dot, so it may have arrived; it is sent again then");
    else if (r && r->reply.code != 0) {
        format_reply(&r->reply, reply);
        snprintf(why_out, QUEUE_WHY_MAX, "try %" PRIu32 " was answered: %.400s", r->attempts, reply);
    } else
        snprintf(why_out, QUEUE_WHY_MAX, "it is tried again then");
}

static enum waits_for
waits_of(const struct spool_message *m, const struct queue_why *w, int64_t now_mono_ms)
{
    if (w->known && w->in_flight)
        return WAITS_IN_FLIGHT;
    if (w->waits_for_operator || spool_message_due(m) == INT64_MAX)
        return WAITS_OPERATOR;
    if (w->known && w->due_mono_ms > now_mono_ms)
        return WAITS_OWN_TIME;
    if (w->known && w->gate)
        return (enum waits_for)w->gate->kind;
    return WAITS_NOTHING;
}

static void
say_nothing(const struct queue_why *w, char why_out[QUEUE_WHY_MAX])
{
    if (!w->known)
        snprintf(why_out, QUEUE_WHY_MAX, "not in the order of release yet; the spool is being read");
    else
        snprintf(why_out, QUEUE_WHY_MAX, "nothing stops it; its turn comes");
}

void
spool_view_wait(
    const struct spool_message *m, const struct queue_why *w, int64_t now_mono_ms, struct spool_wait *out)
{
    *out = (struct spool_wait){.what = waits_of(m, w, now_mono_ms), .release_mono_ms = INT64_MAX,
        .lane = w->lane};
    switch (out->what) {
    case WAITS_LIMIT:
    case WAITS_PAUSE:
    case WAITS_STORE:
    case WAITS_UPSTREAM:
    case WAITS_NODE:
        snprintf(out->why, sizeof(out->why), "%s", w->gate->why);
        out->release_mono_ms = w->gate->opens_mono_ms;
        out->is_estimate = w->gate->is_estimate;
        return;
    case WAITS_OWN_TIME:
        say_own_time(m, out->why);
        out->release_mono_ms = w->due_mono_ms;
        return;
    case WAITS_OPERATOR:
        say_operator(m, out->why);
        return;
    case WAITS_IN_FLIGHT:
        snprintf(out->why, sizeof(out->why), "it is on its way");
        return;
    case WAITS_NOTHING:
        say_nothing(w, out->why);
        return;
    case WAITS_COUNT:
        return;
    }
}

/* ---- messages ---- */

/* 0 means at once: since it came. INT64_MAX: never by itself. */
static json_t *
due_to_json(int64_t due_utc_ms, const struct spool_message *m)
{
    if (due_utc_ms == INT64_MAX)
        return json_null();
    return json_time(due_utc_ms == 0 ? m->received_utc_ms : due_utc_ms);
}

json_t *
spool_view_message(const struct spool_message *m)
{
    int64_t age_ms = clock_utc_ms() - m->received_utc_ms;
    json_t *o = json_object();

    json_object_set_new(o, "id", json_text(m->id));
    json_object_set_new(o, "seq", json_u64(m->seq));
    json_object_set_new(o, "state", json_string(spool_view_state(m)));
    json_object_set_new(o, "client", json_text(m->client));
    json_object_set_new(o, "route", json_text(m->route));
    json_object_set_new(o, "mailbox", json_text(m->mailbox));
    json_object_set_new(o, "class", json_text(m->class));
    json_object_set_new(o, "sender", json_text(m->envelope.sender.text));
    json_object_set_new(o, "bytes", json_u64(m->content_bytes));
    json_object_set_new(o, "received", json_time(m->received_utc_ms));
    json_object_set_new(o, "age_ms", json_integer(age_ms > 0 ? age_ms : 0));
    json_object_set_new(o, "due", due_to_json(spool_message_due(m), m));
    json_object_set_new(o, "held_by", m->held ? json_text(m->held_by) : json_null());
    json_object_set_new(o, "held_why", m->held ? json_text(m->held_why) : json_null());
    json_object_set_new(o, "is_dsn", json_boolean(m->is_dsn));
    return o;
}

static uint32_t
most_attempts(const struct spool_message *m)
{
    uint32_t most = 0;

    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        if (m->states[i].attempts > most)
            most = m->states[i].attempts;
    }
    return most;
}

static void
add_release(json_t *o, const struct spool_wait *w)
{
    int64_t in_ms = w->release_mono_ms - clock_mono_ms();
    bool is_known = w->release_mono_ms != INT64_MAX;

    json_object_set_new(o, "release_at", is_known ? json_time(clock_utc_ms() + in_ms) : json_null());
    json_object_set_new(
        o, "in_seconds", is_known ? json_integer(in_ms > 0 ? (in_ms + 999) / 1000 : 0) : json_null());
    json_object_set_new(o, "estimate", json_boolean(w->is_estimate));
}

json_t *
spool_view_row(const struct spool_message *m, const struct spool_wait *w)
{
    const struct envelope *e = &m->envelope;
    json_t *o = spool_view_message(m);

    json_object_set_new(o, "recipients", json_u64(e->n_recipients));
    json_object_set_new(
        o, "first_recipient", json_text(e->n_recipients ? e->recipients[0].address.text : NULL));
    json_object_set_new(o, "attempts", json_integer(most_attempts(m)));
    json_object_set_new(o, "waits_for", json_string(waits_for_to_str(w->what)));
    add_release(o, w);
    return o;
}

static json_t *
recipient_to_json(const struct spool_message *m, size_t i)
{
    const struct recipient *r = &m->envelope.recipients[i];
    const struct spool_recipient *s = &m->states[i];
    char reply[REPLY_SHOWN_MAX];
    json_t *o = json_object();

    json_object_set_new(o, "address", json_text(r->address.text));
    json_object_set_new(
        o, "class", json_string(r->class == RECIPIENT_EXTERNAL ? "external" : "internal"));
    json_object_set_new(o, "state", json_string(spool_recipient_state_to_str(s->state)));
    json_object_set_new(o, "attempts", json_integer(s->attempts));
    json_object_set_new(o, "uncertain", json_integer(s->uncertain));
    json_object_set_new(o, "due", due_to_json(s->state == SPOOL_PARKED ? INT64_MAX : s->due_utc_ms, m));
    if (s->reply.code != 0)
        format_reply(&s->reply, reply);
    json_object_set_new(o, "last_reply", s->reply.code != 0 ? json_text(reply) : json_null());
    return o;
}

json_t *
spool_view_recipients(const struct spool_message *m, size_t from, size_t bytes_max, size_t *next_out)
{
    json_t *list = json_array();
    size_t bytes = 0;

    for (size_t i = from; i < m->envelope.n_recipients; i++) {
        json_t *r = recipient_to_json(m, i);

        bytes += json_dumpb(r, NULL, 0, SPOOL_VIEW_FLAGS) + 1;
        if (bytes > bytes_max && i > from) {
            json_decref(r);
            *next_out = i;
            return list;
        }
        json_array_append_new(list, r);
    }
    *next_out = 0;
    return list;
}

json_t *
spool_view_why(const struct spool_message *m, const struct spool_wait *w, uint64_t place)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", json_text(m->id));
    json_object_set_new(o, "seq", json_u64(m->seq));
    json_object_set_new(o, "waits_for", json_string(waits_for_to_str(w->what)));
    json_object_set_new(o, "why", json_text(w->why));
    add_release(o, w);
    json_object_set_new(o, "position", json_u64(place));
    json_object_set_new(o, "lane", json_u64(w->lane));
    return o;
}

/* ---- the whole ---- */

static uint64_t
at_gates(const struct queue_counts *q)
{
    uint64_t n = 0;

    for (int k = 0; k < QUEUE_GATE_KIND_COUNT; k++)
        n += q->at_gate[k];
    return n;
}

uint64_t
spool_view_count(const struct queue_counts *q, enum waits_for w)
{
    switch (w) {
    case WAITS_LIMIT:
    case WAITS_PAUSE:
    case WAITS_STORE:
    case WAITS_UPSTREAM:
    case WAITS_NODE:
        return q->at_gate[w];
    case WAITS_OWN_TIME:
        return q->waiting_own_time;
    case WAITS_OPERATOR:
        return q->for_operator;
    case WAITS_IN_FLIGHT:
        return q->in_flight;
    case WAITS_NOTHING:
        return q->ready - at_gates(q);
    case WAITS_COUNT:
        break;
    }
    return 0;
}

json_t *
spool_view_status(const struct spool_status *s, const struct queue_counts *q)
{
    json_t *o = json_object(), *waiting = json_object();

    for (int w = 0; w < WAITS_COUNT; w++)
        json_object_set_new(waiting, waits_for_to_str((enum waits_for)w),
            json_u64(spool_view_count(q, (enum waits_for)w)));
    json_object_set_new(o, "state", json_string(spool_state_to_str(s->state)));
    json_object_set_new(o, "why", json_text(s->why));
    json_object_set_new(o, "messages", json_u64(s->messages));
    json_object_set_new(o, "bytes", json_u64(s->bytes));
    json_object_set_new(o, "oldest", json_time(s->oldest_utc_ms));
    json_object_set_new(o, "held", json_u64(s->held));
    json_object_set_new(o, "parked", json_u64(s->parked));
    json_object_set_new(o, "damaged", json_u64(s->damaged));
    json_object_set_new(o, "waiting", waiting);
    json_object_set_new(o, "free_bytes", json_u64(s->free_bytes));
    json_object_set_new(o, "needed_bytes", json_u64(s->needed_bytes));
    return o;
}
