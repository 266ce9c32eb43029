/* Gates: where lanes wait until it is worth asking again.
 *
 * A gate whose time came is opening: its lanes may go, but few messages may be out asking at once. One at
 * first; each that passes doubles it, and after 64 the gate is gone. One that is refused closes it for all.
 * Example: 10 000 lanes at "mailbox-day mailbox relay@contoso.com" until 06:00. At 06:00 the lane that is
 * first in fair order sends its first message to ask. Refused until 06:10: that was the only question.
 * Passed: two may ask, then four ...
 *
 * A question belongs to the stay of its lane at the gate: when the lane was refused elsewhere in the
 * meantime, what it still has out says nothing about the gate it left. */
#include "relay/spool/queue_part.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

static const char *const kind_names[] = {
    [QUEUE_GATE_LIMIT] = "limit",
    [QUEUE_GATE_PAUSE] = "pause",
    [QUEUE_GATE_STORE] = "store",
    [QUEUE_GATE_UPSTREAM] = "upstream",
    [QUEUE_GATE_NODE] = "node",
};
static_assert(sizeof(kind_names) / sizeof(*kind_names) == QUEUE_GATE_KIND_COUNT, "a name for each kind");

const char *
queue_gate_kind_to_str(enum queue_gate_kind k)
{
    return (unsigned)k < QUEUE_GATE_KIND_COUNT ? kind_names[k] : "?";
}

/* ---- finding ---- */

struct stop_key {
    char text[QUEUE_GATE_NAME_MAX + 1];
};

/* The kind as one byte, then the name as a gate can hold it. */
static struct span
format_stop_key(enum queue_gate_kind kind, const char *name, struct stop_key *out)
{
    size_t n = strnlen(name, QUEUE_GATE_NAME_MAX - 1);

    out->text[0] = (char)kind;
    memcpy(out->text + 1, name, n);
    return span_of(out->text, n + 1);
}

struct queue_stop *
queue_stop_find(const struct queue *q, enum queue_gate_kind kind, const char *name)
{
    struct stop_key key;

    return table_get(&q->stops, format_stop_key(kind, name, &key));
}

static struct queue_stop *
stop_find_or_add(struct queue *q, enum queue_gate_kind kind, const char *name)
{
    struct queue_stop *stop = queue_stop_find(q, kind, name);
    struct stop_key key;

    if (stop)
        return stop;
    stop = xcalloc(1, sizeof(*stop));
    stop->gate.kind = kind;
    snprintf(stop->gate.name, sizeof(stop->gate.name), "%s", name);
    list_init(&stop->groups);
    list_add_tail(&q->all_stops, &stop->of_queue);
    table_put(&q->stops, format_stop_key(kind, name, &key), stop);
    q->counts.gates++;
    return stop;
}

static void
stop_free(struct queue *q, struct queue_stop *stop)
{
    struct stop_key key;

    queue_heap_del(&q->closed, &stop->node);
    table_del(&q->stops, format_stop_key(stop->gate.kind, stop->gate.name, &key));
    list_del(&stop->of_queue);
    q->counts.gates--;
    free(stop);
}

/* ---- closed and opening ---- */

static bool
lets_go(const struct queue_stop *stop)
{
    return stop->is_opening && stop->asking < stop->asking_max;
}

/* The groups learn only when the answer to "may one go?" is another one: it costs a step for each. */
static void
stop_refresh(struct queue *q, struct queue_stop *stop, bool let_go)
{
    if (lets_go(stop) == let_go)
        return;
    LIST_EACH(it, &stop->groups)
        queue_group_refresh(q, LIST_ITEM(it, struct queue_group, of_gate));
}

struct queue_stop *
queue_stop_close(struct queue *q, const struct queue_gate *gate)
{
    struct queue_stop *stop = stop_find_or_add(q, gate->kind, gate->name);
    bool let_go = lets_go(stop);

    snprintf(stop->gate.why, sizeof(stop->gate.why), "%s", gate->why);
    stop->gate.opens_mono_ms = gate->opens_mono_ms;
    stop->gate.is_estimate = gate->is_estimate;
    stop->is_opening = false;
    queue_heap_put(&q->closed, &stop->node, queue_key_of_time(gate->opens_mono_ms));
    stop_refresh(q, stop, let_go);
    return stop;
}

void
queue_stop_open(struct queue *q, struct queue_stop *stop)
{
    bool let_go = lets_go(stop);

    if (stop->is_opening)
        return;
    stop->is_opening = true;
    stop->asking_max = 1;
    queue_heap_del(&q->closed, &stop->node);
    stop_refresh(q, stop, let_go);
}

/* ---- who stands where ---- */

struct group_key {
    const struct queue_client *client;
    const struct queue_stop *stop;
};

