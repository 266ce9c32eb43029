/* Fair order: between classes by weight, within a class each client in turn, of a client the oldest
 * message.
 *
 * Classes: each has a virtual time that grows by 1/weight with each message of it, and the least goes next.
 * Example: "alert" has weight 30, "bulk" 10; then of four messages three are alerts, as long as both have
 * some. A class that had nothing to go begins again at the time where the others are: it neither saved up
 * turns nor lost any. Its time is one for all pools: a class that sends much by one has less of another.
 *
 * Clients: the one that was served longest ago goes next. That is a round in turn which also holds when
 * clients come and go between two of their turns, as they do behind a gate that lets one message pass now
 * and then: with a plain ring always the same one would be the first there.
 *
 * A message that asked for its gate in vain gets its turn back where others stand there too. Else two
 * clients behind a gate that lets one pass at each opening would share it like this: one always passes, and
 * the other always asks after it and is refused. */
#include "relay/spool/queue_part.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

#define TIME_PER_MESSAGE UINT64_C(1000000) /* of weight 1 */

struct queue_class *
queue_class_find_or_add(struct queue *q, const char *name)
{
    struct queue_class *class;

    LIST_EACH(it, &q->classes)
        if (strcmp(LIST_ITEM(it, struct queue_class, of_queue)->name, name) == 0)
            return LIST_ITEM(it, struct queue_class, of_queue);
    class = xcalloc(1, sizeof(*class));
    class->name = xstrdup(name);
    class->weight = QUEUE_WEIGHT_DEFAULT;
    class->time = q->time;
    list_init(&class->clients);
    list_add_tail(&q->classes, &class->of_queue);
    return class;
}

struct queue_client *
queue_client_find_or_add(struct queue *q, const char *class_name, const char *name)
{
    struct queue_class *class = queue_class_find_or_add(q, class_name);
    struct queue_client *client;

    LIST_EACH(it, &class->clients)
        if (strcmp(LIST_ITEM(it, struct queue_client, of_class)->name, name) == 0)
            return LIST_ITEM(it, struct queue_client, of_class);
    client = xcalloc(1, sizeof(*client));
    client->name = xstrdup(name);
    client->class = class;
    list_init(&client->groups);
    list_add_tail(&class->clients, &client->of_class);
    return client;
}

static void
client_refresh(struct queue *q, struct queue_client *client)
{
    struct queue_class *class = client->class;

    if (client->may_go.n == 0) {
        queue_heap_del(&class->may_go, &client->node);
        return;
    }
    if (class->may_go.n == 0 && class->time < q->time)
        class->time = q->time;
    queue_heap_put(&class->may_go, &client->node, client->turn);
}

static bool
group_may_go(const struct queue_group *group)
{
    const struct queue_stop *stop = group->stop;

    return group->may_go.n > 0 && !queue_pool_is_full(group->pool)
        && (!stop || (stop->is_opening && stop->asking < stop->asking_max));
}

void
queue_group_refresh(struct queue *q, struct queue_group *group)
{
    struct queue_client *client = group->client;

    if (group_may_go(group))
        queue_heap_put(&client->may_go, &group->node, queue_heap_top(&group->may_go)->key);
    else
        queue_heap_del(&client->may_go, &group->node);
    client_refresh(q, client);
}

void
queue_lane_refresh(struct queue *q, struct queue_lane *lane)
{
    struct queue_group *group = lane->group;

    if (lane->ready.n > 0 && lane->in_flight < QUEUE_IN_FLIGHT_MAX)
        queue_heap_put(&group->may_go, &lane->node, queue_heap_top(&lane->ready)->key);
    else
        queue_heap_del(&group->may_go, &lane->node);
    queue_group_refresh(q, group);
}

/* Of classes with equal times the heavier one goes first. */
static bool
goes_before(const struct queue_class *a, const struct queue_class *b)
{
    return a->time != b->time ? a->time < b->time : a->weight > b->weight;
}

static struct queue_class *
first_class(const struct queue *q)
{
    struct queue_class *first = NULL;

    LIST_EACH(it, &q->classes) {
        struct queue_class *class = LIST_ITEM(it, struct queue_class, of_queue);

        if (class->may_go.n > 0 && (!first || goes_before(class, first)))
            first = class;
    }
    return first;
}

struct queue_lane *
queue_order_first(const struct queue *q)
{
    const struct queue_class *class = first_class(q);
    const struct queue_client *client;
    const struct queue_group *group;

    if (!class)
        return NULL;
    client = LIST_ITEM(queue_heap_top(&class->may_go), struct queue_client, node);
    group = LIST_ITEM(queue_heap_top(&client->may_go), struct queue_group, node);
    return LIST_ITEM(queue_heap_top(&group->may_go), struct queue_lane, node);
}

static uint64_t
time_of_message(const struct queue_class *class)
{
    return TIME_PER_MESSAGE / class->weight;
}

void
queue_order_charge(struct queue *q, struct queue_lane *lane)
{
    struct queue_client *client = lane->group->client;
    struct queue_class *class = client->class;

    q->time = class->time;
    class->time += time_of_message(class);
    client->turn_before = client->turn;
    client->turn = ++q->turns;
    client_refresh(q, client);
}

void
queue_order_give_back(struct queue *q, struct queue_lane *lane)
{
    struct queue_client *client = lane->group->client;
    struct queue_class *class = client->class;
    uint64_t step = time_of_message(class);

    class->time -= class->time < step ? class->time : step;
    client->turn = client->turn_before;
    client_refresh(q, client);
}

static void
class_free(struct queue_class *class)
{
    struct list *it;

    while ((it = list_pop(&class->clients)) != NULL) {
        struct queue_client *client = LIST_ITEM(it, struct queue_client, of_class);

        queue_heap_fini(&client->may_go);
        free(client->name);
        free(client);
    }
    queue_heap_fini(&class->may_go);
    free(class->name);
    free(class);
}

void
queue_order_fini(struct queue *q)
{
    struct list *it;

    while ((it = list_pop(&q->classes)) != NULL)
        class_free(LIST_ITEM(it, struct queue_class, of_queue));
}
