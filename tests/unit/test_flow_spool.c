/* flow with the spool: what becomes of a message that cannot go now, with the real upstream pool against a
 * scripted peer, the in-memory store and a real spool. After each: what the client heard, what the upstream
 * saw, what is on disk and in the order of release. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/flow/held.h"
#include "relay/flow/job.h"
#include "relay/flow/release.h"
#include "tests/lib/flow_scene.h"

#define HOUR_MS 3600000
#define PATIENCE_MS 10000

/* ---- a disk that fails on demand, under the spool's thread ---- */

static atomic_int write_error; /* SQLITE_OK: none */
static sqlite3_io_methods failing[4];
static const sqlite3_io_methods *sound[4];
static int (*sound_open)(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out);
static int (*sound_write)(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at);

static int
write_or_fail(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    int error = atomic_load(&write_error);

    return error != SQLITE_OK ? error : sound_write(file, bytes, n, at);
}

static int
open_failing(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out)
{
    int error = sound_open(vfs, name, file, flags, out);
    size_t i = 0;

    if (file->pMethods == NULL)
        return error;
    while (sound[i] != NULL && sound[i] != file->pMethods)
        assert_true(++i < 4);
    sound[i] = file->pMethods;
    failing[i] = *file->pMethods;
    sound_write = file->pMethods->xWrite;
    failing[i].xWrite = write_or_fail;
    file->pMethods = &failing[i];
    return error;
}

static int
install_disk(void **state)
{
    static sqlite3_vfs disk;

    (void)state;
    disk = *sqlite3_vfs_find(NULL);
    sound_open = disk.xOpen;
    disk.xOpen = open_failing;
    disk.zName = "failing";
    return sqlite3_vfs_register(&disk, 1);
}

/* A scene whose client may wait. */
struct kept {
    struct scene s;
    char base[64], folder[96];
    /* the last list and order */
    bool answered;
    size_t messages, recipients;
    int64_t due_in_ms;                /* of the first recipient */
    int code;                         /* of the last reply to it */
    int64_t due_first_utc_ms, due_last_utc_ms;
    uint64_t seq;                     /* of the last message */
    uint32_t attempts, uncertain;     /* the most of all */
    size_t n_states[SPOOL_RECIPIENT_STATE_COUNT], n_dsn;
};

static const struct client_conf clients[] = {{.name = "erp"}, {.name = "app", .accept = ACCEPT_SPOOL}};

static void
kept_until(struct kept *k, bool (*is_so)(struct kept *k))
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;

    while (!is_so(k) && clock_mono_ms() < end)
        scene_turn(&k->s);
    assert_true(is_so(k));
}

static enum spool_state
spool_state_of(struct kept *k)
{
    struct spool_status status;

    spool_status(k->s.flow->spool, &status);
    return status.state;
}

static bool
is_ready(struct kept *k)
{
    return spool_state_of(k) == SPOOL_READY;
}

static void
open_spool(struct kept *k, bool releases)
{
    struct err err = {""};

    assert_int_equal(flow_open_spool(k->s.flow, &k->s.config->spool, &err), 0);
    flow_configure(k->s.flow, k->s.config);
    if (!releases)
        flow_stop_release(k->s.flow);
    assert_int_equal(flow_start_spool(k->s.flow, &err), 0);
    kept_until(k, is_ready);
}

static void
kept_start(struct kept *k, uint64_t cap, const struct peer_rule *rules, size_t n_rules)
{
    *k = (struct kept){.base = "/tmp/sendgov-flow.XXXXXX"};
    atomic_store(&write_error, SQLITE_OK);
    assert_non_null(mkdtemp(k->base));
    snprintf(k->folder, sizeof(k->folder), "%s/spool", k->base);
    scene_start(&k->s, cap, HOUR_MS, rules, n_rules);
    k->s.config->front.hostname = "relay.test";
    k->s.config->clients = clients;
    k->s.config->n_clients = 2;
    k->s.config->routes = &k->s.w.route;
    k->s.config->n_routes = 1;
    k->s.config->spool = (struct spool_conf){.enabled = true, .folder = k->folder, .retry_first_ms = 60000,
        .retry_max_ms = 3600000, .lifetime_ms = INT64_C(172800000), .warn_ms = 14400000,
        .uncertain_ms = 600000, .uncertain_max = 2, .size_limit_bytes = 1000000};
    open_spool(k, true);
}

static void
kept_stop(struct kept *k)
{
    char command[128];

    scene_stop(&k->s);
    snprintf(command, sizeof(command), "rm -rf '%s'", k->base);
    assert_int_equal(system(command), 0);
}

/* ---- what is on disk, and where it stands ---- */

static void
look_at(struct kept *k, const struct spool_message *m)
{
    k->seq = m->seq;
    k->n_dsn += m->is_dsn;
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        const struct spool_recipient *r = &m->states[i];

        if (k->recipients++ == 0) {
            k->code = r->reply.code;
            k->due_in_ms = r->due_utc_ms - clock_utc_ms();
            k->due_first_utc_ms = k->due_last_utc_ms = r->due_utc_ms;
        }
        k->due_first_utc_ms = r->due_utc_ms < k->due_first_utc_ms ? r->due_utc_ms : k->due_first_utc_ms;
        k->due_last_utc_ms = r->due_utc_ms > k->due_last_utc_ms ? r->due_utc_ms : k->due_last_utc_ms;
        k->n_states[r->state]++;
        k->attempts = r->attempts > k->attempts ? r->attempts : k->attempts;
        k->uncertain = r->uncertain > k->uncertain ? r->uncertain : k->uncertain;
    }
}

