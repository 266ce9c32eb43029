/* Who the client of a session is: at the start by its network, then by certificate, then by login. */
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/front/identity.h"
#include "relay/front/session.h"

void
session_identify(struct session *s)
{
    struct identity_facts facts = {
        .address = s->has_address ? &s->address : NULL,
        .tls = s->stream != NULL ? stream_tls_peer(s->stream) : NULL,
        .login = s->server.login,
    };
    bool stranger;

    s->client = identity_find(s->generation->config, s->listener->conf, &facts);
    stranger = s->client == NULL;
    if (stranger != s->stranger)
        s->front->n_strangers += stranger ? 1 : (size_t)-1;
    s->stranger = stranger;
}

bool
session_move_on(struct session *s)
{
    struct generation *now = s->front->generation;
    const struct front_listener *l;

    if (s->generation == now)
        return true;
    l = generation_listener(now, s->listener->conf->name);
    if (l == NULL)
        return false;
    generation_unref(&s->generation);
    s->generation = generation_ref(now);
    s->listener = l;
    s->server.conf = &l->server;
    session_identify(s);
    return true;
}

/* ---- AUTH ---- */

static bool
has_failed_too_often(const struct session *s)
{
    return peer_auth_failures(s->peer, loop_now_ms(s->front->loop)) >=
        s->generation->config->front.auth_failures_per_ip;
}

/* Asked before a check and again after it: else all that are under way at the same moment would be answered,
 * however many failed meanwhile. */
static enum server_action
refuse_for_address(struct session *s)
{
    metric_add(s->front->metrics, M_AUTH, 1, "limited", NULL, NULL);
    return server_auth_done(&s->server, SERVER_AUTH_LIMITED, &s->front->out);
}

/* A right password is not enough: the login must belong to a client that may come in here. */
static enum server_action
conclude(struct session *s, bool right)
{
    struct front *f = s->front;
    struct identity_facts facts = {s->has_address ? &s->address : NULL, NULL, s->server.sasl->user};
    const struct client_conf *client = right ? identity_find(s->generation->config, s->listener->conf, &facts)
                                             : NULL;
    enum server_action action;

    for (size_t i = 0; client != NULL && i <= client->n_logins; i++) {
        if (i == client->n_logins)
            client = NULL; /* known by its network only */
        else if (strcmp(client->logins[i], s->server.sasl->user) == 0)
            break;
    }
    metric_add(f->metrics, M_AUTH, 1, client != NULL ? "ok" : right ? "no-client" : "wrong", NULL, NULL);
    if (client == NULL) {
        peer_auth_failed(s->peer, loop_now_ms(f->loop));
        session_refused(s, "auth",
            right ? "the login belongs to no client that may come in here" : "wrong login or password");
        action = server_auth_done(&s->server, SERVER_AUTH_WRONG, &f->out);
        s->server.complaint.code = 0; /* told already */
        return action;
    }
    action = server_auth_done(&s->server, SERVER_AUTH_OK, &f->out);
    session_identify(s);
    return action;
}

static void
on_verified(void *arg, bool right)
{
    struct session *s = arg;

    if (s->state == SESSION_WAITING)
        session_go_on(s, has_failed_too_often(s) ? refuse_for_address(s) : conclude(s, right));
}

enum server_action
session_start_auth(struct session *s, bool *waits_out)
{
    struct front *f = s->front;
    const struct server_sasl *sasl = s->server.sasl;
    int64_t now = loop_now_ms(f->loop);

    if (has_failed_too_often(s))
        return refuse_for_address(s);
    switch (verify_start(f->verify, s->generation->users, sasl->user, sasl->password, now, on_verified, s)) {
    case VERIFY_RIGHT:
        return conclude(s, true);
    case VERIFY_ASKED:
        *waits_out = true;
        return SERVER_READ;
    case VERIFY_NO_ROOM:
        break;
    }
    metric_add(f->metrics, M_AUTH, 1, "unavailable", NULL, NULL);
    return server_auth_done(&s->server, SERVER_AUTH_UNAVAILABLE, &f->out);
}
