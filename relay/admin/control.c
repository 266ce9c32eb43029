#include "relay/admin/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/admin/command.h"
#include "relay/admin/control_socket.h"
#include "relay/base/log.h"
#include "relay/base/xmalloc.h"
#include "relay/net/inherited.h"
#include "relay/net/listener.h"
#include "relay/net/stream.h"

#define FINISH_MS 2000

struct control {
    struct admin *admin;
    struct listener *listener;
    struct socket_file file;
    gid_t *readers;
    size_t n_readers;
    struct list conns;
    unsigned n_conns;
};

/* One connection: reads a line, waits for its answer, reads the next. call != NULL: waiting. */
struct conn {
    struct list link;
    struct control *control;
    struct stream *stream;
    struct peer peer;
    struct call *call;
    struct corpse corpse;
};

/* ---- connections ---- */

static void
conn_bury(void *object)
{
    free(object);
}

/* finish: send what is queued first. */
static void
conn_close(struct conn *conn, bool finish)
{
    if (!conn->stream)
        return;
    call_forget(&conn->call);
    if (finish)
        stream_finish(&conn->stream, FINISH_MS);
    else
        stream_close(&conn->stream);
    list_del(&conn->link);
    conn->control->n_conns--;
    loop_bury(conn->control->admin->setup.loop, &conn->corpse, conn_bury, conn);
}

static void
send_answer(struct conn *conn, const json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);

    if (text) {
        stream_write(conn->stream, span_str(text));
        stream_write(conn->stream, SPAN_LIT("\n"));
    }
    free(text);
}

#define DISMISS_LONG_LINE \
    "{\"ok\":false,\"error\":\"the line is longer than 65536 bytes\",\"code\":\"usage\"}\n"
#define DISMISS_TOO_MANY \
    "{\"ok\":false,\"error\":\"16 connections are open already; try again\",\"code\":\"refused\"}\n"
#define DISMISS_NOBODY \
    "{\"ok\":false,\"error\":\"this user may not use the control socket; become root, the user " \
    "sendgovd runs as, or a member of admin.groups\",\"code\":\"refused\"}\n"

