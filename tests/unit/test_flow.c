/* flow: one message from submission to settlement, with the real upstream pool against a scripted peer and
 * the in-memory store. After each: what the client heard, what the upstream saw, what the store counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/flow/connections.h"
#include "relay/flow/overshoot.h"
#include "relay/upstream/slot.h"
#include "tests/lib/flow_scene.h"

#define HOUR_MS 3600000

/* ---- decisions ---- */

static void
test_granted_is_relayed(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    assert_int_equal(scene_relay(&s, 3), 250);
    assert_int_equal(scene_used(&s), 3);
    assert_int_equal(s.w.peer.messages, 1);
    assert_true(scene_count(&s, M_MESSAGES, "relayed") == 1);
    assert_true(scene_count(&s, M_OVERSHOOT, NULL) == 0);
    assert_true(scene_count(&s, M_REFUNDS, NULL) == 0);
    scene_stop(&s);
}

static void
test_over_names_the_limit(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 3, HOUR_MS, NULL, 0);
    assert_int_equal(scene_relay(&s, 2), 250);
    for (int i = 0; i < 2; i++) { /* by the store, then by what was learned */
        assert_int_equal(scene_relay(&s, 2), 451);
        assert_non_null(strstr(s.answer.text, "limit external-hour"));
        assert_non_null(strstr(s.answer.text, "used 2 of 3"));
        assert_non_null(strstr(s.answer.text, "retry after"));
    }
    assert_int_equal(scene_used(&s), 2);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 1);
    assert_int_equal(scene_relay(&s, 1), 250); /* less still fits */
    assert_int_equal(scene_used(&s), 3);
    scene_stop(&s);
}

static void
test_impossible_is_for_good(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 1, HOUR_MS, NULL, 0);
    assert_int_equal(scene_relay(&s, 2), 452);
    assert_non_null(strstr(s.answer.text, "send fewer at a time"));
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 0);
    scene_stop(&s);
}

static void
test_paused_is_not_asked(void **state)
{
    struct pause pause = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .reason = "by hand"};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    store_pause(s.store, &pause, 0, NULL);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_non_null(strstr(s.answer.text, "by hand"));
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(s.w.peer.accepted, 0);
    scene_stop(&s);
}

static void
foretell(struct scene *s, const struct client_conf *client, unsigned recipients, enum explain_outcome outcome,
    struct explained *out)
{
    struct envelope e;

    envelope_init(&e);
    scene_fill_envelope(&e, recipients);
    scene_explain(s, client, &e, NULL, out);
    envelope_fini(&e);
    assert_int_equal(out->outcome, outcome);
}

/* Foretold is what then happens, in the same words, and nothing is charged for it. */
static void
test_foretold_is_what_happens(void **state)
{
    struct pause pause = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .reason = "by hand"};
    struct explained x;
    struct scene s;

    (void)state;
    scene_start(&s, 3, HOUR_MS, NULL, 0);
    foretell(&s, &scene_client, 3, EXPLAIN_RELAYED, &x);
    assert_int_equal(x.why.code, 0);
    foretell(&s, &scene_client, 4, EXPLAIN_REFUSED, &x);
    assert_int_equal(x.answer.code, 452);
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(scene_relay(&s, 2), 250);
    foretell(&s, &scene_client, 2, EXPLAIN_REFUSED, &x);
    assert_int_equal(scene_relay(&s, 2), 451);
    assert_string_equal(x.answer.text, s.answer.text);
    store_pause(s.store, &pause, 0, NULL);
    foretell(&s, &scene_client, 1, EXPLAIN_REFUSED, &x);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_string_equal(x.answer.text, s.answer.text);
    assert_int_equal(scene_used(&s), 2);
    assert_true(scene_count(&s, M_DECISIONS, "granted") + scene_count(&s, M_MESSAGES, "relayed") <= 2);
    scene_stop(&s);
}

/* Whom the sender knows passes although the limit of new recipients is full. */
static void
test_foretold_of_strangers(void **state)
{
    struct explained x;
    struct scene s;

    (void)state;
    scene_start(&s, 2, HOUR_MS, NULL, 0);
    s.limit.unit = UNIT_NEW;
    s.limit.known_ms = 86400000;
    assert_int_equal(scene_relay(&s, 2), 250);
    foretell(&s, &scene_client, 2, EXPLAIN_RELAYED, &x);
    foretell(&s, &scene_client, 3, EXPLAIN_REFUSED, &x);
    assert_int_equal(scene_relay(&s, 2), 250);
    assert_int_equal(scene_used(&s), 2);
    scene_stop(&s);
}

