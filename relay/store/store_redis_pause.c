/* Pauses: in force on this node at once, in the node's state folder, then in Redis, where every charge of
 * every node meets them. Until Redis has a pause it is sent again with each heartbeat. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_codec.h"
#include "relay/store/store_keys.h"
#include "relay/store/store_redis_part.h"

/* ---- store.pauses: a line each, "STATE SCOPE:INSTANCE e|a|w TILL SINCE CLASS ACTOR REASON"; STATE is "new"
 * or "known", with ":CLIENT:ROUTE" behind it where somebody wider may be paused instead ---- */

static void
format_state(struct buf *out, const struct pause_note *note)
{
    const struct pause_wider *wider = &note->wider;

    buf_add_str(out, note->state == PAUSE_NEW ? "new" : "known");
    if (wider->client[0] == '\0' && wider->route[0] == '\0')
        return;
    buf_add_str(out, ":");
    store_escape(out, span_str(wider->client));
    buf_add_str(out, ":");
    store_escape(out, span_str(wider->route));
}

static void
format_pause(struct buf *out, const struct pause *p, const struct pause_note *note)
{
    format_state(out, note);
    buf_add_str(out, " ");
    store_scope_name(out, p->scope, p->instance);
    buf_printf(out, " %c %lld %lld %s ", codec_extent_letter(p->extent), (long long)p->until_utc_ms,
        (long long)p->since_utc_ms, reply_class_to_str(p->class));
    for (const char *c = p->actor[0] ? p->actor : "-"; *c; c++)
        buf_add(out, *c > ' ' && *c < 127 ? c : "_", 1);
    buf_add_str(out, " ");
    for (const char *c = p->reason; *c; c++)
        buf_add(out, *c >= ' ' && *c < 127 ? c : "?", 1);
    buf_add_str(out, "\n");
}

/* A guest writes nothing: who has the state folder hears of what Redis does not have. */
static void
tell_pauses(struct redis_store *r)
{
    struct buf line;

    buf_init(&line);
    for (size_t i = 0; i < r->pauses.n; i++) {
        if (r->pauses.notes[i].state != PAUSE_NEW)
            continue;
        buf_clear(&line);
        format_pause(&line, &r->pauses.pauses[i], &r->pauses.notes[i]);
        buf_add(&line, "", 1);
        r->on_pause(r->on_pause_arg, buf_span(&line).p);
    }
    buf_fini(&line);
}

static void
save(void *arg)
{
    struct redis_store *r = arg;
    struct buf text;
    struct err err;

    if (r->on_pause != NULL) {
        tell_pauses(r);
        return;
    }
    buf_init(&text);
    for (size_t i = 0; i < r->pauses.n; i++)
        format_pause(&text, &r->pauses.pauses[i], &r->pauses.notes[i]);
    if (journal_write_pauses(r->journal, buf_span(&text), &err) < 0)
        log_text(LOG_ERROR, "store_pauses", "the pauses in force could not be written: %s", err.text);
    buf_fini(&text);
}

/* A write is two syncs. Many pauses may come in one turn; until its end they are in force, but
 * not on disk. */
static void
save_later(struct redis_store *r)
{
    task_defer(r->loop, &r->pauses_save);
}

static struct pause *
find_own(const struct redis_store *r, const struct pause *p)
{
    return pause_list_find(&r->pauses, p->scope, p->instance, p->extent);
}

static void
log_no_place(const struct pause *p, const char *outcome)
{
    struct log_line l;

    log_begin(&l, LOG_ERROR, "pause_no_place");
    log_cstr(&l, "scope", limit_scope_to_str(p->scope));
    log_str(&l, "instance", span_str(p->instance));
    log_cstr(&l, "outcome", outcome);
    log_end(&l);
}

static void
log_wider(const struct pause *asked, const struct pause *wide)
{
    struct log_line l;

    log_begin(&l, LOG_ERROR, "pause_wider");
    log_cstr(&l, "scope", limit_scope_to_str(asked->scope));
    log_str(&l, "instance", span_str(asked->instance));
    log_cstr(&l, "paused_scope", limit_scope_to_str(wide->scope));
    log_str(&l, "paused_instance", span_str(wide->instance));
    log_cstr(&l, "because", "too many pauses of the narrower scope are in force");
    log_end(&l);
}

