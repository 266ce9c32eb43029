/* The model test: random histories of charges, refunds, edits, holds and jumps of the clock are run through
 * the in-memory book and through the scripts on a real redis-server, and every result must be the same: kind,
 * grant, limit, used, cap, wait. Histories of pauses go through a node's list and through the scripts alike:
 * which are in force, and which is told to whom.
 *
 * Redis' own clock cannot be moved, so the line of head.lua that reads it is replaced by the test's time, and
 * the one that calls commands by a function under which states expire by that time; everything else is the
 * shipped text. MODEL_CHARGES in the environment makes the run longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "policy/plan.h"
#include "relay/base/xmalloc.h"
#include "relay/store/book.h"
#include "relay/store/pause_list.h"
#include "relay/store/store_codec.h"
#include "relay/store/store_keys.h"
#include "tests/lib/private_redis.h"

#define START_US 1700000000000000ull
#define ROUTES 2
#define CLIENTS 3
#define LIMITS 14
#define PEOPLE 60 /* of one request at most */
#define POPULATION 240 /* in 3 buckets, which is more than these hold */
#define PIPELINE 64
#define DAYS_KNOWN 32
#define PAUSE_STEPS 20000
#define PAUSED_INSTANCES 3

static const uint64_t table[] = {5, 12, 30, 31, 80};
static struct schedule_conf geometric = {.name = "g", .curve = CURVE_GEOMETRIC, .first = 20,
    .growth_milli = 1400, .ceiling = 300, .use_percent = 50, .decay_days = 2, .restart_days = 9,
    .restart_percent = 40};
static struct schedule_conf steps = {.name = "t", .curve = CURVE_TABLE, .table = table, .n_table = 5,
    .ceiling = LIMIT_UNLIMITED, .use_percent = 80, .decay_days = 3, .restart_days = LIMIT_UNLIMITED};

/* A charge on its way to Redis and what the book said to it. */
struct question {
    struct charge_request request;
    struct charge_person people[PEOPLE];
    struct verdict verdict;
};

struct model {
    struct private_redis server;
    redisContext *redis;
    char sha[SCRIPT_COUNT][SHA1_HEX + 1];
    struct book *book;
    struct command command;
    struct codec_node node;
    struct limit_conf limits[LIMITS];
    uint64_t random, now_us, seq, changes;
    /* the last grant, for refunds */
    struct charge_request granted_request;
    struct charge_person granted_people[PEOPLE];
    struct verdict granted;
    bool has_granted;
    struct charge_person people[PEOPLE]; /* of the request being made */
    struct question *asked; /* PIPELINE of them */
    size_t n_asked;
    /* by scope instance: the last day it was charged, since the last edit */
    struct {
        char name[INSTANCE_MAX + 3];
        uint64_t utc_day;
    } days[DAYS_KNOWN];
    size_t counts[VERDICT_KIND_COUNT];
    size_t strangers, acquaintances, reordered;
    size_t refunds, edits, steps_asked, falls, frozen, moved, batches, batched;
    size_t held_in_shadow, shortened_in_shadow, usual_seen, spikes;
};

static uint64_t
pick(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

static void
append(struct model *m)
{
    const char *argv[COMMAND_ARGC_MAX + 1];
    size_t lens[COMMAND_ARGC_MAX + 1];
    char time[24];
    int argc = command_argv(&m->command, m->sha[m->command.script], argv, lens);

    argv[argc] = time;
    lens[argc++] = (size_t)snprintf(time, sizeof(time), "%llu", (unsigned long long)m->now_us);
    assert_int_equal(redisAppendCommandArgv(m->redis, argc, argv, lens), REDIS_OK);
}

static redisReply *
next_reply(struct model *m)
{
    void *reply = NULL;

    assert_int_equal(redisGetReply(m->redis, &reply), REDIS_OK);
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        fail_msg("script error: %s", ((redisReply *)reply)->str);
    return reply;
}

static redisReply *
run(struct model *m)
{
    assert_int_equal(m->n_asked, 0);
    append(m);
    return next_reply(m);
}

static char *
replace_line(const char *text, const char *line, const char *with)
{
    const char *at = strstr(text, line);
    size_t size = strlen(text) + strlen(with) + 1;
    char *out = xmalloc(size);

    assert_non_null(at);
    snprintf(out, size, "%.*s%s%s", (int)(at - text), text, with, at + strlen(line));
    return out;
}

static void
load_scripts(struct model *m)
{
    static const char clock_line[] =
        "local function clock() local t = call('TIME'); return t[1] * 1000000 + t[2] end";
    static const char test_clock[] = "local function clock() return tonumber(ARGV[2]) end";
    static const char call_line[] = "local call = redis.call\n";
    /* As GET, MGET and SET ... PX do it, but for the clock; x holds when a state ends. */
    static const char test_call[] = "local function live(k)"
        " local till = redis.call('HGET', 'x', k)"
        " return not (till and math.floor(ARGV[2] / 1000) > tonumber(till)) and redis.call('GET', k) end "
        "local function call(c, k, ...)"
        " if c == 'GET' then return live(k) end"
        " if c == 'MGET' then local all = {}"
        " for i, x in ipairs({k, ...}) do all[i] = live(x) end return all end"
        " if c == 'SET' then local v, px, ms = ... assert(px == 'PX')"
        " redis.call('HSET', 'x', k, math.floor(ARGV[2] / 1000) + ms) return redis.call('SET', k, v) end"
        " return redis.call(c, k, ...) end\n";

    for (int i = 0; i < SCRIPT_COUNT; i++) {
        char *timed = replace_line(script_text((enum script_id)i), clock_line, test_clock);
        char *patched = replace_line(timed, call_line, test_call);
        redisReply *reply = redisCommand(m->redis, "SCRIPT LOAD %s", patched);

        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_STRING)
            fail_msg("script %d does not load: %s", i, reply->str);
        snprintf(m->sha[i], sizeof(m->sha[i]), "%s", reply->str);
        freeReplyObject(reply);
        free(timed);
        free(patched);
    }
}

