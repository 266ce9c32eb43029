/* log: one event, one line, logfmt or JSON, to stderr.
 *     struct log_line l;
 *     log_begin(&l, LOG_INFO, "message");
 *     log_str(&l, "sender", span_str(sender));
 *     log_int(&l, "waited_ms", waited);
 *     log_end(&l);
 *
 *
 * Untrusted text enters only through log_str, which escapes everything that could break the line or a
 * terminal (control bytes, 0x80-0x9f, quotes, invalid UTF-8, writing direction marks) and cuts it at 1024
 * bytes. The sink is the one global of the program, for the main thread only: level, format and descriptor
 * are set at start and on reload. A slow stderr never blocks the loop: lines that do not fit its ring are
 * dropped and counted. Secrets never get here. */
#ifndef SENDGOV_BASE_LOG_H
#define SENDGOV_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/base/buf.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_line {
    bool wanted; /* the level is on; everything else is a no-op */
    enum log_level level;
    struct buf text;
};

void log_setup(enum log_level least, enum log_format format);
bool log_is_on(enum log_level level);
/* Lines dropped since start because stderr did not take them. */
uint64_t log_dropped(void);
/* While gathering, lines below warning wait for log_flush: the loop calls it once a turn, before any
 * reply leaves, so that a busy turn costs one write and no reply is ahead of its line. */
void log_gather(bool on);
/* Hands over what stderr takes now, without waiting; false while something is left. */
bool log_flush(void);
/* The same, waiting at most wait_ms. Done at exit by itself, for at most a second. */
void log_flush_wait(int wait_ms);

void log_begin(struct log_line *l, enum log_level level, const char *event);
void log_str(struct log_line *l, const char *key, struct span value);
void log_cstr(struct log_line *l, const char *key, const char *value);
void log_int(struct log_line *l, const char *key, int64_t value);
void log_bool(struct log_line *l, const char *key, bool value);
/* "used/limit" */
void log_ratio(struct log_line *l, const char *key, uint64_t used, uint64_t limit);
void log_end(struct log_line *l);
/* A whole line with one free text: event=... msg="...". */
void log_text(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
