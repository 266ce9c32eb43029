#include "tests/unit/admin_fakes.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/front/front.h"
#include "relay/upstream/upstream.h"

struct fake fake;
struct loop *fake_loop;

/* ---- the modules ---- */

struct question {
    struct task task;
    store_usage_fn *usage_done;
    store_done_fn *done;
    store_moved_fn *moved;
    void *arg;
    struct usage *rows;
    size_t n;
};
static struct question *open_question;

/* As the stores do it: the limits live until the answer, also when it is not wanted any more. */
static void
question_free(struct question *q)
{
    for (size_t i = 0; i < q->n; i++)
        owner_unref(&q->rows[i].owner);
    free(q->rows);
    free(q);
}

static void
answer(void *arg)
{
    struct question *q = arg;
    bool ok = fake.answers == ANSWER_LATER;

    open_question = NULL;
    if (q->moved)
        q->moved(q->arg, ok, ok ? STORE_OK : STORE_TIMEOUT, 5, fake.moved_to);
    else if (q->usage_done)
        q->usage_done(q->arg, ok, ok ? STORE_OK : STORE_TIMEOUT, q->rows, q->n);
    else
        q->done(q->arg, ok, ok ? STORE_OK : STORE_TIMEOUT);
    question_free(q);
}

static void
ask(store_usage_fn *usage_done, store_done_fn *done, void *arg, struct usage *rows, size_t n)
{
    struct question *q = xcalloc(1, sizeof(*q));

    *q = (struct question){.usage_done = usage_done, .done = done, .arg = arg, .rows = rows, .n = n};
    task_init(&q->task, answer, q);
    open_question = q;
    fake.asked++;
    if (fake.answers != ANSWER_NEVER)
        task_defer(fake_loop, &q->task);
}

void
store_status(const struct store *s, struct store_status *out)
{
    (void)s;
    *out = fake.store;
}

size_t
store_pauses(const struct store *s, const struct pause **out)
{
    (void)s;
    *out = fake.pauses;
    return fake.n_pauses;
}

uint32_t
store_warmup_step(const struct store *s, const char *route)
{
    (void)s;
    (void)route;
    return fake.warmup_step;
}

struct handle
store_usage(struct store *s, const struct usage *wanted, size_t n, store_usage_fn *done, void *arg)
{
    struct usage *rows = xcalloc(n ? n : 1, sizeof(*rows));

    (void)s;
    memcpy(rows, wanted, n * sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        owner_ref(&rows[i].owner);
        rows[i].used = fake.used;
        rows[i].frees_after_ms = fake.used >= rows[i].cap ? 90000 : 0;
        rows[i].warmup_step = fake.warmup_step;
        rows[i].warmup_peak = 40;
        rows[i].period_ms = rows[i].limit->period_ms;
        rows[i].nodes_cap = fake.nodes_cap ? fake.nodes_cap : LIMIT_UNLIMITED;
        rows[i].upstream_cap = fake.upstream_cap ? fake.upstream_cap : LIMIT_UNLIMITED;
        rows[i].upstream_until_ms = fake.upstream_cap ? 1700003600000 : 0;
    }
    ask(done, NULL, arg, rows, n);
    return (struct handle){1, 1};
}

void
store_forget(struct store *s, struct handle h)
{
    (void)s;
    (void)h;
    fake.forgotten++;
    fake_forget_look();
    if (open_question) {
        task_cancel(&open_question->task);
        question_free(open_question);
        open_question = NULL;
    }
}

int64_t
store_now_ms(const struct store *s)
{
    (void)s;
    return fake.now_ms;
}

enum pause_result
store_pause(struct store *s, struct pause *pause, int64_t for_ms, const struct pause_wider *wider)
{
    (void)s;
    (void)wider;
    pause->since_utc_ms = fake.now_ms;
    pause->until_utc_ms = for_ms == 0 ? 0 : fake.now_ms + for_ms;
    if (fake.pause_result == PAUSE_STANDS)
        *pause = fake.pauses[0];
    fake.paused = *pause;
    return fake.pause_result;
}

void
store_resume(struct store *s, enum limit_scope scope, const char *instance, const char *actor,
    const char *reason, store_done_fn *done, void *arg)
{
    (void)s;
    (void)scope;
    (void)instance;
    (void)actor;
    (void)reason;
    fake.resumes++;
    ask(NULL, done, arg, NULL, 0);
}

