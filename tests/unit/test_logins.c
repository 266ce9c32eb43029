/* Unit tests of users, verify, peers and trace: the small parts of front. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/front/peers.h"
#include "relay/front/trace.h"
#include "relay/front/users.h"
#include "relay/front/verify.h"
#include "relay/net/worker.h"

/* Of "right". */
#define HASH6                                                                                                \
    "$6$rounds=1000$saltsalt$dfMP2LY3oP.RCle.MrovYod7J5ZWd7wa2WJOtw1cdMugHgIZ8H3PUFaxN7fS6Rbcl4YomrlE/"      \
    "fCkobwA8g/as/"

static char path[] = "/tmp/sendgov-users.XXXXXX";

static struct users *
load(const char *text, mode_t mode, struct err *err)
{
    FILE *f = fopen(path, "w");

    err->text[0] = '\0';
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0);
    return users_load(path, err);
}

static int
setup(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int
teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void
test_users(void **state)
{
    struct users *u;
    struct err err;
    bool known;

    (void)state;
    u = load("# c\n\nerp:" HASH6 "\r\n  b c:" HASH6, 0640, &err);
    assert_non_null(u);
    assert_string_equal(users_hash(u, "erp", &known), HASH6);
    assert_true(known);
    (void)users_hash(u, "b c", &known);
    assert_true(known);
    assert_string_not_equal(users_hash(u, "nobody", &known), HASH6);
    assert_false(known);
    assert_memory_equal(users_hash(u, "nobody", &known), HASH6, 24); /* the same cost and salt */
    users_free(&u);
    assert_null(u);
    u = load("", 0600, &err);
    assert_non_null(users_hash(u, "erp", &known));
    assert_false(known);
    users_free(&u);
}

static void
test_bad_users(void **state)
{
    static const char *const bad[] = {"erp", "erp:", "erp:plain", ":" HASH6,
        "erp:$1$abc$abcdefghijklmnopqrstuvwxyz", "erp:" HASH6 "\nx:y\n", "erp:" HASH6 "\nerp:" HASH6,
        "erp:" HASH6 ":0:0", "erp:$6$short"};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (load(bad[i], 0600, &err) != NULL)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(strstr(err.text, path));
        assert_null(strstr(err.text, "dfMP2LY3"));
    }
    assert_null(load("erp:" HASH6, 0644, &err));
    assert_non_null(strstr(err.text, path));
    assert_null(users_load("/nonexistent/users", &err));
}

/* Whatever stands where a login should be may be the password or the hash: no complaint repeats it. */
static void
test_bad_users_are_not_repeated(void **state)
{
    static const struct {
        const char *line, *secret, *login;
    } bad[] = {
        {"erp hunter2-Secret\n", "hunter2", NULL},
        {"erp hunter2-Secret:x\n", "hunter2", NULL},
        {"hunter2-Secret\n", "hunter2", NULL},
        {HASH6 "\n", "saltsalt", NULL},
        {HASH6 ":erp\n", "saltsalt", NULL},
        {"erp:hunter2-Secret\n", "hunter2", "erp"},
        {"erp:hunter2:Secret\n", "hunter2", "erp"},
        {"erp\tx:hunter2-Secret\n", "hunter2", NULL},
        {"\033[2J:hunter2-Secret\n", "\033", NULL},
        {"erp:" HASH6 "\nerp:" HASH6, "saltsalt", "erp"},
        {"hunter2 Secret:" HASH6 "\nhunter2 Secret:" HASH6, "hunter2", NULL},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(load(bad[i].line, 0600, &err));
        assert_non_null(strstr(err.text, path));
        if (strstr(err.text, bad[i].secret))
            fail_msg("%s", err.text);
        assert_true(bad[i].login == NULL || strstr(err.text, bad[i].login) != NULL);
    }
    assert_null(load("# c\nerp:plain\n", 0600, &err));
    assert_non_null(strstr(err.text, ":2: "));
    assert_non_null(strstr(err.text, "sendgovctl passwd"));
}

/* ---- verify ---- */

struct ask {
    unsigned answers;
    bool right;
};

static void
on_verified(void *arg, bool right)
{
    struct ask *a = arg;

    a->answers++;
    a->right = right;
}

