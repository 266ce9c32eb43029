#include "relay/smtp/address.h"

#include <stdlib.h>

#include "relay/base/ascii.h"
#include "relay/base/xmalloc.h"

/* RFC 5321 section 4.1.2. A local part of ADDRESS_LOCAL_MAX content bytes may double when quoted. */
#define LOCAL_TEXT_MAX (2 * ADDRESS_LOCAL_MAX + 2)
#define LABEL_MAX 63 /* RFC 1035 section 2.3.4 */

struct cursor {
    const char *p, *end;
};

/* A mailbox as it is being put together. */
struct mailbox {
    char local[LOCAL_TEXT_MAX];
    size_t local_n;
    char domain[ADDRESS_DOMAIN_MAX];
    size_t domain_n;
};

static bool
at_byte(const struct cursor *c, char byte)
{
    return c->p < c->end && *c->p == byte;
}

static bool
is_atext(unsigned char b)
{
    return ascii_is_alnum((char)b) || (b != 0 && strchr("!#$%&'*+-/=?^_`{|}~", b) != NULL);
}

/* What is wrong with the byte the parser stopped at. */
static enum address_status
why_stopped(const struct cursor *c)
{
    return c->p < c->end && (unsigned char)*c->p >= 0x80 ? ADDRESS_NEEDS_UTF8 : ADDRESS_BAD_SYNTAX;
}

