/* Tests of the pool against a scripted peer: reuse, limits, slots, failures, TLS, reload, drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "tests/lib/upstream_world.h"

#define RULES(w, ...) \
    static const struct peer_rule rules_of_test[] = {__VA_ARGS__}; \
    (w)->peer.rules = rules_of_test; \
    (w)->peer.n_rules = sizeof(rules_of_test) / sizeof(*rules_of_test)

static struct upstream_status
status_of(struct world *w)
{
    struct upstream_status st[4];

    assert_int_equal(upstream_status(w->up, st, 4), 1);
    return st[0];
}

static void
check_accepted(const struct sending *s)
{
    assert_true(s->leased && s->done);
    assert_true(s->outcome.offered);
    assert_false(s->outcome.lost);
    assert_int_equal(s->outcome.phase, TX_DOT);
    for (size_t i = 0; i < s->tx.n_recipients; i++)
        assert_int_equal(s->results[i].fate, TX_ACCEPTED);
}

static bool
nobody_connected(struct world *w)
{
    return w->peer.open == 0;
}

static bool
slots_are_back(struct world *w)
{
    return w->slots_given == w->slots_taken;
}

/* ---- reuse ---- */

static void
test_reuse(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    for (uint32_t i = 0; i < 5; i++) {
        sending_init(&s, &w, 1000, 1);
        sending_start(&s, 5000);
        world_until(&w, &s.done);
        check_accepted(&s);
        assert_int_equal(s.caps.uses, i);
        sending_check_body(&s);
        if (i > 0)
            assert_int_equal(w.peer.reads_of_last, 2); /* MAIL to DATA; body and dot */
        sending_fini(&s);
    }
    assert_int_equal(w.peer.accepted, 1);
    assert_int_equal(w.peer.messages, 5);
    assert_true(s.caps.pipelining && s.caps.eightbitmime && !s.caps.tls && !s.caps.dsn);
    assert_int_equal(s.caps.size_max, 1000000);
    assert_string_equal(s.caps.peer, w.peer.target);
    world_stop(&w);
}

static void
test_messages_per_connection(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.route.messages_per_connection = 2;
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 5; i++) {
        send_one(&w, &s);
        check_accepted(&s);
    }
    assert_int_equal(w.peer.accepted, 3);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 2);
    world_stop(&w);
}

static void
test_age(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.route.age_ms = 100;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    world_pass(&w, 120);
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(w.peer.accepted, 2);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    world_stop(&w);
}

static void
test_idle_quits_and_gives_its_slot_back(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    w.route.idle_ms = 30;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(w.slots_taken, 1);
    assert_int_equal(w.slots_given, 0);
    assert_int_equal(status_of(&w).idle, 1);
    world_until_fn(&w, slots_are_back);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    world_until_fn(&w, nobody_connected);
    assert_int_equal(status_of(&w).idle, 0);
    world_stop(&w);
}

/* With the default of 30 s between messages: a second message finds the connection alone on this node, and
 * gone when others may wait for its slot. */
static void
test_idle_leaves_soon_when_other_nodes_live(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    world_pass(&w, 700);
    assert_int_equal(w.slots_given, 0);
    w.other_nodes = true;
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(w.peer.accepted, 1);
    world_until_fn(&w, slots_are_back); /* within ten seconds, not thirty */
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    world_stop(&w);
}

/* A node that comes while the connection rests must not wait for the 30 s that were right before. */
static void
test_idle_leaves_soon_when_another_node_comes(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    world_pass(&w, 100);
    w.other_nodes = true;
    world_until_fn(&w, slots_are_back);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    world_stop(&w);
}

/* QUIT unanswered: we hang up after 5 s at most, but the slot stays ours, since the peer may still count
 * us. */
