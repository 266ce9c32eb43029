/* Slots of concurrency limits. Held ones are renewed every 30 s and after each reconnect (a Redis that forgot
 * them gets them again: the connections exist); given ones that Redis could not be told of are told with a
 * later heartbeat. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_redis_part.h"

enum { OP_TAKE = 1, OP_RENEW, OP_GIVE, OP_DISOWN };

static void
lease_free(struct lease *l)
{
    list_del(&l->link);
    free(l->instance);
    free(l->limit_name);
    free(l->identity);
    free(l);
}

void
redis_store_free_leases(struct redis_store *r)
{
    LIST_EACH_SAFE(it, &r->leases)
        lease_free(LIST_ITEM(it, struct lease, link));
}

static struct lease *
lease_find(const struct redis_store *r, uint64_t number)
{
    LIST_EACH(it, &r->leases)
        if (LIST_ITEM(it, struct lease, link)->number == number)
            return LIST_ITEM(it, struct lease, link);
    return NULL;
}

static void
compose(struct redis_store *r, int op, enum limit_scope scope, const char *instance, const char *name,
    uint64_t number, uint64_t cap)
{
    struct codec_node node = redis_store_node(r);
    struct codec_lease l = {op, scope, instance, name, number, (uint64_t)LEASE_TTL_MS * 1000, cap};

    codec_lease(&r->command, &node, &l);
}

static void
renew(struct redis_store *r, const struct lease *l)
{
    compose(r, OP_RENEW, l->scope, l->instance, l->limit_name, l->number, 0);
    redis_store_send(r, redis_store_ignore, NULL);
}

/* ---- taking ---- */

static struct lease *
lease_new(struct redis_store *r, enum limit_scope scope, const char *instance, const char *limit_name)
{
    struct lease *l = xcalloc(1, sizeof(*l));

    l->store = r;
    l->scope = scope;
    l->instance = xstrdup(instance);
    l->limit_name = xstrdup(limit_name);
    list_add_tail(&r->leases, &l->link);
    return l;
}

static struct lease *
remember(struct redis_store *r, const struct ask *ask)
{
    struct lease *l = lease_new(r, ask->scope, ask->instance, ask->limit_name);

    l->number = ask->lease;
    return l;
}

/* What was asked for under the identity before is Redis' under that one. A node that was a guest in between
 * disowns it; the node's own is disowned by who has its name. */
static void
settle_identity(struct redis_store *r, const struct lease *l)
{
    struct lease_request request = {l->scope, l->instance, l->limit_name, 0};

    if (l->number > r->former_lease)
        return;
    if (l->state == LEASE_HELD)
        renew(r, l);
    if (r->own_node == NULL)
        redis_store_lease_disown(&r->base, &request, r->former_uuid);
}

static void
on_taken(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct ask *ask = arg;
    struct redis_store *r = redis_store_of(ask->store);
    int64_t f[3];

    if (error == STORE_OK && !codec_integers(reply, f, 3))
        error = STORE_PROTOCOL;
    ask->error = error;
    ask->ok = error == STORE_OK && f[0] == 1;
    if (error != STORE_OK) {
        /* It may have been taken: as good as given back, so that it is freed before its time runs out. */
        struct lease *l = remember(r, ask);

        l->state = LEASE_GIVING;
        settle_identity(r, l);
        redis_store_count_error(r, error);
        ask->retry_after_ms = -1;
    } else if (!ask->ok) {
        /* Others give back earlier than they expire. */
        ask->retry_after_ms = f[2] > 0 && f[2] < 1000000 ? f[2] / 1000 + 1 : 1000;
    } else {
        struct lease *l = remember(r, ask);

        settle_identity(r, l);
        if (ask->forgotten)
            redis_store_lease_give(ask->store, NULL, l->number);
    }
    ask_answer(ask);
}

struct handle
redis_store_lease_take(struct store *base, const struct lease_request *request, store_lease_fn *done,
    void *arg)
{
    struct redis_store *r = redis_store_of(base);
    struct ask *ask = ask_new(&r->asks, base, ASK_LEASE, arg);
    size_t n_instance = strlen(request->instance), n_name = strlen(request->limit_name);
    enum store_error error = STORE_OTHER;

    ask->fn.lease = done;
    ask->scope = request->scope;
    ask->lease = ++r->last_lease;
    if (n_instance < sizeof(ask->instance) && n_name < sizeof(ask->limit_name)) {
        memcpy(ask->instance, request->instance, n_instance);
        memcpy(ask->limit_name, request->limit_name, n_name);
        if (redis_store_is_ready(r, &error)) {
            compose(r, OP_TAKE, request->scope, ask->instance, ask->limit_name, ask->lease, request->cap);
            if (redis_store_send(r, on_taken, ask))
                return ask->handle;
            error = STORE_DOWN;
        }
    }
    redis_store_count_error(r, error);
    ask->error = error;
    ask->retry_after_ms = -1;
    ask_answer_later(ask);
    return ask->handle;
}

