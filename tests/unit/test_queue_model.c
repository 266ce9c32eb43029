/* The queue against a plain model of its rules: a long random history, and after each step both must agree.
 * The model knows no heaps and no tree; it looks at everything each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/spool/queue.h"

#define STEPS 300000
#define N_SEQS 1200
#define N_CLASSES 3
#define N_CLIENTS 6 /* of all classes; two of each class, and three names */
#define N_LANES 36
#define N_POOLS 3
#define N_GATES 6
#define CAP 64

static const uint32_t weights[N_CLASSES] = {30, 10, 1};
static const char *const class_names[N_CLASSES] = {"alert", "default", "bulk"};
static const char *const client_names[3] = {"erp", "crm", "web"};
static const char *const gate_names[N_GATES] = {"day", "hour", "minute", "day", "", "contoso"};
static const char *const pool_routes[N_POOLS] = {"contoso", "contoso", "fabrikam"};
static const char *const pool_mailboxes[N_POOLS] = {"relay@contoso.com", "", ""};
static const enum queue_gate_kind gate_kinds[N_GATES] = {QUEUE_GATE_LIMIT, QUEUE_GATE_LIMIT, QUEUE_GATE_LIMIT,
    QUEUE_GATE_PAUSE, QUEUE_GATE_STORE, QUEUE_GATE_UPSTREAM};

enum state { ABSENT, OWN_TIME, READY, IN_FLIGHT, HELD };

struct message {
    enum state state;
    int lane;
    int64_t due;
    uint32_t recipients;
    bool asks; /* for the gate where its lane stands */
};

struct gate {
    bool exists, is_opening;
    int64_t opens;
    unsigned asking_max;
    char why[32];
};

/* Of a class or client in a pool; clients have no time. */
struct turn {
    uint64_t time, last, before;
};

struct model {
    struct message messages[N_SEQS]; /* by seq; 0 is none */
    int lane_gate[N_LANES];          /* -1: none */
    struct gate gates[N_GATES];
    unsigned rooms[N_POOLS]; /* 0: any number */
    int64_t now, told; /* told: as the last queue_next was */
    struct turn classes[N_POOLS][N_CLASSES], clients[N_POOLS][N_CLIENTS];
    uint64_t time, turns;
    unsigned passed_over[N_POOLS][N_CLIENTS]; /* by its pool, while it had something to go at no gate */
    uint64_t random;
    /* that the history was worth it */
    unsigned offered, refused, dissolved, capped, full_asking, pool_full, given_back;
};

static uint32_t
draw(struct model *m, uint32_t n)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(m->random >> 33) % n;
}

static int
client_of(int lane)
{
    return lane % N_CLIENTS;
}

static int
class_of(int client)
{
    return client % N_CLASSES;
}

static int
pool_of(int lane)
{
    return lane / 12;
}

static struct queue_key
key_of_lane(int lane)
{
    static const char *const senders[2] = {"a@contoso.com", ""};

    return (struct queue_key){.route = pool_routes[pool_of(lane)], .mailbox = pool_mailboxes[pool_of(lane)],
        .client = client_names[client_of(lane) / 2], .class = class_names[class_of(client_of(lane))],
        .sender = senders[lane / 6 % 2], .recipients_are = RECIPIENT_EXTERNAL};
}

/* ---- what the model says ---- */

static unsigned
count(const struct model *m, int lane, enum state state)
{
    unsigned n = 0;

    for (int i = 1; i < N_SEQS; i++)
        n += m->messages[i].state == state && (lane < 0 || m->messages[i].lane == lane);
    return n;
}

struct sums { /* of one look at all messages */
    unsigned ready[N_LANES], in_flight[N_LANES], any[N_LANES], asking[N_GATES], out[N_POOLS];
    unsigned states[HELD + 1];
    int first[N_LANES]; /* seq of the first that is ready */
    int64_t wake;
};

