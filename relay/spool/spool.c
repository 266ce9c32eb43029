/* The loop's side: its life, its state, and what the thread tells besides answers. */
#include "relay/spool/spool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_part.h"
#include "relay/spool/spool_place.h"

static const int64_t look_ms = 1000, reopen_ms = 5000;
/* How often the lock is asked for that another process will give up, and how long messages wait for it. */
static const int64_t inherit_look_ms = 20, inherit_ms = 60000;

static const char *const state_names[] = {"closed", "loading", "ready", "full", "sick"};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == SPOOL_STATE_COUNT, "a name for each");

static const char *const result_names[] = {"done", "no_space", "failed", "gone", "busy", "damaged"};
static_assert(sizeof(result_names) / sizeof(result_names[0]) == SPOOL_RESULT_COUNT, "a name for each");

const char *
spool_state_to_str(enum spool_state s)
{
    return state_names[s];
}

const char *
spool_result_to_str(enum spool_result r)
{
    return result_names[r];
}

/* ---- state ---- */

static enum spool_state
state_now(const struct spool *s)
{
    if (!s->is_started)
        return SPOOL_CLOSED;
    if (!s->facts.is_open)
        return s->reopen_mono_ms != 0 ? SPOOL_SICK : SPOOL_LOADING;
    if (s->is_scanning)
        return SPOOL_LOADING;
    return s->facts.is_full ? SPOOL_FULL : SPOOL_READY;
}

static enum log_level
level_of(enum spool_state state)
{
    switch (state) {
    case SPOOL_SICK:
        return LOG_ERROR;
    case SPOOL_FULL:
        return LOG_WARNING;
    case SPOOL_CLOSED:
    case SPOOL_LOADING:
    case SPOOL_READY:
    case SPOOL_STATE_COUNT:
        break;
    }
    return LOG_NOTICE;
}

static void
publish(struct spool *s)
{
    metric_set(s->setup.metrics, M_SPOOL_UP, s->facts.is_open, NULL, NULL, NULL);
    metric_set(s->setup.metrics, M_SPOOL_BYTES, (double)s->facts.counts.bytes, NULL, NULL, NULL);
}

void
spool_set_state(struct spool *s)
{
    enum spool_state now = state_now(s);
    struct log_line l;

    if (now == s->state)
        return;
    s->state = now;
    log_begin(&l, level_of(now), "spool");
    log_cstr(&l, "state", state_names[now]);
    if (now == SPOOL_SICK || now == SPOOL_FULL)
        log_cstr(&l, "why", s->facts.why);
    log_int(&l, "messages", (int64_t)s->facts.counts.messages);
    log_end(&l);
    s->setup.changed(s->setup.arg);
}

void
spool_opened(struct spool *s, bool works)
{
    struct spool_ask *scan;

    if (works && s->next_seq <= s->facts.highest_seq)
        s->next_seq = s->facts.highest_seq + 1;
    spool_end_early(s, works);
    if (!works) {
        s->reopen_mono_ms = clock_mono_ms() + reopen_ms;
        return;
    }
    s->reopen_mono_ms = 0;
    s->is_scanning = true;
    scan = spool_ask_new(s, ASK_SCAN, NULL);
    scan->handle = slots_add(&s->asks, scan);
    spool_submit(s, scan);
}

void
spool_settle_again(struct spool *s)
{
    for (struct list *it; (it = list_pop(&s->again)) != NULL;)
        spool_submit(s, LIST_ITEM(LIST_ITEM(it, struct job, link), struct spool_ask, job));
}

void
spool_scanned(struct spool *s)
{
    s->is_scanning = false;
}

/* ---- what the thread tells ---- */

static void
log_note(struct spool *s, const struct spool_note *n)
{
    static const char *const events[] = {"uncertain", "damaged", "lost", "spool", "spool"};
    struct log_line l;

    static_assert(sizeof(events) / sizeof(events[0]) == NOTE_KIND_COUNT, "an event for each");
    if (n->kind == NOTE_UNCERTAIN)
        metric_add(s->setup.metrics, M_UNCERTAIN, 1, NULL, NULL, NULL);
    log_begin(&l, n->kind == NOTE_INFO ? LOG_NOTICE : n->kind == NOTE_UNCERTAIN ? LOG_WARNING : LOG_ERROR,
        events[n->kind]);
    if (n->id[0] != '\0')
        log_str(&l, "id", span_str(n->id));
    log_cstr(&l, "why", n->why);
    log_end(&l);
}

/* A handle that was closed is tried anew after a while; until then the facts of its end stand. */
static void
take_facts(struct spool *s, const struct spool_facts *f)
{
    if (s->facts.is_open && !f->is_open)
        s->reopen_mono_ms = clock_mono_ms() + reopen_ms;
    metric_add(s->setup.metrics, M_SPOOL_DAMAGED, (double)(f->damaged - s->facts.damaged), NULL, NULL, NULL);
    if (f->commit_us >= 0)
        metric_add(s->setup.metrics, M_SPOOL_COMMIT_SECONDS, (double)f->commit_us / 1e6, NULL, NULL, NULL);
    s->facts = *f;
    publish(s);
}

void
spool_learn(struct spool *s, struct spool_ask *a)
{
    for (struct list *it; (it = list_pop(&a->notes)) != NULL;) {
        struct spool_note *n = LIST_ITEM(it, struct spool_note, link);

        log_note(s, n);
        free(n);
    }
    if (a->facts != NULL)
        take_facts(s, a->facts);
    free(a->facts);
    a->facts = NULL;
}

