#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_caps.h"
#include "relay/store/store_keys.h"
#include "relay/store/store_redis_part.h"
#include "tls/tls.h"

#define PAUSES_UNKNOWN ((uint64_t)1 << 40) /* no version of the pauses is this one: send them all */

struct redis_store *
redis_store_of(const struct store *s)
{
    return (struct redis_store *)(void *)(uintptr_t)s;
}

struct codec_node
redis_store_node(const struct redis_store *r)
{
    return (struct codec_node){buf_span(&r->prefix).p, journal_uuid(r->journal), r->run,
        journal_epoch(r->journal)};
}

int64_t
redis_store_now_ms(const struct redis_store *r)
{
    uint64_t now_us = redis_clock_now_us(&r->clock, clock_mono_us());

    return now_us > 0 ? (int64_t)(now_us / 1000) : clock_utc_ms();
}

void
redis_store_ignore(void *arg, const struct redisReply *reply, enum store_error error)
{
    (void)arg;
    (void)reply;
    (void)error;
}

bool
redis_store_is_ready(const struct redis_store *r, enum store_error *error_out)
{
    *error_out = STORE_OK;
    if (!redis_link_is_up(r->link) || !r->accepted)
        *error_out = r->error != STORE_OK ? r->error : STORE_DOWN;
    else if (r->clock.off)
        *error_out = STORE_CLOCK;
    else if (clock_mono_ms() - r->accepted_mono_ms > SILENCE_MS)
        *error_out = STORE_TIMEOUT; /* others think this node dead and may have raised the caps */
    return *error_out == STORE_OK;
}

enum store_error
redis_store_charge_error(const struct redis_store *r)
{
    return clock_mono_ms() - r->charge_error_mono_ms < CHARGE_ERROR_MS ? r->charge_error : STORE_OK;
}

bool
redis_store_send(struct redis_store *r, link_reply_fn *done, void *arg)
{
    return redis_link_send(r->link, &r->command, r->conf.command_ms, done, arg);
}

void
redis_store_count_error(struct redis_store *r, enum store_error error)
{
    if (r->metrics)
        metric_add(r->metrics, M_STORE_ERRORS, 1, store_error_to_str(error), NULL, NULL);
}

void
redis_store_note(struct redis_store *r, enum store_error error, const char *detail)
{
    struct log_line l;
    bool changed = !r->noted || error != r->error;

    r->noted = true;
    r->error = error;
    snprintf(r->detail, sizeof(r->detail), "%s", detail);
    if (r->metrics)
        metric_set(r->metrics, M_STORE_UP, error == STORE_OK, NULL, NULL, NULL);
    if (!changed)
        return;
    log_begin(&l, error == STORE_OK ? LOG_NOTICE : LOG_ERROR, "store");
    log_cstr(&l, "state", error == STORE_OK ? "up" : store_error_to_str(error));
    if (detail[0])
        log_cstr(&l, "detail", detail);
    log_end(&l);
}

/* ---- the heartbeat ---- */

