/* What a transaction leaves in the books although it never became a message of flow.
 *
 * One transaction counts as one message at most, however often it was refused on its way:
 *
 *     ended before 354, the governor had refused something     one settled message, all recipients in it
 *     354 was said, the governor had refused recipients        those recipients; the message has its own line
 *     a rule of the relay refused it after the dot             one settled message
 *     ended before 354 because the client wanted it so         nothing
 */
#include <stdio.h>
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/front/session.h"

static void
describe_tls(const struct session *s, char *out, size_t size)
{
    const struct tls_peer *tls = s->stream != NULL ? stream_tls_peer(s->stream) : NULL;

    if (tls != NULL)
        snprintf(out, size, "%s:%s", tls->version, tls->cipher);
}

struct message *
session_describe(const struct session *s)
{
    struct message *m = message_new(s->generation->config);

    memcpy(m->id, s->mail->id, sizeof m->id);
    m->client = s->mail->client;
    m->route = s->mail->path.route;
    m->mailbox = s->mail->path.mailbox;
    snprintf(m->peer, sizeof m->peer, "%s", s->peer_text);
    snprintf(m->session, sizeof m->session, "%s", s->id);
    describe_tls(s, m->tls, sizeof m->tls);
    m->received_mono_ms = clock_mono_ms();
    m->received_utc_ms = clock_utc_ms();
    return m;
}

/* The envelope may be gone when the transaction ends, so what is needed of it is kept. The last "no" decides
 * what the books say; that a recipient belongs into a transaction of its own says least. */
void
session_note_refusal(struct session *s, const struct flow_refusal *refusal)
{
    struct session_mail *mail = s->mail;
    const struct envelope *e = &s->server.tx->envelope;

    if (mail->refusal == NULL) {
        address_copy(&e->sender, &mail->sender);
        mail->declared_bytes = e->declared_bytes;
    } else if (refusal->end.letters[0] == 'R')
        return;
    flow_refusal_free(&mail->refusal);
    mail->refusal = flow_refusal_keep(refusal);
}

static struct message *
describe_refused(struct session *s)
{
    struct session_mail *mail = s->mail;
    struct message *m = session_describe(s);

    m->envelope.sender = mail->sender;
    mail->sender.text = NULL;
    m->content_bytes = mail->declared_bytes;
    for (int c = 0; c < RECIPIENT_CLASS_COUNT; c++)
        m->unnamed[c] = mail->refused[c] + (mail->begun ? 0 : mail->accepted[c]);
    return m;
}

static void
book(struct session *s)
{
    struct message *m = describe_refused(s);

    if (s->mail->begun)
        flow_book_recipients(s->front->flow, &m, s->mail->refusal);
    else
        flow_book_message(s->front->flow, &m, s->mail->refusal);
}

void
session_move_envelope(struct session *s, struct message *m)
{
    struct server_tx *tx = s->server.tx;

    m->envelope = tx->envelope;
    envelope_init(&tx->envelope);
    m->content_bytes = tx->body.content_bytes;
}

void
session_book_message(struct session *s, const struct flow_refusal *refusal)
{
    struct message *m = session_describe(s);

    session_move_envelope(s, m);
    flow_book_message(s->front->flow, &m, refusal);
}

void
session_begin_mail(struct session *s, const struct sender_path *path)
{
    s->mail = xcalloc(1, sizeof *s->mail);
    s->mail->path = *path;
    s->mail->client = s->client;
    message_id_make(s->mail->id);
}

void
session_drop_mail(struct session *s)
{
    if (s->mail == NULL)
        return;
    if (s->mail->refusal != NULL)
        book(s);
    flow_refusal_free(&s->mail->refusal);
    address_fini(&s->mail->sender);
    blob_free(&s->mail->body);
    free(s->mail);
    s->mail = NULL;
}
