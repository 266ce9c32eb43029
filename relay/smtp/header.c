#include "relay/smtp/header.h"

#include <assert.h>
#include <stdio.h>

#include "relay/base/ascii.h"

#define LINE_KEEP_MAX (HEADER_VALUE_MAX + 64) /* of a line that comes in pieces */

void
header_init(struct header *h, const struct header_limits *limits)
{
    memset(h, 0, sizeof *h);
    h->limits = *limits;
    buf_init(&h->partial);
    buf_init(&h->value);
    buf_init(&h->from);
    buf_init(&h->sender);
}

void
header_fini(struct header *h)
{
    buf_fini(&h->partial);
    buf_fini(&h->value);
    buf_fini(&h->from);
    buf_fini(&h->sender);
}

static bool
is_over(const struct header *h)
{
    return h->bytes > h->limits.bytes_max || h->lines > h->limits.lines_max;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Does text begin with these words? A blank of theirs stands for any run of blanks, so for folding too. */
static bool
starts_with_words(struct span text, const char *words)
{
    size_t at = 0;

    for (; *words != '\0'; words++, at++) {
        char c = at == text.n ? '\0' : is_blank(text.p[at]) ? ' ' : ascii_lower(text.p[at]);

        if (c != ascii_lower(*words))
            return false;
        while (c == ' ' && at + 1 < text.n && is_blank(text.p[at + 1]))
            at++;
    }
    return true;
}

/* Our own trace, as front writes it: "... by HOSTNAME (sendgov) ...". A server on the way may have folded it
 * elsewhere. */
static bool
is_own_trace(const struct header *h, struct span value)
{
    char mark[300];
    int n = snprintf(mark, sizeof mark, "by %s (sendgov)", h->limits.hostname);

    if (n <= 0 || (size_t)n >= sizeof mark)
        return false;
    for (size_t at = 0; at < value.n; at++)
        if (starts_with_words(span_from(value, at), mark))
            return true;
    return false;
}

/* The field under way is complete. */
static void
close_field(struct header *h, enum header_field next)
{
    switch (h->field) {
    case HEADER_FROM:
        if (h->from_fields++ == 0)
            buf_add_span(&h->from, buf_span(&h->value));
        h->from_unread = h->from_unread || h->cut || h->crooked;
        break;
    case HEADER_SENDER:
        if (h->sender_fields++ == 0 && !h->cut && !h->crooked)
            buf_add_span(&h->sender, buf_span(&h->value));
        break;
    case HEADER_RECEIVED:
        h->received_fields++;
        if (is_own_trace(h, buf_span(&h->value)))
            h->own_fields++;
        break;
    case HEADER_NONE:
    case HEADER_OTHER:
    case HEADER_CLOSED:
        break;
    }
    h->cut = h->crooked = false;
    buf_clear(&h->value);
    h->field = next;
}

static void
add_value(struct header *h, struct span text)
{
    size_t room = HEADER_VALUE_MAX - buf_len(&h->value);

    if (text.n > room) {
        h->cut = true;
        text = span_head(text, room);
    }
    buf_add_span(&h->value, text);
}

/* Is text this name to a reader who leaves out what no name may hold (RFC 5322 section 3.6.8)? */
static bool
is_name(struct span text, struct span name)
{
    size_t at = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
            continue;
        if (at == name.n || ascii_lower(text.p[i]) != ascii_lower(name.p[at]))
            return false;
        at++;
    }
    return at == name.n;
}

/* Which field a line begins; *value_out is what follows the colon. A name with anything more than blanks
 * around it is crooked: some read it as another one. */
static enum header_field
name_of(struct span line, struct span *value_out, bool *crooked_out)
{
    static const struct {
        struct span name;
        enum header_field field;
    } names[] = {
        {SPAN_LIT("From"), HEADER_FROM},
        {SPAN_LIT("Sender"), HEADER_SENDER},
        {SPAN_LIT("Received"), HEADER_RECEIVED},
    };
    ptrdiff_t colon = span_find_byte(line, ':');
    struct span text;

    if (colon < 0)
        return HEADER_NONE;
    text = span_head(line, (size_t)colon);
    *value_out = span_from(line, (size_t)colon + 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_name(text, names[i].name)) {
            *crooked_out = !span_eq_nocase(span_trim(text), names[i].name);
            return names[i].field;
        }
    return HEADER_OTHER;
}

/* Does it go on with the field before, for us or for a reader who drops control bytes? */
static bool
is_folded(struct span line)
{
    for (size_t i = 0; i < line.n; i++)
        if (is_blank(line.p[i]))
            return true;
        else if ((unsigned char)line.p[i] > 0x20 && line.p[i] != 0x7f)
            return false;
    return false;
}

