# the path of one message
libsendgov_a_SOURCES += relay/flow/flow.h relay/flow/flow_part.h relay/flow/flow.c \
    relay/flow/job.h relay/flow/job.c \
    relay/flow/overshoot.h relay/flow/overshoot.c \
    relay/flow/refuse.h relay/flow/refuse.c relay/flow/message.h relay/flow/message.c \
    relay/flow/hint.h relay/flow/hint.c relay/flow/settle.h relay/flow/settle.c \
    relay/flow/ledger.h relay/flow/ledger.c relay/flow/connections.h relay/flow/connections.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_flow tests/unit/test_hint tests/unit/test_settle
TESTS += tests/unit/test_flow tests/unit/test_hint tests/unit/test_settle
tests_unit_test_flow_SOURCES = tests/unit/test_flow.c tests/lib/flow_scene.h tests/lib/flow_scene.c \
    $(UPSTREAM_WORLD)
tests_unit_test_flow_LDADD = $(unit_ldadd)
tests_unit_test_hint_SOURCES = tests/unit/test_hint.c
tests_unit_test_hint_LDADD = $(unit_ldadd)
tests_unit_test_settle_SOURCES = tests/unit/test_settle.c
tests_unit_test_settle_LDADD = $(unit_ldadd)
endif
