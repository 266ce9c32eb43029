#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/list.h"
#include "relay/base/metric.h"
#include "relay/base/xmalloc.h"
#include "relay/store/redis_link_part.h"
#include "tls/tls.h"

#define BACK_OFF_MIN_MS 50
#define BACK_OFF_MAX_MS 500 /* shorter than what heartbeat.lua leaves after a silence */
#define OTHERS_COME_MS 1200      /* SAY_MS of heartbeat.lua */
#define HOPS_MAX 5               /* then the nodes of the cluster send us round in circles */
#define QUEUE_MAX (192 * 1024)   /* bytes not taken by Redis: more commands would only wait
                                  * for their deadline */

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

static void dial(struct redis_link *l);

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

/* Who was said to have the keys does not answer as it should: another seed may know better. */
static void
forget_owner(struct redis_link *l)
{
    l->owner[0] = '\0';
    l->asking = false;
    l->seed++;
    l->hops = 0;
}

void
redis_link_go_down(struct redis_link *l, enum store_error error, const char *detail)
{
    if (l->state == LINK_CLOSED || l->state == LINK_WAITING)
        return;
    redis_wire_close(&l->wire);
    if (l->state != LINK_UP)
        forget_owner(l);
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
    redis_link_go_down(l, error, detail);
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
    case LINK_SETTING_UP:
    case LINK_UP:
        redis_link_go_down(l, STORE_TIMEOUT, "Redis did not answer in time");
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

void
redis_link_say(struct redis_link *l, int argc, const char **argv, int64_t deadline_ms, link_reply_fn *done)
{
    add_pending(l, deadline_ms, done, l);
    redis_wire_say(&l->wire, argc, argv);
}

bool
redis_link_send(struct redis_link *l, struct command *c, int64_t deadline_ms, link_reply_fn *done, void *arg)
{
    const char *argv[COMMAND_ARGC_MAX];
    size_t lens[COMMAND_ARGC_MAX];
    struct pending *p;
    int argc, n;
    char *bytes;

    if (!redis_link_is_up(l) || redis_wire_queued(&l->wire) > QUEUE_MAX)
        return false;
    if (l->asking)
        redis_link_say_asking(l, deadline_ms);
    argc = command_argv(c, l->sha[c->script], argv, lens);
    n = (int)redisFormatCommandArgv(&bytes, argc, argv, lens);
    sg_assert(n > 0);
    p = add_pending(l, deadline_ms, done, arg);
    p->bytes = bytes;
    p->n_bytes = (size_t)n;
    p->script = c->script;
    redis_wire_write(&l->wire, span_of(bytes, (size_t)n));
    return true;
}

static void
on_asking(void *arg, const struct redisReply *reply, enum store_error error)
{
    (void)arg; /* the command that follows is answered as it must be, whatever this one is */
    (void)reply;
    (void)error;
}

void
redis_link_say_asking(struct redis_link *l, int64_t deadline_ms)
{
    const char *asking[] = {"ASKING"};

    redis_link_say(l, 1, asking, deadline_ms, on_asking);
}

static void
on_reloaded(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    if (error == STORE_OK && (reply->type != REDIS_REPLY_STRING || reply->len != SHA1_HEX))
        redis_link_go_down(l, STORE_PROTOCOL, "SCRIPT LOAD did not give a hash");
}

/* Redis forgot the script: loads it and asks once more, within the first deadline. */
static void
ask_again(struct redis_link *l, struct pending *p)
{
    const char *load[] = {"SCRIPT", "LOAD", script_text(p->script)};
    struct pending *again;

    redis_link_say(l, 3, load, LINK_SETUP_MS, on_reloaded);
    if (l->asking)
        redis_link_say_asking(l, LINK_SETUP_MS);
    again = add_pending(l, p->deadline_mono_ms - clock_mono_ms(), p->done, p->arg);
    again->sent_mono_us = p->sent_mono_us;
    redis_wire_write(&l->wire, span_of(p->bytes, p->n_bytes));
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
on_reply(void *arg, const struct redisReply *reply)
{
    struct redis_link *l = arg;
    struct pending *p;
    enum store_error error;
    link_reply_fn *done;
    void *done_arg;

    if (list_is_empty(&l->pending)) {
        redis_link_go_down(l, STORE_PROTOCOL, "Redis answered what was not asked");
        return;
    }
    p = LIST_ITEM(l->pending.next, struct pending, link);
    error = reply_error(l, reply);
    if (error == STORE_MOVED && l->state == LINK_UP && redis_link_follow(l))
        return;
    if (error != STORE_OK && p->bytes && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        ask_again(l, p);
        watch_earliest(l);
        return;
    }
    done = p->done;
    done_arg = p->arg;
    if (l->setup.metrics)
        metric_add(l->setup.metrics, M_STORE_SECONDS, (double)(clock_mono_us() - p->sent_mono_us) / 1e6, NULL,
            NULL, NULL);
    pending_free(p);
    watch_earliest(l);
    done(done_arg, error == STORE_OK ? reply : NULL, error);
}

/* ---- connecting ---- */

static void
on_open(void *arg)
{
    redis_link_begin_setup(arg);
}

static void
on_broken(void *arg, enum store_error error, const char *detail)
{
    redis_link_go_down(arg, error, detail);
}

bool
redis_link_follow(struct redis_link *l)
{
    char address[REDIS_ADDRESS_MAX], why[sizeof(l->detail)];
    bool asking;

    if (l->conf->topology != STORE_CLUSTER || ++l->hops > HOPS_MAX
        || !redis_address_redirect(span_str(l->error_text), l->target, address, &asking))
        return false;
    snprintf(l->owner, sizeof(l->owner), "%s", address);
    l->asking = asking;
    if (l->state == LINK_SETTING_UP) { /* nothing else is under way */
        redis_wire_close(&l->wire);
        dial(l);
        return true;
    }
    snprintf(why, sizeof(why), "the cluster has the keys at %.200s now", address);
    redis_link_go_down(l, STORE_MOVED, why);
    return true;
}

static const struct redis_wire_ops wire_ops = {on_open, on_reply, on_broken};

/* Where to; NULL: nobody knows. */
static const char *
choose_target(struct redis_link *l)
{
    switch (l->conf->topology) {
    case STORE_ALONE:
        break;
    case STORE_SENTINEL:
        return sentinels_master(l->sentinels);
    case STORE_CLUSTER:
        if (!l->owner[0])
            redis_address_pick(l->conf->target, l->seed, l->owner);
        return l->owner;
    }
    return l->conf->target;
}

static void
dial(struct redis_link *l)
{
    const char *target = choose_target(l);
    char why[sizeof(l->detail)];

    if (!target && sentinels_are_new(l->sentinels)) {
        timer_start(&l->timer, BACK_OFF_MIN_MS);
        return;
    }
    l->state = LINK_DIALING;
    if (!target) {
        sentinels_explain(l->sentinels, why, sizeof(why));
        redis_link_go_down(l, STORE_NOMASTER, why);
        return;
    }
    snprintf(l->target, sizeof(l->target), "%s", target);
    redis_wire_dial(&l->wire, target, l->conf->connect_ms);
}

/* To the new master at once; away from the old one, also when there is no new one. */
static void
on_master_changed(void *arg)
{
    struct redis_link *l = arg;
    const char *master = sentinels_master(l->sentinels);
    char why[sizeof(l->detail)];

    if (l->state == LINK_CLOSED)
        return;
    if (l->state != LINK_WAITING && master && strcmp(master, l->target) == 0)
        return;
    if (master)
        snprintf(why, sizeof(why), "the sentinels name %.200s as master now", master);
    else
        sentinels_explain(l->sentinels, why, sizeof(why));
    redis_link_go_down(l, STORE_NOMASTER, why);
    if (master)
        timer_start(&l->timer, 0);
}

void
redis_link_came_up(struct redis_link *l)
{
    l->state = LINK_UP;
    l->back_off_ms = BACK_OFF_MIN_MS;
    l->hops = 0;
    l->ops->on_up(l->arg);
}

/* ---- life ---- */

int
redis_link_load_tls(const struct store_conf *conf, struct tls_ctx **tls_out, struct err *err)
{
    struct tls_client_conf tls = {.ca_file = conf->tls_ca_file, .cert_file = conf->tls_cert_file,
        .key_file = conf->tls_key_file, .verify = true};

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
    redis_wire_init(&l->wire, setup->loop, setup->dialer, tls, &wire_ops, l);
    timer_init(&l->timer, setup->loop, on_timer, l);
    task_init(&l->down_task, on_down_task, l);
    if (conf->topology == STORE_SENTINEL)
        l->sentinels = sentinels_new(setup->loop, setup->dialer, conf, tls, on_master_changed, l);
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
    redis_wire_fini(&l->wire);
    sentinels_free(&l->sentinels);
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
    redis_wire_close(&l->wire);
    timer_stop(&l->timer);
    l->state = LINK_CLOSED;
    l->error = STORE_DOWN;
    task_defer(l->setup.loop, &l->down_task);
}

bool
redis_link_is_up(const struct redis_link *l)
{
    const char *master;

    if (l->state != LINK_UP || !l->sentinels)
        return l->state == LINK_UP;
    master = sentinels_master(l->sentinels); /* it grows old by itself */
    return master && strcmp(master, l->target) == 0;
}

uint64_t
redis_link_others_ms(const struct redis_link *l)
{
    switch (l->conf->topology) {
    case STORE_ALONE:
        break;
    case STORE_SENTINEL:
        return SENTINELS_FRESH_MS + OTHERS_COME_MS;
    case STORE_CLUSTER: /* one may wait for an owner that hangs, before it asks another node of the cluster */
        return LINK_SETUP_MS + OTHERS_COME_MS;
    }
    return 0;
}

const char *
redis_link_server(const struct redis_link *l)
{
    return l->server;
}

const char *
redis_link_error_text(const struct redis_link *l)
{
    return l->error_text;
}
