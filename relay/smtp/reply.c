/* Replies (RFC 5321 sections 4.2 and 4.2.1; enhanced codes RFC 2034 section 4, RFC 3463 section 2):
 *
 *     reply = *( code "-" [ text ] CRLF ) code [ SP text ] CRLF      code = %x32-35 2DIGIT
 *     text  = [ enhanced SP ] *octet       enhanced = ("2" / "4" / "5") "." 1*3DIGIT "." 1*3DIGIT
 *
 * More is read than the grammar allows where real servers write it: a bare LF as line end, ";" after
 * the code, an enhanced code that first appears in a later line. A reply whose lines disagree about
 * the code is no reply.
 */
#include "relay/smtp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "relay/base/ascii.h"

#define LINE_TEXT_MAX 480 /* of our own replies: leaves room for codes and CRLF in 512 bytes */

/* One byte of foreign text as it may stand in a log line. */
static char
printable(char c)
{
    if (c == '\t' || c == '\r' || c == '\n')
        return ' ';
    return c >= 0x20 && c <= 0x7e ? c : '?';
}

/* One to three digits at the start of in; how many there are, or 0. */
static size_t
short_number(struct span in, uint16_t *value_out)
{
    size_t n = 0;
    uint16_t value = 0;

    while (n < in.n && n < 4 && ascii_is_digit(in.p[n]))
        value = (uint16_t)(value * 10 + (in.p[n++] - '0'));
    *value_out = value;
    return n <= 3 ? n : 0;
}

bool
enhanced_parse(struct span in, struct enhanced *out, size_t *used_out)
{
    struct enhanced e;
    size_t at = 2, n;

    if (in.n < 5 || (in.p[0] != '2' && in.p[0] != '4' && in.p[0] != '5') || in.p[1] != '.')
        return false;
    e.class = (uint8_t)(in.p[0] - '0');
    n = short_number(span_from(in, at), &e.subject);
    at += n;
    if (n == 0 || at >= in.n || in.p[at] != '.')
        return false;
    at++;
    n = short_number(span_from(in, at), &e.detail);
    at += n;
    if (n == 0 || (at + 1 < in.n && in.p[at] == '.' && ascii_is_digit(in.p[at + 1])))
        return false;
    *out = e;
    *used_out = at;
    return true;
}

void
enhanced_format(struct enhanced e, char out[ENHANCED_MAX])
{
    out[0] = '\0';
    if (e.class != 0)
        snprintf(out, ENHANCED_MAX, "%u.%u.%u", (unsigned)e.class, (unsigned)e.subject, (unsigned)e.detail);
}

static enum reply_status
bad(const char **why_out, const char *why)
{
    *why_out = why;
    return REPLY_BAD;
}

enum reply_status
reply_line_parse(struct span in, struct reply_line *line_out, size_t *used_out, const char **why_out)
{
    const char *end = in.n > 0 ? memchr(in.p, '\n', in.n) : NULL;
    struct span line;

    if (end == NULL)
        return in.n >= REPLY_LINE_MAX ? bad(why_out, "a reply line is too long") : REPLY_MORE;
    line = span_of(in.p, (size_t)(end - in.p));
    if (line.n >= REPLY_LINE_MAX)
        return bad(why_out, "a reply line is too long");
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !ascii_is_digit(line.p[1])
        || !ascii_is_digit(line.p[2]))
        return bad(why_out, "a reply line without a reply code");
    if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-' && line.p[3] != ';')
        return bad(why_out, "a reply line without a reply code");
    line_out->code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    line_out->last = line.n == 3 || line.p[3] != '-';
    line_out->text = span_from(line, 4);
    *used_out = (size_t)(end - in.p) + 1;
    return REPLY_OK;
}

void
reply_reader_init(struct reply_reader *r)
{
    r->reply.code = 0;
    r->reply.enhanced = (struct enhanced){0, 0, 0};
    r->reply.text[0] = '\0';
    r->text_len = 0;
    r->total_bytes = 0;
    r->lines = 0;
}

static void
reader_text(struct reply_reader *r, struct span text)
{
    size_t room = REPLY_TEXT_MAX - r->text_len;

    text = span_head(text, room);
    for (size_t i = 0; i < text.n; i++)
        r->reply.text[r->text_len + i] = printable(text.p[i]);
    r->text_len += (uint32_t)text.n;
    r->reply.text[r->text_len] = '\0';
}

