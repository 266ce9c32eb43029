#include <stdlib.h>

#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/front/front_part.h"
#include "relay/front/session.h"

#define RETIRE_LOOK_MS 100
#define RETIRE_SILENT_MS 1000  /* between messages */
#define RETIRE_BEGIN_MS 5000   /* before the first */

static void on_retire(void *arg);
static void on_drain_deadline(void *arg);
static void on_drained(void *arg);

struct front *
front_new(const struct front_setup *setup)
{
    struct front *f = xcalloc(1, sizeof *f);

    f->loop = setup->loop;
    f->worker = setup->worker;
    f->flow = setup->flow;
    f->metrics = setup->metrics;
    f->inherited = setup->inherited;
    f->state = setup->waits ? FRONT_WAITING : FRONT_OPEN;
    list_init(&f->sockets);
    list_init(&f->sessions);
    slots_init(&f->handles);
    peers_init(&f->peers);
    f->verify = verify_new(f->worker);
    buf_init(&f->out);
    timer_init(&f->retire, f->loop, on_retire, f);
    timer_init(&f->drain_deadline, f->loop, on_drain_deadline, f);
    task_init(&f->drained, on_drained, f);
    return f;
}

static void
close_sockets(struct front *f)
{
    LIST_EACH_SAFE(it, &f->sockets) {
        struct front_socket *s = LIST_ITEM(it, struct front_socket, link);

        session_leave_socket(f, s);
        listener_close(&s->listener);
        list_del(&s->link);
        free(s->address);
        free(s);
    }
}

void
front_free(struct front **fp)
{
    struct front *f = *fp;

    if (f == NULL)
        return;
    f->drain_done = NULL;
    close_sockets(f);
    LIST_EACH_SAFE(it, &f->sessions)
        session_close(LIST_ITEM(it, struct session, link), "shutdown");
    task_cancel(&f->drained);
    timer_fini(&f->retire);
    timer_fini(&f->drain_deadline);
    verify_free(&f->verify);
    peers_fini(&f->peers);
    slots_fini(&f->handles);
    generation_unref(&f->generation);
    buf_fini(&f->out);
    free(f);
    *fp = NULL;
}

/* ---- refusals ---- */

void
front_count_refusal(struct front *f, const struct front_refusal *r)
{
    struct log_line l;
    uint32_t unlogged;

    metric_add(f->metrics, M_CLIENTS_REFUSED, 1, r->why, NULL, NULL);
    if (!peer_log_refusal(r->peer, r->why, r->client, loop_now_ms(f->loop), &unlogged))
        return;
    log_begin(&l, LOG_NOTICE, "refused");
    log_cstr(&l, "session", r->session_id);
    log_cstr(&l, "listener", r->listener);
    log_cstr(&l, "peer", r->peer_text);
    log_cstr(&l, "client", r->client);
    log_cstr(&l, "reason", r->why);
    log_cstr(&l, "text", r->text);
    if (unlogged > 0)
        log_int(&l, "unlogged_before", unlogged);
    log_end(&l);
}

/* ---- the end ---- */

void
front_session_gone(struct front *f)
{
    if ((f->state == FRONT_RETIRING || f->state == FRONT_DRAINING) && f->n_sessions == 0)
        task_defer(f->loop, &f->drained);
}

static void
on_drained(void *arg)
{
    struct front *f = arg;
    void (*done)(void *) = f->drain_done;

    timer_stop(&f->retire);
    timer_stop(&f->drain_deadline);
    f->drain_done = NULL;
    if (done != NULL)
        done(f->drain_arg);
}

static void
on_drain_deadline(void *arg)
{
    struct front *f = arg;

    LIST_EACH_SAFE(it, &f->sessions)
        session_drain_now(LIST_ITEM(it, struct session, link));
    task_defer(f->loop, &f->drained);
}

void
front_drain(struct front *f, int deadline_ms, void (*done)(void *arg), void *arg)
{
    f->state = FRONT_DRAINING;
    timer_stop(&f->retire);
    f->drain_done = done;
    f->drain_arg = arg;
    close_sockets(f);
    timer_start(&f->drain_deadline, deadline_ms);
    LIST_EACH_SAFE(it, &f->sessions)
        session_drain(LIST_ITEM(it, struct session, link));
    front_session_gone(f);
}

/* A look does not come at once: nobody waits so long that it matters. */
static void
on_retire(void *arg)
{
    struct front *f = arg;

    if (loop_now_ms(f->loop) >= f->retire_until_mono_ms) {
        front_drain(f, f->drain_ms, f->drain_done, f->drain_arg);
        return;
    }
    timer_start(&f->retire, RETIRE_LOOK_MS);
    LIST_EACH_SAFE(it, &f->sessions)
        session_retire(LIST_ITEM(it, struct session, link), RETIRE_SILENT_MS, RETIRE_BEGIN_MS);
}

void
front_retire(struct front *f, int deadline_ms, void (*done)(void *arg), void *arg)
{
    f->state = FRONT_RETIRING;
    f->drain_done = done;
    f->drain_arg = arg;
    f->drain_ms = deadline_ms - deadline_ms / 2;
    f->retire_until_mono_ms = loop_now_ms(f->loop) + deadline_ms / 2;
    close_sockets(f);
    timer_start(&f->retire, RETIRE_LOOK_MS);
    front_session_gone(f);
}

void
front_open(struct front *f)
{
    if (f->state != FRONT_WAITING)
        return;
    f->state = FRONT_OPEN;
    LIST_EACH(it, &f->sockets)
        listener_resume(LIST_ITEM(it, struct front_socket, link)->listener);
}

size_t
front_sockets(const struct front *f, int *fds_out, size_t max)
{
    size_t n = 0;

    LIST_EACH(it, &f->sockets) {
        if (n < max)
            fds_out[n] = listener_fd(LIST_ITEM(it, struct front_socket, link)->listener);
        n++;
    }
    return n;
}

size_t
front_status(const struct front *f, struct front_status *out, size_t max)
{
    size_t n = 0;

    LIST_EACH(it, &f->sockets) {
        const struct front_socket *s = LIST_ITEM(it, struct front_socket, link);

        if (n < max && s->in_force != NULL)
            out[n] = (struct front_status){
                s->in_force->conf->name, listener_address(s->listener), s->connections};
        n += n < max;
    }
    return n;
}
