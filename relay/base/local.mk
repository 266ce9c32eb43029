# values and helpers; libc only
libsendgov_a_SOURCES += \
    relay/base/arena.c relay/base/arena.h \
    relay/base/ascii.h \
    relay/base/blob.c relay/base/blob.h \
    relay/base/buf.c relay/base/buf.h \
    relay/base/clock.c relay/base/clock.h \
    relay/base/err.c relay/base/err.h \
    relay/base/file.c relay/base/file.h \
    relay/base/list.h \
    relay/base/log.c relay/base/log.h relay/base/log_sink.c relay/base/log_sink.h \
    relay/base/metric.c relay/base/metric.h relay/base/metric_table.h \
    relay/base/owner.h \
    relay/base/siphash.c relay/base/siphash.h \
    relay/base/slots.c relay/base/slots.h \
    relay/base/calendar.c relay/base/calendar.h \
    relay/base/span.c relay/base/span.h \
    relay/base/table.c relay/base/table.h \
    relay/base/text.c relay/base/text.h \
    relay/base/xmalloc.c relay/base/xmalloc.h

EXTRA_DIST += tests/lib/guard.h

if HAVE_CMOCKA
BASE_TESTS = tests/unit/test_span tests/unit/test_slots tests/unit/test_buf tests/unit/test_log \
    tests/unit/test_blob tests/unit/test_metric tests/unit/test_table tests/unit/test_file
check_PROGRAMS += $(BASE_TESTS)
TESTS += $(BASE_TESTS)
tests_unit_test_span_SOURCES = tests/unit/test_span.c
tests_unit_test_span_LDADD = $(unit_ldadd)
tests_unit_test_slots_SOURCES = tests/unit/test_slots.c
tests_unit_test_slots_LDADD = $(unit_ldadd)
tests_unit_test_buf_SOURCES = tests/unit/test_buf.c
tests_unit_test_buf_LDADD = $(unit_ldadd)
tests_unit_test_log_SOURCES = tests/unit/test_log.c
tests_unit_test_log_LDADD = $(unit_ldadd)
tests_unit_test_blob_SOURCES = tests/unit/test_blob.c
tests_unit_test_blob_LDADD = $(unit_ldadd)
tests_unit_test_metric_SOURCES = tests/unit/test_metric.c
tests_unit_test_metric_LDADD = $(unit_ldadd)
tests_unit_test_table_SOURCES = tests/unit/test_table.c
tests_unit_test_table_LDADD = $(unit_ldadd)
tests_unit_test_file_SOURCES = tests/unit/test_file.c
tests_unit_test_file_LDADD = $(unit_ldadd)
endif