/* Where the rest cannot be held there is no second transaction. */
static void
test_foretold_for_the_rest(void **state)
{
    const struct recipient in = {.class = RECIPIENT_INTERNAL}, out = {.class = RECIPIENT_EXTERNAL};
    struct envelope e;
    struct explained x;
    struct scene s;

    (void)state;
    scene_start(&s, 3, HOUR_MS, NULL, 0);
    envelope_init(&e);
    scene_fill_envelope(&e, 1);
    scene_explain(&s, &scene_client, &e, NULL, &x);
    assert_int_equal(x.outcome, EXPLAIN_RELAYED);
    scene_explain(&s, &scene_client, &e, &in, &x);
    assert_int_equal(x.outcome, EXPLAIN_REFUSED);
    assert_int_equal(x.answer.code, 452);
    assert_non_null(strstr(x.answer.text, "separate transactions"));
    scene_explain(&s, &scene_client, &e, &out, &x);
    assert_int_equal(x.outcome, EXPLAIN_REFUSED);
    assert_null(strstr(x.answer.text, "inside and outside")); /* it is the domain that parts them */
    envelope_fini(&e);
    scene_stop(&s);
}

static void
test_block_pauses_what_follows(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SAY, "550 5.7.708 access denied\r\n"}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_int_equal(scene_used(&s), 1); /* offered is spent */
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_non_null(strstr(s.answer.text, "5.7.708"));
    assert_int_equal(scene_used(&s), 1);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 1);
    scene_stop(&s);
}

static void
pause_others(struct scene *s, enum limit_scope scope, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pause p = {.scope = scope, .extent = PAUSE_ALL, .reason = "x"};

        snprintf(p.instance, sizeof(p.instance), "other%zu", i);
        assert_int_equal(store_pause(s->store, &p, 0, NULL), PAUSE_SET);
    }
}

static void
test_no_place_for_a_pause_is_none(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SAY, "550 5.7.708 access denied\r\n"}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    pause_others(&s, SCOPE_ROUTE, 150);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_non_null(strstr(s.answer.text, "the upstream said: 550 5.7.708 access denied"));
    assert_null(strstr(s.answer.text, "paused"));
    assert_int_equal(scene_relay(&s, 1), 250);
    scene_stop(&s);
}

static void
test_the_answer_names_who_is_paused_instead(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SAY, "550 5.1.8 bad outbound sender\r\n"}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    pause_others(&s, SCOPE_SENDER, 300);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_non_null(strstr(s.answer.text, "mail of client "));
    assert_non_null(strstr(s.answer.text, "is paused until an operator resumes it, because"));
    scene_stop(&s);
}

/* The store's clock dates and ends a pause. Here it is years behind this machine's: by that one the pause
 * would last as long. */
static void
test_a_timed_pause_ends_by_the_stores_clock(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 1, PEER_SAY,
        "530 5.7.57 client not authenticated\r\n"}};
    const struct pause *pauses;
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_int_equal(store_pauses(s.store, &pauses), 1);
    assert_int_equal(pauses[0].since_utc_ms, store_now_ms(s.store));
    store_memory_advance(s.store, 14 * 60 * 1000);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_non_null(strstr(s.answer.text, "5.7.57"));
    store_memory_advance(s.store, 61 * 1000);
    assert_int_equal(scene_relay(&s, 1), 250);
    scene_stop(&s);
}

static void
on_looked(void *arg, const struct flow_refusal *refusal)
{
    static const struct reply go_on;

    scene_on_answer(arg, refusal != NULL ? &refusal->reply : &go_on);
    if (refusal != NULL)
        assert_string_equal(refusal->end.letters, "Gb");
}

static void
test_look_takes_nothing(void **state)
{
    struct envelope e;
    struct flow_look look;
    struct scene s;

    (void)state;
    scene_start(&s, 1, HOUR_MS, NULL, 0);
    envelope_init(&e);
    scene_fill_envelope(&e, 1);
    look = (struct flow_look){.config = s.config, .client = &scene_client, .route = &s.w.route,
        .envelope = &e};
    flow_look(s.flow, &look, on_looked, &s);
    scene_finish(&s);
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.answer.code, 0);
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(scene_relay(&s, 1), 250);
    flow_look(s.flow, &look, on_looked, &s);
    scene_finish(&s);
    assert_int_equal(s.answers, 3);
    assert_int_equal(s.answer.code, 451);
    assert_int_equal(scene_used(&s), 1);
    envelope_fini(&e);
    scene_stop(&s);
}

