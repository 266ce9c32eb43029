#include "relay/store/redis_link.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/list.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/net/dial.h"
#include "relay/net/stream.h"
#include "relay/store/redis_info.h"
#include "relay/store/resp_guard.h"
#include "tls/tls.h"

#define BACK_OFF_MIN_MS 50
#define BACK_OFF_MAX_MS 500 /* shorter than what heartbeat.lua leaves after a silence */
#define SETUP_MS 2000            /* one command of the set-up: loading a script may meet a busy Redis */
#define QUEUE_MAX (192 * 1024)   /* bytes not taken by Redis: more commands would only wait
                                  * for their deadline */
#define FEED_BYTES (16 * 1024)

enum link_state {
    LINK_WAITING, /* the timer ends the back-off */
    LINK_DIALING,
    LINK_SECURING, /* TLS handshake; the timer is its deadline */
    LINK_SETTING_UP,
    LINK_UP,
    LINK_CLOSED,
};

/* One command under way. */
struct pending {
    struct list link;
    struct list due; /* in the list of deadlines, unless one behind it is due no later */
    link_reply_fn *done;
    void *arg;
    int64_t sent_mono_us, deadline_mono_ms;
    char *bytes; /* as sent, for one more try after NOSCRIPT; NULL: none */
    size_t n_bytes;
    enum script_id script;
};

struct redis_link {
    struct redis_link_setup setup;
    const struct store_conf *conf;
    const struct redis_link_ops *ops;
    void *arg;
    enum link_state state;
    struct handle dial;
    struct stream *stream;
    struct tls_ctx *tls;
    redisReader *reader;
    struct resp_guard guard;
    struct list pending;
    struct list deadlines; /* of pending, those that matter, each due later than the one before */
    struct timer timer;
    struct task down_task; /* tells a failure found during somebody's call */
    int64_t back_off_ms;
    size_t n_loaded;       /* scripts */
    char sha[SCRIPT_COUNT][SHA1_HEX + 1];
    enum store_error error;
    char detail[256];
    char error_text[256];
};

static void dial(struct redis_link *l);
static void next_setup(struct redis_link *l);

/* ---- going down ---- */

static void
pending_free(struct pending *p)
{
    list_del(&p->link);
    list_del(&p->due);
    if (p->bytes)
        redisFreeCommand(p->bytes);
    free(p);
}

static void
drop_connection(struct redis_link *l)
{
    if (!handle_is_none(l->dial))
        dial_cancel(l->setup.dialer, l->dial);
    l->dial = HANDLE_NONE;
    if (l->stream)
        stream_close(&l->stream);
    if (l->reader)
        redisReaderFree(l->reader);
    l->reader = NULL;
}

static void
answer_pending(struct redis_link *l, enum store_error error)
{
    struct list failed;

    list_init(&failed);
    while (!list_is_empty(&l->pending)) {
        struct list *first = l->pending.next;

        list_del(first);
        list_add_tail(&failed, first);
    }
    while (!list_is_empty(&failed)) {
        struct pending *p = LIST_ITEM(failed.next, struct pending, link);
        link_reply_fn *done = p->done;
        void *arg = p->arg;

        pending_free(p);
        if (done)
            done(arg, NULL, error);
    }
}

static void
on_down_task(void *arg)
{
    struct redis_link *l = arg;

    answer_pending(l, l->error);
    if (l->state == LINK_CLOSED)
        redis_link_free(&l);
    else
        l->ops->on_down(l->arg, l->error, l->detail);
}

/* The connection is gone at once; everybody hears of it at the end of the turn. */
static void
go_down(struct redis_link *l, enum store_error error, const char *detail)
{
    if (l->state == LINK_CLOSED || l->state == LINK_WAITING)
        return;
    drop_connection(l);
    l->state = LINK_WAITING;
    l->error = error;
    snprintf(l->detail, sizeof(l->detail), "%s", detail);
    timer_start(&l->timer, l->back_off_ms);
    l->back_off_ms = l->back_off_ms * 2 < BACK_OFF_MAX_MS ? l->back_off_ms * 2 : BACK_OFF_MAX_MS;
    task_defer(l->setup.loop, &l->down_task);
}

void
redis_link_drop(struct redis_link *l, enum store_error error, const char *detail)
{
    go_down(l, error, detail);
}

/* ---- deadlines: one timer, on the earliest, which need not be that of the oldest command ----
 *
 * Answers come in the order of sending. So a command matters for the timer only until one behind it is due no
 * later: that one will be pending for longer. Those that matter are in order of their deadlines. */

