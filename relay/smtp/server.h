/* server: our half of an SMTP session with a client, as a pure machine (RFC 5321, 1870, 2034, 2920, 3207,
 * 3461, 4954, 6152).
 *
 * Bytes in; replies are appended to `out`; and at most one action at a time for the owner to perform.
 * Everything that somebody else must decide or do (is this sender allowed, is this password right, where does
 * this message go) is an action, answered with one of the server_answer functions; until then no further
 * pipelined command is read. The machine does no I/O and knows no clock; it holds nothing but the session,
 * and a transaction only between MAIL and its end.
 *
 *     server_greet -> server_input* -> [action -> answer] -> server_input* ...
 *
 * Every command gets exactly one reply, in order. Replies of one call belong in one write.
 */
#ifndef SENDGOV_SMTP_SERVER_H
#define SENDGOV_SMTP_SERVER_H

#include "relay/base/buf.h"
#include "relay/smtp/body.h"
#include "relay/smtp/command.h"
#include "relay/smtp/header.h"
#include "relay/smtp/reply.h"
#include "relay/smtp/sasl.h"

#define SERVER_LINE_MAX 2048       /* command line with CRLF */
#define SERVER_AUTH_LINE_MAX 16384 /* AUTH and its continuation lines: bearer tokens */
#define SERVER_RCPT_EXCESS_MAX 1000 /* RCPT over recipients_max that one transaction may bring */
#define SERVER_ERROR_DELAY_MS 1000
#define SERVER_AUTH_DELAY_MS 2000

/* What the sessions of one listener share. Belongs to the owner and outlives the server. */
struct server_conf {
    const char *hostname;
    bool starttls;          /* STARTTLS can be had */
    bool tls_required;      /* and must be used before anything else */
    bool auth;              /* there are logins, and a way to use them */
    bool auth_without_tls;
    bool lenient;           /* old devices: blanks before the path */
    bool eightbitmime;      /* offered */
    bool dsn;               /* offered (RFC 3461): whoever takes a message reports on it as it asks */
    bool line_strict;       /* body lines over 998 are refused */
    enum body_newline newline;
    uint64_t size_max;      /* offered and enforced */
    uint64_t line_max;
    uint64_t header_bytes_max;
    uint32_t header_lines_max;
    uint32_t hops_max;
    uint32_t recipients_max, messages_max;
    uint32_t errors_soft, errors_hard, junk_max, auth_failures_max;
};

enum server_state {
    SERVER_START,     /* no EHLO yet (also after STARTTLS) */
    SERVER_READY,     /* greeted; no transaction */
    SERVER_WAIT_TLS,  /* 220 was said, the handshake is the owner's */
    SERVER_SASL,      /* 334 was said: the next line is a response */
    SERVER_WAIT_AUTH, /* credentials are being checked */
    SERVER_WAIT_MAIL, /* the owner decides on the sender */
    SERVER_OPEN,      /* a sender was accepted */
    SERVER_WAIT_RCPT, /* the owner decides on a recipient */
    SERVER_WAIT_DATA, /* the owner decides whether 354 may be said */
    SERVER_BODY,      /* 354 was said */
    SERVER_WAIT_MESSAGE, /* the owner has the message */
    SERVER_OVER,      /* the last reply was said; nothing is read any more */
    SERVER_STATE_COUNT,
};
const char *server_state_to_str(enum server_state s);

enum server_action {
    SERVER_READ,      /* nothing to do but to feed more input */
    SERVER_DO_TLS,    /* send the replies, then start TLS; then server_secured */
    SERVER_DO_AUTH,   /* check server_credentials; then server_auth_done */
    SERVER_DO_MAIL,   /* decide on envelope.sender; then server_answer */
    SERVER_DO_RCPT,   /* decide on `recipient`; then server_answer_recipient */
    SERVER_DO_DATA,   /* get ready for the body; then server_answer */
    SERVER_DO_MESSAGE, /* the body is complete, and sound unless server_body_complaint; then server_answer */
    SERVER_DO_DELAY,  /* hold the replies back for delay_ms, then go on */
    SERVER_DO_CLOSE,  /* send the replies, then close; `why` says why */
};

