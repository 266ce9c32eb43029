/* ehlo-line = ehlo-keyword *( SP ehlo-param )   (RFC 5321 section 4.1.1.1), keywords in any case. */
#include "relay/smtp/ehlo.h"

void
ehlo_init(struct ehlo *e)
{
    *e = (struct ehlo){0};
}

/* The next word of *rest, empty at the end. */
static struct span
next_word(struct span *rest)
{
    struct span word;

    *rest = span_trim(*rest);
    *rest = span_cut(*rest, ' ', &word);
    return word;
}

static void
add_mechanism(struct ehlo *e, struct span name)
{
    if (span_eq_nocase(name, SPAN_LIT("PLAIN")))
        e->auth_plain = true;
    else if (span_eq_nocase(name, SPAN_LIT("LOGIN")))
        e->auth_login = true;
}

static void
add_mechanisms(struct ehlo *e, struct span rest)
{
    struct span name = next_word(&rest);

    while (name.n > 0) {
        add_mechanism(e, name);
        name = next_word(&rest);
    }
}

/* A SIZE that is no number states no limit; one too large to count is none either. */
static void
set_size(struct ehlo *e, struct span param)
{
    e->size = true;
    if (!span_to_u64(param, &e->size_max))
        e->size_max = 0;
}

void
ehlo_add_line(struct ehlo *e, struct span line)
{
    struct span rest = line;
    struct span keyword = next_word(&rest);

    if (span_eq_nocase(keyword, SPAN_LIT("SIZE")))
        set_size(e, next_word(&rest));
    else if (span_eq_nocase(keyword, SPAN_LIT("PIPELINING")))
        e->pipelining = true;
    else if (span_eq_nocase(keyword, SPAN_LIT("8BITMIME")))
        e->eightbitmime = true;
    else if (span_eq_nocase(keyword, SPAN_LIT("STARTTLS")))
        e->starttls = true;
    else if (span_eq_nocase(keyword, SPAN_LIT("DSN")))
        e->dsn = true;
    else if (span_eq_nocase(keyword, SPAN_LIT("AUTH")))
        add_mechanisms(e, rest);
    else if (span_starts_nocase(keyword, SPAN_LIT("AUTH="))) {
        add_mechanism(e, span_from(keyword, 5));
        add_mechanisms(e, rest);
    }
}
