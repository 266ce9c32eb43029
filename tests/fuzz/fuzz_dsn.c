/* Fuzzes dsn. Byte 0 chooses actions and RET; then four texts, each a length byte and that many bytes: ENVID,
 * ORCPT (both only where the parser lets them in), what the upstream said, and words; the rest is what a
 * client sent after DATA, made canonical by body as it is for every message.
 *
 * Held against it: whole lines, dots doubled and none alone, 8-bit bytes only where it is said, the right
 * count, no line over 998 bytes but one of the message, and four lines that a boundary begins. */
#include <stdint.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"
#include "relay/smtp/body.h"
#include "relay/smtp/command.h"
#include "relay/spool/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX_BYTES 65536
#define ID "0fuzz"

struct world {
    struct blob_pool *pool;
    struct mail_command mail;
    struct rcpt_command rcpt;
    struct envelope about;
    struct recipient recipient;
    struct reply reply;
    char *words;
    struct blob *body, *out;
    uint64_t content_bytes;
    enum smtp_body type;
};

static struct span
take(struct span *in)
{
    size_t n = in->n > 0 ? (unsigned char)in->p[0] : 0;
    struct span text = span_head(span_from(*in, 1), n);

    *in = span_from(*in, 1 + text.n);
    return text;
}

/* As the front does: what the parser refuses never gets here. */
static void
read_envelope(struct world *w, struct span *in)
{
    static const struct command_dialect dialect = {.dsn = true};
    struct span envid = take(in), orcpt = take(in);
    struct buf args;

    buf_init(&args);
    buf_printf(&args, "FROM:<a@b.example> ENVID=");
    buf_add_span(&args, envid);
    if (command_parse_mail(buf_span(&args), dialect, &w->mail) != NULL)
        sg_assert(command_parse_mail(SPAN_LIT("FROM:<a@b.example>"), dialect, &w->mail) == NULL);
    buf_clear(&args);
    buf_printf(&args, "TO:<c@d.example> ORCPT=");
    buf_add_span(&args, orcpt);
    if (command_parse_rcpt(buf_span(&args), dialect, &w->rcpt) != NULL)
        sg_assert(command_parse_rcpt(SPAN_LIT("TO:<c@d.example>"), dialect, &w->rcpt) == NULL);
    buf_fini(&args);
    w->about.sender = w->mail.sender;
    w->about.envid = w->mail.envid;
    w->recipient = (struct recipient){.address = w->rcpt.recipient, .orcpt = w->rcpt.orcpt};
}

static void
sink(void *arg, struct span wire)
{
    sg_assert(blob_append(arg, wire) == BLOB_OK);
}

static void
read_body(struct world *w, struct span in)
{
    struct body_limits limits = {1 << 20, LINE_MAX_BYTES, BODY_NORMALIZE};
    struct body body;

    body_init(&body, &limits);
    in = span_from(in, body_scan(&body, in, sink, w->body));
    if (body.state != BODY_END)
        body_scan(&body, SPAN_LIT("\r\n.\r\n"), sink, w->body);
}

static void
check_line(const struct world *w, struct span line, uint64_t *content)
{
    sg_assert(line.n > 0 && memchr(line.p, '\r', line.n) == line.p + line.n - 1);
    sg_assert(line.n <= LINE_MAX_BYTES + 2);
    sg_assert(!span_eq(line, SPAN_LIT(".\r")) && (line.p[0] != '.' || line.p[1] == '.'));
    *content += line.n + 1 - (line.p[0] == '.');
    for (size_t i = 0; i < line.n && w->type == SMTP_BODY_7BIT; i++)
        sg_assert((unsigned char)line.p[i] < 0x80);
}

/* Lines that a reader takes for a boundary: three parts and the end. Within a line it is text. */
static void
check_boundaries(struct span text)
{
    struct span name = SPAN_LIT("boundary=\""), boundary, line = SPAN_LIT("");
    unsigned n = 0;

    text = span_cut(span_from(text, (size_t)span_find_nocase(text, name) + name.n), '"', &boundary);
    while (text.n > 0) {
        text = span_cut(text, '\n', &line);
        n += span_starts_nocase(line, SPAN_LIT("--")) && span_starts_nocase(span_from(line, 2), boundary);
    }
    sg_assert(n == 4 && span_ends_nocase(line, SPAN_LIT("--\r")));
}

/* Of ours: all before the third part. */
static void
check_short(struct span ours)
{
    struct span line;

    while (ours.n > 0) {
        ours = span_cut(ours, '\n', &line);
        sg_assert(line.n <= 999);
    }
}

static void
check(const struct world *w, struct span text)
{
    struct span rest = text, line;
    ptrdiff_t third = span_find_nocase(text, SPAN_LIT("\r\nContent-Type: text/rfc822-headers\r\n"));
    uint64_t content = 0;

    if (third < 0)
        third = span_find_nocase(text, SPAN_LIT("\r\nContent-Type: message/rfc822\r\n"));
    sg_assert(third > 0 && text.p[text.n - 1] == '\n');
    check_short(span_head(text, (size_t)third));
    while (rest.n > 0) {
        rest = span_cut(rest, '\n', &line);
        check_line(w, line, &content);
    }
    sg_assert(content == w->content_bytes);
    check_boundaries(text);
}

static void
write_and_check(struct world *w, uint8_t kind)
{
    struct dsn_recipient r[2];
    struct dsn d = {.id = ID, .hostname = "relay.example", .upstream = kind & 16 ? "mx.example" : NULL,
        .about_id = "0about", .about = &w->about, .body = kind & 32 ? NULL : w->body,
        .trace = "Received: from x\r\n\tby relay.example\r\n", .arrived_utc_ms = 1, .now_utc_ms = 2,
        .will_retry_until_utc_ms = 3, .recipients = r, .n_recipients = 2};
    struct span text = SPAN_LIT("");
    struct buf all;

    w->about.ret = kind >> 2 & 1 ? RET_FULL : RET_NONE;
    r[0] = (struct dsn_recipient){.recipient = &w->recipient, .action = (enum dsn_action)(kind % 3),
        .reply = &w->reply, .words = w->words};
    r[1] = r[0];
    r[1].action = DSN_DELAYED;
    sg_assert(dsn_write(&d, w->out, &w->content_bytes, &w->type) == BLOB_OK);
    buf_init(&all);
    do {
        char scratch[4096];

        sg_assert(blob_read(w->out, buf_len(&all), scratch, sizeof scratch, &text) == BLOB_OK);
        buf_add_span(&all, text);
    } while (text.n > 0);
    check(w, buf_span(&all));
    buf_fini(&all);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size), said, words;
    uint8_t kind = size > 0 ? data[0] : 0;
    struct world w = {.pool = blob_pool_new("/tmp", 8 << 20, 64 << 20)};

    in = span_from(in, 1);
    w.body = blob_new(w.pool);
    w.out = blob_new(w.pool);
    read_envelope(&w, &in);
    said = take(&in);
    words = take(&in);
    reply_set(&w.reply, 400 + kind, NULL, "%.*s%.*s%.*s%.*s", SPAN_FMT(said), SPAN_FMT(said), SPAN_FMT(said),
        SPAN_FMT(said));
    w.words = xstrndup(words.p, words.n);
    read_body(&w, in);
    write_and_check(&w, kind);
    free(w.words);
    blob_free(&w.body);
    blob_free(&w.out);
    mail_command_fini(&w.mail);
    rcpt_command_fini(&w.rcpt);
    blob_pool_free(&w.pool);
    return 0;
}
