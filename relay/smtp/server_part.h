/* server_part: what the files of the server machine share. */
#ifndef SENDGOV_SMTP_SERVER_PART_H
#define SENDGOV_SMTP_SERVER_PART_H

#include "relay/smtp/server.h"

/* The one setter; asserts that the transition is in the table. */
void server_set_state(struct server *s, enum server_state next);
/* A reply of the machine's own; a refusal is remembered for the owner's log. */
void server_say(struct server *s, const struct complaint *c, struct buf *out);
/* The client did something wrong: its reply, a delay after a few of them, and the end after many. */
enum server_action server_error(struct server *s, const struct complaint *c, struct buf *out);
/* Commands that cost nothing and bring nothing. False: too many of them, the session was ended and the
 * command has its reply; so this comes before any other reply to it. */
bool server_junk(struct server *s, struct buf *out);
enum server_action server_end_with(
    struct server *s, const struct complaint *c, const char *why, struct buf *out);
/* Without a word: whoever speaks another protocol would not understand it. */
enum server_action server_hang_up(struct server *s);
void server_drop_tx(struct server *s);

/* server_command.c: one line without CRLF; rest_n bytes of input follow it. */
enum server_action server_run_command(struct server *s, struct span line, size_t rest_n, struct buf *out);

/* server_auth.c */
enum server_action server_run_auth(struct server *s, struct span args, struct buf *out);
enum server_action server_run_sasl(struct server *s, struct span line, struct buf *out);
void server_drop_sasl(struct server *s);

#endif
