#include "relay/base/span.h"

#include "relay/base/ascii.h"

static bool
same_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

bool
span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
span_eq_nocase(struct span a, struct span b)
{
    return a.n == b.n && same_nocase(a.p, b.p, a.n);
}

bool
span_starts_nocase(struct span s, struct span prefix)
{
    return s.n >= prefix.n && same_nocase(s.p, prefix.p, prefix.n);
}

bool
span_ends_nocase(struct span s, struct span suffix)
{
    return s.n >= suffix.n && (suffix.n == 0 || same_nocase(s.p + (s.n - suffix.n), suffix.p, suffix.n));
}

ptrdiff_t
span_find_nocase(struct span s, struct span needle)
{
    if (needle.n == 0)
        return 0;
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (same_nocase(s.p + i, needle.p, needle.n))
            return (ptrdiff_t)i;
    return -1;
}

ptrdiff_t
span_find_byte(struct span s, char c)
{
    const char *hit = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return hit ? hit - s.p : -1;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span
span_trim(struct span s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = (struct span){s.p + 1, s.n - 1};
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct span
span_cut(struct span s, char c, struct span *head_out)
{
    ptrdiff_t at = span_find_byte(s, c);

    if (at < 0) {
        *head_out = s;
        return (struct span){s.p ? s.p + s.n : NULL, 0};
    }
    *head_out = span_head(s, (size_t)at);
    return span_from(s, (size_t)at + 1);
}

bool
span_take_digits(struct span *s, size_t n, unsigned *out)
{
    *out = 0;
    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        *out = *out * 10 + (unsigned)(s->p[i] - '0');
    }
    *s = span_from(*s, n);
    return true;
}

bool
span_take_byte(struct span *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = span_from(*s, 1);
    return true;
}

bool
span_to_u64(struct span s, uint64_t *value_out)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    *value_out = value;
    return true;
}
