# the path of one message
libsendgov_a_SOURCES += relay/flow/flow.h relay/flow/message.h relay/flow/message.c \
    relay/flow/hint.h relay/flow/hint.c relay/flow/settle.h relay/flow/settle.c \
    relay/flow/ledger.h relay/flow/connections.h relay/flow/connections.c
EXTRA_DIST += relay/flow/flow.c relay/flow/ledger.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_hint
TESTS += tests/unit/test_hint
tests_unit_test_hint_SOURCES = tests/unit/test_hint.c
tests_unit_test_hint_LDADD = $(unit_ldadd)
endif
EXTRA_DIST += tests/unit/test_settle.c