static struct span
span_of_key(const struct group_key *key)
{
    return span_of((const char *)key, sizeof(*key));
}

static struct queue_group *
group_find_or_add(struct queue *q, struct queue_client *client, struct queue_stop *stop)
{
    struct group_key key = {client, stop};
    struct queue_group *group = table_get(&q->groups, span_of_key(&key));

    if (group)
        return group;
    group = xcalloc(1, sizeof(*group));
    group->client = client;
    group->stop = stop;
    list_init(&group->lanes);
    list_init(&group->of_gate);
    list_add_tail(&client->groups, &group->of_client);
    if (stop)
        list_add_tail(&stop->groups, &group->of_gate);
    table_put(&q->groups, span_of_key(&key), group);
    return group;
}

static void
group_free(struct queue *q, struct queue_group *group)
{
    struct group_key key = {group->client, group->stop};

    sg_assert(group->node.at == 0);
    table_del(&q->groups, span_of_key(&key));
    list_del(&group->of_client);
    list_del(&group->of_gate);
    queue_heap_fini(&group->may_go);
    free(group);
}

static void
join(struct queue *q, struct queue_lane *lane, struct queue_group *group)
{
    lane->group = group;
    list_add_tail(&group->lanes, &lane->of_group);
    group->n_lanes++;
    if (group->stop) {
        group->stop->n_lanes++;
        q->counts.at_gate[group->stop->gate.kind] += lane->ready.n;
    }
}

/* What it has out asking is no question any more. */
static void
end_stay(struct queue *q, struct queue_lane *lane, struct queue_stop *stop)
{
    bool let_go = lets_go(stop);

    stop->asking -= lane->asking;
    stop->n_lanes--;
    q->counts.at_gate[stop->gate.kind] -= lane->ready.n;
    stop_refresh(q, stop, let_go);
}

void
queue_lane_leave(struct queue *q, struct queue_lane *lane)
{
    struct queue_group *group = lane->group;
    struct queue_stop *stop = group->stop;

    queue_heap_del(&group->may_go, &lane->node);
    list_del(&lane->of_group);
    group->n_lanes--;
    queue_group_refresh(q, group);
    if (stop)
        end_stay(q, lane, stop);
    lane->asking = 0;
    lane->stay++;
    lane->group = NULL;
    if (group->n_lanes == 0)
        group_free(q, group);
    if (stop && stop->n_lanes == 0)
        stop_free(q, stop);
}

void
queue_lane_move(struct queue *q, struct queue_lane *lane, struct queue_stop *stop)
{
    struct queue_client *client = lane->group->client;

    if (lane->group->stop == stop)
        return;
    queue_lane_leave(q, lane);
    join(q, lane, group_find_or_add(q, client, stop));
    queue_lane_refresh(q, lane);
}

void
queue_lane_enter(struct queue *q, struct queue_lane *lane, struct queue_client *client)
{
    join(q, lane, group_find_or_add(q, client, NULL));
}

/* Enough of them passed: nobody needs to ask any more. The gate goes with its last lane. */
static void
stop_dissolve(struct queue *q, struct queue_stop *stop)
{
    for (uint32_t n = stop->n_lanes; n > 0; n--) {
        struct queue_group *group = LIST_ITEM(stop->groups.next, struct queue_group, of_gate);

        queue_lane_move(q, LIST_ITEM(group->lanes.next, struct queue_lane, of_group), NULL);
    }
}

/* ---- questions ---- */

void
queue_gate_ask(struct queue *q, struct queue_entry *e)
{
    struct queue_lane *lane = e->lane;
    struct queue_stop *stop = lane->group->stop;

    e->node.key = stop ? lane->stay : 0;
    if (!stop)
        return;
    sg_assert(lets_go(stop));
    lane->asking++;
    stop->asking++;
    stop_refresh(q, stop, true);
}

struct queue_stop *
queue_gate_asked(const struct queue_entry *e)
{
    bool asks = e->state == ENTRY_IN_FLIGHT && e->node.key == e->lane->stay;

    return asks ? e->lane->group->stop : NULL;
}

void
queue_gate_answer(struct queue *q, struct queue_entry *e, bool passed)
{
    struct queue_stop *stop = queue_gate_asked(e);
    bool let_go;

    if (!stop)
        return;
    let_go = lets_go(stop);
    e->node.key = 0;
    e->lane->asking--;
    stop->asking--;
    if (passed && stop->is_opening && stop->asking_max == QUEUE_ASKING_MAX) {
        stop_dissolve(q, stop);
        return;
    }
    if (passed && stop->is_opening)
        stop->asking_max *= 2;
    stop_refresh(q, stop, let_go);
}
