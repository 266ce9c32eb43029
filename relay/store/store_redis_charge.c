#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_redis_part.h"

#define MS_PER_DAY (US_PER_DAY / 1000)
#define STEP_TRIES 8 /* per question; two answer for one warm-up */
#define CLOCK_SLACK_MS 60000 /* the own idea of Redis' time may run behind it */

/* ---- charge ---- */

static void
answer_error(struct ask *ask, enum store_error error)
{
    redis_store_count_error(redis_store_of(ask->store), error);
    ask->verdict = (struct verdict){.kind = VERDICT_NO_DECISION, .error = error, .retry_after_ms = -1};
}

static void
answer_closed(struct ask *ask, int64_t retry_ms)
{
    ask->verdict = (struct verdict){.kind = VERDICT_CLOSED, .retry_after_ms = retry_ms};
}

static void
answer_paused(struct ask *ask, const struct pause *p, int64_t now_ms)
{
    ask->verdict = (struct verdict){.kind = VERDICT_PAUSED, .time_us = (uint64_t)now_ms * 1000,
        .scope = p->scope, .pause = *p,
        .retry_after_ms = p->until_utc_ms > 0 ? p->until_utc_ms - now_ms : -1};
    memcpy(ask->verdict.instance, p->instance, sizeof(p->instance));
}

static const struct charge_scope *
scope_of_line(const struct charge_request *r, size_t line)
{
    for (size_t i = 0; i < r->n_scopes; i++)
        if (line >= r->scopes[i].first_line && line < r->scopes[i].first_line + r->scopes[i].n_lines)
            return &r->scopes[i];
    return NULL;
}

/* The steps this node has heard of are newer than the request's. Where Redis has forgotten them, the days
 * since then count as days without mail. */
static void
set_known_steps(struct redis_store *s, struct charge_request *r, struct decide_line *facts)
{
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct limit_conf *l = r->lines[i].limit;
        const char *instance;
        uint32_t step;

        if (l->kind != LIMIT_WARMUP || facts[i].day_line != i)
            continue;
        instance = scope_of_line(r, i)->instance;
        step = journal_step(s->journal, l->name, instance);
        facts[i].step_day = journal_step_ms(s->journal, l->name, instance) / MS_PER_DAY;
        if (step > 0 && step != r->lines[i].step)
            decide_set_step(r, facts, i, step);
    }
}

/* A limit that was charged here within its period must have a counter, unless it was forgotten under a
 * shorter period; then what is not known any more may have filled it. Which period that is, only the script
 * knows: another node's may be longer. And as long as the counters of an instance must exist, that there is
 * none at all means that somebody deleted them: all are full then. A limit that was added since begins to
 * count now. */
static void
set_expected(struct redis_store *s, const struct charge_request *r, struct decide_line *facts)
{
    uint64_t now_ms = (uint64_t)redis_store_now_ms(s);

    for (size_t i = 0; i < r->n_scopes; i++) {
        const struct charge_scope *scope = &r->scopes[i];
        bool key = journal_marked_until_ms(s->journal, scope->scope, scope->instance) > now_ms;

        for (size_t k = scope->first_line; k < scope->first_line + scope->n_lines; k++) {
            uint64_t charged_ms = journal_limit_marked_ms(s->journal, scope->scope, scope->instance,
                r->lines[k].limit->name);

            facts[k].is_expected = key;
            facts[k].charged_us = charged_ms > 0 ? (charged_ms + 1) * 1000 : 0; /* it was rounded down */
        }
    }
}

/* What set_expected() wants to know later. */
static void
mark_charged(struct redis_store *s, const struct charge_request *r, const struct charge_reply *reply)
{
    uint64_t now_ms = reply->verdict.time_us / 1000;

    for (size_t i = 0; i < r->n_scopes; i++) {
        const struct charge_scope *scope = &r->scopes[i];
        uint64_t kept_us = 0;

        for (size_t k = scope->first_line; k < scope->first_line + scope->n_lines; k++) {
            const struct limit_conf *l = r->lines[k].limit;
            uint64_t period_us = reply->longer_us[k] > 0 ? reply->longer_us[k] : counter_period_us(l);
            uint64_t this_us = counter_kept_us(counter_kind(l), period_us);

            kept_us = this_us > kept_us ? this_us : kept_us;
            journal_mark_limit(s->journal, scope->scope, scope->instance, l->name, now_ms);
        }
        if (kept_us > 0)
            journal_mark(s->journal, scope->scope, scope->instance, now_ms + kept_us / 1000 - CLOCK_SLACK_MS);
    }
}