static void
test_silent_quit_keeps_the_slot(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    RULES(&w, {"QUIT", 0, PEER_SILENT, NULL});
    w.uses_mailbox = true;
    w.route.messages_per_connection = 1;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    world_until_fn(&w, nobody_connected);
    assert_int_equal(w.slots_given, 0);
    world_stop(&w);
}

static void
test_closed_while_idle(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int round = 0; round < 3; round++) {
        send_one(&w, &s);
        check_accepted(&s);
        if (round == 2)
            peer_say_all(&w.peer, "421 4.4.2 idle too long\r\n");
        else
            peer_drop_all(&w.peer, round == 1);
        world_until_fn(&w, slots_are_back);
    }
    assert_int_equal(w.peer.accepted, 3);
    assert_int_equal(w.slots_taken, 3);
    assert_int_equal(status_of(&w).backoff_ms, 0);
    world_stop(&w);
}

/* It dies as it is used again: said so, and nothing else learns. */
static void
test_dead_on_reuse(void **state)
{
    struct world w;
    struct sending s;

    (void)state;
    world_start(&w);
    RULES(&w, {"MAIL", 2, PEER_RST, NULL}, {"MAIL", 4, PEER_FIN, NULL}, {"MAIL", 6, PEER_FIN, "250"});
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 1; i <= 6; i++) {
        send_one(&w, &s);
        if (i % 2 == 1) {
            check_accepted(&s);
            continue;
        }
        assert_true(s.outcome.lost && s.outcome.offered);
        assert_int_equal(s.outcome.lost_on_reuse, i != 6); /* there it had begun to answer */
        assert_int_equal(s.outcome.phase, TX_MAIL);
        assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
    }
    world_stop(&w);
}

static void
test_dead_while_leased(void **state)
{
    struct world w;
    struct sending s, other;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &other);
    sending_init(&s, &w, 1000, 1);
    s.holds = true;
    sending_start(&s, 5000);
    world_until(&w, &s.leased);
    assert_false(upstream_conn_is_dead(s.conn));
    peer_drop_all(&w.peer, true);
    assert_true(upstream_conn_is_dead(s.conn)); /* seen before the loop turns */
    upstream_release(&s.conn);
    sending_fini(&s);
    send_one(&w, &other); /* does not get the dead one */
    check_accepted(&other);
    sending_init(&s, &w, 1000, 1);
    s.holds = true;
    sending_start(&s, 5000);
    world_until(&w, &s.leased);
    peer_drop_all(&w.peer, true);
    world_until_fn(&w, nobody_connected);
    world_turn(&w, 3);
    assert_true(upstream_conn_is_dead(s.conn));
    sending_send(&s);
    assert_false(s.done); /* not during the call */
    world_until(&w, &s.done);
    assert_true(s.outcome.lost && s.outcome.lost_on_reuse);
    assert_false(s.outcome.offered);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
    sending_fini(&s);
    send_one(&w, &other);
    check_accepted(&other);
    world_stop(&w);
}

/* ---- many at once ---- */

static void
test_many_at_once_in_order(void **state)
{
    struct sending s[12];
    struct world w;

    (void)state;
    world_start(&w);
    w.route.pool_max = 3;
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 12; i++) {
        sending_init(&s[i], &w, 3000, 1);
        sending_start(&s[i], 5000);
    }
    for (int i = 0; i < 12; i++) {
        world_until(&w, &s[i].done);
        check_accepted(&s[i]);
        assert_int_equal(s[i].order, i + 1);
        sending_fini(&s[i]);
    }
    assert_true(w.peer.accepted <= 3);
    assert_int_equal(w.peer.messages, 12);
    world_stop(&w);
}

