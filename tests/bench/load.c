/* load: an SMTP load generator: N connections, each sends message after message and checks every reply.
 *
 *     load --port N [--host A] [--connections N] [--size BYTES] [--warmup-ms N] [--ms N] [--messages N]
 *          [--per-connection M] [--from A] [--to A] [--auth USER:PASSWORD] [--starttls]
 *          [--lockstep] [--idle] [--wait]
 *
 * MAIL, RCPT and DATA leave in one write where the server offers PIPELINING (--lockstep: never), the message
 * with its final dot in one more. It prints "ready" when all connections stand (with --wait it then waits for
 * a line on stdin), "measure" when the warm-up is over, and at the end one line of JSON (began_ns in it: just
 * before the first MAIL, monotonic). --idle: connections are opened, greeted and held until stdin says go on.
 * --messages ends it early. --per-connection M: QUIT after M messages and connect again (0: never), so set-up
 * and TLS handshakes are part of the measure.
 *
 * Ends with status 1, and says what came, at the first reply that is not the expected one; with 2 when
 * something else went wrong; both loudly, since a benchmark that counts refusals measures nothing.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_US 35000   /* a delayed ACK costs 40 ms: what takes longer than this is counted apart */
#define OPENING_MAX 64   /* connections in set-up at once, well below any backlog */
#define NO_REPLY_NS (10 * (int64_t)1000000000)

/* What a connection waits for. */
enum step {
    STEP_CLOSED,
    STEP_CONNECT,
    STEP_BANNER,
    STEP_EHLO,
    STEP_STARTTLS,  /* 220, then the handshake */
    STEP_HANDSHAKE,
    STEP_EHLO_TLS,
    STEP_AUTH,
    STEP_READY,     /* nothing: the run has not begun */
    STEP_MAIL,
    STEP_RCPT,
    STEP_DATA,
    STEP_DOT,
    STEP_QUIT,
};
static const char *const step_names[] = { "closed", "connect", "banner", "EHLO", "STARTTLS", "handshake",
    "EHLO inside TLS", "AUTH", "ready", "MAIL", "RCPT", "DATA", "the final dot", "QUIT" };
static const int step_codes[] = { 0, 0, 220, 250, 220, 0, 250, 235, 0, 250, 250, 354, 250, 221 };

struct client {
    struct wire wire;
    enum step step;
    bool pipelining, starttls; /* offered */
    unsigned messages;         /* on this connection */
    int64_t began_ns;          /* MAIL of the message under way */
    size_t line_bytes;         /* of a reply line not yet complete */
    char line[1024];
};

static void
load_unexpected(const struct client *c, const char *what, const char *text)
{
    fprintf(stderr, "load: %s in step \"%s\" of message %u of a connection: %s\n", what, step_names[c->step],
        c->messages + 1, text);
    exit(1);
}

static void
client_send(struct client *c, const char *bytes, size_t n)
{
    if (!wire_send(&c->wire, bytes, n))
        load_unexpected(c, "connection broken", strerror(errno));
}

static void
client_open(struct load *l, struct client *c)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    *c = (struct client){ .step = STEP_CONNECT };
    if (connect(fd, (struct sockaddr *)&l->target, sizeof l->target) != 0 && errno != EINPROGRESS)
        bench_die("connect: %s", strerror(errno));
    wire_open(&c->wire, l->epoll, fd, EPOLLIN | EPOLLOUT, c);
    l->opening++;
    l->open++;
    l->opened++;
}

static void
load_open_more(struct load *l)
{
    while (l->to_open > 0 && l->opening < OPENING_MAX)
        client_open(l, &l->clients[--l->to_open]);
}

static void
client_close(struct load *l, struct client *c)
{
    wire_close(&c->wire);
    c->step = STEP_CLOSED;
    l->open--;
}

static void
client_quit(struct client *c)
{
    c->step = STEP_QUIT;
    client_send(c, "QUIT\r\n", 6);
}

static void
client_begin_message(struct load *l, struct client *c)
{
    bool whole = c->pipelining && !l->lockstep;

    c->step = STEP_MAIL;
    c->began_ns = bench_now_ns();
    client_send(c, l->envelope, whole ? l->envelope_bytes : l->mail_bytes);
}

static void
client_next(struct load *l, struct client *c)
{
    if (l->phase == PHASE_SETUP)
        c->step = STEP_READY;
    else if (l->phase == PHASE_DRAIN || (l->per_connection > 0 && c->messages >= l->per_connection))
        client_quit(c);
    else
        client_begin_message(l, c);
}

static void
client_is_set_up(struct load *l, struct client *c)
{
    l->opening--;
    load_open_more(l);
    client_next(l, c);
}

