/* address: the path of MAIL and RCPT, parsed once into a canonical form (RFC 5321 section 4.1.2).
 *
 * Everything after the parser decides on the canonical form and sends it again from that form, so
 * that no byte of the client's spelling reaches the upstream: domain in lower case without a trailing dot,
 * local part unquoted where it needs no quotes. Source routes, address literals, control bytes, 8-bit bytes
 * and angle brackets between quotes are refused. */
#ifndef SENDGOV_SMTP_ADDRESS_H
#define SENDGOV_SMTP_ADDRESS_H

#include <stdbool.h>

#include "relay/base/span.h"

#define ADDRESS_LOCAL_MAX 64   /* RFC 5321 section 4.5.3.1.1 */
#define ADDRESS_DOMAIN_MAX 255 /* section 4.5.3.1.2 */
#define ADDRESS_TEXT_MAX 254   /* section 4.5.3.1.3: a path of 256 with its brackets */

struct address {
    char *text;         /* canonical "local@domain"; "" is the null sender. Owned */
    uint16_t domain_at; /* offset of the domain in text; 0 for the null sender */
};

enum address_status {
    ADDRESS_OK,
    ADDRESS_BAD_SYNTAX,    /* 501 5.1.7 / 5.1.3 */
    ADDRESS_NO_DOMAIN,     /* "a": no domain where one is needed */
    ADDRESS_LITERAL,       /* "a@[192.0.2.1]", "a@192.0.2.1": not relayed */
    ADDRESS_ROUTE,         /* "@relay:a@b": a source route is a relay trick, nobody else uses it any more */
    ADDRESS_NEEDS_UTF8,    /* 553 5.6.7 */
    ADDRESS_TOO_LONG,
};

/* Parses "<...>" at the start of in ("<>" only when null_ok). *used_out: bytes of in that are the
 * path. */
enum address_status address_parse_path(struct span in, bool null_ok, struct address *address_out,
    size_t *used_out);
/* Parses a bare "local@domain" of a configuration, a header or a command line; all of in. */
enum address_status address_parse_plain(struct span in, struct address *address_out);
/* The null sender. */
void address_init(struct address *a);
void address_fini(struct address *a);
void address_copy(const struct address *from, struct address *to_out);

static inline bool
address_is_null(const struct address *a)
{
    return a->text[0] == '\0';
}

/* Empty for the null sender. Quoted where it must be. */
static inline struct span
address_local(const struct address *a)
{
    return span_of(a->text, a->domain_at ? a->domain_at - 1u : 0);
}

/* Empty for the null sender. */
static inline struct span
address_domain(const struct address *a)
{
    return span_str(a->text + a->domain_at);
}

#endif