static void
test_lease_deadline(void **state)
{
    struct sending first, second, third;
    struct world w;

    (void)state;
    world_start(&w);
    w.route.pool_max = 1;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&first, &w, 1000, 1);
    first.holds = true;
    sending_start(&first, 5000);
    world_until(&w, &first.leased);
    sending_init(&second, &w, 1000, 1);
    sending_init(&third, &w, 1000, 1);
    sending_start(&second, 60);
    sending_start(&third, 5000);
    upstream_lease_cancel(w.up, third.lease);
    world_until(&w, &second.done);
    assert_true(second.failed && second.failure.timed_out);
    assert_int_equal(second.failure.phase, TX_CONNECT);
    upstream_release(&first.conn);
    world_turn(&w, 3);
    assert_false(third.leased || third.failed);
    assert_int_equal(status_of(&w).idle, 1);
    assert_int_equal(status_of(&w).waiting, 0);
    sending_fini(&first);
    sending_fini(&second);
    sending_fini(&third);
    world_stop(&w);
}

static bool
slot_was_denied(struct world *w)
{
    return w->slots_denied > 0;
}

static void
test_slots_of_other_nodes(void **state)
{
    struct sending first, second;
    struct world w;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    w.slots_free = 0;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&first, &w, 1000, 1);
    sending_init(&second, &w, 1000, 1);
    sending_start(&first, 5000);
    sending_start(&second, 100);
    world_until_fn(&w, slot_was_denied);
    world_until(&w, &second.done);
    assert_true(second.failed && second.failure.timed_out);
    assert_non_null(strstr(second.failure.detail, "relay@contoso.com"));
    assert_int_equal(w.peer.accepted, 0);
    w.slots_free = 1; /* another node let go */
    world_until(&w, &first.done);
    check_accepted(&first);
    sending_fini(&first);
    sending_fini(&second);
    world_stop(&w);
}

/* Our own connection is retired while another message was just told that no slot is free: it goes on as soon
 * as the slot is back, not at the next try. */
static void
test_a_slot_given_back_is_taken_up_at_once(void **state)
{
    struct sending s[4];
    struct world w;
    int64_t begun;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    w.slots_free = 1;
    w.route.messages_per_connection = 1;
    assert_int_equal(world_configure(&w, NULL), 0);
    begun = clock_mono_ms();
    for (int i = 0; i < 4; i++) {
        sending_init(&s[i], &w, 1000, 1);
        sending_start(&s[i], 5000);
    }
    for (int i = 0; i < 4; i++) {
        world_until(&w, &s[i].done);
        check_accepted(&s[i]);
        sending_fini(&s[i]);
    }
    assert_int_equal(w.peer.accepted, 4);
    assert_true(w.slots_denied > 0);
    assert_in_range(clock_mono_ms() - begun, 0, 199); /* a denial says 200 ms */
    world_stop(&w);
}

/* ---- failures ---- */

static void
test_refused_connect_backs_off(void **state)
{
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    listener_close(&w.peer.listener);
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    assert_true(s.failed);
    assert_int_equal(s.failure.phase, TX_CONNECT);
    assert_false(s.failure.timed_out);
    assert_int_not_equal(s.failure.detail[0], '\0');
    assert_in_range(s.failure.retry_after_ms, 1, 1200);
    assert_true(slots_are_back(&w));
    assert_int_equal(w.slots_taken, 1);
    send_one(&w, &s); /* at once, without another try */
    assert_true(s.failed);
    assert_in_range(s.failure.retry_after_ms, 1, 1200);
    assert_int_equal(w.slots_taken, 1);
    assert_true(status_of(&w).backoff_ms > 0);
    assert_int_not_equal(status_of(&w).last_error[0], '\0');
    assert_true(metric_get(w.metrics, M_UPSTREAM_CONNECTS, "connect", NULL, NULL) == 1);
    world_stop(&w);
}

static bool
backoff_is_over(struct world *w)
{
    return status_of(w).backoff_ms == 0;
}

static void
test_recovers_after_backoff(void **state)
{
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    RULES(&w, {"connect", 1, PEER_SAY, "554 5.3.2 not now\r\n"});
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    assert_true(s.failed);
    assert_int_equal(s.failure.reply.code, 554);
    assert_int_equal(s.failure.phase, TX_CONNECT);
    world_until_fn(&w, backoff_is_over);
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1); /* to the refusal */
    assert_int_equal(status_of(&w).last_error[0], '\0');
    world_stop(&w);
}

