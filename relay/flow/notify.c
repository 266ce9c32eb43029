#include "relay/flow/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/dsn.h"

/* What this recipient's sender is told; false: nothing. */
static bool
choose(const struct notify_setup *setup, size_t i, struct dsn_recipient *out)
{
    const struct message *m = setup->message;
    const struct spool_conf *conf = &setup->config->spool;
    struct fate *fate = &setup->fates[i];

    *out = (struct dsn_recipient){.recipient = &m->envelope.recipients[i],
        .reply = fate->kept.reply.code != 0 ? &fate->kept.reply : NULL};
    if (fate->told)
        return false;
    if (fate->kind == FATE_FAILED && fate->refused_here) {
        out->action = DSN_FAILED;
        out->status = fate->kept.reply.enhanced;
        out->words = fate->kept.reply.text;
        out->reply = NULL;
    } else if (fate->kind == FATE_FAILED) {
        out->action = DSN_FAILED;
        out->status = fate->expired ? (struct enhanced){4, 4, 7} : (struct enhanced){0};
        out->words = fate->expired ? "It could not be delivered in the time allowed for retries." :
            "The mail server of your organisation refused it.";
    } else if (fate->kind == FATE_DEFERRED && !fate->kept.warned && fate->kept.spent_ms >= conf->warn_ms) {
        out->action = DSN_DELAYED;
        out->words = "The mail server of your organisation has not taken it yet; it will be tried again.";
    } else if (fate->kind == FATE_SENT && !setup->upstream_has_dsn &&
        (out->recipient->notify & NOTIFY_SUCCESS) != 0) {
        out->action = DSN_RELAYED;
        out->words = "It was handed to a mail server that sends no notifications of success.";
    } else {
        return false;
    }
    return dsn_is_wanted(&m->envelope, out->recipient, out->action);
}

static size_t
gather(const struct notify_setup *setup, struct dsn_recipient *out)
{
    size_t n = 0;

    for (size_t i = 0; i < setup->message->envelope.n_recipients; i++)
        if (choose(setup, i, &out[n]))
            n++;
    return n;
}

static void
note_told(const struct notify_setup *setup, const struct dsn_recipient *told, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fate *fate = &setup->fates[told[i].recipient - setup->message->envelope.recipients];

        metric_add(setup->metrics, M_DSN, 1, dsn_action_to_str(told[i].action), NULL, NULL);
        fate->told = true;
        if (told[i].action == DSN_DELAYED)
            fate->kept.warned = true;
    }
}

static void
log_reply(struct log_line *l, const struct reply *reply)
{
    char text[REPLY_TEXT_MAX + 8], enhanced[ENHANCED_MAX];

    if (reply->code == 0)
        return;
    snprintf(text, sizeof(text), "%d %s", reply->code, reply->text);
    enhanced_format(reply->enhanced, enhanced);
    log_str(l, "reply", span_str(text));
    log_cstr(l, "enhanced", enhanced);
}

/* Nobody can be told by mail: the log is all there is. */
static void
log_untold(const struct message *m, const struct fate *fates)
{
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        struct log_line l;

        if (fates[i].kind != FATE_FAILED)
            continue;
        log_begin(&l, LOG_ERROR, "undeliverable");
        log_cstr(&l, "id", m->id);
        log_cstr(&l, "what", m->is_dsn ? "notification" : "message with the null sender");
        log_str(&l, "recipient", span_str(m->envelope.recipients[i].address.text));
        log_reply(&l, &fates[i].kept.reply);
        log_end(&l);
    }
}

static void
host_of(const char *upstream, char *out, size_t size)
{
    const char *colon = strrchr(upstream, ':');

    snprintf(out, size, "%.*s", (int)(colon != NULL ? colon - upstream : (long)strlen(upstream)), upstream);
}

static enum blob_status
write_dsn(const struct notify_setup *setup, struct spool_message *s, const struct dsn_recipient *recipients,
    size_t n)
{
    const struct message *m = setup->message;
    char host[256];
    struct dsn d = {
        .id = s->id,
        .hostname = setup->config->front.hostname,
        .upstream = host,
        .about_id = m->id,
        .about = &m->envelope,
        .body = m->body,
        .trace = m->trace,
        .arrived_utc_ms = m->received_utc_ms,
        .now_utc_ms = clock_utc_ms(),
        .will_retry_until_utc_ms = m->received_utc_ms + setup->config->spool.lifetime_ms,
        .recipients = recipients,
        .n_recipients = n,
    };

    host_of(m->route->upstream, host, sizeof(host));
    return dsn_write(&d, s->body, &s->content_bytes, &s->envelope.body);
}

static struct spool_message *
describe(const struct message *m, struct blob_pool *bodies)
{
    struct spool_message *s = spool_message_new();
    struct address to;

    message_id_make(s->id);
    s->client = xstrdup(m->client->name);
    s->route = xstrdup(m->route->name);
    s->mailbox = m->mailbox != NULL ? xstrdup(m->mailbox->name) : NULL;
    s->class = xstrdup(message_class(m));
    address_init(&s->envelope.sender);
    address_copy(&m->envelope.sender, &to);
    envelope_add(&s->envelope, &to, RECIPIENT_INTERNAL);
    s->states = xcalloc(1, sizeof(*s->states));
    s->trace = xstrdup("");
    s->received_utc_ms = clock_utc_ms();
    s->is_dsn = true;
    s->body = blob_new(bodies);
    return s;
}

static struct spool_message *
make(const struct notify_setup *setup, const struct dsn_recipient *recipients, size_t n)
{
    struct spool_message *s = describe(setup->message, setup->bodies);

    if (write_dsn(setup, s, recipients, n) == BLOB_OK) {
        blob_seal(s->body);
        note_told(setup, recipients, n);
        return s;
    }
    log_text(LOG_ERROR, "notification", "the notification about message %s could not be made: no room for it",
        setup->message->id);
    spool_message_free(&s, true);
    return NULL;
}

bool
notify_make(const struct notify_setup *setup, struct spool_message **out)
{
    const struct message *m = setup->message;
    struct dsn_recipient *recipients;
    size_t n;

    *out = NULL;
    if (m->is_dsn || address_is_null(&m->envelope.sender)) {
        log_untold(m, setup->fates);
        return true;
    }
    recipients = xcalloc(m->envelope.n_recipients, sizeof(*recipients));
    n = gather(setup, recipients);
    if (n > 0)
        *out = make(setup, recipients, n);
    free(recipients);
    return n == 0 || *out != NULL;
}
