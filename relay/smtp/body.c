#include "relay/smtp/body.h"

#include "relay/smtp/body_lines.h"

struct scan {
    struct body *b;
    body_sink_fn *sink;
    void *arg;
    const char *run; /* bytes from here on pass unchanged and were not given out yet */
    const char *p;
    const char *end;
    const char *lf; /* the next LF at or after p, or end; not known when NULL or before p */
    const char *measured; /* whether bytes before it have eight bits is known */
};

void
body_init(struct body *b, const struct body_limits *limits)
{
    memset(b, 0, sizeof *b);
    b->limits = *limits;
}

static void
spoil(struct body *b, enum body_status status)
{
    if (b->status == BODY_OK)
        b->status = status;
}

/* Eight bytes a step. */
static bool
has_eightbit(const char *p, size_t n)
{
    uint64_t seen = 0, word;

    for (; n >= sizeof word; p += sizeof word, n -= sizeof word) {
        memcpy(&word, p, sizeof word);
        seen |= word;
    }
    for (; n > 0; p++, n--)
        seen |= (unsigned char)*p & 0x80u;
    return (seen & UINT64_C(0x8080808080808080)) != 0;
}

/* Has what passed since the last look eight bits? */
static void
measure(struct scan *s)
{
    const char *from = s->measured > s->run ? s->measured : s->run;

    if (!s->b->eightbit && s->p > from)
        s->b->eightbit = has_eightbit(from, (size_t)(s->p - from));
    s->measured = s->p;
}

/* Content bytes leave, unless the message is lost already or becomes too big with them. */
static void
emit(struct scan *s, const char *p, size_t n, size_t stuffing)
{
    struct body *b = s->b;

    if (n == 0 || b->status != BODY_OK)
        return;
    b->content_bytes += n - stuffing;
    if (b->content_bytes > b->limits.content_max) {
        spoil(b, BODY_TOO_BIG);
        return;
    }
    s->sink(s->arg, span_of(p, n));
}

/* The pending run leaves; the next one begins `skip` bytes after p. */
static void
flush(struct scan *s, size_t skip)
{
    measure(s);
    emit(s, s->run, (size_t)(s->p - s->run), 0);
    s->p += skip;
    s->run = s->p;
}

static void
grow_line(struct body *b, uint64_t n)
{
    b->line_bytes += n;
    if (b->line_bytes > b->limits.line_max)
        spoil(b, BODY_LONG_LINE);
}

static void
end_line(struct body *b, enum body_state next)
{
    if (b->line_bytes > b->longest_line)
        b->longest_line = b->line_bytes;
    b->line_bytes = 0;
    b->lines++;
    b->state = next;
}

/* A CR or LF that stands alone, not part of any run. */
static void
stray_newline(struct scan *s)
{
    if (s->b->limits.newline == BODY_REJECT)
        spoil(s->b, BODY_STRAY_NEWLINE);
    emit(s, "\r\n", 2, 0);
    end_line(s->b, BODY_STRAY_START);
}

/* Ordinary lines pass in one go. */
static void
pass_lines(struct scan *s)
{
    struct body *b = s->b;
    struct body_lines l = body_lines_measure(span_of(s->p, (size_t)(s->end - s->p)));

    if (l.bytes == 0)
        return;
    b->lines += l.lines;
    if (l.longest > b->longest_line)
        b->longest_line = l.longest;
    if (l.longest > b->limits.line_max)
        spoil(b, BODY_LONG_LINE);
    measure(s);
    b->eightbit = b->eightbit || l.eightbit;
    s->measured += l.measured;
    s->p += l.bytes;
}

static void
at_line_start(struct scan *s)
{
    pass_lines(s);
    if (s->p == s->end)
        return;
    if (*s->p == '.') {
        flush(s, 1);
        s->b->state = BODY_DOT;
    } else
        s->b->state = BODY_IN_LINE;
}

static void
at_stray_start(struct scan *s)
{
    if (*s->p == '.') {
        flush(s, 1);
        emit(s, "..", 2, 1);
        grow_line(s->b, 1);
    }
    s->b->state = BODY_IN_LINE;
}

/* The dot was the client's stuffing; it stays only where the content begins with a dot as well. */
static void
after_dot(struct scan *s)
{
    if (*s->p == '\r') {
        s->run = ++s->p;
        s->b->state = BODY_DOT_CR;
        return;
    }
    if (*s->p == '.') {
        s->run = ++s->p;
        emit(s, "..", 2, 1);
        grow_line(s->b, 1);
    }
    s->b->state = BODY_IN_LINE;
}

static void
after_dot_cr(struct scan *s)
{
    if (*s->p == '\n') {
        s->run = ++s->p;
        s->b->state = BODY_END;
    } else
        stray_newline(s); /* the dot was stuffing, the CR stands alone */
}

static void
after_cr(struct scan *s)
{
    if (*s->p != '\n') {
        stray_newline(s);
        return;
    }
    s->run = ++s->p;
    emit(s, "\r\n", 2, 0);
    end_line(s->b, BODY_LINE_START);
}

/* The rest of a line, up to whatever ends it or the end of the piece. The LF found is remembered: a piece
 * full of CRs must not be searched once for each of them. */
static void
in_line(struct scan *s)
{
    const char *cr;

    if (s->lf == NULL || s->lf < s->p) {
        s->lf = memchr(s->p, '\n', (size_t)(s->end - s->p));
        if (s->lf == NULL)
            s->lf = s->end;
    }
    cr = memchr(s->p, '\r', (size_t)(s->lf - s->p));
    grow_line(s->b, (uint64_t)((cr != NULL ? cr : s->lf) - s->p));
    if (cr != NULL && cr + 1 == s->lf && s->lf < s->end) {
        s->p = s->lf + 1;
        end_line(s->b, BODY_LINE_START);
    } else if (cr != NULL) {
        s->p = cr;
        flush(s, 1);
        s->b->state = BODY_CR;
    } else if (s->lf < s->end) {
        s->p = s->lf;
        flush(s, 1);
        stray_newline(s);
    } else
        s->p = s->end;
}

size_t
body_scan(struct body *b, struct span in, body_sink_fn *sink, void *arg)
{
    struct scan s = {b, sink, arg, in.p, in.p, in.p + in.n, NULL, in.p};

    while (s.p < s.end && b->state != BODY_END) {
        switch (b->state) {
        case BODY_LINE_START:
            at_line_start(&s);
            break;
        case BODY_STRAY_START:
            at_stray_start(&s);
            break;
        case BODY_DOT:
            after_dot(&s);
            break;
        case BODY_DOT_CR:
            after_dot_cr(&s);
            break;
        case BODY_IN_LINE:
            in_line(&s);
            break;
        case BODY_CR:
            after_cr(&s);
            break;
        case BODY_END:
            break;
        }
    }
    flush(&s, 0);
    return (size_t)(s.p - in.p);
}
