/* client_tx: the transaction half of the client machine; private to client.c. */
#ifndef SENDGOV_SMTP_CLIENT_TX_H
#define SENDGOV_SMTP_CLIENT_TX_H

#include "relay/smtp/client.h"

/* A whole reply in the states MAIL, RCPT, DATA, BODY, DOT, LONE_DOT. */
enum client_do client_tx_on_reply(struct client *c, const struct reply *r, struct buf *out);
/* The session ends now, in one of these states: without a reply to blame. */
enum client_do client_tx_break(struct client *c, const char *detail);
bool client_tx_is_open(const struct client *c);
enum tx_phase client_phase(enum client_state s);
/* Ends the session because what came fits nowhere or the connection is gone. */
enum client_do client_break(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
