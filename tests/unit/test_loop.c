/* Unit tests of loop, timer, listener and worker. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/base/log_sink.h"
#include "relay/base/xmalloc.h"
#include "relay/net/listener.h"
#include "relay/net/loop.h"
#include "relay/net/worker.h"

static struct loop *
new_loop(void)
{
    struct err err;
    struct loop *loop = loop_new(NULL, &err);

    assert_non_null(loop);
    return loop;
}

struct steps {
    struct loop *loop;
    struct task a, b;
    struct corpse corpse;
    char text[64];
};

static void
note(struct steps *s, char c)
{
    size_t n = strlen(s->text);

    s->text[n] = c;
    s->text[n + 1] = '\0';
}

static void
task_a(void *arg)
{
    struct steps *s = arg;

    note(s, 'a');
    task_defer(s->loop, &s->b);
}

static void
task_b(void *arg)
{
    note(arg, 'b');
}

static void
bury_steps(void *arg)
{
    note(arg, 'z');
}

static void
test_tasks_then_graveyard(void **state)
{
    struct steps s = {.loop = new_loop()};

    (void)state;
    task_init(&s.a, task_a, &s);
    task_init(&s.b, task_b, &s);
    loop_bury(s.loop, &s.corpse, bury_steps, &s);
    task_defer(s.loop, &s.a);
    task_defer(s.loop, &s.a); /* waits already */
    assert_string_equal(s.text, "");
    loop_turn(s.loop, 1000); /* does not wait: work is there */
    assert_string_equal(s.text, "abz");
    task_defer(s.loop, &s.a);
    task_cancel(&s.a);
    task_cancel(&s.a);
    loop_turn(s.loop, 0);
    assert_string_equal(s.text, "abz");
    loop_free(&s.loop);
    assert_null(s.loop);
}

static void
defer_again(void *arg)
{
    struct steps *s = arg;

    note(s, '.');
    if (strlen(s->text) > 60)
        s->text[0] = '\0';
    task_defer(s->loop, &s->a);
}

/* Work that defers itself for ever does not keep the turn from ending. */
static void
test_endless_work(void **state)
{
    struct steps s = {.loop = new_loop()};

    (void)state;
    task_init(&s.a, defer_again, &s);
    task_defer(s.loop, &s.a);
    for (int i = 0; i < 10; i++)
        loop_turn(s.loop, 1000);
    task_cancel(&s.a);
    loop_free(&s.loop);
}

struct ring {
    struct timer timer;
    int64_t rang_ms;
    int rings;
};

static void
on_ring(void *arg)
{
    struct ring *r = arg;

    r->rang_ms = clock_mono_ms();
    r->rings++;
}

static void
wait_rings(struct loop *loop, struct ring *r, int rings, int ms)
{
    for (int64_t until = clock_mono_ms() + ms; r->rings < rings && clock_mono_ms() < until;)
        loop_turn(loop, 20);
}

static void
test_timer(void **state)
{
    struct loop *loop = new_loop();
    struct ring r = {.rings = 0};
    int64_t start;

    (void)state;
    timer_init(&r.timer, loop, on_ring, &r);
    start = clock_mono_ms();
    timer_start(&r.timer, 30);
    timer_start(&r.timer, 80); /* later: rings once, at the later time */
    wait_rings(loop, &r, 1, 2000);
    assert_int_equal(r.rings, 1);
    assert_true(r.rang_ms - start >= 80);
    start = clock_mono_ms();
    timer_start(&r.timer, 60000);
    timer_start(&r.timer, 20); /* earlier */
    wait_rings(loop, &r, 2, 2000);
    assert_int_equal(r.rings, 2);
    assert_true(r.rang_ms - start >= 20 && r.rang_ms - start < 1000);
    timer_start(&r.timer, 10);
    timer_stop(&r.timer);
    wait_rings(loop, &r, 3, 60);
    assert_int_equal(r.rings, 2);
    timer_start(&r.timer, -5); /* in the past: at once, but not during the call */
    assert_int_equal(r.rings, 2);
    wait_rings(loop, &r, 3, 2000);
    assert_int_equal(r.rings, 3);
    timer_start(&r.timer, 5);
    timer_fini(&r.timer);
    timer_fini(&r.timer);
    wait_rings(loop, &r, 4, 30);
    assert_int_equal(r.rings, 3);
    loop_free(&loop);
}

