/* session: one client connection. Carries events of the stream to the server machine and performs what that
 * asks for; decides nothing about the protocol by itself. Owned by front->sessions; goes through the loop's
 * graveyard. */
#ifndef SENDGOV_FRONT_SESSION_H
#define SENDGOV_FRONT_SESSION_H

#include "relay/front/front_part.h"
#include "relay/front/sender.h"
#include "relay/net/stream.h"

enum session_state {
    SESSION_HANDSHAKE, /* TLS is being agreed on */
    SESSION_TALKING,   /* commands and bodies are read */
    SESSION_WAITING,   /* somebody owes an answer: a password check, a look, a message */
    SESSION_HELD,      /* replies are held back for a while, as a punishment */
    SESSION_CLOSED,    /* freed when the turn ends */
    SESSION_STATE_COUNT,
};

/* What the timer is for. */
enum session_clock {
    CLOCK_OFF,
    CLOCK_IDLE,
    CLOCK_COMMAND,
    CLOCK_HANDSHAKE,
    CLOCK_BODY, /* the minimum rate is looked at */
    CLOCK_HELD,
};

/* A transaction of an identified client. */
struct session_mail {
    char id[MESSAGE_ID_MAX];          /* of the message it may become */
    const struct client_conf *client; /* whose it is; of the session's generation */
    struct sender_path path;
    bool begun;        /* 354 was said */
    struct blob *body; /* from then on, until flow has it */
    enum blob_status body_status;
    uint32_t accepted[RECIPIENT_CLASS_COUNT], refused[RECIPIENT_CLASS_COUNT]; /* by the governor */
    struct flow_refusal *refusal; /* why; NULL: it refused nothing. With it: */
    struct address sender; /* text NULL otherwise */
    uint64_t declared_bytes;
};

struct session {
    struct front *front;
    struct generation *generation;
    const struct front_listener *listener; /* of generation */
    struct front_socket *socket;           /* NULL: closed meanwhile */
    struct stream *stream;                 /* NULL when closed */
    struct server server;
    enum session_state state;
    enum session_clock clock;
    bool stranger; /* counted in front->n_strangers */
    bool has_address;
    struct list link;
    struct handle self;
    struct handle pending; /* flow: a look or a message */
    struct timer timer;
    struct corpse corpse;
    struct peer *peer;
    const struct client_conf *client; /* of generation; NULL: no identity */
    struct session_mail *mail;
    struct buf held;           /* SESSION_HELD: the replies */
    uint64_t body_bytes_seen;  /* CLOCK_BODY: stream_bytes_in at the last look */
    uint32_t messages_sent;    /* that flow took */
    int64_t opened_mono_ms;
    int64_t heard_mono_ms;     /* since then the client has said nothing, and nothing was said to it */
    struct in6_addr address;
    char id[MESSAGE_ID_MAX];
    char peer_text[64];
};

/* ---- session.c: life and bytes ---- */
/* Takes fd. peer_entry was counted up by the caller; identity was looked for by address. */
void session_open(struct front_socket *socket, int fd, const struct net_addr *peer, struct peer *peer_entry);
/* At once, unread and unsent things lost. why: a word for the log. */
void session_close(struct session *s, const char *why);
/* Says 421 when the client has said nothing for so long between messages: begin_ms before its first one. */
void session_retire(struct session *s, int64_t silent_ms, int64_t begin_ms);
/* Says 421 as soon as no message is under way. */
void session_drain(struct session *s);
/* The drain has lasted too long. */
void session_drain_now(struct session *s);
/* The socket goes: sessions that came by it stay. */
void session_leave_socket(struct front *f, struct front_socket *socket);
/* The answer of somebody else arrived and the machine said what is next. */
void session_go_on(struct session *s, enum server_action action);
void session_set_state(struct session *s, enum session_state next);
void session_refused(struct session *s, const char *why, const char *text);

/* ---- session_identity.c ---- */
/* Who is it, after what is proven now? */
void session_identify(struct session *s);
enum server_action session_start_auth(struct session *s, bool *waits_out);
/* The newest configuration, before a new transaction. False: there is no place for this session in it. */
bool session_move_on(struct session *s);

/* ---- session_mail.c: the machine's questions, answered at once or (*waits_out) later ---- */
enum server_action session_decide_mail(struct session *s);
enum server_action session_decide_rcpt(struct session *s);
enum server_action session_decide_data(struct session *s, bool *waits_out);
enum server_action session_take_message(struct session *s, bool *waits_out);

/* ---- session_books.c: what of a transaction is refused before flow has it ---- */
/* Sender and way are good: s->mail from here on. */
void session_begin_mail(struct session *s, const struct sender_path *path);
/* The transaction is over; what was refused of it is booked. */
void session_drop_mail(struct session *s);
/* The governor refused the transaction, or a recipient of it, while the envelope is still there. */
void session_note_refusal(struct session *s, const struct flow_refusal *refusal);
/* A rule of the relay refused the message after the dot. */
void session_book_message(struct session *s, const struct flow_refusal *refusal);
/* The message of the transaction as far as it is known without envelope and body. */
struct message *session_describe(const struct session *s);
/* And with that of the envelope and the body's size; the transaction has none any more. */
void session_move_envelope(struct session *s, struct message *m);

#endif
