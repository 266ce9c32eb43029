/* Tests of one transaction over a real socket against a peer that fails at each step, floods, answers
 * nonsense, mixes its answers or does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "tests/lib/upstream_world.h"

/* One message under these rules; the world is left to look at. */
static void
send_under(struct world *w, struct sending *s, const struct peer_rule *rules, size_t n, size_t bytes,
    size_t recipients)
{
    world_start(w);
    w->peer.rules = rules;
    w->peer.n_rules = n;
    w->uses_mailbox = true;
    assert_int_equal(world_configure(w, NULL), 0);
    sending_init(s, w, bytes, recipients);
    sending_start(s, 5000);
    world_until(w, &s->done);
}

static void
end_world(struct world *w, struct sending *s)
{
    sending_fini(s);
    world_stop(w);
}

/* Where the connection goes, and what is then known of a message to two. */
struct drop {
    const char *step;
    unsigned nth;
    const char *says; /* before it goes */
    enum tx_phase phase;
    enum tx_fate first, second;
};

static const struct drop drops[] = {
    {"connect", 1, NULL, TX_CONNECT, 0, 0},
    {"connect", 1, "220 pe", TX_CONNECT, 0, 0},
    {"EHLO", 1, NULL, TX_CONNECT, 0, 0},
    {"EHLO", 1, "250-half\r\n", TX_CONNECT, 0, 0},
    {"AUTH", 1, NULL, TX_AUTH, 0, 0},
    {"user", 1, NULL, TX_AUTH, 0, 0},
    {"password", 1, NULL, TX_AUTH, 0, 0},
    {"MAIL", 1, NULL, TX_MAIL, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"MAIL", 1, "250 2.1", TX_MAIL, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"RCPT", 1, NULL, TX_RCPT, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"RCPT", 2, NULL, TX_RCPT, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"DATA", 1, NULL, TX_DATA, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"DATA", 1, "354", TX_DATA, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_NOW},
    {"dot", 1, NULL, TX_DOT, TX_UNCERTAIN, TX_UNCERTAIN},
    {"dot", 1, "2", TX_DOT, TX_UNCERTAIN, TX_UNCERTAIN},
    {"dot", 1, "250-queued\r\n250 ok", TX_DOT, TX_UNCERTAIN, TX_UNCERTAIN},
};

static void
check_drop(const struct drop *d, enum peer_act act)
{
    struct peer_rule rule = {d->step, d->nth, act, d->says};
    struct sending s;
    struct world w;

    send_under(&w, &s, &rule, 1, 1000, 2);
    if (d->phase <= TX_AUTH) {
        assert_true(s.failed);
        assert_int_equal(s.failure.phase, d->phase);
        assert_false(s.failure.timed_out);
    } else {
        assert_true(s.leased && s.outcome.lost && s.outcome.offered);
        assert_false(s.outcome.lost_on_reuse);
        /* a reset takes the earlier replies of the same piece with it */
        assert_int_equal(s.outcome.phase, act == PEER_RST && d->phase < TX_BODY ? TX_MAIL : d->phase);
        assert_int_equal(s.outcome.reply.code, 0);
        assert_int_not_equal(s.outcome.detail[0], '\0');
        assert_int_equal(s.results[0].fate, d->first);
        assert_int_equal(s.results[1].fate, d->second);
    }
    assert_int_equal(w.slots_given, 1); /* the peer closed: proven */
    assert_int_equal(w.peer.messages, 0);
    end_world(&w, &s);
}

static void
test_dropped_at_each_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(drops) / sizeof(*drops); i++) {
        check_drop(&drops[i], PEER_FIN);
        if (drops[i].says == NULL)
            check_drop(&drops[i], PEER_RST);
    }
}

