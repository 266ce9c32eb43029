# values and helpers; libc only
libsendgov_a_SOURCES += relay/base/arena.h relay/base/blob.h relay/base/buf.h relay/base/clock.h relay/base/err.h relay/base/list.h relay/base/log.h relay/base/metric.h relay/base/metric_table.h relay/base/slots.h relay/base/span.h relay/base/xmalloc.h 
libsendgov_a_SOURCES += relay/base/span.c
