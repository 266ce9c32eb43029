/* sink: an SMTP server that accepts every message, counts it and forgets it.
 *
 *     sink [--cert FILE --key FILE] [--delay-ms N] [--refuse-after N]
 *
 * Listens on a free port of 127.0.0.1 and prints "port N". Then stdin is its control: a line "stat" prints
 * "messages N bytes N connections N open N last_ns N" (last_ns: when the last message was complete,
 * monotonic; 0: none was), the end of stdin ends it, so a sink never outlives who started it. One thread,
 * epoll; all replies to what one read brought leave in one write. STARTTLS is offered when there is a
 * certificate. --delay-ms and --refuse-after make it misbehave, to test the generator.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/wire.h"

enum peer_state {
    PEER_COMMAND,   /* a command line comes next */
    PEER_BODY,      /* the message, until CR LF . CR LF */
    PEER_HANDSHAKE, /* 220 was sent, TLS begins */
    PEER_DELAYED,   /* --delay-ms: the reply to the dot waits in `due_ns` */
    PEER_GONE,
};

struct peer {
    struct wire wire;
    enum peer_state state;
    char line[1024];     /* a command not yet complete */
    size_t line_bytes;
    unsigned tail;       /* body: how much of CR LF . CR LF was seen last */
    uint64_t body_bytes;
    bool in_mail, has_rcpt;
    int64_t due_ns;
    struct peer *next_delayed;
};

struct sink {
    int epoll, listener;
    SSL_CTX *tls;
    int64_t delay_ns;
    uint64_t refuse_after; /* from this message on the dot is answered 451; 0: never */
    uint64_t messages, bytes, connections, open;
    int64_t last_ns;
    struct peer *delayed, **delayed_end; /* oldest first */
    char in[128 * 1024];
    char out[16 * 1024];
    size_t out_bytes;
};

static void
sink_reply(struct sink *s, const char *text)
{
    size_t n = strlen(text);

    if (s->out_bytes + n > sizeof s->out)
        bench_die("a peer pipelined more commands than any client of this benchmark");
    memcpy(s->out + s->out_bytes, text, n);
    s->out_bytes += n;
}

static void
peer_close(struct sink *s, struct peer *p)
{
    if (p->state == PEER_GONE)
        return;
    wire_close(&p->wire);
    s->open--;
    if (p->state != PEER_DELAYED) /* a delayed one is still in the list, which frees it */
        free(p);
    else
        p->state = PEER_GONE;
}

static void
sink_ehlo(struct sink *s, const struct peer *p)
{
    sink_reply(s, "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 157286400\r\n250-8BITMIME\r\n");
    if (s->tls != NULL && p->wire.ssl == NULL)
        sink_reply(s, "250-STARTTLS\r\n");
    sink_reply(s, "250 ENHANCEDSTATUSCODES\r\n");
}

static void
sink_mail(struct sink *s, struct peer *p)
{
    if (p->in_mail) {
        sink_reply(s, "503 5.5.1 nested MAIL\r\n");
        return;
    }
    p->in_mail = true;
    p->has_rcpt = false;
    sink_reply(s, "250 2.1.0 ok\r\n");
}

static void
sink_data(struct sink *s, struct peer *p)
{
    if (!p->has_rcpt) {
        sink_reply(s, "503 5.5.1 RCPT first\r\n");
        return;
    }
    p->state = PEER_BODY;
    p->tail = 2; /* the body begins at a line's beginning */
    p->body_bytes = 0;
    sink_reply(s, "354 go on\r\n");
}

static bool
is_verb(const char *line, const char *verb)
{
    return strncasecmp(line, verb, strlen(verb)) == 0;
}

/* One command line, without its end. false: the connection ends after the reply. */
static bool
sink_command(struct sink *s, struct peer *p, const char *line)
{
    if (is_verb(line, "MAIL FROM:")) {
        sink_mail(s, p);
    } else if (is_verb(line, "RCPT TO:")) {
        p->has_rcpt = p->in_mail;
        sink_reply(s, p->in_mail ? "250 2.1.5 ok\r\n" : "503 5.5.1 MAIL first\r\n");
    } else if (is_verb(line, "DATA")) {
        sink_data(s, p);
    } else if (is_verb(line, "EHLO") || is_verb(line, "HELO")) {
        p->in_mail = false;
        sink_ehlo(s, p);
    } else if (is_verb(line, "STARTTLS") && s->tls != NULL && p->wire.ssl == NULL) {
        p->state = PEER_HANDSHAKE;
        sink_reply(s, "220 2.0.0 go on\r\n");
    } else if (is_verb(line, "RSET") || is_verb(line, "NOOP")) {
        p->in_mail = p->in_mail && is_verb(line, "NOOP");
        sink_reply(s, "250 2.0.0 ok\r\n");
    } else if (is_verb(line, "QUIT")) {
        sink_reply(s, "221 2.0.0 bye\r\n");
        return false;
    } else {
        sink_reply(s, "500 5.5.2 not known here\r\n");
    }
    return true;
}

