#include "tests/lib/spool_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"

#define WAIT_MS 20000

/* A body is lines: the last one ends too. */
static char
byte_at(int n, size_t i, size_t body_bytes)
{
    if (i + 2 >= body_bytes)
        return i + 2 == body_bytes ? '\r' : '\n';
    return (char)('A' + ((size_t)n * 7 + i * 31 + i / 251) % 57);
}

static void
on_found(void *arg, const struct spool_brief *brief)
{
    struct spool_rig *r = arg;

    snprintf(r->found_client, sizeof(r->found_client), "%s", brief->client);
    if (r->n_found < RIG_BRIEFS)
        r->found[r->n_found] = *brief;
    r->n_found++;
}

static void
on_changed(void *arg)
{
    ((struct spool_rig *)arg)->n_changed++;
}

static int
set_up_in(void **state, const char *folder)
{
    struct spool_rig *r = xcalloc(1, sizeof(*r));
    struct err err;

    snprintf(r->base, sizeof(r->base), "%s/sendgov-spool.XXXXXX", folder);
    if (mkdtemp(r->base) == NULL)
        return -1;
    snprintf(r->folder, sizeof(r->folder), "%s/spool", r->base);
    r->metrics = metrics_new();
    r->loop = loop_new(r->metrics, &err);
    r->pool = blob_pool_new(r->base, 256 * 1024, 64 << 20);
    r->conf = (struct spool_conf){.enabled = true, .folder = r->folder, .retry_first_ms = 60000,
        .retry_max_ms = 3600000, .lifetime_ms = INT64_C(172800000), .warn_ms = 14400000,
        .uncertain_ms = 600000, .uncertain_max = 2, .size_limit_bytes = 1000000};
    *state = r;
    return 0;
}

int
rig_set_up(void **state)
{
    return set_up_in(state, "/tmp");
}

