#include "relay/smtp/body_lines.h"

#ifdef __SSE2__

#include <emmintrin.h>

#define BLOCK 64

struct marks {
    uint64_t cr, lf; /* one bit a byte of a block, the first byte in the lowest */
    __m128i any;     /* every bit that any byte has */
};

static inline uint64_t
where(__m128i bytes, char c, int shift)
{
    return (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))) << shift;
}

static inline struct marks
mark(const char *p)
{
    const __m128i *block = (const void *)p;
    __m128i a = _mm_loadu_si128(block), b = _mm_loadu_si128(block + 1), c = _mm_loadu_si128(block + 2),
            d = _mm_loadu_si128(block + 3);

    return (struct marks){
        .cr = where(a, '\r', 0) | where(b, '\r', 16) | where(c, '\r', 32) | where(d, '\r', 48),
        .lf = where(a, '\n', 0) | where(b, '\n', 16) | where(c, '\n', 32) | where(d, '\n', 48),
        .any = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)),
    };
}

/* lf: where lines end in the block at offset `at`. False when the line behind one of them begins with a
 * dot, or when it is not known whether it does. */
static inline bool
end_lines(struct body_lines *l, struct span in, size_t at, uint64_t lf)
{
    for (; lf != 0; lf &= lf - 1) {
        size_t end = at + (size_t)__builtin_ctzll(lf) + 1, length = end - l->bytes - 2;

        if (length > l->longest)
            l->longest = length;
        l->lines++;
        l->bytes = end;
        if (end == in.n || in.p[end] == '.')
            return false;
    }
    return true;
}

struct body_lines
body_lines_measure(struct span in)
{
    struct body_lines l = {0, 0, 0, 0, false};
    __m128i any = _mm_setzero_si128();
    uint64_t after_cr = 0; /* is the first byte of the block behind a CR? */

    if (in.n == 0 || in.p[0] == '.')
        return l;
    while (in.n - l.measured >= BLOCK) {
        struct marks m = mark(in.p + l.measured);

        if ((m.cr << 1 | after_cr) != m.lf || !end_lines(&l, in, l.measured, m.lf))
            break;
        any = _mm_or_si128(any, m.any);
        after_cr = m.cr >> 63;
        l.measured += BLOCK;
    }
    l.eightbit = _mm_movemask_epi8(any) != 0;
    return l;
}

#else

struct body_lines
body_lines_measure(struct span in)
{
    (void)in;
    return (struct body_lines){0, 0, 0, 0, false};
}

#endif