static void
sink_message(struct sink *s, struct peer *p)
{
    p->in_mail = false;
    p->state = PEER_COMMAND;
    if (s->refuse_after != 0 && s->messages >= s->refuse_after) {
        sink_reply(s, "451 4.3.0 refused on demand\r\n");
        return;
    }
    s->messages++;
    s->bytes += p->body_bytes;
    s->last_ns = bench_now_ns();
    if (s->delay_ns == 0) {
        sink_reply(s, "250 2.0.0 taken\r\n");
        return;
    }
    p->state = PEER_DELAYED;
    p->due_ns = s->last_ns + s->delay_ns;
    p->next_delayed = NULL;
    *s->delayed_end = p;
    s->delayed_end = &p->next_delayed;
}

/* Feeds the body; returns how many bytes belong to it. The end may be split over reads anywhere. */
static size_t
sink_body(struct sink *s, struct peer *p, const char *in, size_t n)
{
    static const char end[] = "\r\n.\r\n";
    size_t i = 0;

    while (i < n && p->tail < 5) {
        if (p->tail == 0) { /* the usual case: look for the next CR, fast */
            const char *cr = memchr(in + i, '\r', n - i);
            i = cr != NULL ? (size_t)(cr - in) + 1 : n;
            p->tail = cr != NULL;
        } else if (in[i] == end[p->tail]) {
            p->tail++;
            i++;
        } else {
            p->tail = in[i] == '\r';
            i++;
        }
    }
    p->body_bytes += i;
    if (p->tail == 5)
        sink_message(s, p);
    return i;
}

/* Takes bytes up to the end of one command line; false: the connection ends. */
static bool
sink_line(struct sink *s, struct peer *p, const char *in, size_t n, size_t *used_out)
{
    const char *lf = memchr(in, '\n', n);
    size_t take = lf != NULL ? (size_t)(lf - in) + 1 : n;

    if (p->line_bytes + take >= sizeof p->line)
        bench_die("a command line of more than %zu bytes", sizeof p->line);
    memcpy(p->line + p->line_bytes, in, take);
    p->line_bytes += take;
    *used_out = take;
    if (lf == NULL)
        return true;
    while (p->line_bytes > 0 && (p->line[p->line_bytes - 1] == '\n' || p->line[p->line_bytes - 1] == '\r'))
        p->line_bytes--;
    p->line[p->line_bytes] = '\0';
    p->line_bytes = 0;
    return sink_command(s, p, p->line);
}

/* false: the connection is to be closed. */
static bool
sink_feed(struct sink *s, struct peer *p, const char *in, size_t n)
{
    bool go_on = true;

    s->out_bytes = 0;
    while (n > 0 && go_on) {
        size_t used = 0;
        if (p->state == PEER_BODY)
            used = sink_body(s, p, in, n);
        else if (p->state == PEER_COMMAND)
            go_on = sink_line(s, p, in, n, &used);
        else
            bench_die("a peer sent %zu bytes where it had to wait", n);
        in += used;
        n -= used;
    }
    if (s->out_bytes > 0 && !wire_send(&p->wire, s->out, s->out_bytes))
        return false;
    if (p->state == PEER_HANDSHAKE)
        wire_start_tls(&p->wire, s->tls, true);
    return go_on;
}

/* false: close it. */
static bool
sink_read(struct sink *s, struct peer *p)
{
    for (;;) {
        ssize_t n;
        if (p->state == PEER_HANDSHAKE) {
            int done = wire_handshake(&p->wire);
            if (done <= 0)
                return done == 0;
            p->state = PEER_COMMAND;
            p->in_mail = false;
        }
        n = wire_read(&p->wire, s->in, sizeof s->in);
        if (n == WIRE_AGAIN)
            return true;
        if (n <= 0 || !sink_feed(s, p, s->in, (size_t)n))
            return false;
        if (p->wire.ssl == NULL && (size_t)n < sizeof s->in)
            return true; /* that was all; level-triggered epoll tells when more comes */
    }
}