static void
stop_on_signal(void *arg, int signo)
{
    assert_int_equal(signo, SIGUSR1);
    loop_stop(arg);
}

static void
test_run_stop_and_stall(void **state)
{
    struct metrics *m = metrics_new();
    struct err err;
    struct loop *loop = loop_new(m, &err);
    struct buf out;

    (void)state;
    assert_int_equal(loop_on_signal(loop, SIGUSR1, stop_on_signal, loop, &err), 0);
    raise(SIGUSR1);
    assert_int_equal(loop_run(loop), 0);
    buf_init(&out);
    metrics_format(m, &out);
    assert_non_null(strstr(out.p, "sendgov_loop_stall_seconds_count"));
    assert_null(strstr(out.p, "sendgov_loop_stall_seconds_count 0"));
    assert_true(metric_get(m, M_LOOP_STALL_SECONDS, NULL, NULL, NULL) < 1);
    buf_fini(&out);
    loop_free(&loop);
    metrics_free(&m);
}

struct accepted {
    int n;
    char peer[64], local[64];
    uint16_t port;
    struct listener **close_me;
};

static void
on_accept(void *arg, int fd, const struct net_addr *peer, const struct net_addr *local)
{
    struct accepted *a = arg;

    a->n++;
    snprintf(a->peer, sizeof(a->peer), "%s", peer->text);
    snprintf(a->local, sizeof(a->local), "%s", local->text);
    a->port = local->port;
    close(fd);
    if (a->close_me)
        listener_close(a->close_me);
}

static uint16_t
bound_port(const struct listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct net_addr a;

    assert_int_equal(getsockname(listener_fd(l), (struct sockaddr *)&ss, &len), 0);
    net_addr_from_sockaddr(&a, (struct sockaddr *)&ss, len);
    return a.port;
}

static int
connect_to(const char *host, uint16_t port)
{
    struct net_addr a;
    struct err err;
    char text[80];
    int fd;

    snprintf(text, sizeof(text), host[0] == 'u' ? "%s" : "%s:%u", host, port);
    assert_int_equal(net_addr_parse(text, &a, &err), 0);
    fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        assert_int_equal(connect(fd, (struct sockaddr *)&a.ss, a.len), 0);
    return fd;
}

static void
turn_until(struct loop *loop, const int *n, int want)
{
    for (int i = 0; i < 200 && *n < want; i++)
        loop_turn(loop, 10);
}

static void
test_listener(void **state)
{
    struct loop *loop = new_loop();
    struct accepted a = {0};
    struct err err;
    struct listener *l = listener_open(loop, "127.0.0.1:0", on_accept, &a, &err);
    int fds[3];

    (void)state;
    assert_non_null(l);
    assert_string_equal(listener_address(l), "127.0.0.1:0");
    fds[0] = connect_to("127.0.0.1", bound_port(l));
    turn_until(loop, &a.n, 1);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.peer, "127.0.0.1");
    assert_string_equal(a.local, "127.0.0.1");
    assert_int_equal(a.port, bound_port(l));
    listener_pause(l);
    fds[1] = connect_to("127.0.0.1", bound_port(l));
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 2);
    assert_int_equal(a.n, 1);
    a.close_me = &l; /* closing it within its own callback */
    listener_resume(l);
    turn_until(loop, &a.n, 2);
    assert_int_equal(a.n, 2);
    assert_null(l);
    close(fds[0]);
    close(fds[1]);
    loop_free(&loop);
}