/* ---- recipients ---- */

static void
test_one_refused_recipient_stops_all(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 2, PEER_SAY, "550 5.1.1 no such user\r\n"}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 3), 550);
    assert_non_null(strstr(s.answer.text, "b@x.org"));
    assert_int_equal(peer_count(&s.w.peer, "DATA"), 0);
    assert_int_equal(scene_used(&s), 3);
    assert_int_equal(scene_relay(&s, 1), 250); /* on the same connection */
    assert_int_equal(peer_count(&s.w.peer, "RSET"), 1);
    assert_int_equal(s.w.peer.accepted, 1);
    assert_int_equal(s.w.peer.messages, 1);
    assert_int_equal(scene_used(&s), 4);
    scene_stop(&s);
}

/* ---- connections that go ---- */

static void
drop_connections(struct scene *s)
{
    peer_drop_all(&s->w.peer, true);
}

static void
test_dead_before_mail_is_refunded(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    scene_meddle(&s, CONN_LEASED, drop_connections);
    assert_int_equal(scene_relay(&s, 2), 250);
    assert_true(s.meddler.done);
    assert_true(scene_count(&s, M_REFUNDS, NULL) == 1);
    assert_int_equal(scene_used(&s), 2);
    assert_int_equal(s.w.peer.accepted, 2);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 1);
    scene_stop(&s);
}

static void
test_lost_on_reuse_is_charged_again(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_RST, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 1), 250);
    assert_int_equal(scene_relay(&s, 2), 250);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 3);
    assert_int_equal(s.w.peer.messages, 2);
    assert_int_equal(scene_used(&s), 1 + 2 + 2);
    assert_true(scene_count(&s, M_REFUNDS, NULL) == 0);
    assert_true(scene_count(&s, M_MESSAGES, "relayed") == 2);
    scene_stop(&s);
}

static void
test_lost_on_reuse_without_budget_for_more(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_RST, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 2, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 1), 250);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 2);
    assert_int_equal(scene_used(&s), 2);
    scene_stop(&s);
}

static void
test_no_connection_is_not_charged(void **state)
{
    static const struct peer_rule rules[] = {{"connect", 0, PEER_FIN, "554 go away\r\n"}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    assert_int_equal(scene_relay(&s, 1), 451);
    assert_int_equal(scene_used(&s), 0);
    scene_stop(&s);
}

/* ---- charges that age ---- */

static void
stall(struct scene *s)
{
    int64_t end = clock_mono_ms() + 2 * (int64_t)s->limit.period_ms / 40;

    while (clock_mono_ms() <= end)
        ;
}

/* The in-memory store takes the turn's time; without the connection the next try is in a later turn. */
static void
stall_and_drop(struct scene *s)
{
    stall(s);
    drop_connections(s);
}

/* The answer comes when the charge is no good any more: it goes back, since nothing was offered, and another
 * is taken. */
static void
test_late_answer_is_void(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, 4000, NULL, 0);
    scene_meddle(&s, CONN_LEASED, stall_and_drop);
    assert_int_equal(scene_relay(&s, 1), 250);
    assert_true(s.meddler.done);
    assert_true(scene_count(&s, M_CHARGES_VOID, "late") == 1);
    assert_true(metric_get(s.w.metrics, M_DECISIONS, "no_decision", "timeout", NULL) == 1);
    assert_true(scene_count(&s, M_OVERSHOOT, NULL) == 0);
    assert_int_equal(scene_used(&s), 1);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 1);
    scene_stop(&s);
}

static void
stall_behind_mail(struct scene *s)
{
    assert_true(peer_unread(&s->w.peer) > 0);
    stall(s);
}

/* MAIL is gone when it was handed over: a turn that stalls behind it, longer than the charge is good for,
 * makes nothing leave late. */
static void
test_a_stall_after_the_offer_makes_nothing_late(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, 4000, NULL, 0);
    scene_meddle(&s, CONN_BUSY, stall_behind_mail);
    assert_int_equal(scene_relay(&s, 1), 250);
    assert_true(s.meddler.done);
    assert_true(scene_count(&s, M_OVERSHOOT, NULL) == 0);
    scene_stop(&s);
}