static bool
is_dot_string(const char *p, size_t n)
{
    if (n == 0 || p[0] == '.' || p[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (p[i] == '.' ? p[i + 1] == '.' : !is_atext((unsigned char)p[i]))
            return false;
    return true;
}

static enum address_status
scan_dot_string(struct cursor *c, char *content, size_t *n_out)
{
    size_t n = 0;

    for (; c->p < c->end && (is_atext((unsigned char)*c->p) || *c->p == '.'); c->p++) {
        if (n == ADDRESS_LOCAL_MAX)
            return ADDRESS_TOO_LONG;
        content[n++] = *c->p;
    }
    if (n == 0)
        return why_stopped(c);
    *n_out = n;
    content[n] = '\0';
    return is_dot_string(content, n) ? ADDRESS_OK : ADDRESS_BAD_SYNTAX;
}

/* RFC 5321 allows angle brackets between quotes. An upstream that ends a path at the first ">" would read
 * another address and, behind it, parameters; nobody has such a mailbox. */
static bool
may_be_quoted(unsigned char b)
{
    return b >= 0x20 && b < 0x7f && b != '<' && b != '>';
}

static enum address_status
scan_quoted_string(struct cursor *c, char *content, size_t *n_out)
{
    size_t n = 0;

    for (c->p++; c->p < c->end && *c->p != '"'; c->p++) {
        if (*c->p == '\\')
            c->p++;
        if (c->p == c->end || !may_be_quoted((unsigned char)*c->p))
            return why_stopped(c);
        if (n == ADDRESS_LOCAL_MAX)
            return ADDRESS_TOO_LONG;
        content[n++] = *c->p;
    }
    if (c->p == c->end)
        return ADDRESS_BAD_SYNTAX;
    c->p++;
    content[n] = '\0';
    *n_out = n;
    return ADDRESS_OK;
}

static void
write_local(struct mailbox *m, const char *content, size_t n)
{
    bool quoted = !is_dot_string(content, n);

    m->local_n = 0;
    if (quoted)
        m->local[m->local_n++] = '"';
    for (size_t i = 0; i < n; i++) {
        if (content[i] == '"' || content[i] == '\\')
            m->local[m->local_n++] = '\\';
        m->local[m->local_n++] = content[i];
    }
    if (quoted)
        m->local[m->local_n++] = '"';
}

static enum address_status
parse_local(struct cursor *c, struct mailbox *m)
{
    char content[ADDRESS_LOCAL_MAX + 1];
    size_t n = 0;
    enum address_status status =
        at_byte(c, '"') ? scan_quoted_string(c, content, &n) : scan_dot_string(c, content, &n);

    if (status == ADDRESS_OK)
        write_local(m, content, n);
    return status;
}

static bool
is_number(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return n > 0;
}

/* Underscores are no host names, but mail domains with them exist and harm nobody. */
static enum address_status
check_labels(const struct mailbox *m)
{
    struct span label, rest = span_of(m->domain, m->domain_n);

    do {
        rest = span_cut(rest, '.', &label);
        if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return ADDRESS_BAD_SYNTAX;
    } while (rest.n > 0);
    if (m->domain[m->domain_n - 1] == '.')
        return ADDRESS_BAD_SYNTAX;
    return is_number(label.p, label.n) ? ADDRESS_LITERAL : ADDRESS_OK;
}

static enum address_status
parse_domain(struct cursor *c, struct mailbox *m)
{
    if (at_byte(c, '['))
        return ADDRESS_LITERAL;
    m->domain_n = 0;
    for (; c->p < c->end; c->p++) {
        unsigned char b = (unsigned char)*c->p;

        if (!ascii_is_alnum((char)b) && b != '-' && b != '.' && b != '_')
            break;
        if (m->domain_n == ADDRESS_DOMAIN_MAX)
            return ADDRESS_TOO_LONG;
        m->domain[m->domain_n++] = ascii_lower((char)b);
    }
    if (m->domain_n > 1 && m->domain[m->domain_n - 1] == '.')
        m->domain_n--;
    return m->domain_n == 0 ? why_stopped(c) : check_labels(m);
}

static enum address_status
parse_mailbox(struct cursor *c, struct mailbox *m)
{
    enum address_status status;

    if (at_byte(c, '@'))
        return ADDRESS_ROUTE;
    status = parse_local(c, m);
    if (status != ADDRESS_OK)
        return status;
    if (!at_byte(c, '@'))
        return c->p == c->end || *c->p == '>' ? ADDRESS_NO_DOMAIN : why_stopped(c);
    c->p++;
    status = parse_domain(c, m);
    if (status == ADDRESS_OK && m->local_n + 1 + m->domain_n > ADDRESS_TEXT_MAX)
        return ADDRESS_TOO_LONG;
    return status;
}

static void
store(const struct mailbox *m, struct address *out)
{
    out->text = xmalloc(m->local_n + 1 + m->domain_n + 1);
    memcpy(out->text, m->local, m->local_n);
    out->text[m->local_n] = '@';
    memcpy(out->text + m->local_n + 1, m->domain, m->domain_n);
    out->text[m->local_n + 1 + m->domain_n] = '\0';
    out->domain_at = (uint16_t)(m->local_n + 1);
}

enum address_status
address_parse_path(struct span in, bool null_ok, struct address *address_out, size_t *used_out)
{
    struct cursor c = {in.p, in.p + in.n};
    struct mailbox m;
    enum address_status status;

    *used_out = 0;
    if (!at_byte(&c, '<'))
        return why_stopped(&c);
    c.p++;
    if (null_ok && at_byte(&c, '>')) {
        address_init(address_out);
        *used_out = 2;
        return ADDRESS_OK;
    }
    status = parse_mailbox(&c, &m);
    if (status != ADDRESS_OK)
        return status;
    if (!at_byte(&c, '>'))
        return why_stopped(&c);
    *used_out = (size_t)(c.p + 1 - in.p);
    store(&m, address_out);
    return ADDRESS_OK;
}

enum address_status
address_parse_plain(struct span in, struct address *address_out)
{
    struct cursor c = {in.p, in.p + in.n};
    struct mailbox m;
    enum address_status status = parse_mailbox(&c, &m);

    if (status != ADDRESS_OK)
        return status;
    if (c.p != c.end)
        return why_stopped(&c);
    store(&m, address_out);
    return ADDRESS_OK;
}

void
address_init(struct address *a)
{
    a->text = xstrdup("");
    a->domain_at = 0;
}

void
address_fini(struct address *a)
{
    free(a->text);
    a->text = NULL;
    a->domain_at = 0;
}

void
address_copy(const struct address *from, struct address *to_out)
{
    to_out->text = xstrdup(from->text);
    to_out->domain_at = from->domain_at;
}