static void
watch_earliest(struct redis_link *l)
{
    const struct pending *earliest;

    if (list_is_empty(&l->deadlines)) {
        timer_stop(&l->timer);
        return;
    }
    earliest = LIST_ITEM(l->deadlines.next, struct pending, due);
    timer_start(&l->timer, earliest->deadline_mono_ms - clock_mono_ms());
}

static void
add_deadline(struct redis_link *l, struct pending *p)
{
    while (!list_is_empty(&l->deadlines)) {
        struct pending *last = LIST_ITEM(l->deadlines.prev, struct pending, due);

        if (last->deadline_mono_ms < p->deadline_mono_ms)
            break;
        list_del(&last->due);
    }
    list_add_tail(&l->deadlines, &p->due);
    watch_earliest(l);
}

static void
on_timer(void *arg)
{
    struct redis_link *l = arg;

    switch (l->state) {
    case LINK_WAITING:
        dial(l);
        return;
    case LINK_SECURING:
        go_down(l, STORE_TIMEOUT, "TLS handshake with Redis took too long");
        return;
    case LINK_SETTING_UP:
    case LINK_UP:
        go_down(l, STORE_TIMEOUT, "Redis did not answer in time");
        return;
    case LINK_DIALING:
    case LINK_CLOSED:
        return;
    }
}

/* ---- commands ---- */

static struct pending *
add_pending(struct redis_link *l, int64_t deadline_ms, link_reply_fn *done, void *arg)
{
    struct pending *p = xcalloc(1, sizeof(*p));

    p->done = done;
    p->arg = arg;
    p->sent_mono_us = clock_mono_us();
    p->deadline_mono_ms = p->sent_mono_us / 1000 + deadline_ms;
    list_add_tail(&l->pending, &p->link);
    list_init(&p->due);
    add_deadline(l, p);
    return p;
}

static void
send_simple(struct redis_link *l, int argc, const char **argv, int64_t deadline_ms, link_reply_fn *done)
{
    size_t lens[5];
    char *bytes;
    int n;

    for (int i = 0; i < argc; i++)
        lens[i] = strlen(argv[i]);
    n = (int)redisFormatCommandArgv(&bytes, argc, argv, lens);
    sg_assert(n > 0);
    add_pending(l, deadline_ms, done, l);
    stream_write(l->stream, span_of(bytes, (size_t)n));
    explicit_bzero(bytes, (size_t)n); /* it may be AUTH */
    redisFreeCommand(bytes);
}

bool
redis_link_send(struct redis_link *l, struct command *c, int64_t deadline_ms, link_reply_fn *done, void *arg)
{
    const char *argv[COMMAND_ARGC_MAX];
    size_t lens[COMMAND_ARGC_MAX];
    struct pending *p;
    int argc, n;
    char *bytes;

    if (l->state != LINK_UP || stream_queued(l->stream) > QUEUE_MAX)
        return false;
    argc = command_argv(c, l->sha[c->script], argv, lens);
    n = (int)redisFormatCommandArgv(&bytes, argc, argv, lens);
    sg_assert(n > 0);
    p = add_pending(l, deadline_ms, done, arg);
    p->bytes = bytes;
    p->n_bytes = (size_t)n;
    p->script = c->script;
    stream_write(l->stream, span_of(bytes, (size_t)n));
    return true;
}

static void
on_reloaded(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    if (error == STORE_OK && (reply->type != REDIS_REPLY_STRING || reply->len != SHA1_HEX))
        go_down(l, STORE_PROTOCOL, "SCRIPT LOAD did not give a hash");
}

/* Redis forgot the script: loads it and asks once more, within the first deadline. */
static void
ask_again(struct redis_link *l, struct pending *p)
{
    const char *load[] = {"SCRIPT", "LOAD", script_text(p->script)};
    struct pending *again;

    send_simple(l, 3, load, SETUP_MS, on_reloaded);
    again = add_pending(l, p->deadline_mono_ms - clock_mono_ms(), p->done, p->arg);
    again->sent_mono_us = p->sent_mono_us;
    stream_write(l->stream, span_of(p->bytes, p->n_bytes));
    pending_free(p);
}

static enum store_error
reply_error(struct redis_link *l, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return STORE_OK;
    snprintf(l->error_text, sizeof(l->error_text), "%.*s", (int)reply->len, reply->str);
    return codec_error(span_of(reply->str, (size_t)reply->len));
}

