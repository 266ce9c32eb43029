#include "relay/base/text.h"

static bool
is_tail(struct span s, size_t i)
{
    return i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80;
}

/* By the first byte; 0 for one that begins no sequence. */
static size_t
sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if ((first & 0xe0) == 0xc0)
        return 2;
    if ((first & 0xf0) == 0xe0)
        return 3;
    return (first & 0xf8) == 0xf0 ? 4 : 0;
}

size_t
text_decode_utf8(struct span s, uint32_t *codepoint_out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = s.n > 0 ? (unsigned char)s.p[0] : 0xff;
    size_t len = sequence_length(first);
    uint32_t cp;

    if (len == 0)
        return 0;
    cp = len == 1 ? first : first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (!is_tail(s, i))
            return 0;
        cp = cp << 6 | ((unsigned char)s.p[i] & 0x3f);
    }
    if (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    *codepoint_out = cp;
    return len;
}

struct span
text_head_utf8(struct span s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s;
    /* At most three steps back: more continuation bytes are no UTF-8 and are escaped one by one anyway. */
    while (n > 0 && max - n < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return span_head(s, n);
}

/* Shown as they are: neither controls (C0, DEL, C1), nor line separators, nor direction marks, nor BOM. */
static bool
is_plain(uint32_t cp)
{
    if (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0xfeff)
        return false;
    if (cp == 0x061c || cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e))
        return false;
    return cp < 0x2066 || cp > 0x2069;
}

static void
add_escaped(struct buf *out, uint32_t cp)
{
    switch (cp) {
    case '\n':
        buf_add_str(out, "\\n");
        break;
    case '\r':
        buf_add_str(out, "\\r");
        break;
    case '\t':
        buf_add_str(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", (unsigned)cp);
        break;
    }
}

void
text_add_json(struct buf *out, struct span s)
{
    while (s.n > 0) {
        uint32_t cp;
        size_t len = text_decode_utf8(s, &cp);

        if (len == 0) {
            buf_printf(out, "\\\\x%02x", (unsigned)(unsigned char)s.p[0]);
            len = 1;
        } else if (cp == '"' || cp == '\\') {
            buf_add(out, "\\", 1);
            buf_add(out, s.p, 1);
        } else if (is_plain(cp)) {
            buf_add(out, s.p, len);
        } else {
            add_escaped(out, cp);
        }
        s = span_from(s, len);
    }
}
