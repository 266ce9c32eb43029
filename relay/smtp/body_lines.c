#include "relay/smtp/body_lines.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define BLOCK 64

struct marks {
    uint64_t cr, lf; /* one bit a byte of a block, the first byte in the lowest */
    bool eightbit;
};

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

/* after_cr: is the first byte of the block behind a CR? False when the run ends in this block. */
static inline bool
pass_block(struct body_lines *l, struct span in, struct marks m, uint64_t *after_cr)
{
    if ((m.cr << 1 | *after_cr) != m.lf || !end_lines(l, in, l->measured, m.lf))
        return false;
    *after_cr = m.cr >> 63;
    l->eightbit = l->eightbit || m.eightbit;
    l->measured += BLOCK;
    return true;
}

static inline uint64_t
where_16(__m128i bytes, char c, int shift)
{
    return (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))) << shift;
}

static inline struct marks
mark_sse2(const char *p)
{
    const __m128i *block = (const void *)p;
    __m128i a = _mm_loadu_si128(block), b = _mm_loadu_si128(block + 1), c = _mm_loadu_si128(block + 2),
            d = _mm_loadu_si128(block + 3);

    return (struct marks){
        .cr = where_16(a, '\r', 0) | where_16(b, '\r', 16) | where_16(c, '\r', 32) | where_16(d, '\r', 48),
        .lf = where_16(a, '\n', 0) | where_16(b, '\n', 16) | where_16(c, '\n', 32) | where_16(d, '\n', 48),
        .eightbit = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) != 0,
    };
}

static void
measure_sse2(struct body_lines *l, struct span in)
{
    uint64_t after_cr = 0;

    while (in.n - l->measured >= BLOCK && pass_block(l, in, mark_sse2(in.p + l->measured), &after_cr))
        ;
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline uint64_t
where_32(__m256i bytes, char c)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)));
}

AVX2 static inline struct marks
mark_avx2(const char *p)
{
    const __m256i *block = (const void *)p;
    __m256i a = _mm256_loadu_si256(block), b = _mm256_loadu_si256(block + 1);

    return (struct marks){
        .cr = where_32(a, '\r') | where_32(b, '\r') << 32,
        .lf = where_32(a, '\n') | where_32(b, '\n') << 32,
        .eightbit = _mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0,
    };
}

AVX2 static void
measure_avx2(struct body_lines *l, struct span in)
{
    uint64_t after_cr = 0;

    while (in.n - l->measured >= BLOCK && pass_block(l, in, mark_avx2(in.p + l->measured), &after_cr))
        ;
}

static bool
begins_ordinary(struct span in)
{
    return in.n > 0 && in.p[0] != '.';
}

struct body_lines
body_lines_measure_old(struct span in)
{
    struct body_lines l = {0, 0, 0, 0, false};

    if (begins_ordinary(in))
        measure_sse2(&l, in);
    return l;
}

struct body_lines
body_lines_measure(struct span in)
{
    struct body_lines l = {0, 0, 0, 0, false};

    if (!__builtin_cpu_supports("avx2"))
        return body_lines_measure_old(in);
    if (begins_ordinary(in))
        measure_avx2(&l, in);
    return l;
}

#else

struct body_lines
body_lines_measure_old(struct span in)
{
    (void)in;
    return (struct body_lines){0, 0, 0, 0, false};
}

struct body_lines
body_lines_measure(struct span in)
{
    return body_lines_measure_old(in);
}

#endif