static void
set_limits(struct model *m)
{
    static const struct limit_conf limits[LIMITS] = {
        {.name = "minute", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE, .unit = UNIT_MESSAGES, .value = 30,
            .period_ms = 60000},
        {.name = "day", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL, .value = 900,
            .period_ms = 86400000},
        {.name = "warm", .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL,
            .period_ms = 86400000, .schedule = &geometric},
        {.name = "warm-hour", .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL,
            .period_ms = 3600000, .schedule = &geometric, .hour_cap = true},
        {.name = "table", .kind = LIMIT_WARMUP, .scope = SCOPE_CLIENT, .unit = UNIT_EXTERNAL,
            .period_ms = 86400000, .schedule = &steps, .only = "c2"},
        {.name = "burst", .kind = LIMIT_RATE, .scope = SCOPE_CLIENT, .unit = UNIT_RECIPIENTS, .value = 100,
            .period_ms = 60000, .burst = 20},
        {.name = "bytes", .kind = LIMIT_RATE, .scope = SCOPE_CLIENT, .unit = UNIT_BYTES, .value = 5000000,
            .period_ms = 3600000, .burst = 300000},
        {.name = "second", .kind = LIMIT_WINDOW, .scope = SCOPE_CLIENT, .unit = UNIT_MESSAGES, .value = 4,
            .period_ms = 1000},
        {.name = "sender", .kind = LIMIT_WINDOW, .scope = SCOPE_SENDER, .unit = UNIT_RECIPIENTS, .value = 40,
            .period_ms = 1200000},
        {.name = "domain", .kind = LIMIT_WINDOW, .scope = SCOPE_RECIPIENT_DOMAIN, .unit = UNIT_EXTERNAL,
            .value = 60, .period_ms = 600000, .only = "*.x.test"},
        {.name = "new-hour", .kind = LIMIT_WINDOW, .scope = SCOPE_CLIENT, .unit = UNIT_NEW, .value = 12,
            .period_ms = 3600000, .known_ms = 86400000, .only = "c1"},
        {.name = "new-day", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE, .unit = UNIT_NEW, .value = 60,
            .period_ms = 86400000, .known_ms = 2 * 86400000, .only = "route-1"},
        {.name = "loop", .kind = LIMIT_SPIKE, .scope = SCOPE_CLIENT, .unit = UNIT_RECIPIENTS, .value = 30,
            .period_ms = 3600000, .factor_milli = 2500},
        {.name = "domain-loop", .kind = LIMIT_SPIKE, .scope = SCOPE_SENDER_DOMAIN, .unit = UNIT_MESSAGES,
            .value = 20, .period_ms = 3600000, .factor_milli = 3000},
    };

    memcpy(m->limits, limits, sizeof(limits));
}

static void
open_epoch(struct model *m)
{
    struct codec_heartbeat h = {.node = "model", .first = true, .longest_ms = 86400000, .settle_ms = 0,
        .new_epoch = "e1", .caps_hash = "-", .server = ""};
    struct heartbeat_reply out;
    redisReply *reply;

    m->node.epoch = "";
    codec_heartbeat(&m->command, &m->node, &h);
    reply = run(m);
    codec_heartbeat_reply(reply, &out);
    assert_int_equal(out.error, STORE_OK);
    assert_string_equal(out.epoch, "e1");
    freeReplyObject(reply);
    book_set_began(m->book, m->now_us);
    m->node.epoch = "e1";
}

static int
set_up(void **state)
{
    struct model *m = xcalloc(1, sizeof(*m));

    private_redis_start(&m->server, NULL);
    m->redis = redisConnectUnix(m->server.socket);
    assert_true(m->redis && m->redis->err == 0);
    load_scripts(m);
    command_init(&m->command);
    m->book = book_new();
    m->asked = xcalloc(PIPELINE, sizeof(*m->asked));
    m->now_us = START_US;
    m->random = 88172645463325252ull;
    m->node = (struct codec_node){.prefix = "sendgov:{test}:", .uuid = "0123", .run = "r1"};
    set_limits(m);
    open_epoch(m);
    *state = m;
    return 0;
}

static int
tear_down(void **state)
{
    struct model *m = *state;

    redisFree(m->redis);
    command_fini(&m->command);
    book_free(&m->book);
    free(m->asked);
    private_redis_stop(&m->server);
    free(m);
    return 0;
}

static void
random_request(struct model *m, struct charge_request *r)
{
    static const char *const domains[] = {"", "", "x.test", "a.x.test", "b.x.test"};
    char route[] = "route-x", client[] = "cx", sender[32];
    struct plan_subject s = {.external = pick(m, 4) > 0, .bytes = pick(m, 20000),
        .warmup_step = 1 + (uint32_t)pick(m, 6)};

    route[6] = (char)('0' + pick(m, ROUTES));
    client[1] = (char)('0' + pick(m, CLIENTS));
    snprintf(sender, sizeof(sender), "%c%u %%{x}@contoso.com", pick(m, 3) > 0 ? 's' : 'S',
        (unsigned)pick(m, 4));
    s.route = span_str(route);
    s.client = span_str(client);
    s.sender = span_str(sender);
    s.sender_domain = SPAN_LIT("contoso.com");
    s.recipient_domain = span_str(domains[pick(m, sizeof(domains) / sizeof(*domains))]);
    s.recipients = 1 + (uint32_t)pick(m, pick(m, 8) == 0 ? 60 : 4);
    s.least = pick(m, 3) == 0 ? s.recipients : 1;
    assert_int_equal(plan_charge(m->limits, LIMITS, &s, r), 0);
    for (size_t i = 0; i < s.recipients; i++) {
        uint64_t id = pick(m, pick(m, 3) > 0 ? 20 : POPULATION);

        m->people[i] = (struct charge_person){.hash = (id << 24) + id % 3};
    }
    for (size_t i = 0; i < r->n_lines; i++)
        if (r->lines[i].new_bit)
            r->people = m->people;
    r->look = pick(m, 16) == 0;
}

/* The book has filled in new_of of the request. */
static void
assert_same_people(const struct charge_request *r, const struct charge_reply *out)
{
    struct charge_person in_redis[PEOPLE];
    struct charge_request copy = *r;

    if (out->verdict.kind != VERDICT_GRANTED || !r->people)
        return;
    assert_int_equal(out->new_of.n, r->recipients);
    copy.people = in_redis;
    codec_mark_people(out, &copy);
    for (size_t i = 0; i < r->recipients; i++)
        assert_int_equal(in_redis[i].new_of, r->people[i].new_of);
}

/* What store_redis does with the answer "step": once more with the right caps. */
static void
charge_redis(struct model *m, struct charge_request *r, struct verdict *v)
{
    struct codec_times times = {.seq = ++m->seq};
    struct decide_line facts[CHARGE_LINES_MAX] = {0};
    struct charge_reply out;

    decide_link_days(r, facts);
    for (int i = 0; i < 2 * LIMITS; i++) { /* each is at another step, and falls from it */
        redisReply *reply;

        codec_charge(&m->command, &m->node, r, facts, &times);
        reply = run(m);
        codec_charge_reply(reply, r, &out);
        if (out.kind == REPLY_VERDICT)
            assert_same_people(r, &out);
        freeReplyObject(reply);
        if (out.kind != REPLY_STEP)
            break;
        m->steps_asked++;
        decide_set_step(r, facts, out.line, out.step);
    }
    assert_int_equal(out.kind, REPLY_VERDICT);
    *v = out.verdict;
}

static void
assert_same(const struct verdict *book, const struct verdict *redis)
{
    assert_string_equal(verdict_kind_to_str(redis->kind), verdict_kind_to_str(book->kind));
    assert_int_equal(redis->granted, book->granted);
    assert_ptr_equal(redis->limit, book->limit);
    assert_int_equal(redis->used, book->used);
    assert_int_equal(redis->cap, book->cap);
    assert_int_equal(redis->retry_after_ms, book->kind == VERDICT_IMPOSSIBLE ? -1 : book->retry_after_ms);
    assert_int_equal(redis->would_hold, book->would_hold);
    assert_int_equal(redis->would_shorten, book->would_shorten);
    assert_int_equal(redis->time_us, book->time_us);
    assert_string_equal(redis->instance, book->instance);
}

