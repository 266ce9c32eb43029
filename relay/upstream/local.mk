# towards Microsoft 365; the client's half of the wire protocol is listed here too
libsendgov_a_SOURCES += relay/upstream/upstream.h relay/upstream/upstream_conf.h relay/upstream/upstream.c \
    relay/upstream/pool.h relay/upstream/pool.c relay/upstream/pool_conf.h relay/upstream/pool_conf.c \
    relay/upstream/conn.h relay/upstream/conn.c relay/upstream/conn_body.c relay/upstream/pace.h relay/upstream/pace.c \
    relay/upstream/slot.h relay/upstream/slot.c relay/upstream/trouble.h relay/upstream/trouble.c
libsendgov_a_SOURCES += relay/smtp/reply.c relay/smtp/transaction.h relay/smtp/ehlo.h relay/smtp/ehlo.c
libsendgov_a_SOURCES += relay/smtp/client.h relay/smtp/client_tx.h relay/smtp/client.c relay/smtp/client_tx.c

if HAVE_CMOCKA
UPSTREAM_TESTS = tests/unit/test_reply tests/unit/test_client
check_PROGRAMS += $(UPSTREAM_TESTS)
TESTS += $(UPSTREAM_TESTS)
tests_unit_test_reply_SOURCES = tests/unit/test_reply.c
tests_unit_test_reply_LDADD = $(unit_ldadd)
tests_unit_test_client_SOURCES = tests/unit/test_client.c
tests_unit_test_client_LDADD = $(unit_ldadd)
endif
