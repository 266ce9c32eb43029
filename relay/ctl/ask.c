#include "relay/ctl/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/base/buf.h"
#include "relay/config/config.h"

/* ---- the wire ---- */

static enum ctl_exit
fail_connect(const struct ctl *c, const char *path, int error)
{
    if (error == EACCES || error == EPERM)
        return ctl_fail(
            c, CTL_REFUSED,
            "%s: %s; become root or a member of the first group of admin.groups; to members: the daemon may "
            "be outside it, its log tells",
            path, strerror(error));
    return ctl_fail(c, CTL_NO_DAEMON, "no sendgovd answers at %s: %s; is it running? -s names another socket",
        path, strerror(error));
}

static enum ctl_exit
connect_to(const struct ctl *c, const char *path, int *fd_out)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct timeval deadline = {.tv_sec = ASK_SECONDS};
    int fd;

    if (strlen(path) >= sizeof(sun.sun_path))
        return ctl_fail(c, CTL_USAGE, "the socket's path is longer than %zu bytes", sizeof(sun.sun_path) - 1);
    memcpy(sun.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ctl_fail(c, CTL_REFUSED, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
        int error = errno;

        close(fd);
        return fail_connect(c, path, error);
    }
    *fd_out = fd;
    return CTL_OK;
}

/* What a daemon that hangs up at once has said before is still there to read, so a failed send is no end. */
static void
send_line(int fd, const char *text)
{
    size_t n = strlen(text), sent = 0;

    while (sent < n) {
        ssize_t k = send(fd, text + sent, n - sent, MSG_NOSIGNAL);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return;
        sent += (size_t)k;
    }
}

/* true: a whole line is in `in`. */
static bool
receive_line(int fd, struct buf *in)
{
    while (buf_len(in) < ASK_ANSWER_MAX) {
        char *p = buf_reserve(in, 16384);
        ssize_t k = recv(fd, p, 16384, 0);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        buf_commit(in, (size_t)k);
        if (memchr(buf_span(in).p + buf_len(in) - (size_t)k, '\n', (size_t)k))
            return true;
    }
    return false;
}

enum ctl_exit
ask_daemon(const struct ctl *c, const char *socket_path, const json_t *question, json_t **answer_out)
{
    char *text = json_dumps(question, JSON_COMPACT);
    struct buf line, in;
    enum ctl_exit code;
    int fd = -1;

    if (!text)
        return ctl_fail(c, CTL_USAGE, "the arguments are no UTF-8");
    code = connect_to(c, socket_path, &fd);
    if (code != CTL_OK) {
        free(text);
        return code;
    }
    buf_init(&line);
    buf_init(&in);
    buf_printf(&line, "%s\n", text);
    send_line(fd, buf_span(&line).p);
    *answer_out = receive_line(fd, &in)
        ? json_loadb(buf_span(&in).p, buf_len(&in), JSON_DISABLE_EOF_CHECK, NULL)
        : NULL;
    if (!*answer_out)
        code = ctl_fail(c, CTL_NO_DAEMON, "the daemon at %s closed the connection or did not answer in %d s",
            socket_path, ASK_SECONDS);
    free(text);
    close(fd);
    buf_fini(&line);
    buf_fini(&in);
    return code;
}

/* ---- a verb as a question ---- */

enum ctl_exit
ask_choose_socket(const struct ctl *c, char *path_out, size_t size)
{
    struct config *config;
    struct err err;

    if (c->socket || !c->config_file) {
        snprintf(path_out, size, "%s", c->socket ? c->socket : SENDGOV_RUNDIR "/control");
        return CTL_OK;
    }
    config = config_load(c->config_file, &err);
    if (!config)
        return ctl_fail(c, CTL_REFUSED, "%s; -s SOCKET does without the file", err.text);
    snprintf(path_out, size, "%s", config->admin.socket);
    config_unref(&config);
    return CTL_OK;
}

/* False: the value is no UTF-8. To leave it out would make an order one about more messages. */
static bool
add_param(json_t *q, const char *name, const char *value)
{
    char param[32];

    snprintf(param, sizeof(param), "%s", name);
    for (char *p = param; *p; p++)
        *p = *p == '-' ? '_' : *p;
    return json_object_set_new(q, param, json_string(value)) == 0;
}

static bool
add_envelope(const struct ctl *c, json_t *q)
{
    json_t *recipients = json_array();
    bool ok = add_param(q, "sender", c->operands[0]);

    for (int i = 1; i < c->n_operands; i++)
        ok = json_array_append_new(recipients, json_string(c->operands[i])) == 0 && ok;
    json_object_set_new(q, "recipients", recipients);
    return ok;
}

/* Operands are the id of a message, the route of a warm-up and its step, or sender and recipients. */
static bool
add_operands(const struct ctl *c, json_t *q)
{
    const char *const names[] = {"route", "step"};
    bool is_warmup = strcmp(c->verb->word, "warmup") == 0, ok = true;

    if (c->n_operands > 1 && !is_warmup)
        return add_envelope(c, q);
    for (int i = 0; ok && i < c->n_operands; i++)
        ok = add_param(q, is_warmup ? names[i] : "id", c->operands[i]);
    return ok;
}

/* Options are parameters of the same name; the flags of pause are its extent. */
static bool
add_params(const struct ctl *c, json_t *q)
{
    bool is_pause = strcmp(c->verb->command, "pause") == 0, ok = add_operands(c, q);

    for (size_t i = 0; ok && i < VERB_OPTIONS_MAX && c->verb->options[i].name; i++) {
        const struct verb_option *o = &c->verb->options[i];

        if (c->options[i] && o->value)
            ok = add_param(q, o->name, c->options[i]);
        else if (c->options[i])
            ok = is_pause ? add_param(q, "extent", o->name) : add_param(q, o->name, "yes");
    }
    return ok;
}

static enum ctl_exit
make_question(const struct ctl *c, json_t **question_out)
{
    json_t *q;

    if (ctl_option(c, "all") && ctl_option(c, "external"))
        return ctl_fail(c, CTL_USAGE, "%s: give --all or --external, not both", c->verb->word);
    q = json_object();
    json_object_set_new(q, "command", json_string(c->verb->command));
    if (!add_params(c, q)) {
        json_decref(q);
        return ctl_fail(c, CTL_USAGE, "the arguments are no UTF-8");
    }
    *question_out = q;
    return CTL_OK;
}

static enum ctl_exit
show_answer(struct ctl *c, const json_t *answer)
{
    const char *code = json_string_value(json_object_get(answer, "code"));
    const char *error = json_string_value(json_object_get(answer, "error"));

    if (json_is_true(json_object_get(answer, "ok"))) {
        if (!ctl_print_json(c, answer))
            c->verb->render(c, answer);
        return CTL_OK;
    }
    if (!ctl_print_json(c, answer))
        ctl_fail(c, CTL_REFUSED, "%s", error ? error : "the daemon's answer makes no sense");
    return code && strcmp(code, "usage") == 0 ? CTL_USAGE : CTL_REFUSED;
}

enum ctl_exit
ctl_ask(struct ctl *c)
{
    char path[4096];
    json_t *question = NULL, *answer = NULL;
    enum ctl_exit code = make_question(c, &question);

    if (code == CTL_OK)
        code = ask_choose_socket(c, path, sizeof(path));
    if (code == CTL_OK)
        code = ask_daemon(c, path, question, &answer);
    if (code == CTL_OK)
        code = show_answer(c, answer);
    json_decref(question);
    json_decref(answer);
    return code;
}