/* In the middle of a body that is larger than all buffers: the dot has not left, nothing is uncertain. */
static void
test_dropped_in_the_body(void **state)
{
    static const struct peer_rule rules[] = {{"body", 1, PEER_RST, NULL}};
    struct sending s;
    struct world w;

    (void)state;
    send_under(&w, &s, rules, 1, 8000000, 1);
    assert_true(s.outcome.lost);
    assert_int_equal(s.outcome.phase, TX_BODY);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
    end_world(&w, &s);
}

static void
test_421_at_each_step(void **state)
{
    static const struct {
        const char *step;
        enum tx_phase phase;
    } steps[] = {{"connect", TX_CONNECT}, {"EHLO", TX_CONNECT}, {"AUTH", TX_AUTH}, {"user", TX_AUTH},
        {"password", TX_AUTH}, {"MAIL", TX_MAIL}, {"RCPT", TX_RCPT}, {"DATA", TX_DATA}, {"dot", TX_DOT}};

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct peer_rule rule = {steps[i].step, 1, PEER_SAY, "421 4.3.0 closing\r\n"};
        struct sending s;
        struct world w;

        send_under(&w, &s, &rule, 1, 1000, 1);
        if (steps[i].phase <= TX_AUTH) {
            assert_true(s.failed);
            assert_int_equal(s.failure.reply.code, 421);
            assert_int_equal(s.failure.phase, steps[i].phase);
        } else {
            assert_false(s.outcome.lost);
            assert_int_equal(s.outcome.phase, steps[i].phase);
            assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
            assert_int_equal(s.results[0].reply.code, 421);
        }
        assert_int_equal(w.slots_given, 1);
        world_turn(&w, 3);
        assert_int_equal(w.peer.open, 0); /* retired */
        end_world(&w, &s);
    }
}

/* Silence, and a reply that comes drop by drop: each wait ends. */
static void
test_silence_at_each_step(void **state)
{
    static const struct {
        const char *step;
        enum tx_phase phase;
        enum tx_fate fate;
    } steps[] = {{"connect", TX_CONNECT, 0}, {"EHLO", TX_CONNECT, 0}, {"password", TX_AUTH, 0},
        {"MAIL", TX_MAIL, TX_REFUSED_FOR_NOW}, {"RCPT", TX_RCPT, TX_REFUSED_FOR_NOW},
        {"DATA", TX_DATA, TX_REFUSED_FOR_NOW}, {"dot", TX_DOT, TX_UNCERTAIN}};

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct peer_rule rule = {steps[i].step, 1, PEER_SILENT, NULL};
        struct sending s;
        struct world w;

        world_start(&w);
        w.peer.rules = &rule;
        w.peer.n_rules = 1;
        w.peer.ehlo = "250-peer\r\n250 AUTH LOGIN\r\n"; /* command by command */
        w.uses_mailbox = true;
        w.route.reply_ms = w.route.data_ms = w.route.dot_ms = 60;
        assert_int_equal(world_configure(&w, NULL), 0);
        sending_init(&s, &w, 1000, 1);
        sending_start(&s, 5000);
        for (int n = 0; n < 500 && !s.done; n++) {
            world_pass(&w, 10);
            if (peer_count(&w.peer, steps[i].step) > 0)
                peer_say_all(&w.peer, i % 2 == 0 ? "250-x\r\n" : n % 2 == 0 ? "2" : "");
        }
        assert_true(s.done);
        if (steps[i].phase <= TX_AUTH) {
            assert_true(s.failed);
            assert_int_equal(s.failure.phase, steps[i].phase);
        } else {
            assert_true(s.outcome.lost);
            assert_int_equal(s.outcome.phase, steps[i].phase);
            assert_int_equal(s.results[0].fate, steps[i].fate);
        }
        assert_int_equal(w.slots_given, 0); /* not proven closed: the slot lingers */
        world_turn(&w, 3);
        assert_int_equal(w.peer.open, 0);
        end_world(&w, &s);
    }
}