bool
redis_store_send_charge(struct redis_store *s, struct ask *ask, unsigned times_asked, link_reply_fn *done)
{
    struct codec_node node = redis_store_node(s);
    int64_t now_us = clock_mono_us(), left_ms = ask->deadline_mono_ms - now_us / 1000;
    struct codec_times times = {.seq = ask->verdict.seq, .acked = journal_acked(s->journal),
        .times = times_asked};

    if (left_ms <= 0)
        return false;
    redis_clock_bounds(&s->clock, now_us, left_ms, &times.earliest_us, &times.latest_us);
    if (times.latest_us > 0)
        times.not_after_us = redis_clock_now_us(&s->clock, now_us) + (uint64_t)left_ms * 1000;
    codec_charge(&s->command, &node, &ask->request, ask->facts, &times);
    ask->verdict.sent_mono_ms = now_us / 1000;
    return redis_link_send(s->link, &s->command, left_ms, done, ask);
}

void
redis_store_note_granted(struct redis_store *s, const struct ask *ask, const struct charge_reply *reply,
    uint64_t seq)
{
    const struct charge_request *r = &ask->request;
    uint64_t now_ms = reply->verdict.time_us / 1000;

    for (size_t i = 0; i < reply->n_steps; i++) {
        const char *limit = r->lines[reply->steps[i].line].limit->name;
        const char *instance = scope_of_line(r, reply->steps[i].line)->instance;

        journal_set_step(s->journal, limit, instance, reply->steps[i].step, now_ms);
    }
    if (r->look)
        return;
    journal_ack(s->journal, seq, now_ms);
    mark_charged(s, r, reply);
}

/* True: asked again. */
static bool
ask_next_step(struct redis_store *s, struct ask *ask, const struct charge_reply *reply)
{
    const struct charge_request *r = &ask->request;

    journal_set_step(s->journal, r->lines[reply->line].limit->name, scope_of_line(r, reply->line)->instance,
        reply->step, reply->verdict.time_us / 1000);
    decide_set_step(&ask->request, ask->facts, reply->line, reply->step);
    return ++ask->tries < STEP_TRIES && redis_store_send_charge(s, ask, 1, redis_store_on_charge);
}

static void
take_verdict(struct redis_store *s, struct ask *ask, const struct charge_reply *reply)
{
    uint64_t seq = ask->verdict.seq;
    int64_t sent_mono_ms = ask->verdict.sent_mono_ms;

    if (reply->verdict.kind == VERDICT_NO_DECISION) {
        answer_error(ask, reply->verdict.error);
        if (reply->verdict.error == STORE_CLOCK)
            redis_store_beat(s); /* which looks closer, and decides for all that follow */
        return;
    }
    s->charge_error = STORE_OK;
    if (reply->verdict.kind == VERDICT_GRANTED) {
        redis_store_note_granted(s, ask, reply, seq);
        if (ask->forgotten && !ask->request.look && s->metrics)
            metric_add(s->metrics, M_CHARGES_VOID, 1, "forgotten", NULL, NULL);
    }
    ask->verdict = reply->verdict;
    codec_mark_people(reply, &ask->request);
    ask->verdict.people = reply->verdict.kind == VERDICT_GRANTED ? ask->request.people : NULL;
    ask->verdict.seq = seq;
    ask->verdict.sent_mono_ms = sent_mono_ms;
}