/* A wider one that cannot be read is none: the pause itself counts. */
static enum pause_state
parse_state(struct span word, struct pause_wider *wider_out)
{
    struct span state, client, route;

    *wider_out = (struct pause_wider){0};
    word = span_cut(word, ':', &state);
    route = span_cut(word, ':', &client);
    if (!store_unescape(client, wider_out->client, sizeof(wider_out->client))
        || !store_unescape(route, wider_out->route, sizeof(wider_out->route)))
        *wider_out = (struct pause_wider){0};
    return span_eq(state, SPAN_LIT("known")) ? PAUSE_KNOWN : PAUSE_NEW;
}

static void
load_line(struct redis_store *r, struct span line)
{
    struct pause_wider wider;
    struct span word, name;
    enum pause_state state;
    struct pause p;
    bool resumed;

    line = span_cut(line, ' ', &word);
    line = span_cut(line, ' ', &name);
    state = parse_state(word, &wider);
    if (!codec_pause_parse(name, line, &p, &resumed) || resumed) {
        log_text(LOG_ERROR, "store_pauses", "a line of store.pauses cannot be read; is a pause missing?");
        return;
    }
    if (!pause_list_restore(&r->pauses, &p, &wider, state))
        log_no_place(&p, "there are too many in the node's memory, so it is not in force");
}

static void
load(struct redis_store *r)
{
    struct buf text;
    struct err err;
    struct span rest, line;

    buf_init(&text);
    if (journal_read_pauses(r->journal, &text, &err) < 0)
        log_text(LOG_ERROR, "store_pauses", "the pauses in force could not be read: %s", err.text);
    for (rest = buf_span(&text); rest.n > 0;) {
        rest = span_cut(rest, '\n', &line);
        if (line.n > 0)
            load_line(r, line);
    }
    buf_fini(&text);
}

void
redis_store_init_pauses(struct redis_store *r)
{
    pause_list_init(&r->pauses);
    task_init(&r->pauses_save, save, r);
    load(r);
}

void
redis_store_hear_pause(struct store *base, struct span line)
{
    struct redis_store *r = redis_store_of(base);

    load_line(r, span_trim(line));
    save_later(r);
}

void
redis_store_save_pauses(struct redis_store *r)
{
    task_cancel(&r->pauses_save);
    save_later(r);
}

void
redis_store_flush_pauses(struct redis_store *r)
{
    if (list_is_empty(&r->pauses_save.link))
        return;
    task_cancel(&r->pauses_save);
    save(r);
}

void
redis_store_fini_pauses(struct redis_store *r)
{
    redis_store_flush_pauses(r);
    pause_list_fini(&r->pauses);
}

/* ---- telling Redis ---- */

struct pause_send {
    struct redis_store *store;
    struct pause pause;
};

static void send_pause(struct redis_store *r, const struct pause *p);

/* It stays in force here, and is sent with each heartbeat: said once. */
static void
note_unplaced(struct redis_store *r, const struct pause *p)
{
    struct pause_note *note = pause_list_note(&r->pauses, p);

    if (!note->unplaced)
        log_no_place(p, "Redis has no place for it: it is in force on this node only, and tried again");
    note->unplaced = true;
}

/* Other nodes took the places in Redis while this one could not hear of it. True: somebody wider is stopped
 * now, for no less time. */
static bool
on_full(struct redis_store *r, const struct pause *p)
{
    struct pause narrow = *p, wide = *p;
    struct pause_wider wider = pause_list_note(&r->pauses, p)->wider;
    enum pause_result result = PAUSE_NO_PLACE;

    if (pause_widen(&wide, &wider))
        result = pause_list_add(&r->pauses, &wide, &wider);
    if (result == PAUSE_NO_PLACE || pause_ends_later(&narrow, &wide)) {
        note_unplaced(r, p);
        return false;
    }
    log_wider(&narrow, &wide);
    pause_list_remove(&r->pauses, narrow.scope, narrow.instance, narrow.extent);
    if (result == PAUSE_SET)
        send_pause(r, find_own(r, &wide));
    return true;
}

/* The pause of which an answer speaks. NULL: it is gone, or another took its place, of which Redis has said
 * nothing yet. */
static struct pause *
find_sent(const struct redis_store *r, const struct pause *sent)
{
    struct pause *p = find_own(r, sent);

    return p && p->since_utc_ms == sent->since_utc_ms && p->until_utc_ms == sent->until_utc_ms ? p : NULL;
}

/* True: something is different now. */
static bool
take_put(struct redis_store *r, struct pause *p, int64_t result)
{
    struct pause_note *note = pause_list_note(&r->pauses, p);
    bool was_known = note->state == PAUSE_KNOWN;

    if (result == 4)
        return on_full(r, p);
    if (result == 2) { /* resumed while this node was away */
        pause_list_remove(&r->pauses, p->scope, p->instance, p->extent);
        return true;
    }
    note->state = PAUSE_KNOWN;
    note->unplaced = false;
    return !was_known;
}