static void
sum_message(const struct model *m, int seq, struct sums *s)
{
    const struct message *x = &m->messages[seq];
    int gate = m->lane_gate[x->lane];

    s->states[x->state]++;
    s->any[x->lane]++;
    s->ready[x->lane] += x->state == READY;
    s->in_flight[x->lane] += x->state == IN_FLIGHT;
    s->out[pool_of(x->lane)] += x->state == IN_FLIGHT;
    if (x->state == READY && s->first[x->lane] == 0)
        s->first[x->lane] = seq;
    if (x->state == IN_FLIGHT && x->asks && gate >= 0)
        s->asking[gate]++;
    if (x->state == OWN_TIME && x->due < s->wake)
        s->wake = x->due;
}

static struct sums
sum_up(const struct model *m)
{
    struct sums s = {.wake = INT64_MAX};

    for (int i = 1; i < N_SEQS; i++)
        if (m->messages[i].state != ABSENT)
            sum_message(m, i, &s);
    for (int g = 0; g < N_GATES; g++)
        if (m->gates[g].exists && !m->gates[g].is_opening && m->gates[g].opens < s.wake)
            s.wake = m->gates[g].opens;
    return s;
}

static bool
is_full(const struct model *m, const struct sums *s, int pool)
{
    return m->rooms[pool] > 0 && s->out[pool] >= m->rooms[pool];
}

static bool
may_go(const struct model *m, const struct sums *s, int lane)
{
    int g = m->lane_gate[lane];

    if (s->ready[lane] == 0 || s->in_flight[lane] >= CAP || is_full(m, s, pool_of(lane)))
        return false;
    return g < 0 || (m->gates[g].is_opening && s->asking[g] < m->gates[g].asking_max);
}

/* Lanes without messages stand nowhere, gates without lanes are gone. */
static void
settle(struct model *m)
{
    struct sums s = sum_up(m);

    for (int l = 0; l < N_LANES; l++)
        if (s.any[l] == 0)
            m->lane_gate[l] = -1;
    for (int g = 0; g < N_GATES; g++) {
        bool exists = false;

        for (int l = 0; l < N_LANES; l++)
            exists |= m->lane_gate[l] == g;
        m->gates[g].exists = exists;
    }
}

static void
move(struct model *m, int lane, int gate)
{
    if (m->lane_gate[lane] == gate)
        return;
    m->lane_gate[lane] = gate;
    for (int i = 1; i < N_SEQS; i++)
        if (m->messages[i].lane == lane)
            m->messages[i].asks = false;
}

/* ---- steps ---- */

/* Half of the messages are of two lanes, so that these have many. */
static int
any_lane(struct model *m)
{
    return (int)draw(m, draw(m, 2) == 0 ? 2 : N_LANES);
}

static void
put(struct model *m, struct queue *q, int seq)
{
    static const int64_t waits[] = {-100, 0, 5, 40, 300};
    struct message *x = &m->messages[seq];
    int lane = x->state != ABSENT && draw(m, 4) > 0 ? x->lane : any_lane(m);
    int64_t due = draw(m, 50) == 0 ? INT64_MAX : m->now + waits[draw(m, 5)];
    struct queue_key key = key_of_lane(lane);

    *x = (struct message){.lane = lane, .due = due, .recipients = draw(m, 100)};
    x->state = due == INT64_MAX ? HELD : due <= m->told ? READY : OWN_TIME;
    queue_put(q, &key, &(struct queue_item){.seq = (uint64_t)seq, .recipients = x->recipients,
        .bytes = (uint64_t)seq * 3, .due_mono_ms = due});
}

static void
drop(struct model *m, struct queue *q, int seq)
{
    m->messages[seq].state = ABSENT;
    queue_drop(q, (uint64_t)seq);
}

static void
advance(struct model *m)
{
    m->told = m->now;
    for (int i = 1; i < N_SEQS; i++)
        if (m->messages[i].state == OWN_TIME && m->messages[i].due <= m->now)
            m->messages[i].state = READY;
    for (int g = 0; g < N_GATES; g++)
        if (m->gates[g].exists && !m->gates[g].is_opening && m->gates[g].opens <= m->now) {
            m->gates[g].is_opening = true;
            m->gates[g].asking_max = 1;
        }
}

/* ---- turns ---- */

static void
take_turn(struct model *m, struct turn *turn)
{
    turn->before = turn->last;
    turn->last = m->turns;
}

/* The lane's message goes: where the others are has moved. A class of a full pool keeps its distance from
 * there, and none is behind. */