enum server_auth_result {
    SERVER_AUTH_OK,
    SERVER_AUTH_WRONG,
    SERVER_AUTH_UNAVAILABLE, /* could not be checked now */
    SERVER_AUTH_LIMITED,     /* too many failures from this address */
};

/* From MAIL to the end of the message. */
struct server_tx {
    struct envelope envelope;
    struct address recipient;  /* SERVER_WAIT_RCPT */
    unsigned notify;           /* of that recipient, as is orcpt; they go into the envelope with it */
    char *orcpt;
    uint32_t refused;          /* recipients */
    uint32_t excess;           /* recipients over recipients_max; refused as well */
    uint64_t content_max;      /* of this message; the owner may lower it at MAIL */
    struct body body;
    struct header header;
    body_sink_fn *sink;
    void *sink_arg;
};

struct server_sasl {
    enum sasl_mechanism mechanism;
    char *user;     /* NUL-terminated */
    char *password; /* NUL-terminated, wiped with the rest */
};

struct server {
    const struct server_conf *conf;
    enum server_state state;
    enum { SERVER_LINES, SERVER_SKIP_LINE } reading; /* SKIP_LINE: the rest of a line that was too long */
    bool secure;        /* TLS is on */
    bool esmtp;         /* EHLO, not HELO */
    bool authenticated;
    uint32_t errors, junk, auth_failures, messages;
    uint32_t lines;     /* whole ones, commands and responses; wraps */
    uint32_t delay_ms;  /* SERVER_DO_DELAY */
    const char *why;    /* SERVER_DO_CLOSE: a word for log and metric */
    /* The last refusal of the machine's own, for the log; code 0: none. The owner clears it. */
    struct complaint complaint;
    char *helo;         /* NULL before EHLO */
    char *login;        /* after AUTH */
    struct server_tx *tx;     /* from MAIL on */
    struct server_sasl *sasl; /* while AUTH goes on */
};

void server_init(struct server *s, const struct server_conf *conf);
void server_fini(struct server *s);

/* The banner. */
void server_greet(struct server *s, struct buf *out);
/* Ends the session with one last reply; the texts must be constant. */
enum server_action server_end(
    struct server *s, int code, const char *enhanced, const char *text, const char *why, struct buf *out);
/* Consumes what it can: *used_out bytes of in. What remains is a line that is not complete, or what came
 * after the command of an action; offer it again, with what came since. Bytes that come while DATA waits for
 * its answer end the session. */
enum server_action server_input(struct server *s, struct span in, struct buf *out, size_t *used_out);

/* TLS is on (after SERVER_DO_TLS, or at once where TLS is implicit): everything that was said before is
 * forgotten. */
void server_secured(struct server *s);
enum server_action server_auth_done(struct server *s, enum server_auth_result result, struct buf *out);
/* Answers MAIL, DATA or a message. NULL is yes (250, or 354). A 421 ends the session. Before a yes to DATA,
 * server_set_sink must have been called. */
enum server_action server_answer(struct server *s, const struct reply *reply, struct buf *out);
/* What is wrong with the body of SERVER_DO_MESSAGE; NULL: nothing. The machine says it, whatever the answer
 * is. */
const struct complaint *server_body_complaint(const struct server *s);
enum server_action server_answer_recipient(
    struct server *s, const struct reply *reply, enum recipient_class class, struct buf *out);
void server_set_sink(struct server *s, body_sink_fn *sink, void *arg);
/* Is the rest of a line that was too long being thrown away? Its bytes count as used, and yet it goes on. */
static inline bool
server_is_skipping(const struct server *s)
{
    return s->reading == SERVER_SKIP_LINE;
}

/* Between two commands: no answer is owed, no response or body awaited. */
static inline bool
server_is_idle(const struct server *s)
{
    return s->state == SERVER_START || s->state == SERVER_READY || s->state == SERVER_OPEN;
}

#endif
