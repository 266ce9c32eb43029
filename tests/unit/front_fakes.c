#include "tests/unit/front_fakes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/clock.h"
#include "relay/base/log.h"
#include "relay/base/metric.h"
#include "relay/net/worker.h"

struct flow_fake flow_fake;

/* ---- flow ---- */

void
flow_fake_reset(void)
{
    message_free(&flow_fake.message);
    message_free(&flow_fake.book);
    blob_pool_free(&flow_fake.bodies);
    memset(&flow_fake, 0, sizeof flow_fake);
    flow_fake.eightbit = true;
}

struct handle
flow_submit(struct flow *f, struct message **m, flow_done_fn *done, void *arg)
{
    (void)f;
    message_free(&flow_fake.message);
    flow_fake.message = *m;
    *m = NULL;
    flow_fake.submitted++;
    flow_fake.done = done;
    flow_fake.arg = arg;
    return (struct handle){1, flow_fake.submitted};
}

struct handle
flow_look(struct flow *f, const struct flow_look *look, flow_looked_fn *looked, void *arg)
{
    (void)f;
    assert_non_null(look->client);
    flow_fake.looks++;
    flow_fake.looked = looked;
    flow_fake.arg = arg;
    return (struct handle){2, flow_fake.looks};
}

void
flow_forget(struct flow *f, struct handle h)
{
    (void)f;
    (void)h;
    flow_fake.forgotten++;
    flow_fake.done = NULL;
    flow_fake.looked = NULL;
}

bool
flow_hint(struct flow *f, const struct flow_look *look, enum recipient_class class, struct flow_refusal *out)
{
    bool at_mail = look->envelope->n_recipients == 0 && flow_fake.hint_at_mail;

    (void)f;
    assert_non_null(look->route);
    *out = (struct flow_refusal){.reply = flow_fake.hint, .end = {"Gp"}};
    return out->reply.code != 0 && (class == RECIPIENT_EXTERNAL || at_mail);
}

struct blob_pool *
flow_bodies(const struct flow *f)
{
    (void)f;
    return flow_fake.bodies;
}

bool
flow_keeps(const struct flow *f, const struct client_conf *client, struct reply *refusal_out)
{
    (void)f;
    assert_non_null(client);
    if (flow_fake.full)
        reply_set(refusal_out, 452, "4.3.1", "No room");
    return !flow_fake.full;
}

static void
keep_book(struct message **m, const struct flow_refusal *why)
{
    message_free(&flow_fake.book);
    flow_fake.book = *m;
    *m = NULL;
    flow_fake.book_reply = why->reply;
    flow_fake.book_end = why->end;
}

void
flow_book_message(struct flow *f, struct message **m, const struct flow_refusal *why)
{
    (void)f;
    flow_fake.booked++;
    keep_book(m, why);
}

void
flow_book_recipients(struct flow *f, struct message **m, const struct flow_refusal *why)
{
    (void)f;
    flow_fake.booked_recipients++;
    keep_book(m, why);
}

void
flow_route_caps(const struct flow *f, const struct route_conf *route, uint64_t *size_out, bool *eightbit_out)
{
    (void)f;
    (void)route;
    *size_out = flow_fake.size;
    *eightbit_out = flow_fake.eightbit;
}

void
flow_fake_answer(int code, const char *enhanced, const char *text)
{
    flow_done_fn *done = flow_fake.done;
    flow_looked_fn *looked = flow_fake.looked;
    struct flow_refusal refusal = {.end = {"Gb"}};

    assert_true(done != NULL || looked != NULL);
    flow_fake.done = NULL;
    flow_fake.looked = NULL;
    if (code != 0)
        reply_set(&refusal.reply, code, enhanced, "%s", text);
    if (done != NULL)
        done(flow_fake.arg, &refusal.reply);
    else
        looked(flow_fake.arg, code != 0 ? &refusal : NULL);
}

/* ---- world ---- */

static int
free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&sa, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
    close(fd);
    return ntohs(sa.sin_port);
}

void
world_write(struct world *w, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, 0600) == 0);
}

/* The text with PORT, PORT2 and DIR filled in. */
static void
write_config(struct world *w, const char *yaml)
{
    struct buf text;

    buf_init(&text);
    while (*yaml != '\0') {
        if (strncmp(yaml, "PORT2", 5) == 0) {
            buf_printf(&text, "127.0.0.1:%d", w->port2);
            yaml += 5;
        } else if (strncmp(yaml, "PORT", 4) == 0) {
            buf_printf(&text, "127.0.0.1:%d", w->port);
            yaml += 4;
        } else if (strncmp(yaml, "DIR", 3) == 0) {
            buf_add_str(&text, w->dir);
            yaml += 3;
        } else
            buf_add(&text, yaml++, 1);
    }
    world_write(w, "sendgov.yaml", buf_span(&text).p);
    buf_fini(&text);
}