static void
sink_accept(struct sink *s)
{
    static const char banner[] = "220 sink.test ESMTP\r\n";

    for (int i = 0; i < 64; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct peer *p;
        if (fd < 0)
            return;
        p = calloc(1, sizeof *p);
        if (p == NULL)
            bench_die("out of memory");
        wire_open(&p->wire, s->epoll, fd, EPOLLIN, p);
        s->connections++;
        s->open++;
        if (!wire_send(&p->wire, banner, sizeof banner - 1))
            peer_close(s, p);
    }
}

/* Sends the replies that are due; returns epoll's timeout. */
static int
sink_wake_delayed(struct sink *s)
{
    static const char taken[] = "250 2.0.0 taken\r\n";

    while (s->delayed != NULL) {
        struct peer *p = s->delayed;
        int64_t wait_ns = p->due_ns - bench_now_ns();
        if (wait_ns > 0)
            return (int)(wait_ns / 1000000) + 1;
        s->delayed = p->next_delayed;
        if (s->delayed == NULL)
            s->delayed_end = &s->delayed;
        if (p->state == PEER_GONE) {
            free(p);
            continue;
        }
        p->state = PEER_COMMAND;
        if (!wire_send(&p->wire, taken, sizeof taken - 1))
            peer_close(s, p);
    }
    return -1;
}

static void
sink_control(struct sink *s)
{
    char line[256];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);

    if (n <= 0)
        exit(0);
    line[n] = '\0';
    if (strncmp(line, "stat", 4) == 0) {
        printf("messages %llu bytes %llu connections %llu open %llu last_ns %lld\n",
            (unsigned long long)s->messages, (unsigned long long)s->bytes,
            (unsigned long long)s->connections, (unsigned long long)s->open, (long long)s->last_ns);
        fflush(stdout);
    }
}

static void
sink_event(struct sink *s, const struct epoll_event *ev)
{
    struct peer *p = ev->data.ptr;

    if (ev->data.ptr == &s->listener) {
        sink_accept(s);
    } else if (ev->data.ptr == &s->epoll) {
        sink_control(s);
    } else if ((ev->events & EPOLLOUT) != 0 && p->wire.queued > 0 && !wire_flush(&p->wire)) {
        peer_close(s, p);
    } else if ((ev->events & ~(uint32_t)EPOLLOUT) != 0 || p->state == PEER_HANDSHAKE) {
        if (!sink_read(s, p))
            peer_close(s, p);
    }
}

static void
sink_watch(struct sink *s, int fd, void *mark)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = mark };

    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        bench_die("cannot watch descriptor %d (stdin must be a pipe or a terminal): %s", fd, strerror(errno));
}

static void
sink_listen(struct sink *s)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;

    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->epoll < 0 || s->listener < 0 || bind(s->listener, (struct sockaddr *)&addr, len) != 0 ||
        listen(s->listener, 4096) != 0 || getsockname(s->listener, (struct sockaddr *)&addr, &len) != 0)
        bench_die("cannot listen: %s", strerror(errno));
    sink_watch(s, s->listener, &s->listener);
    sink_watch(s, STDIN_FILENO, &s->epoll);
    printf("port %u\n", ntohs(addr.sin_port));
    fflush(stdout);
}

static void
sink_options(struct sink *s, int argc, char **argv)
{
    static const struct option known[] = { { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' }, { "delay-ms", required_argument, NULL, 'd' },
        { "refuse-after", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
    const char *cert = NULL, *key = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'c')
            cert = optarg;
        else if (option == 'k')
            key = optarg;
        else if (option == 'd')
            s->delay_ns = strtoll(optarg, NULL, 10) * 1000000;
        else if (option == 'r')
            s->refuse_after = strtoull(optarg, NULL, 10);
        else
            bench_die("usage: sink [--cert FILE --key FILE] [--delay-ms N] [--refuse-after N]");
    }
    if (cert != NULL && key != NULL)
        s->tls = wire_tls_ctx(cert, key);
}

int
main(int argc, char **argv)
{
    static struct sink s;
    struct epoll_event events[256];

    s.delayed_end = &s.delayed;
    sink_options(&s, argc, argv);
    sink_listen(&s);
    for (;;) {
        int n = epoll_wait(s.epoll, events, 256, sink_wake_delayed(&s));
        for (int i = 0; i < n; i++)
            sink_event(&s, &events[i]);
    }
}
