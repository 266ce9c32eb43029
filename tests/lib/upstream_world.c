#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "tests/lib/upstream_world.h"

#define PATIENCE_MS 10000

static char sender_text[] = "app@contoso.com";
static const struct address sender = {sender_text, 4};
static char to_text[SENDING_RECIPIENTS][8] = {"a@x.org", "b@x.org", "c@x.org", "d@x.org"};
static const struct recipient to[SENDING_RECIPIENTS] = {
    {.address = {to_text[0], 2}, .class = RECIPIENT_EXTERNAL},
    {.address = {to_text[1], 2}, .class = RECIPIENT_EXTERNAL},
    {.address = {to_text[2], 2}, .class = RECIPIENT_EXTERNAL},
    {.address = {to_text[3], 2}, .class = RECIPIENT_EXTERNAL},
};
static const struct recipient *const to_list[SENDING_RECIPIENTS] = {&to[0], &to[1], &to[2], &to[3]};

/* ---- slots of all nodes: answered at the end of the turn, as a store would later ---- */

struct answer {
    struct list link;
    struct task task;
    struct world *world;
    upstream_slot_fn *done;
    void *arg;
    struct handle self;
};

static void
answer_slot(void *arg)
{
    struct answer *a = arg;
    struct world *w = a->world;
    bool granted = w->slots_free > 0;

    list_del(&a->link);
    w->slots_free -= granted ? 1 : 0;
    w->slots_taken += granted ? 1 : 0;
    w->slots_denied += granted ? 0 : 1;
    a->done(a->arg, granted, 77, STORE_OK, granted ? 0 : 200);
    free(a);
}

static struct handle
take_slot(void *arg, enum limit_scope scope, const char *instance, uint64_t cap, upstream_slot_fn *done,
    void *done_arg)
{
    struct world *w = arg;
    struct answer *a = xcalloc(1, sizeof(*a));

    assert_int_equal(scope, w->uses_mailbox ? SCOPE_MAILBOX : SCOPE_ROUTE);
    assert_string_equal(instance, w->uses_mailbox ? w->mailbox.name : w->route.name);
    assert_true(cap != LIMIT_UNLIMITED);
    a->world = w;
    a->done = done;
    a->arg = done_arg;
    list_add_tail(&w->answers, &a->link);
    task_init(&a->task, answer_slot, a);
    task_defer(w->loop, &a->task);
    a->self = (struct handle){++w->slots_asked, 1};
    return a->self;
}

static void
forget_slot(void *arg, struct handle question)
{
    struct world *w = arg;

    LIST_EACH_SAFE(it, &w->answers) {
        struct answer *a = LIST_ITEM(it, struct answer, link);

        if (a->self.index != question.index)
            continue;
        list_del(&a->link);
        task_cancel(&a->task);
        free(a);
    }
}

static void
give_slot(void *arg, enum limit_scope scope, const char *instance, uint64_t slot)
{
    struct world *w = arg;

    (void)scope;
    (void)instance;
    assert_int_equal(slot, 77);
    w->slots_free++;
    w->slots_given++;
}

static bool
others_live(void *arg)
{
    return ((const struct world *)arg)->other_nodes;
}

/* ---- the world ---- */

static void
make_upstream(struct world *w)
{
    struct upstream_setup setup = {.loop = w->loop, .dialer = w->dialer, .metrics = w->metrics,
        .hostname = "relay.test", .slots = {w, take_slot, forget_slot, give_slot, others_live}};

    w->up = upstream_new(&setup);
}

void
world_renew(struct world *w)
{
    upstream_free(&w->up);
    make_upstream(w);
    assert_int_equal(world_configure(w, NULL), 0);
}

void
world_start(struct world *w)
{
    struct err err;

    *w = (struct world){.slots_free = 100};
    list_init(&w->answers);
    snprintf(w->folder, sizeof(w->folder), "/tmp/sendgov-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->metrics = metrics_new();
    w->loop = loop_new(w->metrics, &err);
    assert_non_null(w->loop);
    w->resolver = resolver_new(w->loop, &err);
    assert_non_null(w->resolver);
    w->dialer = dialer_new(w->loop, w->resolver);
    w->blobs = blob_pool_new(w->folder, 256 * 1024, 64 * 1024 * 1024);
    make_upstream(w);
    peer_start(&w->peer, w->loop);
    w->route = (struct route_conf){.name = "contoso", .upstream = w->peer.target, .tls = UPSTREAM_TLS_OFF,
        .tls_verify = true, .connections = LIMIT_UNLIMITED, .pool_max = 4, .messages_per_connection = 100,
        .idle_ms = 30000, .age_ms = 600000, .connect_ms = 5000, .reply_ms = 5000, .data_ms = 5000,
        .block_ms = 5000, .dot_ms = 5000};
    w->mailbox = (struct mailbox_conf){.name = "relay@contoso.com", .route = "contoso",
        .auth = UPSTREAM_AUTH_LOGIN, .password = "secret", .connections = 2};
}

int
world_configure(struct world *w, struct err *err)
{
    return upstream_configure(w->up, &w->route, 1, &w->mailbox, w->uses_mailbox ? 1 : 0, err);
}

void
world_turn(struct world *w, int n)
{
    while (n-- > 0)
        loop_turn(w->loop, 5);
}

void
world_pass(struct world *w, int64_t ms)
{
    int64_t end = clock_mono_ms() + ms, now;

    while ((now = clock_mono_ms()) < end)
        loop_turn(w->loop, (int)(end - now));
}

void
world_until(struct world *w, const bool *flag)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (!*flag && clock_mono_ms() < end)
        loop_turn(w->loop, 20);
    assert_true(*flag);
}

