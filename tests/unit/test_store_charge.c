/* Charges over the Redis store: never over the cap, however many are asked at once and however a sender is
 * spelt; refunds, charges that nobody waits for any more, keys, and limits that a reload takes away. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/known.h"
#include "policy/plan.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/smtp/address.h"
#include "tests/lib/store_rig.h"

static void
counts_and_refuses(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 5, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 3), VERDICT_GRANTED);
    assert_int_equal(r->granted, 3);
    assert_true(r->verdict.seq > 0 && r->verdict.time_us > 0);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED); /* 2 of 4 */
    assert_int_equal(r->granted, 2);
    assert_ptr_equal(r->verdict.limit, &r->limits[0]);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(r->verdict.used, 5);
    assert_int_equal(r->verdict.cap, 5);
    assert_true(r->verdict.retry_after_ms > 3600000 && r->verdict.retry_after_ms < 3800000);
    assert_int_equal(use(r, 0, 0)->used, 5);
}

static size_t wanted_answers;

static bool
all_answered(struct rig *r)
{
    return r->answers == wanted_answers;
}

static uint64_t seqs_seen[64];

static void
on_numbered(void *arg, const struct verdict *v)
{
    struct rig *r = arg;

    if (v->kind == VERDICT_GRANTED)
        for (size_t i = 0; i < r->granted; i++)
            assert_true(seqs_seen[i] != v->seq);
    on_charge(arg, v);
    if (v->kind == VERDICT_GRANTED)
        seqs_seen[r->granted - 1] = v->seq;
}

/* 40 asked in one turn, 35 fit: few scripts run, each grant has its own number, the others get
 * their full answer. */
static void
equal_charges_of_a_turn_are_one_question(void **state)
{
    struct rig *r = *state;
    struct charge_request request;
    long long before;

    add_limit(r, "cap", LIMIT_WINDOW, UNIT_EXTERNAL, 36, 86400000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    make_request(r, 1, true, &request);
    before = scripts_run(r);
    r->answers = r->granted = 0;
    wanted_answers = 40;
    for (size_t i = 0; i < 40; i++)
        store_charge(r->nodes[0].store, &request, on_numbered, r);
    assert_true(turn_until(r, all_answered));
    assert_int_equal(r->granted, 35);
    assert_int_equal(r->verdict.kind, VERDICT_OVER);
    assert_int_equal(r->verdict.used, 36);
    assert_int_equal(use(r, 0, 0)->used, 36);
    assert_true(scripts_run(r) - before < 20); /* 2 batches, 5 alone, a heartbeat or so */
}

static void
exactly_the_cap_under_concurrency(void **state)
{
    static const uint64_t caps[] = {1, 2, 7, 64, 500, 2000};
    struct rig *r = *state;

    add_limit(r, "cap", LIMIT_WINDOW, UNIT_EXTERNAL, 1, 3600000);
    add_limit(r, "other", LIMIT_WINDOW, UNIT_MESSAGES, 1000000, 86400000);
    begin(r, NODES);
    for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
        uint64_t offered = 0;

        cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso"); /* fresh for each; the nodes must not miss it */
        for (size_t n = 0; n < NODES; n++) {
            store_open(r->nodes[n].store, "test", "fresh", on_done, r);
            r->limits[0].value = caps[i];
            store_set_limits(r->nodes[n].store, r->limits, r->n_limits);
        }
        wanted_answers = NODES;
        r->answers = r->granted = 0;
        assert_true(turn_until(r, all_answered));
        r->answers = 0;
        while (offered < caps[i] + 500) { /* 64 at a time on each node */
            wanted_answers = 0;
            r->answers = 0;
            for (size_t k = 0; k < 64 * NODES; k++, wanted_answers++, offered++)
                ask(r, k % NODES, 1 + (uint32_t)(k % 3));
            assert_true(turn_until(r, all_answered));
        }
        assert_int_equal(r->granted, caps[i]);
    }
}

static void
survives_script_flush(void **state)
{
    struct rig *r = *state;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 100, 3600000);
    begin(r, 1);
    for (int i = 0; i < 5; i++) {
        cli(r, "SCRIPT FLUSH");
        r->answers = r->granted = 0;
        wanted_answers = 8;
        for (size_t k = 0; k < wanted_answers; k++)
            ask(r, 0, 1);
        assert_true(turn_until(r, all_answered));
        assert_int_equal(r->granted, 8);
    }
    assert_int_equal(use(r, 0, 0)->used, 40);
}

