/* Questions and their answers. Each has one slot until it is answered; a take that nobody wants any more, or
 * whose body does not fit, is undone. */
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_part.h"

static void answer(struct spool *s, struct spool_ask *a);
static void undo_take(struct spool *s, struct spool_ask *a);

/* ---- asking ---- */

static void
on_done(struct job *job, bool cancelled)
{
    struct spool_ask *a = LIST_ITEM(job, struct spool_ask, job);
    struct spool *s = a->spool;

    spool_learn(s, a);
    if (!cancelled) {
        answer(s, a);
        return;
    }
    if (a->kind == ASK_TAKE || a->kind == ASK_BODY)
        undo_take(s, a);
    spool_end(s, a);
}

void
spool_submit(struct spool *s, struct spool_ask *a)
{
    a->is_through = a->wrote = false;
    a->result = SPOOL_FAILED;
    a->job.done = on_done;
    if (s->worker == NULL) {
        list_init(&a->job.link);
        list_add_tail(&s->last, &a->job.link);
    } else {
        bool taken = worker_submit(s->worker, &a->job);

        sg_assert(taken);
    }
}

static void
on_later(void *arg)
{
    struct spool_ask *a = arg;

    answer(a->spool, a);
}

/* Without the thread, at the end of the turn. */
static void
answer_later(struct spool *s, struct spool_ask *a, enum spool_result result)
{
    a->result = result;
    task_init(&a->task, on_later, a);
    task_defer(s->setup.loop, &a->task);
}

void
spool_end(struct spool *s, struct spool_ask *a)
{
    slots_del(&s->asks, a->handle);
    spool_ask_free(&a);
}

static struct spool_ask *
new_ask(struct spool *s, enum spool_ask_kind kind, void *arg)
{
    struct spool_ask *a = spool_ask_new(s, kind, arg);

    a->handle = slots_add(&s->asks, a);
    task_init(&a->task, on_later, a);
    return a;
}

/* To the thread, or no at once: it is closed, sick, or has more in hand than it can be behind with. */
static struct handle
ask(struct spool *s, struct spool_ask *a)
{
    if (s->facts.is_open && s->asks.live <= SPOOL_QUEUE_MAX)
        spool_submit(s, a);
    else
        answer_later(s, a, SPOOL_FAILED);
    return a->handle;
}

static enum spool_result
result_of_blob(enum blob_status status)
{
    return status == BLOB_OK ? SPOOL_DONE : status == BLOB_NO_SPACE ? SPOOL_NO_SPACE : SPOOL_FAILED;
}

static void
number(struct spool *s, struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_added; i++)
        a->added[i].message->seq = s->next_seq++;
}

/* Lends messages and bodies to the thread, and gives the messages their seqs. */
static enum spool_result
lend(struct spool *s, struct spool_ask *a, struct spool_message *const *messages, size_t n)
{
    enum spool_result result = SPOOL_DONE;

    a->added = xcalloc(n > 0 ? n : 1, sizeof(*a->added));
    a->n_added = n;
    for (size_t i = 0; i < n; i++) {
        struct spool_added *add = &a->added[i];

        add->message = messages[i];
        sg_assert(messages[i]->body != NULL);
        if (result == SPOOL_DONE)
            result = result_of_blob(blob_view(messages[i]->body, &add->body));
        if (add->body.bytes > (uint64_t)SPOOL_CHUNK_BYTES * SPOOL_CHUNKS_MAX)
            result = SPOOL_NO_SPACE;
    }
    number(s, a);
    return result;
}

/* What would be put aside as damaged when it is read must not be accepted. */
static bool
are_sound(struct spool_message *const *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct log_line l;

        if (spool_message_is_sound(messages[i]))
            continue;
        log_begin(&l, LOG_ERROR, "spool");
        log_str(&l, "id", span_str(messages[i]->id));
        log_cstr(&l, "why", "not stored: no accepted message can be like this");
        log_end(&l);
        return false;
    }
    return true;
}

/* Before the spool is ours nobody knows which numbers are free. */
static void
wait_early(struct spool *s, struct spool_ask *a)
{
    list_init(&a->job.link);
    list_add_tail(&s->early, &a->job.link);
}

void
spool_end_early(struct spool *s, bool works)
{
    enum spool_result why = SPOOL_FAILED;

    s->takes_early = false;
    works = works && spool_takes(s, &why);
    for (struct list *it; (it = list_pop(&s->early)) != NULL;) {
        struct spool_ask *a = LIST_ITEM(LIST_ITEM(it, struct job, link), struct spool_ask, job);

        number(s, a);
        if (works)
            spool_submit(s, a);
        else
            answer_later(s, a, why);
    }
}

