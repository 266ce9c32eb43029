/* Fuzzes the server machine. The input is a client: byte 0 chooses the listener, then blocks follow, each a
 * length byte and that many bytes received; the owner's answers are chosen by the lengths.
 *
 * Held against it: replies are whole lines with a code, nothing is consumed while an answer is owed, nothing
 * is said after the end, addresses are canonical, and no body holds a stray CR or LF or another end. */
#include <stdint.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct server_conf conf;
    struct server server;
    struct buf out, unread, body;
    unsigned choice;
};

static void
sink(void *arg, struct span wire)
{
    buf_add_span(arg, wire);
}

static void
check_replies(struct world *w)
{
    struct span rest = buf_span(&w->out), line;

    sg_assert(rest.n == 0 || rest.p[rest.n - 1] == '\n');
    while (rest.n > 0) {
        rest = span_cut(rest, '\n', &line);
        sg_assert(line.n >= 4 && line.p[line.n - 1] == '\r' && line.p[0] >= '2' && line.p[0] <= '5');
        sg_assert(
            (line.p[3] == ' ' || line.p[3] == '-') && memchr(line.p, '\r', line.n) == line.p + line.n - 1);
    }
    buf_clear(&w->out);
}

static void
check_body(struct world *w)
{
    struct span b = buf_span(&w->body);

    for (size_t i = 0; i < b.n; i++) {
        sg_assert(b.p[i] != '\n' || (i > 0 && b.p[i - 1] == '\r'));
        sg_assert(b.p[i] != '\r' || (i + 1 < b.n && b.p[i + 1] == '\n'));
    }
    sg_assert(span_find_nocase(b, SPAN_LIT("\r\n.\r\n")) < 0 && !span_starts_nocase(b, SPAN_LIT(".\r\n")));
    sg_assert(b.n == 0 || b.p[b.n - 1] == '\n');
    buf_clear(&w->body);
}

static enum server_action
answer(struct world *w, enum server_action action)
{
    struct server *s = &w->server;
    struct header_authors authors;
    struct reply no;

    reply_set(&no, w->choice % 5 == 1 ? 421 : w->choice % 5 == 2 ? 550 : 451, NULL, "no");
    w->choice = w->choice * 7 + 3;
    switch (action) {
    case SERVER_READ:
    case SERVER_DO_CLOSE:
        break;
    case SERVER_DO_DELAY:
        return SERVER_READ;
    case SERVER_DO_TLS:
        server_secured(s);
        return SERVER_READ;
    case SERVER_DO_AUTH:
        sg_assert(s->sasl->user[0] != '\0');
        return server_auth_done(s, (enum server_auth_result)(w->choice % 4), &w->out);
    case SERVER_DO_MAIL:
        return server_answer(s, w->choice % 3 ? NULL : &no, &w->out);
    case SERVER_DO_RCPT:
        sg_assert(s->tx->recipient.domain_at > 0);
        return server_answer_recipient(s, w->choice % 3 ? NULL : &no, RECIPIENT_EXTERNAL, &w->out);
    case SERVER_DO_DATA:
        sg_assert(s->tx->envelope.n_recipients > 0);
        server_set_sink(s, sink, &w->body);
        buf_clear(&w->body);
        return server_answer(s, w->choice % 7 ? NULL : &no, &w->out);
    case SERVER_DO_MESSAGE:
        if (server_body_complaint(s) == NULL)
            check_body(w);
        if (header_end(&s->tx->header, &authors) == HEADER_OK)
            header_authors_fini(&authors);
        return server_answer(s, w->choice % 3 ? NULL : &no, &w->out);
    }
    return action;
}

/* False: the session is over. */
static bool
drive(struct world *w)
{
    for (;;) {
        size_t used, again;
        enum server_action action = server_input(&w->server, buf_span(&w->unread), &w->out, &used);

        sg_assert(used <= buf_len(&w->unread));
        buf_consume(&w->unread, used);
        if (action != SERVER_READ && action != SERVER_DO_DELAY && action != SERVER_DO_CLOSE &&
            w->server.state != SERVER_WAIT_DATA) {
            sg_assert(server_input(&w->server, SPAN_LIT("QUIT\r\n"), &w->out, &again) == SERVER_READ);
            sg_assert(again == 0);
        }
        while (action != SERVER_READ && action != SERVER_DO_CLOSE)
            action = answer(w, action);
        check_replies(w);
        if (action == SERVER_DO_CLOSE) {
            sg_assert(w->server.state == SERVER_OVER && w->server.tx == NULL && w->server.sasl == NULL);
            return false;
        }
        if (used == 0)
            return true;
    }
}

static void
play(struct world *w, struct span in)
{
    while (in.n > 0) {
        size_t n = (unsigned char)in.p[0];

        in = span_from(in, 1);
        w->choice += (unsigned)n;
        buf_add_span(&w->unread, span_head(in, n));
        in = span_from(in, n);
        if (!drive(w))
            return;
        sg_assert(buf_len(&w->unread) <= SERVER_AUTH_LINE_MAX);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char mode = size > 0 ? data[0] : 0;
    struct world w = {
        .conf = {
            .hostname = "relay.test",
            .starttls = mode & 1,
            .tls_required = (mode & 3) == 3,
            .auth = mode & 4,
            .auth_without_tls = mode & 8,
            .lenient = mode & 16,
            .dsn = mode & 64,
            .newline = mode & 32 ? BODY_NORMALIZE : BODY_REJECT,
            .size_max = 2000,
            .line_max = 1000,
            .header_bytes_max = 1000,
            .header_lines_max = 20,
            .hops_max = 3,
            .recipients_max = 3,
            .messages_max = 5,
            .errors_soft = 5,
            .errors_hard = 10,
            .junk_max = 20,
            .auth_failures_max = 3,
        },
    };

    if (size == 0)
        return 0;
    buf_init(&w.out);
    buf_init(&w.unread);
    buf_init(&w.body);
    server_init(&w.server, &w.conf);
    server_greet(&w.server, &w.out);
    play(&w, span_of((const char *)data + 1, size - 1));
    server_fini(&w.server);
    buf_fini(&w.out);
    buf_fini(&w.unread);
    buf_fini(&w.body);
    return 0;
}