static void
test_flood(void **state)
{
    static const char *const steps[] = {"connect", "EHLO", "MAIL", "dot"};
    char *flood = xcalloc(1, 200001), *endless = xcalloc(1, 200001);

    (void)state;
    for (size_t i = 0; i < 200000; i += 8)
        memcpy(flood + i, "250-abc\n", 8);
    memset(endless, 'x', 200000);
    memcpy(endless, "250 ", 4);
    for (size_t i = 0; i < 2 * sizeof(steps) / sizeof(*steps); i++) {
        struct peer_rule rule = {steps[i / 2], 1, PEER_SAY, i % 2 == 0 ? flood : endless};
        struct sending s;
        struct world w;

        if (i == 0)
            memcpy(flood, "220-abc\n", 8); /* differs from the rest: no reply either */
        send_under(&w, &s, &rule, 1, 1000, 1);
        assert_true(s.failed || s.outcome.lost);
        if (!s.failed)
            assert_int_equal(s.results[0].fate, i / 2 == 3 ? TX_UNCERTAIN : TX_REFUSED_FOR_NOW);
        memcpy(flood, "250-abc\n", 8);
        end_world(&w, &s);
    }
    free(flood);
    free(endless);
}

static void
test_codes_out_of_place(void **state)
{
    static const struct {
        const char *step, *says;
        enum tx_phase phase;
        enum tx_fate fate;
    } cases[] = {
        {"MAIL", "354 go\r\n", TX_MAIL, TX_REFUSED_FOR_NOW},
        {"MAIL", "999 x\r\n", TX_MAIL, TX_REFUSED_FOR_NOW},
        {"RCPT", "25\r\n", TX_RCPT, TX_REFUSED_FOR_NOW},
        {"RCPT", "550 2.0.0 no\r\n", TX_RCPT, TX_REFUSED_FOR_NOW},
        {"DATA", "250 ok\r\n", TX_DATA, TX_REFUSED_FOR_NOW},
        {"DATA", "\r\n", TX_DATA, TX_REFUSED_FOR_NOW},
        {"dot", "354 go\r\n", TX_DOT, TX_UNCERTAIN},
        {"dot", "250x\r\n", TX_DOT, TX_UNCERTAIN},
        {"dot", "-1\r\n", TX_DOT, TX_UNCERTAIN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct peer_rule rule = {cases[i].step, 1, PEER_SAY, cases[i].says};
        struct sending s;
        struct world w;

        send_under(&w, &s, &rule, 1, 1000, 1);
        assert_true(s.outcome.lost);
        assert_int_equal(s.outcome.phase, cases[i].phase);
        assert_int_equal(s.results[0].fate, cases[i].fate);
        world_turn(&w, 3);
        assert_int_equal(w.peer.open, 0);
        end_world(&w, &s);
    }
}

static void
test_mixed_recipients(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_SAY, "550 5.1.1 never\r\n"},
        {"RCPT", 3, PEER_SAY, "450 4.2.1 later\r\n"}};
    struct sending s;
    struct world w;

    (void)state;
    send_under(&w, &s, rules, 2, 1000, 4);
    assert_false(s.outcome.lost);
    assert_int_equal(s.outcome.reply.code, 250);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_GOOD);
    assert_int_equal(s.results[0].reply.code, 550);
    assert_int_equal(s.results[1].fate, TX_ACCEPTED);
    assert_int_equal(s.results[2].fate, TX_REFUSED_FOR_NOW);
    assert_int_equal(s.results[2].reply.code, 450);
    assert_int_equal(s.results[3].fate, TX_ACCEPTED);
    assert_int_equal(w.peer.messages, 1);
    sending_check_body(&s);
    end_world(&w, &s);
}

