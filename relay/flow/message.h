/* message: one accepted transaction of a client, whole, as front hands it to flow. */
#ifndef SENDGOV_FLOW_MESSAGE_H
#define SENDGOV_FLOW_MESSAGE_H

#include "relay/base/blob.h"
#include "relay/config/config.h"
#include "relay/smtp/envelope.h"

#define MESSAGE_ID_MAX 24

/* How a message ended: who ended it, in which phase. The two letters of the log line.
 * First letter: `-` nobody, it was relayed; C the client left; G the governor; R a rule of the relay, about
 * the message itself; S the store; U the upstream; N this node. Second: b budget, p pause, c connect, t TLS,
 * a AUTH, m MAIL, r RCPT, d DATA, h header, o body, `.` the dot. */
struct end_code {
    char letters[3];
};

/* 22 characters: 10 of the time in ms, 12 random ones. Sorts by time, unique over nodes. */
void message_id_make(char out[MESSAGE_ID_MAX]);

/* One accepted transaction of a client. */
struct message {
    char id[MESSAGE_ID_MAX]; /* sortable, unique over nodes; in the log, the trace header and the reply */
    struct config *config;   /* reference held */
    const struct client_conf *client;
    const struct route_conf *route;
    const struct mailbox_conf *mailbox; /* NULL: the route has none */
    struct envelope envelope;  /* all recipients of one class where the rest could not be held */
    /* Of each class, beside those of the envelope: refused at RCPT, or of an envelope that is gone. For the
     * books of what never went on. */
    uint32_t unnamed[RECIPIENT_CLASS_COUNT];
    struct blob *body;         /* canonical wire form, without the final dot */
    uint64_t content_bytes;    /* un-stuffed */
    char *trace;               /* our Received header, wire form */
    char peer[80];             /* client address */
    char session[MESSAGE_ID_MAX];
    char tls[96];              /* client TLS, empty without */
    int64_t received_mono_ms;  /* the final dot */
    int64_t received_utc_ms;
    bool is_dsn;               /* a notification of ours, out of the spool */
};
/* Takes a reference to config and makes the id; everything else is empty. */
struct message *message_new(struct config *config);
/* The priority class of its client. */
const char *message_class(const struct message *m);
const char *message_client_class(const struct client_conf *client);
/* With body and trace. */
void message_free(struct message **m);

#endif