/* Reads the answers to all that was asked. */
static void
catch_up(struct model *m)
{
    for (size_t i = 0; i < m->n_asked; i++) {
        const struct question *q = &m->asked[i];
        redisReply *reply = next_reply(m);
        struct charge_reply out;

        codec_charge_reply(reply, &q->request, &out);
        assert_int_equal(out.kind, REPLY_VERDICT);
        assert_same(&q->verdict, &out.verdict);
        assert_same_people(&q->request, &out);
        freeReplyObject(reply);
    }
    m->n_asked = 0;
}

static void
keep_question(struct question *q, const struct charge_request *r, const struct verdict *in_book)
{
    *q = (struct question){.request = *r, .verdict = *in_book};
    if (!r->people)
        return;
    memcpy(q->people, r->people, r->recipients * sizeof(*q->people));
    q->request.people = q->people;
}

/* In the order of the grant, as who asks for a refund has them. */
static void
keep_granted(struct model *m, const struct charge_request *r)
{
    uint32_t order[PEOPLE];

    m->granted_request = *r;
    if (!r->people)
        return;
    m->granted_request.people = m->granted_people;
    charge_order(r->people, r->recipients, order);
    for (size_t i = 0; i < r->recipients; i++) {
        m->granted_people[i] = r->people[order[i]];
        m->strangers += r->people[i].new_of != 0;
        m->acquaintances += r->people[i].new_of == 0;
        m->reordered += order[i] != i;
    }
}

/* The book has already corrected the steps in r. */
static void
ask(struct model *m, const struct charge_request *r, const struct verdict *in_book)
{
    struct codec_times times = {.seq = ++m->seq};
    struct decide_line facts[CHARGE_LINES_MAX] = {0};

    if (m->n_asked == PIPELINE)
        catch_up(m);
    keep_question(&m->asked[m->n_asked++], r, in_book);
    decide_link_days(r, facts);
    codec_charge(&m->command, &m->node, r, facts, &times);
    append(m);
}

/* Several like r at once: what is granted so is what the book grants one by one, and no fewer than fit where
 * all is usual. */
static void
charge_many(struct model *m, const struct charge_request *r)
{
    struct codec_times times = {.seq = m->seq + 1, .times = 2 + (unsigned)pick(m, 6)};
    struct decide_line facts[CHARGE_LINES_MAX] = {0};
    struct charge_request alone = *r;
    struct charge_reply out;
    struct verdict in_book;
    unsigned granted;
    redisReply *reply;

    catch_up(m);
    m->seq += times.times;
    decide_link_days(r, facts);
    codec_charge(&m->command, &m->node, r, facts, &times);
    reply = run(m);
    assert_true(codec_charges_reply(reply, r, times.times, &granted, &out));
    freeReplyObject(reply);
    for (unsigned i = 0; i < granted; i++) {
        book_charge(m->book, &alone, m->now_us, &in_book);
        assert_int_equal(in_book.kind, VERDICT_GRANTED);
        assert_int_equal(in_book.granted, r->recipients);
        assert_int_equal(in_book.granted, out.verdict.granted);
        assert_int_equal(in_book.time_us, out.verdict.time_us);
    }
    m->batches += granted > 0;
    m->batched += granted;
    if (granted == 0 || granted == times.times)
        return;
    alone.look = true;
    book_charge(m->book, &alone, m->now_us, &in_book);
    assert_true(in_book.kind != VERDICT_GRANTED || in_book.granted < r->recipients || in_book.would_hold > 0
        || in_book.would_shorten > 0);
}

/* Is it the instance's first charge of this day? Internal mail leaves limits of external mail alone. */
static bool
turns_day(struct model *m, const struct charge_scope *scope, bool external)
{
    char name[INSTANCE_MAX + 3];
    size_t i = 0;
    bool turns;

    snprintf(name, sizeof(name), "%d%d%.*s", external, (int)scope->scope, INSTANCE_MAX - 1, scope->instance);
    while (m->days[i].name[0] && strcmp(m->days[i].name, name) != 0)
        assert_true(++i < DAYS_KNOWN);
    memcpy(m->days[i].name, name, sizeof(name));
    turns = m->now_us / US_PER_DAY > m->days[i].utc_day;
    if (turns)
        m->days[i].utc_day = m->now_us / US_PER_DAY;
    return turns;
}

/* Then days without mail may take a step back: Redis does that before it can say which caps it wants. */
static bool
turns_any_day(struct model *m, const struct charge_request *r)
{
    bool any = false;

    for (size_t i = 0; i < r->n_scopes; i++)
        any |= turns_day(m, &r->scopes[i], r->external);
    return any;
}

/* The request's route, and whether it is lower than what it was. */
static void
count_fall(struct model *m, const struct charge_request *r)
{
    static uint32_t last[ROUTES];
    unsigned route = (unsigned)(r->scopes[0].instance[6] - '0');

    for (size_t i = 0; i < r->n_lines; i++) {
        if (r->lines[i].limit != &m->limits[2])
            continue;
        m->falls += r->lines[i].step < last[route];
        last[route] = r->lines[i].step;
    }
}

static void
charge(struct model *m)
{
    struct charge_request r, copy;
    struct verdict in_book, in_redis;

    random_request(m, &r);
    copy = r;
    book_charge(m->book, &copy, m->now_us, &in_book);
    count_fall(m, &copy);
    if (!turns_any_day(m, &r) && pick(m, 32) > 0) {
        ask(m, &copy, &in_book);
    } else {
        catch_up(m);
        charge_redis(m, &r, &in_redis);
        assert_same(&in_book, &in_redis);
    }
    if (!r.look && !r.people && pick(m, 5) == 0)
        charge_many(m, &copy);
    m->counts[in_book.kind]++;
    m->spikes += in_book.kind == VERDICT_OVER && in_book.limit && in_book.limit->kind == LIMIT_SPIKE
        && in_book.cap > in_book.limit->value;
    m->held_in_shadow += in_book.would_hold != 0;
    m->shortened_in_shadow += in_book.would_shorten != 0;
    if (in_book.kind == VERDICT_GRANTED && !r.look) {
        keep_granted(m, &r);
        m->granted = in_book;
        m->has_granted = true;
    }
    /* "retry after" is the earliest moment: then it passes, and a millisecond before it does not. Within an
     * hour: as it turns, the ceiling of a spike may rise or fall. */
    if (pick(m, 8) == 0 && in_book.kind == VERDICT_OVER && in_book.retry_after_ms > 1
        && (m->now_us + (uint64_t)in_book.retry_after_ms * 1000) / HOUR_US == m->now_us / HOUR_US) {
        int64_t wait_ms = in_book.retry_after_ms;

        r.look = true;
        book_charge(m->book, &r, m->now_us + (uint64_t)wait_ms * 1000, &in_book);
        assert_int_equal(in_book.kind, VERDICT_GRANTED);
        book_charge(m->book, &r, m->now_us + (uint64_t)(wait_ms - 1) * 1000, &in_book);
        assert_int_equal(in_book.kind, VERDICT_OVER);
    }
}

