/* An upgrade in place: two processes of one node, for a while. The younger one gets the node's journal and
 * name; the older one finishes what it has begun as a guest of the group, a node of its own that keeps
 * nothing on disk. So each of the two counts under an identity nobody else has, and Redis needs no rule for
 * it: the guest is one more node that will be silent some day. Its identity is written down before its first
 * word: when both processes die, the next one gives its slots back.
 *
 * Order matters at the change. Slots are said again under the new identity before it introduces itself, so
 * that with the answer to that all of them are known; only then may the other process begin, which gives
 * back what is left under the node's own. */
#include <stdio.h>
#include <stdlib.h>

#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_redis_part.h"

static void
answer(struct redis_store *r, enum store_error error)
{
    struct ask *ask = r->guest_ask;

    r->guest_ask = NULL;
    ask->ok = error == STORE_OK;
    ask->error = error;
    ask_answer_later(ask);
}

/* The other process is there for pauses once this is answered: those met since the change, and sent to Redis
 * only, come right behind. */
void
redis_store_guest_heard(struct redis_store *r, enum store_error error)
{
    if (r->guest_ask == NULL)
        return;
    answer(r, error);
    redis_store_save_pauses(r);
}

/* ---- who is remembered: the file is that of who has the node's name ---- */

void
redis_store_init_guests(struct redis_store *r)
{
    struct err err;

    if (guests_read(r->state_folder, &r->dead_guests, &err) != 0)
        log_text(LOG_ERROR, "store_guests", "connections of a process that was replaced and died may count"
            " for 6 minutes more: %s", err.text);
}

void
redis_store_forget_guest(struct redis_store *r, const char *identity)
{
    struct err err;

    if (r->own_node == NULL && guests_remove(r->state_folder, identity, &err) != 0)
        log_text(LOG_ERROR, "store_guests", "%s", err.text);
}

/* A disk that is full must not keep a new program from running, which may be the cure. */
static void
remember_guest(struct redis_store *r, const char *identity)
{
    struct err err;

    if (guests_add(r->state_folder, identity, &err) != 0)
        log_text(LOG_ERROR, "store_guests", "should both processes of this upgrade die, their connections"
            " count for 6 minutes more: %s", err.text);
}

/* ---- the change ---- */

/* "relay-1~3f9c": no two processes that drain at the same time have the same. */
static char *
guest_name(const struct redis_store *r)
{
    size_t size = strlen(r->node) + sizeof("~0123");
    char *name = xmalloc(size);

    snprintf(name, size, "%s~%.4s", r->node, r->run);
    return name;
}

/* What is under way was asked for under it, and is answered under the next one. */
static void
leave_identity(struct redis_store *r)
{
    snprintf(r->former_uuid, sizeof(r->former_uuid), "%s", journal_uuid(r->journal));
    r->former_lease = r->last_lease;
}

void
redis_store_become_guest(struct store *base, store_pause_line_fn *on_pause, store_done_fn *done, void *arg)
{
    struct redis_store *r = redis_store_of(base);
    struct ask *ask = ask_new(&r->asks, base, ASK_DONE, arg);
    struct journal *own = r->journal, *guest = NULL;
    enum store_error error;
    struct err err;

    ask->fn.done = done;
    if (redis_store_is_ready(r, &error) && r->own_node == NULL)
        guest = journal_guest(own, r->seq, &err);
    if (guest == NULL) {
        ask->error = error != STORE_OK ? error : STORE_OTHER;
        ask_answer_later(ask);
        return;
    }
    redis_store_flush_pauses(r);
    remember_guest(r, journal_uuid(guest));
    leave_identity(r);
    r->journal = guest;
    journal_close(&own);
    r->on_pause = on_pause;
    r->on_pause_arg = arg;
    redis_store_new_run(r);
    r->own_node = r->node;
    r->node = guest_name(r);
    redis_store_tend_leases(r, true);
    r->guest_ask = ask;
    redis_store_introduce(r);
}

int
redis_store_return(struct store *base, struct err *err)
{
    struct redis_store *r = redis_store_of(base);
    struct journal *own, *old = r->journal;

    if (r->own_node == NULL)
        return 0;
    own = journal_open(r->state_folder, err);
    if (own == NULL)
        return -1;
    if (r->guest_ask != NULL)
        answer(r, STORE_OTHER);
    leave_identity(r);
    journal_rejoin(own, old, r->seq);
    r->journal = own;
    r->on_pause = NULL;
    free(r->node);
    r->node = r->own_node;
    r->own_node = NULL;
    redis_store_new_run(r); /* the process that failed may have said who it is; the younger is in its right */
    r->met = false;
    redis_store_tend_leases(r, true);
    redis_store_forswear_leases(r, journal_uuid(old));
    journal_close(&old);
    redis_store_introduce(r);
    redis_store_save_pauses(r); /* a guest's are not on disk */
    return 0;
}