/* Refused before anything is spent on it: a unix socket keeps these bytes for the peer after the close. */
static void
dismiss(int fd, struct span why)
{
    (void)send(fd, why.p, why.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void
on_answer(void *arg, json_t *answer)
{
    struct conn *conn = arg;

    conn->call = NULL;
    send_answer(conn, answer);
    stream_set_deadline(conn->stream, CONTROL_LINE_MS);
    stream_resume(conn->stream);
}

static size_t
on_data(void *arg, struct span in)
{
    struct conn *conn = arg;
    ptrdiff_t end = span_find_byte(in, '\n');

    if (conn->call)
        return 0;
    if (end > CONTROL_LINE_MAX || (end < 0 && in.n > CONTROL_LINE_MAX)) {
        stream_write(conn->stream, SPAN_LIT(DISMISS_LONG_LINE));
        conn_close(conn, true);
        return in.n;
    }
    if (end < 0)
        return 0;
    /* The store has its own deadlines and always answers; this one is for the day it does not. */
    stream_set_deadline(conn->stream, 2 * CONTROL_LINE_MS);
    stream_pause(conn->stream);
    conn->call = command_start(
        conn->control->admin, &conn->peer, span_trim(span_head(in, (size_t)end)), on_answer, conn);
    return (size_t)end + 1;
}

static void
on_end(void *arg, enum stream_end end, const char *detail)
{
    (void)end;
    (void)detail;
    conn_close(arg, false);
}

static const struct stream_ops conn_ops = {.on_data = on_data, .on_end = on_end};

static void
conn_open(struct control *c, int fd, const struct peer *peer)
{
    struct conn *conn = xcalloc(1, sizeof(*conn));

    conn->control = c;
    conn->peer = *peer;
    conn->stream = stream_new(c->admin->setup.loop, fd, &conn_ops, conn);
    stream_set_in_max(conn->stream, CONTROL_LINE_MAX + 2);
    stream_set_deadline(conn->stream, CONTROL_LINE_MS);
    list_add_tail(&c->conns, &conn->link);
    c->n_conns++;
}

static void
on_accept(void *arg, int fd, const struct net_addr *from, const struct net_addr *local)
{
    struct control *c = arg;
    struct peer peer;
    struct err err;

    (void)from;
    (void)local;
    if (peer_identify(fd, c->readers, c->n_readers, &peer, &err) != 0) {
        log_text(LOG_WARNING, "control-refused", "%s", err.text);
        dismiss(fd, SPAN_LIT(DISMISS_NOBODY));
    } else if (peer.privilege == PRIVILEGE_NONE) {
        log_text(LOG_WARNING, "control-refused", "%s", peer.actor);
        dismiss(fd, SPAN_LIT(DISMISS_NOBODY));
    } else if (c->n_conns >= CONTROL_CONNECTIONS_MAX) {
        dismiss(fd, SPAN_LIT(DISMISS_TOO_MANY));
    } else {
        conn_open(c, fd, &peer);
    }
}

/* ---- the socket ---- */

struct control *
control_new(struct admin *a)
{
    struct control *c = xcalloc(1, sizeof(*c));

    c->admin = a;
    list_init(&c->conns);
    return c;
}

struct control_plan {
    const struct config *config;
    struct listener *listener; /* NULL: the socket stays where it is */
    struct socket_file file;   /* of the listener */
    gid_t *readers;
    size_t n_readers;
};

static int
listen_at(struct control *c, struct control_plan *plan, struct err *err)
{
    const char *path = plan->config->admin.socket;
    char address[sizeof("unix:") + sizeof(((struct sockaddr_un *)0)->sun_path)];
    int fd;

    snprintf(address, sizeof(address), "unix:%s", path);
    fd = inherited_take(c->admin->setup.inherited, address);
    if (fd < 0)
        fd = control_socket_open(path, &plan->file, err);
    else
        control_socket_know(path, &plan->file);
    if (fd < 0)
        return -1;
    plan->listener = listener_adopt(c->admin->setup.loop, fd, path, on_accept, c, err);
    return plan->listener ? 0 : -1;
}

struct control_plan *
control_prepare(struct control *c, const struct config *config, struct err *err)
{
    struct control_plan *plan = xcalloc(1, sizeof(*plan));
    bool moves = !c->file.path || strcmp(c->file.path, config->admin.socket) != 0;

    plan->config = config;
    plan->n_readers = config->admin.n_groups;
    if (peer_resolve_groups(config->admin.groups, plan->n_readers, &plan->readers, err) != 0 ||
        (moves && listen_at(c, plan, err) != 0))
        control_discard(&plan);
    return plan;
}

static void
close_socket(struct listener **listener, struct socket_file *file)
{
    if (*listener)
        listener_close(listener);
    control_socket_remove(file);
}

void
control_discard(struct control_plan **plan)
{
    if (!*plan)
        return;
    close_socket(&(*plan)->listener, &(*plan)->file);
    free((*plan)->readers);
    free(*plan);
    *plan = NULL;
}

void
control_commit(struct control *c, struct control_plan **plan)
{
    struct control_plan *p = *plan;

    if (p->listener) {
        close_socket(&c->listener, &c->file);
        c->listener = p->listener;
        c->file = p->file;
    }
    free(c->readers);
    c->readers = p->readers;
    c->n_readers = p->n_readers;
    control_socket_give(&c->file, p->config->user, c->n_readers ? c->readers[0] : (gid_t)-1);
    free(p);
    *plan = NULL;
}

int
control_fd(const struct control *c)
{
    return c->listener ? listener_fd(c->listener) : -1;
}

void
control_hand_over(struct control *c)
{
    if (c->listener)
        listener_close(&c->listener);
    control_socket_leave(&c->file); /* of another path, when the new process has moved it */
}

void
control_free(struct control **cp)
{
    struct control *c = *cp;

    if (!c)
        return;
    LIST_EACH_SAFE(it, &c->conns)
        conn_close(LIST_ITEM(it, struct conn, link), true);
    close_socket(&c->listener, &c->file);
    free(c->readers);
    free(c);
    *cp = NULL;
}