static void
on_listed(void *arg, enum spool_result result, struct spool_message *const *messages, size_t n, bool more)
{
    struct kept *k = arg;

    assert_int_equal(result, SPOOL_DONE);
    assert_false(more);
    for (size_t i = 0; i < n; i++)
        look_at(k, messages[i]);
    k->messages = n;
    k->answered = true;
}

static bool
is_answered(struct kept *k)
{
    return k->answered;
}

/* Fills in what is on disk; how many messages. */
static size_t
kept_look(struct kept *k)
{
    struct spool_filter filter = {0};

    k->answered = false;
    k->messages = k->recipients = k->n_dsn = 0;
    k->attempts = k->uncertain = 0;
    memset(k->n_states, 0, sizeof(k->n_states));
    held_list(k->s.flow, &filter, on_listed, k);
    kept_until(k, is_answered);
    return k->messages;
}

static uint64_t
kept_in_queue(struct kept *k)
{
    struct spool_status spool;
    struct queue_counts queue;

    held_status(k->s.flow, &spool, &queue);
    return queue.messages;
}

static bool
is_empty(struct kept *k)
{
    return kept_look(k) == 0 && scene_is_over(&k->s);
}

/* ---- who does something at the worst moment ---- */

static struct job *
job_of(struct kept *k)
{
    struct job *job = slots_get(&k->s.flow->jobs, k->s.job);

    assert_non_null(job);
    return job;
}

static void
add(struct message *m, const char *text, enum recipient_class class)
{
    struct address a;

    assert_int_equal(address_parse_plain(span_str(text), &a), ADDRESS_OK);
    envelope_add(&m->envelope, &a, class);
}

/* One recipient of each class: the internal one goes first. */
static void
submit_mixed(struct kept *k)
{
    struct message *m = scene_message(&k->s);

    add(m, "in@contoso.com", RECIPIENT_INTERNAL);
    add(m, "out@x.org", RECIPIENT_EXTERNAL);
    scene_submit_message(&k->s, m);
}

static bool
has_no_write(struct kept *k)
{
    return job_of(k)->keep == NULL;
}

static bool
has_write(struct kept *k)
{
    return !has_no_write(k);
}

static void
on_resumed(void *arg, bool ok, enum store_error error)
{
    (void)arg;
    (void)error;
    assert_true(ok);
}

static void
run_out_of_patience(struct kept *k)
{
    timer_start(&job_of(k)->patience, 1);
    world_until(&k->s.w, &k->s.answered);
    assert_int_equal(k->s.answer.code, 250);
}

/* ---- a message that is in the spool from before ---- */

static struct spool_message *
make_row(struct kept *k, const struct spool_recipient *states, size_t n)
{
    struct spool_message *row = spool_message_new();
    struct message *m = scene_message(&k->s);

    memcpy(row->id, m->id, sizeof(row->id));
    row->client = xstrdup("erp");
    row->route = xstrdup("contoso");
    row->class = xstrdup("default");
    row->trace = m->trace;
    m->trace = NULL;
    row->body = m->body;
    m->body = NULL;
    row->content_bytes = m->content_bytes;
    row->received_utc_ms = m->received_utc_ms;
    scene_fill_envelope(&row->envelope, (unsigned)n);
    row->states = xcalloc(n, sizeof(*row->states));
    memcpy(row->states, states, n * sizeof(*row->states));
    message_free(&m);
    return row;
}

static void
on_put(void *arg, enum spool_result result)
{
    struct kept *k = arg;

    assert_int_equal(result, SPOOL_DONE);
    k->answered = true;
}

/* Stored, and in the order of release. */
static void
put_row(struct kept *k, const struct spool_recipient *states, size_t n)
{
    struct spool_message *row = make_row(k, states, n);

    k->answered = false;
    spool_add(k->s.flow->spool, &row, 1, on_put, k);
    kept_until(k, is_answered);
    release_put(k->s.flow, row);
    k->seq = row->seq;
    spool_message_free(&row, true);
}

static bool
is_out(struct kept *k)
{
    struct queue_why why;

    held_why(k->s.flow, k->seq, &why);
    return why.in_flight;
}

static bool
is_back(struct kept *k)
{
    return !is_out(k);
}

/* ---- the upstream is slow ---- */

static void
test_slow_upstream_is_taken_over(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    scene_submit(&k.s, 2);
    scene_until_seen(&k.s, "dot", 1);
    run_out_of_patience(&k);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_states[SPOOL_IN_FLIGHT], 2);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 0);
    assert_int_equal(k.s.answers, 1);
    assert_true(scene_count(&k.s, M_MESSAGES, "spooled") == 1);
    assert_true(scene_count(&k.s, M_RELEASED, "delivered") == 1);
    kept_stop(&k);
}

