/* Charges of one turn of the loop that are alike go to Redis as one question.
 *
 * Under load the messages that became ready together mostly ask the same: same route, mailbox, client,
 * sender, as many recipients. Asked one by one they cost Redis 35 us each; eight at once cost it 10 us each,
 * and no message waits for it, since what is written in a turn leaves at its end anyway. Each has its own
 * number and is counted by itself. What the script does not grant whole at once (policy/lua/charge_usual.lua)
 * is asked again, alone, and gets its full answer there.
 */
#include <string.h>

#include "relay/base/metric.h"
#include "relay/store/store_redis_part.h"

#define BATCH_MAX 32
#define LOOK_AHEAD 128 /* how many in the queue are compared with the first */

static bool
is_like_line(const struct charge_line *a, const struct charge_line *b)
{
    return a->limit == b->limit && a->cap == b->cap && a->next_cap == b->next_cap && a->step == b->step
        && a->fixed == b->fixed && a->each == b->each;
}

/* What would be missed need not be alike: they are granted together only where every counter is there. */
static bool
is_like(const struct ask *a, const struct ask *b)
{
    const struct charge_request *p = &a->request, *q = &b->request;

    if (p->people || q->people)
        return false; /* whom one makes known, another finds known */
    if (p->recipients != q->recipients || p->least != q->least || p->external != q->external
        || p->n_scopes != q->n_scopes || p->n_lines != q->n_lines)
        return false;
    for (size_t i = 0; i < p->n_lines; i++)
        if (!is_like_line(&p->lines[i], &q->lines[i]))
            return false;
    for (size_t i = 0; i < p->n_scopes; i++)
        if (p->scopes[i].scope != q->scopes[i].scope || p->scopes[i].n_lines != q->scopes[i].n_lines
            || strcmp(p->scopes[i].instance, q->scopes[i].instance) != 0)
            return false;
    return true;
}

static struct ask *
take_first(struct list *queue)
{
    struct ask *ask = LIST_ITEM(queue->next, struct ask, peer);

    list_del(&ask->peer);
    return ask;
}

/* Moves those like it from the queue to first->peers; returns how many it has. */
static unsigned
find_peers(struct redis_store *s, struct ask *first)
{
    unsigned n = 0, looked = 0;

    LIST_EACH_SAFE(it, &s->gathered) {
        if (n + 1 == BATCH_MAX || looked++ == LOOK_AHEAD)
            break;
        if (is_like(first, LIST_ITEM(it, struct ask, peer))) {
            list_del(it);
            list_add_tail(&first->peers, it);
            n++;
        }
    }
    return n;
}

static void
ask_alone(struct redis_store *s, struct ask *ask)
{
    if (redis_store_send_charge(s, ask, 1, redis_store_on_charge))
        return;
    redis_store_charge_failed(s, ask, STORE_DOWN);
    ask_answer_later(ask);
}

static void
take_grant(struct redis_store *s, struct ask *ask, const struct charge_reply *reply, int64_t sent_mono_ms)
{
    uint64_t seq = ask->verdict.seq;

    if (ask->forgotten && s->metrics)
        metric_add(s->metrics, M_CHARGES_VOID, 1, "forgotten", NULL, NULL);
    ask->verdict = reply->verdict;
    ask->verdict.seq = seq;
    ask->verdict.sent_mono_ms = sent_mono_ms;
    ask_answer(ask);
}

static void
on_batch(void *arg, const struct redisReply *redis_reply, enum store_error error)
{
    struct ask *first = arg;
    struct redis_store *s = redis_store_of(first->store);
    int64_t sent_mono_ms = first->verdict.sent_mono_ms;
    struct charge_reply reply;
    unsigned granted = 0, times = 1;
    struct list all;

    list_init(&all);
    list_add_tail(&all, &first->peer);
    for (; !list_is_empty(&first->peers); times++)
        list_add_tail(&all, &take_first(&first->peers)->peer);
    if (error == STORE_OK && !codec_charges_reply(redis_reply, &first->request, times, &granted, &reply)) {
        error = STORE_PROTOCOL;
        redis_link_drop(s->link, error, "charge.lua gave an answer that makes no sense");
    }
    if (granted > 0) {
        s->charge_error = STORE_OK;
        redis_store_note_granted(s, first, &reply, first->verdict.seq + granted - 1);
    }
    while (!list_is_empty(&all)) {
        struct ask *ask = take_first(&all);

        if (granted > 0) {
            granted--;
            take_grant(s, ask, &reply, sent_mono_ms);
        } else if (error == STORE_OK) {
            ask_alone(s, ask);
        } else {
            redis_store_charge_failed(s, ask, error);
            ask_answer(ask);
        }
    }
}

static void
send_batch(struct redis_store *s, struct ask *first, unsigned times)
{
    first->verdict.seq = ++s->seq;
    LIST_EACH(it, &first->peers)
        LIST_ITEM(it, struct ask, peer)->verdict.seq = ++s->seq;
    if (times == 1) {
        ask_alone(s, first);
        return;
    }
    if (redis_store_send_charge(s, first, times, on_batch))
        return;
    while (!list_is_empty(&first->peers))
        ask_alone(s, take_first(&first->peers));
    ask_alone(s, first);
}

static void
on_gathered(void *arg)
{
    struct redis_store *s = arg;

    while (!list_is_empty(&s->gathered)) {
        struct ask *first = take_first(&s->gathered);

        send_batch(s, first, 1 + find_peers(s, first));
    }
}

void
redis_store_batch_init(struct redis_store *s)
{
    list_init(&s->gathered);
    task_init(&s->gather_task, on_gathered, s);
}

void
redis_store_gather(struct redis_store *s, struct ask *ask)
{
    list_add_tail(&s->gathered, &ask->peer);
    task_defer(s->loop, &s->gather_task);
}