static void
charge(struct model *m, const struct sums *s, int lane)
{
    int p = pool_of(lane), client = client_of(lane), class = class_of(client);
    uint64_t step = m->classes[p][class].time - m->time;

    m->turns++;
    m->time += step;
    m->classes[p][class].time += 1000000 / weights[class];
    take_turn(m, &m->classes[p][class]);
    take_turn(m, &m->clients[p][client]);
    for (int i = 0; i < N_POOLS; i++)
        for (int c = 0; c < N_CLASSES; c++) {
            uint64_t *time = &m->classes[i][c].time;

            *time = is_full(m, s, i) ? *time + step : *time < m->time ? m->time : *time;
        }
}

/* The lane's message asked in vain for this gate. */
static void
give_back(struct model *m, int lane, int gate)
{
    int p = pool_of(lane), client = client_of(lane);
    struct turn *class = &m->classes[p][class_of(client)];
    uint64_t step = 1000000 / weights[class_of(client)];
    bool another_class = false, another_client = false;

    for (int l = 0; l < N_LANES; l++) {
        bool same_class = pool_of(l) == p && class_of(client_of(l)) == class_of(client);

        another_class |= m->lane_gate[l] == gate && !same_class;
        another_client |= m->lane_gate[l] == gate && same_class && client_of(l) != client;
    }
    m->given_back += another_class || another_client;
    if (another_class) {
        class->time = class->time < m->time + step ? m->time : class->time - step;
        class->last = class->before;
    }
    if (another_client)
        m->clients[p][client].last = m->clients[p][client].before;
}

/* Does the class and client of lane a come before that of b, for certain? */
static bool
comes_before(const struct model *m, int a, int b)
{
    const struct turn *x = &m->classes[pool_of(a)][class_of(client_of(a))];
    const struct turn *y = &m->classes[pool_of(b)][class_of(client_of(b))];

    if (x != y)
        return x->time != y->time ? x->time < y->time : x->last < y->last;
    return m->clients[pool_of(a)][client_of(a)].last < m->clients[pool_of(b)][client_of(b)].last;
}

/* After how many messages of its pool a client that has something to go there has its turn: its class by
 * weight, then the class's clients one after another. */
static unsigned
turns_of(int client)
{
    unsigned turns = 0;

    for (int c = 0; c < N_CLASSES; c++)
        turns += weights[c] / weights[class_of(client)] + 2;
    return turns * (N_CLIENTS / N_CLASSES);
}

/* However often the pool was full meanwhile. */
static void
check_nobody_starves(struct model *m, const struct sums *before, int served)
{
    int p = pool_of(served);
    bool has[N_CLIENTS] = {false};

    for (int l = 0; l < N_LANES; l++)
        has[client_of(l)] |= pool_of(l) == p && m->lane_gate[l] < 0 && may_go(m, before, l);
    for (int c = 0; c < N_CLIENTS; c++) {
        m->passed_over[p][c] = has[c] && c != client_of(served) ? m->passed_over[p][c] + 1 : 0;
        assert_true(m->passed_over[p][c] <= turns_of(c));
    }
}

static void
note_rarities(struct model *m, const struct sums *s)
{
    for (int l = 0; l < N_LANES; l++)
        m->capped += s->ready[l] > 0 && s->in_flight[l] == CAP;
    for (int p = 0; p < N_POOLS; p++)
        m->pool_full += is_full(m, s, p);
    for (int g = 0; g < N_GATES; g++)
        m->full_asking += m->gates[g].exists && m->gates[g].is_opening && s->asking[g] >= CAP;
}

static void
check_offer(struct model *m, const struct sums *s, const struct queue_item *item, const struct queue_key *key)
{
    struct message *x = &m->messages[item->seq];
    struct queue_key want = key_of_lane(x->lane);

    assert_int_equal(x->state, READY);
    assert_true(may_go(m, s, x->lane));
    assert_int_equal(item->seq, s->first[x->lane]);
    for (int l = 0; l < N_LANES; l++)
        if (may_go(m, s, l)) {
            bool same = client_of(l) == client_of(x->lane) && pool_of(l) == pool_of(x->lane);

            assert_false(comes_before(m, l, x->lane));
            assert_true(!same || s->first[l] >= (int)item->seq);
        }
    assert_int_equal(item->recipients, x->recipients);
    assert_int_equal(item->bytes, item->seq * 3);
    assert_true(item->due_mono_ms == x->due);
    assert_string_equal(key->client, want.client);
    assert_string_equal(key->class, want.class);
    assert_string_equal(key->route, want.route);
    assert_string_equal(key->mailbox, want.mailbox);
    assert_string_equal(key->sender, want.sender);
}