static bool
enhanced_eq(struct enhanced a, struct enhanced b)
{
    return a.class == b.class && a.subject == b.subject && a.detail == b.detail;
}

/* The first enhanced code of the reply is kept as such; where a line repeats it, it leaves the text. In a
 * 2xx only 2.x.x is one: "250 5.7.708 ..." is a yes with odd words. */
static struct span
reader_enhanced(struct reply_reader *r, struct span text)
{
    struct enhanced e;
    size_t used;

    if (!enhanced_parse(text, &e, &used) || (r->reply.code < 300 && e.class != 2))
        return text;
    if (r->reply.enhanced.class == 0)
        r->reply.enhanced = e;
    if (!enhanced_eq(r->reply.enhanced, e))
        return text;
    return span_trim(span_from(text, used));
}

enum reply_status
reply_reader_add(struct reply_reader *r, const struct reply_line *line, size_t line_bytes,
    const char **why_out)
{
    struct span text = span_trim(line->text);

    if (r->lines > 0 && line->code != r->reply.code)
        return bad(why_out, "the lines of a reply have different codes");
    if (line_bytes > REPLY_TOTAL_MAX - r->total_bytes)
        return bad(why_out, "a reply is too long");
    r->total_bytes += (uint32_t)line_bytes;
    r->reply.code = line->code;
    text = reader_enhanced(r, text);
    if (r->text_len > 0 && text.n > 0)
        reader_text(r, SPAN_LIT(" / "));
    reader_text(r, text);
    r->lines++;
    return line->last ? REPLY_OK : REPLY_MORE;
}

enum reply_status
reply_parse(struct span in, struct reply *reply_out, size_t *used_out, const char **why_out)
{
    struct reply_reader r;
    struct reply_line line;
    enum reply_status status;
    size_t at = 0, used;

    reply_reader_init(&r);
    do {
        status = reply_line_parse(span_from(in, at), &line, &used, why_out);
        if (status != REPLY_OK)
            return status;
        status = reply_reader_add(&r, &line, used, why_out);
        at += used;
    } while (status == REPLY_MORE);
    if (status == REPLY_OK) {
        *reply_out = r.reply;
        *used_out = at;
    }
    return status;
}

/* How much of text goes on the next line: up to the last blank that fits, the blank itself left out of the
 * next one. */
static size_t
fold_at(struct span text)
{
    size_t n = LINE_TEXT_MAX;

    if (text.n <= LINE_TEXT_MAX)
        return text.n;
    while (n > 0 && text.p[n] != ' ')
        n--;
    return n > 0 ? n : LINE_TEXT_MAX;
}

void
reply_format(const struct reply *r, struct buf *out)
{
    struct span rest = span_str(r->text);
    char enhanced[ENHANCED_MAX];

    enhanced_format(r->enhanced, enhanced);
    for (;;) {
        struct span line = span_head(rest, fold_at(rest));

        rest = span_from(rest, line.n);
        if (rest.n > 0 && rest.p[0] == ' ')
            rest = span_from(rest, 1);
        buf_printf(out, "%d%c%s%s%.*s\r\n", r->code, rest.n > 0 ? '-' : ' ', enhanced,
            enhanced[0] != '\0' ? " " : "", SPAN_FMT(line));
        if (rest.n == 0)
            return;
    }
}

void
reply_copy(struct reply *to, const struct reply *from)
{
    to->code = from->code;
    to->enhanced = from->enhanced;
    memcpy(to->text, from->text, strlen(from->text) + 1);
}

void
reply_set(struct reply *r, int code, const char *enhanced, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX + 1]; /* the arguments may lie in *r */
    va_list ap;
    size_t used;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    r->code = code;
    r->enhanced = (struct enhanced){0, 0, 0};
    if (enhanced != NULL && !enhanced_parse(span_str(enhanced), &r->enhanced, &used))
        r->enhanced.class = 0;
    for (used = 0; text[used] != '\0'; used++)
        r->text[used] = printable(text[used]);
    r->text[used] = '\0';
}
