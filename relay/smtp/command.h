/* command: one line of a client, taken apart (RFC 5321 section 4.1.1).
 *
 * A line is what stood before CRLF. Nothing here knows in which state the session is or whether the
 * command may be given now; that is server's. What is wrong with a line is a `struct complaint`: a reply
 * ready to be sent. */
#ifndef SENDGOV_SMTP_COMMAND_H
#define SENDGOV_SMTP_COMMAND_H

#include "relay/smtp/envelope.h"

enum command_verb {
    COMMAND_EHLO,
    COMMAND_HELO,
    COMMAND_STARTTLS,
    COMMAND_AUTH,
    COMMAND_MAIL,
    COMMAND_RCPT,
    COMMAND_DATA,
    COMMAND_RSET,
    COMMAND_NOOP,
    COMMAND_QUIT,
    COMMAND_HELP,
    COMMAND_VRFY,
    COMMAND_BDAT,     /* CHUNKING is not offered; what follows would be its chunk */
    COMMAND_KNOWN,    /* EXPN, ETRN, TURN, XCLIENT ...: known, not implemented */
    COMMAND_STRANGER, /* HTTP: no mail client talks so */
    COMMAND_UNKNOWN,
    COMMAND_VERB_COUNT,
};

struct command {
    enum command_verb verb;
    struct span args; /* without the blanks around */
};

struct complaint {
    int code;
    const char *enhanced;
    const char *text;
};

/* Takes the verb off a line without control bytes. */
void command_parse(struct span line, struct command *out);
/* Whether bytes at the start of a session belong to another protocol: a TLS record, HTTP, SSH, or noise.
 * Needs no whole line. */
bool command_is_stranger(struct span start);

struct mail_command {
    struct address sender;
    uint64_t declared_bytes; /* SIZE=, 0 when not given */
    enum smtp_body body;
    enum dsn_ret ret;
    char *envid; /* checked xtext, NULL when not given */
};

struct rcpt_command {
    struct address recipient;
    unsigned notify; /* of enum dsn_notify, 0 when not given */
    char *orcpt;     /* checked "addr-type;xtext", NULL when not given */
};

/* What a session takes beyond the plain form. */
struct command_dialect {
    bool lenient; /* blanks before the path, as old devices send them */
    bool dsn;     /* RET, ENVID, NOTIFY and ORCPT; where it was not offered they are unknown */
};

/* The arguments of MAIL and RCPT, "FROM:<...> ..." and "TO:<...> ...". NULL when all is well, and then
 * address and strings are the caller's, to be moved away or given back with fini; after a complaint there is
 * nothing to free. */
const struct complaint *command_parse_mail(
    struct span args, struct command_dialect dialect, struct mail_command *out);
const struct complaint *command_parse_rcpt(
    struct span args, struct command_dialect dialect, struct rcpt_command *out);
void mail_command_fini(struct mail_command *m);
void rcpt_command_fini(struct rcpt_command *r);
/* The name in EHLO and HELO: a domain, an address literal, or what devices send instead, as long as it
 * is made of letters, digits and "._-:[]" only: it goes into the trace header and the log. */
bool command_is_helo_name(struct span name);

#endif
