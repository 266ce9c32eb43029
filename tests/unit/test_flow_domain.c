/* Limits of recipient domains and of new recipients on a message's whole way: which recipients go together,
 * which wait, and that those that wait keep nobody else from going. The in-memory store, the real pool and a
 * real spool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/flow_part.h"
#include "relay/flow/held.h"
#include "relay/flow/release.h"
#include "tests/lib/flow_scene.h"

#define HOUR_MS 3600000
#define PATIENCE_MS 10000

static const struct client_conf clients[] = {{.name = "erp"}, {.name = "app", .accept = ACCEPT_SPOOL}};

/* A scene with the route's limit, wide, and one of recipient domains. */
struct town {
    struct scene s;
    struct limit_conf limits[2];
    char base[64], folder[96];
    bool answered, has_spool;
    size_t rows, recipients;
    int64_t due_in_ms; /* of the last recipient */
    uint64_t used;
};

static void
town_until(struct town *t, bool (*is_so)(struct town *t))
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (!is_so(t) && clock_mono_ms() < end)
        scene_turn(&t->s);
    assert_true(is_so(t));
}

static bool
is_ready(struct town *t)
{
    struct spool_status status;

    spool_status(t->s.flow->spool, &status);
    return status.state == SPOOL_READY;
}

static bool
is_answered(struct town *t)
{
    return t->answered;
}

static void
town_start(struct town *t, uint64_t cap, const char *only, bool has_spool, const struct peer_rule *rules,
    size_t n_rules)
{
    struct err err = {""};

    *t = (struct town){.base = "/tmp/sendgov-domain.XXXXXX", .has_spool = has_spool};
    assert_non_null(mkdtemp(t->base));
    snprintf(t->folder, sizeof(t->folder), "%s/spool", t->base);
    scene_start(&t->s, 1000, HOUR_MS, rules, n_rules);
    t->limits[0] = t->s.limit;
    t->limits[1] = (struct limit_conf){.name = "domain-hour", .kind = LIMIT_WINDOW,
        .scope = SCOPE_RECIPIENT_DOMAIN, .unit = UNIT_EXTERNAL, .value = cap, .period_ms = HOUR_MS,
        .only = only};
    t->s.config->limits = t->limits;
    t->s.config->n_limits = 2;
    t->s.config->clients = clients;
    t->s.config->n_clients = 2;
    t->s.config->routes = &t->s.w.route;
    t->s.config->n_routes = 1;
    t->s.config->front.hostname = "relay.test";
    t->s.config->spool = (struct spool_conf){.enabled = true, .folder = t->folder, .retry_first_ms = 60000,
        .retry_max_ms = 3600000, .lifetime_ms = INT64_C(172800000), .warn_ms = 14400000,
        .uncertain_ms = 600000, .uncertain_max = 2, .size_limit_bytes = 1000000};
    if (has_spool)
        assert_int_equal(flow_open_spool(t->s.flow, &t->s.config->spool, &err), 0);
    flow_configure(t->s.flow, t->s.config);
    assert_int_equal(flow_start_spool(t->s.flow, &err), 0);
    if (has_spool)
        town_until(t, is_ready);
}

/* The second limit is one of new recipients of the client instead. */
static void
town_start_new(struct town *t, uint64_t cap, bool has_spool)
{
    town_start(t, 1000, "no.example", has_spool, NULL, 0);
    t->limits[1] = (struct limit_conf){.name = "strangers", .kind = LIMIT_WINDOW, .scope = SCOPE_CLIENT,
        .unit = UNIT_NEW, .value = cap, .period_ms = HOUR_MS, .known_ms = 30 * 24 * (int64_t)HOUR_MS};
    flow_configure(t->s.flow, t->s.config);
}

static void
town_stop(struct town *t)
{
    char command[128];

    scene_stop(&t->s);
    snprintf(command, sizeof(command), "rm -rf '%s'", t->base);
    assert_int_equal(system(command), 0);
}

static void
on_listed(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct town *t = arg;

    assert_int_equal(result, SPOOL_DONE);
    assert_false(more);
    t->rows = n;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < messages[i]->envelope.n_recipients; k++)
            t->due_in_ms = messages[i]->states[k].due_utc_ms - clock_utc_ms();
        t->recipients += messages[i]->envelope.n_recipients;
    }
    t->answered = true;
}