static void
test_listener_v6_and_unix(void **state)
{
    char folder[] = "/tmp/sendgov-loop.XXXXXX", address[80];
    struct loop *loop = new_loop();
    struct accepted a = {0};
    struct err err;
    struct listener *l = listener_open(loop, "[::1]:0", on_accept, &a, &err);
    struct stat st;
    int fd;

    (void)state;
    assert_non_null(l);
    fd = connect_to("[::1]", bound_port(l));
    turn_until(loop, &a.n, 1);
    assert_string_equal(a.peer, "::1");
    close(fd);
    listener_close(&l);
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof(address), "unix:%s/s", folder);
    for (int i = 0; i < 2; i++) { /* the second time over the file left behind */
        l = listener_open(loop, address, on_accept, &a, &err);
        assert_non_null(l);
        assert_int_equal(stat(address + 5, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0660);
        fd = connect_to(address, 0);
        turn_until(loop, &a.n, 2 + i);
        assert_string_equal(a.peer, "unix");
        assert_null(listener_open(loop, address, on_accept, &a, &err)); /* in use: not stolen */
        close(fd);
        listener_close(&l);
    }
    unlink(address + 5);
    rmdir(folder);
    loop_free(&loop);
}

static void
test_listener_refusals(void **state)
{
    static const char *const bad[] = {"127.0.0.1", "localhost:25", "::1:25", "[::1]", ":25",
        "127.0.0.1:65536", "unix:", "127.0.0.1:2x", "", "[127.0.0.1:5"};
    struct loop *loop = new_loop();
    struct err err;
    int sv[2];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_null(listener_open(loop, bad[i], on_accept, NULL, &err));
    assert_null(listener_open(loop, "192.0.2.1:0", on_accept, NULL, &err));
    assert_non_null(strstr(err.text, "listen on 192.0.2.1:0: "));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_null(listener_adopt(loop, sv[0], "x", on_accept, NULL, &err));
    close(sv[0]);
    close(sv[1]);
    loop_free(&loop);
}

/* No descriptor left: the peer is hung up on, the listener rests instead of spinning, and comes back. */
static void
test_listener_full_process(void **state)
{
    struct loop *loop = new_loop();
    struct accepted a = {0};
    struct err err;
    struct listener *l = listener_open(loop, "127.0.0.1:0", on_accept, &a, &err);
    struct rlimit before, small;
    int null_fd = open("/dev/null", O_WRONLY), first, second, turns = 0;
    char byte;

    (void)state;
    log_sink_set_fd(null_fd);
    first = connect_to("127.0.0.1", bound_port(l));
    getrlimit(RLIMIT_NOFILE, &before);
    small = before;
    small.rlim_cur = (rlim_t)first + 1;
    setrlimit(RLIMIT_NOFILE, &small);
    for (int64_t until = clock_mono_ms() + 60; clock_mono_ms() < until; turns++)
        loop_turn(loop, 10);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(a.n, 0);
    assert_true(turns < 30);
    assert_int_equal(read(first, &byte, 1), 0);
    second = connect_to("127.0.0.1", bound_port(l));
    turn_until(loop, &a.n, 1);
    assert_int_equal(a.n, 1);
    close(first);
    close(second);
    listener_close(&l);
    loop_free(&loop);
    log_sink_set_fd(STDERR_FILENO);
    close(null_fd);
}

static void
test_addr(void **state)
{
    struct net_addr a, b;
    struct err err;

    (void)state;
    assert_int_equal(net_addr_parse("[::ffff:10.0.0.5]:25", &a, &err), 0);
    net_addr_from_sockaddr(&b, (struct sockaddr *)&a.ss, a.len);
    assert_string_equal(b.text, "10.0.0.5");
    assert_int_equal(b.ss.ss_family, AF_INET);
    assert_int_equal(b.port, 25);
    assert_int_equal(net_addr_parse("[fe80::1]:587", &a, &err), 0);
    net_addr_from_sockaddr(&b, (struct sockaddr *)&a.ss, a.len);
    assert_string_equal(b.text, "fe80::1");
    assert_int_equal(b.port, 587);
}

struct test_job {
    struct job job;
    int in, out;
    int *done, *cancelled;
};

static void
work(struct job *job)
{
    struct test_job *j = (struct test_job *)job;

    j->out = j->in * j->in;
}

