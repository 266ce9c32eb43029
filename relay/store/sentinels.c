#include "relay/store/sentinels.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/store/redis_wire.h"

#define POLL_MS 500
#define ANSWER_MS 1000 /* a Sentinel that needs longer is asked over a new connection */

enum sentinel_state {
    SENTINEL_CLOSED,
    SENTINEL_DIALING,
    SENTINEL_ASKED, /* an answer is to come */
    SENTINEL_IDLE,
};

struct sentinel {
    struct sentinels *all;
    struct redis_wire wire;
    enum sentinel_state state;
    bool auth_to_come; /* the answer to AUTH, which was sent before the question */
    bool heard;        /* it answered or failed once */
    int64_t asked_mono_ms;
    char address[REDIS_ADDRESS_MAX];
    char problem[200]; /* ""; or why there is no answer */
};

struct sentinels {
    struct loop *loop;
    const struct store_conf *conf;
    void (*on_change)(void *arg);
    void *arg;
    struct timer tick;
    char told[REDIS_ADDRESS_MAX]; /* the master as the owner knows it; "": none */
    size_t n;
    struct sentinel each[STORE_TARGETS_MAX];
    struct sentinel_word words[STORE_TARGETS_MAX];
};

int
sentinels_majority(const struct sentinel_word *words, size_t n, int64_t now_mono_ms)
{
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;

        for (size_t k = 0; k < n; k++)
            same += words[k].master[0] && strcmp(words[k].master, words[i].master) == 0
                && now_mono_ms - words[k].asked_mono_ms < SENTINELS_FRESH_MS;
        if (same > n / 2)
            return (int)i;
    }
    return -1;
}

const char *
sentinels_master(const struct sentinels *s)
{
    int i = sentinels_majority(s->words, s->n, clock_mono_ms());

    return i < 0 ? NULL : s->words[i].master;
}

static void
tell_change(struct sentinels *s)
{
    const char *master = sentinels_master(s);

    if (strcmp(master ? master : "", s->told) == 0)
        return;
    snprintf(s->told, sizeof(s->told), "%s", master ? master : "");
    if (master)
        log_text(LOG_NOTICE, "store_master", "the sentinels name %s as master", master);
    s->on_change(s->arg);
}

/* ---- one of them ---- */

static void
fail(struct sentinel *one, const char *why)
{
    redis_wire_close(&one->wire);
    one->state = SENTINEL_CLOSED;
    one->heard = true;
    one->auth_to_come = false;
    snprintf(one->problem, sizeof(one->problem), "%s", why);
}

static void
ask(struct sentinel *one)
{
    const char *words[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", one->all->conf->master};

    one->state = SENTINEL_ASKED;
    one->asked_mono_ms = clock_mono_ms();
    redis_wire_say(&one->wire, 3, words);
}

static void
on_open(void *arg)
{
    struct sentinel *one = arg;
    const struct store_conf *c = one->all->conf;
    const char *user = c->sentinel_user ? c->sentinel_user : "default";
    const char *auth[] = {"AUTH", user, c->sentinel_password ? c->sentinel_password : ""};

    one->auth_to_come = c->sentinel_user || c->sentinel_password;
    if (one->auth_to_come)
        redis_wire_say(&one->wire, 3, auth);
    ask(one);
}

/* {host, port} as one text. False: that is not what it says. */
static bool
read_address(const redisReply *reply, char out[REDIS_ADDRESS_MAX])
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    return redis_address_format(span_of(reply->element[0]->str, reply->element[0]->len),
        span_of(reply->element[1]->str, reply->element[1]->len), out);
}

/* A server that does not know AUTH quotes the password, so what is quoted is left out. */
static void
refused(struct sentinel *one, const redisReply *reply)
{
    char text[160];

    snprintf(text, sizeof(text), "%.*s", (int)reply->len, reply->str);
    text[strcspn(text, "'`\"")] = '\0';
    fail(one, text);
}

