/* Fair order: between classes by weight, within a class each client in turn, of a client the oldest
 * message.
 *
 * Classes: each class of a pool has a virtual time that grows by 1/weight with each message of it, and the
 * least of all that may go is next. Example: "alert" has weight 30, "bulk" 10; then of four messages three
 * are alerts, as long as both have some, in one pool or in two behind one limit. One that had nothing to go
 * begins again at the time where the others are: it neither saved up turns nor lost any. Of those who begin
 * there together, as behind a gate that opens, the one that was served longest ago goes first. A full pool
 * is no reason to begin again: queue_pool.c.
 *
 * Clients: the one that was served longest ago goes next. That is a round in turn which also holds when
 * clients come and go between two of their turns, as they do behind a gate that lets one message pass now
 * and then: with a plain ring always the same one would be the first there.
 *
 * A message that asked for its gate in vain gets its turn back: the class's where another class stands there
 * too, the client's where another client of the class does. Else two behind a gate that lets one pass at each
 * opening would share it like this: one always passes, and the other always asks after it and is refused. Who
 * stands at gates of its own gets none back, or it would come first again with each of them. */
#include "relay/spool/queue_part.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

#define TIME_PER_MESSAGE UINT64_C(1000000) /* of weight 1 */

struct queue_priority *
queue_priority_find_or_add(struct queue *q, const char *name)
{
    struct queue_priority *priority;

    LIST_EACH(it, &q->priorities)
        if (strcmp(LIST_ITEM(it, struct queue_priority, of_queue)->name, name) == 0)
            return LIST_ITEM(it, struct queue_priority, of_queue);
    priority = xcalloc(1, sizeof(*priority));
    priority->name = xstrdup(name);
    priority->weight = QUEUE_WEIGHT_DEFAULT;
    list_add_tail(&q->priorities, &priority->of_queue);
    return priority;
}

static struct queue_class *
class_find(const struct queue_pool *pool, const struct queue_priority *priority)
{
    LIST_EACH(it, &pool->classes)
        if (LIST_ITEM(it, struct queue_class, of_pool)->priority == priority)
            return LIST_ITEM(it, struct queue_class, of_pool);
    return NULL;
}

/* What a small weight had put off is not waited for with a large one. */
void
queue_priority_set_weight(struct queue *q, struct queue_priority *priority, uint32_t weight)
{
    priority->weight = weight;
    LIST_EACH(it, &q->pools) {
        const struct queue_pool *pool = LIST_ITEM(it, struct queue_pool, of_queue);
        struct queue_class *class = class_find(pool, priority);

        if (class)
            class->time = queue_pool_time(q, pool);
    }
}

static struct queue_class *
class_find_or_add(struct queue *q, struct queue_pool *pool, const struct queue_priority *priority)
{
    struct queue_class *class = class_find(pool, priority);

    if (class)
        return class;
    class = xcalloc(1, sizeof(*class));
    class->pool = pool;
    class->priority = priority;
    class->time = queue_pool_time(q, pool);
    list_init(&class->clients);
    list_add_tail(&pool->classes, &class->of_pool);
    return class;
}

struct queue_client *
queue_client_find_or_add(struct queue *q, const struct queue_key *key)
{
    struct queue_class *class = class_find_or_add(q, queue_pool_find_or_add(q, key->route, key->mailbox),
        queue_priority_find_or_add(q, key->class));
    struct queue_client *client;

    LIST_EACH(it, &class->clients)
        if (strcmp(LIST_ITEM(it, struct queue_client, of_class)->name, key->client) == 0)
            return LIST_ITEM(it, struct queue_client, of_class);
    client = xcalloc(1, sizeof(*client));
    client->name = xstrdup(key->client);
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
    if (class->may_go.n == 0 && class->time < queue_pool_time(q, class->pool))
        class->time = queue_pool_time(q, class->pool);
    queue_heap_put(&class->may_go, &client->node, client->turn.last);
}

static bool
group_may_go(const struct queue_group *group)
{
    const struct queue_stop *stop = group->stop;

    return group->may_go.n > 0 && (!stop || (stop->is_opening && stop->asking < stop->asking_max));
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

static bool
goes_before(const struct queue_class *a, const struct queue_class *b)
{
    return a->time != b->time ? a->time < b->time : a->turn.last < b->turn.last;
}

/* Of the pool's classes and the one given, which may be NULL. */
static struct queue_class *
first_of_pool(const struct queue_pool *pool, struct queue_class *first)
{
    LIST_EACH(it, &pool->classes) {
        struct queue_class *class = LIST_ITEM(it, struct queue_class, of_pool);

        if (class->may_go.n > 0 && (!first || goes_before(class, first)))
            first = class;
    }
    return first;
}

static struct queue_class *
first_class(const struct queue *q)
{
    struct queue_class *first = NULL;

    LIST_EACH(it, &q->pools) {
        const struct queue_pool *pool = LIST_ITEM(it, struct queue_pool, of_queue);

        if (!queue_pool_is_full(pool))
            first = first_of_pool(pool, first);
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
    return TIME_PER_MESSAGE / class->priority->weight;
}

void
queue_order_charge(struct queue *q, struct queue_lane *lane)
{
    struct queue_client *client = lane->group->client;
    struct queue_class *class = client->class;

    q->turns++;
    q->time = class->time;
    class->time += time_of_message(class);
    class->turn = (struct queue_turn){.last = q->turns, .before = class->turn.last};
    client->turn = (struct queue_turn){.last = q->turns, .before = client->turn.last};
    client_refresh(q, client);
}

static void
class_give_back(const struct queue *q, struct queue_class *class)
{
    uint64_t least = queue_pool_time(q, class->pool), step = time_of_message(class);

    class->time = class->time > least + step ? class->time - step : least;
    class->turn.last = class->turn.before;
}

void
queue_order_give_back(struct queue *q, struct queue_lane *lane)
{
    struct queue_client *client = lane->group->client;
    bool another_class = false, another_client = false;

    LIST_EACH(it, &lane->group->stop->groups) {
        const struct queue_client *other = LIST_ITEM(it, struct queue_group, of_gate)->client;

        another_class |= other->class != client->class;
        another_client |= other->class == client->class && other != client;
    }
    if (another_class)
        class_give_back(q, client->class);
    if (another_client)
        client->turn.last = client->turn.before;
    client_refresh(q, client);
}

static void
client_free(struct queue_client *client)
{
    queue_heap_fini(&client->may_go);
    free(client->name);
    free(client);
}

void
queue_class_free(struct queue_class *class)
{
    struct list *it;

    while ((it = list_pop(&class->clients)) != NULL)
        client_free(LIST_ITEM(it, struct queue_client, of_class));
    queue_heap_fini(&class->may_go);
    free(class);
}

void
queue_priorities_free(struct queue *q)
{
    struct list *it;

    while ((it = list_pop(&q->priorities)) != NULL) {
        struct queue_priority *priority = LIST_ITEM(it, struct queue_priority, of_queue);

        free(priority->name);
        free(priority);
    }
}