/* A recipient that was refused before is told of with the 250: the daemon may end before the rest does. */
static void
test_take_over_tells_of_the_refused(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_SAY, "550 5.1.1 no such user\r\n"},
        {"DATA", 1, PEER_SAY, "503 5.5.1 nobody to send it to\r\n"}, {"dot", 1, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 3);
    submit_mixed(&k);
    scene_until_seen(&k.s, "dot", 1);
    flow_stop_release(k.s.flow);
    run_out_of_patience(&k);
    assert_int_equal(kept_look(&k), 2);
    assert_int_equal(k.n_dsn, 1);
    assert_int_equal(k.n_states[SPOOL_IN_FLIGHT], 1);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 1); /* once is enough */
    assert_int_equal(k.n_dsn, 1);
    assert_true(scene_count(&k.s, M_DSN, "failed") == 1);
    kept_stop(&k);
}

/* Its connection was dead all the time, and by then its mail is paused: it waits like what was never
 * tried. */
static void
test_taken_over_and_refused_later_waits(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_SILENT, NULL}, {"RCPT", 2, PEER_SILENT, NULL},
        {"DATA", 2, PEER_SILENT, NULL}};
    struct pause pause = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
        .reason = "by hand"};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 3);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    scene_submit(&k.s, 1);
    scene_until_seen(&k.s, "DATA", 2);
    run_out_of_patience(&k);
    store_pause(k.s.store, &pause, 0, NULL);
    peer_drop_all(&k.s.w.peer, true);
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_states[SPOOL_WAITING], 1);
    assert_int_equal(kept_in_queue(&k), 1);
    store_resume(k.s.store, SCOPE_ROUTE, "contoso", "me", "", on_resumed, NULL);
    kept_until(&k, is_empty);
    assert_int_equal(k.s.w.peer.messages, 2);
    kept_stop(&k);
}

/* The scene's limit as a warm-up: 1 external recipient on its first day, 5 on its second. */
static void
make_warmup(struct kept *k)
{
    static const uint64_t caps[] = {1, 5};
    static const struct schedule_conf schedule = {.name = "two", .curve = CURVE_TABLE, .table = caps,
        .n_table = 2, .ceiling = LIMIT_UNLIMITED, .use_percent = 50};

    k->s.limit.kind = LIMIT_WARMUP;
    k->s.limit.period_ms = 24 * HOUR_MS;
    k->s.limit.schedule = &schedule;
    assert_int_equal(scene_relay(&k->s, 1), 250);
    assert_int_equal(scene_relay(&k->s, 1), 250);
    assert_int_equal(kept_look(k), 1);
    assert_int_equal(k->s.w.peer.messages, 1);
}

static void
on_moved(void *arg, bool ok, enum store_error error, uint32_t before, uint32_t step)
{
    (void)arg;
    (void)error;
    assert_true(ok);
    assert_int_equal(before, 1);
    assert_int_equal(step, 2);
}

/* It was told to wait for a day; a higher step lets it go at once. */
static void
test_held_mail_hears_of_a_higher_step(void **state)
{
    struct warmup_order order = {.route = "contoso", .move = {.kind = WARMUP_MOVE_ON}};
    struct kept k;

    (void)state;
    kept_start(&k, 1, NULL, 0);
    make_warmup(&k);
    order.limit = &k.s.limit;
    store_warmup_move(k.s.store, &order, on_moved, NULL);
    kept_until(&k, is_empty);
    assert_int_equal(k.s.w.peer.messages, 2);
    kept_stop(&k);
}

/* And so does midnight, long before yesterday's mail has left the window. */
static void
test_held_mail_hears_of_midnight(void **state)
{
    struct kept k;

    (void)state;
    kept_start(&k, 1, NULL, 0);
    make_warmup(&k); /* at 22:13:20 UTC */
    store_memory_advance(k.s.store, 2 * HOUR_MS);
    kept_until(&k, is_empty);
    assert_int_equal(k.s.w.peer.messages, 2);
    kept_stop(&k);
}

/* What was in doubt when the take-over could not be written stays so, and is no more in doubt than before. */
static void
test_take_over_that_fails_changes_nothing(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_RST, NULL}, {"dot", 2, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 2);
    submit_mixed(&k);
    scene_until_seen(&k.s, "dot", 2);
    atomic_store(&write_error, SQLITE_FULL);
    timer_start(&job_of(&k)->patience, 1);
    kept_until(&k, has_write);
    kept_until(&k, has_no_write);
    atomic_store(&write_error, SQLITE_OK);
    assert_int_equal(k.s.answers, 0);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&k.s);
    assert_int_equal(k.s.answer.code, 250);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.recipients, 1);
    assert_int_equal(k.n_states[SPOOL_UNCERTAIN], 1);
    assert_int_equal(k.uncertain, 1);
    assert_int_equal(k.attempts, 1);
    assert_in_range(k.due_in_ms, 590000, 600000);
    kept_stop(&k);
}

/* ---- together ---- */

/* What the upstream refused at once comes back at once: one transaction, and one notification later. */
static void
test_recipients_stay_together(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SAY, "450 4.2.0 later\r\n"}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    assert_int_equal(scene_relay(&k.s, 4), 250);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_states[SPOOL_WAITING], 4);
    assert_int_equal(k.attempts, 1);
    assert_int_equal(k.due_first_utc_ms, k.due_last_utc_ms);
    assert_in_range(k.due_in_ms, 40000, 72000);
    kept_stop(&k);
}