static void
on_reply(struct redis_link *l, const redisReply *reply)
{
    struct pending *p;
    enum store_error error;
    link_reply_fn *done;
    void *arg;

    if (list_is_empty(&l->pending)) {
        go_down(l, STORE_PROTOCOL, "Redis answered what was not asked");
        return;
    }
    p = LIST_ITEM(l->pending.next, struct pending, link);
    error = reply_error(l, reply);
    if (error != STORE_OK && p->bytes && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        ask_again(l, p);
        watch_earliest(l);
        return;
    }
    done = p->done;
    arg = p->arg;
    if (l->setup.metrics)
        metric_add(l->setup.metrics, M_STORE_SECONDS, (double)(clock_mono_us() - p->sent_mono_us) / 1e6, NULL,
            NULL, NULL);
    pending_free(p);
    watch_earliest(l);
    done(arg, error == STORE_OK ? reply : NULL, error);
}

/* ---- set-up ---- */

static void
setup_failed(struct redis_link *l, const char *what, enum store_error error)
{
    char detail[sizeof(l->detail)];

    if (l->state != LINK_SETTING_UP && l->state != LINK_UP)
        return; /* the connection went down meanwhile and said why */
    snprintf(detail, sizeof(detail), "%.40s: %.200s", what,
        error == STORE_OK ? "unexpected answer" : l->error_text);
    go_down(l, error == STORE_OK ? STORE_PROTOCOL : error, detail);
}

/* A Redis that does not know the command quotes what came with it, and that is the password: what is quoted
 * is left out. */
static void
on_auth(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    (void)reply;
    l->error_text[strcspn(l->error_text, "'`\"")] = '\0';
    if (error != STORE_OK)
        setup_failed(l, "AUTH", error);
}

static void
on_select(void *arg, const struct redisReply *reply, enum store_error error)
{
    (void)reply;
    if (error != STORE_OK)
        setup_failed(arg, "SELECT", error);
}

static void
ask_info(struct redis_link *l, int64_t deadline_ms, link_reply_fn *done)
{
    const char *info[] = {"INFO", "server", "persistence", "memory", "replication"};

    send_simple(l, 5, info, deadline_ms, done);
}

/* False: the connection was dropped, which said why. */
static bool
is_fit(struct redis_link *l, const struct redisReply *reply, enum store_error error)
{
    struct err err;

    if (error != STORE_OK || reply->type != REDIS_REPLY_STRING) {
        setup_failed(l, "INFO", error);
        return false;
    }
    error = redis_info_check(span_of(reply->str, (size_t)reply->len), l->conf->allow_volatile, &err);
    if (error != STORE_OK)
        go_down(l, error, err.text);
    return error == STORE_OK;
}

static void
on_info(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    if (is_fit(l, reply, error))
        next_setup(l);
}

static void
on_info_again(void *arg, const struct redisReply *reply, enum store_error error)
{
    is_fit(arg, reply, error);
}

void
redis_link_recheck(struct redis_link *l, int64_t deadline_ms)
{
    if (l->state == LINK_UP)
        ask_info(l, deadline_ms, on_info_again);
}

static void
on_loaded(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    if (error != STORE_OK || reply->type != REDIS_REPLY_STRING || reply->len != SHA1_HEX) {
        setup_failed(l, "SCRIPT LOAD", error);
        return;
    }
    memcpy(l->sha[l->n_loaded], reply->str, SHA1_HEX);
    l->sha[l->n_loaded][SHA1_HEX] = '\0';
    l->n_loaded++;
    next_setup(l);
}

/* One script after the other, then it is up. */
static void
next_setup(struct redis_link *l)
{
    if (l->n_loaded < SCRIPT_COUNT) {
        const char *load[] = {"SCRIPT", "LOAD", script_text((enum script_id)l->n_loaded)};

        send_simple(l, 3, load, SETUP_MS, on_loaded);
        return;
    }
    l->state = LINK_UP;
    l->back_off_ms = BACK_OFF_MIN_MS;
    l->ops->on_up(l->arg);
}

static void
begin_setup(struct redis_link *l)
{
    const struct store_conf *c = l->conf;
    char database[12];
    const char *auth[] = {"AUTH", c->user ? c->user : "default", c->password ? c->password : ""};
    const char *select_db[] = {"SELECT", database};

    l->state = LINK_SETTING_UP;
    l->n_loaded = 0;
    snprintf(database, sizeof(database), "%u", c->database);
    if (c->password || c->user)
        send_simple(l, 3, auth, SETUP_MS, on_auth);
    if (c->database != 0)
        send_simple(l, 2, select_db, SETUP_MS, on_select);
    ask_info(l, SETUP_MS, on_info);
}

/* ---- the stream ---- */

static void
on_secure(void *arg)
{
    begin_setup(arg);
}

/* Replies as far as they are complete. False: the connection is gone. */
static bool
take_replies(struct redis_link *l)
{
    while (l->stream) {
        void *reply = NULL;

        if (redisReaderGetReply(l->reader, &reply) != REDIS_OK) {
            go_down(l, STORE_PROTOCOL, "Redis sent what is not RESP");
            return false;
        }
        if (!reply)
            return true;
        on_reply(l, reply);
        freeReplyObject(reply);
    }
    return false;
}