/* A whole line without its CRLF. */
static void
take_line(struct header *h, struct span line)
{
    struct span value = {line.p, 0};
    enum header_field field;
    bool crooked = false;

    if (line.n == 0) {
        close_field(h, HEADER_CLOSED);
        return;
    }
    if (is_folded(line)) {
        h->bad_start = h->bad_start || h->lines == 1;
        if (h->field >= HEADER_FROM)
            add_value(h, line);
        return;
    }
    field = name_of(line, &value, &crooked);
    close_field(h, field);
    h->crooked = crooked;
    if (field >= HEADER_FROM)
        add_value(h, value);
}

/* A piece of a line whose end has not come yet. What is beyond the bound is dropped: no field we read is that
 * long. */
static void
keep_partial(struct header *h, struct span piece)
{
    size_t room = LINE_KEEP_MAX - buf_len(&h->partial);

    if (piece.n > room)
        h->partial_cut = true;
    buf_add_span(&h->partial, span_head(piece, room));
}

static void
end_line(struct header *h, struct span piece)
{
    struct span line = piece;

    if (buf_len(&h->partial) > 0) {
        keep_partial(h, piece);
        line = buf_span(&h->partial);
    }
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    take_line(h, line);
    h->cut = h->cut || h->partial_cut;
    h->partial_cut = false;
    buf_clear(&h->partial);
}

void
header_feed(struct header *h, struct span wire)
{
    while (wire.n > 0 && h->field != HEADER_CLOSED && !is_over(h)) {
        const char *lf = memchr(wire.p, '\n', wire.n);
        size_t n = lf != NULL ? (size_t)(lf - wire.p) : wire.n;

        h->bytes += n + (lf != NULL);
        if (lf == NULL) {
            keep_partial(h, wire);
            return;
        }
        h->lines++;
        end_line(h, span_of(wire.p, n));
        wire = span_from(wire, n + 1);
    }
}

static enum header_status
read_authors(struct header *h, struct header_authors *out)
{
    struct header_authors sender;

    if (h->from_unread || !header_parse_authors(buf_span(&h->from), out))
        return HEADER_BAD_FROM;
    if (out->n == 1)
        return HEADER_OK;
    if (h->sender_fields != 1 || !header_parse_authors(buf_span(&h->sender), &sender)) {
        header_authors_fini(out);
        return h->sender_fields == 0 ? HEADER_NEEDS_SENDER : HEADER_BAD_SENDER;
    }
    if (sender.n != 1) {
        header_authors_fini(out);
        header_authors_fini(&sender);
        return HEADER_BAD_SENDER;
    }
    out->addresses[out->n++] = sender.addresses[0];
    return HEADER_OK;
}

enum header_status
header_end(struct header *h, struct header_authors *out)
{
    if (h->field != HEADER_CLOSED && !is_over(h))
        close_field(h, HEADER_CLOSED);
    if (is_over(h))
        return HEADER_TOO_BIG;
    if (h->bad_start)
        return HEADER_BAD_START;
    if (h->own_fields >= 2)
        return HEADER_LOOP;
    if (h->received_fields > h->limits.hops_max)
        return HEADER_HOPS;
    if (h->from_fields == 0)
        return HEADER_NO_FROM;
    if (h->from_fields > 1)
        return HEADER_MANY_FROM;
    return read_authors(h, out);
}

void
header_authors_fini(struct header_authors *a)
{
    for (size_t i = 0; i < a->n; i++)
        address_fini(&a->addresses[i]);
    a->n = 0;
}

static const struct complaint complaints[] = {
    [HEADER_OK] = {0, NULL, NULL},
    [HEADER_TOO_BIG] = {552, "5.3.4", "Message header is too large"},
    [HEADER_BAD_START] = {554, "5.6.0", "Message begins with a blank, not with a header field"},
    [HEADER_HOPS] = {554, "5.4.6",
        "Too many hops: this message has more Received fields than any path needs"},
    [HEADER_LOOP] = {554, "5.4.6", "Mail loop: this message has passed here twice already"},
    [HEADER_NO_FROM] = {550, "5.7.1", "Message has no From header; the upstream refuses such mail (5.7.512)"},
    [HEADER_MANY_FROM] = {550, "5.7.1",
        "Message has more than one From header; the upstream refuses such mail (5.7.512)"},
    [HEADER_BAD_FROM] = {550, "5.7.1",
        "From header must hold an address like Name <user@example.com> (RFC 5322 section 3.6.2)"},
    [HEADER_NEEDS_SENDER] = {550, "5.7.1",
        "From header has several addresses and there is no Sender header; the upstream refuses such mail "
        "(5.1.20)"},
    [HEADER_BAD_SENDER] = {550, "5.7.1",
        "Sender header must hold exactly one address (RFC 5322 section 3.6.2)"},
};
static_assert(sizeof complaints / sizeof complaints[0] == HEADER_STATUS_COUNT, "a reply for each status");

const struct complaint *
header_complaint(enum header_status status)
{
    return status == HEADER_OK ? NULL : &complaints[status];
}
