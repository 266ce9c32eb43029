#include "relay/spool/spool_ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"

struct spool_ask *
spool_ask_new(struct spool *s, enum spool_ask_kind kind, void *arg)
{
    struct spool_ask *a = xcalloc(1, sizeof(*a));

    a->spool = s;
    a->kind = kind;
    a->arg = arg;
    a->result = SPOOL_FAILED;
    buf_init(&a->body);
    spool_body_begin(&a->judged_before);
    list_init(&a->task.link);
    list_init(&a->notes);
    return a;
}

static void
drop_messages(struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_messages; i++)
        spool_message_free(&a->messages[i], false);
    a->n_messages = 0;
}

static void
drop_briefs(struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_briefs; i++)
        free((char *)(uintptr_t)a->briefs[i].client); /* and all that follows it */
    a->n_briefs = 0;
}

static void
free_filter(struct spool_filter *f)
{
    const char *texts[] = {f->id, f->client, f->route, f->mailbox, f->sender, f->recipient, f->sender_domain,
        f->recipient_domain, f->state};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free((char *)(uintptr_t)texts[i]);
}

void
spool_ask_drop_added(struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_added && a->owns; i++) {
        free((char *)(uintptr_t)a->added[i].body.mem);
        spool_message_free(&a->added[i].message, false);
    }
    free(a->added);
    a->added = NULL;
    a->n_added = 0;
}

void
spool_ask_free(struct spool_ask **ask)
{
    struct spool_ask *a = *ask;

    if (a == NULL)
        return;
    *ask = NULL;
    drop_messages(a);
    free(a->messages);
    drop_briefs(a);
    free(a->briefs);
    free_filter(&a->filter);
    spool_ask_drop_added(a);
    if (a->kind != ASK_SETTLE || a->owns)
        spool_message_free(&a->message, false);
    blob_free(&a->blob);
    buf_fini(&a->body);
    free(a->before);
    free(a->actor);
    free(a->why);
    free(a->facts);
    for (struct list *it; (it = list_pop(&a->notes)) != NULL;)
        free(LIST_ITEM(it, struct spool_note, link));
    free(a);
}

void
spool_ask_reset(struct spool_ask *a)
{
    drop_messages(a);
    drop_briefs(a);
    a->recipients = 0;
    a->more = false;
    a->busy = 0;
    a->wrote = a->is_through = false;
    if (a->kind == ASK_TAKE)
        spool_message_free(&a->message, false);
    if (a->kind == ASK_TAKE) {
        free(a->before);
        a->before = NULL;
    }
    buf_clear(&a->body);
    a->adding = a->committed_adding;
    for (size_t i = a->adding; i < a->n_added; i++)
        a->added[i].at_bytes = i == a->adding ? a->committed_bytes : 0;
}

void
spool_ask_add_message(struct spool_ask *a, struct spool_message *m)
{
    if (a->n_messages == a->room) {
        a->room = a->room > 0 ? 2 * a->room : 16;
        a->messages = xrealloc(a->messages, a->room * sizeof(struct spool_message *));
    }
    a->messages[a->n_messages++] = m;
}

/* One block of memory for the strings of a brief; client is at its start. */
static void
own_strings(struct spool_brief *b)
{
    const char **texts[] = {&b->client, &b->route, &b->mailbox, &b->class, &b->sender, &b->domain};
    size_t bytes = 0;
    char *at;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bytes += strlen(*texts[i]) + 1;
    at = xmalloc(bytes);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t n = strlen(*texts[i]) + 1;

        *texts[i] = memcpy(at, *texts[i], n);
        at += n;
    }
}