struct handle
spool_add(struct spool *s, struct spool_message *const *messages, size_t n, spool_done_fn *done, void *arg)
{
    struct spool_ask *a = new_ask(s, ASK_ADD, arg);
    enum spool_result result = lend(s, a, messages, n), why;

    a->fn.done = done;
    if (!spool_takes(s, &why))
        result = why;
    if (result == SPOOL_DONE && !are_sound(messages, n))
        result = SPOOL_FAILED;
    if (result == SPOOL_DONE && s->takes_early && s->asks.live <= SPOOL_QUEUE_MAX)
        wait_early(s, a);
    else if (result == SPOOL_DONE)
        return ask(s, a);
    else
        answer_later(s, a, result);
    return a->handle;
}

struct handle
spool_take(struct spool *s, uint64_t seq, int64_t due_by_utc_ms, struct blob_pool *pool,
    spool_taken_fn *taken, void *arg)
{
    struct spool_ask *a = new_ask(s, ASK_TAKE, arg);

    a->fn.taken = taken;
    a->seq = seq;
    a->due_by_utc_ms = due_by_utc_ms;
    a->pool = pool;
    return ask(s, a);
}

static enum spool_result
copy_body(struct spool_added *add)
{
    char *bytes = xmalloc(add->body.bytes > 0 ? (size_t)add->body.bytes : 1);
    enum spool_result result = SPOOL_DONE;
    struct span s = span_of("", 0);

    for (uint64_t at = 0; at < add->body.bytes && result == SPOOL_DONE; at += s.n) {
        size_t left = (size_t)(add->body.bytes - at);

        result = result_of_blob(blob_view_read(&add->body, at, bytes + at, left, &s));
        if (s.p != bytes + at)
            memcpy(bytes + at, s.p, s.n);
    }
    add->body = (struct blob_view){.mem = bytes, .fd = -1, .bytes = add->body.bytes};
    return result;
}

/* Nobody waits and nobody keeps it unchanged: the thread gets copies, bodies included (of notifications:
 * small). */
static enum spool_result
copy_lent(struct spool_ask *a)
{
    enum spool_result result = SPOOL_DONE;

    a->owns = true;
    a->message = spool_message_copy(a->message);
    for (size_t i = 0; i < a->n_added; i++) {
        enum spool_result copied = copy_body(&a->added[i]);

        a->added[i].message = spool_message_copy(a->added[i].message);
        if (copied != SPOOL_DONE)
            result = copied;
    }
    return result;
}

/* What became of the message must be written, with or without the notification. */
static void
leave_out_added(struct spool_ask *a)
{
    struct log_line l;

    log_begin(&l, LOG_ERROR, "lost");
    log_str(&l, "id", span_str(a->message->id));
    log_cstr(&l, "why", "the body of a notification about it cannot be read");
    log_end(&l);
    spool_ask_drop_added(a);
}

struct handle
spool_settle(struct spool *s, const struct spool_message *message, struct spool_message *const *more,
    size_t n_more, spool_done_fn *done, void *arg)
{
    struct spool_ask *a = new_ask(s, ASK_SETTLE, arg);
    enum spool_result result = lend(s, a, more, n_more);

    a->fn.done = done;
    a->seq = message->seq;
    a->message = (struct spool_message *)(uintptr_t)message; /* read only, like all that is lent */
    if (done == NULL && (copy_lent(a) != SPOOL_DONE || result != SPOOL_DONE)) {
        leave_out_added(a);
        result = SPOOL_DONE;
    }
    if (result == SPOOL_DONE && s->facts.is_open)
        spool_submit(s, a);
    else
        answer_later(s, a, result == SPOOL_DONE ? SPOOL_FAILED : result);
    return a->handle;
}

struct handle
spool_list(struct spool *s, const struct spool_filter *filter, spool_listed_fn *listed, void *arg)
{
    struct spool_ask *a = new_ask(s, ASK_LIST, arg);

    a->fn.listed = listed;
    spool_ask_set_filter(a, filter);
    return ask(s, a);
}

struct handle
spool_order(struct spool *s, enum spool_order order, const struct spool_filter *filter, const char *actor,
    const char *why, spool_ordered_fn *done, void *arg)
{
    struct spool_ask *a = new_ask(s, ASK_ORDER, arg);

    a->fn.ordered = done;
    a->order = order;
    a->actor = xstrdup(actor != NULL ? actor : "");
    a->why = xstrdup(why != NULL ? why : "");
    spool_ask_set_filter(a, filter);
    return ask(s, a);
}

void
spool_forget(struct spool *s, struct handle h)
{
    struct spool_ask *a = slots_get(&s->asks, h);

    if (a != NULL && a->kind != ASK_ADD && a->kind != ASK_SETTLE)
        a->is_forgotten = true;
}

/* ---- answering ---- */

/* Nothing of it was offered: the recipients are again what they were. */
static void
undo_take(struct spool *s, struct spool_ask *a)
{
    struct spool_message *m = a->message;

    if (m == NULL || a->before == NULL || !spool_message_is_in_flight(m))
        return;
    memcpy(m->states, a->before, m->envelope.n_recipients * sizeof(*m->states));
    spool_settle(s, m, NULL, 0, NULL, NULL);
}

