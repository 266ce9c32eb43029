/* An upgrade in place over the Redis store: one store goes on as a guest, another takes its name and state
 * folder, or fails and the first takes them back. Whatever was under way then: each charge counts once, no
 * slot is held by more than the cap, and nobody takes the change for lost memory. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/file.h"
#include "relay/store/guests.h"
#include "tests/lib/store_rig.h"

#define FILE_MAX (1024 * 1024)

static struct lease_request connections = {SCOPE_MAILBOX, "relay@contoso.com", "connections", 3};
static char heard[1024]; /* the last pause the guest told of, and how often it did */
static unsigned n_heard;

static int
set_up_heir(void **state)
{
    struct rig *r;

    heard[0] = '\0';
    n_heard = 0;
    if (set_up(state) != 0)
        return -1;
    r = *state;
    /* node 1 is the process that takes the place of node 0 */
    memcpy(r->nodes[1].folder, r->nodes[0].folder, sizeof(r->nodes[0].folder));
    memcpy(r->nodes[1].name, r->nodes[0].name, sizeof(r->nodes[0].name));
    r->nodes[1].replaces = true;
    add_limit(r, "hour", LIMIT_WINDOW, UNIT_MESSAGES, 8, 3600000);
    return 0;
}

static void
on_pause(void *arg, const char *line)
{
    (void)arg;
    snprintf(heard, sizeof(heard), "%s", line);
    n_heard++;
}

/* Node 0; true: all nodes can know of it. */
static bool
become_guest(struct rig *r)
{
    r->answers = 0;
    store_become_guest(r->nodes[0].store, on_pause, on_done, r);
    assert_int_equal(r->answers, 0); /* never during the call */
    assert_true(turn_until(r, answered));
    return r->ok;
}

static void
open_heir(struct rig *r)
{
    open_node(r, 1);
    store_lease_disown(r->nodes[1].store, &connections, NULL);
    assert_true(turn_until(r, all_open));
}

static void
take_back(struct rig *r)
{
    struct err err;

    if (store_return(r->nodes[0].store, &err) != 0)
        fail_msg("%s", err.text);
}

static bool
is_named(struct rig *r, size_t node, const char *name)
{
    struct store_status s;

    store_status(r->nodes[node].store, &s);
    return strcmp(s.node, name) == 0;
}

static long long scripts_wanted;

static bool
scripts_ran(struct rig *r)
{
    return scripts_run(r) >= scripts_wanted;
}

static const char lost_script[] = "return tonumber(redis.call('HGET', 'sendgov:{t%7B%7Dx}:g', 'lost'))";

/* Two heartbeats of each node passed, and none of them took anything for lost. */
static void
assert_nothing_is_lost(struct rig *r)
{
    scripts_wanted = scripts_run(r) + (r->nodes[1].store != NULL ? 4 : 2);
    assert_true(turn_until(r, scripts_ran));
    assert_true(all_open(r));
    assert_int_equal(cli(r, "EVAL %s 0", lost_script), 0);
}

static size_t answers_wanted;

static bool
all_answered(struct rig *r)
{
    return r->answers >= answers_wanted;
}

static void
wait_answers(struct rig *r, size_t n)
{
    answers_wanted = n;
    assert_true(turn_until(r, all_answered));
    assert_int_equal(r->answers, n);
}

/* What is written by now is on its way. */
static void
let_it_leave(struct rig *r)
{
    loop_turn(r->loop, 0);
    loop_turn(r->loop, 0);
}

static size_t
read_state(struct rig *r, const char *name, char *bytes)
{
    char path[160];
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "%s/%s", r->nodes[0].folder, name);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    n = read(fd, bytes, FILE_MAX);
    close(fd);
    assert_in_range(n, 0, FILE_MAX - 1);
    return (size_t)n;
}

static const char journal_file[] = "store.journal", pauses_file[] = "store.pauses",
                  guests_file[] = "store.guests";

/* ---- becoming one ---- */

/* Charges are asked for before and after it in the turn of the change while Redis says nothing: they are
 * under way under either name. */
