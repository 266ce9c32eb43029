/* stream: the bytes of one connection, plain or TLS, with marks and deadlines.
 *
 * Input is read into memory shared by all streams and shown to the owner in place; what the owner does not
 * consume is kept (up to in_max), so an idle connection holds no buffer. Output is gathered during a turn
 * and leaves in one system call at its end; only what the kernel does not take at once stays queued. The
 * queue has a high mark: stream_is_full tells a producer to stop, on_drained to go on. It is the owner's
 * business not to produce past it; at out_max (4 x high mark) the stream ends itself with STREAM_OVERFLOW.
 *
 * Life: new -> [on_ready] -> on_data* -> on_end (exactly once, never during an owner's own call; not after
 * stream_close). After on_end only stream_close is of use; but after STREAM_EOF what is queued or written
 * still leaves (the peer may have closed only its own direction), and stream_finish sends it. stream_close
 * is idempotent, drops what is queued (use stream_finish to send it first), closes the descriptor and lets
 * the loop free the stream.
 */
#ifndef SENDGOV_NET_STREAM_H
#define SENDGOV_NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/base/span.h"
#include "relay/net/loop.h"

struct stream;
struct tls_ctx;
struct tls_peer;

enum stream_end {
    STREAM_EOF,        /* the peer closed in order (TLS: with close_notify) */
    STREAM_TRUNCATED,  /* TLS only: TCP ended without close_notify */
    STREAM_RESET,      /* RST or another error of the socket */
    STREAM_TIMEOUT,    /* the deadline passed */
    STREAM_TLS_FAILED, /* handshake or record error */
    STREAM_OVERFLOW,   /* in_max unconsumed bytes, or the peer does not read */
};
const char *stream_end_to_str(enum stream_end end);

struct stream_ops {
    /* A TLS handshake completed. May be NULL for a stream that never does TLS. */
    void (*on_secure)(void *arg);
    /* in: all unread bytes, contiguous; valid during the call. Returns how many were consumed; fewer means
     * "more is needed" and it is called again when more came (or after stream_resume). */
    size_t (*on_data)(void *arg, struct span in);
    /* The output queue fell below half its high mark after having been full. May be NULL. */
    void (*on_drained)(void *arg);
    /* detail: for the log, e.g. "certificate has expired"; never NULL. */
    void (*on_end)(void *arg, enum stream_end end, const char *detail);
};

#define STREAM_IN_MAX (20 * 1024)
#define STREAM_OUT_HIGH (64 * 1024)

/* Takes fd (a connected, non-blocking socket; TCP_NODELAY is set on it) and reads at once. */
struct stream *stream_new(struct loop *loop, int fd, const struct stream_ops *ops, void *arg);
void stream_set_in_max(struct stream *s, size_t in_max);
void stream_close(struct stream **s);
/* Sends what is queued (bounded by deadline_ms), then closes in order (TLS: close_notify; half-close and a
 * short drain so that the last reply is not lost to a RST). The owner is not called any more. *s becomes
 * NULL. */
void stream_finish(struct stream **s, int64_t deadline_ms);

void stream_write(struct stream *s, struct span bytes);
/* As one piece: what ends a large piece leaves with its last bytes. */
void stream_write_ended(struct stream *s, struct span bytes, struct span end);
/* True when the queue is above its high mark. */
/* What is queued leaves now and not with the turn, as far as the kernel takes it: for what must be gone
 * before a moment. An error waits for the end of the turn. */
void stream_hurry(struct stream *s);
bool stream_is_full(const struct stream *s);
/* What the kernel has not taken; after on_end, what it never took. */
size_t stream_queued(const struct stream *s);
/* Stops and resumes reading: back-pressure. A paused stream still notices a reset, and ends, unless input
 * came before it: then the input is delivered first, after stream_resume. Pausing a silent stream costs no
 * system call. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* STREAM_TIMEOUT after ms from now unless moved; < 0: none. Cheap to move. */
void stream_set_deadline(struct stream *s, int64_t ms);

/* Starts TLS on a plain stream. Unread plaintext must be consumed before: what is left is thrown away (RFC
 * 3207 section 4.2). What was written before leaves in the clear first; what is written from now on waits
 * for on_secure. host: the name to verify and to send as SNI (client side). */
void stream_start_tls_server(struct stream *s, struct tls_ctx *ctx);
void stream_start_tls_client(struct stream *s, struct tls_ctx *ctx, const char *host);
bool stream_is_tls(const struct stream *s);
/* NULL without TLS. Valid until close. */
const struct tls_peer *stream_tls_peer(const struct stream *s);

/* Has the peer closed or reset already (seen without reading)? For a pooled connection before it
 * is used: unread bytes count as dead too, since a silent peer owes us none. */
bool stream_is_dead(struct stream *s);
int stream_fd(const struct stream *s);
/* Payload bytes read so far, for minimum rates. */
uint64_t stream_bytes_in(const struct stream *s);

#endif