static void
on_put(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct pause_send *send = arg;
    struct redis_store *r = send->store;
    struct pause *p = find_sent(r, &send->pause);
    int64_t f[2];

    if (error == STORE_OK && !codec_integers(reply, f, 2))
        error = STORE_PROTOCOL;
    if (error != STORE_OK) {
        log_text(LOG_ERROR, "store_pause", "a pause is not in Redis yet (%s); it is tried again",
            store_error_to_str(error));
    } else if (p && take_put(r, p, f[0])) {
        save_later(r);
        redis_store_beat(r); /* brings the list as all nodes have it, with Redis' own time */
    }
    free(send);
}

static void
send_pause(struct redis_store *r, const struct pause *p)
{
    struct codec_node node = redis_store_node(r);
    struct pause_send *send = xmalloc(sizeof(*send));

    *send = (struct pause_send){r, *p};
    codec_pause_put(&r->command, &node, p, pause_list_note(&r->pauses, p)->state == PAUSE_FORGOTTEN);
    if (!redis_store_send(r, on_put, send))
        free(send);
}

/* Without Redis' time nothing is known to have ended. */
static bool
expire(struct redis_store *r)
{
    return r->clock.time_us > 0 && pause_list_expire(&r->pauses, redis_store_now_ms(r));
}

int64_t
redis_store_time_ms(const struct store *base)
{
    return redis_store_now_ms(redis_store_of(base));
}

enum pause_result
redis_store_pause(struct store *base, struct pause *pause, const struct pause_wider *wider)
{
    struct redis_store *r = redis_store_of(base);
    struct pause asked = *pause;
    enum pause_result result;

    expire(r);
    if (r->clock.time_us == 0 && r->undated_since_ms == 0)
        r->undated_since_ms = pause->since_utc_ms;
    result = pause_list_add(&r->pauses, pause, wider);
    if (result == PAUSE_NO_PLACE)
        log_no_place(pause, "nobody wider could be paused: it is not in force");
    else if (pause->scope != asked.scope)
        log_wider(&asked, pause);
    if (result == PAUSE_SET) {
        save_later(r);
        send_pause(r, find_own(r, pause));
    }
    return result;
}

/* Redis' time is known now: what was paused for a time before that ends by it. */
static void
date_anew(struct redis_store *r)
{
    int64_t ahead_ms = redis_store_now_ms(r) - clock_utc_ms();

    if (r->undated_since_ms == 0 || r->clock.time_us == 0)
        return;
    for (size_t i = 0; i < r->pauses.n; i++) {
        struct pause *p = &r->pauses.pauses[i];

        if (r->pauses.notes[i].state != PAUSE_NEW || p->until_utc_ms == 0
            || p->since_utc_ms < r->undated_since_ms)
            continue;
        p->since_utc_ms += ahead_ms;
        p->until_utc_ms += ahead_ms;
    }
    r->undated_since_ms = 0;
    save_later(r);
}

void
redis_store_tend_pauses(struct redis_store *r)
{
    date_anew(r);
    if (expire(r))
        save_later(r);
    for (size_t i = 0; i < r->pauses.n; i++)
        if (r->pauses.notes[i].state != PAUSE_KNOWN)
            send_pause(r, &r->pauses.pauses[i]);
}

/* ---- hearing from Redis ---- */

static void
take_over(struct redis_store *r, const struct pause *p)
{
    if (!pause_list_take_over(&r->pauses, p))
        log_no_place(p, "it is in force in Redis; this node cannot remember it");
}

/* A pause that cannot be read stops all mail its field is about. No charge looks for a field that is none of
 * ours, so it stops nothing; somebody may have meant it to. */
static void
take_unreadable(struct redis_store *r, struct span name)
{
    struct pause p = {.since_utc_ms = redis_store_now_ms(r),
        .reason = "a pause in Redis that cannot be read"};
    bool is_ours = codec_pause_name_parse(name, &p.scope, p.instance, &p.extent);
    struct log_line l;

    log_begin(&l, LOG_ERROR, "pause_unreadable");
    log_str(&l, "name", name);
    log_cstr(&l, "outcome", is_ours ? "all it is about is paused" : "it stops nothing: is a pause missing?");
    log_end(&l);
    if (is_ours)
        take_over(r, &p);
}