static void
refuse_take(struct spool *s, struct spool_ask *a)
{
    if (a->result != SPOOL_DAMAGED)
        undo_take(s, a);
    if (!a->is_forgotten)
        a->fn.taken(a->arg, a->result == SPOOL_DONE ? SPOOL_FAILED : a->result, NULL);
    spool_end(s, a);
}

static void
hand_out(struct spool *s, struct spool_ask *a)
{
    struct spool_message *m = a->message;

    if (a->blob != NULL)
        blob_seal(a->blob);
    m->body = a->blob;
    a->blob = NULL;
    a->message = NULL;
    a->fn.taken(a->arg, SPOOL_DONE, m);
    spool_end(s, a);
}

static void
answer_take(struct spool *s, struct spool_ask *a)
{
    if (a->result != SPOOL_DONE || a->is_forgotten) {
        refuse_take(s, a);
        return;
    }
    if (a->pool == NULL) {
        hand_out(s, a);
        return;
    }
    if (a->blob == NULL)
        a->blob = blob_new(a->pool);
    a->result = result_of_blob(blob_append(a->blob, buf_span(&a->body)));
    a->body_at_bytes += buf_len(&a->body);
    a->judged_before = a->judged;
    buf_clear(&a->body);
    if (a->result != SPOOL_DONE) {
        refuse_take(s, a);
    } else if (a->body_at_bytes == (uint64_t)a->body_bytes) {
        hand_out(s, a);
    } else {
        a->kind = ASK_BODY;
        spool_submit(s, a);
    }
}

/* A settlement that nobody waits for is not lost while the database is: it is tried again when it works. */
static void
answer_done(struct spool *s, struct spool_ask *a)
{
    if (a->kind == ASK_ADD && a->result != SPOOL_DONE)
        metric_add(s->setup.metrics, M_SPOOL_REFUSED, (double)a->n_added, spool_result_to_str(a->result),
            NULL, NULL);
    if (a->fn.done != NULL) {
        a->fn.done(a->arg, a->result);
        spool_end(s, a);
    } else if (a->result == SPOOL_FAILED || a->result == SPOOL_NO_SPACE) {
        list_init(&a->job.link);
        list_add_tail(&s->again, &a->job.link);
    } else {
        spool_end(s, a);
    }
}

static void
answer_list(struct spool *s, struct spool_ask *a)
{
    if (!a->is_forgotten)
        a->fn.listed(a->arg, a->result, a->messages, a->n_messages, a->more);
    spool_end(s, a);
}

static void
answer_order(struct spool *s, struct spool_ask *a)
{
    bool is_done = a->result == SPOOL_DONE;
    struct spool_ordered slice = {a->briefs, is_done ? a->n_briefs : 0, is_done ? a->busy : 0,
        is_done && a->more};

    if (!a->is_forgotten)
        a->fn.ordered(a->arg, a->result, &slice);
    if (!slice.more) {
        spool_end(s, a);
        return;
    }
    a->reached += slice.n + slice.busy;
    a->seq = a->last_seq;
    spool_ask_reset(a);
    spool_submit(s, a);
}

static void
answer_scan(struct spool *s, struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_briefs; i++)
        s->setup.found(s->setup.arg, &a->briefs[i]);
    if (a->result == SPOOL_DONE && a->more) {
        a->seq = a->last_seq;
        spool_ask_reset(a);
        spool_submit(s, a);
        return;
    }
    if (a->result == SPOOL_DONE)
        spool_scanned(s);
    spool_end(s, a);
    spool_set_state(s);
}

static void
answer_own(struct spool *s, struct spool_ask *a)
{
    s->looks = false;
    if (a->kind == ASK_OPEN)
        spool_opened(s, a->result == SPOOL_DONE);
    if (s->facts.is_open)
        spool_settle_again(s);
    spool_end(s, a);
    spool_set_state(s);
}

/* The thread is through with it: tells who asked, or goes on. Ends its life, or submits it anew. */
static void
answer(struct spool *s, struct spool_ask *a)
{
    if (a->kind != ASK_OPEN) /* then the scan must have begun before the state is another */
        spool_set_state(s);
    switch (a->kind) {
    case ASK_OPEN:
    case ASK_LOOK:
        answer_own(s, a);
        return;
    case ASK_SCAN:
        answer_scan(s, a);
        return;
    case ASK_ADD:
    case ASK_SETTLE:
        answer_done(s, a);
        return;
    case ASK_TAKE:
    case ASK_BODY:
        answer_take(s, a);
        return;
    case ASK_LIST:
        answer_list(s, a);
        return;
    case ASK_ORDER:
        answer_order(s, a);
        return;
    }
}