static void
refund(struct model *m)
{
    if (!m->has_granted)
        return;
    catch_up(m);
    book_refund(m->book, &m->granted_request, m->granted.granted, m->granted.time_us, m->now_us);
    codec_refund(&m->command, &m->node, &m->granted_request, m->granted.granted, m->granted.time_us);
    freeReplyObject(run(m));
    m->has_granted = false;
    m->refunds++;
}

/* When all counters began; 0: nobody knows. */
static void
set_began(struct model *m, uint64_t began_ms)
{
    catch_up(m);
    book_set_began(m->book, began_ms * 1000);
    freeReplyObject(redisCommand(m->redis, "HSET sendgov:{test}:g began %llu", (unsigned long long)began_ms));
}

/* Another value, period, burst, kind, unit or mode of a limit, as a reload brings it. */
static void
edit(struct model *m)
{
    static const uint64_t periods[] = {1000, 60000, 1200000, 3600000, 86400000};
    struct limit_conf *l = &m->limits[pick(m, LIMITS)];

    catch_up(m);
    memset(m->days, 0, sizeof(m->days));
    m->edits++;
    if (pick(m, 4) == 0)
        set_began(m, pick(m, 2) ? m->now_us / 1000 - pick(m, 4 * 3600000) : 0);
    switch (pick(m, 7)) {
    case 0:
        l->period_ms = periods[pick(m, 5)];
        break;
    case 1:
        if (l->factor_milli > 0 && l->kind != LIMIT_RATE) {
            l->kind = l->kind == LIMIT_WINDOW ? LIMIT_SPIKE : LIMIT_WINDOW;
            l->period_ms = l->kind == LIMIT_SPIKE ? 3600000 : l->period_ms;
        } else if (l->kind != LIMIT_WARMUP && l->unit != UNIT_BYTES) {
            l->kind = l->kind == LIMIT_WINDOW ? LIMIT_RATE : LIMIT_WINDOW;
            l->burst = 1 + pick(m, 30);
        }
        break;
    case 2:
        l->burst = l->kind == LIMIT_RATE ? 1 + pick(m, l->unit == UNIT_BYTES ? 400000 : 40) : 0;
        l->factor_milli = l->factor_milli > 0 ? 1000 + (uint32_t)pick(m, 4000) : 0;
        break;
    case 3:
        if (l->unit == UNIT_NEW)
            l->known_ms = (int64_t)(1 + pick(m, 3)) * 86400000;
        else if (l->unit != UNIT_BYTES && l->kind != LIMIT_WARMUP)
            l->unit = (enum limit_unit)pick(m, 3);
        break;
    case 4:
        if (l->scope == SCOPE_SENDER || l->name[0] == 'd') {
            l->kind = l->kind == LIMIT_WARMUP ? LIMIT_WINDOW : LIMIT_WARMUP;
            l->schedule = l->kind == LIMIT_WARMUP ? &steps : NULL;
            l->mode = MODE_ENFORCE;
        }
        break;
    case 5:
        if (l->kind != LIMIT_WARMUP)
            l->mode = l->mode == MODE_SHADOW ? MODE_ENFORCE : MODE_SHADOW;
        break;
    default:
        l->value = l->unit == UNIT_BYTES ? 1000000 + pick(m, 9000000) : 1 + pick(m, 200);
    }
}

/* Asks until the step is the right one, as the store does. Returns the step it is at then; of an order also
 * the one before. */
static uint32_t
change_warmup(struct model *m, const struct codec_change *change, uint32_t *before_out)
{
    struct charge_request r = {.n_lines = 1, .lines[0] = {.limit = &m->limits[2]}};
    struct decide_line facts = {0};
    int64_t out[4] = {0, 1, 0, 0};
    size_t n;

    do {
        redisReply *reply;

        decide_set_step(&r, &facts, 0, (uint32_t)out[1]);
        codec_warmup(&m->command, &m->node, change, &r.lines[0]);
        reply = run(m);
        n = reply->elements;
        assert_true(n >= 2 && codec_integers(reply, out, n));
        freeReplyObject(reply);
    } while (n == 3);
    if (before_out)
        *before_out = (uint32_t)out[3];
    return (uint32_t)out[1];
}

static void
warm(struct model *m)
{
    char route[] = "route-x";
    bool back = pick(m, 2);
    struct codec_change change = {back ? 2 : 1, route, ++m->changes, m->now_us, 0, 0};
    uint32_t in_book;

    catch_up(m);
    route[6] = (char)('0' + pick(m, ROUTES));
    in_book = book_warmup(m->book, &m->limits[2], route, back, m->now_us);
    assert_int_equal(change_warmup(m, &change, NULL), in_book);
}

/* An operator's step. */
static void
move(struct model *m)
{
    char route[] = "route-x";
    struct warmup_move to = {(enum warmup_move_kind)pick(m, 3), (uint32_t)pick(m, 12)};
    struct codec_change change = {3 + (int)to.kind, route, ++m->changes, m->now_us, 0, to.to};
    struct book_moved in_book;
    uint32_t before;

    catch_up(m);
    route[6] = (char)('0' + pick(m, ROUTES));
    in_book = book_move(m->book, &m->limits[2], route, &to, m->now_us);
    assert_int_equal(change_warmup(m, &change, &before), in_book.step);
    assert_int_equal(before, in_book.before);
    m->moved++;
}

/* An operator holds the warm-ups of a route or a client, for a time or for good, or lets them go. */
static void
freeze(struct model *m)
{
    struct pause p = {.scope = pick(m, 2) ? SCOPE_ROUTE : SCOPE_CLIENT, .extent = PAUSE_GROWTH,
        .actor = "model", .reason = "x"};
    bool holds = pick(m, 3) > 0;
    int64_t result[2];
    redisReply *reply;

    catch_up(m);
    snprintf(p.instance, sizeof(p.instance), "%s%u", p.scope == SCOPE_ROUTE ? "route-" : "c",
        (unsigned)pick(m, CLIENTS));
    p.until_utc_ms = pick(m, 3) == 0 ? 0 : (int64_t)(m->now_us / 1000 + pick(m, 5 * US_PER_DAY / 1000));
    if (holds)
        codec_pause_put(&m->command, &m->node, &p, false);
    else
        codec_growth_resume(&m->command, &m->node, p.scope, p.instance);
    reply = run(m);
    assert_true(codec_integers(reply, result, 2));
    freeReplyObject(reply);
    if (!holds)
        book_freeze(m->book, p.scope, p.instance, 0);
    else if (result[0] == 0) /* else one that ends no earlier stands */
        book_freeze(m->book, p.scope, p.instance,
            p.until_utc_ms > 0 ? (uint64_t)p.until_utc_ms * 1000 : UINT64_MAX);
    m->frozen += holds && result[0] == 0;
}