static void
refunds_once(void **state)
{
    struct rig *r = *state;
    struct charge_request request;
    struct verdict v;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 10, 3600000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 4), VERDICT_GRANTED);
    v = r->verdict;
    assert_int_equal(charge(r, 0, 2), VERDICT_GRANTED);
    make_request(r, 4, true, &request);
    store_refund(r->nodes[0].store, &request, &v);
    assert_int_equal(use(r, 0, 0)->used, 2);
    assert_int_equal((int)metric_get(r->metrics, M_REFUNDS, NULL, NULL, NULL), 1);
    assert_int_equal(charge(r, 0, 3), VERDICT_GRANTED);
    store_refund(r->nodes[0].store, &request, &v); /* its bucket holds enough */
    assert_int_equal(use(r, 0, 0)->used, 5);
    assert_int_equal((int)metric_get(r->metrics, M_REFUNDS, NULL, NULL, NULL), 1);
}

static size_t
void_charges(struct rig *r)
{
    static const char *const reasons[] = {"forgotten", "no_answer", "client_left", "late"};
    double n = 0;

    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        n += metric_get(r->metrics, M_CHARGES_VOID, reasons[i], NULL, NULL);
    return (size_t)n;
}

/* Only what was charged and is not used is void: not a look, and nothing that was over. */
static void
a_forgotten_charge_is_void_once(void **state)
{
    struct rig *r = *state;
    struct charge_request request;

    add_limit(r, "hour", LIMIT_WINDOW, UNIT_EXTERNAL, 4, 3600000);
    begin(r, 1);
    make_request(r, 4, true, &request);
    request.look = true;
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED); /* its answer comes after the look's */
    assert_int_equal(void_charges(r), 0);
    make_request(r, 3, true, &request);
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(void_charges(r), 1);
    store_forget(r->nodes[0].store, store_charge(r->nodes[0].store, &request, on_charge, r));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(void_charges(r), 1);
}

/* No name, however it is made, leaves its place; and nothing stays for ever. */
static void
all_keys_are_ours_and_mortal(void **state)
{
    static const char check[] = "local bad = 0 for _, k in ipairs(redis.call('KEYS', '*')) do"
        " if string.sub(k, 1, 20) ~= 'sendgov:{t%7B%7Dx}:g'"
        " and string.sub(k, 1, 19) ~= 'sendgov:{t%7B%7Dx}:' then bad = bad + 1 end"
        " if string.find(string.sub(k, 20), '[^%w:%%._@+=-]') then bad = bad + 1 end"
        " if redis.call('PTTL', k) < 7200000 then bad = bad + 1 end end return bad";
    struct rig *r = *state;

    add_limit(r, "hour {x}\n", LIMIT_WINDOW, UNIT_MESSAGES, 10, 3600000);
    r->limits[0].scope = SCOPE_SENDER;
    add_limit(r, "rate", LIMIT_RATE, UNIT_MESSAGES, 10, 60000);
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(take_lease(r, 0, 2));
    assert_true(cli(r, "KEYS *") >= 6);
    assert_int_equal(cli(r, "EVAL %s 0", check), 0);
}

static enum verdict_kind
charge_from(struct rig *r, const char *mail_from, uint32_t recipients)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .external = true,
        .least = recipients, .recipients = recipients, .bytes = 100};
    struct charge_request request;
    struct address sender;

    assert_int_equal(address_parse_plain(span_str(mail_from), &sender), ADDRESS_OK);
    s.sender = span_str(sender.text);
    s.sender_domain = address_domain(&sender);
    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, &request), 0);
    address_fini(&sender);
    r->answers = 0;
    store_charge(r->nodes[0].store, &request, on_charge, r);
    assert_true(turn_until(r, answered));
    return r->verdict.kind;
}

static void
one_sender_in_any_spelling(void **state)
{
    static const char *const spellings[] = {"scan@contoso.com", "SCAN@contoso.com", "Scan@CONTOSO.com",
        "\"scan\"@contoso.com", "\"S\\CAN\"@contoso.com."};
    const size_t n = sizeof(spellings) / sizeof(spellings[0]);
    struct pause p = {.scope = SCOPE_SENDER, .extent = PAUSE_ALL, .class = CLASS_BLOCK_SENDER,
        .reason = "550 5.1.8"};
    struct rig *r = *state;

    add_limit(r, "each", LIMIT_WINDOW, UNIT_RECIPIENTS, 6, 3600000);
    add_limit(r, "one", LIMIT_WINDOW, UNIT_RECIPIENTS, n, 3600000);
    r->limits[0].scope = r->limits[1].scope = SCOPE_SENDER;
    r->limits[1].only = "sCan@contoso.com";
    begin(r, 1);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(charge_from(r, spellings[i], 1), VERDICT_GRANTED);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(charge_from(r, spellings[i], 1), VERDICT_OVER);
        assert_ptr_equal(r->verdict.limit, &r->limits[1]);
        assert_string_equal(r->verdict.instance, "scan@contoso.com");
    }
    assert_int_equal(charge_from(r, "other@contoso.com", 6), VERDICT_GRANTED);
    plan_sender_instance(SPAN_LIT("Other@contoso.com"), p.instance);
    store_pause(r->nodes[0].store, &p, 0, NULL);
    assert_int_equal(charge_from(r, "oTHER@contoso.com", 1), VERDICT_PAUSED);
}