/* All or nothing: no DATA, RSET, and the connection is good for the next message. */
static void
test_all_or_nothing(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 2, PEER_SAY, "550 5.1.1 never\r\n"}};
    struct sending s, next;
    struct world w;

    (void)state;
    world_start(&w);
    w.peer.rules = rules;
    w.peer.n_rules = 1;
    w.route.pool_max = 1;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&s, &w, 1000, 3);
    s.tx.all_or_nothing = true;
    sending_start(&s, 5000);
    world_until(&w, &s.done);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
    assert_int_equal(s.results[1].fate, TX_REFUSED_FOR_GOOD);
    assert_int_equal(s.results[2].fate, TX_REFUSED_FOR_NOW);
    assert_int_equal(s.outcome.reply.code, 550);
    assert_int_equal(peer_count(&w.peer, "DATA"), 0);
    send_one(&w, &next);
    assert_int_equal(next.results[0].fate, TX_ACCEPTED);
    assert_int_equal(peer_count(&w.peer, "RSET"), 1);
    assert_int_equal(w.peer.accepted, 1);
    end_world(&w, &s);
}

static void
test_lone_dot(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_SAY, "550 5.1.1 never\r\n"}};
    struct sending s, next;
    struct world w;

    (void)state;
    send_under(&w, &s, rules, 1, 1000, 1);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_GOOD);
    assert_int_equal(s.outcome.reply.code, 550);
    assert_int_equal(buf_len(&w.peer.body), 0);
    assert_int_equal(peer_count(&w.peer, "dot"), 1);
    send_one(&w, &next);
    assert_int_equal(next.results[0].fate, TX_ACCEPTED);
    assert_int_equal(w.peer.accepted, 1);
    end_world(&w, &s);
}

static void
test_refused_dot_leaves_the_connection_good(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SAY,
        "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. AS(7230)\r\n"}};
    struct sending s, next;
    struct world w;

    (void)state;
    send_under(&w, &s, rules, 1, 1000, 1);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_GOOD);
    assert_int_equal(s.outcome.reply.enhanced.detail, 708);
    send_one(&w, &next);
    assert_int_equal(next.results[0].fate, TX_ACCEPTED);
    assert_int_equal(w.peer.accepted, 1);
    end_world(&w, &s);
}

static void
test_without_pipelining(void **state)
{
    static const struct peer_rule rules[] = {
        {"EHLO", 0, PEER_SAY, "250-peer\r\n250-DSN\r\n250 AUTH LOGIN\r\n"}};
    struct sending s;
    struct world w;

    (void)state;
    send_under(&w, &s, rules, 1, 1000, 3);
    assert_int_equal(s.results[2].fate, TX_ACCEPTED);
    assert_false(s.caps.pipelining || s.caps.eightbitmime);
    assert_true(s.caps.dsn);
    assert_int_equal(s.caps.size_max, 0);
    sending_check_body(&s);
    end_world(&w, &s);
}

static void
test_large_body_arrives_whole(void **state)
{
    struct sending s;
    struct world w;

    (void)state;
    send_under(&w, &s, NULL, 0, 5000000, 1);
    assert_int_equal(s.results[0].fate, TX_ACCEPTED);
    sending_check_body(&s);
    end_world(&w, &s);
}

static struct upstream_conn *
busy_conn(struct world *w)
{
    struct pool *pool = LIST_ITEM(w->up->pools.next, struct pool, link);

    return LIST_ITEM(pool->others.next, struct upstream_conn, link);
}

/* A peer that stops reading: little is queued, and after block_ms without progress it is over, and not
 * uncertain. */
static void
test_peer_does_not_read(void **state)
{
    static const struct peer_rule rules[] = {{"body", 1, PEER_STOP, NULL}};
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    w.peer.rules = rules;
    w.peer.n_rules = 1;
    w.route.block_ms = 200;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&s, &w, 20000000, 1);
    sending_start(&s, 5000);
    while (!s.done) {
        world_turn(&w, 1);
        if (!s.done && s.leased)
            assert_true(stream_queued(busy_conn(&w)->stream) <= 256 * 1024);
    }
    assert_true(s.outcome.lost);
    assert_int_equal(s.outcome.phase, TX_BODY);
    assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
    end_world(&w, &s);
}