static void
test_auth(void **state)
{
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    RULES(&w, {"password", 1, PEER_SAY, "535 5.7.139 Authentication unsuccessful, basic authentication is "
                                        "disabled.\r\n"});
    w.uses_mailbox = true;
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 2; i++) {
        send_one(&w, &s);
        assert_true(s.failed);
        assert_int_equal(s.failure.phase, TX_AUTH);
        assert_int_equal(s.failure.reply.code, 535);
        assert_int_equal(s.failure.reply.enhanced.detail, 139);
        assert_null(strstr(s.failure.detail, "secret"));
    }
    assert_int_equal(w.peer.accepted, 1);
    world_until_fn(&w, backoff_is_over);
    send_one(&w, &s);
    check_accepted(&s);
    w.mailbox.auth = UPSTREAM_AUTH_PLAIN;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    check_accepted(&s);
    world_stop(&w);
}

/* Leases that wait do not all try their luck with a wrong password, and one of them is told first hand. */
static void
test_one_login_at_a_time_until_one_works(void **state)
{
    struct sending s[8];
    struct world w;
    unsigned first_hand = 0;

    (void)state;
    world_start(&w);
    RULES(&w, {"password", 0, PEER_SAY, "535 5.7.3 no\r\n"});
    w.uses_mailbox = true;
    w.route.pool_max = 8;
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 8; i++) {
        sending_init(&s[i], &w, 1000, 1);
        sending_start(&s[i], 5000);
    }
    for (int i = 0; i < 8; i++) {
        world_until(&w, &s[i].done);
        assert_true(s[i].failed);
        first_hand += !s[i].failure.repeated;
        sending_fini(&s[i]);
    }
    assert_int_equal(first_hand, 1);
    assert_int_equal(peer_count(&w.peer, "password"), 1);
    world_stop(&w);
}

static void
test_too_many_connections(void **state)
{
    struct sending s[4];
    struct world w;

    (void)state;
    world_start(&w);
    RULES(&w, {"connect", 2, PEER_FIN, "421 4.3.2 The maximum number of concurrent connections\r\n"},
        {"connect", 3, PEER_FIN, "421 4.3.2 The maximum number of concurrent connections\r\n"},
        {"connect", 4, PEER_FIN, "421 4.3.2 The maximum number of concurrent connections\r\n"});
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 4; i++) {
        sending_init(&s[i], &w, 1000, 1);
        sending_start(&s[i], 5000);
    }
    for (int i = 0; i < 4; i++) { /* all go, over the one that is open */
        world_until(&w, &s[i].done);
        check_accepted(&s[i]);
        sending_fini(&s[i]);
    }
    assert_true(status_of(&w).limit < 4);
    assert_int_equal(w.peer.messages, 4);
    world_stop(&w);
}

static void
test_slow_down(void **state)
{
    struct sending s[4];
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    for (int i = 0; i < 4; i++) {
        sending_init(&s[i], &w, 1000, 1);
        s[i].holds = true;
        sending_start(&s[i], 5000);
    }
    for (int i = 0; i < 4; i++)
        world_until(&w, &s[i].leased);
    assert_int_equal(w.peer.open, 4);
    upstream_slow_down(w.up, &w.route, NULL);
    assert_int_equal(status_of(&w).limit, 2);
    for (int i = 0; i < 4; i++) {
        upstream_release(&s[i].conn);
        sending_fini(&s[i]);
    }
    world_turn(&w, 5);
    assert_int_equal(status_of(&w).idle, 2);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 2);
    world_stop(&w);
}

/* ---- reload and drain ---- */