static void
charges_count_once_across_the_change(void **state)
{
    struct rig *r = *state;
    size_t granted;

    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    r->answers = r->granted = 0;
    kill(r->server.pid, SIGSTOP);
    ask(r, 0, 1);
    let_it_leave(r);
    ask(r, 0, 1);
    ask(r, 0, 1);
    store_become_guest(r->nodes[0].store, on_pause, on_done, r);
    ask(r, 0, 1);
    let_it_leave(r);
    kill(r->server.pid, SIGCONT);
    wait_answers(r, 5);
    assert_true(r->ok);
    assert_int_equal(r->granted, 4);
    open_heir(r);
    assert_int_equal(use(r, 1, 0)->used, 5);
    for (granted = 0; charge(r, granted % 2, 1) == VERDICT_GRANTED;)
        granted++;
    assert_int_equal(granted, 3);
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    assert_int_equal(charge(r, 1, 1), VERDICT_OVER);
    assert_nothing_is_lost(r);
    assert_true(is_named(r, 1, "n0"));
    assert_false(is_named(r, 0, "n0"));
}

/* The answer to a heartbeat of the node tells numbers of the node. */
static void
a_heartbeat_under_way_is_not_the_guests(void **state)
{
    struct rig *r = *state;

    begin(r, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    kill(r->server.pid, SIGSTOP);
    turn_for(r, 1100); /* one is sent */
    r->answers = 0;
    store_become_guest(r->nodes[0].store, on_pause, on_done, r);
    let_it_leave(r);
    kill(r->server.pid, SIGCONT);
    wait_answers(r, 1);
    assert_true(r->ok);
    assert_nothing_is_lost(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 0)->used, 4);
}

static void
a_guest_leaves_the_journal_alone(void **state)
{
    static char before[FILE_MAX], after[FILE_MAX];
    struct rig *r = *state;
    size_t n;

    begin(r, 1);
    n = read_state(r, journal_file, before);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(n > 0 && read_state(r, journal_file, after) == n);
    assert_memory_not_equal(before, after, n); /* what a node does */
    assert_true(become_guest(r));
    assert_int_equal(read_state(r, journal_file, before), n);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_nothing_is_lost(r);
    assert_int_equal(read_state(r, journal_file, after), n);
    assert_memory_equal(before, after, n);
}

static void
without_redis_nobody_becomes_a_guest(void **state)
{
    struct rig *r = *state;

    begin(r, 1);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    assert_false(become_guest(r));
    assert_int_equal(r->error, STORE_DOWN);
    assert_true(is_named(r, 0, "n0"));
    take_back(r); /* harmless */
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(become_guest(r));
    assert_false(become_guest(r)); /* once is enough */
}

/* ---- slots ---- */

static bool
heir_takes_slot(struct rig *r)
{
    return take_lease(r, 1, connections.cap);
}

/* Two are held and one more is asked for while Redis says nothing. The heir gives back at once what former
 * runs of its node held: none of these. */
static void
slots_of_a_guest_stay_its_own(void **state)
{
    struct rig *r = *state;
    uint64_t held;

    begin(r, 1);
    assert_true(take_lease(r, 0, connections.cap));
    held = r->lease;
    assert_true(take_lease(r, 0, connections.cap));
    kill(r->server.pid, SIGSTOP);
    r->answers = 0;
    start_lease(r, 0, connections.cap);
    let_it_leave(r);
    store_become_guest(r->nodes[0].store, on_pause, on_done, r);
    let_it_leave(r);
    kill(r->server.pid, SIGCONT);
    wait_answers(r, 2);
    open_heir(r);
    assert_nothing_is_lost(r); /* and all was said */
    assert_false(take_lease(r, 1, connections.cap));
    assert_int_equal(r->error, STORE_OK);
    assert_false(take_lease(r, 0, connections.cap));
    store_lease_give(r->nodes[0].store, &connections, held);
    assert_true(turn_until(r, heir_takes_slot)); /* what was the node's own does not stand for long */
    assert_false(take_lease(r, 1, connections.cap));
}

/* Without a word to Redis, as a process that is killed. */
static void
kill_both(struct rig *r)
{
    kill(r->server.pid, SIGSTOP);
    for (size_t i = 0; i < 2; i++)
        if (r->nodes[i].store != NULL)
            store_free(&r->nodes[i].store);
    kill(r->server.pid, SIGCONT);
}

static bool
nobody_is_remembered(struct rig *r)
{
    static char bytes[FILE_MAX];

    return read_state(r, guests_file, bytes) == 0;
}