/* ---- gates ---- */

/* An operator may open the counters any time: a day is not slept through. */
static void
test_closed_counters_are_asked_again(void **state)
{
    static const struct verdict closed = {.kind = VERDICT_CLOSED, .retry_after_ms = 24 * HOUR_MS};
    static const struct verdict soon = {.kind = VERDICT_CLOSED, .retry_after_ms = 100};
    struct queue_gate *g;
    struct kept k;

    (void)state;
    kept_start(&k, 10, NULL, 0);
    g = release_gate_of_verdict(k.s.flow, &closed, "counters lost");
    assert_in_range(g->opens_mono_ms - loop_now_ms(k.s.w.loop), 1, 5000);
    free(g);
    g = release_gate_of_verdict(k.s.flow, &soon, "counters lost");
    assert_in_range(g->opens_mono_ms - loop_now_ms(k.s.w.loop), 1, 100);
    free(g);
    kept_stop(&k);
}

/* Some of it went, the rest was refused by a limit: that held it, not the upstream. */
static void
test_rest_is_counted_by_what_held_it(void **state)
{
    static const struct spool_recipient states[4] = {{.state = SPOOL_WAITING}};
    struct kept k;

    (void)state;
    kept_start(&k, 3, NULL, 0);
    put_row(&k, states, 4);
    kept_until(&k, is_out);
    scene_finish(&k.s);
    kept_until(&k, is_back);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.recipients, 1);
    assert_int_equal(scene_used(&k.s), 3);
    assert_true(scene_count(&k.s, M_HELD, "limit") >= 1);
    assert_true(scene_count(&k.s, M_HELD, "upstream") == 0);
    kept_stop(&k);
}

/* ---- notifications ---- */

/* There is no room to tell of a refused recipient: it is kept, to be refused again when there is. */
static void
test_failure_that_cannot_be_told_is_no_end(void **state)
{
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_SAY, "550 5.1.1 no such user\r\n"}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    blob_pool_free(&k.s.flow->bodies);
    k.s.flow->bodies = blob_pool_new("/nonexistent", 1, 1);
    assert_int_equal(scene_relay(&k.s, 2), 250);
    assert_non_null(strstr(k.s.answer.text, "queued as"));
    assert_int_equal(k.s.w.peer.messages, 1);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_dsn, 0);
    assert_int_equal(k.n_states[SPOOL_WAITING], 1);
    assert_in_range(k.due_in_ms, 50000, 60000);
    assert_true(scene_count(&k.s, M_DSN, "failed") == 0);
    kept_stop(&k);
}

/* ---- budget ---- */

/* A new try asks for those that the grant was for, not again for all. */
static void
test_another_try_charges_what_it_offers(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_SILENT, NULL}, {"RCPT", 2, PEER_SILENT, NULL},
        {"RCPT", 3, PEER_SILENT, NULL}, {"DATA", 2, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 3, rules, 4);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    scene_submit(&k.s, 4);
    scene_until_seen(&k.s, "DATA", 2);
    assert_int_equal(scene_used(&k.s), 3);
    store_memory_advance(k.s.store, 3 * HOUR_MS);
    peer_drop_all(&k.s.w.peer, true);
    scene_finish(&k.s);
    assert_int_equal(k.s.answer.code, 250);
    assert_int_equal(scene_used(&k.s), 3);
    assert_int_equal(peer_count(&k.s.w.peer, "RCPT"), 1 + 2 + 2 + 1);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.recipients, 1);
    kept_stop(&k);
}

/* ---- clients that leave ---- */

/* It will send again: what was not offered by then comes with that. */
static void
test_who_left_has_no_second_round(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    submit_mixed(&k);
    scene_until_seen(&k.s, "dot", 1);
    flow_forget(k.s.flow, k.s.job);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    scene_finish(&k.s);
    assert_int_equal(k.s.answers, 0);
    assert_int_equal(peer_count(&k.s.w.peer, "MAIL"), 1);
    assert_int_equal(scene_used(&k.s), 0);
    assert_int_equal(kept_look(&k), 0);
    assert_true(scene_count(&k.s, M_MESSAGES, "deferred") == 1);
    assert_true(metric_get(k.s.w.metrics, M_RECIPIENTS, "internal", "relayed", NULL) == 1);
    assert_true(metric_get(k.s.w.metrics, M_RECIPIENTS, "external", "deferred", NULL) == 1);
    kept_stop(&k);
}

/* Nor is it taken over: from the spool it would be tried again, beside what the client sends again. */
static void
test_who_left_is_not_taken_over(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    scene_submit(&k.s, 1);
    scene_until_seen(&k.s, "dot", 1);
    timer_start(&job_of(&k)->patience, 10);
    flow_forget(k.s.flow, k.s.job);
    world_pass(&k.s.w, 50);
    assert_int_equal(kept_look(&k), 0);
    peer_drop_all(&k.s.w.peer, true);
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 0);
    assert_true(scene_count(&k.s, M_MESSAGES, "uncertain") == 1);
    assert_int_equal(k.s.answers, 0);
    kept_stop(&k);
}

