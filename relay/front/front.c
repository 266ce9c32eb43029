#include <stdlib.h>

#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/front/front_part.h"
#include "relay/front/session.h"

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
    list_init(&f->sockets);
    list_init(&f->sessions);
    slots_init(&f->handles);
    peers_init(&f->peers);
    f->verify = verify_new(f->worker);
    buf_init(&f->out);
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
    if (f->state == FRONT_DRAINING && f->n_sessions == 0)
        task_defer(f->loop, &f->drained);
}

static void
on_drained(void *arg)
{
    struct front *f = arg;
    void (*done)(void *) = f->drain_done;

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
    f->drain_done = done;
    f->drain_arg = arg;
    close_sockets(f);
    timer_start(&f->drain_deadline, deadline_ms);
    LIST_EACH_SAFE(it, &f->sessions)
        session_drain(LIST_ITEM(it, struct session, link));
    front_session_gone(f);
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