/* Before anybody has taken the guest's place: only the state folder knows of it. */
static void
slots_of_a_dead_guest_are_given_back(void **state)
{
    struct rig *r = *state;

    begin(r, 1);
    for (uint64_t i = 0; i < connections.cap; i++)
        assert_true(take_lease(r, 0, connections.cap));
    assert_true(become_guest(r));
    assert_false(nobody_is_remembered(r));
    kill_both(r);
    r->nodes[1].replaces = false;
    open_heir(r);
    assert_true(turn_until(r, nobody_is_remembered));
    for (uint64_t i = 0; i < connections.cap; i++)
        assert_true(take_lease(r, 1, connections.cap));
    assert_false(take_lease(r, 1, connections.cap));
}

/* Who has its place knows by other means when it is dead, and who has its own again. */
static void
a_living_guest_is_remembered_until_its_end(void **state)
{
    struct rig *r = *state;
    char identity[STORE_IDENTITY_MAX];

    begin(r, 1);
    assert_true(take_lease(r, 0, connections.cap));
    assert_true(become_guest(r));
    take_back(r);
    assert_true(turn_until(r, nobody_is_remembered));
    assert_true(become_guest(r));
    snprintf(identity, sizeof(identity), "%s", store_identity(r->nodes[0].store));
    open_heir(r);
    assert_nothing_is_lost(r);
    assert_false(nobody_is_remembered(r));
    assert_true(take_lease(r, 1, 2));
    assert_false(take_lease(r, 1, 2)); /* the guest has one */
    store_lease_disown(r->nodes[1].store, &connections, identity);
    assert_true(turn_until(r, nobody_is_remembered));
    assert_true(take_lease(r, 1, 2));
}