/* ---- new recipients ---- */

static struct charge_person people[1000];
static struct charge_person told[1000]; /* by the last grant: its first ones */

static void
on_people(void *arg, const struct verdict *v)
{
    if (v->people != NULL)
        memcpy(told, v->people, v->granted * sizeof(*told));
    on_charge(arg, v);
}

/* Of the persons from, from + 1, ... */
static struct charge_request
request_for(struct rig *r, unsigned from, uint32_t n)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"), .sender = SPAN_LIT("a@x"),
        .sender_domain = SPAN_LIT("x"), .external = true, .least = 1, .recipients = n, .bytes = 100};
    struct charge_request request;
    char address[64];

    assert_int_equal(plan_charge(r->limits, r->n_limits, &s, &request), 0);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(address, sizeof(address), "person%u@x.org", from + i);
        people[i] = (struct charge_person){.hash = known_person(span_str(address))};
    }
    request.people = people;
    return request;
}

/* How many are granted. */
static uint32_t
charge_people(struct rig *r, size_t node, unsigned from, uint32_t n)
{
    struct charge_request request = request_for(r, from, n);

    r->answers = 0;
    store_charge(r->nodes[node].store, &request, on_people, r);
    memset(people, 0, sizeof(people)); /* the store has its own */
    assert_true(turn_until(r, answered));
    return r->verdict.kind == VERDICT_GRANTED ? r->verdict.granted : 0;
}

static bool
is_refunded(struct rig *r)
{
    return metric_get(r->metrics, M_REFUNDS, NULL, NULL, NULL) > 0;
}

/* Nodes share whom an instance knows; the known go first; what was given back is new again. */
static void
strangers_are_counted_once(void **state)
{
    struct rig *r = *state;
    struct charge_request request;
    struct verdict granted;

    add_limit(r, "strangers", LIMIT_WINDOW, UNIT_NEW, 5, 3600000);
    r->limits[0].known_ms = 86400000;
    add_limit(r, "all", LIMIT_WINDOW, UNIT_RECIPIENTS, 1000, 3600000);
    begin(r, 2);
    assert_int_equal(charge_people(r, 0, 0, 3), 3);
    assert_int_equal(told[2].new_of, 1);
    assert_int_equal(charge_people(r, 1, 0, 3), 3);
    assert_int_equal(told[2].new_of, 0);
    assert_int_equal(charge_people(r, 1, 2, 4), 3); /* 2 is known; 3 and 4 make five */
    assert_ptr_equal(r->verdict.limit, &r->limits[0]);
    assert_int_equal(charge_people(r, 0, 5, 1), 0);
    assert_int_equal(r->verdict.kind, VERDICT_OVER);
    assert_int_equal(charge_people(r, 0, 0, 5), 5);
    assert_int_equal(use(r, 0, 0)->used, 5);
    r->limits[0].value = 1000;
    request = request_for(r, 10, 2);
    r->answers = 0;
    store_charge(r->nodes[0].store, &request, on_people, r);
    assert_true(turn_until(r, answered));
    granted = r->verdict;
    assert_int_equal(granted.granted, 2);
    memcpy(people, told, 2 * sizeof(*people));
    store_refund(r->nodes[0].store, &request, &granted);
    assert_true(turn_until(r, is_refunded));
    assert_int_equal(charge_people(r, 0, 10, 2), 2);
    assert_int_equal(told[0].new_of, 1);
    assert_int_equal(told[1].new_of, 1);
}

/* 40 000 persons take a bounded key, which goes by itself and holds no address. */
static void
what_is_known_is_bounded(void **state)
{
    static const char key[] = "sendgov:{t%7B%7Dx}:k:0:contoso";
    struct rig *r = *state;

    add_limit(r, "strangers", LIMIT_WINDOW, UNIT_NEW, 1000000, 3600000);
    r->limits[0].known_ms = 30 * INT64_C(86400000);
    begin(r, 1);
    for (unsigned from = 0; from < 40000; from += 1000)
        assert_int_equal(charge_people(r, 0, from, 1000), 1000);
    assert_int_equal(cli(r, "HLEN %s", key), KNOWN_BUCKETS);
    assert_true(cli(r, "MEMORY USAGE %s SAMPLES 0", key) < 450000);
    assert_true(cli(r, "PTTL %s", key) > 30 * INT64_C(86400000));
    assert_true(cli(r, "PTTL %s", key) <= 30 * INT64_C(86400000) + 7200000);
    assert_int_equal(charge_people(r, 0, 39000, 1000), 1000);
    assert_int_equal(told[999].new_of, 0);
}

