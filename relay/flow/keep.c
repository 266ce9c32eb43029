#include "relay/flow/keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

struct keep *
keep_new(void)
{
    return xcalloc(1, sizeof(struct keep));
}

void
keep_free(struct keep **k)
{
    if (*k == NULL)
        return;
    spool_message_free(&(*k)->row, false);
    for (size_t i = 0; i < (*k)->n_fresh; i++)
        spool_message_free(&(*k)->fresh[i], (*k)->fresh[i]->is_dsn && !(*k)->borrows_all);
    free(*k);
    *k = NULL;
}

void
keep_add(struct keep *k, struct spool_message *fresh)
{
    if (fresh == NULL)
        return;
    sg_assert(k->n_fresh < KEEP_NEW_MAX);
    k->fresh[k->n_fresh++] = fresh;
}

bool
keep_anew(struct keep *k)
{
    if (k->row == NULL || k->row->envelope.n_recipients == 0) {
        spool_message_free(&k->row, false);
        return k->n_fresh > 0;
    }
    k->borrows_all = k->row->is_dsn; /* nobody is told of a notification: there is none beside it */
    keep_add(k, k->row);
    k->row = NULL;
    return true;
}

static char *
copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

/* All but the recipients. */
static struct spool_message *
describe(const struct message *m)
{
    struct spool_message *s = spool_message_new();

    memcpy(s->id, m->id, sizeof(s->id));
    s->client = xstrdup(m->client->name);
    s->route = xstrdup(m->route->name);
    s->mailbox = m->mailbox != NULL ? xstrdup(m->mailbox->name) : NULL;
    s->class = xstrdup(message_class(m));
    address_copy(&m->envelope.sender, &s->envelope.sender);
    s->envelope.body = m->envelope.body;
    s->envelope.ret = m->envelope.ret;
    s->envelope.envid = copy_text(m->envelope.envid);
    s->trace = xstrdup(m->trace != NULL ? m->trace : "");
    snprintf(s->peer, sizeof(s->peer), "%s", m->peer);
    memcpy(s->session, m->session, sizeof(s->session));
    snprintf(s->tls, sizeof(s->tls), "%s", m->tls);
    s->content_bytes = m->content_bytes;
    s->body = m->body;
    s->received_utc_ms = m->received_utc_ms;
    s->is_dsn = m->is_dsn;
    return s;
}

static void
add_recipient(struct spool_message *s, const struct recipient *r, const struct fate *fate)
{
    struct address address;
    struct recipient *copy;

    address_copy(&r->address, &address);
    s->states[s->envelope.n_recipients] = fate->kept;
    copy = envelope_add(&s->envelope, &address, r->class);
    copy->notify = r->notify;
    copy->orcpt = copy_text(r->orcpt);
}

static void
add_recipients(struct spool_message *s, const struct message *m, const struct fate *fates,
    enum recipient_class class, bool (*wanted)(enum fate_kind k))
{
    s->states = xcalloc(m->envelope.n_recipients, sizeof(*s->states));
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        const struct recipient *r = &m->envelope.recipients[i];

        if (wanted(fates[i].kind) && (class == RECIPIENT_CLASS_COUNT || r->class == class))
            add_recipient(s, r, &fates[i]);
    }
}

struct spool_message *
keep_part(const struct message *m, const struct fate *fates, enum recipient_class class,
    bool (*wanted)(enum fate_kind k))
{
    struct spool_message *s = describe(m);

    add_recipients(s, m, fates, class, wanted);
    if (s->envelope.n_recipients == 0)
        spool_message_free(&s, false);
    return s;
}

struct spool_message *
keep_row(const struct message *m, const struct fate *fates, uint64_t seq)
{
    struct spool_message *s = describe(m);

    s->seq = seq;
    add_recipients(s, m, fates, RECIPIENT_CLASS_COUNT, fate_waits);
    return s;
}
