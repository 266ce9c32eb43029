/* control: the control socket. A unix stream socket for the operator of this host; JSON lines, see command.h.
 *
 * Bounded in every direction: 64 KiB a line, 192 KiB of rows in an answer, 16 connections, one command at a
 * time per connection, 30 s for a line. The kernel says who is at the other end. */
#ifndef SENDGOV_ADMIN_CONTROL_H
#define SENDGOV_ADMIN_CONTROL_H

#include "relay/admin/admin_state.h"
#include "relay/net/stream.h"

#define CONTROL_LINE_MAX (64 * 1024)
#define CONTROL_CONNECTIONS_MAX 16
#define CONTROL_LINE_MS 30000
/* What a list in one answer may take, so that all of it stays below what a stream queues (stream.h). */
#define CONTROL_ANSWER_MAX (3 * STREAM_OUT_HIGH)

struct control;
struct control_plan;

struct control *control_new(struct admin *a);
/* prepare listens where config says and looks its groups up, beside what is in force; NULL when that is not
 * possible. commit cannot fail; open connections stay. config must live until then. */
struct control_plan *control_prepare(struct control *c, const struct config *config, struct err *err);
void control_commit(struct control *c, struct control_plan **plan);
void control_discard(struct control_plan **plan);
/* The listening socket; -1: none. */
int control_fd(const struct control *c);
/* Another process listens on the same socket: stops listening, and the file stays. */
void control_hand_over(struct control *c);
/* Closes all connections and removes the socket. */
void control_free(struct control **c);

#endif