/* One that is slow but reads: as long as anything moves the message is not given up. */
static void
test_peer_reads_slowly(void **state)
{
    static const struct peer_rule rules[] = {{"body", 1, PEER_STOP, NULL}};
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    w.peer.rules = rules;
    w.peer.n_rules = 1;
    w.route.block_ms = 2000;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&s, &w, 9000000, 1);
    sending_start(&s, 5000);
    while (peer_count(&w.peer, "body") == 0)
        world_turn(&w, 1);
    world_pass(&w, 300);
    assert_false(s.done);
    peer_resume_all(&w.peer);
    world_until(&w, &s.done);
    assert_int_equal(s.results[0].fate, TX_ACCEPTED);
    sending_check_body(&s);
    end_world(&w, &s);
}

/* A message whose dot waits in our own queue, because the peer does not read and the kernel keeps little. */
static void
send_until_dot_is_queued(struct world *w, struct sending *s)
{
    static const struct peer_rule rules[] = {{"DATA", 1, PEER_STOP, NULL}};
    int small = 4096;

    world_start(w);
    w->peer.rules = rules;
    w->peer.n_rules = 1;
    w->route.block_ms = 200;
    setsockopt(listener_fd(w->peer.listener), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(world_configure(w, NULL), 0);
    sending_init(s, w, 60000, 1);
    sending_start(s, 5000);
    while (peer_count(&w->peer, "DATA") == 0)
        world_turn(w, 1);
    setsockopt(stream_fd(busy_conn(w)->stream), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    peer_say_all(&w->peer, "354 go\r\n");
    while (busy_conn(w)->pump.state != PUMP_WRITTEN)
        world_turn(w, 1);
}

/* What waits in our own queue has not left: when the peer never reads the end of a body, or resets the
 * connection before it came, nothing is uncertain. */
static void
test_queued_dot_is_not_uncertain(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct sending s;
        struct world w;

        send_until_dot_is_queued(&w, &s);
        if (reset)
            peer_drop_all(&w.peer, true);
        world_until(&w, &s.done);
        assert_true(s.outcome.lost);
        assert_int_equal(s.outcome.phase, TX_BODY);
        assert_int_equal(s.results[0].fate, TX_REFUSED_FOR_NOW);
        end_world(&w, &s);
    }
}

/* The reply to the dot may take its time; a later one is too late, and the connection is not used again. */
static void
test_slow_reply_to_the_dot(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 0, PEER_SILENT, NULL}};
    struct sending s;
    struct world w;

    (void)state;
    world_start(&w);
    w.peer.rules = rules;
    w.peer.n_rules = 1;
    w.route.reply_ms = w.route.data_ms = 100;
    w.route.dot_ms = 1000;
    assert_int_equal(world_configure(&w, NULL), 0);
    sending_init(&s, &w, 1000, 1);
    sending_start(&s, 5000);
    while (peer_count(&w.peer, "dot") == 0)
        world_turn(&w, 1);
    world_pass(&w, 300);
    assert_false(s.done);
    peer_say_all(&w.peer, "250 2.0.0 at last\r\n");
    world_until(&w, &s.done);
    assert_int_equal(s.results[0].fate, TX_ACCEPTED);
    end_world(&w, &s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped_at_each_step),
        cmocka_unit_test(test_dropped_in_the_body),
        cmocka_unit_test(test_421_at_each_step),
        cmocka_unit_test(test_silence_at_each_step),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_codes_out_of_place),
        cmocka_unit_test(test_mixed_recipients),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_lone_dot),
        cmocka_unit_test(test_refused_dot_leaves_the_connection_good),
        cmocka_unit_test(test_without_pipelining),
        cmocka_unit_test(test_large_body_arrives_whole),
        cmocka_unit_test(test_peer_does_not_read),
        cmocka_unit_test(test_peer_reads_slowly),
        cmocka_unit_test(test_queued_dot_is_not_uncertain),
        cmocka_unit_test(test_slow_reply_to_the_dot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
