#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "tests/lib/flow_scene.h"

#define ROUNDS 30 /* of a meddler per turn; the loop admits 64 */
#define PATIENCE_MS 10000

const struct client_conf scene_client = {.name = "erp"};
static const struct reply_rule reply_rules[] = {
    {.code = 5, .from = {5, 7, 708}, .to = {5, 7, 708}, .class = CLASS_BLOCK_TENANT},
    {.code = 5, .from = {5, 1, 8}, .to = {5, 1, 8}, .class = CLASS_BLOCK_SENDER},
    {.code = 530, .from = {5, 7, 57}, .to = {5, 7, 57}, .class = CLASS_AUTH},
};

static void
meddle(void *arg)
{
    struct scene *s = arg;
    struct meddler *m = &s->meddler;
    struct list *pools = &s->w.up->pools;
    struct pool *pool = list_is_empty(pools) ? NULL : LIST_ITEM(pools->next, struct pool, link);

    if (pool != NULL && pool->count[m->when] > 0) {
        m->done = true;
        m->what(s);
    } else if (m->rounds_left-- > 0) {
        task_defer(s->w.loop, &m->task);
    }
}

void
scene_turn(struct scene *s)
{
    if (s->meddler.what != NULL && !s->meddler.done) {
        s->meddler.rounds_left = ROUNDS;
        task_defer(s->w.loop, &s->meddler.task);
    }
    loop_turn(s->w.loop, 5);
}

void
scene_meddle(struct scene *s, enum conn_state when, void (*what)(struct scene *s))
{
    s->meddler.when = when;
    s->meddler.what = what;
    s->meddler.done = false;
}

void
scene_start(struct scene *s, uint64_t cap, uint64_t period_ms, const struct peer_rule *rules, size_t n_rules)
{
    struct flow_setup setup;

    *s = (struct scene){.limit = {.name = "external-hour", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE,
        .unit = UNIT_EXTERNAL, .value = cap, .period_ms = period_ms}};
    task_init(&s->meddler.task, meddle, s);
    world_start(&s->w);
    s->w.peer.rules = rules;
    s->w.peer.n_rules = n_rules;
    s->w.route.pool_max = 1;
    s->w.route.replies = (struct reply_rules){reply_rules, sizeof(reply_rules) / sizeof(reply_rules[0])};
    assert_int_equal(world_configure(&s->w, NULL), 0);
    s->store = store_memory_new(s->w.loop);
    store_memory_count(s->store, s->w.metrics);
    s->config = xcalloc(1, sizeof(*s->config));
    arena_init(&s->config->arena);
    s->config->references = 1;
    s->config->limits = &s->limit;
    s->config->front.temp_folder = "/tmp";
    s->config->n_limits = 1;
    setup = (struct flow_setup){.loop = s->w.loop, .store = s->store, .upstream = s->w.up,
        .metrics = s->w.metrics};
    s->flow = flow_new(&setup);
    flow_configure(s->flow, s->config);
}

double
scene_count(const struct scene *s, enum metric_id id, const char *label)
{
    return metric_get(s->w.metrics, id, label, NULL, NULL);
}

void
scene_stop(struct scene *s)
{
    task_cancel(&s->meddler.task);
    flow_free(&s->flow);
    store_free(&s->store);
    config_unref(&s->config);
    world_stop(&s->w);
}

static void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct scene *s = arg;

    assert_true(ok && error == STORE_OK && n == 1);
    s->usage = *usage;
    s->usage_came = true;
}

uint64_t
scene_used(struct scene *s)
{
    struct usage wanted = {.limit = &s->limit, .instance = "contoso", .cap = s->limit.value};

    s->usage_came = false;
    store_usage(s->store, &wanted, 1, on_usage, s);
    world_until(&s->w, &s->usage_came);
    return s->usage.used;
}

void
scene_on_answer(void *arg, const struct reply *reply)
{
    struct scene *s = arg;

    s->answers++;
    s->answered = true;
    reply_copy(&s->answer, reply);
}

static struct address
address(const char *text)
{
    struct address a;

    assert_int_equal(address_parse_plain(span_str(text), &a), ADDRESS_OK);
    return a;
}

struct message *
scene_message(struct scene *s)
{
    struct message *m = message_new(s->config);

    m->client = &scene_client;
    m->route = &s->w.route;
    m->envelope.sender = address("erp@contoso.com");
    m->body = blob_new(s->w.blobs);
    assert_int_equal(blob_append(m->body, SPAN_LIT("Subject: x\r\n\r\ny\r\n")), BLOB_OK);
    blob_seal(m->body);
    m->content_bytes = blob_size(m->body);
    m->trace = xstrdup("Received: from test by relay.test\r\n");
    m->received_mono_ms = clock_mono_ms();
    m->received_utc_ms = clock_utc_ms();
    return m;
}

void
scene_submit_message(struct scene *s, struct message *m)
{
    s->answered = false;
    s->job = flow_submit(s->flow, &m, scene_on_answer, s);
    assert_null(m);
    assert_false(s->answered); /* never during the call */
}

static void
add_recipients(struct envelope *e, unsigned recipients)
{
    static const char *const names[] = {"a@x.org", "b@x.org", "c@x.org", "d@x.org"};

    for (unsigned i = 0; i < recipients; i++) {
        struct address to = address(names[i]);

        envelope_add(e, &to, RECIPIENT_EXTERNAL);
    }
}

void
scene_fill_envelope(struct envelope *e, unsigned recipients)
{
    e->sender = address("erp@contoso.com");
    add_recipients(e, recipients);
}

void
scene_submit(struct scene *s, unsigned recipients)
{
    struct message *m = scene_message(s);

    add_recipients(&m->envelope, recipients);
    scene_submit_message(s, m);
}

bool
scene_is_over(struct scene *s)
{
    struct flow_status status;

    flow_status(s->flow, &status);
    return status.in_flight == 0;
}

void
scene_finish(struct scene *s)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (!scene_is_over(s) && clock_mono_ms() < end)
        scene_turn(s);
    assert_true(scene_is_over(s));
}

int
scene_relay(struct scene *s, unsigned recipients)
{
    unsigned before = s->answers;

    scene_submit(s, recipients);
    scene_finish(s);
    assert_int_equal(s->answers, before + 1);
    return s->answer.code;
}

void
scene_until_seen(struct scene *s, const char *step, unsigned n)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (peer_count(&s->w.peer, step) < n && clock_mono_ms() < end)
        scene_turn(s);
    assert_int_equal(peer_count(&s->w.peer, step), n);
}

static void
on_look(void *arg, const struct verdict *verdict)
{
    struct scene *s = arg;

    s->look = *verdict;
    s->look_came = true;
}

void
scene_explain(struct scene *s, const struct client_conf *client, const struct envelope *e,
    const struct recipient *first, struct explained *out)
{
    struct charge_request request;
    struct explain_asked asked = {.look = {.config = s->config, .client = client, .route = &s->w.route,
        .envelope = e, .bytes = 100}, .first = first, .request = &request, .verdict = &s->look};

    assert_int_equal(explain_plan(s->flow, &asked.look, &request), 0);
    s->look_came = false;
    store_charge(s->store, &request, on_look, s);
    world_until(&s->w, &s->look_came);
    explain_verdict(s->flow, &asked, out);
    free(request.people);
}