/* The seq that came out; 0: none. */
static int
next(struct model *m, struct queue *q)
{
    struct queue_item item;
    struct queue_key key;
    struct message *x;
    struct sums s;

    advance(m);
    s = sum_up(m);
    note_rarities(m, &s);
    if (!queue_next(q, m->now, &item, &key)) {
        for (int l = 0; l < N_LANES; l++)
            assert_false(may_go(m, &s, l));
        assert_true(queue_wake_mono_ms(q) > m->now);
        return 0;
    }
    assert_in_range(item.seq, 1, N_SEQS - 1);
    check_offer(m, &s, &item, &key);
    x = &m->messages[item.seq];
    check_nobody_starves(m, &s, x->lane);
    charge(m, &s, x->lane);
    x->state = IN_FLIGHT;
    x->asks = m->lane_gate[x->lane] >= 0;
    m->offered++;
    return (int)item.seq;
}

/* A question in vain may get its turn back: then it passed nobody over. */
static void
forgive(struct model *m, int pool)
{
    for (int c = 0; c < N_CLIENTS; c++)
        if (m->passed_over[pool][c] > 0)
            m->passed_over[pool][c]--;
}

static void
refuse(struct model *m, struct queue *q, int seq)
{
    struct message *x = &m->messages[seq];
    int own = m->lane_gate[x->lane];
    int g = own >= 0 && draw(m, 4) > 0 ? own : (int)draw(m, N_GATES);
    struct queue_gate gate = {.kind = gate_kinds[g], .opens_mono_ms = m->now + draw(m, 100)};

    if (draw(m, 10) == 0)
        gate.opens_mono_ms = INT64_MAX;
    snprintf(gate.name, sizeof(gate.name), "%s", gate_names[g]);
    snprintf(gate.why, sizeof(gate.why), "%u", draw(m, 1000));
    queue_refuse(q, (uint64_t)seq, &gate);
    if (x->state != IN_FLIGHT)
        return;
    if (x->asks && own == g) {
        forgive(m, pool_of(x->lane));
        give_back(m, x->lane, g);
    }
    x->state = READY;
    m->refused++;
    m->gates[g].exists = true;
    m->gates[g].is_opening = false;
    m->gates[g].opens = gate.opens_mono_ms;
    snprintf(m->gates[g].why, sizeof(m->gates[g].why), "%.31s", gate.why);
    move(m, x->lane, g);
}

static void
dissolve(struct model *m, int gate)
{
    m->dissolved++;
    for (int l = 0; l < N_LANES; l++)
        if (m->lane_gate[l] == gate)
            move(m, l, -1);
}

static void
pass(struct model *m, struct queue *q, int seq)
{
    struct message *x = &m->messages[seq];
    int g = m->lane_gate[x->lane];

    queue_passed(q, (uint64_t)seq);
    if (x->state != IN_FLIGHT || !x->asks || g < 0)
        return;
    x->asks = false;
    if (!m->gates[g].is_opening)
        return;
    if (m->gates[g].asking_max == CAP)
        dissolve(m, g);
    else
        m->gates[g].asking_max *= 2;
}

static void
open_some(struct model *m, struct queue *q)
{
    int chosen = (int)draw(m, N_GATES);
    bool all = draw(m, 2) == 0;

    queue_open(q, gate_kinds[chosen], all ? NULL : gate_names[chosen]);
    for (int g = 0; g < N_GATES; g++) {
        bool meant = all ? gate_kinds[g] == gate_kinds[chosen] : g == chosen;

        if (meant && m->gates[g].exists && !m->gates[g].is_opening) {
            m->gates[g].is_opening = true;
            m->gates[g].asking_max = 1;
        }
    }
}