/* ---- a spool that cannot be used ---- */

static bool
is_sick(struct kept *k)
{
    return spool_state_of(k) == SPOOL_SICK;
}

/* What is due then waits for the spool, and does not keep the loop busy. */
static void
test_sick_spool_is_no_busy_loop(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 0, PEER_SAY, "450 4.2.0 later\r\n"}};
    int64_t since_mono_ms;
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    k.s.config->spool.retry_first_ms = 300;
    assert_int_equal(scene_relay(&k.s, 1), 250);
    atomic_store(&write_error, SQLITE_IOERR_WRITE);
    assert_int_equal(scene_relay(&k.s, 1), 451);
    kept_until(&k, is_sick);
    world_pass(&k.s.w, 400);
    since_mono_ms = clock_mono_ms();
    for (int i = 0; i < 10; i++)
        loop_turn(k.s.w.loop, 50);
    assert_true(clock_mono_ms() - since_mono_ms > 200);
    atomic_store(&write_error, SQLITE_OK);
    kept_until(&k, is_ready);
    kept_stop(&k);
}

static bool
fails_to_write(struct kept *k)
{
    return is_sick(k) && is_out(k);
}

/* What the upstream said is written when the disk is back; until then nothing of it is tried again. */
static void
test_outcome_waits_for_the_disk(void **state)
{
    static const struct spool_recipient states[2] = {{.state = SPOOL_WAITING}};
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    put_row(&k, states, 2);
    scene_until_seen(&k.s, "dot", 1);
    atomic_store(&write_error, SQLITE_IOERR_WRITE);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    kept_until(&k, fails_to_write);
    atomic_store(&write_error, SQLITE_OK);
    kept_until(&k, is_ready);
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 0);
    assert_int_equal(kept_in_queue(&k), 0);
    assert_int_equal(peer_count(&k.s.w.peer, "MAIL"), 1);
    assert_true(scene_count(&k.s, M_RELEASED, "delivered") == 1);
    kept_stop(&k);
}

static void
break_disk(struct scene *s)
{
    (void)s;
    atomic_store(&write_error, SQLITE_IOERR_WRITE);
}

/* A refused message is back in its place at once, and on disk when that works again. */
static void
test_refusal_waits_for_the_disk(void **state)
{
    static const struct spool_recipient states[1] = {{.state = SPOOL_WAITING}};
    struct kept k;

    (void)state;
    kept_start(&k, 1, NULL, 0);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    put_row(&k, states, 1);
    scene_meddle(&k.s, CONN_LEASED, break_disk);
    kept_until(&k, is_sick);
    assert_true(is_back(&k));
    store_memory_advance(k.s.store, 3 * HOUR_MS);
    atomic_store(&write_error, SQLITE_OK);
    kept_until(&k, is_ready);
    flow_configure(k.s.flow, k.s.config); /* what stands at a gate may ask again */
    kept_until(&k, is_empty);
    assert_int_equal(k.s.w.peer.messages, 2);
    assert_int_equal(k.attempts, 0);
    kept_stop(&k);
}

static void
drop_every_connection(struct scene *s)
{
    peer_drop_all(&s->w.peer, true);
    s->meddler.done = false;
}

static bool
is_given_up(struct kept *k)
{
    struct queue_why why;

    release_why(k->s.flow, k->seq, &why);
    return why.gate != NULL && why.gate->kind == QUEUE_GATE_UPSTREAM && is_back(k);
}

/* Connections are to be had and none can be used: it waits for the upstream, and its turn does not come again
 * at once. */
static void
test_useless_connections_are_no_busy_loop(void **state)
{
    static const struct spool_recipient states[1] = {{.state = SPOOL_WAITING}};
    struct kept k;
    double refunds;

    (void)state;
    kept_start(&k, 10, NULL, 0);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    scene_meddle(&k.s, CONN_LEASED, drop_every_connection);
    put_row(&k, states, 1);
    kept_until(&k, is_given_up);
    refunds = scene_count(&k.s, M_REFUNDS, NULL);
    assert_true(refunds > 0);
    for (int64_t end = clock_mono_ms() + 300; clock_mono_ms() < end;)
        scene_turn(&k.s);
    assert_true(scene_count(&k.s, M_REFUNDS, NULL) == refunds);
    scene_meddle(&k.s, CONN_LEASED, NULL);
    kept_until(&k, is_empty);
    assert_int_equal(k.s.w.peer.messages, 2);
    assert_int_equal(k.attempts, 0);
    kept_stop(&k);
}

/* Its row went while it was on its way, put aside as damaged: what waits of it is written anew. */
static void
test_row_that_went_is_written_anew(void **state)
{
    static const struct spool_recipient states[2] = {{.state = SPOOL_WAITING}};
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_SAY, "550 5.1.1 no such user\r\n"},
        {"dot", 1, PEER_SILENT, NULL}};
    struct spool_message *nothing = spool_message_new();
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 2);
    put_row(&k, states, 2);
    scene_until_seen(&k.s, "dot", 1);
    nothing->seq = k.seq;
    spool_settle(k.s.flow->spool, nothing, NULL, 0, NULL, NULL);
    spool_message_free(&nothing, false);
    assert_int_equal(kept_look(&k), 0);
    flow_stop_release(k.s.flow);
    peer_say_all(&k.s.w.peer, "450 4.2.0 later\r\n");
    scene_finish(&k.s);
    assert_int_equal(kept_look(&k), 2);
    assert_int_equal(k.n_dsn, 1);
    assert_int_equal(k.recipients, 2);
    assert_int_equal(kept_in_queue(&k), 2);
    kept_stop(&k);
}