static void
ask_usage(struct model *m, const struct book_question *q, uint32_t step, int64_t f[USAGE_FIELDS])
{
    struct charge_line line = {.limit = q->limit, .cap = q->cap, .step = step, .fixed = q->wanted};
    struct charge_line day = {.limit = q->day, .cap = q->cap, .step = step};
    redisReply *reply;

    if (q->limit->kind == LIMIT_WARMUP) {
        plan_warmup_caps(q->limit, step, &line.cap, &line.next_cap);
        plan_warmup_caps(q->day, step, &day.cap, &day.next_cap);
    }
    codec_usage(&m->command, &m->node, &line, &day, q->instance);
    reply = run(m);
    assert_true(codec_integers(reply, f, USAGE_FIELDS));
    freeReplyObject(reply);
}

/* The day of an hour cap; any other limit itself. */
static const struct limit_conf *
day_of(const struct model *m, const struct limit_conf *l)
{
    return l->hour_cap ? &m->limits[2] : l;
}

static void
usage(struct model *m)
{
    const struct limit_conf *l = &m->limits[pick(m, LIMITS)];
    static const char *const instances[SCOPE_COUNT] = {[SCOPE_ROUTE] = "route-1", [SCOPE_CLIENT] = "c2",
        [SCOPE_SENDER] = "s1 %{x}@contoso.com", [SCOPE_SENDER_DOMAIN] = "contoso.com",
        [SCOPE_RECIPIENT_DOMAIN] = "a.x.test"};
    const char *instance = instances[l->scope];
    struct book_question q = {l, day_of(m, l), instance, l->value, l->unit == UNIT_BYTES ? 0 : pick(m, 12)};
    struct book_usage in_book;
    int64_t f[USAGE_FIELDS];

    catch_up(m);
    book_usage(m->book, &q, m->now_us, &in_book);
    ask_usage(m, &q, 1, f);
    if (l->kind == LIMIT_WARMUP && f[4] != 1)
        ask_usage(m, &q, (uint32_t)f[4], f); /* it tells the step it has, so once is enough */
    assert_int_equal(f[1], in_book.used);
    assert_int_equal(f[2], in_book.cap);
    assert_int_equal(f[3], in_book.wait_us);
    assert_int_equal(f[4] + f[7], in_book.step);
    assert_int_equal(f[5], l->kind == LIMIT_SPIKE ? in_book.usual : in_book.peak);
    m->usual_seen += in_book.usual > 0;
    assert_int_equal(f[6], in_book.held);
    assert_int_equal(f[9], counter_period_us(l));
    assert_int_equal(f[10], -1); /* one node: nobody to agree with */
    assert_int_equal(f[11], in_book.lowered_cap == LIMIT_UNLIMITED ? -1 : (int64_t)in_book.lowered_cap);
    assert_int_equal(f[12], in_book.lowered_until_us);
}

/* Mostly small steps, so that windows are full; sometimes hours or days; sometimes back. */
static void
move_clock(struct model *m)
{
    switch (pick(m, 400)) {
    case 0:
        m->now_us += pick(m, pick(m, 3) == 0 ? 12 * US_PER_DAY : 3 * US_PER_DAY);
        break;
    case 1:
        m->now_us -= pick(m, 3000000);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        m->now_us += pick(m, 7200000000ull);
        break;
    default:
        m->now_us += pick(m, pick(m, 20) == 0 ? 60000000 : 900000);
    }
}

static void
random_histories_agree(void **state)
{
    struct model *m = *state;
    const char *wanted = getenv("MODEL_CHARGES");
    size_t n = wanted ? strtoul(wanted, NULL, 10) : 200000;

    for (size_t i = 0; i < n; i++) {
        move_clock(m);
        charge(m);
        if (pick(m, 40) == 0)
            refund(m);
        if (pick(m, 200) == 0)
            usage(m);
        if (pick(m, 700) == 0)
            edit(m);
        if (pick(m, 2000) == 0)
            warm(m);
        if (pick(m, 4000) == 0)
            move(m);
        if (pick(m, 2000) == 0)
            freeze(m);
    }
    catch_up(m);
    print_message("%zu charges: %zu granted, %zu over, %zu impossible; %zu refunds, %zu edits, "
        "%zu steps asked, %zu falls, %zu moved, %zu frozen, %zu in %zu batches; in shadow %zu held, "
        "%zu shortened; %zu spikes; of people %zu strangers, %zu known, %zu reordered\n", n,
        m->counts[VERDICT_GRANTED], m->counts[VERDICT_OVER], m->counts[VERDICT_IMPOSSIBLE], m->refunds,
        m->edits, m->steps_asked, m->falls, m->moved, m->frozen, m->batched, m->batches, m->held_in_shadow,
        m->shortened_in_shadow, m->spikes, m->strangers, m->acquaintances, m->reordered);
    /* A history in which one of them never happens proves nothing about it. */
    assert_true(m->batches > n / 1000 && m->batched > m->batches);
    assert_true(m->counts[VERDICT_GRANTED] > n / 20);
    assert_true(m->counts[VERDICT_OVER] > n / 20);
    assert_true(m->counts[VERDICT_IMPOSSIBLE] > 0);
    assert_true(m->held_in_shadow > n / 100 && m->shortened_in_shadow > n / 1000);
    assert_true(m->spikes > 0 && m->usual_seen > 0);
    assert_true(m->refunds > 0 && m->edits > 0 && m->steps_asked > 0 && m->falls > 10);
    assert_true(m->moved > 10 && m->frozen > 10);
    assert_true(m->strangers > n / 100 && m->acquaintances > n / 20 && m->reordered > n / 100);
}

/* ---- edits of a limit whose counter was forgotten and began anew ---- */

static void
one_limit(struct model *m, uint64_t value, uint64_t period_ms)
{
    m->limits[0] = (struct limit_conf){.name = "one", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE,
        .unit = UNIT_EXTERNAL, .value = value, .period_ms = period_ms};
}

/* How many of n recipients pass now, by the book and by Redis. */
static uint32_t
granted_of(struct model *m, uint32_t n)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = n, .least = 1};
    struct charge_request r, copy;
    struct verdict in_book, in_redis;

    assert_int_equal(plan_charge(m->limits, 1, &s, &r), 0);
    copy = r;
    book_charge(m->book, &copy, m->now_us, &in_book);
    charge_redis(m, &r, &in_redis);
    assert_same(&in_book, &in_redis);
    return in_book.granted;
}

/* The same, and the grant may be refunded later. */
static void
charge_spike(struct model *m, uint32_t n)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = n, .least = 1};
    struct verdict in_redis;
    struct charge_request copy;

    assert_int_equal(plan_charge(m->limits, 1, &s, &m->granted_request), 0);
    copy = m->granted_request;
    book_charge(m->book, &copy, m->now_us, &m->granted);
    charge_redis(m, &m->granted_request, &in_redis);
    assert_same(&m->granted, &in_redis);
    m->has_granted = m->granted.kind == VERDICT_GRANTED;
}

#define HOURS_US ((uint64_t)3600 * 1000000)