static void
test_reload(void **state)
{
    struct sending busy, s;
    struct route_conf old;
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    old = w.route; /* as a message has it that was planned before the reload */
    assert_int_equal(world_configure(&w, NULL), 0); /* the same: the connection stays */
    send_one(&w, &s);
    assert_int_equal(s.caps.uses, 1);
    sending_init(&busy, &w, 1000, 1);
    busy.holds = true;
    sending_start(&busy, 5000);
    world_until(&w, &busy.leased);
    w.route.pool_max = 1;
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s); /* a new pool, while the old one is busy */
    check_accepted(&s);
    assert_int_equal(s.caps.uses, 0);
    assert_int_equal(w.peer.accepted, 2);
    upstream_release(&busy.conn);
    world_turn(&w, 5);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    sending_fini(&busy);
    for (int round = 0; round < 2; round++) {
        sending_init(&s, &w, 1000, 1);
        s.route = &old;
        sending_start(&s, 5000);
        world_until(&w, &s.done);
        assert_int_equal(s.failed, round == 1);
        sending_fini(&s);
        old.name = "gone";
    }
    world_stop(&w);
}

/* A bad CA file: refused, and all stays as it was. */
static void
test_reload_refused(void **state)
{
    struct sending s;
    struct world w;
    struct err err;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    w.route.tls = UPSTREAM_TLS_STARTTLS;
    w.route.tls_ca_file = "/nonexistent/ca.pem";
    assert_int_equal(world_configure(&w, &err), -1);
    assert_int_not_equal(err.text[0], '\0');
    w.route.tls = UPSTREAM_TLS_OFF;
    w.route.tls_ca_file = NULL;
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(s.caps.uses, 1);
    world_stop(&w);
}

/* Another part refused the configuration: what was prepared goes, and nobody noticed. */
static void
test_reload_discarded(void **state)
{
    struct route_conf *other = xmalloc(sizeof(*other));
    struct upstream_plan *plan;
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    send_one(&w, &s);
    *other = w.route;
    other->upstream = "127.0.0.1:1";
    plan = upstream_prepare(other, 1, NULL, 0, NULL);
    assert_non_null(plan);
    upstream_discard(&plan);
    assert_null(plan);
    memset(other, 0xa5, sizeof(*other));
    free(other);
    send_one(&w, &s);
    check_accepted(&s);
    assert_int_equal(s.caps.uses, 1);
    world_stop(&w);
}

static void
test_mailbox_that_is_gone_is_not_none(void **state)
{
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    w.uses_mailbox = true;
    assert_int_equal(world_configure(&w, NULL), 0);
    assert_int_equal(upstream_configure(w.up, &w.route, 1, NULL, 0, NULL), 0);
    send_one(&w, &s);
    assert_true(s.failed);
    assert_int_equal(w.peer.accepted, 0);
    world_stop(&w);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
test_drain(void **state)
{
    struct sending busy, late;
    bool drained = false;
    struct world w;

    (void)state;
    world_start(&w);
    RULES(&w, {"dot", 1, PEER_SILENT, NULL});
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&busy, &w, 1000, 1);
    sending_start(&busy, 5000);
    while (peer_count(&w.peer, "dot") == 0)
        world_turn(&w, 1);
    upstream_drain(w.up, set_flag, &drained);
    sending_init(&late, &w, 1000, 1);
    sending_start(&late, 5000);
    world_until(&w, &late.done);
    assert_true(late.failed);
    world_turn(&w, 3);
    assert_false(drained || busy.done);
    peer_say_all(&w.peer, "250 2.0.0 at last\r\n");
    world_until(&w, &busy.done);
    check_accepted(&busy);
    world_until(&w, &drained);
    assert_int_equal(peer_count(&w.peer, "QUIT"), 1);
    sending_fini(&busy);
    sending_fini(&late);
    world_stop(&w);
}