static void
client_after_hello(struct load *l, struct client *c)
{
    if (l->tls != NULL && c->wire.ssl == NULL) {
        if (!c->starttls)
            load_unexpected(c, "no STARTTLS", "--starttls was asked for, the server does not offer it");
        c->step = STEP_STARTTLS;
        client_send(c, "STARTTLS\r\n", 10);
    } else if (l->auth != NULL) {
        c->step = STEP_AUTH;
        client_send(c, l->auth, strlen(l->auth));
    } else {
        client_is_set_up(l, c);
    }
}

static void
client_ehlo(struct client *c, enum step step)
{
    c->step = step;
    c->pipelining = c->starttls = false;
    client_send(c, "EHLO load.test\r\n", 16);
}

static void
client_start_tls(struct load *l, struct client *c)
{
    c->step = STEP_HANDSHAKE;
    wire_start_tls(&c->wire, l->tls, false);
}

static void
client_message_done(struct load *l, struct client *c)
{
    uint64_t us = (uint64_t)(l->last_reply_ns - c->began_ns) / 1000;

    c->messages++;
    l->total++;
    if (l->phase == PHASE_MEASURE) {
        l->measured++;
        hist_add(&l->latency, us);
        l->stalls += us > STALL_US;
    }
    if (l->messages_max > 0 && l->total >= l->messages_max && l->phase != PHASE_DRAIN) {
        l->measured_ns = l->last_reply_ns - l->phase_began_ns;
        l->phase = PHASE_DRAIN;
    }
    client_next(l, c);
}

static void
client_quit_done(struct load *l, struct client *c)
{
    client_close(l, c);
    if (l->phase != PHASE_DRAIN)
        client_open(l, c);
}

/* A complete reply of the right code came: what follows. */
static void
client_advance(struct load *l, struct client *c)
{
    bool whole = c->pipelining && !l->lockstep;
    const char *rcpt = l->envelope + l->mail_bytes;

    switch (c->step) {
    case STEP_BANNER:
        client_ehlo(c, STEP_EHLO);
        break;
    case STEP_EHLO:
    case STEP_EHLO_TLS:
        client_after_hello(l, c);
        break;
    case STEP_STARTTLS:
        client_start_tls(l, c);
        break;
    case STEP_AUTH:
        client_is_set_up(l, c);
        break;
    case STEP_MAIL:
        c->step = STEP_RCPT;
        if (!whole)
            client_send(c, rcpt, l->rcpt_bytes);
        break;
    case STEP_RCPT:
        c->step = STEP_DATA;
        if (!whole)
            client_send(c, "DATA\r\n", 6);
        break;
    case STEP_DATA:
        c->step = STEP_DOT;
        client_send(c, l->message, l->message_bytes);
        break;
    case STEP_DOT:
        client_message_done(l, c);
        break;
    case STEP_QUIT:
        client_quit_done(l, c);
        break;
    case STEP_CLOSED:
    case STEP_CONNECT:
    case STEP_HANDSHAKE:
    case STEP_READY:
        load_unexpected(c, "a reply to nothing", c->line);
    }
}

/* One reply line, without its end. */
static void
client_line(struct load *l, struct client *c)
{
    int code = c->line_bytes >= 3 ? atoi(c->line) : 0;

    if (code != step_codes[c->step])
        load_unexpected(c, "unexpected reply", c->line);
    if (c->step == STEP_EHLO || c->step == STEP_EHLO_TLS) {
        c->pipelining |= strcmp(c->line + 4, "PIPELINING") == 0;
        c->starttls |= strcmp(c->line + 4, "STARTTLS") == 0;
    }
    if (c->line[3] != '-')
        client_advance(l, c);
}

static void
client_feed(struct load *l, struct client *c, const char *in, size_t n)
{
    while (n > 0) {
        const char *lf = memchr(in, '\n', n);
        size_t take = lf != NULL ? (size_t)(lf - in) + 1 : n;
        if (c->line_bytes + take >= sizeof c->line)
            load_unexpected(c, "endless reply line", "");
        memcpy(c->line + c->line_bytes, in, take);
        c->line_bytes += take;
        in += take;
        n -= take;
        if (lf == NULL)
            return;
        if (c->line_bytes < 5 || c->line[c->line_bytes - 2] != '\r')
            load_unexpected(c, "malformed reply line", c->line);
        c->line_bytes -= 2;
        c->line[c->line_bytes] = '\0';
        client_line(l, c);
        c->line_bytes = 0;
        if (n > 0 && (c->step == STEP_CLOSED || c->step == STEP_HANDSHAKE || c->step == STEP_CONNECT))
            load_unexpected(c, "bytes after the last reply", in);
    }
}

static void
client_connected(struct client *c)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(c->wire.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        bench_die("connect: %s", strerror(error));
    c->step = STEP_BANNER;
    wire_arm(&c->wire, EPOLLIN);
}

static bool
client_shake_hands(struct client *c)
{
    int done = wire_handshake(&c->wire);

    if (done < 0)
        load_unexpected(c, "handshake failed", "");
    if (done > 0)
        client_ehlo(c, STEP_EHLO_TLS);
    return done > 0;
}

