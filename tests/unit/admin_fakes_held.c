/* The stand-in for what flow holds: one list of messages, one answer to every order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"
#include "relay/flow/held.h"
#include "tests/unit/admin_fakes.h"

struct held_question {
    struct task task;
    spool_listed_fn *listed; /* NULL: an order */
    held_ordered_fn *ordered;
    void *arg;
};
static struct held_question *open_list;

const char *
spool_state_to_str(enum spool_state s)
{
    const char *const names[] = {"closed", "loading", "ready", "full", "sick"};

    return names[s];
}

const char *
spool_result_to_str(enum spool_result r)
{
    const char *const names[] = {"done", "no-space", "failed", "gone", "busy", "damaged"};

    return names[r];
}

const char *
queue_gate_kind_to_str(enum queue_gate_kind k)
{
    const char *const names[] = {"limit", "pause", "store", "upstream", "node"};

    return names[k];
}

bool
held_is_on(const struct flow *f)
{
    (void)f;
    return fake.spool_on;
}

void
held_status(const struct flow *f, struct spool_status *spool_out, struct queue_counts *queue_out)
{
    (void)f;
    *spool_out = fake.spool;
    *queue_out = fake.queue;
}

void
held_why(const struct flow *f, uint64_t seq, struct queue_why *out)
{
    (void)f;
    (void)seq;
    *out = fake.why;
}

uint64_t
held_place(const struct flow *f, uint64_t seq)
{
    (void)f;
    (void)seq;
    return fake.place;
}

static void
answer_held(void *arg)
{
    struct held_question *q = arg;

    if (q == open_list)
        open_list = NULL;
    if (q->listed)
        q->listed(q->arg, fake.result, fake.held, fake.result == SPOOL_DONE ? fake.n_held : 0, fake.more);
    else
        q->ordered(q->arg, fake.result, fake.changed, fake.busy);
    free(q);
}

static void
note(const char *name, const char *value)
{
    size_t n = strlen(fake.filter);

    if (value)
        snprintf(fake.filter + n, sizeof(fake.filter) - n, "%s%s=%s", n ? " " : "", name, value);
}

static void
note_filter(const struct spool_filter *f)
{
    fake.filter[0] = '\0';
    note("id", f->id);
    note("client", f->client);
    note("route", f->route);
    note("mailbox", f->mailbox);
    note("sender", f->sender);
    note("recipient", f->recipient);
    note("sender_domain", f->sender_domain);
    note("recipient_domain", f->recipient_domain);
    note("state", f->state);
    fake.before_utc_ms = f->before_utc_ms;
    fake.after_seq = f->after_seq;
    fake.max = f->max;
}

static struct held_question *
held_ask(void *arg)
{
    struct held_question *q = xcalloc(1, sizeof(*q));

    q->arg = arg;
    task_init(&q->task, answer_held, q);
    if (fake.answers != ANSWER_NEVER)
        task_defer(fake_loop, &q->task);
    return q;
}

struct handle
held_list(struct flow *f, const struct spool_filter *filter, spool_listed_fn *listed, void *arg)
{
    (void)f;
    note_filter(filter);
    fake.lists++;
    open_list = held_ask(arg);
    open_list->listed = listed;
    return (struct handle){2, 1};
}

void
held_order(struct flow *f, enum spool_order order, const struct spool_filter *filter, const char *actor,
    const char *why, held_ordered_fn *done, void *arg)
{
    (void)f;
    note_filter(filter);
    fake.orders++;
    fake.order = order;
    snprintf(fake.order_actor, sizeof(fake.order_actor), "%s", actor);
    snprintf(fake.order_why, sizeof(fake.order_why), "%s", why);
    held_ask(arg)->ordered = done;
}

void
held_forget(struct flow *f, struct handle h)
{
    (void)f;
    sg_assert(h.index == 2);
    fake.held_forgotten++;
    if (!open_list)
        return;
    task_cancel(&open_list->task);
    free(open_list);
    open_list = NULL;
}

/* ---- messages ---- */

struct spool_message *
fake_hold(const char *id, const char *sender, size_t recipients)
{
    struct spool_message *m = spool_message_new();

    snprintf(m->id, sizeof(m->id), "%s", id);
    m->seq = fake.n_held + 11;
    m->client = xstrdup("erp");
    m->route = xstrdup("contoso");
    m->class = xstrdup("default");
    m->envelope.sender.text = xstrdup(sender);
    m->states = xcalloc(recipients ? recipients : 1, sizeof(*m->states));
    for (size_t i = 0; i < recipients; i++) {
        struct address a = {.domain_at = 5};
        char text[64];

        snprintf(text, sizeof(text), "r%03zu@example.com", i);
        a.text = xstrdup(text);
        envelope_add(&m->envelope, &a, RECIPIENT_EXTERNAL);
    }
    m->content_bytes = 2048;
    m->received_utc_ms = 1700000000000;
    fake.held = xrealloc(fake.held, (fake.n_held + 1) * sizeof(struct spool_message *));
    fake.held[fake.n_held++] = m;
    return m;
}

void
fake_hold_nothing(void)
{
    for (size_t i = 0; i < fake.n_held; i++)
        spool_message_free(&fake.held[i], false);
    free(fake.held);
    fake.held = NULL;
    fake.n_held = 0;
    if (open_list)
        held_forget(NULL, (struct handle){2, 1});
}
