#include "relay/smtp/command.h"

#include <stdlib.h>

#include "relay/base/ascii.h"
#include "relay/smtp/param.h"

static const struct {
    struct span name;
    enum command_verb verb;
} verbs[] = {
    {SPAN_LIT("EHLO"), COMMAND_EHLO},
    {SPAN_LIT("MAIL"), COMMAND_MAIL},
    {SPAN_LIT("RCPT"), COMMAND_RCPT},
    {SPAN_LIT("DATA"), COMMAND_DATA},
    {SPAN_LIT("QUIT"), COMMAND_QUIT},
    {SPAN_LIT("RSET"), COMMAND_RSET},
    {SPAN_LIT("STARTTLS"), COMMAND_STARTTLS},
    {SPAN_LIT("AUTH"), COMMAND_AUTH},
    {SPAN_LIT("HELO"), COMMAND_HELO},
    {SPAN_LIT("NOOP"), COMMAND_NOOP},
    {SPAN_LIT("HELP"), COMMAND_HELP},
    {SPAN_LIT("VRFY"), COMMAND_VRFY},
    {SPAN_LIT("BDAT"), COMMAND_BDAT},
    {SPAN_LIT("EXPN"), COMMAND_KNOWN},
    {SPAN_LIT("ETRN"), COMMAND_KNOWN},
    {SPAN_LIT("TURN"), COMMAND_KNOWN},
    {SPAN_LIT("ATRN"), COMMAND_KNOWN},
    {SPAN_LIT("SEND"), COMMAND_KNOWN},
    {SPAN_LIT("SOML"), COMMAND_KNOWN},
    {SPAN_LIT("SAML"), COMMAND_KNOWN},
    {SPAN_LIT("BURL"), COMMAND_KNOWN},
    {SPAN_LIT("XCLIENT"), COMMAND_KNOWN},
    {SPAN_LIT("XFORWARD"), COMMAND_KNOWN},
    {SPAN_LIT("GET"), COMMAND_STRANGER},
    {SPAN_LIT("POST"), COMMAND_STRANGER},
    {SPAN_LIT("HEAD"), COMMAND_STRANGER},
    {SPAN_LIT("PUT"), COMMAND_STRANGER},
    {SPAN_LIT("DELETE"), COMMAND_STRANGER},
    {SPAN_LIT("PATCH"), COMMAND_STRANGER},
    {SPAN_LIT("TRACE"), COMMAND_STRANGER},
    {SPAN_LIT("OPTIONS"), COMMAND_STRANGER},
    {SPAN_LIT("CONNECT"), COMMAND_STRANGER},
    {SPAN_LIT("HOST:"), COMMAND_STRANGER},
    {SPAN_LIT("USER-AGENT:"), COMMAND_STRANGER},
};

void
command_parse(struct span line, struct command *out)
{
    struct span word;

    out->args = span_trim(span_cut(line, ' ', &word));
    out->verb = COMMAND_UNKNOWN;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (span_eq_nocase(word, verbs[i].name)) {
            out->verb = verbs[i].verb;
            return;
        }
}

bool
command_is_stranger(struct span start)
{
    unsigned char first = start.n > 0 ? (unsigned char)start.p[0] : 'A';

    if (span_starts_nocase(start, SPAN_LIT("SSH-")))
        return true;
    /* Blank lines and blanks come from people who type; other control and 8-bit bytes from nobody who speaks
     * SMTP. */
    return (first < 0x20 && first != '\r' && first != '\n' && first != '\t') || first >= 0x7f;
}

bool
command_is_helo_name(struct span name)
{
    if (name.n == 0 || name.n > ADDRESS_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!ascii_is_alnum(c) && memchr("._-:[]", c, 6) == NULL)
            return false;
    }
    return true;
}

/* ---- MAIL and RCPT ---- */