/* 30 sent, forgotten, 1 sent; then the limit becomes 30 a day. */
static void
an_earlier_life_counts_when_the_period_grows(void **state)
{
    struct model *m = *state;

    m->now_us += 100 * HOURS_US;
    one_limit(m, 30, 1000);
    assert_int_equal(granted_of(m, 40), 30);
    m->now_us += 3 * HOURS_US;
    assert_int_equal(granted_of(m, 1), 1);
    one_limit(m, 30, 86400000);
    assert_int_equal(granted_of(m, 40), 0);
    m->now_us += 20 * HOURS_US;
    assert_int_equal(granted_of(m, 40), 0);
    m->now_us += 6 * HOURS_US;
    assert_int_equal(granted_of(m, 40), 30);
}

/* The same, but the new period does not reach back to when it was forgotten. */
static void
an_earlier_life_counts_as_far_as_it_reaches(void **state)
{
    struct model *m = *state;

    m->now_us += 100 * HOURS_US;
    one_limit(m, 30, 1000);
    assert_int_equal(granted_of(m, 40), 30);
    m->now_us += 3 * HOURS_US;
    assert_int_equal(granted_of(m, 1), 1);
    one_limit(m, 30, 3600000);
    assert_int_equal(granted_of(m, 40), 29);
}

/* 50 in ten seconds, all used, become a rate of as many with a burst of 10: 60 at most in the ten seconds
 * after the first. */
static void
what_a_window_used_is_a_debt_of_the_rate(void **state)
{
    struct model *m = *state;
    uint32_t all;

    m->now_us += HOURS_US;
    one_limit(m, 50, 10000);
    all = granted_of(m, 60);
    assert_int_equal(all, 50);
    m->limits[0].kind = LIMIT_RATE;
    m->limits[0].burst = 10;
    for (int tenth = 1; tenth < 100; tenth++) {
        m->now_us += 100000;
        all += granted_of(m, 5);
    }
    assert_true(all <= 60 && all > 50);
}

/* All counters are young: what was born had no earlier life. */
static void
a_first_life_is_trusted(void **state)
{
    struct model *m = *state;

    m->now_us += HOURS_US;
    one_limit(m, 30, 1000);
    assert_int_equal(granted_of(m, 10), 10);
    one_limit(m, 30, 86400000);
    assert_int_equal(granted_of(m, 40), 20);
}

/* Counters that began with a loss are young too, but not the first. */
static void
after_a_loss_nothing_is_trusted(void **state)
{
    struct model *m = *state;

    set_began(m, 0);
    m->now_us += HOURS_US;
    one_limit(m, 30, 1000);
    assert_int_equal(granted_of(m, 10), 10);
    one_limit(m, 30, 86400000);
    assert_int_equal(granted_of(m, 40), 0);
}

/* ---- shadow ---- */

static void
a_shadow_counts_what_it_would_have_held(void **state)
{
    struct model *m = *state;

    one_limit(m, 30, 60000);
    m->limits[0].mode = MODE_SHADOW;
    assert_int_equal(granted_of(m, 20), 20);
    assert_int_equal(granted_of(m, 20), 20);
    m->limits[0].mode = MODE_ENFORCE; /* what left counts: 40 of 30 */
    assert_int_equal(granted_of(m, 1), 0);
    m->now_us += 64 * 1000000ull;
    assert_int_equal(granted_of(m, 40), 30);
}

/* However far a rate in shadow was exceeded: in force, it gives way again within a period. */
static void
a_shadow_rate_owes_a_period_at_most(void **state)
{
    struct model *m = *state;

    one_limit(m, 60, 60000);
    m->limits[0].kind = LIMIT_RATE;
    m->limits[0].burst = 10;
    m->limits[0].mode = MODE_SHADOW;
    for (int i = 0; i < 50; i++)
        assert_int_equal(granted_of(m, 100), 100);
    m->limits[0].mode = MODE_ENFORCE;
    assert_int_equal(granted_of(m, 10), 0);
    m->now_us += 55 * 1000000ull;
    assert_int_equal(granted_of(m, 10), 0);
    m->now_us += 10 * 1000000ull;
    assert_true(granted_of(m, 10) > 0);
}

/* No sum leaves the numbers that are exact, whatever is charged. */
static void
a_shadow_overflows_nothing(void **state)
{
    struct model *m = *state;
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = 1, .least = 1,
        .bytes = UINT64_MAX};
    struct book_question q = {&m->limits[0], &m->limits[0], "contoso", 1000, 0};
    struct book_usage in_book;
    int64_t f[USAGE_FIELDS];

    for (int kind = LIMIT_WINDOW; kind <= LIMIT_RATE; kind++) {
        one_limit(m, 1000, 60000);
        m->limits[0].unit = UNIT_BYTES;
        m->limits[0].kind = (enum limit_kind)kind;
        m->limits[0].burst = 100;
        m->limits[0].mode = MODE_SHADOW;
        for (int i = 0; i < 6; i++) {
            struct charge_request r, copy;
            struct verdict in_redis, v;

            assert_int_equal(plan_charge(m->limits, 1, &s, &r), 0);
            copy = r;
            book_charge(m->book, &copy, m->now_us, &v);
            charge_redis(m, &r, &in_redis);
            assert_same(&v, &in_redis);
            assert_int_equal(v.would_hold, 1);
            m->now_us += 2000000;
        }
        book_usage(m->book, &q, m->now_us, &in_book);
        ask_usage(m, &q, 1, f);
        assert_int_equal(f[1], in_book.used);
        assert_int_equal(f[3], in_book.wait_us);
        assert_in_range(in_book.used, 1000, CAP_MAX);
        assert_true(in_book.wait_us > 0);
    }
}

/* ---- spikes ---- */

static void
one_spike(struct model *m, enum limit_unit unit)
{
    m->limits[0] = (struct limit_conf){.name = "loop", .kind = LIMIT_SPIKE, .scope = SCOPE_ROUTE,
        .unit = unit, .value = 20, .period_ms = 3600000, .factor_milli = 3000};
}

/* The limit of one_spike on contoso: what the book says is usual, after Redis said the same. */
static uint64_t
usual_of(struct model *m)
{
    struct book_question q = {&m->limits[0], &m->limits[0], "contoso", m->limits[0].value, 0};
    struct book_usage in_book;
    int64_t f[USAGE_FIELDS];

    book_usage(m->book, &q, m->now_us, &in_book);
    ask_usage(m, &q, 1, f);
    assert_int_equal(f[1], in_book.used);
    assert_int_equal(f[2], in_book.cap);
    assert_int_equal(f[3], in_book.wait_us);
    assert_int_equal(f[5], in_book.usual);
    return in_book.usual;
}

/* As much as may go, again and again: in no hour more than the ceiling that was in force in it, and that
 * rises as slowly as spike.h says. An hour and two minutes apart, so that the window is empty each time. */
