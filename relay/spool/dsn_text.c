#include "relay/spool/dsn_text.h"

#include <stdarg.h>
#include <stdio.h>

#include "relay/base/clock.h"

/* A longer word than FOLD_COLUMNS stands on a line of its own and is cut at WORD_MAX; of the blanks before it
 * BLANKS_MAX stay. With the name of a field that is below the 998 bytes of RFC 5322 section 2.1.1. */
#define FOLD_COLUMNS 78
#define WORD_MAX 600
#define BLANKS_MAX 300

void
dsn_text_init(struct dsn_text *t, struct blob *out)
{
    *t = (struct dsn_text){.out = out, .status = BLOB_OK};
    buf_init(&t->lines);
}

void
dsn_text_fini(struct dsn_text *t)
{
    buf_fini(&t->lines);
}

/* ---- lines ---- */

void
dsn_text_add(struct dsn_text *t, struct span s)
{
    char *to = buf_reserve(&t->lines, s.n);

    for (size_t i = 0; i < s.n; i++)
        to[i] = s.p[i] >= 32 && s.p[i] <= 126 ? s.p[i] : '?';
    buf_commit(&t->lines, s.n);
    t->column += s.n;
}

void
dsn_text_end_line(struct dsn_text *t)
{
    buf_add_str(&t->lines, "\r\n");
    t->column = 0;
}

/* Takes blanks and the word behind them off the front; false when there is no word. */
static bool
next_word(struct span *rest, struct span *blanks_out, struct span *word_out)
{
    size_t blanks = 0, n = 0;

    while (blanks < rest->n && rest->p[blanks] == ' ')
        blanks++;
    *blanks_out = span_head(*rest, blanks < BLANKS_MAX ? blanks : BLANKS_MAX);
    *rest = span_from(*rest, blanks);
    while (n < rest->n && n < WORD_MAX && rest->p[n] != ' ')
        n++;
    *word_out = span_head(*rest, n);
    *rest = span_from(*rest, n);
    return n > 0;
}

/* A line that goes on always holds a word: one of blanks might pass for the end of a header. The rest of a
 * word that was cut gets a blank before it, or it would be a field of its own. */
static void
fold(struct dsn_text *t, const char *indent, struct span text)
{
    struct span blanks, word;
    bool first = true;

    while (next_word(&text, &blanks, &word)) {
        if (!first && t->column + blanks.n + word.n > FOLD_COLUMNS) {
            dsn_text_end_line(t);
            if (indent != NULL)
                blanks = span_str(indent);
            else if (blanks.n == 0)
                blanks = SPAN_LIT(" ");
        }
        dsn_text_add(t, blanks);
        dsn_text_add(t, word);
        first = false;
    }
    dsn_text_end_line(t);
}

void
dsn_text_fold(struct dsn_text *t, const char *indent, const char *fmt, ...)
{
    char text[DSN_TEXT_VALUE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fold(t, indent, span_str(text));
}

void
dsn_text_field(struct dsn_text *t, const char *name, const char *fmt, ...)
{
    char value[DSN_TEXT_VALUE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    dsn_text_add(t, span_str(name));
    dsn_text_add(t, SPAN_LIT(": "));
    fold(t, NULL, span_str(value));
}

void
dsn_text_date(struct dsn_text *t, const char *name, int64_t utc_ms)
{
    char date[CLOCK_RFC5322_MAX];

    clock_format_rfc5322(utc_ms, date);
    dsn_text_field(t, name, "%s", date);
}

/* ---- out ---- */

struct span
dsn_text_first_line(struct span s)
{
    ptrdiff_t lf = span_find_byte(s, '\n');

    return lf >= 0 ? span_head(s, (size_t)lf + 1) : s;
}

static void
append(struct dsn_text *t, struct span wire)
{
    if (t->status == BLOB_OK)
        t->status = blob_append(t->out, wire);
}

void
dsn_text_flush(struct dsn_text *t)
{
    struct span rest = buf_span(&t->lines);

    t->content_bytes += rest.n;
    while (rest.n > 0) {
        struct span line = dsn_text_first_line(rest);

        if (line.p[0] == '.')
            append(t, SPAN_LIT("."));
        append(t, line);
        rest = span_from(rest, line.n);
    }
    buf_clear(&t->lines);
}

void
dsn_text_copy(struct dsn_text *t, struct span wire)
{
    append(t, wire);
    t->content_bytes += wire.n;
    while (wire.n > 0) {
        t->content_bytes -= wire.p[0] == '.';
        wire = span_from(wire, dsn_text_first_line(wire).n);
    }
}