int
rig_set_up_fast(void **state)
{
    return set_up_in(state, access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
}

int
rig_tear_down(void **state)
{
    struct spool_rig *r = *state;
    char command[128];

    rig_close(r);
    if (r->taken != NULL)
        spool_message_free(&r->taken, true);
    blob_pool_free(&r->pool);
    loop_free(&r->loop);
    metrics_free(&r->metrics);
    snprintf(command, sizeof(command), "rm -rf '%s'", r->base);
    free(r);
    return system(command);
}

static void
turn_while(struct spool_rig *r, bool (*waits)(struct spool_rig *r, int64_t wanted), int64_t wanted)
{
    int64_t until = clock_mono_ms() + WAIT_MS;

    while (waits(r, wanted)) {
        if (clock_mono_ms() > until)
            fail_msg("no answer within %d ms", WAIT_MS);
        loop_turn(r->loop, 50);
    }
}

static bool
lacks_answers(struct spool_rig *r, int64_t wanted)
{
    return r->answers < (size_t)wanted;
}

static bool
has_other_state(struct spool_rig *r, int64_t wanted)
{
    struct spool_status status;

    spool_status(r->spool, &status);
    return status.state != (enum spool_state)wanted;
}

static bool
is_loading(struct spool_rig *r, int64_t wanted)
{
    (void)wanted;
    return !has_other_state(r, SPOOL_LOADING);
}

void
rig_wait(struct spool_rig *r)
{
    turn_while(r, lacks_answers, (int64_t)r->wanted);
    assert_int_equal(r->answers, r->wanted); /* one for each question */
}

void
rig_wait_state(struct spool_rig *r, enum spool_state state)
{
    turn_while(r, has_other_state, state);
}

void
rig_start(struct spool_rig *r, bool inherits)
{
    struct spool_setup setup = {.loop = r->loop, .metrics = r->metrics, .inherits = inherits,
        .found = on_found, .changed = on_changed, .arg = r};
    struct err err = {""};

    r->n_found = 0;
    r->spool = spool_new(&setup, &r->conf, &err);
    if (r->spool == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(spool_start(r->spool, &err), 0);
}

void
rig_open(struct spool_rig *r)
{
    rig_start(r, false);
    turn_while(r, is_loading, 0);
}

void
rig_close(struct spool_rig *r)
{
    spool_free(&r->spool);
}

/* ---- messages ---- */

static void
set_address(struct address *a, const char *local, int n, const char *domain)
{
    char text[128];

    snprintf(text, sizeof(text), "%s%d@%s", local, n, domain);
    assert_int_equal(address_parse_plain(span_str(text), a), ADDRESS_OK);
}

static void
add_recipients(struct spool_message *m, int n, size_t recipients)
{
    m->states = xcalloc(recipients, sizeof(*m->states));
    for (size_t i = 0; i < recipients; i++) {
        struct recipient *to;
        struct address address;

        set_address(&address, "to", n * 100 + (int)i, i % 2 ? "example.net" : "example.com");
        to = envelope_add(&m->envelope, &address, RECIPIENT_EXTERNAL);
        to->notify = NOTIFY_FAILURE | NOTIFY_DELAY;
        to->orcpt = i == 0 ? xstrdup("rfc822;first+40example.com") : NULL;
        m->states[i].spent_ms = 1000 + n;
        if (i == 0)
            reply_set(&m->states[i].reply, 451, "4.7.500", "Server busy %d", n);
    }
}

struct spool_message *
rig_message(struct spool_rig *r, int n, size_t recipients, size_t body_bytes)
{
    struct spool_message *m = spool_message_new();
    char text[64];

    snprintf(m->id, sizeof(m->id), "id%d", n);
    snprintf(text, sizeof(text), "client%d", n % 3);
    m->client = xstrdup(text);
    m->route = xstrdup("m365");
    m->mailbox = n % 2 ? xstrdup("relay@contoso.com") : NULL;
    m->class = xstrdup("alerts");
    set_address(&m->envelope.sender, "From", n, "contoso.com");
    m->envelope.declared_bytes = (uint64_t)n;
    m->envelope.body = SMTP_BODY_8BITMIME;
    m->envelope.ret = RET_HDRS;
    m->envelope.envid = n % 2 ? xstrdup("env+2Bid") : NULL;
    add_recipients(m, n, recipients);
    m->trace = xstrdup("Received: from printer\r\n\tby relay; Tue, 24 Nov 2026 03:04:05 +0000\r\n");
    snprintf(m->peer, sizeof(m->peer), "192.0.2.%d", n % 250);
    snprintf(m->session, sizeof(m->session), "s%d", n);
    m->content_bytes = body_bytes + 100;
    m->received_utc_ms = 1000000 + n;
    m->body = blob_new(r->pool);
    for (size_t at = 0; at < body_bytes;) {
        char chunk[1000];
        size_t len = 0;

        for (; len < sizeof(chunk) && at < body_bytes; at++)
            chunk[len++] = byte_at(n, at, body_bytes);
        assert_int_equal(blob_append(m->body, span_of(chunk, len)), BLOB_OK);
    }
    blob_seal(m->body);
    return m;
}

void
rig_message_free(struct spool_message **m)
{
    spool_message_free(m, true);
}

static bool
is_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
is_recipients(const struct spool_message *a, const struct spool_message *b)
{
    if (a->envelope.n_recipients != b->envelope.n_recipients)
        return false;
    for (size_t i = 0; i < a->envelope.n_recipients; i++) {
        const struct recipient *ra = &a->envelope.recipients[i], *rb = &b->envelope.recipients[i];

        if (!is_text(ra->address.text, rb->address.text) || ra->address.domain_at != rb->address.domain_at ||
            ra->class != rb->class || ra->notify != rb->notify || !is_text(ra->orcpt, rb->orcpt) ||
            a->states[i].spent_ms != b->states[i].spent_ms ||
            a->states[i].reply.code != b->states[i].reply.code ||
            !is_text(a->states[i].reply.text, b->states[i].reply.text) ||
            a->states[i].reply.enhanced.detail != b->states[i].reply.enhanced.detail)
            return false;
    }
    return true;
}

static bool
is_body(struct blob *b, int n, size_t body_bytes)
{
    static char scratch[65536];
    struct span s;

    if (b == NULL || blob_size(b) != body_bytes)
        return false;
    for (uint64_t at = 0; at < body_bytes; at += s.n) {
        if (blob_read(b, at, scratch, sizeof(scratch), &s) != BLOB_OK || s.n == 0)
            return false;
        for (size_t i = 0; i < s.n; i++)
            if (s.p[i] != byte_at(n, (size_t)at + i, body_bytes))
                return false;
    }
    return true;
}

bool
rig_is_message(struct spool_message *m, int n, size_t recipients, size_t body_bytes)
{
    struct spool_rig none = {.pool = blob_pool_new("/tmp", 1000, 1000)};
    struct spool_message *e = rig_message(&none, n, recipients, 0);
    bool same = is_text(m->id, e->id) && is_text(m->client, e->client) && is_text(m->route, e->route)
        && is_text(m->mailbox, e->mailbox) && is_text(m->class, e->class)
        && is_text(m->envelope.sender.text, e->envelope.sender.text)
        && m->envelope.sender.domain_at == e->envelope.sender.domain_at
        && m->envelope.declared_bytes == e->envelope.declared_bytes && m->envelope.body == e->envelope.body
        && m->envelope.ret == e->envelope.ret && is_text(m->envelope.envid, e->envelope.envid)
        && is_text(m->trace, e->trace) && is_text(m->peer, e->peer) && is_text(m->session, e->session)
        && m->content_bytes == body_bytes + 100 && m->received_utc_ms == e->received_utc_ms
        && m->is_dsn == e->is_dsn && is_recipients(m, e) && is_body(m->body, n, body_bytes);

    rig_message_free(&e);
    blob_pool_free(&none.pool);
    return same;
}

void
rig_check_message(struct spool_message *m, int n, size_t recipients, size_t body_bytes)
{
    assert_non_null(m);
    assert_true(rig_is_message(m, n, recipients, body_bytes));
}

/* ---- questions ---- */

void
rig_done(void *arg, enum spool_result result)
{
    struct spool_rig *r = arg;

    r->result = result;
    if (r->answers < RIG_BRIEFS)
        r->results[r->answers] = result;
    r->answers++;
}

void
rig_taken(void *arg, enum spool_result result, struct spool_message *m)
{
    struct spool_rig *r = arg;

    if (r->taken != NULL)
        spool_message_free(&r->taken, true);
    r->taken = m;
    rig_done(r, result);
}

static void
on_listed(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct spool_rig *r = arg;

    r->n_seqs = n;
    r->more = more;
    for (size_t i = 0; i < n && i < RIG_BRIEFS; i++)
        r->seqs[i] = messages[i]->seq;
    rig_done(r, result);
}

static void
on_ordered(void *arg, enum spool_result result, const struct spool_ordered *slice)
{
    struct spool_rig *r = arg;

    if (r->n_seqs == 0)
        r->due_utc_ms = slice->n > 0 ? slice->briefs[0].due_utc_ms : 0;
    for (size_t i = 0; i < slice->n && r->n_seqs + i < RIG_BRIEFS; i++)
        r->seqs[r->n_seqs + i] = slice->briefs[i].seq;
    r->n_seqs += slice->n;
    r->busy += slice->busy;
    if (!slice->more)
        rig_done(r, result);
}

static enum spool_result
answer(struct spool_rig *r)
{
    size_t before = r->answers;

    r->wanted++;
    assert_int_equal(before, r->wanted - 1); /* never during the call */
    rig_wait(r);
    return r->result;
}

enum spool_result
rig_add(struct spool_rig *r, struct spool_message *m)
{
    spool_add(r->spool, &m, 1, rig_done, r);
    return answer(r);
}

enum spool_result
rig_take(struct spool_rig *r, uint64_t seq, int64_t due_by_utc_ms, bool with_body)
{
    spool_take(r->spool, seq, due_by_utc_ms, with_body ? r->pool : NULL, rig_taken, r);
    return answer(r);
}

enum spool_result
rig_settle(struct spool_rig *r, const struct spool_message *m)
{
    spool_settle(r->spool, m, NULL, 0, rig_done, r);
    return answer(r);
}

enum spool_result
rig_list(struct spool_rig *r, const struct spool_filter *filter)
{
    spool_list(r->spool, filter, on_listed, r);
    return answer(r);
}

enum spool_result
rig_order(struct spool_rig *r, enum spool_order order, const struct spool_filter *filter)
{
    r->n_seqs = r->busy = 0;
    spool_order(r->spool, order, filter, "uid=0", "test", on_ordered, r);
    return answer(r);
}

struct spool_status
rig_status(struct spool_rig *r)
{
    struct spool_status status;

    spool_status(r->spool, &status);
    return status;
}

uint64_t
rig_add_new(struct spool_rig *r, int n, size_t recipients, size_t body_bytes)
{
    struct spool_message *m = rig_message(r, n, recipients, body_bytes);
    uint64_t seq;

    assert_int_equal(rig_add(r, m), SPOOL_DONE);
    seq = m->seq;
    rig_message_free(&m);
    return seq;
}

void
rig_deliver(struct spool_rig *r, uint64_t seq)
{
    struct spool_message *m = spool_message_new();

    m->seq = seq;
    assert_int_equal(rig_settle(r, m), SPOOL_DONE);
    spool_message_free(&m, false);
}