void
store_warmup_resume(struct store *s, const char *route, store_done_fn *done, void *arg)
{
    (void)s;
    (void)route;
    fake.resumes++;
    ask(NULL, done, arg, NULL, 0);
}

void
store_warmup_move(struct store *s, const struct warmup_order *order, store_moved_fn *done, void *arg)
{
    (void)s;
    fake.move = order->move;
    fake.moved_limit = order->limit;
    ask(NULL, NULL, arg, NULL, 0);
    open_question->moved = done;
}

void
store_open(struct store *s, const char *actor, const char *reason, store_done_fn *done, void *arg)
{
    (void)s;
    (void)actor;
    (void)reason;
    fake.opens++;
    ask(NULL, done, arg, NULL, 0);
}

void
flow_status(const struct flow *f, struct flow_status *out)
{
    (void)f;
    out->in_flight = 3;
}

size_t
upstream_status(const struct upstream *u, struct upstream_status *out, size_t max)
{
    (void)u;
    (void)max;
    out[0] = (struct upstream_status){.route = "contoso",
        .mailbox = "relay@contoso.com",
        .busy = 1,
        .idle = 1,
        .limit = 2,
        .last_error = "<script>alert(1)</script>"};
    return 1;
}

size_t
front_status(const struct front *f, struct front_status *out, size_t max)
{
    (void)f;
    (void)max;
    out[0] = (struct front_status){"apps", "127.0.0.1:587", 7};
    return 1;
}

/* ---- the fixture ---- */

static const struct schedule_conf schedule = {.name = "new-tenant",
    .curve = CURVE_GEOMETRIC,
    .first = 50,
    .growth_milli = 1400,
    .ceiling = LIMIT_UNLIMITED,
    .use_percent = 75};
static const char *const domains[] = {"contoso.com"};
static const struct reply_rule rules[] = {{.from = {5, 7, 708}, .to = {5, 7, 708},
    .class = CLASS_BLOCK_TENANT, .advice = "Look at Restricted\nentities, then open a ticket.\n"}};
static const struct route_conf routes[] = {{.name = "contoso", .domains = domains, .n_domains = 1,
    .warmup = &schedule, .replies = {rules, 1}}};
static const struct mailbox_conf mailboxes[] = {{.name = "relay@contoso.com", .route = "contoso"}};
static const struct profile_conf profiles[] = {{"m365", "/p/m365.yaml", "2020-01-01", INT64_C(1577836800000)},
    {"fresh", "/p/fresh.yaml", "2999-01-01", INT64_C(32472144000000)}};
static const char *const senders[] = {"@contoso.com", "scan@contoso.com"};
static const struct network networks[] = {{.address = {{{[10] = 0xff, 0xff, 10, 20}}}, .prefix = 112}};
static const char *const logins[] = {"erp-login"};
static const struct client_conf clients[] = {{.name = "erp", .senders = senders, .n_senders = 2,
    .networks = networks, .n_networks = 1, .logins = logins, .n_logins = 1}};
static const struct limit_conf limits[] = {
    {.name = "warmup",
        .kind = LIMIT_WARMUP,
        .scope = SCOPE_ROUTE,
        .unit = UNIT_EXTERNAL,
        .period_ms = 86400000,
        .schedule = &schedule},
    {.name = "warmup-hour",
        .kind = LIMIT_WARMUP,
        .scope = SCOPE_ROUTE,
        .unit = UNIT_EXTERNAL,
        .period_ms = 3600000,
        .schedule = &schedule,
        .hour_cap = true},
    {.name = "mailbox-minute",
        .kind = LIMIT_WINDOW,
        .scope = SCOPE_MAILBOX,
        .unit = UNIT_MESSAGES,
        .value = 25,
        .period_ms = 60000,
        .source = "m365.yaml:9",
        .origin = "profile m365"},
    {.name = "erp-burst",
        .kind = LIMIT_RATE,
        .scope = SCOPE_CLIENT,
        .unit = UNIT_EXTERNAL,
        .value = 100,
        .period_ms = 60000,
        .burst = 20},
    {.name = "per-sender",
        .kind = LIMIT_WINDOW,
        .scope = SCOPE_SENDER,
        .unit = UNIT_MESSAGES,
        .value = LIMIT_UNLIMITED,
        .period_ms = 3600000},
};

