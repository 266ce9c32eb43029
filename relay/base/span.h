/* span: a read-only slice of bytes, {pointer, length}, never assumed to end in NUL.
 *
 * Parsers take and give spans into memory that somebody else owns; a span is valid as long as
 * that memory is. Nothing here allocates.
 */
#ifndef SENDGOV_BASE_SPAN_H
#define SENDGOV_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *p;
    size_t n;
};

/* The literal's bytes, without its NUL. */
#define SPAN_LIT(s) ((struct span){(s), sizeof(s) - 1})
/* For printf's "%.*s". */
#define SPAN_FMT(s) (int)(s).n, (s).p

static inline struct span
span_of(const char *p, size_t n)
{
    return (struct span){p, n};
}

/* The bytes of a NUL-terminated string; NULL gives the empty span. */
static inline struct span
span_str(const char *s)
{
    return (struct span){s, s ? strlen(s) : 0};
}

/* The part from offset on; the empty span when offset is past the end. */
static inline struct span
span_from(struct span s, size_t offset)
{
    return offset >= s.n ? (struct span){s.p + s.n, 0} : (struct span){s.p + offset, s.n - offset};
}

static inline struct span
span_head(struct span s, size_t n)
{
    return (struct span){s.p, n < s.n ? n : s.n};
}

bool span_eq(struct span a, struct span b);
/* ASCII case folding only. */
bool span_eq_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span s, struct span prefix);
bool span_ends_nocase(struct span s, struct span suffix);
/* Where needle first occurs in s, or -1. ASCII case folding. */
ptrdiff_t span_find_nocase(struct span s, struct span needle);
/* Where byte c first occurs, or -1. */
ptrdiff_t span_find_byte(struct span s, char c);
/* Takes exactly n decimal digits (at most 9) off the front; false: they are not there, *s is as it was. */
bool span_take_digits(struct span *s, size_t n, unsigned *out);
/* The same of one byte. */
bool span_take_byte(struct span *s, char c);
/* Without leading and trailing spaces, tabs, CR and LF. */
struct span span_trim(struct span s);
/* Cuts s at the first byte c: *head_out is what was before it, the rest (after c) is returned.
 * Without c, *head_out is all of s and the rest is empty. */
struct span span_cut(struct span s, char c, struct span *head_out);
/* Decimal, all of s, no sign, no blanks; false on anything else or overflow. */
bool span_to_u64(struct span s, uint64_t *value_out);

#endif
