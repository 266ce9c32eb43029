/* Room: how many messages may be out for one upstream pool.
 *
 * Who has no connection yet waits for one in order of arrival, so each message that is let out too early
 * stands before the live mail that comes after it. Example: a mailbox with two connections has room for
 * four; of 10 000 waiting messages two are being sent and two stand ready, and a live message waits for
 * those two only.
 *
 * While a pool is full its classes' virtual time stands: when there is room again they are as far from each
 * other as they were, and all of them where the others are. Else what the others sent meanwhile would have
 * made them equal, and the same one would be the first at each message that the pool has room for. */
#include "relay/spool/queue_part.h"

#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

static struct queue_pool *
pool_new(const char *route, const char *mailbox)
{
    struct queue_pool *pool = xcalloc(1, sizeof(*pool));

    pool->route = xstrdup(route);
    pool->mailbox = xstrdup(mailbox);
    pool->max = QUEUE_ROOM_DEFAULT;
    list_init(&pool->classes);
    return pool;
}

struct queue_pool *
queue_pool_find_or_add(struct queue *q, const char *route, const char *mailbox)
{
    struct queue_pool *pool;

    LIST_EACH(it, &q->pools) {
        pool = LIST_ITEM(it, struct queue_pool, of_queue);
        if (strcmp(pool->mailbox, mailbox) == 0 && strcmp(pool->route, route) == 0)
            return pool;
    }
    pool = pool_new(route, mailbox);
    list_add_tail(&q->pools, &pool->of_queue);
    return pool;
}

bool
queue_pool_is_full(const struct queue_pool *pool)
{
    return pool->max > 0 && pool->in_flight >= pool->max;
}

uint64_t
queue_pool_time(const struct queue *q, const struct queue_pool *pool)
{
    return queue_pool_is_full(pool) ? pool->full_since : q->time;
}

static void
pool_refresh(struct queue *q, struct queue_pool *pool, bool was_full)
{
    if (queue_pool_is_full(pool) == was_full)
        return;
    if (was_full)
        LIST_EACH(it, &pool->classes)
            LIST_ITEM(it, struct queue_class, of_pool)->time += q->time - pool->full_since;
    pool->full_since = q->time;
}

void
queue_pool_set_max(struct queue *q, struct queue_pool *pool, uint32_t max)
{
    bool was_full = queue_pool_is_full(pool);

    pool->max = max;
    pool_refresh(q, pool, was_full);
}

void
queue_pool_take(struct queue *q, struct queue_pool *pool)
{
    sg_assert(!queue_pool_is_full(pool));
    pool->in_flight++;
    pool_refresh(q, pool, false);
}

void
queue_pool_give_back(struct queue *q, struct queue_pool *pool)
{
    bool was_full = queue_pool_is_full(pool);

    sg_assert(pool->in_flight > 0);
    pool->in_flight--;
    pool_refresh(q, pool, was_full);
}

static void
pool_free(struct queue_pool *pool)
{
    struct list *it;

    while ((it = list_pop(&pool->classes)) != NULL)
        queue_class_free(LIST_ITEM(it, struct queue_class, of_pool));
    free(pool->route);
    free(pool->mailbox);
    free(pool);
}

void
queue_pools_free(struct queue *q)
{
    struct list *it;

    while ((it = list_pop(&q->pools)) != NULL)
        pool_free(LIST_ITEM(it, struct queue_pool, of_queue));
}
