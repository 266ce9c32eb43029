/* client: our half of an SMTP session towards the upstream, as a pure machine: event in, one action out,
 * the bytes to send appended to `out`. It does no I/O, knows no clock and allocates nothing but in `out`.
 *
 *     connected -> banner -> EHLO -> [STARTTLS -> handshake -> EHLO] -> [AUTH] -> ready
 *     ready -> MAIL -> RCPT... -> DATA -> body -> dot -> ready
 *
 * What it promises: TLS that was asked for is never given up (what is offered before TLS counts for
 * STARTTLS alone, and bytes that follow the reply to STARTTLS end the session); no reply is taken for that
 * of another recipient (a code that is out of place ends the session); a message counts as accepted only by
 * a whole 2xx reply to the final dot. With PIPELINING, MAIL, RCPT and DATA leave in one write where the
 * transaction allows it, else command by command.
 *
 * The owner executes: it feeds what arrives, sends `out`, starts TLS, lets the body flow, and keeps the
 * deadline that client_wait_ms names. After CLIENT_FAILED, CLIENT_CLOSE or state CLIENT_OVER nothing but
 * closing is left.
 */
#ifndef SENDGOV_SMTP_CLIENT_H
#define SENDGOV_SMTP_CLIENT_H

#include "relay/base/buf.h"
#include "relay/smtp/ehlo.h"
#include "relay/smtp/transaction.h"

enum client_tls { CLIENT_TLS_STARTTLS, CLIENT_TLS_IMPLICIT, CLIENT_TLS_OFF };
enum client_auth { CLIENT_AUTH_NONE, CLIENT_AUTH_LOGIN, CLIENT_AUTH_PLAIN };

/* What a session must do. Belongs to the owner and outlives the client. */
struct client_setup {
    const char *hostname;
    enum client_tls tls;
    enum client_auth auth; /* preferred; the other one is used when only that is offered */
    const char *user;
    const char *password;
    int reply_ms, data_ms, dot_ms;
};

enum client_state {
    CLIENT_START,        /* not connected yet */
    CLIENT_HANDSHAKE,    /* TLS begins: at once, or after STARTTLS */
    CLIENT_BANNER,       /* waits for 220 */
    CLIENT_EHLO,         /* EHLO sent */
    CLIENT_HELO,         /* EHLO was refused, TLS is off, HELO sent */
    CLIENT_STARTTLS,     /* STARTTLS sent */
    CLIENT_AUTH_START,   /* AUTH sent without a response, waits for 334 */
    CLIENT_AUTH_USER,    /* LOGIN: user sent, waits for 334 */
    CLIENT_AUTH_LAST,    /* the last response sent, waits for 235 */
    CLIENT_AUTH_CANCEL,  /* a challenge nobody asked for was cancelled with "*" */
    CLIENT_REFUSED,      /* no session came to be, but the protocol is in step: QUIT may be said */
    CLIENT_READY,        /* no transaction is open: take one, rest, or QUIT */
    CLIENT_MAIL,         /* MAIL (and, pipelined, more) sent, its reply not seen */
    CLIENT_RCPT,         /* waits for the reply to a RCPT */
    CLIENT_DATA,         /* waits for the reply to DATA */
    CLIENT_BODY,         /* 354 came: the owner sends the body */
    CLIENT_DOT,          /* the final dot left */
    CLIENT_LONE_DOT,     /* DATA was pipelined and got 354 though nobody is to receive: a dot ends it */
    CLIENT_RSET,         /* outcome known, RSET sent */
    CLIENT_QUIT,         /* QUIT sent */
    CLIENT_OVER,         /* nothing may be sent any more */
    CLIENT_STATE_COUNT,
};
const char *client_state_to_str(enum client_state s);

enum client_do {
    CLIENT_GO_ON,     /* send what is in out, wait for the peer */
    CLIENT_START_TLS, /* start the handshake, then client_on_secure */
    CLIENT_IS_READY,  /* a transaction may start now (after login, and after RSET) */
    CLIENT_SEND_BODY, /* prefix, body and final dot, then client_body_sent */
    CLIENT_TX_DONE,   /* client->outcome is final; the session is READY, in RSET or OVER */
    CLIENT_FAILED,    /* no session: phase, reply and detail of client->outcome say why */
    CLIENT_CLOSE,     /* the session is over, and nobody waits for it */
};

/* Where a running transaction stands. */
struct client_progress {
    const struct transaction *tx;
    size_t sent;     /* RCPT commands */
    size_t answered; /* of them */
    size_t accepted; /* of them */
    bool mail_ok;    /* MAIL was accepted */
    bool data_sent;
    bool heard;      /* a byte came since MAIL was sent */
};

struct client {
    const struct client_setup *conf;
    enum client_state state;
    bool secure;            /* TLS is up */
    struct ehlo ehlo;       /* of the last EHLO */
    uint32_t uses;          /* transactions begun */
    struct reply_reader reader;
    struct client_progress progress;
    struct tx_outcome outcome;
};

void client_init(struct client *c, const struct client_setup *conf);
enum client_do client_on_connected(struct client *c);
enum client_do client_on_secure(struct client *c, struct buf *out);
/* Takes at most one whole reply from the start of in. CLIENT_GO_ON with *used_out = 0: more bytes are
 * needed. */
enum client_do client_on_data(struct client *c, struct span in, struct buf *out, size_t *used_out);
/* The connection is gone. detail: how, for the log. */
enum client_do client_on_lost(struct client *c, const char *detail);
/* client_wait_ms passed. The owner closes the connection. */
enum client_do client_on_timeout(struct client *c);
/* How long the peer may take in this state. READY and BODY have deadlines of their own, kept by the owner:
 * -1. */
int client_wait_ms(const struct client *c);

/* Only in READY. recipients: tx->n_recipients results, filled in; both stay the caller's until
 * CLIENT_TX_DONE. */
void client_send(struct client *c, const struct transaction *tx, struct tx_recipient *recipients,
    struct buf *out);
/* The final dot left, or may have left: from now on a loss is uncertain. */
void client_body_sent(struct client *c);
/* The owner cannot go on with the body (it cannot read it). */
enum client_do client_abort(struct client *c, const char *detail);
/* In READY and REFUSED: says QUIT and waits for the answer. In any other state there is no good-bye: OVER. */
void client_quit(struct client *c, struct buf *out);

#endif