static size_t
on_data(void *arg, struct span in)
{
    struct redis_link *l = arg;
    const char *why = "";
    size_t total = in.n;

    while (in.n > 0) {
        struct span part = span_head(in, FEED_BYTES);

        if (!resp_guard_feed(&l->guard, part, &why)) {
            go_down(l, STORE_PROTOCOL, why);
            return total;
        }
        if (redisReaderFeed(l->reader, part.p, part.n) != REDIS_OK) {
            go_down(l, STORE_PROTOCOL, "Redis sent what is not RESP");
            return total;
        }
        if (!take_replies(l))
            return total;
        in = span_from(in, part.n);
    }
    return total;
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    struct redis_link *l = arg;
    char text[sizeof(l->detail)];

    snprintf(text, sizeof(text), "connection to Redis lost: %.40s %.180s", stream_end_to_str(end), detail);
    go_down(l, STORE_DOWN, text);
}

static const struct stream_ops stream_ops = {.on_secure = on_secure, .on_data = on_data, .on_end = on_end};

/* ---- connecting ---- */

/* "redis.example:6379" -> "redis.example", "[::1]:6379" -> "::1". */
static void
host_of(const char *target, char *out, size_t size)
{
    struct span host = span_str(target);
    const char *colon = strrchr(target, ':');

    if (colon)
        host.n = (size_t)(colon - target);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = span_of(host.p + 1, host.n - 2);
    snprintf(out, size, "%.*s", SPAN_FMT(host));
}

static void
on_dialed(void *arg, const struct dial_result *result)
{
    struct redis_link *l = arg;
    char host[256];

    l->dial = HANDLE_NONE;
    if (result->fd < 0) {
        go_down(l, STORE_DOWN, result->error);
        return;
    }
    resp_guard_init(&l->guard);
    l->reader = redisReaderCreate();
    sg_assert(l->reader);
    l->stream = stream_new(l->setup.loop, result->fd, &stream_ops, l);
    if (!l->tls) {
        begin_setup(l);
        return;
    }
    l->state = LINK_SECURING;
    timer_start(&l->timer, l->conf->connect_ms);
    host_of(l->conf->target, host, sizeof(host));
    stream_start_tls_client(l->stream, l->tls, host);
}

static void
dial(struct redis_link *l)
{
    l->state = LINK_DIALING;
    l->dial = dial_start(l->setup.dialer, l->conf->target, l->conf->connect_ms, 2 * l->conf->connect_ms,
        on_dialed, l);
}

int
redis_link_load_tls(const struct store_conf *conf, struct tls_ctx **tls_out, struct err *err)
{
    struct tls_client_conf tls = {.ca_file = conf->tls_ca_file, .verify = true};

    *tls_out = conf->tls ? tls_client_ctx_new(&tls, err) : NULL;
    return conf->tls && !*tls_out ? -1 : 0;
}

struct redis_link *
redis_link_new(const struct redis_link_setup *setup, const struct store_conf *conf, struct tls_ctx *tls,
    const struct redis_link_ops *ops, void *arg)
{
    struct redis_link *l = xcalloc(1, sizeof(*l));

    l->setup = *setup;
    l->conf = conf;
    l->ops = ops;
    l->arg = arg;
    l->tls = tls;
    l->back_off_ms = BACK_OFF_MIN_MS;
    list_init(&l->pending);
    list_init(&l->deadlines);
    timer_init(&l->timer, setup->loop, on_timer, l);
    task_init(&l->down_task, on_down_task, l);
    dial(l);
    return l;
}

void
redis_link_free(struct redis_link **link)
{
    struct redis_link *l = *link;

    if (!l)
        return;
    l->state = LINK_CLOSED;
    drop_connection(l);
    answer_pending(l, STORE_DOWN);
    *link = NULL;
    timer_fini(&l->timer);
    task_cancel(&l->down_task);
    if (l->tls)
        tls_ctx_unref(&l->tls);
    free(l);
}

void
redis_link_retire(struct redis_link **link)
{
    struct redis_link *l = *link;

    *link = NULL;
    drop_connection(l);
    timer_stop(&l->timer);
    l->state = LINK_CLOSED;
    l->error = STORE_DOWN;
    task_defer(l->setup.loop, &l->down_task);
}

bool
redis_link_is_up(const struct redis_link *l)
{
    return l->state == LINK_UP;
}

const char *
redis_link_error_text(const struct redis_link *l)
{
    return l->error_text;
}