void
world_until_fn(struct world *w, bool (*is_so)(struct world *w))
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (!is_so(w) && clock_mono_ms() < end)
        loop_turn(w->loop, 20);
    assert_true(is_so(w));
}

void
world_stop(struct world *w)
{
    upstream_free(&w->up);
    peer_stop(&w->peer);
    world_turn(w, 3);
    dialer_free(&w->dialer);
    resolver_free(&w->resolver);
    blob_pool_free(&w->blobs);
    loop_free(&w->loop);
    metrics_free(&w->metrics);
    rmdir(w->folder);
}

/* ---- messages ---- */

void
sending_init(struct sending *s, struct world *w, size_t bytes, size_t recipients)
{
    static const char line[] =
        "All work and no play makes Jack a dull boy, and so on and so forth; 0123456789\r\n";

    *s = (struct sending){.world = w};
    s->body = blob_new(w->blobs);
    for (size_t n = 0; n < bytes; n += sizeof(line) - 1)
        assert_int_equal(blob_append(s->body, SPAN_LIT(line)), BLOB_OK);
    s->tx = (struct transaction){.sender = &sender, .recipients = to_list, .n_recipients = recipients,
        .body = s->body, .prefix = SPAN_LIT("Received: from test by relay.test\r\n"), .content_bytes = bytes};
}

void
sending_fini(struct sending *s)
{
    blob_free(&s->body);
}

static void
on_sent(void *arg, const struct tx_outcome *outcome)
{
    struct sending *s = arg;

    assert_false(s->done);
    s->done = true;
    s->outcome = *outcome;
    for (size_t i = 0; i < s->tx.n_recipients; i++)
        s->results[i] = outcome->recipients[i];
    s->outcome.recipients = s->results;
}

static void
on_lease(void *arg, struct upstream_conn *conn, const struct lease_failure *failure)
{
    struct sending *s = arg;

    assert_true((conn == NULL) != (failure == NULL));
    assert_false(s->leased || s->failed);
    s->order = ++s->world->leases;
    if (conn == NULL) {
        s->failed = s->done = true;
        s->failure = *failure;
        return;
    }
    s->leased = true;
    s->caps = *upstream_conn_caps(conn);
    s->conn = conn;
    if (!s->holds)
        sending_send(s);
}

void
sending_send(struct sending *s)
{
    upstream_send(&s->conn, &s->tx, on_sent, s);
    assert_null(s->conn);
}

void
sending_start(struct sending *s, int deadline_ms)
{
    struct world *w = s->world;

    s->lease = upstream_lease(w->up, s->route != NULL ? s->route : &w->route,
        w->uses_mailbox ? &w->mailbox : NULL, deadline_ms, on_lease, s);
    assert_false(s->leased || s->failed); /* never during the call */
}

void
send_one(struct world *w, struct sending *s)
{
    sending_init(s, w, 1000, 1);
    sending_start(s, 5000);
    world_until(w, &s->done);
    sending_fini(s);
}

void
sending_check_body(const struct sending *s)
{
    struct span got = buf_span(&s->world->peer.body), part;
    char *scratch = xmalloc(BODY_CHUNK);
    uint64_t at = 0;

    assert_int_equal(got.n, s->tx.prefix.n + blob_size(s->body));
    assert_memory_equal(got.p, s->tx.prefix.p, s->tx.prefix.n);
    got = span_from(got, s->tx.prefix.n);
    while (at < blob_size(s->body)) {
        assert_int_equal(blob_read(s->body, at, scratch, BODY_CHUNK, &part), BLOB_OK);
        assert_memory_equal(got.p + at, part.p, part.n);
        at += part.n;
    }
    free(scratch);
}