/* ---- reloads ---- */

/* The route goes while the message is on its way from the disk: what was on the operator's list stays
 * there. */
static void
test_reload_lets_no_parked_go(void **state)
{
    static const struct spool_recipient states[] = {{.state = SPOOL_PARKED, .uncertain = 2},
        {.state = SPOOL_UNCERTAIN, .uncertain = 1}, {.state = SPOOL_WAITING}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, NULL, 0);
    put_row(&k, states, 3);
    kept_until(&k, is_out);
    k.s.config->n_routes = 0;
    kept_until(&k, is_back);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_states[SPOOL_PARKED], 1);
    assert_int_equal(k.n_states[SPOOL_UNCERTAIN], 1);
    assert_int_equal(k.n_states[SPOOL_WAITING], 1);
    kept_stop(&k);
}

static void
reload(struct scene *s)
{
    flow_configure(s->flow, s->config);
}

/* Limits that go with their configuration: this one's are all recipients'. */
static struct config *
make_config(struct kept *k)
{
    struct config *c = xcalloc(1, sizeof(*c));
    struct limit_conf *limit;

    *c = *k->s.config;
    c->references = 1;
    arena_init(&c->arena);
    limit = arena_alloc(&c->arena, sizeof(*limit));
    *limit = k->s.limit;
    limit->name = arena_strdup(&c->arena, SPAN_LIT("recipients-hour"));
    limit->unit = UNIT_RECIPIENTS;
    c->limits = limit;
    return c;
}

/* The limit that refused the first round goes with its configuration before the message is logged. */
static void
test_reload_between_rounds(void **state)
{
    static const struct spool_recipient states[1] = {{.state = SPOOL_WAITING}};
    struct config *before;
    struct message *m;
    struct kept k;

    (void)state;
    kept_start(&k, 10, NULL, 0);
    flow_stop_release(k.s.flow);
    put_row(&k, states, 1); /* what is sent after it waits behind it */
    before = make_config(&k);
    ((struct limit_conf *)(uintptr_t)before->limits)->value = 1;
    flow_configure(k.s.flow, before);
    config_unref(&before);
    m = scene_message(&k.s);
    add(m, "in@contoso.com", RECIPIENT_INTERNAL);
    scene_submit_message(&k.s, m);
    scene_finish(&k.s);
    scene_meddle(&k.s, CONN_LEASED, reload);
    submit_mixed(&k);
    scene_finish(&k.s);
    assert_true(k.s.meddler.done);
    assert_int_equal(k.s.answer.code, 250);
    assert_int_equal(k.s.w.peer.messages, 1);
    assert_int_equal(kept_look(&k), 3);
    kept_stop(&k);
}

/* ---- orders of an operator ---- */

static void
on_ordered(void *arg, enum spool_result result, size_t changed, size_t busy)
{
    struct kept *k = arg;

    assert_int_equal(result, SPOOL_DONE);
    assert_int_equal(changed + busy, 1);
    k->answered = true;
}

/* The order reaches the disk just before the message is taken from it: its answer is older than what was
 * taken, and does not call the message back. */
static void
test_order_and_take_in_one_breath(void **state)
{
    static const struct spool_recipient states[] = {{.state = SPOOL_WAITING}};
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};
    struct spool_filter filter = {0};
    struct queue_why why;
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    put_row(&k, states, 1); /* its turn comes with the next round of tasks */
    k.answered = false;
    held_order(k.s.flow, SPOOL_RETRY, &filter, "me", "now", on_ordered, &k);
    kept_until(&k, is_answered);
    scene_until_seen(&k.s, "dot", 1);
    assert_int_equal(kept_look(&k), 1); /* whatever else was asked of the spool is answered then */
    held_why(k.s.flow, k.seq, &why);
    assert_true(why.in_flight);
    assert_null(why.gate);
    peer_say_all(&k.s.w.peer, "250 2.0.0 queued\r\n");
    kept_until(&k, is_empty);
    assert_int_equal(peer_count(&k.s.w.peer, "dot"), 1);
    assert_int_equal(kept_in_queue(&k), 0);
    kept_stop(&k);
}

/* ---- what a notification says ---- */

static void
on_dsn(void *arg, enum spool_result result, struct spool_message *m)
{
    struct kept *k = arg;
    char scratch[4096];
    struct span text;

    assert_int_equal(result, SPOOL_DONE);
    assert_int_equal(blob_read(m->body, 0, scratch, sizeof(scratch), &text), BLOB_OK);
    assert_true(span_find_nocase(text, SPAN_LIT("Status: 5.3.4")) > 0);
    assert_true(span_find_nocase(text, SPAN_LIT("larger than the upstream takes")) > 0);
    assert_true(span_find_nocase(text, SPAN_LIT("said:")) < 0); /* the upstream was not asked */
    spool_message_free(&m, true);
    k->answered = true;
}

