# libevent lives here
libsendgov_a_SOURCES += \
    relay/net/addr.c relay/net/addr.h \
    relay/net/dial.c relay/net/dial.h \
    relay/net/inherited.c relay/net/inherited.h \
    relay/net/listener.c relay/net/listener.h \
    relay/net/loop.c relay/net/loop.h relay/net/loop_part.h relay/net/timer.c \
    relay/net/packets.c relay/net/packets.h \
    relay/net/resolver.c relay/net/resolver.h \
    relay/net/stream.c relay/net/stream.h relay/net/stream_io.c relay/net/stream_part.h \
    relay/net/worker.c relay/net/worker.h

if HAVE_CMOCKA
NET_TESTS = tests/unit/test_loop tests/unit/test_stream tests/unit/test_dial tests/unit/test_inherited \
    tests/unit/test_packets
check_PROGRAMS += $(NET_TESTS)
TESTS += $(NET_TESTS)
tests_unit_test_loop_SOURCES = tests/unit/test_loop.c
tests_unit_test_loop_LDADD = $(unit_ldadd)
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c tests/lib/peer.h
tests_unit_test_stream_LDADD = $(unit_ldadd)
tests_unit_test_dial_SOURCES = tests/unit/test_dial.c
tests_unit_test_dial_LDADD = $(unit_ldadd)
tests_unit_test_inherited_SOURCES = tests/unit/test_inherited.c
tests_unit_test_inherited_LDADD = $(unit_ldadd)
tests_unit_test_packets_SOURCES = tests/unit/test_packets.c
tests_unit_test_packets_LDADD = $(unit_ldadd)
endif
