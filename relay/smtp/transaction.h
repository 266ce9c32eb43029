/* transaction: one message on its way through one upstream connection, and what became of it.
 *
 * Values only: the pool fills them, the client machine decides on them, flow settles them. */
#ifndef SENDGOV_SMTP_TRANSACTION_H
#define SENDGOV_SMTP_TRANSACTION_H

#include "relay/base/blob.h"
#include "relay/smtp/envelope.h"
#include "relay/smtp/reply.h"

/* How far a transaction got: what the governor may conclude, and which end code the log shows. */
enum tx_phase {
    TX_CONNECT, /* no connection: name, TCP, banner, EHLO */
    TX_TLS,
    TX_AUTH,
    TX_MAIL,    /* the first byte of MAIL left: the charge is spent */
    TX_RCPT,
    TX_DATA,    /* DATA was answered, or lost before its answer */
    TX_BODY,    /* lost in the body, before the final dot left */
    TX_DOT,     /* the final dot left */
    TX_PHASE_COUNT,
};
const char *tx_phase_to_str(enum tx_phase p);

/* Sender, recipients and body stay the caller's until done. all_or_nothing: without a spool, DATA is sent
 * only if every RCPT was accepted, else RSET. A single recipient (or !all_or_nothing) lets MAIL, RCPT and
 * DATA leave in one write. */
struct transaction {
    const struct address *sender;
    const struct recipient *const *recipients;
    size_t n_recipients;
    struct blob *body;      /* canonical wire form: CRLF, dot-stuffed, ends in CRLF */
    struct span prefix;     /* trace header that goes before the body, wire form */
    uint64_t content_bytes; /* for SIZE= */
    enum smtp_body body_type;
    /* As the client gave them, sent where the upstream offers DSN; so are notify and orcpt of recipients. */
    enum dsn_ret ret;
    const char *envid; /* NULL: none */
    bool all_or_nothing;
};

enum tx_fate { TX_ACCEPTED, TX_REFUSED_FOR_NOW, TX_REFUSED_FOR_GOOD, TX_UNCERTAIN };

struct tx_recipient {
    enum tx_fate fate;
    /* That decided: to RCPT, or to MAIL, DATA, the dot; code 0 when the connection was lost. A 2xx with
     * TX_REFUSED_FOR_NOW: this recipient was welcome, but all_or_nothing and another one was not. */
    struct reply reply;
};

struct tx_outcome {
    enum tx_phase phase;     /* the step that decided, or in which the connection was lost */
    bool offered;            /* the first byte of MAIL left */
    bool lost;               /* the connection broke, or broke the protocol */
    bool lost_on_reuse;      /* a pooled connection died before it answered MAIL: try another, unseen */
    struct reply reply;      /* the deciding one: of the dot, or of what stopped the transaction */
    char detail[256];        /* when lost: how */
    struct tx_recipient *recipients; /* n_recipients of them; valid during the call */
};

#endif