static void
set_room(struct model *m, struct queue *q, int pool, unsigned room)
{
    m->rooms[pool] = room;
    queue_set_room(q, pool_routes[pool], pool_mailboxes[pool], room);
}

static unsigned
any_room(struct model *m)
{
    static const unsigned rooms[] = {0, 1, 2, 5, 30, 200};

    return rooms[draw(m, sizeof(rooms) / sizeof(*rooms))];
}

static void
set_any_room(struct model *m, struct queue *q)
{
    int pool = (int)draw(m, N_POOLS);

    set_room(m, q, pool, any_room(m));
}

/* Often without bounds, so that lanes and gates get to their own. */
static void
set_all_rooms(struct model *m, struct queue *q)
{
    bool bounded = draw(m, 2) == 0;

    for (int p = 0; p < N_POOLS; p++)
        set_room(m, q, p, bounded ? any_room(m) : 0);
}

/* One that is in flight, from a random place on; 0: none. */
static int
pick_in_flight(struct model *m)
{
    int from = (int)draw(m, N_SEQS);

    for (int i = 0; i < N_SEQS; i++)
        if (m->messages[(from + i) % N_SEQS].state == IN_FLIGHT)
            return (from + i) % N_SEQS;
    return 0;
}

/* ---- agreement ---- */

static void
check_counts(const struct model *m, const struct queue *q, const struct sums *s)
{
    uint64_t at_gate[QUEUE_GATE_KIND_COUNT] = {0}, lanes = 0, gates = 0;
    struct queue_counts c;

    queue_counts(q, &c);
    for (int l = 0; l < N_LANES; l++) {
        lanes += s->any[l] > 0;
        if (m->lane_gate[l] >= 0)
            at_gate[gate_kinds[m->lane_gate[l]]] += s->ready[l];
    }
    for (int g = 0; g < N_GATES; g++)
        gates += m->gates[g].exists;
    assert_int_equal(c.in_flight, s->states[IN_FLIGHT]);
    assert_int_equal(c.ready, s->states[READY]);
    assert_int_equal(c.waiting_own_time, s->states[OWN_TIME]);
    assert_int_equal(c.for_operator, s->states[HELD]);
    assert_int_equal(c.messages, c.in_flight + c.ready + c.waiting_own_time + c.for_operator);
    assert_memory_equal(c.at_gate, at_gate, sizeof(at_gate));
    assert_int_equal(c.lanes, lanes);
    assert_int_equal(c.gates, gates);
    assert_true(queue_wake_mono_ms(q) == s->wake);
}

static void
check_why(const struct model *m, const struct queue *q, const struct sums *s, int seq)
{
    const struct message *x = &m->messages[seq];
    struct queue_why why;
    unsigned position = 1;
    int g = m->lane_gate[x->lane];

    queue_why(q, (uint64_t)seq, m->now, &why);
    assert_int_equal(why.known, x->state != ABSENT);
    if (!why.known)
        return;
    for (int i = 1; i < seq; i++)
        position += m->messages[i].lane == x->lane && m->messages[i].state == READY;
    assert_int_equal(why.in_flight, x->state == IN_FLIGHT);
    assert_int_equal(why.waits_for_operator, x->state == HELD);
    assert_true(why.due_mono_ms == x->due);
    if (x->state == READY) {
        assert_int_equal(queue_place(q, (uint64_t)seq, m->now), position);
        assert_int_equal(why.lane, s->ready[x->lane]);
    } else if (x->state != OWN_TIME || x->due > m->now)
        assert_int_equal(queue_place(q, (uint64_t)seq, m->now), 0);
    assert_int_equal(why.gate != NULL, g >= 0);
    if (g >= 0) {
        assert_string_equal(why.gate->name, gate_names[g]);
        assert_string_equal(why.gate->why, m->gates[g].why);
        assert_true(why.gate->opens_mono_ms == m->gates[g].opens);
    }
}

static void
check(struct model *m, const struct queue *q)
{
    struct sums s = sum_up(m);
    int lane = (int)draw(m, N_LANES);
    struct queue_key key = key_of_lane(lane);

    check_counts(m, q, &s);
    check_why(m, q, &s, (int)draw(m, N_SEQS - 1) + 1);
    assert_int_equal(queue_has_waiting(q, &key), s.ready[lane] > 0);
}

