#include "relay/net/loop.h"

#include <stdbool.h>
#include <stdlib.h>

#include <event2/event.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

/* Rounds of tasks and flushes per turn. Work that keeps deferring work must not shut out the sockets. */
#define ROUNDS_MAX 64

struct signal_watch {
    struct list link;
    struct event *ev;
    struct loop *loop;
    void (*fn)(void *arg, int signo);
    void *arg;
};

struct loop {
    struct event_base *base;
    struct metrics *metrics;
    struct event *patience; /* ends the wait of loop_turn */
    struct list tasks, flushes, next, graveyard, orphans, signals;
    bool stopping;
    int64_t turn_mono_us; /* when this turn's wait was over; 0: it is not */
    char *scratch;
    size_t scratch_size;
};

static void
on_patience(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    loop_enter(arg);
}

/* What libevent has to say belongs into the log, in its form. */
static void
on_libevent_log(int severity, const char *text)
{
    static const enum log_level levels[] = {
        [EVENT_LOG_DEBUG] = LOG_DEBUG,
        [EVENT_LOG_MSG] = LOG_NOTICE,
        [EVENT_LOG_WARN] = LOG_WARNING,
        [EVENT_LOG_ERR] = LOG_ERROR,
    };

    log_text(severity >= EVENT_LOG_DEBUG && severity <= EVENT_LOG_ERR ? levels[severity] : LOG_ERROR,
        "libevent", "%s", text);
}

static struct event_base *
base_new(void)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base;

    if (!cfg)
        return NULL;
    /* Not EPOLL_USE_CHANGELIST: a listening socket is another process' too when it is closed here, so epoll
     * has to be told at once, or it goes on waking this process for it. */
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return base;
}

struct loop *
loop_new(struct metrics *metrics, struct err *err)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    event_set_log_callback(on_libevent_log);
    list_init(&l->tasks);
    list_init(&l->flushes);
    list_init(&l->next);
    list_init(&l->graveyard);
    list_init(&l->orphans);
    list_init(&l->signals);
    l->metrics = metrics;
    l->base = base_new();
    if (l->base)
        l->patience = event_new(l->base, -1, 0, on_patience, l);
    if (!l->patience) {
        err_set(err, "the kernel's event facility is not available");
        loop_free(&l);
    }
    return l;
}

static void
bury_all(struct loop *l)
{
    struct list *it;

    while ((it = list_pop(&l->graveyard))) {
        struct corpse *c = LIST_ITEM(it, struct corpse, link);

        c->bury(c->object); /* frees c as well */
    }
}

void
loop_free(struct loop **loop)
{
    struct loop *l = *loop;
    struct list *it;

    if (!l)
        return;
    while ((it = list_pop(&l->orphans))) {
        struct orphan *o = LIST_ITEM(it, struct orphan, link);

        o->drop(o->object);
    }
    bury_all(l);
    while ((it = list_pop(&l->signals))) {
        struct signal_watch *w = LIST_ITEM(it, struct signal_watch, link);

        event_free(w->ev);
        free(w);
    }
    if (l->patience)
        event_free(l->patience);
    if (l->base)
        event_base_free(l->base);
    free(l->scratch);
    free(l);
    *loop = NULL;
}

void
loop_enter(struct loop *l)
{
    if (l->turn_mono_us == 0)
        l->turn_mono_us = clock_mono_us();
}

int64_t
loop_now_ms(const struct loop *l)
{
    return l->turn_mono_us != 0 ? l->turn_mono_us / 1000 : clock_mono_ms();
}

/* What waits at this moment, each once; what they defer goes into the next round. */
static void
run_round(struct list *waiting)
{
    struct list now, *it;

    if (list_is_empty(waiting))
        return;
    list_add_before(waiting, &now); /* `now` takes over the ring */
    list_del(waiting);
    while ((it = list_pop(&now))) {
        struct task *t = LIST_ITEM(it, struct task, link);

        t->fn(t->arg);
    }
}

static bool
has_work(const struct loop *l)
{
    return !list_is_empty(&l->tasks) || !list_is_empty(&l->flushes);
}