static void
work_done(struct job *job, bool cancelled)
{
    struct test_job *j = (struct test_job *)job;

    if (cancelled)
        ++*j->cancelled;
    else {
        assert_int_equal(j->out, j->in * j->in);
        ++*j->done;
    }
    free(j);
}

static bool
submit(struct worker *w, int in, int *done, int *cancelled)
{
    struct test_job *j = xcalloc(1, sizeof(*j));

    *j = (struct test_job){.job = {.work = work, .done = work_done}, .in = in, .done = done,
        .cancelled = cancelled};
    if (worker_submit(w, &j->job))
        return true;
    free(j);
    return false;
}

static void
test_worker(void **state)
{
    struct loop *loop = new_loop();
    struct err err;
    int done = 0, cancelled = 0, taken = 0;
    struct worker *w = worker_new(loop, 1000, &err);

    (void)state;
    assert_non_null(w);
    for (int i = 0; i < 500; i++)
        assert_true(submit(w, i, &done, &cancelled));
    loop_turn(loop, 20);
    assert_int_equal(done, 0); /* there are no threads yet */
    assert_int_equal(worker_start(w, 2, &err), 0);
    assert_int_equal(done, 0); /* only on the loop */
    for (int i = 0; i < 500 && done < 500; i++)
        loop_turn(loop, 10);
    assert_int_equal(done, 500);
    worker_free(&w);
    assert_int_equal(cancelled, 0);
    done = 0;
    w = worker_new(loop, 3, &err);
    assert_int_equal(worker_start(w, 1, &err), 0);
    for (int i = 0; i < 5000; i++)
        taken += submit(w, i, &done, &cancelled);
    worker_free(&w);
    assert_null(w);
    assert_int_equal(done, 0);
    assert_int_equal(cancelled, taken); /* each answered exactly once */
    loop_free(&loop);
}

#define BATCH_MOST 100 /* of one batch: the others are left for the next */

struct batches {
    size_t calls, first_had, carried_out;
};

static void
run_batch(void *arg, struct list *jobs, struct list *finished)
{
    struct batches *b = arg;
    size_t had = 0;

    LIST_EACH(it, jobs)
        had++;
    if (b->calls++ == 0)
        b->first_had = had;
    for (int i = 0; i < BATCH_MOST && !list_is_empty(jobs); i++) {
        struct list *it = list_pop(jobs);
        struct test_job *j = LIST_ITEM(LIST_ITEM(it, struct job, link), struct test_job, job);

        work(&j->job);
        b->carried_out++;
        list_add_tail(finished, it);
    }
}

/* What waits is handed over at once; what a batch leaves comes again; nothing is left undone at the end. */
static void
test_batch_worker(void **state)
{
    struct err err;
    int done = 0, cancelled = 0, taken = 0;
    struct batches b = {.calls = 0};
    struct loop *loop = new_loop();
    struct worker *w = worker_new_batch(loop, 1000, run_batch, &b, &err);

    (void)state;
    assert_non_null(w);
    for (int i = 0; i < 450; i++)
        assert_true(submit(w, i, &done, &cancelled));
    assert_int_equal(worker_start(w, 1, &err), 0);
    for (int i = 0; i < 500 && done < 450; i++)
        loop_turn(loop, 10);
    assert_int_equal(done, 450);
    assert_int_equal(b.first_had, 450);
    assert_int_equal(b.calls, 5);
    for (int i = 0; i < 5000; i++)
        taken += submit(w, i, &done, &cancelled);
    worker_free(&w);
    assert_int_equal(b.carried_out, 450 + taken);
    assert_int_equal(cancelled, taken);
    assert_int_equal(done, 450);
    loop_free(&loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_then_graveyard),
        cmocka_unit_test(test_endless_work),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_run_stop_and_stall),
        cmocka_unit_test(test_listener),
        cmocka_unit_test(test_listener_v6_and_unix),
        cmocka_unit_test(test_listener_refusals),
        cmocka_unit_test(test_listener_full_process),
        cmocka_unit_test(test_addr),
        cmocka_unit_test(test_worker),
        cmocka_unit_test(test_batch_worker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