static void
a_runaway_lifts_its_ceiling_slowly(void **state)
{
    struct model *m = *state;
    uint64_t hour = 0;

    one_spike(m, UNIT_EXTERNAL);
    for (int i = 0; i < 55; i++) {
        uint32_t ceiling = i < 13 ? 20 : i < 27 ? 60 : 180;

        assert_true(m->now_us / HOUR_US > hour); /* each in an hour of its own */
        hour = m->now_us / HOUR_US;
        assert_int_equal(granted_of(m, 500), ceiling);
        m->now_us += 59 * 60 * 1000000ull;
        if (m->now_us / HOUR_US == hour) /* else another ceiling may be in force */
            assert_int_equal(granted_of(m, 1), 0);
        m->now_us += 3 * 60 * 1000000ull + 3000000;
    }
    assert_int_equal(usual_of(m), 180);
}

/* Hours of all sizes, silences, charges given back into the hour before, spikes and shadows: both agree. */
static void
what_is_usual_agrees(void **state)
{
    struct model *m = *state;
    size_t above = 0, shadows = 0;

    one_spike(m, UNIT_EXTERNAL);
    for (int i = 0; i < 3000; i++) {
        if (pick(m, 60) == 0)
            m->limits[0].mode = pick(m, 3) == 0 ? MODE_SHADOW : MODE_ENFORCE;
        if (pick(m, 100) == 0)
            m->limits[0].factor_milli = 1000 + (uint32_t)pick(m, 5000);
        shadows += m->limits[0].mode == MODE_SHADOW;
        charge_spike(m, 1 + (uint32_t)pick(m, pick(m, 40) == 0 ? 400 : 25));
        m->now_us += pick(m, 200) == 0 ? pick(m, 8 * US_PER_DAY) : pick(m, 3000000000ull);
        if (pick(m, 6) == 0)
            refund(m);
        if (pick(m, 8) == 0)
            m->now_us -= pick(m, 600000000ull);
        above += usual_of(m) > 20;
    }
    assert_true(above > 500 && above < 2800 && shadows > 100);
}

/* Mail that never was so many at once is not refused for good: what is usual grows. */
static void
nothing_is_impossible_for_a_spike(void **state)
{
    struct model *m = *state;
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = 1, .least = 1,
        .bytes = 5000};
    struct charge_request r;
    struct verdict v;

    one_spike(m, UNIT_BYTES);
    assert_int_equal(plan_charge(m->limits, 1, &s, &r), 0);
    book_charge(m->book, &r, m->now_us, &v);
    assert_int_equal(v.kind, VERDICT_OVER);
    assert_int_equal(v.retry_after_ms, -1);
    charge_redis(m, &r, &v);
    assert_int_equal(v.kind, VERDICT_OVER);
    assert_int_equal(v.retry_after_ms, -1);
}

/* A charge of the hour before is given back while the present hour has some: that still has no say. */
static void
a_charge_given_back_was_never_usual(void **state)
{
    struct model *m = *state;

    one_spike(m, UNIT_EXTERNAL);
    m->limits[0].mode = MODE_SHADOW;
    for (int i = 0; i < 24; i++) {
        assert_int_equal(granted_of(m, i < 12 ? 10 : 30), i < 12 ? 10 : 30);
        m->now_us += HOUR_US;
    }
    assert_int_equal(usual_of(m), 10);
    charge_spike(m, 30);
    m->now_us += HOUR_US;
    assert_int_equal(usual_of(m), 30);
    assert_int_equal(granted_of(m, 70), 70);
    refund(m);
    assert_int_equal(usual_of(m), 10);
}

/* What a spike admitted before it was forgotten is bounded by nothing in its configuration. */
static void
a_forgotten_spike_may_have_been_any(void **state)
{
    struct model *m = *state;

    one_spike(m, UNIT_EXTERNAL);
    m->now_us += 100 * HOURS_US;
    m->limits[0].mode = MODE_SHADOW;
    assert_int_equal(granted_of(m, 60000), 60000);
    m->now_us += 10 * US_PER_DAY;
    assert_int_equal(granted_of(m, 1), 1);
    m->limits[0] = (struct limit_conf){.name = "loop", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE,
        .unit = UNIT_EXTERNAL, .value = 60000, .period_ms = 30 * 86400000ull};
    assert_int_equal(granted_of(m, 60000), 0);
}

/* A window that becomes a spike keeps what was used in the hour, and knows of nothing usual. */
static void
a_window_may_become_a_spike(void **state)
{
    struct model *m = *state;

    one_spike(m, UNIT_EXTERNAL);
    m->limits[0].kind = LIMIT_WINDOW;
    m->limits[0].value = 100;
    assert_int_equal(granted_of(m, 15), 15);
    one_spike(m, UNIT_EXTERNAL);
    assert_int_equal(granted_of(m, 15), 5);
    m->limits[0].kind = LIMIT_WINDOW;
    m->limits[0].value = 100;
    assert_int_equal(granted_of(m, 100), 80);
}

/* ---- replies that hold a warm-up or take it back, told more than once or late ---- */

/* The route climbs one step a day; returns where it stands. */
static uint32_t
climb(struct model *m, int days)
{
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .external = true, .recipients = 1, .least = 1};
    uint32_t step = 0;

    for (int day = 0; day < days; day++) {
        for (struct verdict v = {.kind = VERDICT_GRANTED}; v.kind == VERDICT_GRANTED;) {
            struct charge_request r;

            s.warmup_step = step > 0 ? step : 1;
            assert_int_equal(plan_charge(&m->limits[2], 1, &s, &r), 0);
            charge_redis(m, &r, &v);
            step = r.lines[0].step;
        }
        m->now_us += US_PER_DAY + 3600000000ull;
    }
    return step;
}

static void
a_change_told_twice_is_done_once(void **state)
{
    struct model *m = *state;
    struct codec_change change = {2, "contoso", 7, 0, 0, 0};
    uint32_t step = climb(m, 5);

    assert_true(step > 3);
    change.at_us = m->now_us;
    step = change_warmup(m, &change, NULL);
    assert_int_equal(change_warmup(m, &change, NULL), step);
    m->now_us += US_PER_DAY; /* a day on, only the number tells it */
    assert_int_equal(change_warmup(m, &change, NULL), step);
    change.number = 8;
    change.at_us = m->now_us;
    assert_int_equal(change_warmup(m, &change, NULL), step - 1);
}

/* The upstream blocked before midnight, Redis hears of it after: the day that was full does not count. */
static void
a_late_step_back_belongs_to_its_day(void **state)
{
    struct model *m = *state;
    struct codec_change change = {2, "contoso", 7, 0, 0, 0};
    uint32_t step = climb(m, 5), late;

    change.at_us = m->now_us - US_PER_DAY - 3600000000ull; /* when the last charge was */
    late = change_warmup(m, &change, NULL);
    assert_int_equal(late, step - 1);
    assert_int_equal(climb(m, 1), late); /* and the new day is not held for it */
    assert_int_equal(climb(m, 1), late + 1);
}

/* ---- pauses ---- */

static void
pick_paused(struct model *m, struct pause *p)
{
    p->scope = pick(m, 2) ? SCOPE_ROUTE : SCOPE_CLIENT;
    snprintf(p->instance, sizeof(p->instance), "%s%u", p->scope == SCOPE_ROUTE ? "route-" : "c",
        (unsigned)pick(m, PAUSED_INSTANCES));
}