/* What we refuse ourselves is told in our words, whatever the upstream said before. */
static void
test_own_refusal_is_told_as_such(void **state)
{
    static const struct spool_recipient states[] = {{.state = SPOOL_WAITING, .attempts = 1,
        .reply = {.code = 451, .enhanced = {4, 7, 500}, .text = "busy"}}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, NULL, 0);
    k.s.w.peer.ehlo = "250-peer\r\n250 SIZE 40\r\n";
    put_row(&k, states, 1);
    kept_until(&k, is_out);
    flow_stop_release(k.s.flow);
    scene_finish(&k.s);
    kept_until(&k, is_back);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.n_dsn, 1);
    k.answered = false;
    spool_take(k.s.flow->spool, k.seq, INT64_MAX, k.s.w.blobs, on_dsn, &k);
    kept_until(&k, is_answered);
    kept_stop(&k);
}

/* A connection that breaks says nothing: the last word is what was said before. */
static void
test_lost_connection_is_no_last_word(void **state)
{
    static const struct spool_recipient states[] = {{.state = SPOOL_WAITING, .attempts = 1,
        .reply = {.code = 451, .enhanced = {4, 7, 500}, .text = "busy"}}};
    static const struct peer_rule rules[] = {{"RCPT", 1, PEER_RST, NULL}};
    struct kept k;

    (void)state;
    kept_start(&k, 10, rules, 1);
    put_row(&k, states, 1);
    kept_until(&k, is_out);
    kept_until(&k, is_back);
    assert_int_equal(kept_look(&k), 1);
    assert_int_equal(k.attempts, 2);
    assert_int_equal(k.code, 451);
    kept_stop(&k);
}

/* ---- the daemon ends ---- */

/* As the daemon: its parts end in this order, and the next one finds the same folder. */
static void
restart(struct kept *k)
{
    struct flow_setup setup;

    flow_free(&k->s.flow);
    world_renew(&k->s.w);
    setup = (struct flow_setup){.loop = k->s.w.loop, .store = k->s.store, .upstream = k->s.w.up,
        .metrics = k->s.w.metrics};
    k->s.flow = flow_new(&setup);
    open_spool(k, false);
}

/* After so many turns. What was promised is delivered or on disk; what was delivered is not on disk as if it
 * had not been. */
static void
end_after(struct kept *k, int turns)
{
    for (int i = 0; i < turns; i++)
        loop_turn(k->s.w.loop, 1);
    restart(k);
    kept_look(k);
    if (k->s.answered && k->s.answer.code == 250)
        assert_true(k->s.w.peer.messages + k->messages > 0);
    if (k->s.w.peer.messages > 0)
        assert_int_equal(k->n_states[SPOOL_WAITING], 0);
    assert_int_equal(k->n_states[SPOOL_IN_FLIGHT], 0);
    kept_stop(k);
}

static void
test_end_at_each_turn_of_a_live_message(void **state)
{
    (void)state;
    for (int turns = 0; turns < 25; turns++) {
        struct kept k;

        kept_start(&k, 10, NULL, 0);
        scene_submit(&k.s, 2);
        end_after(&k, turns);
    }
}

static void
test_end_at_each_turn_of_a_kept_message(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        struct kept k;
        struct message *m;

        kept_start(&k, 10, NULL, 0);
        m = scene_message(&k.s);
        m->client = &clients[1];
        add(m, "out@x.org", RECIPIENT_EXTERNAL);
        scene_submit_message(&k.s, m);
        end_after(&k, turns);
    }
}

static void
test_end_at_each_turn_of_a_take_over(void **state)
{
    static const struct peer_rule rules[] = {{"dot", 1, PEER_SILENT, NULL}};

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct kept k;

        kept_start(&k, 10, rules, 1);
        submit_mixed(&k);
        scene_until_seen(&k.s, "dot", 1);
        timer_start(&job_of(&k)->patience, 1);
        end_after(&k, turns);
    }
}

/* Its connection dies while the take-over is written, so that it asks for another one. */
static void
test_end_while_a_take_over_starts_again(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_SILENT, NULL}, {"RCPT", 2, PEER_SILENT, NULL},
        {"DATA", 2, PEER_SILENT, NULL}};

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct kept k;

        kept_start(&k, 10, rules, 3);
        assert_int_equal(scene_relay(&k.s, 1), 250);
        k.s.w.peer.messages = 0;
        scene_submit(&k.s, 1);
        scene_until_seen(&k.s, "DATA", 2);
        job_take_over(job_of(&k));
        peer_drop_all(&k.s.w.peer, true);
        end_after(&k, turns);
    }
}