static void
client_read(struct load *l, struct client *c)
{
    char in[16 * 1024];

    for (;;) {
        ssize_t n;
        if (c->step == STEP_HANDSHAKE && !client_shake_hands(c))
            return;
        n = wire_read(&c->wire, in, sizeof in);
        if (n == WIRE_AGAIN)
            return;
        if (n <= 0)
            load_unexpected(c, n == 0 ? "connection closed by the server" : "connection broken",
                strerror(errno));
        l->last_reply_ns = bench_now_ns();
        client_feed(l, c, in, (size_t)n);
        if (c->wire.ssl == NULL && c->step != STEP_HANDSHAKE)
            return; /* level-triggered epoll tells when more comes */
    }
}

static void
client_event(struct load *l, struct client *c, uint32_t events)
{
    if (c->step == STEP_CONNECT)
        client_connected(c);
    if ((events & EPOLLOUT) != 0 && c->wire.queued > 0 && !wire_flush(&c->wire))
        load_unexpected(c, "connection broken", strerror(errno));
    if ((events & ~(uint32_t)EPOLLOUT) != 0 || c->step == STEP_HANDSHAKE)
        client_read(l, c);
}

static void
load_say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void
load_set_phase(struct load *l, enum phase phase)
{
    l->phase = phase;
    l->phase_began_ns = l->last_reply_ns = bench_now_ns();
}

/* All connections stand: wait for the word, then begin on each. */
static void
load_begin(struct load *l)
{
    char line[64];

    load_say("ready");
    if (l->wait || l->idle) {
        if (read(STDIN_FILENO, line, sizeof line) < 0)
            bench_die("stdin: %s", strerror(errno));
    }
    load_set_phase(l, l->idle ? PHASE_DRAIN : PHASE_WARMUP);
    l->began_ns = l->phase_began_ns;
    if (l->per_connection > 0 && !l->idle) {
        l->to_open = l->connections;
        load_open_more(l);
        return;
    }
    for (unsigned i = 0; i < l->connections; i++)
        client_next(l, &l->clients[i]);
}

static void
load_check_clock(struct load *l)
{
    int64_t now = bench_now_ns();

    if (l->phase == PHASE_WARMUP && now - l->phase_began_ns >= l->warmup_ns) {
        load_say("measure");
        load_set_phase(l, PHASE_MEASURE);
    } else if (l->phase == PHASE_MEASURE && now - l->phase_began_ns >= l->measure_ns) {
        l->measured_ns = now - l->phase_began_ns;
        load_set_phase(l, PHASE_DRAIN);
        l->to_open = 0;
    }
    if (now - l->last_reply_ns > NO_REPLY_NS) {
        fprintf(stderr, "load: nobody answered for 10 s; %u connections open:", l->open);
        for (unsigned i = 0; i < l->connections && i < 8; i++)
            fprintf(stderr, " [%s]", step_names[l->clients[i].step]);
        fputc('\n', stderr);
        exit(1);
    }
}

static void
load_run(struct load *l)
{
    struct epoll_event events[256];

    load_set_phase(l, PHASE_SETUP);
    if (l->per_connection == 0 || l->idle) {
        l->to_open = l->connections;
        load_open_more(l);
    }
    for (;;) {
        int n;
        if (l->phase == PHASE_SETUP && l->to_open == 0 && l->opening == 0)
            load_begin(l);
        if (l->phase == PHASE_DRAIN && l->open == 0)
            return;
        n = epoll_wait(l->epoll, events, 256, 10);
        for (int i = 0; i < n; i++)
            client_event(l, events[i].data.ptr, events[i].events);
        load_check_clock(l);
    }
}

static void
load_report(const struct load *l)
{
    const struct hist *h = &l->latency;
    double seconds = (double)l->measured_ns / 1e9;
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    printf("{\"messages\": %llu, \"total\": %llu, \"opened\": %llu, ", (unsigned long long)l->measured,
        (unsigned long long)l->total, (unsigned long long)l->opened);
    printf("\"began_ns\": %lld, \"seconds\": %.4f, \"per_second\": %.1f, ", (long long)l->began_ns, seconds,
        seconds > 0 ? (double)l->measured / seconds : 0.0);
    printf("\"p50_us\": %llu, \"p90_us\": %llu, \"p99_us\": %llu, \"max_us\": %llu, \"stalls\": %llu, ",
        (unsigned long long)hist_quantile(h, 500), (unsigned long long)hist_quantile(h, 900),
        (unsigned long long)hist_quantile(h, 990), (unsigned long long)h->max_us,
        (unsigned long long)l->stalls);
    printf("\"cpu_seconds\": %.3f}\n", (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
        (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    static struct load l;

    load_setup(&l, argc, argv);
    l.clients = calloc(l.connections, sizeof *l.clients);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l.clients == NULL || l.epoll < 0)
        bench_die("set-up: %s", strerror(errno));
    load_run(&l);
    load_report(&l);
    return 0;
}