/* ---- the history ---- */

/* What the time is like: how often, of 100, something is put, asked for, refused, passed, dropped. The rest
 * is time and the operator. Each mood lasts a while, so that backlogs, full lanes and pools and open gates
 * all come about. */
struct mood {
    unsigned put, next, refuse, pass, drop;
};

static const struct mood moods[] = {
    {20, 70, 0, 5, 0},   /* filling, all goes out and stays there */
    {15, 40, 10, 15, 15},
    {10, 40, 0, 40, 2},  /* everything passes */
    {10, 30, 30, 5, 10}, /* everything is full */
    {5, 30, 2, 20, 40},  /* draining */
};

static void
step(struct model *m, struct queue *q, const struct mood *mood)
{
    unsigned dice = draw(m, 100);
    int out = pick_in_flight(m);

    if (dice < mood->put)
        put(m, q, (int)draw(m, N_SEQS - 1) + 1);
    else if ((dice -= mood->put) < mood->next)
        next(m, q);
    else if ((dice -= mood->next) < mood->refuse)
        refuse(m, q, draw(m, 20) > 0 && out ? out : (int)draw(m, N_SEQS - 1) + 1);
    else if ((dice -= mood->refuse) < mood->pass)
        pass(m, q, draw(m, 20) > 0 && out ? out : (int)draw(m, N_SEQS - 1) + 1);
    else if ((dice -= mood->pass) < mood->drop)
        drop(m, q, draw(m, 4) > 0 && out ? out : (int)draw(m, N_SEQS - 1) + 1);
    else if (draw(m, 4) == 0)
        open_some(m, q);
    else if (draw(m, 100) == 0)
        set_any_room(m, q);
    else
        m->now += draw(m, 30);
    settle(m);
}

/* All gates open, everything passes: all that may go comes out, each once. */
static void
drain(struct model *m, struct queue *q)
{
    unsigned left;

    m->now += 1000;
    for (int kind = 0; kind < QUEUE_GATE_KIND_COUNT; kind++)
        queue_open(q, (enum queue_gate_kind)kind, NULL);
    for (int g = 0; g < N_GATES; g++)
        if (m->gates[g].exists && !m->gates[g].is_opening) {
            m->gates[g].is_opening = true;
            m->gates[g].asking_max = 1;
        }
    for (int i = 1; i < N_SEQS; i++)
        if (m->messages[i].state == IN_FLIGHT)
            drop(m, q, i);
    settle(m);
    left = count(m, -1, READY) + count(m, -1, OWN_TIME);
    for (; left > 0; left--) {
        int seq = next(m, q);

        assert_int_not_equal(seq, 0);
        pass(m, q, seq);
        drop(m, q, seq);
        settle(m);
    }
    assert_int_equal(next(m, q), 0);
    check(m, q);
}

static void
run(uint64_t seed)
{
    static struct model m;
    struct queue *q = queue_new();
    const struct mood *mood = moods;

    m = (struct model){.now = 1, .random = seed};
    for (int l = 0; l < N_LANES; l++)
        m.lane_gate[l] = -1;
    for (int p = 0; p < N_POOLS; p++)
        m.rooms[p] = QUEUE_ROOM_DEFAULT;
    for (int c = 0; c < N_CLASSES; c++)
        queue_set_weight(q, class_names[c], weights[c]);
    next(&m, q);
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 1500 == 1499) {
            mood = &moods[draw(&m, sizeof(moods) / sizeof(*moods))];
            set_all_rooms(&m, q);
        }
        step(&m, q, mood);
        check(&m, q);
    }
    drain(&m, q);
    print_message("%u offered, %u refused, %u turns given back, %u gates dissolved, %u times a lane was full,"
        " %u times a gate, %u a pool\n", m.offered, m.refused, m.given_back, m.dissolved, m.capped,
        m.full_asking, m.pool_full);
    assert_true(m.offered > STEPS / 10 && m.refused > STEPS / 100 && m.dissolved > 100 && m.capped > 100);
    assert_true(m.pool_full > STEPS / 100 && m.given_back > STEPS / 1000);
    queue_free(&q);
}

static void
test_agrees_with_model(void **state)
{
    (void)state;
    run(1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