static void
test_overshoot_is_counted(void **state)
{
    struct metrics *metrics = metrics_new();
    struct charge_request request = {.lifetime_ms = 1000};
    struct verdict verdict = {.kind = VERDICT_GRANTED, .granted = 1, .sent_mono_ms = clock_mono_ms()};
    struct offer offer = {"id", 1, &request, &verdict};

    (void)state;
    overshoot_watch(metrics, &offer);
    assert_true(metric_get(metrics, M_OVERSHOOT, NULL, NULL, NULL) == 0);
    verdict.sent_mono_ms -= 1001;
    overshoot_watch(metrics, &offer);
    assert_true(metric_get(metrics, M_OVERSHOOT, NULL, NULL, NULL) == 1);
    metrics_free(&metrics);
}

static void
test_what_covers_an_offer(void **state)
{
    struct charge_request request = {.lifetime_ms = 1000};
    struct verdict verdict = {.kind = VERDICT_GRANTED, .granted = 2, .sent_mono_ms = 5000};
    struct offer offer = {"id", 2, &request, &verdict};

    (void)state;
    assert_null(overshoot_reason(&offer, 6000));
    assert_non_null(overshoot_reason(&offer, 6001));
    offer.n_recipients = 3;
    assert_non_null(overshoot_reason(&offer, 5000));
    offer.n_recipients = 2;
    request.look = true;
    assert_non_null(overshoot_reason(&offer, 5000));
    request.look = false;
    verdict.kind = VERDICT_NO_DECISION;
    assert_non_null(overshoot_reason(&offer, 5000));
}

/* ---- clients that leave ---- */

static void
forget(struct scene *s)
{
    flow_forget(s->flow, s->job);
}

static void
test_forget_before_the_start(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    scene_submit(&s, 1);
    forget(&s);
    assert_true(scene_is_over(&s));
    forget(&s); /* a handle of nobody */
    world_turn(&s.w, 3);
    assert_int_equal(s.answers, 0);
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(s.w.peer.accepted, 0);
    assert_true(scene_count(&s, M_MESSAGES, "deferred") == 1);
    scene_stop(&s);
}

static void
test_forget_while_leasing(void **state)
{
    static const struct peer_rule rules[] = {{"EHLO", 1, PEER_SILENT, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    scene_submit(&s, 1);
    scene_until_seen(&s, "EHLO", 1);
    forget(&s);
    assert_true(scene_is_over(&s));
    peer_say_all(&s.w.peer, "250 peer\r\n");
    world_turn(&s.w, 5);
    assert_int_equal(s.answers, 0);
    assert_int_equal(scene_used(&s), 0);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 0);
    scene_stop(&s);
}

static void
test_forget_while_charging(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    scene_meddle(&s, CONN_LEASED, forget);
    scene_submit(&s, 1);
    scene_finish(&s);
    assert_true(s.meddler.done);
    assert_int_equal(s.answers, 0);
    assert_int_equal(scene_used(&s), 1); /* not proven unused: it stays */
    assert_true(scene_count(&s, M_CHARGES_VOID, "forgotten") == 1);
    assert_true(scene_count(&s, M_CHARGES_VOID, "client_left") == 0); /* once is enough */
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 0);
    assert_int_equal(scene_relay(&s, 1), 250); /* on the connection it gave back */
    assert_int_equal(s.w.peer.accepted, 1);
    scene_stop(&s);
}

static void
test_forget_while_sending_runs_on(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    scene_submit(&s, 1);
    scene_until_seen(&s, "dot", 1);
    forget(&s);
    assert_false(scene_is_over(&s));
    peer_say_all(&s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&s);
    assert_int_equal(s.answers, 0);
    assert_int_equal(scene_used(&s), 1);
    assert_true(scene_count(&s, M_MESSAGES, "relayed") == 1);
    scene_stop(&s);
}