static int
reload(void *arg, const char *actor, struct err *err)
{
    (void)arg;
    snprintf(fake.reload_actor, sizeof(fake.reload_actor), "%s", actor);
    fake.reloads++;
    return fake.reload_fails ? err_set(err, "sendgov.yaml:3:1: unknown key \"routs\"") : 0;
}

static void
drain(void *arg)
{
    (void)arg;
    fake.drains++;
}

void
fixture_setup(const struct fixture *f, struct admin_setup *setup_out)
{
    *setup_out =
        (struct admin_setup){.loop = f->loop, .metrics = f->metrics, .reload = reload, .drain = drain};
}

static void
fill_config(struct fixture *f, const char *http)
{
    struct config *c = &f->config;

    memset(c, 0, sizeof(*c));
    c->references = 1; /* the fixture's own, so it is never freed */
    arena_init(&c->arena);
    snprintf(c->hash, sizeof(c->hash), "00112233aabbccdd");
    c->file = "/etc/sendgov/sendgov.yaml";
    c->node = "relay1";
    c->dump = (char *)(uintptr_t)"node: relay1\n";
    c->front.message_bytes_max = 36700160;
    c->admin = (struct admin_conf){.socket = f->socket, .http = http};
    c->routes = routes;
    c->n_routes = 1;
    c->profiles = profiles;
    c->n_profiles = 2;
    c->mailboxes = mailboxes;
    c->n_mailboxes = 1;
    c->clients = clients;
    c->n_clients = 1;
    c->limits = limits;
    c->n_limits = sizeof(limits) / sizeof(limits[0]);
}

void
fixture_open(struct fixture *f, const char *http)
{
    struct admin_setup setup;
    struct err err = {""};

    memset(&fake, 0, sizeof(fake));
    fake.store = (struct store_status){.up = true, .nodes = 2, .redis_time_ms = 1700000000000};
    fake.warmup_step = 2;
    fake.used = 12;
    memset(f, 0, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/sendgov-test-XXXXXX");
    sg_assert(mkdtemp(f->folder));
    snprintf(f->socket, sizeof(f->socket), "%s/control", f->folder);
    f->metrics = metrics_new();
    f->loop = fake_loop = loop_new(f->metrics, &err);
    sg_assert(f->loop);
    fill_config(f, http);
    fixture_setup(f, &setup);
    f->admin = admin_new(&setup, &f->config, &err);
    if (!f->admin)
        fprintf(stderr, "admin_new: %s\n", err.text);
    sg_assert(f->admin);
}

void
fixture_close(struct fixture *f)
{
    admin_free(&f->admin);
    if (open_question)
        store_forget(NULL, HANDLE_NONE);
    fake_forget_look();
    fake_hold_nothing();
    loop_free(&f->loop);
    metrics_free(&f->metrics);
    unlink(f->socket);
    rmdir(f->folder);
}

/* ---- sockets ---- */

bool
fixture_wait(struct fixture *f, int fd)
{
    int64_t until = clock_mono_ms() + 5000;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (clock_mono_ms() < until) {
        loop_turn(f->loop, 10);
        if (poll(&p, 1, 0) == 1)
            return true;
    }
    return false;
}

size_t
fixture_read(struct fixture *f, int fd, char *out, size_t size, bool to_eof)
{
    size_t n = 0;

    while (n + 1 < size && fixture_wait(f, fd)) {
        ssize_t k = recv(fd, out + n, size - 1 - n, MSG_DONTWAIT);

        if (k <= 0)
            break;
        n += (size_t)k;
        if (!to_eof && memchr(out, '\n', n))
            break;
    }
    out[n] = '\0';
    return n;
}

int
fixture_connect(const struct fixture *f)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sun.sun_path, f->socket, strlen(f->socket) + 1);
    sg_assert(connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void
fixture_ask(struct fixture *f, const char *line, char *out, size_t size)
{
    int fd = fixture_connect(f);

    sg_assert(send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line));
    sg_assert(send(fd, "\n", 1, MSG_NOSIGNAL) == 1);
    fixture_read(f, fd, out, size, false);
    out[strcspn(out, "\n")] = '\0';
    close(fd);
}