static bool
ask(struct loop *loop, struct verify *v, struct users *u, const char *login, const char *password)
{
    struct ask a = {0, false};
    int64_t end = clock_mono_ms() + 10000;

    assert_int_equal(verify_start(v, u, login, password, clock_mono_ms(), on_verified, &a), VERIFY_ASKED);
    while (a.answers == 0 && clock_mono_ms() < end)
        loop_turn(loop, 20);
    assert_int_equal(a.answers, 1);
    return a.right;
}

static struct worker *
new_worker(struct loop *loop)
{
    struct err err;
    struct worker *w = worker_new(loop, 2, &err);

    assert_non_null(w);
    assert_int_equal(worker_start(w, 1, &err), 0);
    return w;
}

static void
test_verify(void **state)
{
    struct err err;
    struct users *u = load("erp:" HASH6 "\n", 0600, &err);
    struct metrics *m = metrics_new();
    struct loop *loop = loop_new(m, &err);
    struct worker *w = new_worker(loop);
    struct verify *v = verify_new(w);
    struct ask left = {0, false}, late = {0, false};
    int64_t now = clock_mono_ms();

    (void)state;
    assert_false(ask(loop, v, u, "erp", "wrong"));
    assert_false(ask(loop, v, u, "erp", ""));
    assert_false(ask(loop, v, u, "nobody", "right"));
    assert_true(ask(loop, v, u, "erp", "right"));
    assert_int_equal(verify_start(v, u, "erp", "right", now, on_verified, NULL), VERIFY_RIGHT);
    /* remembered is the whole triple, and for a while */
    assert_false(ask(loop, v, u, "erp", "wrong"));
    assert_false(ask(loop, v, u, "er", "pright"));
    assert_int_equal(verify_start(v, u, "erp", "right", now + VERIFY_REMEMBER_MS + 10000, on_verified, &left),
        VERIFY_ASKED);
    verify_forget(v, &left);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 5);
    assert_int_equal(left.answers, 0);
    assert_int_equal(verify_start(v, u, "erp", "other", now, on_verified, &late), VERIFY_ASKED);
    verify_free(&v);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 5);
    assert_int_equal(late.answers, 0);
    worker_free(&w);
    loop_free(&loop);
    metrics_free(&m);
    users_free(&u);
}

static void
test_verify_full_queue(void **state)
{
    struct err err;
    struct users *u = load("erp:" HASH6 "\n", 0600, &err);
    struct metrics *m = metrics_new();
    struct loop *loop = loop_new(m, &err);
    struct worker *w = new_worker(loop);
    struct verify *v = verify_new(w);
    struct ask a = {0, false};
    unsigned asked = 0;

    (void)state;
    for (int i = 0; i < 50; i++)
        asked += verify_start(v, u, "erp", "wrong", 0, on_verified, &a) == VERIFY_ASKED;
    assert_in_range(asked, 1, 49);
    verify_free(&v);
    worker_free(&w);
    loop_free(&loop);
    metrics_free(&m);
    users_free(&u);
}

/* ---- peers ---- */

static struct peer *
peer_of(struct peers *p, const char *address, int64_t now)
{
    struct in6_addr a;

    assert_int_equal(inet_pton(AF_INET6, address, &a), 1);
    return peers_get(p, &a, now);
}