/* Nobody waits for the answer: another try could only become a second copy of what the client sends again. */
static void
test_forgotten_is_not_tried_again(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_SILENT, NULL}, {"RCPT", 2, PEER_SILENT, NULL},
        {"RCPT", 3, PEER_SILENT, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 3);
    assert_int_equal(scene_relay(&s, 1), 250);
    scene_submit(&s, 2);
    scene_until_seen(&s, "RCPT", 3);
    forget(&s);
    peer_drop_all(&s.w.peer, true);
    scene_finish(&s);
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.w.peer.messages, 1);
    assert_int_equal(peer_count(&s.w.peer, "MAIL"), 2);
    assert_int_equal(scene_used(&s), 1 + 2);
    assert_true(scene_count(&s, M_MESSAGES, "deferred") == 1);
    scene_stop(&s);
}

static void
test_end_of_the_daemon(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, rules, 1);
    scene_submit(&s, 1);
    scene_until_seen(&s, "dot", 1);
    flow_free(&s.flow);
    assert_int_equal(s.answers, 0);
    assert_true(scene_count(&s, M_UNCERTAIN, NULL) == 1);
    upstream_free(&s.w.up); /* in the daemon's order */
    scene_stop(&s);
}

/* ---- connection slots ---- */

static void
count_slot(void *arg, bool granted, uint64_t slot, int64_t retry_after_ms)
{
    unsigned *n = arg;

    (void)slot;
    (void)retry_after_ms;
    *n += granted ? 1 : 100;
}

static void
ask_slot(struct slot_keeper *keeper, unsigned *n)
{
    slot_ask(keeper, SCOPE_MAILBOX, "relay@contoso.com", 1, count_slot, n);
}

/* Whoever asked is gone before the answer, at a reload or at the end: nobody is told, nothing of the question
 * stays, and the slot is free for the next one. */
static void
test_slot_question_ends_with_the_asker(void **state)
{
    struct upstream_slots slots;
    struct slot_keeper keeper;
    unsigned unheard = 0, heard = 0;
    struct scene s;

    (void)state;
    scene_start(&s, 10, HOUR_MS, NULL, 0);
    slots = connections_of(s.store);
    slot_keeper_init(&keeper, s.w.loop, &slots);
    ask_slot(&keeper, &unheard);
    slot_cancel(&keeper, &unheard);
    assert_true(list_is_empty(&keeper.asks));
    ask_slot(&keeper, &unheard);
    slot_keeper_fini(&keeper);
    assert_true(list_is_empty(&keeper.asks));
    slot_keeper_init(&keeper, s.w.loop, &slots);
    ask_slot(&keeper, &heard);
    world_turn(&s.w, 2);
    assert_int_equal(heard, 1);
    assert_int_equal(unheard, 0);
    ask_slot(&keeper, &unheard);
    slot_keeper_fini(&keeper); /* and the store ends in the same turn */
    scene_stop(&s);
    assert_int_equal(unheard, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_granted_is_relayed),
        cmocka_unit_test(test_over_names_the_limit),
        cmocka_unit_test(test_impossible_is_for_good),
        cmocka_unit_test(test_paused_is_not_asked),
        cmocka_unit_test(test_foretold_is_what_happens),
        cmocka_unit_test(test_foretold_of_strangers),
        cmocka_unit_test(test_foretold_for_the_rest),
        cmocka_unit_test(test_block_pauses_what_follows),
        cmocka_unit_test(test_no_place_for_a_pause_is_none),
        cmocka_unit_test(test_the_answer_names_who_is_paused_instead),
        cmocka_unit_test(test_a_timed_pause_ends_by_the_stores_clock),
        cmocka_unit_test(test_look_takes_nothing),
        cmocka_unit_test(test_one_refused_recipient_stops_all),
        cmocka_unit_test(test_dead_before_mail_is_refunded),
        cmocka_unit_test(test_lost_on_reuse_is_charged_again),
        cmocka_unit_test(test_lost_on_reuse_without_budget_for_more),
        cmocka_unit_test(test_no_connection_is_not_charged),
        cmocka_unit_test(test_late_answer_is_void),
        cmocka_unit_test(test_a_stall_after_the_offer_makes_nothing_late),
        cmocka_unit_test(test_overshoot_is_counted),
        cmocka_unit_test(test_what_covers_an_offer),
        cmocka_unit_test(test_forget_before_the_start),
        cmocka_unit_test(test_forget_while_leasing),
        cmocka_unit_test(test_forget_while_charging),
        cmocka_unit_test(test_forget_while_sending_runs_on),
        cmocka_unit_test(test_forgotten_is_not_tried_again),
        cmocka_unit_test(test_end_of_the_daemon),
        cmocka_unit_test(test_slot_question_ends_with_the_asker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