/* ---- life ---- */

static void
ask_thread(struct spool *s, enum spool_ask_kind kind)
{
    struct spool_ask *a = spool_ask_new(s, kind, NULL);

    a->handle = slots_add(&s->asks, a);
    a->terms = s->terms;
    spool_submit(s, a);
}

/* ---- a spool another process still has ---- */

static void
open_file(struct spool *s)
{
    s->looks = true;
    ask_thread(s, ASK_OPEN);
}

/* False: it is not ours. Who waits for it is told no when it is too late, but it is asked for as long as it
 * takes. */
static bool
have_lock(struct spool *s)
{
    struct err err;

    if (s->early_until_mono_ms == 0)
        return true;
    if (spool_place_lock(s->place_fd, s->folder, &err) == 0) {
        s->early_until_mono_ms = 0;
        open_file(s);
        return true;
    }
    if (clock_mono_ms() >= s->early_until_mono_ms)
        spool_end_early(s, false);
    return false;
}

static void
on_look(void *arg)
{
    struct spool *s = arg;
    bool ours = have_lock(s);

    timer_start(&s->look, ours ? look_ms : inherit_look_ms);
    if (!ours || s->looks)
        return;
    if (s->facts.is_open) {
        s->looks = true;
        ask_thread(s, ASK_LOOK);
    } else if (s->reopen_mono_ms != 0 && clock_mono_ms() >= s->reopen_mono_ms) {
        open_file(s);
    }
}

static struct spool_terms
terms_of(const struct spool_conf *c)
{
    return (struct spool_terms){.retry_max_ms = c->retry_max_ms, .uncertain_ms = c->uncertain_ms,
        .uncertain_max = c->uncertain_max, .size_limit_bytes = c->size_limit_bytes};
}

struct spool *
spool_new(const struct spool_setup *setup, const struct spool_conf *conf, struct err *err)
{
    struct spool *s = xcalloc(1, sizeof(*s));

    s->setup = *setup;
    s->folder = xstrdup(conf->folder);
    s->terms = terms_of(conf);
    s->next_seq = 1;
    slots_init(&s->asks);
    list_init(&s->early);
    list_init(&s->again);
    list_init(&s->last);
    timer_init(&s->look, setup->loop, on_look, s);
    s->place_fd = spool_place_open(s->folder, err);
    s->takes_early = setup->inherits;
    s->early_until_mono_ms = setup->inherits ? clock_mono_ms() + inherit_ms : 0;
    if (s->place_fd >= 0 && (setup->inherits || spool_place_lock(s->place_fd, s->folder, err) == 0)) {
        s->thread = spool_thread_new(s->folder);
        s->worker = worker_new_batch(setup->loop, SIZE_MAX, spool_thread_batch, s->thread, err);
    }
    if (s->worker == NULL)
        spool_free(&s);
    return s;
}

int
spool_start(struct spool *s, struct err *err)
{
    if (worker_start(s->worker, 1, err) != 0)
        return -1;
    s->is_started = true;
    s->state = SPOOL_LOADING;
    if (have_lock(s) && !s->looks)
        open_file(s);
    timer_start(&s->look, s->looks ? look_ms : inherit_look_ms);
    return 0;
}

static void
drop_ask(void *object)
{
    struct spool_ask *a = object;

    task_cancel(&a->task);
    spool_end(a->spool, a);
}

/* Takes whose answer nobody heard were undone; the thread has ended, so that is written here. */
static void
write_last(struct spool *s)
{
    struct list finished;

    list_init(&finished);
    if (!list_is_empty(&s->last))
        spool_thread_batch(s->thread, &s->last, &finished);
}

void
spool_free(struct spool **spool)
{
    struct spool *s = *spool;

    if (s == NULL)
        return;
    *spool = NULL;
    worker_free(&s->worker);
    write_last(s);
    slots_each(&s->asks, drop_ask); /* what the thread never had */
    slots_fini(&s->asks);
    spool_thread_free(&s->thread);
    timer_fini(&s->look);
    if (s->place_fd >= 0)
        close(s->place_fd);
    free(s->folder);
    free(s);
}

void
spool_configure(struct spool *s, const struct spool_conf *conf)
{
    s->terms = terms_of(conf);
}

bool
spool_takes(const struct spool *s, enum spool_result *why_out)
{
    bool full = s->facts.is_open && s->facts.is_full;
    bool takes = s->facts.is_open ? !full : s->takes_early;

    *why_out = takes ? SPOOL_DONE : full ? SPOOL_NO_SPACE : SPOOL_FAILED;
    return takes;
}

void
spool_status(const struct spool *s, struct spool_status *out)
{
    const struct spool_facts *f = &s->facts;

    *out = (struct spool_status){.state = s->state, .messages = f->counts.messages, .bytes = f->counts.bytes,
        .held = f->counts.held, .parked = f->counts.parked, .free_bytes = f->free_bytes,
        .needed_bytes = f->needed_bytes, .damaged = f->damaged, .oldest_utc_ms = f->oldest_utc_ms};
    out->takes_early = s->state == SPOOL_LOADING && s->setup.inherits && (s->takes_early || f->is_open);
    if (s->state == SPOOL_SICK || s->state == SPOOL_FULL)
        snprintf(out->why, sizeof(out->why), "%s", f->why);
    else if (s->early_until_mono_ms != 0)
        snprintf(out->why, sizeof(out->why), "the process that was replaced has it until it ends");
}

bool
spool_is_ours(struct spool *s)
{
    return have_lock(s);
}