static void
take_text(struct redis_store *r, struct span name, struct span text)
{
    struct pause p, *own;
    bool resumed;

    if (!codec_pause_parse(name, text, &p, &resumed)) {
        take_unreadable(r, name);
        return;
    }
    if (!resumed) {
        take_over(r, &p);
        return;
    }
    own = find_own(r, &p);
    if (own && pause_list_note(&r->pauses, own)->state != PAUSE_NEW && own->since_utc_ms <= p.since_utc_ms)
        pause_list_remove(&r->pauses, p.scope, p.instance, p.extent);
}

void
redis_store_sync_pauses(struct redis_store *r, const struct redisReply *reply,
    const struct heartbeat_reply *beat)
{
    pause_list_begin_sync(&r->pauses);
    for (size_t i = 0; i < beat->n_pause_texts; i++) {
        const struct redisReply *name = reply->element[beat->first_pause + 2 * i];
        const struct redisReply *text = reply->element[beat->first_pause + 2 * i + 1];

        if (name->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING || name->len < 2)
            continue;
        take_text(r, span_of(name->str + 2, (size_t)name->len - 2), span_of(text->str, (size_t)text->len));
    }
    pause_list_end_sync(&r->pauses);
    save_later(r);
}

/* ---- resume ---- */

/* Removes from the list what a resume ends; true when there was anything. */
static bool
remove_resumed(struct redis_store *r, const struct ask *ask)
{
    size_t before = r->pauses.n;

    if (ask->growth) {
        pause_list_remove(&r->pauses, ask->scope, ask->instance, PAUSE_GROWTH);
    } else {
        pause_list_remove(&r->pauses, ask->scope, ask->instance, PAUSE_ALL);
        pause_list_remove(&r->pauses, ask->scope, ask->instance, PAUSE_EXTERNAL);
    }
    return r->pauses.n < before;
}

static void
on_resumed(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct ask *ask = arg;
    struct redis_store *r = redis_store_of(ask->store);
    int64_t f[2];

    if (error == STORE_OK && !codec_integers(reply, f, 2))
        error = STORE_PROTOCOL;
    if (error == STORE_OK && (remove_resumed(r, ask) || f[0] == 0)) {
        save_later(r);
        ask->ok = true;
    }
    ask->error = ask->ok || error != STORE_OK ? error : STORE_OTHER;
    ask_answer(ask);
}

static struct ask *
new_resume(struct redis_store *r, enum limit_scope scope, const char *instance, store_done_fn *done,
    void *arg)
{
    struct ask *ask = ask_new(&r->asks, &r->base, ASK_DONE, arg);

    ask->fn.done = done;
    ask->scope = scope;
    memcpy(ask->instance, instance, strnlen(instance, sizeof(ask->instance) - 1));
    return ask;
}

static void
send_resume(struct redis_store *r, struct ask *ask)
{
    if (!redis_store_send(r, on_resumed, ask)) {
        ask->error = STORE_DOWN;
        ask_answer_later(ask);
    }
}

void
redis_store_resume(struct store *base, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg)
{
    struct redis_store *r = redis_store_of(base);
    struct codec_node node = redis_store_node(r);
    struct ask *ask = new_resume(r, scope, instance, done, arg);

    (void)actor; /* who asked knows them, and the outcome, for the log */
    (void)reason;
    codec_pause_end(&r->command, &node, scope, ask->instance);
    send_resume(r, ask);
}

void
redis_store_warmup_resume(struct store *base, const char *route, store_done_fn *done, void *arg)
{
    struct redis_store *r = redis_store_of(base);
    struct codec_node node = redis_store_node(r);
    struct ask *ask = new_resume(r, SCOPE_ROUTE, route, done, arg);

    ask->growth = true;
    codec_growth_resume(&r->command, &node, SCOPE_ROUTE, ask->instance);
    send_resume(r, ask);
}

size_t
redis_store_pauses(const struct store *base, const struct pause **pauses_out)
{
    *pauses_out = redis_store_of(base)->pauses.pauses;
    return redis_store_of(base)->pauses.n;
}

const struct pause *
redis_store_pause_for(const struct store *base, const struct charge_request *request)
{
    struct redis_store *r = redis_store_of(base);
    const struct pause *p = pause_list_for(&r->pauses, request);

    /* A timed one that is over goes with the next heartbeat; it must not stop mail until then. */
    if (p && p->until_utc_ms != 0 && p->until_utc_ms <= redis_store_now_ms(r) && expire(r))
        p = pause_list_for(&r->pauses, request);
    return p;
}
