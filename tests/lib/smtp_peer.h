/* smtp_peer: an upstream for tests, in the same loop: well behaved but for the rules it was given.
 *
 * A rule names a step and what happens there instead of the normal answer. Steps: "connect", the verbs,
 * "user" and "password" (AUTH LOGIN), "body" (its first byte came), "dot". Commands are counted over all
 * connections, so that a rule can mean the nth only. */
#ifndef SENDGOV_TESTS_SMTP_PEER_H
#define SENDGOV_TESTS_SMTP_PEER_H

#include "relay/base/buf.h"
#include "relay/net/listener.h"
#include "relay/net/stream.h"
#include "tls/tls.h"

enum peer_act {
    PEER_SAY,    /* text, as it stands */
    PEER_FIN,    /* text (may be NULL), then close in order */
    PEER_RST,    /* text (may be NULL) is dropped, reset */
    PEER_SILENT, /* no answer */
    PEER_STOP,   /* no answer, and nothing is read any more */
};

struct peer_rule {
    const char *step;
    unsigned nth; /* 0: always */
    enum peer_act act;
    const char *text;
};

#define PEER_STEPS 16
#define PEER_CONNS 64

struct peer_conn;

struct peer {
    struct loop *loop;
    struct listener *listener;
    struct tls_ctx *tls;       /* for STARTTLS and implicit TLS; NULL: none */
    bool implicit;
    const char *ehlo;          /* whole reply; NULL: PIPELINING, 8BITMIME, SIZE, AUTH, STARTTLS
                                * where it can */
    const struct peer_rule *rules;
    size_t n_rules;
    char target[64];           /* "127.0.0.1:port" */
    unsigned counts[PEER_STEPS];
    unsigned accepted, open;   /* connections */
    unsigned messages;         /* bodies taken with 250 */
    unsigned reads;            /* pieces of input since the last reply to a dot */
    unsigned reads_of_last;    /* the same, of the last message */
    bool clear_secrets;        /* AUTH or MAIL was seen without TLS */
    struct buf body;           /* the last one, without the dot */
    struct peer_conn *conns[PEER_CONNS];
};

/* Bytes that arrived and were not read yet, on all connections. */
int peer_unread(const struct peer *p);
void peer_start(struct peer *p, struct loop *loop);
void peer_stop(struct peer *p);
/* Closes all connections. */
void peer_drop_all(struct peer *p, bool reset);
/* Says something on all connections. */
void peer_say_all(struct peer *p, const char *text);
/* Reads on after PEER_STOP. */
void peer_resume_all(struct peer *p);
unsigned peer_count(const struct peer *p, const char *step);

#endif