/* What cannot be written down keeps nobody from a new program, nor what cannot be read from a start. */
static void
without_a_place_for_its_name_a_guest_is_one(void **state)
{
    struct rig *r = *state;
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", r->nodes[0].folder, guests_file);
    assert_int_equal(mkdir(path, 0700), 0);
    begin(r, 1);
    assert_true(become_guest(r));
    take_back(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_nothing_is_lost(r);
    assert_int_equal(rmdir(path), 0);
}

/* Whatever stands there, and however much. */
static void
the_file_of_guests_is_not_believed_blindly(void **state)
{
    static const char bad[] = "\n..\n0123456789abcdef0123456789abcdeX\n0123456789abcdef0123456789abcdef";
    struct rig *r = *state;
    struct guests g;
    struct err err;
    char path[160], identity[STORE_IDENTITY_MAX];

    snprintf(path, sizeof(path), "%s/%s", r->nodes[0].folder, guests_file);
    assert_int_equal(file_replace(path, span_of(bad, sizeof(bad)), 0600, &err), 0);
    assert_int_equal(guests_read(r->nodes[0].folder, &g, &err), 0);
    assert_int_equal(g.n, 0); /* the last ends by a byte that is no line's */
    for (int i = 0; i < GUESTS_MAX + 3; i++) {
        snprintf(identity, sizeof(identity), "%032x", i);
        assert_int_equal(guests_add(r->nodes[0].folder, identity, &err), 0);
        assert_int_equal(guests_add(r->nodes[0].folder, identity, &err), 0);
    }
    assert_int_equal(guests_read(r->nodes[0].folder, &g, &err), 0);
    assert_int_equal(g.n, GUESTS_MAX);
    assert_string_equal(g.identities[0], "00000000000000000000000000000003");
    assert_int_equal(guests_remove(r->nodes[0].folder, "00000000000000000000000000000005", &err), 0);
    assert_int_equal(guests_read(r->nodes[0].folder, &g, &err), 0);
    assert_int_equal(g.n, GUESTS_MAX - 1);
    assert_string_equal(g.identities[2], "00000000000000000000000000000006");
}

/* ---- taking it back ---- */

static bool
is_open_under_own_name(struct rig *r)
{
    struct store_status s;

    store_status(r->nodes[0].store, &s);
    assert_int_not_equal(s.error, STORE_OTHER); /* nobody else is in its right */
    assert_string_equal(s.node, "n0");
    return all_open(r);
}

static bool
node_takes_slot(struct rig *r)
{
    return take_lease(r, 0, connections.cap);
}

static bool
node_takes_only_slot(struct rig *r)
{
    return take_lease(r, 0, 1);
}

/* The other process was heard of already, under the same name and journal. */
static void
name_and_slots_come_back_at_once(void **state)
{
    struct rig *r = *state;
    uint64_t held;

    begin(r, 1);
    assert_true(take_lease(r, 0, connections.cap));
    held = r->lease;
    assert_true(take_lease(r, 0, connections.cap));
    assert_true(become_guest(r));
    open_heir(r);
    store_free(&r->nodes[1].store);
    take_back(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(is_open_under_own_name(r));
    assert_nothing_is_lost(r);
    assert_true(turn_until(r, node_takes_slot));
    assert_false(take_lease(r, 0, connections.cap)); /* three are held */
    store_lease_give(r->nodes[0].store, &connections, held);
    assert_true(turn_until(r, node_takes_slot));
    assert_true(become_guest(r)); /* and another time */
    open_heir(r);
    assert_false(take_lease(r, 1, connections.cap));
}

static void
name_and_slots_come_back_without_redis(void **state)
{
    struct rig *r = *state;

    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(take_lease(r, 0, connections.cap));
    assert_true(take_lease(r, 0, connections.cap));
    assert_true(become_guest(r));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    open_heir(r);
    store_free(&r->nodes[1].store);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    take_back(r);
    private_redis_restart(&r->server, with_aof);
    assert_true(turn_until(r, is_open_under_own_name));
    assert_nothing_is_lost(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 0)->used, 3);
    assert_true(turn_until(r, node_takes_slot));
    assert_false(take_lease(r, 0, connections.cap));
}

/* The guest's charge, slot and heartbeat are answered when it is the node again; its numbers are not the
 * node's. */
static void
what_a_guest_asked_is_answered_after_its_return(void **state)
{
    struct rig *r = *state;
    uint64_t held;

    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_true(become_guest(r));
    for (int i = 0; i < 2; i++)
        assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    kill(r->server.pid, SIGSTOP);
    r->answers = r->granted = 0;
    ask(r, 0, 1);
    start_lease(r, 0, 1);
    turn_for(r, 1100); /* a heartbeat is sent */
    take_back(r);
    let_it_leave(r);
    kill(r->server.pid, SIGCONT);
    wait_answers(r, 2);
    assert_int_equal(r->granted, 1);
    assert_true(is_open_under_own_name(r));
    assert_nothing_is_lost(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(use(r, 0, 0)->used, 5);
    held = r->lease;
    assert_false(take_lease(r, 0, 1)); /* it has the only one, */
    store_lease_give(r->nodes[0].store, &connections, held);
    assert_true(turn_until(r, node_takes_only_slot)); /* and once */
}

/* Its introduction is answered when it is the node again, or never. */
static void
a_guest_nobody_heard_of_returns(void **state)
{
    struct rig *r = *state;

    r->conf.command_ms = 300;
    begin(r, 1);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    kill(r->server.pid, SIGSTOP);
    assert_false(become_guest(r));
    take_back(r);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, is_open_under_own_name));
    kill(r->server.pid, SIGSTOP);
    r->answers = 0;
    store_become_guest(r->nodes[0].store, on_pause, on_done, r);
    let_it_leave(r);
    take_back(r);
    assert_int_equal(r->answers, 0); /* never during the call, */
    loop_turn(r->loop, 0);
    assert_int_equal(r->answers, 1); /* and not when Redis says something */
    assert_false(r->ok);
    kill(r->server.pid, SIGCONT);
    assert_true(turn_until(r, is_open_under_own_name));
    assert_nothing_is_lost(r);
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
}

/* A node must know which counters have to be there, also those that were begun by the guest. */
static void
what_a_guest_charged_is_known_after_its_return(void **state)
{
    struct rig *r = *state;

    begin(r, 1);
    assert_true(become_guest(r));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    take_back(r);
    assert_true(turn_until(r, is_open_under_own_name));
    cli(r, "DEL sendgov:{t%%7B%%7Dx}:s:0:contoso");
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER);
    store_free(&r->nodes[0].store);
    open_node(r, 0);
    assert_true(turn_until(r, all_open));
    assert_int_equal(charge(r, 0, 1), VERDICT_OVER); /* and so it stands in the file */
}

static void
a_folder_in_other_hands_is_not_taken_back(void **state)
{
    struct rig *r = *state;
    struct err err = {""};

    begin(r, 1);
    assert_true(become_guest(r));
    open_heir(r);
    assert_int_equal(store_return(r->nodes[0].store, &err), -1);
    assert_string_not_equal(err.text, "");
    assert_false(is_named(r, 0, "n0"));
    assert_int_equal(charge(r, 0, 1), VERDICT_GRANTED);
    assert_int_equal(charge(r, 1, 1), VERDICT_GRANTED);
    assert_nothing_is_lost(r);
}

