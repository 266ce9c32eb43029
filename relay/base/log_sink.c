/* Lines go to the descriptor at once, or once per turn of the loop while gathering. What it does not take
 * waits in a ring of whole lines; when that is full the oldest lines are dropped and counted.
 *
 * stderr is often shared with other processes, so it is never made non-blocking. A socket (the journal) is
 * written with MSG_DONTWAIT. Before any other write poll() is asked: a pipe that polls writable takes
 * PIPE_BUF bytes without blocking, so no write is larger.
 */
#include "relay/base/log_sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/buf.h"
#include "relay/base/clock.h"
#include "relay/base/log.h"

enum sink_kind { SINK_UNKNOWN, SINK_FILE, SINK_SOCKET, SINK_OTHER };

static struct {
    int fd;
    enum sink_kind kind;
    bool gathering;
    bool at_exit; /* the flush at exit is registered */
    struct buf ring;    /* whole lines, but the first may have begun to leave */
    size_t first_sent;  /* bytes of the ring's first line that left already */
    uint64_t dropped;
} sink = {.fd = STDERR_FILENO};

static void
flush_at_exit(void)
{
    log_flush_wait(1000);
    buf_fini(&sink.ring);
}

static enum sink_kind
kind_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return SINK_OTHER;
    return S_ISREG(st.st_mode) ? SINK_FILE : S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_OTHER;
}

void
log_sink_set_fd(int fd)
{
    sink.fd = fd;
    sink.kind = SINK_UNKNOWN;
}

/* Bytes taken, 0 when it would block, -1 when the descriptor is broken. */
static ssize_t
write_some(const char *p, size_t n)
{
    struct pollfd pfd = {.fd = sink.fd, .events = POLLOUT};
    ssize_t done;

    if (sink.kind == SINK_UNKNOWN)
        sink.kind = kind_of(sink.fd);
    if (sink.kind == SINK_OTHER) {
        if (n > PIPE_BUF)
            n = PIPE_BUF;
        if (poll(&pfd, 1, 0) != 1)
            return 0;
    }
    if (sink.kind == SINK_SOCKET)
        done = send(sink.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        done = write(sink.fd, p, n);
    if (done >= 0)
        return done;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static size_t
count_lines(struct span s)
{
    size_t lines = 0;

    for (ptrdiff_t at; (at = span_find_byte(s, '\n')) >= 0; s = span_from(s, (size_t)at + 1))
        lines++;
    return lines;
}

/* n bytes at the front of the ring have left. */
static void
ring_sent(size_t n)
{
    struct span sent = span_head(buf_span(&sink.ring), n);
    const char *lf = n > 0 ? memrchr(sent.p, '\n', n) : NULL;

    sink.first_sent = lf ? n - (size_t)(lf + 1 - sent.p) : sink.first_sent + n;
    buf_consume(&sink.ring, n);
}

bool
log_flush(void)
{
    while (buf_len(&sink.ring) > 0) {
        struct span rest = buf_span(&sink.ring);
        ssize_t n = write_some(rest.p, rest.n);

        if (n == 0)
            return false;
        if (n < 0) { /* nobody can read these lines any more */
            sink.dropped += count_lines(rest);
            sink.first_sent = 0;
            buf_clear(&sink.ring);
            break;
        }
        ring_sent((size_t)n);
    }
    if (sink.ring.size > 64 * 1024)
        buf_release(&sink.ring);
    return true;
}

void
log_flush_wait(int wait_ms)
{
    int64_t until = clock_mono_ms() + wait_ms;

    while (!log_flush()) {
        struct pollfd pfd = {.fd = sink.fd, .events = POLLOUT};
        int64_t left = until - clock_mono_ms();

        if (left <= 0)
            return;
        poll(&pfd, 1, (int)left);
    }
}

/* Makes room for n more bytes by dropping whole lines, oldest first; a line that began to leave is
 * completed. */
static void
ring_drop(size_t n)
{
    struct span all = buf_span(&sink.ring);
    size_t keep = 0, gone;

    if (sink.first_sent > 0) {
        ptrdiff_t lf = span_find_byte(all, '\n');

        keep = lf < 0 ? all.n : (size_t)lf + 1;
    }
    gone = keep;
    while (gone < all.n && all.n - (gone - keep) + n > LOG_RING_BYTES) {
        ptrdiff_t lf = span_find_byte(span_from(all, gone), '\n');

        gone += lf < 0 ? all.n - gone : (size_t)lf + 1;
        sink.dropped++;
    }
    if (keep > 0) /* the begun line moves up to what stays */
        memmove(sink.ring.p + sink.ring.head + gone - keep, all.p, keep);
    buf_consume(&sink.ring, gone - keep);
}

void
log_sink_put(struct span line, bool urgent)
{
    if (!sink.at_exit) {
        sink.at_exit = true;
        atexit(flush_at_exit);
    }
    if (buf_len(&sink.ring) + line.n > LOG_RING_BYTES)
        ring_drop(line.n + LOG_RING_BYTES / 64); /* some at once: the rest need not be moved for each line */
    buf_add_span(&sink.ring, line);
    if (urgent || !sink.gathering || buf_len(&sink.ring) > 64 * 1024)
        log_flush();
}

void
log_gather(bool on)
{
    sink.gathering = on;
    if (!on)
        log_flush();
}

uint64_t
log_dropped(void)
{
    return sink.dropped;
}