/* True when it is in force now. A reply that hardly adds to what is in force a node keeps to itself. */
static bool
put_on_both(struct model *m, struct pause_list *l, struct pause *p)
{
    static const int of_result[] = {[PAUSE_SET] = 0, [PAUSE_STANDS] = 1, [PAUSE_NO_PLACE] = 4};
    const struct pause *old = pause_list_find(l, p->scope, p->instance, p->extent);
    bool is_later = old && old->until_utc_ms > 0
        && (p->until_utc_ms == 0 || p->until_utc_ms > old->until_utc_ms);
    struct pause told = *p;
    enum pause_result in_list = pause_list_add(l, &told, NULL);
    const struct pause *in_force = pause_list_find(l, p->scope, p->instance, p->extent);
    int64_t in_redis[2];
    redisReply *reply;

    if (in_list != PAUSE_NO_PLACE)
        assert_memory_equal(&told, in_force, sizeof(told));
    if (in_list == PAUSE_STANDS && is_later) {
        assert_int_not_equal(p->class, CLASS_OK);
        return false;
    }
    codec_pause_put(&m->command, &m->node, p, false);
    reply = run(m);
    assert_true(codec_integers(reply, in_redis, 2));
    freeReplyObject(reply);
    assert_int_equal(in_redis[0], of_result[in_list]);
    return in_list == PAUSE_SET;
}

/* Mostly timed, so that they end while others stand. */
static void
put_pause(struct model *m, struct pause_list *l)
{
    struct pause p = {.extent = (enum pause_extent)pick(m, PAUSE_EXTENT_COUNT),
        .since_utc_ms = (int64_t)(m->now_us / 1000), .class = pick(m, 2) ? CLASS_AUTH : CLASS_OK,
        .actor = "model", .reason = "550 5.7.708"};

    pick_paused(m, &p);
    p.until_utc_ms = pick(m, 12) == 0 ? 0 : p.since_utc_ms + 1 + (int64_t)pick(m, 200000);
    put_on_both(m, l, &p);
}

static void
end_pause(struct model *m, struct pause_list *l)
{
    struct pause p = {0};
    int64_t result[2];
    size_t before = l->n;
    redisReply *reply;

    bool growth = pick(m, 3) == 0;

    pick_paused(m, &p);
    if (growth)
        codec_growth_resume(&m->command, &m->node, p.scope, p.instance);
    else
        codec_pause_end(&m->command, &m->node, p.scope, p.instance);
    reply = run(m);
    assert_true(codec_integers(reply, result, 2));
    freeReplyObject(reply);
    for (int e = 0; e < PAUSE_EXTENT_COUNT; e++)
        if ((e == PAUSE_GROWTH) == growth)
            pause_list_remove(l, p.scope, p.instance, (enum pause_extent)e);
    assert_int_equal(result[0], l->n < before ? 0 : 3);
}

/* Who is stopped, and by what? */
static size_t
look_for_pause(struct model *m, const struct pause_list *l)
{
    const struct pause *p;
    struct charge_request r;
    struct verdict v;

    random_request(m, &r);
    r.people = NULL; /* the book is not asked */
    r.look = true;
    charge_redis(m, &r, &v);
    p = pause_list_for(l, &r);
    assert_int_equal(v.kind == VERDICT_PAUSED, p != NULL);
    if (!p)
        return 0;
    assert_int_equal(v.pause.scope, p->scope);
    assert_string_equal(v.pause.instance, p->instance);
    assert_int_equal(v.pause.extent, p->extent);
    assert_int_equal(v.pause.class, p->class);
    assert_int_equal(v.pause.since_utc_ms, p->since_utc_ms);
    assert_int_equal(v.pause.until_utc_ms, p->until_utc_ms);
    return 1;
}

static void
pauses_agree(void **state)
{
    struct model *m = *state;
    struct pause_list l;
    size_t stopped = 0;

    pause_list_init(&l);
    for (size_t i = 0; i < PAUSE_STEPS; i++) {
        m->now_us += pick(m, 40000000) / 1000 * 1000;
        pause_list_expire(&l, (int64_t)(m->now_us / 1000));
        if (pick(m, 8) > 0)
            put_pause(m, &l);
        else
            end_pause(m, &l);
        stopped += look_for_pause(m, &l);
    }
    pause_list_fini(&l);
    assert_in_range(stopped, PAUSE_STEPS / 10, PAUSE_STEPS - PAUSE_STEPS / 10);
}

/* A node and Redis have the same places: what one takes the other takes. */
static void
places_agree(void **state)
{
    static const size_t places[] = {PLACES_ROUTE, PLACES_MIDDLE, PLACES_SENDER, PLACES_GROWTH};
    size_t set[4] = {0};
    struct model *m = *state;
    struct pause_list l;

    pause_list_init(&l);
    for (int i = 0; i < 6000; i++) {
        struct pause p = {.scope = (enum limit_scope)pick(m, SCOPE_COUNT),
            .extent = (enum pause_extent)pick(m, PAUSE_EXTENT_COUNT),
            .since_utc_ms = (int64_t)(m->now_us / 1000), .reason = "x"};
        size_t kind = p.scope == SCOPE_ROUTE ? 0 : p.scope <= SCOPE_CLIENT ? 1 : 2;

        if (p.extent == PAUSE_GROWTH)
            kind = 3;
        snprintf(p.instance, sizeof(p.instance), "i%u", (unsigned)pick(m, 200));
        if (pick(m, 20) == 0)
            p.until_utc_ms = p.since_utc_ms + 1000;
        set[kind] += put_on_both(m, &l, &p);
        m->now_us += 10000;
        pause_list_expire(&l, (int64_t)(m->now_us / 1000));
    }
    for (size_t kind = 0; kind < 4; kind++)
        assert_true(set[kind] >= places[kind]);
    assert_in_range(l.n, PLACES_ROUTE + PLACES_MIDDLE + PLACES_SENDER + PLACES_GROWTH - 40,
        PLACES_ROUTE + PLACES_MIDDLE + PLACES_SENDER + PLACES_GROWTH);
    pause_list_fini(&l);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(random_histories_agree),
        CASE(an_earlier_life_counts_when_the_period_grows),
        CASE(an_earlier_life_counts_as_far_as_it_reaches),
        CASE(what_a_window_used_is_a_debt_of_the_rate),
        CASE(a_first_life_is_trusted),
        CASE(after_a_loss_nothing_is_trusted),
        CASE(a_shadow_counts_what_it_would_have_held),
        CASE(a_shadow_rate_owes_a_period_at_most),
        CASE(a_shadow_overflows_nothing),
        CASE(a_runaway_lifts_its_ceiling_slowly),
        CASE(what_is_usual_agrees),
        CASE(nothing_is_impossible_for_a_spike),
        CASE(a_charge_given_back_was_never_usual),
        CASE(a_forgotten_spike_may_have_been_any),
        CASE(a_window_may_become_a_spike),
        CASE(a_change_told_twice_is_done_once),
        CASE(a_late_step_back_belongs_to_its_day),
        CASE(pauses_agree),
        CASE(places_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
