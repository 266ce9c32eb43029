/* Deadlines are moved far more often than they pass (once per command, per reply), so moving one later only
 * notes the new time; libevent's own timer rings at the old one and is armed again for the rest. */
#include <event2/event.h>

#include "relay/base/clock.h"
#include "relay/net/loop_part.h"

#define NEVER INT64_MAX

static void
arm(struct timer *t, int64_t ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};

    t->armed_mono_ms = t->due_mono_ms;
    event_add(&t->ev, &tv);
}

static void
on_ring(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;
    int64_t now = clock_mono_ms();

    (void)fd;
    (void)what;
    loop_enter(t->loop);
    t->armed_mono_ms = NEVER;
    if (t->due_mono_ms == NEVER)
        return;
    if (t->due_mono_ms > now) {
        arm(t, t->due_mono_ms - now);
        return;
    }
    t->due_mono_ms = NEVER;
    t->fn(t->arg);
}

void
timer_init(struct timer *t, struct loop *loop, void (*fn)(void *arg), void *arg)
{
    t->loop = loop;
    t->due_mono_ms = t->armed_mono_ms = NEVER;
    t->fn = fn;
    t->arg = arg;
    event_assign(&t->ev, loop_base(loop), -1, 0, on_ring, t);
}

void
timer_start(struct timer *t, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    t->due_mono_ms = clock_mono_ms() + ms;
    if (t->due_mono_ms < t->armed_mono_ms)
        arm(t, ms);
}

void
timer_stop(struct timer *t)
{
    t->due_mono_ms = NEVER;
}

void
timer_fini(struct timer *t)
{
    timer_stop(t);
    t->armed_mono_ms = NEVER;
    event_del(&t->ev);
}