/* ---- giving back and renewing ---- */

static bool
has_disowned(const struct redis_store *r, const char *identity)
{
    LIST_EACH(it, &r->leases) {
        const struct lease *l = LIST_ITEM(it, struct lease, link);

        if (l->identity != NULL && strcmp(l->identity, identity) == 0)
            return true;
    }
    return false;
}

static void
end_given(struct lease *l)
{
    struct redis_store *r = l->store;
    char *identity = l->identity;

    l->identity = NULL;
    lease_free(l);
    if (identity != NULL && !has_disowned(r, identity))
        redis_store_forget_guest(r, identity);
    free(identity);
}

static void
on_given(void *arg, const struct redisReply *reply, enum store_error error)
{
    struct lease *l = arg;

    (void)reply;
    l->n_telling--;
    if (error == STORE_OK)
        l->state = LEASE_GIVEN;
    if (l->state == LEASE_GIVEN && l->n_telling == 0)
        end_given(l);
}

/* No run has an empty name, so of another identity all are former ones. */
static void
compose_disown(struct redis_store *r, const struct lease *l)
{
    struct codec_node node = redis_store_node(r);
    struct codec_lease disown = {OP_DISOWN, l->scope, l->instance, l->limit_name, l->number, 0, 0};

    if (l->identity != NULL) {
        node.uuid = l->identity;
        node.run = "";
    }
    codec_lease(&r->command, &node, &disown);
}

static void
tell_given(struct redis_store *r, struct lease *l)
{
    if (l->state == LEASE_DISOWNED)
        compose_disown(r, l);
    else
        compose(r, OP_GIVE, l->scope, l->instance, l->limit_name, l->number, 0);
    if (redis_store_send(r, on_given, l))
        l->n_telling++;
}

void
redis_store_lease_give(struct store *base, const struct lease_request *request, uint64_t number)
{
    struct redis_store *r = redis_store_of(base);
    struct lease *l = lease_find(r, number);

    (void)request; /* the lease knows its own place */
    if (!l || l->state != LEASE_HELD)
        return;
    l->state = LEASE_GIVING;
    tell_given(r, l);
}

static void
disown(struct redis_store *r, const struct lease_request *request, const char *identity)
{
    enum store_error error;
    struct lease *l = lease_new(r, request->scope, request->instance, request->limit_name);

    l->state = LEASE_DISOWNED;
    l->identity = identity != NULL ? xstrdup(identity) : NULL;
    if (redis_store_is_ready(r, &error))
        tell_given(r, l);
}

void
redis_store_lease_disown(struct store *base, const struct lease_request *request, const char *identity)
{
    struct redis_store *r = redis_store_of(base);

    disown(r, request, identity);
    for (size_t i = 0; identity == NULL && i < r->dead_guests.n; i++)
        disown(r, request, r->dead_guests.identities[i]);
}

void
redis_store_tend_leases(struct redis_store *r, bool now)
{
    bool due = now || clock_mono_ms() - r->renewed_mono_ms >= LEASE_RENEW_MS;

    if (due)
        r->renewed_mono_ms = clock_mono_ms();
    LIST_EACH_SAFE(it, &r->leases) {
        struct lease *l = LIST_ITEM(it, struct lease, link);

        if (l->state == LEASE_GIVING || l->state == LEASE_DISOWNED) {
            tell_given(r, l);
        } else if (due && l->state == LEASE_HELD) {
            renew(r, l);
        }
    }
}

/* Behind the leases themselves in the list, so that they are renewed first, however often it takes. */
void
redis_store_forswear_leases(struct redis_store *r, const char *identity)
{
    LIST_EACH(it, &r->leases) {
        const struct lease *l = LIST_ITEM(it, struct lease, link);
        struct lease_request request = {l->scope, l->instance, l->limit_name, 0};

        if (l->state == LEASE_HELD || l->state == LEASE_GIVING)
            redis_store_lease_disown(&r->base, &request, identity);
    }
}