static void
test_drain_of_nothing(void **state)
{
    bool drained = false;
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(world_configure(&w, NULL), 0);
    upstream_drain(w.up, set_flag, &drained);
    assert_false(drained);
    world_until(&w, &drained);
    world_stop(&w);
}

/* ---- TLS ---- */

static char pki[64];

/* $pki is the folder, $a and $b the arguments. */
static void
shell(const char *command, const char *a, const char *b)
{
    assert_int_equal(setenv("pki", pki, 1) | setenv("a", a, 1) | setenv("b", b, 1), 0);
    assert_int_equal(system(command), 0);
}

/* A CA, a certificate of it for 127.0.0.1, one for another name, one that has expired, and one of nobody. */
static int
make_pki(void **state)
{
    static const char ca[] = "cd $pki && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                             "-nodes -keyout $a.key -out $a.pem -days 10 -subj /CN=test "
                             "-addext subjectAltName=IP:127.0.0.1 2>/dev/null";
    static const char leaf[] = "cd $pki && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                               "-nodes -keyout leaf.key -subj /CN=leaf 2>/dev/null | "
                               "openssl x509 -req -CA ca.pem -CAkey ca.key "
                               "-CAcreateserial -extfile $a.ext -days $b -out leaf.pem 2>/dev/null";
    static const struct {
        const char *name, *ext, *days;
    } leaves[] = {{"good", "ip", "5"}, {"name", "dns", "5"}, {"expired", "ip", "-1"}};

    (void)state;
    snprintf(pki, sizeof(pki), "/tmp/sendgov-pki-XXXXXX");
    assert_non_null(mkdtemp(pki));
    shell(ca, "ca", "");
    shell(ca, "self", "");
    shell("cd $pki && echo subjectAltName=$a >ip.ext && echo subjectAltName=$b >dns.ext", "IP:127.0.0.1",
        "DNS:other.test");
    for (size_t i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
        shell(leaf, leaves[i].ext, leaves[i].days);
        shell("cd $pki && mv leaf.pem $a.pem && mv leaf.key $a.key", leaves[i].name, "");
    }
    return 0;
}

static int
drop_pki(void **state)
{
    (void)state;
    shell("rm -r $pki", "", "");
    return 0;
}

static void
serve_tls(struct world *w, const char *name)
{
    char cert[128], key[128];
    struct tls_server_conf conf = {.cert_file = cert, .key_file = key, .least = TLS_V1_2};
    struct err err;

    snprintf(cert, sizeof(cert), "%s/%s.pem", pki, name);
    snprintf(key, sizeof(key), "%s/%s.key", pki, name);
    w->peer.tls = tls_server_ctx_new(&conf, &err);
    assert_non_null(w->peer.tls);
}

static void
trust(struct world *w, enum upstream_tls tls, char ca[128])
{
    snprintf(ca, 128, "%s/ca.pem", pki);
    w->route.tls = tls;
    w->route.tls_ca_file = ca;
    assert_int_equal(world_configure(w, NULL), 0);
}

static void
test_tls_works(void **state)
{
    static const enum upstream_tls kinds[] = {UPSTREAM_TLS_STARTTLS, UPSTREAM_TLS_IMPLICIT};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sending s;
        struct world w;
        char ca[128];

        world_start(&w);
        serve_tls(&w, "good");
        w.peer.implicit = kinds[i] == UPSTREAM_TLS_IMPLICIT;
        w.uses_mailbox = true;
        w.route.idle_ms = 30;
        trust(&w, kinds[i], ca);
        for (int round = 0; round < 2; round++) {
            sending_init(&s, &w, 200000, 1);
            sending_start(&s, 5000);
            world_until(&w, &s.done);
            check_accepted(&s);
            sending_check_body(&s);
            sending_fini(&s);
        }
        assert_true(s.caps.tls);
        assert_memory_equal(s.caps.tls_text, "TLSv1.", 6);
        assert_int_equal(peer_count(&w.peer, "password"), 1);
        assert_false(w.peer.clear_secrets);
        world_until_fn(&w, slots_are_back);
        world_stop(&w);
    }
}