/* Tasks, then the log (a reply is never ahead of its line), then the sockets, until nothing is left. */
static void
end_turn(struct loop *l)
{
    int rounds = 0;

    while (has_work(l) && rounds++ < ROUNDS_MAX) {
        if (!list_is_empty(&l->tasks)) {
            run_round(&l->tasks);
            continue;
        }
        log_flush();
        run_round(&l->flushes);
    }
    log_flush();
    bury_all(l);
}

static void
observe(struct metrics *m, int64_t us)
{
    metric_add(m, M_LOOP_STALL_SECONDS, (double)us / 1e6, NULL, NULL, NULL);
}

static int
turn(struct loop *l, int flags)
{
    bool busy = has_work(l) || !list_is_empty(&l->next);
    struct list *it;

    l->turn_mono_us = 0;
    if (event_base_loop(l->base, flags | (busy ? EVLOOP_NONBLOCK : 0)) < 0)
        return -1;
    loop_enter(l); /* for a turn without events of ours */
    while ((it = list_pop(&l->next)))
        list_add_tail(&l->tasks, it);
    end_turn(l);
    if (l->metrics)
        observe(l->metrics, clock_mono_us() - l->turn_mono_us);
    l->turn_mono_us = 0;
    return 0;
}

int
loop_run(struct loop *l)
{
    int rc = 0;

    log_gather(true);
    l->stopping = false;
    while (!l->stopping && rc == 0)
        rc = turn(l, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    log_gather(false);
    return rc;
}

void
loop_stop(struct loop *l)
{
    l->stopping = true;
}

void
loop_turn(struct loop *l, int wait_ms)
{
    struct timeval tv = {wait_ms / 1000, wait_ms % 1000 * 1000};

    if (wait_ms > 0)
        event_add(l->patience, &tv);
    turn(l, wait_ms > 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
    event_del(l->patience);
}

struct event_base *
loop_base(struct loop *l)
{
    return l->base;
}

char *
loop_scratch(struct loop *l, size_t n)
{
    if (l->scratch_size < n) {
        l->scratch = xrealloc(l->scratch, n);
        l->scratch_size = n;
    }
    return l->scratch;
}

void
loop_adopt(struct loop *l, struct orphan *o, void (*drop)(void *object), void *object)
{
    o->drop = drop;
    o->object = object;
    list_add_tail(&l->orphans, &o->link);
}

void
task_init(struct task *t, void (*fn)(void *arg), void *arg)
{
    list_init(&t->link);
    t->fn = fn;
    t->arg = arg;
}

void
task_defer(struct loop *l, struct task *t)
{
    if (list_is_empty(&t->link))
        list_add_tail(&l->tasks, &t->link);
}

void
loop_defer_flush(struct loop *l, struct task *t)
{
    if (list_is_empty(&t->link))
        list_add_tail(&l->flushes, &t->link);
}

void
loop_defer_next(struct loop *l, struct task *t)
{
    if (list_is_empty(&t->link))
        list_add_tail(&l->next, &t->link);
}

void
task_cancel(struct task *t)
{
    list_del(&t->link);
}

void
loop_bury(struct loop *l, struct corpse *c, void (*bury)(void *object), void *object)
{
    c->bury = bury;
    c->object = object;
    list_add_tail(&l->graveyard, &c->link);
}

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
    struct signal_watch *w = arg;

    (void)what;
    loop_enter(w->loop);
    w->fn(w->arg, (int)signo);
}

int
loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg, struct err *err)
{
    struct signal_watch *w = xcalloc(1, sizeof(*w));

    w->loop = l;
    w->fn = fn;
    w->arg = arg;
    w->ev = evsignal_new(l->base, signo, on_signal, w);
    if (!w->ev || event_add(w->ev, NULL) != 0) {
        if (w->ev)
            event_free(w->ev);
        free(w);
        return err_set(err, "cannot watch signal %d", signo);
    }
    list_add_tail(&l->signals, &w->link);
    return 0;
}