static void
random_hex(char *out, size_t bytes)
{
    unsigned char random[16];

    sg_assert(bytes <= sizeof(random) && getrandom(random, bytes, 0) == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

void
redis_store_new_run(struct redis_store *r)
{
    random_hex(r->run, 8);
}

static void
pack_caps(struct redis_store *r)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a: tells a change, defends nothing */
    struct span packed;

    buf_clear(&r->caps);
    store_caps(&r->caps, r->limits, r->n_limits, buf_span(&r->slot_caps));
    packed = buf_span(&r->caps);
    for (size_t i = 0; i < packed.n; i++)
        hash = (hash ^ (unsigned char)packed.p[i]) * 1099511628211ull;
    snprintf(r->caps_hash, sizeof(r->caps_hash), "%016llx", (unsigned long long)hash);
}

static uint64_t
shortest_period_ms(const struct redis_store *r)
{
    uint64_t shortest = 86400000;

    for (size_t i = 0; i < r->n_limits; i++)
        if (r->limits[i].kind != LIMIT_CONCURRENCY && r->limits[i].period_ms < shortest)
            shortest = r->limits[i].period_ms;
    return shortest;
}

/* After a loss nothing leaves for so long. What is only watched holds nothing, not then either. */
static uint64_t
longest_window_ms(const struct redis_store *r)
{
    uint64_t longest = 0;

    for (size_t i = 0; i < r->n_limits; i++)
        if (r->limits[i].kind != LIMIT_CONCURRENCY && r->limits[i].mode != MODE_SHADOW
            && r->limits[i].period_ms > longest)
            longest = r->limits[i].period_ms;
    return longest > 0 ? longest : 86400000;
}

static void
send_beat(struct redis_store *r, link_reply_fn *done)
{
    struct codec_node node = redis_store_node(r);
    char new_epoch[17];
    struct codec_heartbeat h = {.node = r->node, .first = !r->met, .acked = journal_acked(r->journal),
        .last_charge_ms = journal_last_charge_ms(r->journal), .longest_ms = longest_window_ms(r),
        .settle_ms = (uint64_t)(r->conf.settle_ms > 0 ? r->conf.settle_ms : 0), .new_epoch = new_epoch,
        .pauses_known = r->pauses_version, .caps_hash = r->caps_hash, .heard_ms = r->heard_ms,
        .server = redis_link_server(r->link), .others_ms = redis_link_others_ms(r->link)};

    if (journal_is_suspect(r->journal))
        h.settle_ms = h.longest_ms;
    random_hex(new_epoch, 8);
    if (strcmp(r->caps_hash, r->caps_sent) != 0)
        h.caps = buf_span(&r->caps);
    codec_heartbeat(&r->command, &node, &h);
    r->beat_mono_us = clock_mono_us();
    r->beating = redis_store_send(r, done, r);
}

static void on_beat(void *arg, const struct redisReply *reply, enum store_error error);
static void on_introduced(void *arg, const struct redisReply *reply, enum store_error error);

void
redis_store_beat(struct redis_store *r)
{
    if (!r->beating && redis_link_is_up(r->link))
        send_beat(r, on_beat);
}

void
redis_store_introduce(struct redis_store *r)
{
    r->caps_sent[0] = '\0';
    send_beat(r, on_introduced);
    if (!r->beating)
        redis_store_guest_heard(r, STORE_DOWN);
}

/* True when the counters are not those this node knew: what it holds in Redis must be said again. */
static bool
take_epoch(struct redis_store *r, const struct heartbeat_reply *h)
{
    bool changed = strcmp(journal_epoch(r->journal), h->epoch) != 0;

    if (h->lost)
        log_text(LOG_ERROR, "store_lost", "Redis lost counters that still count (epoch was %s, is %s):"
            " nothing leaves for %lld s, or until an operator opens the store", journal_epoch(r->journal),
            h->epoch, (long long)(h->open_at_ms - (int64_t)(h->time_us / 1000)) / 1000);
    else if (changed && journal_epoch(r->journal)[0])
        log_text(LOG_NOTICE, "store_term", "another Redis has the counters now, or it was started anew (epoch"
            " was %s, is %s)", journal_epoch(r->journal), h->epoch);
    if (changed || h->lost)
        r->pauses_version = PAUSES_UNKNOWN;
    journal_set_epoch(r->journal, h->epoch);
    journal_ack(r->journal, h->seq, h->charged_ms);
    r->heard_ms = h->charged_ms;
    if (h->seq > r->seq)
        r->seq = h->seq;
    r->open_at_ms = h->open_at_ms;
    return changed || h->lost;
}

static const char *
beat_error_words(enum store_error error)
{
    switch (error) {
    case STORE_SCHEMA:
        return "the keys in Redis were written by a newer version of sendgov";
    case STORE_OTHER:
        return "another living node uses this node's name (or its state folder was copied)";
    default: /* STORE_PROTOCOL is the only other one */
        return "heartbeat.lua gave an answer that makes no sense";
    }
}

/* The first time of a process, or one that was doubted then, is doubted while it lies before charges this
 * node knows of. */
static bool
is_time_doubted(const struct redis_store *r, const struct heartbeat_reply *h)
{
    bool is_before = h->time_us / 1000 + 1000 < journal_last_charge_ms(r->journal);

    return is_before && (r->time_doubted || !r->met);
}

/* True: it agrees with what this node knows of the time. */
static bool
take_time(struct redis_store *r, const struct heartbeat_reply *h)
{
    bool was_off = r->clock.off, agrees;

    r->time_doubted = is_time_doubted(r, h);
    agrees = redis_clock_learn(&r->clock, h->time_us, r->beat_mono_us, clock_mono_us());
    if (r->time_doubted) { /* the clock itself would believe it after a few beats that agree */
        r->clock.off = true;
        r->clock.agreed = 0;
    }
    if (r->clock.off && !was_off)
        log_text(LOG_ERROR, "store_clock", "Redis' clock jumped: nothing leaves until it agrees again or an"
            " operator confirms it (it says %llu ms)", (unsigned long long)(h->time_us / 1000));
    return agrees && !r->clock.off;
}

static enum store_error
take_beat(struct redis_store *r, const struct redisReply *reply, enum store_error error)
{
    bool first_on_connection = !r->accepted, renew;
    struct heartbeat_reply h;

    r->beating = false;
    if (error != STORE_OK) {
        r->accepted = false;
        if (redis_link_is_up(r->link)) { /* else on_down says why */
            redis_store_count_error(r, error);
            redis_store_note(r, error, redis_link_error_text(r->link));
        }
        return error;
    }
    codec_heartbeat_reply(reply, &h);
    if (h.error != STORE_OK) {
        r->accepted = false;
        redis_store_count_error(r, h.error);
        redis_store_note(r, h.error, beat_error_words(h.error));
        return h.error;
    }
    if (!take_time(r, &h)) {
        redis_store_count_error(r, STORE_CLOCK);
        redis_store_note(r, STORE_CLOCK,
            r->time_doubted ? "Redis' time lies before charges this node knows of" : "Redis' clock jumped");
    } else {
        if (redis_store_charge_error(r) == STORE_OK)
            redis_store_note(r, STORE_OK, "");
        redis_clock_save(&r->clock, r->journal);
    }
    renew = take_epoch(r, &h) || first_on_connection;
    r->met = r->accepted = true;
    r->accepted_mono_ms = clock_mono_ms();
    r->nodes = h.nodes;
    snprintf(r->differs, sizeof(r->differs), "%s", h.differs);
    snprintf(r->caps_sent, sizeof(r->caps_sent), "%s", h.send_caps ? "" : r->caps_hash);
    if (h.pauses_version != r->pauses_version || h.n_pause_texts > 0) {
        redis_store_sync_pauses(r, reply, &h);
        r->pauses_version = h.lost ? PAUSES_UNKNOWN : h.pauses_version;
    }
    redis_store_tend_pauses(r);
    redis_store_tend_leases(r, renew);
    redis_store_tend_changes(r);
    if (h.send_caps || h.lost)
        redis_store_beat(r);
    return STORE_OK;
}

static void
on_beat(void *arg, const struct redisReply *reply, enum store_error error)
{
    (void)take_beat(arg, reply, error);
}

static void
on_introduced(void *arg, const struct redisReply *reply, enum store_error error)
{
    redis_store_guest_heard(arg, take_beat(arg, reply, error));
}

static void
on_heart(void *arg)
{
    struct redis_store *r = arg;

    timer_start(&r->heart, HEARTBEAT_MS);
    redis_link_recheck(r->link, r->conf.command_ms); /* first: what it finds holds for the heartbeat too */
    redis_store_beat(r);
}

/* ---- the connection ---- */

static void
on_up(void *arg)
{
    struct redis_store *r = arg;

    r->caps_sent[0] = '\0';
    redis_store_beat(r);
}

static void
on_down(void *arg, enum store_error error, const char *detail)
{
    struct redis_store *r = arg;

    r->accepted = r->beating = false;
    redis_store_count_error(r, error);
    redis_store_note(r, error, detail);
}

static const struct redis_link_ops link_ops = {on_up, on_down};

/* ---- the rest of the interface ---- */

static void
set_limits(struct store *s, const struct limit_conf *limits, size_t n)
{
    struct redis_store *r = redis_store_of(s);

    r->limits = limits;
    r->n_limits = n;
    redis_clock_set_shortest(&r->clock, shortest_period_ms(r) * 1000);
    pack_caps(r);
    /* One under way has the old caps: the new ones go after it, and before the next charge. */
    r->beating = false;
    redis_store_beat(r);
}

static void
set_slot_caps(struct store *s, const struct slot_cap *caps, size_t n)
{
    struct redis_store *r = redis_store_of(s);

    buf_clear(&r->slot_caps);
    store_slot_caps(&r->slot_caps, caps, n);
}

static void
forget(struct store *s, struct handle h)
{
    struct ask *ask = ask_get(&redis_store_of(s)->asks, h);

    if (ask)
        ask->forgotten = true;
}

static void
on_opened(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct ask *ask = arg;
    struct redis_store *r = redis_store_of(ask->store);
    int64_t f[2];

    if (error == STORE_OK && !codec_integers(reply, f, 2))
        error = STORE_PROTOCOL;
    ask->ok = error == STORE_OK && f[0] == 1;
    ask->error = ask->ok || error != STORE_OK ? error : STORE_OTHER;
    if (ask->ok) {
        redis_clock_trust(&r->clock);
        r->time_doubted = false;
        journal_forget_marks(r->journal);
        redis_store_beat(r);
    }
    ask_answer(ask);
}

static const char *
identity(const struct store *s)
{
    return journal_uuid(redis_store_of(s)->journal);
}

static void
open_store(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg)
{
    struct redis_store *r = redis_store_of(s);
    struct ask *ask = ask_new(&r->asks, s, ASK_DONE, arg);
    struct codec_node node = redis_store_node(r);

    (void)actor; /* who asked knows them, and the outcome, for the log */
    (void)reason;
    ask->fn.done = done;
    codec_open(&r->command, &node);
    if (!redis_store_send(r, on_opened, ask)) {
        ask->error = STORE_DOWN;
        ask_answer_later(ask);
    }
}

static void
status(const struct store *s, struct store_status *out)
{
    const struct redis_store *r = redis_store_of(s);
    enum store_error error;

    memset(out, 0, sizeof(*out));
    out->up = redis_store_is_ready(r, &error);
    out->error = error;
    out->charge_error = redis_store_charge_error(r);
    if (!out->up || out->charge_error != STORE_OK)
        snprintf(out->detail, sizeof(out->detail), "%s", r->detail);
    out->redis_time_ms = (int64_t)(r->clock.time_us / 1000);
    out->closed_for_ms = -1;
    if (r->met) {
        int64_t left_ms = r->open_at_ms - redis_store_now_ms(r);

        out->closed_for_ms = left_ms > 0 ? left_ms : 0;
    }
    out->nodes = r->nodes;
    snprintf(out->differs, sizeof(out->differs), "%s", r->differs);
    out->changes = r->pauses_version;
    snprintf(out->node, sizeof(out->node), "%s", r->node);
}

/* ---- life ---- */

static void
make_link(struct redis_store *r, struct tls_ctx *tls)
{
    struct redis_link_setup setup = {r->loop, r->dialer, r->metrics};

    r->link = redis_link_new(&setup, &r->conf, tls, &link_ops, r);
}

struct store_plan {
    struct store_conf conf; /* own copies of its strings */
    struct tls_ctx *tls;
    bool reconnects; /* false: nothing changes */
};

static void
discard(struct store *s, struct store_plan **plan)
{
    (void)s;
    tls_ctx_unref(&(*plan)->tls);
    store_conf_free(&(*plan)->conf);
    free(*plan);
    *plan = NULL;
}

static struct store_plan *
prepare(struct store *s, const struct store_conf *conf, struct err *err)
{
    struct store_plan *plan = xcalloc(1, sizeof(*plan));

    store_conf_copy(&plan->conf, conf);
    plan->reconnects = !store_conf_is_same(&redis_store_of(s)->conf, &plan->conf);
    if (!plan->reconnects)
        return plan;
    if (redis_link_load_tls(&plan->conf, &plan->tls, err) != 0)
        discard(s, &plan);
    return plan;
}

static void
commit(struct store *s, struct store_plan **plan)
{
    struct redis_store *r = redis_store_of(s);
    struct store_plan *p = *plan;
    struct store_conf old = r->conf;

    if (p->reconnects) {
        redis_link_retire(&r->link);
        r->conf = p->conf;
        p->conf = old; /* goes with the plan */
        make_link(r, p->tls);
        p->tls = NULL;
        r->accepted = r->beating = false;
        buf_clear(&r->prefix);
        store_key_prefix(&r->prefix, r->conf.group);
    }
    discard(s, plan);
}

static void
store_redis_free(struct store *s)
{
    struct redis_store *r = redis_store_of(s);

    asks_forget(&r->asks);
    task_cancel(&r->gather_task);
    redis_link_free(&r->link);
    timer_fini(&r->heart);
    asks_fini(&r->asks);
    redis_store_free_leases(r);
    redis_store_free_changes(r);
    redis_store_fini_pauses(r);
    journal_close(&r->journal);
    command_fini(&r->command);
    buf_fini(&r->prefix);
    buf_fini(&r->caps);
    buf_fini(&r->slot_caps);
    store_conf_free(&r->conf);
    free(r->state_folder);
    free(r->own_node);
    free(r->node);
    free(r);
}

static void
note_late(struct store *s, const char *detail)
{
    struct redis_store *r = redis_store_of(s);

    r->charge_error = STORE_TIMEOUT;
    r->charge_error_mono_ms = clock_mono_ms();
    redis_store_note(r, STORE_TIMEOUT, detail);
}

static const struct store_ops redis_ops = {
    .free = store_redis_free,
    .prepare = prepare,
    .commit = commit,
    .discard = discard,
    .set_limits = set_limits,
    .set_slot_caps = set_slot_caps,
    .charge = redis_store_charge,
    .forget = forget,
    .refund = redis_store_refund,
    .note_late = note_late,
    .lease_take = redis_store_lease_take,
    .lease_give = redis_store_lease_give,
    .lease_disown = redis_store_lease_disown,
    .identity = identity,
    .become_guest = redis_store_become_guest,
    .return_home = redis_store_return,
    .hear_pause = redis_store_hear_pause,
    .now_ms = redis_store_time_ms,
    .pause = redis_store_pause,
    .resume = redis_store_resume,
    .pauses = redis_store_pauses,
    .pause_for = redis_store_pause_for,
    .warmup_change = redis_store_warmup_change,
    .warmup_step = redis_store_warmup_step,
    .warmup_resume = redis_store_warmup_resume,
    .warmup_move = redis_store_warmup_move,
    .lower_cap = redis_store_lower_cap,
    .usage = redis_store_usage,
    .open = open_store,
    .status = status,
};

struct store *
store_redis_new(const struct store_setup *setup, const struct store_conf *conf, struct err *err)
{
    struct redis_store *r = xcalloc(1, sizeof(*r));
    struct tls_ctx *tls;

    r->base.ops = &redis_ops;
    r->loop = setup->loop;
    r->dialer = setup->dialer;
    r->metrics = setup->metrics;
    r->error = STORE_DOWN;
    snprintf(r->detail, sizeof(r->detail), "not connected yet");
    r->journal = journal_open(setup->state_folder, err);
    if (!r->journal) {
        free(r);
        return NULL;
    }
    if (journal_is_suspect(r->journal))
        log_text(LOG_ERROR, "store_journal", "store.journal could not be read and was put aside as"
            " store.journal.bad; if Redis has lost its counters too, nothing leaves for the longest window");
    redis_clock_set_shortest(&r->clock, shortest_period_ms(r) * 1000);
    redis_clock_restore(&r->clock, r->journal, clock_mono_us());
    r->node = xstrdup(setup->node);
    r->state_folder = xstrdup(setup->state_folder);
    store_conf_copy(&r->conf, conf);
    redis_store_new_run(r);
    r->seq = journal_acked(r->journal);
    r->pauses_version = PAUSES_UNKNOWN;
    asks_init(&r->asks, r->loop);
    redis_store_batch_init(r);
    command_init(&r->command);
    buf_init(&r->prefix);
    buf_init(&r->caps);
    buf_init(&r->slot_caps);
    store_key_prefix(&r->prefix, r->conf.group);
    set_slot_caps(&r->base, NULL, 0);
    pack_caps(r);
    list_init(&r->leases);
    list_init(&r->changes);
    redis_store_init_pauses(r);
    if (!setup->replaces)
        redis_store_init_guests(r);
    timer_init(&r->heart, r->loop, on_heart, r);
    timer_start(&r->heart, HEARTBEAT_MS);
    if (redis_link_load_tls(&r->conf, &tls, err) != 0) {
        store_redis_free(&r->base);
        return NULL;
    }
    make_link(r, tls);
    return &r->base;
}