static void
sender_instances_have_bounds(void **state)
{
    char long_address[INSTANCE_MAX + 1], instance[INSTANCE_MAX];

    (void)state;
    memset(long_address, 'A', sizeof(long_address));
    assert_true(plan_sender_instance(span_of(long_address, INSTANCE_MAX - 1), instance));
    assert_int_equal(strspn(instance, "a"), INSTANCE_MAX - 1);
    assert_false(plan_sender_instance(span_of(long_address, INSTANCE_MAX), instance));
    assert_int_equal(strlen(instance), INSTANCE_MAX - 1);
    assert_true(plan_sender_instance(SPAN_LIT(""), instance));
    assert_string_equal(instance, PLAN_NULL_SENDER);
}

/* ---- limits that a reload takes away ---- */

/* A configuration as its owner sees it: freed with the last reference. */
struct mortal {
    struct limit_conf *limits;
    unsigned references;
};

static void
mortal_ref(void *object)
{
    ((struct mortal *)object)->references++;
}

static void
mortal_unref(void *object)
{
    struct mortal *m = object;

    if (--m->references > 0)
        return;
    memset(m->limits, 0xa5, sizeof(*m->limits));
    free(m->limits);
    m->limits = NULL;
}

static struct owner
mortal_new(struct mortal *m, const struct limit_conf *limit)
{
    m->references = 1;
    m->limits = xmalloc(sizeof(*m->limits));
    *m->limits = *limit;
    return (struct owner){m, mortal_ref, mortal_unref};
}

static struct mortal mortal;

static bool
is_mortal_gone(struct rig *r)
{
    (void)r;
    return mortal.references == 0;
}

static struct handle
charge_mortal(struct rig *r, struct store *s)
{
    struct plan_subject subject = {.route = SPAN_LIT("contoso"), .client = SPAN_LIT("c"),
        .sender = SPAN_LIT("a@x"), .sender_domain = SPAN_LIT("x"), .external = true, .recipients = 1,
        .least = 1, .bytes = 100, .warmup_step = 1, .owner = mortal_new(&mortal, &r->limits[0])};
    struct charge_request request;

    assert_int_equal(plan_charge(mortal.limits, 1, &subject, &request), 0);
    return store_charge(s, &request, on_charge, r);
}

static struct handle
use_mortal(struct rig *r, struct store *s)
{
    struct owner owner = mortal_new(&mortal, &r->limits[0]);
    struct usage wanted = {.limit = mortal.limits, .owner = owner, .instance = "contoso"};

    return store_usage(s, &wanted, 1, on_usage, r);
}

static void
lose_before_the_answer(struct rig *r, struct store *s,
    struct handle (*ask_mortal)(struct rig *r, struct store *s))
{
    struct handle h;

    r->answers = 0;
    kill(r->server.pid, SIGSTOP);
    h = ask_mortal(r, s);
    loop_turn(r->loop, 0); /* it is sent; the store in memory has answered */
    store_forget(s, h);
    mortal_unref(&mortal);
    assert_int_equal(mortal.references, r->answers == 0 ? 1 : 0);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, is_mortal_gone));
}

static void
a_question_keeps_its_limits_until_the_answer(void **state)
{
    static const struct schedule_conf curve = {.name = "c", .first = 50, .growth_milli = 1400,
        .ceiling = LIMIT_UNLIMITED, .use_percent = 50};
    struct rig *r = *state;
    struct store *memory = store_memory_new(r->loop);

    add_limit(r, "warmup", LIMIT_WARMUP, UNIT_EXTERNAL, 0, 86400000);
    r->limits[0].schedule = &curve;
    r->limits[0].only = "contoso";
    begin(r, 1);
    lose_before_the_answer(r, r->nodes[0].store, charge_mortal);
    lose_before_the_answer(r, r->nodes[0].store, use_mortal);
    lose_before_the_answer(r, memory, charge_mortal);
    lose_before_the_answer(r, memory, use_mortal);
    r->answers = 0;
    use_mortal(r, memory); /* wanted, and asked by one who holds nothing */
    mortal_unref(&mortal);
    assert_int_equal(mortal.references, 1);
    assert_true(turn_until(r, answered));
    assert_true(turn_until(r, is_mortal_gone));
    store_free(&memory);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(counts_and_refuses),
        CASE(equal_charges_of_a_turn_are_one_question),
        CASE(exactly_the_cap_under_concurrency),
        CASE(survives_script_flush),
        CASE(refunds_once),
        CASE(a_forgotten_charge_is_void_once),
        CASE(all_keys_are_ours_and_mortal),
        CASE(one_sender_in_any_spelling),
        CASE(strangers_are_counted_once),
        CASE(what_is_known_is_bounded),
        cmocka_unit_test(sender_instances_have_bounds),
        CASE(a_question_keeps_its_limits_until_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