/* Recipients on disk. */
static size_t
town_look(struct town *t)
{
    struct spool_filter filter = {0};

    t->answered = false;
    t->rows = t->recipients = 0;
    held_list(t->s.flow, &filter, on_listed, t);
    town_until(t, is_answered);
    return t->recipients;
}

static void
on_usage(void *arg, bool ok, enum store_error error, const struct usage *usage, size_t n)
{
    struct town *t = arg;

    assert_true(ok && error == STORE_OK && n == 1);
    t->used = usage->used;
    t->answered = true;
}

static uint64_t
town_used(struct town *t, const char *instance)
{
    struct usage wanted = {.limit = &t->limits[1], .cap = t->limits[1].value};

    snprintf(wanted.instance, sizeof(wanted.instance), "%s", instance);
    t->answered = false;
    store_usage(t->s.store, &wanted, 1, on_usage, t);
    town_until(t, is_answered);
    return t->used;
}

static struct message *
message_to(struct town *t, const struct client_conf *client, const char *const *recipients)
{
    struct message *m = scene_message(&t->s);

    m->client = client;
    for (; *recipients != NULL; recipients++) {
        struct address a;

        assert_int_equal(address_parse_plain(span_str(*recipients), &a), ADDRESS_OK);
        envelope_add(&m->envelope, &a, RECIPIENT_EXTERNAL);
    }
    return m;
}

#define TO(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Start to end of what the client waits for; the code it heard. */
static int
town_relay(struct town *t, const char *const *recipients)
{
    scene_submit_message(&t->s, message_to(t, &clients[0], recipients));
    scene_finish(&t->s);
    return t->s.answer.code;
}

static struct queue_counts
counts_of(struct town *t)
{
    struct queue_counts counts;

    release_counts(t->s.flow, &counts);
    return counts;
}

static bool
is_all_settled(struct town *t)
{
    struct queue_counts c = counts_of(t);

    return c.in_flight == 0 && (c.ready == 0 || c.ready == c.at_gate[QUEUE_GATE_LIMIT]) &&
        scene_is_over(&t->s);
}

/* ---- who goes together ---- */

static void
test_only_what_is_counted_goes_apart(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 10, "gmail.com", true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@x.org", "a@gmail.com", "a@y.org", "b@Gmail.COM")), 250);
    assert_int_equal(t.s.w.peer.messages, 2);
    assert_int_equal(peer_count(&t.s.w.peer, "RCPT"), 4);
    assert_int_equal(town_used(&t, "gmail.com"), 2);
    assert_int_equal(town_used(&t, "x.org"), 0);
    assert_int_equal(scene_used(&t.s), 4);
    town_stop(&t);
}

static void
test_each_domain_has_a_count_of_its_own(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 2, NULL, true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@x.org", "a@y.org", "b@x.org", "a@z.x.org")), 250);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_int_equal(town_look(&t), 0);
    assert_int_equal(town_used(&t, "x.org"), 2);
    assert_int_equal(town_used(&t, "y.org"), 1);
    assert_int_equal(town_used(&t, "z.x.org"), 1);
    town_stop(&t);
}

static void
test_pattern_covers_what_is_below(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 5, "*.x.org", true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@x.org", "a@p.x.org", "a@q.x.org", "a@y.org")), 250);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_int_equal(town_used(&t, "p.x.org"), 1);
    assert_int_equal(town_used(&t, "x.org"), 0);
    town_stop(&t);
}

/* ---- where nothing can be held ---- */

