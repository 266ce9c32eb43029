#include "relay/smtp/xtext.h"

#include "relay/base/ascii.h"

static bool
is_hex(char c)
{
    return ascii_is_digit(c) || (c >= 'A' && c <= 'F');
}

static unsigned
hex_value(char c)
{
    return ascii_is_digit(c) ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10;
}

/* Takes one byte off the front of s; false where s does not begin with one. */
static bool
next_byte(struct span *s, unsigned *byte_out)
{
    char c = s->p[0];

    if (c < 33 || c > 126 || c == '=')
        return false;
    if (c != '+') {
        *byte_out = (unsigned char)c;
        *s = span_from(*s, 1);
        return true;
    }
    if (s->n < 3 || !is_hex(s->p[1]) || !is_hex(s->p[2]))
        return false;
    *byte_out = hex_value(s->p[1]) << 4 | hex_value(s->p[2]);
    *s = span_from(*s, 3);
    return true;
}

bool
xtext_is(struct span s)
{
    bool empty = s.n == 0;
    unsigned byte;

    while (s.n > 0)
        if (!next_byte(&s, &byte))
            return false;
    return !empty;
}

bool
xtext_is_printable(struct span s)
{
    bool empty = s.n == 0;
    unsigned byte;

    while (s.n > 0)
        if (!next_byte(&s, &byte) || byte < 32 || byte > 126)
            return false;
    return !empty;
}

void
xtext_decode(struct span s, struct buf *out)
{
    unsigned byte;

    while (s.n > 0 && next_byte(&s, &byte)) {
        char c = (char)byte;

        buf_add(out, &c, 1);
    }
}