void
spool_ask_add_brief(struct spool_ask *a, const struct spool_message *m)
{
    struct spool_brief *b;

    if (a->n_briefs == a->briefs_room) {
        a->briefs_room = a->briefs_room > 0 ? 2 * a->briefs_room : 16;
        a->briefs = xrealloc(a->briefs, a->briefs_room * sizeof(*a->briefs));
    }
    b = &a->briefs[a->n_briefs++];
    if (a->kind == ASK_ORDER && a->order == SPOOL_DELETE) {
        *b = (struct spool_brief){.seq = m->seq};
        return;
    }
    spool_brief_of(m, b);
    own_strings(b);
}

static const char *
copy_given(const char *text)
{
    return text != NULL && text[0] != '\0' ? xstrdup(text) : NULL;
}

void
spool_ask_set_filter(struct spool_ask *a, const struct spool_filter *filter)
{
    struct spool_filter *f = &a->filter;

    *f = *filter;
    f->id = copy_given(filter->id);
    f->client = copy_given(filter->client);
    f->route = copy_given(filter->route);
    f->mailbox = copy_given(filter->mailbox);
    f->sender = copy_given(filter->sender);
    f->recipient = copy_given(filter->recipient);
    f->sender_domain = copy_given(filter->sender_domain);
    f->recipient_domain = copy_given(filter->recipient_domain);
    f->state = copy_given(filter->state);
    a->seq = filter->after_seq;
}

void
spool_note(struct list *notes, enum spool_note_kind kind, const char *id, const char *why)
{
    struct spool_note *n = xcalloc(1, sizeof(*n));

    n->kind = kind;
    snprintf(n->id, sizeof(n->id), "%s", id);
    snprintf(n->why, sizeof(n->why), "%s", why);
    list_add_tail(notes, &n->link);
}

/* ---- copies ---- */

static char *
copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static void
copy_envelope(const struct envelope *from, struct envelope *to)
{
    *to = *from;
    to->recipients = NULL;
    to->n_recipients = to->n_allocated = 0;
    to->envid = copy_text(from->envid);
    if (from->sender.text != NULL)
        address_copy(&from->sender, &to->sender);
    for (size_t i = 0; i < from->n_recipients; i++) {
        const struct recipient *r = &from->recipients[i];
        struct address address;
        struct recipient *added;

        address_copy(&r->address, &address);
        added = envelope_add(to, &address, r->class);
        added->notify = r->notify;
        added->orcpt = copy_text(r->orcpt);
    }
}

struct spool_message *
spool_message_copy(const struct spool_message *from)
{
    struct spool_message *m = spool_message_new();
    size_t n = from->envelope.n_recipients;

    *m = *from;
    m->client = copy_text(from->client);
    m->route = copy_text(from->route);
    m->mailbox = copy_text(from->mailbox);
    m->class = copy_text(from->class);
    m->trace = copy_text(from->trace);
    m->body = NULL;
    copy_envelope(&from->envelope, &m->envelope);
    m->states = n > 0 ? xmalloc(n * sizeof(*m->states)) : NULL;
    if (n > 0)
        memcpy(m->states, from->states, n * sizeof(*m->states));
    return m;
}

static const char *
common_domain(const struct envelope *e)
{
    struct span first = address_domain(&e->recipients[0].address);

    for (size_t i = 1; i < e->n_recipients; i++)
        if (!span_eq(address_domain(&e->recipients[i].address), first))
            return "";
    return first.p;
}

void
spool_brief_of(const struct spool_message *m, struct spool_brief *out)
{
    *out = (struct spool_brief){.seq = m->seq, .client = m->client, .route = m->route, .class = m->class,
        .mailbox = m->mailbox != NULL ? m->mailbox : "",
        .content_bytes = m->content_bytes + span_str(m->trace).n,
        .sender = m->envelope.sender.text != NULL ? m->envelope.sender.text : ""};
    out->recipients_are = m->envelope.recipients[0].class;
    out->domain = common_domain(&m->envelope);
    out->due_utc_ms = spool_message_due(m);
    for (size_t i = 0; i < m->envelope.n_recipients; i++)
        out->recipients += m->states[i].state != SPOOL_PARKED;
}