static void
test_other_domain_comes_later(void **state)
{
    struct flow_refusal refusal;
    struct flow_look look;
    struct envelope e;
    struct town t;

    (void)state;
    town_start(&t, 10, "gmail.com", false, NULL, 0);
    envelope_init(&e);
    scene_fill_envelope(&e, 1);
    look = (struct flow_look){.config = t.s.config, .client = &clients[0], .route = &t.s.w.route,
        .envelope = &e, .domain = SPAN_LIT("y.org")};
    assert_false(flow_hint(t.s.flow, &look, RECIPIENT_EXTERNAL, &refusal));
    look.domain = SPAN_LIT("gmail.com");
    assert_true(flow_hint(t.s.flow, &look, RECIPIENT_EXTERNAL, &refusal));
    assert_int_equal(refusal.reply.code, 452);
    assert_non_null(strstr(refusal.reply.text, "domain"));
    assert_int_equal(town_relay(&t, TO("a@x.org", "a@gmail.com")), 451);
    assert_int_equal(t.s.w.peer.messages, 0);
    assert_int_equal(town_relay(&t, TO("a@gmail.com", "b@gmail.com")), 250);
    assert_int_equal(town_used(&t, "gmail.com"), 2);
    envelope_fini(&e);
    town_stop(&t);
}

