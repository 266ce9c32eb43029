#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "relay/store/redis_link_part.h"
#include "relay/store/store_keys.h"

static void next_setup(struct redis_link *l);

static void
setup_failed(struct redis_link *l, const char *what, enum store_error error)
{
    char detail[sizeof(l->detail)];

    if (l->state != LINK_SETTING_UP && l->state != LINK_UP)
        return; /* the connection went down meanwhile and said why */
    snprintf(detail, sizeof(detail), "%.40s: %.200s", what,
        error == STORE_OK ? "unexpected answer" : l->error_text);
    redis_link_go_down(l, error == STORE_OK ? STORE_PROTOCOL : error, detail);
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
    const char *info[] = {"INFO", "server", "persistence", "memory", "replication", "cluster"};

    redis_link_say(l, 6, info, deadline_ms, done);
}

/* False: the connection was dropped, which said why. */
static bool
is_fit(struct redis_link *l, const struct redisReply *reply, enum store_error error)
{
    struct span info;
    struct err err;

    if (error != STORE_OK || reply->type != REDIS_REPLY_STRING) {
        setup_failed(l, "INFO", error);
        return false;
    }
    info = span_of(reply->str, (size_t)reply->len);
    redis_info_id(info, l->server);
    error = redis_info_check(info, l->conf->allow_volatile, l->conf->topology == STORE_CLUSTER, &err);
    if (error != STORE_OK)
        redis_link_go_down(l, error, err.text);
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

        redis_link_say(l, 3, load, LINK_SETUP_MS, on_loaded);
        return;
    }
    redis_link_came_up(l);
}

/* Whoever of a cluster does not have the group's slot says who does. */
static void
on_slot_asked(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct redis_link *l = arg;

    (void)reply;
    if (error == STORE_MOVED && redis_link_follow(l))
        return;
    if (error != STORE_OK)
        setup_failed(l, "HGET", error);
    else
        ask_info(l, LINK_SETUP_MS, on_info);
}

static void
ask_slot(struct redis_link *l)
{
    struct buf key;
    const char *hget[] = {"HGET", NULL, "schema"};

    buf_init(&key);
    store_key_prefix(&key, l->conf->group);
    buf_add(&key, "g", 2);
    hget[1] = buf_span(&key).p;
    if (l->asking)
        redis_link_say_asking(l, LINK_SETUP_MS);
    redis_link_say(l, 3, hget, LINK_SETUP_MS, on_slot_asked);
    buf_fini(&key);
}

void
redis_link_begin_setup(struct redis_link *l)
{
    const struct store_conf *c = l->conf;
    char database[12];
    const char *auth[] = {"AUTH", c->user ? c->user : "default", c->password ? c->password : ""};
    const char *select_db[] = {"SELECT", database};

    l->state = LINK_SETTING_UP;
    l->n_loaded = 0;
    snprintf(database, sizeof(database), "%u", c->database);
    if (c->password || c->user)
        redis_link_say(l, 3, auth, LINK_SETUP_MS, on_auth);
    if (c->database != 0)
        redis_link_say(l, 2, select_db, LINK_SETUP_MS, on_select);
    if (c->topology == STORE_CLUSTER)
        ask_slot(l);
    else
        ask_info(l, LINK_SETUP_MS, on_info);
}