static void
test_peers(void **state)
{
    struct peers p;
    struct peer *a;
    uint32_t unlogged = 9;

    (void)state;
    peers_init(&p);
    a = peer_of(&p, "::ffff:192.0.2.1", 0);
    assert_ptr_equal(peer_of(&p, "::ffff:192.0.2.1", 0), a);
    assert_ptr_not_equal(peer_of(&p, "::ffff:192.0.2.2", 0), a);
    assert_ptr_equal(peer_of(&p, "2001:db8::1", 0), peer_of(&p, "2001:db8::ffff:1", 0));
    assert_ptr_not_equal(peer_of(&p, "2001:db8::1", 0), peer_of(&p, "2001:db8:0:1::1", 0));
    assert_ptr_equal(peers_get(&p, NULL, 0), &p.crowd);

    for (int i = 0; i < 60; i++)
        assert_true(peer_take_rate(a, 120, 60, 1000));
    assert_false(peer_take_rate(a, 120, 60, 1000));
    assert_false(peer_take_rate(a, 120, 60, 1499));
    assert_true(peer_take_rate(a, 120, 60, 1500));
    assert_false(peer_take_rate(a, 120, 60, 1501));

    assert_int_equal(peer_auth_failures(a, 2000), 0);
    peer_auth_failed(a, 2000);
    peer_auth_failed(a, 3000);
    assert_int_equal(peer_auth_failures(a, 2000 + PEERS_AUTH_WINDOW_MS - 1), 2);
    assert_int_equal(peer_auth_failures(a, 2000 + PEERS_AUTH_WINDOW_MS), 0);

    assert_true(peer_log_refusal(a, "sender", "erp", 5000, &unlogged));
    assert_int_equal(unlogged, 0);
    assert_false(peer_log_refusal(a, "sender", "erp", 5001, &unlogged));
    assert_true(peer_log_refusal(a, "size", "erp", 5001, &unlogged)); /* neither silences the other */
    assert_true(peer_log_refusal(a, "sender", "crm", 5001, &unlogged));
    assert_int_equal(unlogged, 0);
    assert_false(peer_log_refusal(a, "sender", "erp", 5002, &unlogged));
    assert_true(peer_log_refusal(a, "sender", "erp", 5000 + PEERS_QUIET_MS, &unlogged));
    assert_int_equal(unlogged, 2);
    peers_fini(&p);
}

/* However many kinds of refusals one address finds, its lines are bounded, and the rest is counted. */
static void
test_many_kinds(void **state)
{
    uint32_t unlogged, lines = 0, untold = 0;
    struct peers p;
    struct peer *a;
    char client[16];

    (void)state;
    peers_init(&p);
    a = peer_of(&p, "::ffff:192.0.2.1", 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(client, sizeof client, "c%d", i);
        lines += peer_log_refusal(a, "sender", client, 5000 + i % 7, &unlogged);
    }
    assert_int_equal(lines, PEERS_KINDS);
    for (int i = 1000; i < 1000 + PEERS_KINDS; i++) {
        snprintf(client, sizeof client, "c%d", i);
        assert_true(peer_log_refusal(a, "sender", client, 5010 + PEERS_QUIET_MS, &unlogged));
        untold += unlogged;
    }
    assert_int_equal(lines + untold, 1000);
    peers_fini(&p);
}

/* Many addresses: what matters is kept, the rest goes, and the table stays bounded. */
static void
test_many_peers(void **state)
{
    struct peers p;
    struct peer *guilty;

    (void)state;
    peers_init(&p);
    guilty = peer_of(&p, "::ffff:203.0.113.1", 1000);
    peer_auth_failed(guilty, 1000);
    for (uint32_t i = 0; i < 3 * PEERS_MAX; i++) {
        struct in6_addr a = {.s6_addr = {0x20, 0x01}};

        memcpy(a.s6_addr + 4, &i, 4);
        peers_get(&p, &a, 1000)->connections = i < 2 * PEERS_MAX ? 1 : 0;
        assert_true(table_count(&p.table) <= PEERS_MAX);
    }
    assert_ptr_equal(peer_of(&p, "::ffff:203.0.113.1", 1000), guilty);
    assert_ptr_equal(peer_of(&p, "::ffff:203.0.113.2", 1000), &p.crowd);
    peers_fini(&p);
}

/* ---- trace ---- */

static void
test_trace(void **state)
{
    struct trace t = {"printer", "192.0.2.1", "relay.test", "id1", true, true, true, 0};
    char helo[256];
    char *text = trace_format(&t);

    (void)state;
    assert_string_equal(text,
        "Received: from printer ([192.0.2.1])\r\n\tby relay.test (sendgov) with ESMTPSA\r\n"
        "\tid id1; Thu, 1 Jan 1970 00:00:00 +0000\r\n");
    free(text);
    memset(helo, 'h', 255);
    helo[255] = '\0';
    t = (struct trace){helo, "2001:db8::1", "relay.test", "id1", false, true, true, 0};
    text = trace_format(&t);
    assert_non_null(strstr(text, "([IPv6:2001:db8::1])\r\n"));
    assert_non_null(strstr(text, " with SMTP\r\n"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_bad_users),
        cmocka_unit_test(test_bad_users_are_not_repeated),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_full_queue),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_many_kinds),
        cmocka_unit_test(test_many_peers),
        cmocka_unit_test(test_trace),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