/* The hint at RCPT knows of the domain that is full; other mail of the client goes on. */
static void
test_full_domain_is_hinted(void **state)
{
    struct flow_refusal refusal;
    struct flow_look look;
    struct envelope e;
    struct town t;

    (void)state;
    town_start(&t, 1, "gmail.com", false, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@gmail.com")), 250);
    assert_int_equal(town_relay(&t, TO("b@gmail.com")), 451);
    assert_non_null(strstr(t.s.answer.text, "recipient_domain gmail.com"));
    envelope_init(&e);
    scene_fill_envelope(&e, 0);
    look = (struct flow_look){.config = t.s.config, .client = &clients[0], .route = &t.s.w.route,
        .envelope = &e, .domain = SPAN_LIT("gmail.com")};
    assert_true(flow_hint(t.s.flow, &look, RECIPIENT_EXTERNAL, &refusal));
    assert_int_equal(refusal.reply.code, 451);
    look.domain = SPAN_LIT("x.org");
    assert_false(flow_hint(t.s.flow, &look, RECIPIENT_EXTERNAL, &refusal));
    assert_int_equal(town_relay(&t, TO("a@x.org")), 250);
    envelope_fini(&e);
    town_stop(&t);
}

/* ---- what waits ---- */

/* Two of three are granted; the third stands at the gate of its domain, and mail to others passes it. */
static void
test_full_domain_keeps_only_its_own(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 2, "gmail.com", true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@gmail.com", "a@x.org", "b@gmail.com", "c@gmail.com")), 250);
    town_until(&t, is_all_settled);
    assert_int_equal(t.s.w.peer.messages, 2);
    assert_int_equal(peer_count(&t.s.w.peer, "RCPT"), 3);
    assert_int_equal(town_look(&t), 1);
    assert_int_equal(counts_of(&t).at_gate[QUEUE_GATE_LIMIT], 1);
    assert_int_equal(town_relay(&t, TO("a@y.org")), 250);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_int_equal(town_relay(&t, TO("d@gmail.com")), 250); /* behind it */
    town_until(&t, is_all_settled);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_int_equal(town_look(&t), 2);
    assert_int_equal(counts_of(&t).lanes, 1);
    assert_int_equal(town_used(&t, "gmail.com"), 2);
    town_stop(&t);
}

/* Two domains that are full in one message: it waits for its own time, not at a gate, and in nobody's way. */
static void
test_two_full_domains_wait_by_themselves(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 1, NULL, true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@x.org", "a@y.org")), 250);
    assert_int_equal(town_relay(&t, TO("b@x.org", "b@y.org")), 250);
    town_until(&t, is_all_settled);
    assert_int_equal(t.s.w.peer.messages, 2);
    assert_int_equal(town_look(&t), 2);
    assert_int_equal(t.rows, 1);
    assert_int_equal(counts_of(&t).waiting_own_time, 1);
    assert_in_range(t.due_in_ms, 200000, 300000);
    assert_int_equal(town_relay(&t, TO("a@z.org")), 250);
    assert_int_equal(t.s.w.peer.messages, 3);
    town_stop(&t);
}

/* A client whose mail is stored first: its message leaves domain by domain, each written down before the
 * next. */
static void
test_stored_message_leaves_by_domain(void **state)
{
    struct town t;

    (void)state;
    town_start(&t, 1, NULL, true, NULL, 0);
    scene_submit_message(&t.s, message_to(&t, &clients[1], TO("a@x.org", "a@y.org", "b@x.org", "a@z.org")));
    scene_finish(&t.s);
    assert_int_equal(t.s.answer.code, 250);
    scene_until_seen(&t.s, "dot", 3);
    town_until(&t, is_all_settled);
    assert_int_equal(town_look(&t), 1);
    assert_int_equal(counts_of(&t).at_gate[QUEUE_GATE_LIMIT], 1);
    assert_int_equal(town_used(&t, "x.org"), 1);
    town_stop(&t);
}

/* ---- another configuration ---- */

static struct config *
make_config(struct town *t, size_t n_limits)
{
    struct config *c = xcalloc(1, sizeof(*c));

    *c = *t->s.config;
    c->references = 1;
    arena_init(&c->arena);
    c->n_limits = n_limits;
    return c;
}

/* The limit came while the message waited for its connection. */
static void
test_limit_that_comes_parts_the_round(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct config *without;
    struct town t;

    (void)state;
    town_start(&t, 1, "gmail.com", true, rules, 1);
    without = make_config(&t, 1);
    flow_configure(t.s.flow, without);
    scene_submit_message(&t.s, message_to(&t, &clients[0], TO("first@x.org")));
    scene_until_seen(&t.s, "dot", 1);
    scene_submit_message(&t.s, message_to(&t, &clients[0], TO("a@gmail.com", "a@x.org", "b@gmail.com")));
    for (int i = 0; i < 5; i++)
        scene_turn(&t.s); /* it waits for the one connection */
    flow_configure(t.s.flow, t.s.config);
    peer_say_all(&t.s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&t.s);
    town_until(&t, is_all_settled);
    assert_int_equal(peer_count(&t.s.w.peer, "dot"), 3);
    assert_int_equal(town_used(&t, "gmail.com"), 1);
    assert_int_equal(town_look(&t), 1);
    config_unref(&without);
    town_stop(&t);
}

static void
on_resumed(void *arg, bool ok, enum store_error error)
{
    (void)arg;
    (void)error;
    assert_true(ok);
}

/* What waited before the limit came does not keep the lane it stood in. */
static void
test_limit_that_comes_moves_what_waits(void **state)
{
    struct pause pause = {.scope = SCOPE_CLIENT, .instance = "erp", .extent = PAUSE_EXTERNAL,
        .reason = "by hand"};
    struct config *without;
    struct town t;

    (void)state;
    town_start(&t, 1, "gmail.com", true, NULL, 0);
    assert_int_equal(town_relay(&t, TO("a@gmail.com")), 250);
    without = make_config(&t, 1);
    flow_configure(t.s.flow, without);
    store_pause(t.s.store, &pause, 1000, NULL);
    assert_int_equal(town_relay(&t, TO("b@gmail.com")), 250);
    assert_int_equal(town_relay(&t, TO("b@x.org")), 250);
    assert_int_equal(counts_of(&t).lanes, 1);
    flow_configure(t.s.flow, t.s.config);
    store_resume(t.s.store, SCOPE_CLIENT, "erp", "me", "", on_resumed, NULL);
    scene_until_seen(&t.s, "dot", 2);
    town_until(&t, is_all_settled);
    assert_int_equal(town_look(&t), 1);
    assert_int_equal(town_used(&t, "gmail.com"), 1);
    config_unref(&without);
    town_stop(&t);
}

/* ---- new recipients ---- */

/* Who is known goes, in the same message and in later ones; the strangers wait, first come first. */
static void
test_known_do_not_wait_for_strangers(void **state)
{
    struct town t;

    (void)state;
    town_start_new(&t, 3, true);
    assert_int_equal(town_relay(&t, TO("a@x.org", "b@x.org")), 250);
    assert_int_equal(town_used(&t, "erp"), 2);
    assert_int_equal(town_relay(&t, TO("c@x.org", "A@x.org", "d@x.org", "b@x.org", "e@x.org")), 250);
    town_until(&t, is_all_settled);
    assert_int_equal(t.s.w.peer.messages, 2);
    assert_int_equal(peer_count(&t.s.w.peer, "RCPT"), 5); /* a and b, then A, b and c */
    assert_int_equal(town_used(&t, "erp"), 3);
    assert_int_equal(town_look(&t), 2);
    assert_int_equal(counts_of(&t).at_gate[QUEUE_GATE_LIMIT], 1);
    assert_int_equal(town_relay(&t, TO("b@x.org", "c@x.org")), 250);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_int_equal(town_relay(&t, TO("f@x.org")), 250);
    town_until(&t, is_all_settled);
    assert_int_equal(t.s.w.peer.messages, 3);
    assert_true(scene_count(&t.s, M_NEW_RECIPIENTS, "strangers") == 3);
    assert_int_equal(town_look(&t), 3);
    assert_int_equal(counts_of(&t).at_gate[QUEUE_GATE_LIMIT], 2);
    assert_int_equal(counts_of(&t).lanes, 1);
    town_stop(&t);
}

static void
drop_connections(struct scene *s)
{
    peer_drop_all(&s->w.peer, true);
}

/* What was given back was never mailed: the next try counts them as new again. */
static void
test_strangers_of_a_refund_are_strangers(void **state)
{
    struct town t;

    (void)state;
    town_start_new(&t, 2, false);
    scene_meddle(&t.s, CONN_LEASED, drop_connections);
    assert_int_equal(town_relay(&t, TO("a@x.org", "b@x.org")), 250);
    assert_true(t.s.meddler.done);
    assert_true(scene_count(&t.s, M_REFUNDS, NULL) == 1);
    assert_int_equal(town_used(&t, "erp"), 2);
    assert_true(scene_count(&t.s, M_NEW_RECIPIENTS, "strangers") == 2); /* not what was given back */
    assert_int_equal(town_relay(&t, TO("c@x.org")), 451);
    assert_non_null(strstr(t.s.answer.text, "limit strangers (client erp) used 2 of 2 new recipients per h"));
    assert_int_equal(town_relay(&t, TO("b@x.org")), 250);
    town_stop(&t);
}

static void
on_looked(void *arg, const struct flow_refusal *refusal)
{
    struct town *t = arg;

    t->s.answer.code = refusal != NULL ? refusal->reply.code : 0;
}

/* A look before the body knows strangers from known ones, and takes nothing. */
static void
test_look_counts_strangers(void **state)
{
    struct flow_look look;
    struct envelope e;
    struct town t;

    (void)state;
    town_start_new(&t, 1, false);
    envelope_init(&e);
    scene_fill_envelope(&e, 1);
    look = (struct flow_look){.config = t.s.config, .client = &clients[0], .route = &t.s.w.route,
        .envelope = &e};
    for (int i = 0; i < 2; i++) {
        flow_look(t.s.flow, &look, on_looked, &t);
        scene_finish(&t.s);
        assert_int_equal(t.s.answer.code, 0);
    }
    assert_int_equal(town_used(&t, "erp"), 0);
    assert_int_equal(town_relay(&t, TO("b@x.org")), 250);
    flow_look(t.s.flow, &look, on_looked, &t);
    scene_finish(&t.s);
    assert_int_equal(t.s.answer.code, 451);
    envelope_fini(&e);
    town_stop(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_counted_goes_apart),
        cmocka_unit_test(test_each_domain_has_a_count_of_its_own),
        cmocka_unit_test(test_pattern_covers_what_is_below),
        cmocka_unit_test(test_other_domain_comes_later),
        cmocka_unit_test(test_full_domain_is_hinted),
        cmocka_unit_test(test_full_domain_keeps_only_its_own),
        cmocka_unit_test(test_two_full_domains_wait_by_themselves),
        cmocka_unit_test(test_stored_message_leaves_by_domain),
        cmocka_unit_test(test_limit_that_comes_parts_the_round),
        cmocka_unit_test(test_limit_that_comes_moves_what_waits),
        cmocka_unit_test(test_known_do_not_wait_for_strangers),
        cmocka_unit_test(test_strangers_of_a_refund_are_strangers),
        cmocka_unit_test(test_look_counts_strangers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
