# towards Microsoft 365; the client's half of the wire protocol is listed here too
libsendgov_a_SOURCES += relay/upstream/upstream.h relay/upstream/upstream_conf.h relay/upstream/upstream.c \
    relay/upstream/pool.h relay/upstream/pool.c relay/upstream/pool_conf.h relay/upstream/pool_conf.c \
    relay/upstream/conn.h relay/upstream/conn.c relay/upstream/conn_body.c relay/upstream/pace.h \
    relay/upstream/pace.c \
    relay/upstream/slot.h relay/upstream/slot.c relay/upstream/trouble.h relay/upstream/trouble.c
libsendgov_a_SOURCES += relay/smtp/reply.c relay/smtp/transaction.h relay/smtp/ehlo.h relay/smtp/ehlo.c
libsendgov_a_SOURCES += relay/smtp/client.h relay/smtp/client_tx.h relay/smtp/client.c relay/smtp/client_tx.c

UPSTREAM_WORLD = tests/lib/smtp_peer.h tests/lib/smtp_peer.c tests/lib/upstream_world.h \
    tests/lib/upstream_world.c

if HAVE_CMOCKA
UPSTREAM_TESTS = tests/unit/test_reply tests/unit/test_client tests/unit/test_upstream_pace \
    tests/unit/test_upstream_pool tests/unit/test_upstream_send
check_PROGRAMS += $(UPSTREAM_TESTS)
TESTS += $(UPSTREAM_TESTS)
tests_unit_test_reply_SOURCES = tests/unit/test_reply.c
tests_unit_test_reply_LDADD = $(unit_ldadd)
tests_unit_test_client_SOURCES = tests/unit/test_client.c
tests_unit_test_client_LDADD = $(unit_ldadd)
tests_unit_test_upstream_pace_SOURCES = tests/unit/test_upstream_pace.c
tests_unit_test_upstream_pace_LDADD = $(unit_ldadd)
tests_unit_test_upstream_pool_SOURCES = tests/unit/test_upstream_pool.c $(UPSTREAM_WORLD)
tests_unit_test_upstream_pool_LDADD = $(unit_ldadd)
tests_unit_test_upstream_send_SOURCES = tests/unit/test_upstream_send.c $(UPSTREAM_WORLD)
tests_unit_test_upstream_send_LDADD = $(unit_ldadd)
endif
