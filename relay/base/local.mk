# values and helpers; libc only
libsendgov_a_SOURCES += \
    relay/base/arena.c relay/base/arena.h \
    relay/base/blob.c relay/base/blob.h \
    relay/base/buf.c relay/base/buf.h \
    relay/base/clock.c relay/base/clock.h \
    relay/base/err.c relay/base/err.h \
    relay/base/file.c relay/base/file.h \
    relay/base/list.h \
    relay/base/log.c relay/base/log.h relay/base/log_sink.c relay/base/log_sink.h \
    relay/base/metric.c relay/base/metric.h relay/base/metric_table.h \
    relay/base/siphash.c relay/base/siphash.h \
    relay/base/slots.c relay/base/slots.h \
    relay/base/span.c relay/base/span.h \
    relay/base/table.c relay/base/table.h \
    relay/base/text.c relay/base/text.h \
    relay/base/xmalloc.c relay/base/xmalloc.h

EXTRA_DIST += tests/lib/guard.h