static void
check_no_tls(struct world *w, const char *reason)
{
    struct sending s;

    w->uses_mailbox = true;
    send_one(w, &s);
    assert_true(s.failed);
    assert_int_equal(s.failure.phase, TX_TLS);
    assert_int_equal(peer_count(&w->peer, "AUTH"), 0);
    assert_int_equal(peer_count(&w->peer, "MAIL"), 0);
    assert_false(w->peer.clear_secrets);
    if (metric_get(w->metrics, M_UPSTREAM_TLS_FAILURES, reason, NULL, NULL) != 1)
        print_message("%s: %s\n", reason, s.failure.detail);
    assert_true(metric_get(w->metrics, M_UPSTREAM_TLS_FAILURES, reason, NULL, NULL) == 1);
}

static void
test_tls_not_trusted(void **state)
{
    static const struct {
        const char *cert, *reason;
    } cases[] = {{"name", "name"}, {"expired", "expired"}, {"self", "self_signed"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        char ca[128];

        world_start(&w);
        w.uses_mailbox = true;
        serve_tls(&w, cases[i].cert);
        trust(&w, UPSTREAM_TLS_STARTTLS, ca);
        check_no_tls(&w, cases[i].reason);
        world_stop(&w);
    }
}

static void
test_starttls_stripped_or_refused(void **state)
{
    static const struct {
        struct peer_rule rule;
        const char *reason;
    } cases[] = {
        {{"EHLO", 0, PEER_SAY, "250-peer\r\n250 AUTH LOGIN PLAIN\r\n"}, "not_offered"},
        {{"STARTTLS", 0, PEER_SAY, "454 4.7.0 later\r\n"}, "refused"},
        {{"STARTTLS", 0, PEER_SAY, "500 no\r\n"}, "refused"},
        {{"STARTTLS", 0, PEER_SAY, "421 bye\r\n"}, "refused"},
        {{"STARTTLS", 0, PEER_SAY, "220 2.0.0 go\r\n250-evil\r\n250 AUTH PLAIN\r\n235 ok\r\n"}, "injection"},
        {{"STARTTLS", 0, PEER_FIN, "220 go\r\n"}, "handshake"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        char ca[128];

        world_start(&w);
        w.uses_mailbox = true;
        serve_tls(&w, "good");
        w.peer.rules = &cases[i].rule;
        w.peer.n_rules = 1;
        trust(&w, UPSTREAM_TLS_STARTTLS, ca);
        check_no_tls(&w, cases[i].reason);
        world_stop(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_messages_per_connection),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_idle_quits_and_gives_its_slot_back),
        cmocka_unit_test(test_idle_leaves_soon_when_other_nodes_live),
        cmocka_unit_test(test_idle_leaves_soon_when_another_node_comes),
        cmocka_unit_test(test_silent_quit_keeps_the_slot),
        cmocka_unit_test(test_closed_while_idle),
        cmocka_unit_test(test_dead_on_reuse),
        cmocka_unit_test(test_dead_while_leased),
        cmocka_unit_test(test_many_at_once_in_order),
        cmocka_unit_test(test_lease_deadline),
        cmocka_unit_test(test_slots_of_other_nodes),
        cmocka_unit_test(test_a_slot_given_back_is_taken_up_at_once),
        cmocka_unit_test(test_refused_connect_backs_off),
        cmocka_unit_test(test_recovers_after_backoff),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_one_login_at_a_time_until_one_works),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_slow_down),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_refused),
        cmocka_unit_test(test_reload_discarded),
        cmocka_unit_test(test_mailbox_that_is_gone_is_not_none),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_of_nothing),
        cmocka_unit_test(test_tls_works),
        cmocka_unit_test(test_tls_not_trusted),
        cmocka_unit_test(test_starttls_stripped_or_refused),
    };

    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