int
world_reload(struct world *w, const char *yaml)
{
    struct front_plan *plan;
    struct config *config;
    char path[128];
    struct err err;

    write_config(w, yaml);
    snprintf(path, sizeof path, "%s/sendgov.yaml", w->dir);
    config = config_load(path, &err);
    if (config == NULL)
        fail_msg("%s", err.text);
    plan = front_prepare(w->front, config, &err);
    if (plan == NULL) {
        config_unref(&config);
        return -1;
    }
    front_commit(w->front, &plan);
    assert_null(plan);
    config_unref(&w->config);
    w->config = config;
    blob_pool_free(&flow_fake.bodies);
    flow_fake.bodies = blob_pool_new(config->front.temp_folder, 256 * 1024, config->front.body_memory_bytes);
    return 0;
}

void
world_begin(struct world *w, const char *yaml)
{
    struct front_setup setup;
    struct err err;

    memset(w, 0, sizeof *w);
    flow_fake_reset();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    snprintf(w->dir, sizeof w->dir, "/tmp/sendgov-front.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->port = free_port();
    w->port2 = free_port();
    w->metrics = metrics_new();
    w->loop = loop_new(w->metrics, &err);
    assert_non_null(w->loop);
    w->worker = worker_new(w->loop, 16, &err);
    assert_non_null(w->worker);
    assert_int_equal(worker_start(w->worker, 1, &err), 0);
    setup = (struct front_setup){.loop = w->loop, .worker = w->worker, .flow = NULL, .metrics = w->metrics};
    w->front = front_new(&setup);
    /* $6$ of "right" with few rounds */
    world_write(w, "users", "# logins\nerp:$6$rounds=1000$saltsalt$"
        "dfMP2LY3oP.RCle.MrovYod7J5ZWd7wa2WJOtw1cdMugHgIZ8H3PUFaxN7fS6Rbcl4YomrlE/fCkobwA8g/as/\n");
    if (yaml != NULL)
        assert_int_equal(world_reload(w, yaml), 0);
}

void
world_end(struct world *w)
{
    char command[128];

    front_free(&w->front);
    flow_fake_reset();
    worker_free(&w->worker);
    loop_free(&w->loop);
    metrics_free(&w->metrics);
    config_unref(&w->config);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
}

void
world_until(struct world *w, bool (*fn)(void *arg), void *arg)
{
    int64_t end = clock_mono_ms() + 10000;

    while (!fn(arg)) {
        if (clock_mono_ms() > end)
            fail_msg("waited 10 s in vain");
        loop_turn(w->loop, 20);
    }
}

/* ---- client ---- */

void
client_connect(struct client *c, struct world *w, int port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};

    c->world = w;
    c->n = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&sa, sizeof sa) == 0);
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

void
client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
}

void
client_send(struct client *c, const char *text)
{
    size_t n = strlen(text);

    while (n > 0) {
        ssize_t done = send(c->fd, text, n, MSG_NOSIGNAL);

        if (done < 0 && errno != EAGAIN)
            return; /* closed already: what was said about it is read later */
        if (done > 0) {
            text += done;
            n -= (size_t)done;
        }
        loop_turn(c->world->loop, 0);
    }
}

/* The length of the first whole reply in c->in, or 0. */
static size_t
reply_length(const struct client *c)
{
    size_t start = 0;

    for (size_t i = 0; i < c->n; i++) {
        if (c->in[i] != '\n')
            continue;
        if (i - start > 3 && c->in[start + 3] == ' ')
            return i + 1;
        start = i + 1;
    }
    return 0;
}

static char last_reply[65536];

static bool
got_reply_or_end(void *arg)
{
    struct client *c = arg;
    ssize_t n = recv(c->fd, c->in + c->n, sizeof c->in - c->n, 0);

    if (n > 0)
        c->n += (size_t)n;
    return reply_length(c) > 0 || n == 0 || (n < 0 && errno != EAGAIN);
}

void
client_expect(struct client *c, const char *prefix)
{
    size_t n;

    world_until(c->world, got_reply_or_end, c);
    n = reply_length(c);
    memcpy(last_reply, c->in, n);
    last_reply[n] = '\0';
    memmove(c->in, c->in + n, c->n - n);
    c->n -= n;
    if ((prefix[0] == '\0') != (n == 0) || strncmp(last_reply, prefix, strlen(prefix)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", prefix, last_reply);
}

const char *
client_reply(struct client *c)
{
    (void)c;
    return last_reply;
}

void
client_talk(struct client *c, const char *text, const char *prefix)
{
    client_send(c, text);
    client_expect(c, prefix);
}
