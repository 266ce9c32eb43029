/* The author fields (RFC 5322 section 3.4):
 *
 *     mailbox-list = mailbox *("," mailbox)       mailbox = [display-name] "<" addr-spec ">" / addr-spec
 *
 * with comments and folding between any two tokens. Refused is what two readers may understand differently:
 * groups, control bytes anywhere, a backslash outside quotes and comments, blanks inside an address, a
 * display name that holds another address unquoted. */
#include "relay/smtp/header.h"

#define ADDR_MAX (ADDRESS_LOCAL_MAX * 2 + ADDRESS_DOMAIN_MAX + 8)

enum place { BEFORE_ANGLE, IN_ANGLE, AFTER_ANGLE };

/* One mailbox while it is read. Blanks and comments are left out of both texts; `gap` says that there was one
 * since the last byte. */
struct draft {
    char phrase[ADDR_MAX]; /* display name, or the address when there are no angle brackets */
    size_t phrase_n;
    bool phrase_gap; /* a blank between two words: fine in a name, not in an address */
    bool phrase_at;  /* an unquoted @ */
    bool phrase_cut;
    char angle[ADDR_MAX];
    size_t angle_n;
    enum place place;
    bool gap;
};

struct reader {
    const char *p, *end;
};

static bool
is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* p is at "(": past the comment, nested ones included. */
static bool
skip_comment(struct reader *r)
{
    unsigned depth = 0;

    for (; r->p < r->end; r->p++) {
        bool escaped = *r->p == '\\' && r->p + 1 < r->end;

        r->p += escaped;
        if (is_control(*r->p))
            return false;
        if (escaped)
            continue;
        if (*r->p == '(')
            depth++;
        else if (*r->p == ')' && --depth == 0) {
            r->p++;
            return true;
        }
    }
    return false;
}

/* A dot or @ may have blanks and comments around it (obs-local-part); two words may not run together. */
static bool
joins(char before, char after)
{
    return before == '.' || before == '@' || after == '.' || after == '@';
}

static bool
put(struct draft *d, char c, bool quoted)
{
    char *text = d->place == IN_ANGLE ? d->angle : d->phrase;
    size_t *n = d->place == IN_ANGLE ? &d->angle_n : &d->phrase_n;
    bool apart = d->gap && *n > 0 && !joins(text[*n - 1], c);

    d->gap = false;
    if (d->place == AFTER_ANGLE || (d->place == IN_ANGLE && apart))
        return false;
    if (d->place == BEFORE_ANGLE) {
        d->phrase_gap = d->phrase_gap || apart;
        d->phrase_at = d->phrase_at || (c == '@' && !quoted);
    }
    if (*n == ADDR_MAX) {
        d->phrase_cut = true;
        return d->place == BEFORE_ANGLE; /* a long display name is none of our business */
    }
    text[(*n)++] = c;
    return true;
}

/* p is at the opening quote. The quotes are kept: address_parse_plain knows what to do with them. */
static bool
take_quoted(struct reader *r, struct draft *d)
{
    if (!put(d, *r->p++, true))
        return false;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p == '\\' && r->p + 1 < r->end && !put(d, *r->p++, true))
            return false;
        if (is_control(*r->p) || !put(d, *r->p++, true))
            return false;
    }
    return r->p < r->end && put(d, *r->p++, true);
}

static bool
take_token(struct reader *r, struct draft *d)
{
    char c = *r->p;

    if (c == ' ' || c == '\t') {
        d->gap = true;
        r->p++;
        return true;
    }
    if (c == '(') {
        d->gap = true;
        return skip_comment(r);
    }
    if (c == '"')
        return take_quoted(r, d);
    r->p++;
    if (c == '<' && d->place == BEFORE_ANGLE) {
        d->place = IN_ANGLE;
        d->gap = false;
    } else if (c == '>' && d->place == IN_ANGLE)
        d->place = AFTER_ANGLE;
    else if (strchr("<>:;)\\", c) != NULL || is_control(c))
        return false; /* strchr also finds NUL */
    else
        return put(d, c, false);
    return true;
}

static bool
add(struct header_authors *out, struct address *a)
{
    if (out->n == HEADER_FROM_MAX) {
        address_fini(a);
        return false;
    }
    out->addresses[out->n++] = *a;
    return true;
}

/* A display name like `boss@contoso.com <boss@contoso.com>` is common though it should be quoted; it must
 * not name somebody else. */
static bool
is_harmless_phrase(const struct draft *d, const struct address *a)
{
    struct address named;
    bool same;

    if (!d->phrase_at)
        return true;
    if (d->phrase_gap || d->phrase_cut ||
        address_parse_plain(span_of(d->phrase, d->phrase_n), &named) != ADDRESS_OK)
        return false;
    same = span_eq_nocase(span_str(named.text), span_str(a->text));
    address_fini(&named);
    return same;
}

static bool
finish(const struct draft *d, struct header_authors *out)
{
    struct address a;

    if (d->place == BEFORE_ANGLE && d->phrase_n == 0)
        return true; /* ",," of old mailers */
    if (d->place == BEFORE_ANGLE) {
        if (d->phrase_gap || d->phrase_cut ||
            address_parse_plain(span_of(d->phrase, d->phrase_n), &a) != ADDRESS_OK)
            return false;
        return add(out, &a);
    }
    if (d->place != AFTER_ANGLE || address_parse_plain(span_of(d->angle, d->angle_n), &a) != ADDRESS_OK)
        return false;
    if (!is_harmless_phrase(d, &a)) {
        address_fini(&a);
        return false;
    }
    return add(out, &a);
}

static bool
read_all(struct reader *r, struct header_authors *out)
{
    while (r->p < r->end) {
        struct draft d;

        d.phrase_n = d.angle_n = 0;
        d.phrase_gap = d.phrase_at = d.phrase_cut = d.gap = false;
        d.place = BEFORE_ANGLE;
        while (r->p < r->end && (*r->p != ',' || d.place == IN_ANGLE))
            if (!take_token(r, &d))
                return false;
        if (!finish(&d, out))
            return false;
        if (r->p < r->end)
            r->p++; /* the comma */
    }
    return out->n > 0;
}

bool
header_parse_authors(struct span value, struct header_authors *out)
{
    struct reader r = {value.p, value.p + value.n};

    out->n = 0;
    if (read_all(&r, out))
        return true;
    header_authors_fini(out);
    return false;
}