/* The same with a client that leaves in any of these turns, and no end. */
static void
test_client_leaves_at_each_turn_of_a_take_over(void **state)
{
    static const struct peer_rule rules[] = {{"MAIL", 2, PEER_SILENT, NULL}, {"RCPT", 2, PEER_SILENT, NULL},
        {"DATA", 2, PEER_SILENT, NULL}};

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct kept k;

        kept_start(&k, 10, rules, 3);
        assert_int_equal(scene_relay(&k.s, 1), 250);
        scene_submit(&k.s, 1);
        scene_until_seen(&k.s, "DATA", 2);
        job_take_over(job_of(&k));
        if (turns % 2 == 0)
            peer_drop_all(&k.s.w.peer, true);
        for (int i = 0; i < turns / 2; i++)
            loop_turn(k.s.w.loop, 1);
        flow_forget(k.s.flow, k.s.job);
        if (turns % 2 != 0)
            peer_drop_all(&k.s.w.peer, true);
        kept_until(&k, is_empty);
        assert_in_range(k.s.w.peer.messages, k.s.answers, 2); /* what was promised went */
        assert_int_equal(kept_in_queue(&k), 0);
        kept_stop(&k);
    }
}

/* The text the client hears, with ID for its id. */
static void
expect_foretold(const struct explained *x, const struct reply *heard)
{
    char foretold[REPLY_TEXT_MAX + 32];

    assert_int_equal(x->answer.code, heard->code);
    assert_memory_equal(x->answer.text, "queued as ID", 12);
    snprintf(foretold, sizeof(foretold), "queued as %.22s%s", heard->text + 10, x->answer.text + 12);
    assert_string_equal(heard->text, foretold);
}

static void
foretell(struct kept *k, size_t client, unsigned recipients, enum explain_outcome outcome,
    struct explained *out)
{
    struct envelope e;

    envelope_init(&e);
    scene_fill_envelope(&e, recipients);
    scene_explain(&k->s, &clients[client], &e, NULL, out);
    envelope_fini(&e);
    assert_int_equal(out->outcome, outcome);
}

static void
test_foretold_is_what_happens(void **state)
{
    struct explained x;
    struct kept k;

    (void)state;
    kept_start(&k, 3, NULL, 0);
    assert_int_equal(scene_relay(&k.s, 2), 250);
    foretell(&k, 0, 2, EXPLAIN_PARTLY, &x);
    assert_non_null(strstr(x.answer.text, "queued as ID; held for now: limit external-hour"));
    assert_non_null(strstr(x.answer.text, "used 3 of 3"));
    foretell(&k, 1, 1, EXPLAIN_RELAYED, &x); /* its client hears that at once, whatever the limits say */
    assert_string_equal(x.answer.text, "queued as ID");
    assert_int_equal(scene_relay(&k.s, 1), 250);
    foretell(&k, 0, 1, EXPLAIN_HELD, &x);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    expect_foretold(&x, &k.s.answer);
    flow_stop_release(k.s.flow);
    flow_configure(k.s.flow, k.s.config); /* what it was told a moment ago is forgotten, and that one waits */
    foretell(&k, 0, 1, EXPLAIN_HELD, &x);
    assert_int_equal(scene_relay(&k.s, 1), 250);
    expect_foretold(&x, &k.s.answer);
    assert_non_null(strstr(x.why.text, "older mail of this sender waits"));
    foretell(&k, 1, 1, EXPLAIN_HELD, &x);
    assert_string_equal(x.answer.text, "queued as ID");
    kept_stop(&k);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foretold_is_what_happens),
        cmocka_unit_test(test_slow_upstream_is_taken_over),
        cmocka_unit_test(test_take_over_tells_of_the_refused),
        cmocka_unit_test(test_taken_over_and_refused_later_waits),
        cmocka_unit_test(test_held_mail_hears_of_a_higher_step),
        cmocka_unit_test(test_held_mail_hears_of_midnight),
        cmocka_unit_test(test_take_over_that_fails_changes_nothing),
        cmocka_unit_test(test_recipients_stay_together),
        cmocka_unit_test(test_closed_counters_are_asked_again),
        cmocka_unit_test(test_rest_is_counted_by_what_held_it),
        cmocka_unit_test(test_failure_that_cannot_be_told_is_no_end),
        cmocka_unit_test(test_another_try_charges_what_it_offers),
        cmocka_unit_test(test_who_left_has_no_second_round),
        cmocka_unit_test(test_who_left_is_not_taken_over),
        cmocka_unit_test(test_sick_spool_is_no_busy_loop),
        cmocka_unit_test(test_outcome_waits_for_the_disk),
        cmocka_unit_test(test_refusal_waits_for_the_disk),
        cmocka_unit_test(test_useless_connections_are_no_busy_loop),
        cmocka_unit_test(test_row_that_went_is_written_anew),
        cmocka_unit_test(test_reload_lets_no_parked_go),
        cmocka_unit_test(test_reload_between_rounds),
        cmocka_unit_test(test_order_and_take_in_one_breath),
        cmocka_unit_test(test_own_refusal_is_told_as_such),
        cmocka_unit_test(test_lost_connection_is_no_last_word),
        cmocka_unit_test(test_end_at_each_turn_of_a_live_message),
        cmocka_unit_test(test_end_at_each_turn_of_a_kept_message),
        cmocka_unit_test(test_end_at_each_turn_of_a_take_over),
        cmocka_unit_test(test_end_while_a_take_over_starts_again),
        cmocka_unit_test(test_client_leaves_at_each_turn_of_a_take_over),
    };

    return cmocka_run_group_tests(tests, install_disk, NULL);
}