static const struct complaint no_from = {501, "5.5.4", "The form is MAIL FROM:<address>"};
static const struct complaint no_to = {501, "5.5.4", "The form is RCPT TO:<address>"};
static const struct complaint sender_syntax = {501, "5.1.7", "Bad sender address syntax"};
static const struct complaint recipient_syntax = {501, "5.1.3", "Bad recipient address syntax"};
static const struct complaint sender_no_domain = {553, "5.1.7", "Sender address needs a domain"};
static const struct complaint recipient_no_domain = {553, "5.1.3", "Recipient address needs a domain"};
static const struct complaint sender_long = {501, "5.1.7", "Sender address is too long"};
static const struct complaint recipient_long = {501, "5.1.3", "Recipient address is too long"};
static const struct complaint sender_literal = {
    550, "5.7.1", "Sender domain must be a registered name, not an IP address"};
static const struct complaint recipient_literal = {550, "5.7.1", "Mail to an IP address is not relayed"};
static const struct complaint route_refused = {550, "5.7.1", "Source routes are not relayed"};
static const struct complaint needs_utf8 = {
    553, "5.6.7", "Addresses beyond ASCII (SMTPUTF8) are not supported"};

static const struct complaint *
complain_address(enum address_status status, bool is_sender)
{
    switch (status) {
    case ADDRESS_OK:
        return NULL;
    case ADDRESS_BAD_SYNTAX:
        return is_sender ? &sender_syntax : &recipient_syntax;
    case ADDRESS_NO_DOMAIN:
        return is_sender ? &sender_no_domain : &recipient_no_domain;
    case ADDRESS_LITERAL:
        return is_sender ? &sender_literal : &recipient_literal;
    case ADDRESS_ROUTE:
        return &route_refused;
    case ADDRESS_NEEDS_UTF8:
        return &needs_utf8;
    case ADDRESS_TOO_LONG:
        return is_sender ? &sender_long : &recipient_long;
    }
    return is_sender ? &sender_syntax : &recipient_syntax;
}

/* "FROM:<path>": *rest_out is what follows the path. */
static const struct complaint *
parse_path(struct span args, bool is_sender, bool lenient, struct address *out, struct span *rest_out)
{
    struct span keyword = is_sender ? SPAN_LIT("FROM:") : SPAN_LIT("TO:");
    const struct complaint *complaint;
    size_t used;

    if (!span_starts_nocase(args, keyword))
        return is_sender ? &no_from : &no_to;
    args = span_from(args, keyword.n);
    while (lenient && args.n > 0 && (args.p[0] == ' ' || args.p[0] == '\t'))
        args = span_from(args, 1);
    complaint = complain_address(address_parse_path(args, is_sender, out, &used), is_sender);
    if (complaint != NULL)
        return complaint;
    *rest_out = span_from(args, used);
    if (rest_out->n > 0 && rest_out->p[0] != ' ') {
        address_fini(out);
        return is_sender ? &sender_syntax : &recipient_syntax;
    }
    return NULL;
}

void
mail_command_fini(struct mail_command *m)
{
    address_fini(&m->sender);
    free(m->envid);
    m->envid = NULL;
}

void
rcpt_command_fini(struct rcpt_command *r)
{
    address_fini(&r->recipient);
    free(r->orcpt);
    r->orcpt = NULL;
}

const struct complaint *
command_parse_mail(struct span args, struct command_dialect dialect, struct mail_command *out)
{
    struct span rest;
    const struct complaint *complaint;

    *out = (struct mail_command){.body = SMTP_BODY_7BIT};
    complaint = parse_path(args, true, dialect.lenient, &out->sender, &rest);
    if (complaint != NULL)
        return complaint;
    complaint = param_parse_mail(rest, dialect.dsn, out);
    if (complaint != NULL)
        mail_command_fini(out);
    return complaint;
}

const struct complaint *
command_parse_rcpt(struct span args, struct command_dialect dialect, struct rcpt_command *out)
{
    struct span rest;
    const struct complaint *complaint;

    *out = (struct rcpt_command){.notify = 0};
    complaint = parse_path(args, false, dialect.lenient, &out->recipient, &rest);
    if (complaint != NULL)
        return complaint;
    complaint = param_parse_rcpt(rest, dialect.dsn, out);
    if (complaint != NULL)
        rcpt_command_fini(out);
    return complaint;
}