/* ---- pauses ---- */

static const struct pause block = {.scope = SCOPE_ROUTE, .instance = "contoso", .extent = PAUSE_EXTERNAL,
    .class = CLASS_BLOCK_TENANT, .reason = "550 5.7.708 Access denied", .actor = "n 0"};

static void
assert_one_block(struct rig *r, size_t node)
{
    const struct pause *known;

    assert_int_equal(store_pauses(r->nodes[node].store, &known), 1);
    assert_string_equal(known->instance, "contoso");
    assert_int_equal(known->scope, SCOPE_ROUTE);
    assert_int_equal(known->extent, PAUSE_EXTERNAL);
    assert_int_equal(known->class, CLASS_BLOCK_TENANT);
    assert_int_equal(known->until_utc_ms, 0);
    assert_string_equal(known->reason, "550 5.7.708 Access denied");
}

/* Redis is away: it tells nobody. */
static void
a_guests_pause_is_told_to_the_heir(void **state)
{
    static char bytes[FILE_MAX];
    struct rig *r = *state;
    struct pause p = block;
    const struct pause *known;

    begin(r, 1);
    assert_true(become_guest(r));
    open_heir(r);
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, NULL), PAUSE_SET);
    assert_int_equal(n_heard, 0); /* never during the call */
    loop_turn(r->loop, 0);
    assert_int_equal(n_heard, 1);
    assert_int_equal(read_state(r, pauses_file, bytes), 0);
    assert_int_equal(store_pauses(r->nodes[1].store, &known), 0);
    store_hear_pause(r->nodes[1].store, span_str(heard));
    assert_one_block(r, 1);
    assert_int_equal(charge(r, 1, 1), VERDICT_PAUSED);
    loop_turn(r->loop, 0);
    store_free(&r->nodes[0].store);
    store_free(&r->nodes[1].store);
    open_node(r, 1);
    assert_one_block(r, 1);
}

static void
what_makes_no_sense_is_no_pause(void **state)
{
    static const char *const lines[] = {"", "\n", "new", "new 0:contoso",
        "new 99:contoso a 0 1 ok - x", "new 0:contoso q 0 1 ok - x", "new 0:contoso a x 1 ok - x"};
    struct rig *r = *state;
    const struct pause *known;

    open_node(r, 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        store_hear_pause(r->nodes[0].store, span_str(lines[i]));
        if (store_pauses(r->nodes[0].store, &known) != 0)
            fail_msg("\"%s\" was taken for a pause", lines[i]);
    }
}

/* Nobody had the folder when it met the pause. */
static void
a_guests_pause_is_kept_after_its_return(void **state)
{
    struct rig *r = *state;
    struct pause p = block;

    begin(r, 1);
    assert_true(become_guest(r));
    private_redis_kill(&r->server, SIGKILL);
    assert_true(turn_until(r, none_up));
    assert_int_equal(store_pause(r->nodes[0].store, &p, 0, NULL), PAUSE_SET);
    loop_turn(r->loop, 0);
    take_back(r);
    loop_turn(r->loop, 0);
    store_free(&r->nodes[0].store);
    open_node(r, 0);
    assert_one_block(r, 0);
    assert_int_equal(charge(r, 0, 1), VERDICT_PAUSED);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up_heir, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(charges_count_once_across_the_change),
        CASE(a_heartbeat_under_way_is_not_the_guests),
        CASE(a_guest_leaves_the_journal_alone),
        CASE(without_redis_nobody_becomes_a_guest),
        CASE(slots_of_a_guest_stay_its_own),
        CASE(slots_of_a_dead_guest_are_given_back),
        CASE(a_living_guest_is_remembered_until_its_end),
        CASE(without_a_place_for_its_name_a_guest_is_one),
        CASE(the_file_of_guests_is_not_believed_blindly),
        CASE(name_and_slots_come_back_at_once),
        CASE(name_and_slots_come_back_without_redis),
        CASE(what_a_guest_asked_is_answered_after_its_return),
        CASE(a_guest_nobody_heard_of_returns),
        CASE(what_a_guest_charged_is_known_after_its_return),
        CASE(a_folder_in_other_hands_is_not_taken_back),
        CASE(a_guests_pause_is_told_to_the_heir),
        CASE(what_makes_no_sense_is_no_pause),
        CASE(a_guests_pause_is_kept_after_its_return),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
