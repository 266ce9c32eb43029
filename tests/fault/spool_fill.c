/* spool_fill FOLDER COUNT SENDERS: a spool of many small messages that wait, as a run of the daemon would
 * have left it. Client "local", route "contoso", mailbox relay@contoso.com; message n of 1..COUNT is from
 * sN@contoso.com, N = n modulo SENDERS, and has Message-ID <fill.n@contoso.com>. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop.h"
#include "relay/spool/spool.h"

#define AT_ONCE 2000 /* messages in one question */

struct fill {
    struct loop *loop;
    struct spool *spool;
    struct blob_pool *bodies;
    bool waits;
    enum spool_result result;
};

static void
on_found(void *arg, const struct spool_brief *brief)
{
    (void)arg;
    (void)brief;
}

static void
on_changed(void *arg)
{
    (void)arg;
}

static void
on_done(void *arg, enum spool_result result)
{
    struct fill *f = arg;

    f->waits = false;
    f->result = result;
}

static void
parse(const char *text, struct address *out)
{
    if (address_parse_plain(span_str(text), out) != ADDRESS_OK)
        sg_assert(!"an address");
}

static struct blob *
make_body(struct blob_pool *bodies, const char *sender, unsigned n)
{
    struct blob *b = blob_new(bodies);
    char text[256];
    int size = snprintf(text, sizeof(text),
        "From: <%s>\r\nMessage-ID: <fill.%u@contoso.com>\r\n\r\nn = %u\r\n", sender, n, n);

    sg_assert(blob_append(b, span_of(text, (size_t)size)) == BLOB_OK);
    blob_seal(b);
    return b;
}

static struct spool_message *
make_message(struct fill *f, unsigned n, unsigned senders)
{
    struct spool_message *m = spool_message_new();
    struct address to;
    char sender[64];

    snprintf(sender, sizeof(sender), "s%u@contoso.com", n % senders);
    snprintf(m->id, sizeof(m->id), "fill%u", n);
    m->client = xstrdup("local");
    m->route = xstrdup("contoso");
    m->mailbox = xstrdup("relay@contoso.com");
    m->class = xstrdup("default");
    m->trace = xstrdup("Received: from filler by relay; Tue, 24 Nov 2026 03:04:05 +0000\r\n");
    parse(sender, &m->envelope.sender);
    parse("someone@fabrikam.com", &to);
    envelope_add(&m->envelope, &to, RECIPIENT_EXTERNAL);
    m->states = xcalloc(1, sizeof(*m->states));
    m->received_utc_ms = clock_utc_ms();
    m->body = make_body(f->bodies, sender, n);
    m->content_bytes = blob_size(m->body);
    return m;
}

static int
add_some(struct fill *f, unsigned first, unsigned count, unsigned senders)
{
    struct spool_message *messages[AT_ONCE] = {NULL};

    for (unsigned i = 0; i < count; i++)
        messages[i] = make_message(f, first + i, senders);
    f->waits = true;
    (void)spool_add(f->spool, messages, count, on_done, f);
    while (f->waits)
        loop_turn(f->loop, 1000);
    for (unsigned i = 0; i < count; i++)
        spool_message_free(&messages[i], true);
    if (f->result != SPOOL_DONE)
        fprintf(stderr, "spool_fill: %s\n", spool_result_to_str(f->result));
    return f->result == SPOOL_DONE ? 0 : -1;
}

static int
fill(struct fill *f, unsigned total, unsigned senders)
{
    enum spool_result why;

    while (!spool_takes(f->spool, &why))
        loop_turn(f->loop, 1000);
    for (unsigned n = 1; n <= total; n += AT_ONCE)
        if (add_some(f, n, total - n + 1 < AT_ONCE ? total - n + 1 : AT_ONCE, senders) != 0)
            return -1;
    return 0;
}

int
main(int argc, char **argv)
{
    struct spool_conf conf = {.enabled = true, .folder = argc == 4 ? argv[1] : "", .retry_max_ms = 3600000,
        .uncertain_ms = 600000, .uncertain_max = 2, .size_limit_bytes = 1000000};
    struct metrics *metrics = metrics_new();
    struct fill f = {.bodies = blob_pool_new("/tmp", 65536, 64 << 20)};
    struct spool_setup setup = {.metrics = metrics, .found = on_found, .changed = on_changed};
    struct err err;
    int rc = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: spool_fill FOLDER COUNT SENDERS\n");
        return 2;
    }
    log_setup(LOG_WARNING, LOG_LOGFMT);
    f.loop = loop_new(metrics, &err);
    if (f.loop != NULL)
        setup.loop = f.loop, f.spool = spool_new(&setup, &conf, &err);
    if (f.spool == NULL || spool_start(f.spool, &err) != 0)
        fprintf(stderr, "spool_fill: %s\n", err.text);
    else
        rc = fill(&f, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3])) == 0 ? 0 : 1;
    spool_free(&f.spool);
    blob_pool_free(&f.bodies);
    loop_free(&f.loop);
    metrics_free(&metrics);
    return rc;
}