void
redis_store_charge_failed(struct redis_store *s, struct ask *ask, enum store_error error)
{
    /* It may have been counted; nothing is sent on it, so it only counts too much. */
    if (!ask->request.look && (error == STORE_TIMEOUT || error == STORE_DOWN) && s->metrics)
        metric_add(s->metrics, M_CHARGES_VOID, 1, "no_answer", NULL, NULL);
    answer_error(ask, error);
    if (redis_link_is_up(s->link)) {
        s->charge_error = error;
        s->charge_error_mono_ms = clock_mono_ms();
        redis_store_note(s, error, redis_link_error_text(s->link));
    }
}

void
redis_store_on_charge(void *arg, const struct redisReply *redis_reply, enum store_error error)
{
    struct ask *ask = arg;
    struct redis_store *s = redis_store_of(ask->store);
    struct charge_reply reply;

    if (error != STORE_OK) {
        redis_store_charge_failed(s, ask, error);
        ask_answer(ask);
        return;
    }
    codec_charge_reply(redis_reply, &ask->request, &reply);
    switch (reply.kind) {
    case REPLY_VERDICT:
        take_verdict(s, ask, &reply);
        break;
    case REPLY_STEP:
        if (ask_next_step(s, ask, &reply))
            return;
        answer_error(ask, STORE_TIMEOUT);
        break;
    case REPLY_EPOCH:
    case REPLY_LOST:
        redis_store_beat(s); /* which finds out what was lost and closes */
        answer_closed(ask, 2 * HEARTBEAT_MS);
        break;
    case REPLY_TWIN:
        redis_store_beat(s);
        answer_error(ask, STORE_OTHER);
        break;
    case REPLY_INVALID:
        answer_error(ask, STORE_PROTOCOL);
        redis_link_drop(s->link, STORE_PROTOCOL, "charge.lua gave an answer that makes no sense");
        break;
    }
    ask_answer(ask);
}

struct handle
redis_store_charge(struct store *base, const struct charge_request *request, store_charge_fn *done, void *arg)
{
    struct redis_store *s = redis_store_of(base);
    struct ask *ask = ask_new(&s->asks, base, ASK_CHARGE, arg);
    const struct pause *pause = redis_store_pause_for(base, request);
    enum store_error error;

    ask->fn.charge = done;
    ask_keep_request(ask, request);
    ask->deadline_mono_ms = clock_mono_ms() + s->conf.command_ms;
    if (pause) {
        answer_paused(ask, pause, redis_store_now_ms(s));
        ask_answer_later(ask);
        return ask->handle;
    }
    if (!redis_store_is_ready(s, &error)) {
        answer_error(ask, error);
        ask_answer_later(ask);
        return ask->handle;
    }
    decide_link_days(&ask->request, ask->facts);
    set_known_steps(s, &ask->request, ask->facts);
    set_expected(s, &ask->request, ask->facts);
    if (!request->look) {
        redis_store_gather(s, ask);
        return ask->handle;
    }
    ask->verdict.seq = s->seq;
    if (!redis_store_send_charge(s, ask, 1, redis_store_on_charge)) {
        answer_error(ask, STORE_DOWN);
        ask_answer_later(ask);
    }
    return ask->handle;
}

static void
on_refund(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_store *s = arg;

    if (error == STORE_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0 && s->metrics)
        metric_add(s->metrics, M_REFUNDS, 1, NULL, NULL, NULL);
}

void
redis_store_refund(struct store *base, const struct charge_request *request, const struct verdict *verdict)
{
    struct redis_store *s = redis_store_of(base);
    struct codec_node node = redis_store_node(s);

    if (request->n_lines == 0)
        return;
    codec_refund(&s->command, &node, request, verdict->granted, verdict->time_us);
    redis_store_send(s, on_refund, s);
}

void
redis_store_lower_cap(struct store *base, const struct limit_conf *limit, const char *instance,
    uint64_t percent, int64_t for_ms)
{
    struct redis_store *s = redis_store_of(base);
    struct codec_node node = redis_store_node(s);

    if (for_ms <= 0 || strlen(instance) >= INSTANCE_MAX)
        return;
    codec_lower(&s->command, &node, limit, instance, percent, (uint64_t)for_ms * 1000);
    redis_store_send(s, redis_store_ignore, NULL);
}

/* ---- use ---- */