static void
on_reply(void *arg, const struct redisReply *reply)
{
    struct sentinel *one = arg;
    struct sentinel_word *word = &one->all->words[one - one->all->each];

    if (reply->type == REDIS_REPLY_ERROR) {
        refused(one, reply);
    } else if (one->auth_to_come) {
        one->auth_to_come = false;
        return;
    } else if (one->state != SENTINEL_ASKED) {
        fail(one, "it answered what was not asked");
    } else if (reply->type == REDIS_REPLY_NIL) {
        fail(one, "it knows no master of this name");
        word->master[0] = '\0';
    } else if (!read_address(reply, word->master)) {
        fail(one, "it gave no address");
        word->master[0] = '\0';
    } else {
        word->asked_mono_ms = one->asked_mono_ms;
        one->state = SENTINEL_IDLE;
        one->heard = true;
        one->problem[0] = '\0';
    }
    tell_change(one->all);
}

static void
on_broken(void *arg, enum store_error error, const char *detail)
{
    struct sentinel *one = arg;

    (void)error;
    fail(one, detail);
}

static const struct redis_wire_ops wire_ops = {on_open, on_reply, on_broken};

static void
tend(struct sentinel *one)
{
    const struct store_conf *c = one->all->conf;

    switch (one->state) {
    case SENTINEL_CLOSED:
        one->state = SENTINEL_DIALING;
        redis_wire_dial(&one->wire, one->address, c->connect_ms);
        return;
    case SENTINEL_ASKED:
        if (clock_mono_ms() - one->asked_mono_ms >= ANSWER_MS)
            fail(one, "it did not answer in time");
        return;
    case SENTINEL_IDLE:
        ask(one);
        return;
    case SENTINEL_DIALING:
        return;
    }
}

/* ---- all ---- */

static void
on_tick(void *arg)
{
    struct sentinels *s = arg;

    timer_start(&s->tick, POLL_MS);
    for (size_t i = 0; i < s->n; i++)
        tend(&s->each[i]);
    tell_change(s); /* answers grow old */
}

struct sentinels *
sentinels_new(struct loop *loop, struct dialer *dialer, const struct store_conf *conf, struct tls_ctx *tls,
    void (*on_change)(void *arg), void *arg)
{
    struct sentinels *s = xcalloc(1, sizeof(*s));
    struct span rest = span_str(conf->target), address;

    s->loop = loop;
    s->conf = conf;
    s->on_change = on_change;
    s->arg = arg;
    while (rest.n > 0 && s->n < STORE_TARGETS_MAX) {
        struct sentinel *one = &s->each[s->n++];

        rest = span_cut(rest, ',', &address);
        one->all = s;
        snprintf(one->address, sizeof(one->address), "%.*s", SPAN_FMT(address));
        redis_wire_init(&one->wire, loop, dialer, tls, &wire_ops, one);
    }
    timer_init(&s->tick, loop, on_tick, s);
    on_tick(s);
    return s;
}

void
sentinels_free(struct sentinels **sentinels)
{
    struct sentinels *s = *sentinels;

    *sentinels = NULL;
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        redis_wire_fini(&s->each[i].wire);
    timer_fini(&s->tick);
    free(s);
}

bool
sentinels_are_new(const struct sentinels *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!s->each[i].heard)
            return true;
    return false;
}

void
sentinels_explain(const struct sentinels *s, char *out, size_t size)
{
    int64_t now_ms = clock_mono_ms();
    const struct sentinel *bad = NULL;
    size_t fresh = 0;

    for (size_t i = 0; i < s->n; i++) {
        fresh += s->words[i].master[0] && now_ms - s->words[i].asked_mono_ms < SENTINELS_FRESH_MS;
        if (s->each[i].problem[0] && !bad)
            bad = &s->each[i];
    }
    snprintf(out, size, "%zu of %zu sentinels name a master, and no majority the same%s%.60s%s%.100s", fresh,
        s->n, bad ? "; " : "", bad ? bad->address : "", bad ? ": " : "", bad ? bad->problem : "");
}
