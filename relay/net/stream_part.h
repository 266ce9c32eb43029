/* stream_part: the stream's inside, shared by stream.c (life, interface) and stream_io.c (bytes).
 *
 * The read event stays registered while a stream is paused: most pauses end before the peer sends anything,
 * and then cost no system call, and a reset is noticed. Only when input does come is it taken off until
 * stream_resume. It is also off whenever a readable socket would not be read, or the loop would spin.
 */
#ifndef SENDGOV_NET_STREAM_PART_H
#define SENDGOV_NET_STREAM_PART_H

#include "relay/base/buf.h"
#include "relay/net/loop_part.h"
#include "relay/net/stream.h"
#include "tls/tls.h"

enum stream_state {
    STREAM_OPEN,       /* bytes flow, plain or TLS */
    STREAM_SECURING,   /* TLS was asked for: first the queued plaintext leaves, then the handshake runs */
    STREAM_PEER_ENDED, /* the peer closed in order; writing goes on; on_end is told or due */
    STREAM_BROKEN,     /* no I/O any more; on_end is told or due */
    STREAM_FINISHING,  /* no owner; what is queued still leaves */
    STREAM_LINGERING,  /* no owner; everything left, waits for the peer's close */
    STREAM_CLOSED,     /* waits for the end of the turn */
};

struct stream {
    struct loop *loop;
    const struct stream_ops *ops;
    void *arg;
    struct tls_conn *tls; /* NULL: plain */
    char *detail;         /* for on_end */
    int fd;
    enum stream_state state;
    enum stream_end end; /* why it is PEER_ENDED or BROKEN */
    int write_errno;     /* sending failed; told when the input that came before is delivered. 0: none */
    uint32_t in_max;
    bool paused;
    bool was_full;        /* on_drained is due when the queue falls */
    bool shows_again;     /* kept input is to be shown though nothing new came */
    bool peer_ended;      /* nothing more to read: no need to linger */
    bool read_needs_write; /* TLS: reading goes on when the socket is writable; the read event is off */
    size_t plain_left;    /* SECURING: bytes at the head of `out` that leave in the clear */
    uint64_t bytes_in;
    struct buf in;  /* what the owner did not consume; no memory while empty */
    struct buf out;
    struct event ev_read, ev_write;
    struct timer deadline;
    struct task later; /* reports the end, or goes on reading */
    struct task flush;
    union {
        struct corpse corpse; /* CLOSED */
        struct orphan orphan; /* FINISHING, LINGERING */
    } last;
};

/* Most of one read; and how many of them per turn, so that nobody is starved by one busy peer. */
#define STREAM_READ_BYTES ((size_t)64 * 1024)
#define STREAM_READS_PER_TURN 2
/* What an idle stream may keep of its output buffer. */
#define STREAM_OUT_KEEP ((size_t)512)

/* Whether input makes an event. Repeating it costs nothing. */
void stream_listen(struct stream *s, bool on);
/* Something can be read, or `later` says so. */
void stream_read_some(struct stream *s);
/* Sends the queue, then bytes, then end, as far as the kernel takes them now; how many of the latter two. */
size_t stream_send_in_place(struct stream *s, struct span bytes, struct span end);
/* Sends what the kernel takes. tell: on_drained may be called. */
void stream_write_some(struct stream *s, bool tell);
void stream_secure_step(struct stream *s);
void stream_on_event(evutil_socket_t fd, short what, void *arg);
/* The stream is over for its owner: on_end follows at the end of the turn, once. */
void stream_end_with(struct stream *s, enum stream_end end, const char *detail);
/* Everything left, or nothing more can: half-close and wait for the peer, or close. */
void stream_finished_sending(struct stream *s);

#endif