/* One of the n questions a usage ask is made of. */
struct usage_part {
    struct ask *ask;
    size_t index;
    uint32_t step; /* of a warm-up: as asked */
    unsigned tries;
};

static bool send_usage(struct redis_store *s, struct usage_part *part);

static void
end_part(struct usage_part *part, enum store_error error)
{
    struct ask *ask = part->ask;

    free(part);
    if (error != STORE_OK) {
        ask->ok = false;
        ask->error = error;
    }
    if (--ask->n_open == 0)
        ask_answer_later(ask);
}

static const struct limit_conf *
day_of(const struct redis_store *s, const struct usage *u)
{
    return store_day_limit(s->limits, s->n_limits, u->limit, u->instance);
}

static void
on_usage(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct usage_part *part = arg;
    struct redis_store *s = redis_store_of(part->ask->store);
    struct usage *u = &part->ask->usage[part->index];
    int64_t f[USAGE_FIELDS];

    if (error != STORE_OK || !codec_integers(reply, f, USAGE_FIELDS)) {
        end_part(part, error != STORE_OK ? error : STORE_PROTOCOL);
        return;
    }
    if (u->limit->kind == LIMIT_WARMUP && f[4] >= 1 && f[4] <= WARMUP_STEP_MAX && f[4] != part->step) {
        journal_set_step(s->journal, day_of(s, u)->name, u->instance, (uint32_t)f[4],
            (uint64_t)f[8] * MS_PER_DAY);
        if (++part->tries < STEP_TRIES && send_usage(s, part))
            return;
    }
    u->used = (uint64_t)f[1];
    u->cap = (uint64_t)f[2];
    u->frees_after_ms = f[3] < 0 ? -1 : (f[3] + 999) / 1000;
    u->warmup_step = (uint32_t)(f[4] + f[7]);
    u->warmup_peak = (uint64_t)f[5];
    u->warmup_held = f[6] != 0;
    u->period_ms = (uint64_t)f[9] / 1000;
    u->nodes_cap = f[10] < 0 ? LIMIT_UNLIMITED : (uint64_t)f[10];
    u->upstream_cap = f[11] < 0 ? LIMIT_UNLIMITED : (uint64_t)f[11];
    u->upstream_until_ms = f[12] / 1000;
    u->usual = u->limit->kind == LIMIT_SPIKE ? (uint64_t)f[5] : 0;
    end_part(part, STORE_OK);
}

static struct charge_line
line_at_step(const struct limit_conf *limit, uint32_t step)
{
    struct charge_line line = {.limit = limit, .step = step};

    plan_warmup_caps(limit, step, &line.cap, &line.next_cap);
    return line;
}

static bool
send_usage(struct redis_store *s, struct usage_part *part)
{
    const struct usage *u = &part->ask->usage[part->index];
    struct codec_node node = redis_store_node(s);
    struct charge_line line = {.limit = u->limit, .cap = u->cap}, day = line;

    if (u->limit->kind == LIMIT_WARMUP) {
        const struct limit_conf *rules = day_of(s, u);
        uint32_t known = journal_step(s->journal, rules->name, u->instance);

        part->step = known > 0 ? known : 1;
        line = line_at_step(u->limit, part->step);
        day = line_at_step(rules, part->step);
    }
    line.fixed = u->wanted;
    codec_usage(&s->command, &node, &line, &day, u->instance);
    return redis_store_send(s, on_usage, part);
}

struct handle
redis_store_usage(struct store *base, const struct usage *wanted, size_t n, store_usage_fn *done, void *arg)
{
    struct redis_store *s = redis_store_of(base);
    struct ask *ask = ask_new(&s->asks, base, ASK_USAGE, arg);

    ask->fn.usage = done;
    ask->ok = true;
    ask_keep_usage(ask, wanted, n);
    ask->n_open = n + 1;
    for (size_t i = 0; i < n; i++) {
        struct usage_part *part = xcalloc(1, sizeof(*part));

        part->ask = ask;
        part->index = i;
        if (!send_usage(s, part))
            end_part(part, STORE_DOWN);
    }
    if (--ask->n_open == 0)
        ask_answer_later(ask);
    return ask->handle;
}
