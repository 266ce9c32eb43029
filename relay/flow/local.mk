# the path of one message
libsendgov_a_SOURCES += relay/flow/flow.h relay/flow/flow_part.h relay/flow/flow.c \
    relay/flow/job.h relay/flow/job.c relay/flow/job_round.c relay/flow/job_apart.c \
    relay/flow/job_end.c \
    relay/flow/fate.h relay/flow/fate.c relay/flow/keep.h relay/flow/keep.c \
    relay/flow/notify.h relay/flow/notify.c relay/flow/release.h relay/flow/release.c \
    relay/flow/release_room.h relay/flow/release_room.c relay/flow/held.h relay/flow/held.c \
    relay/flow/overshoot.h relay/flow/overshoot.c \
    relay/flow/refuse.h relay/flow/refuse.c relay/flow/explain.h relay/flow/explain.c \
    relay/flow/message.h relay/flow/message.c \
    relay/flow/hint.h relay/flow/hint.c relay/flow/settle.h relay/flow/settle.c \
    relay/flow/ledger.h relay/flow/ledger.c relay/flow/connections.h relay/flow/connections.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_flow_spool
TESTS += tests/unit/test_flow_spool
tests_unit_test_flow_spool_SOURCES = tests/unit/test_flow_spool.c tests/lib/flow_scene.h \
    tests/lib/flow_scene.c $(UPSTREAM_WORLD)
tests_unit_test_flow_spool_LDADD = $(unit_ldadd)
check_PROGRAMS += tests/unit/test_flow_domain
TESTS += tests/unit/test_flow_domain
tests_unit_test_flow_domain_SOURCES = tests/unit/test_flow_domain.c tests/lib/flow_scene.h \
    tests/lib/flow_scene.c $(UPSTREAM_WORLD)
tests_unit_test_flow_domain_LDADD = $(unit_ldadd)
check_PROGRAMS += tests/unit/test_release_room
TESTS += tests/unit/test_release_room
tests_unit_test_release_room_SOURCES = tests/unit/test_release_room.c
tests_unit_test_release_room_LDADD = $(unit_ldadd)
check_PROGRAMS += tests/unit/test_fate tests/unit/test_flow tests/unit/test_hint tests/unit/test_settle
TESTS += tests/unit/test_fate tests/unit/test_flow tests/unit/test_hint tests/unit/test_settle
tests_unit_test_fate_SOURCES = tests/unit/test_fate.c
tests_unit_test_fate_LDADD = $(unit_ldadd)
tests_unit_test_flow_SOURCES = tests/unit/test_flow.c tests/lib/flow_scene.h tests/lib/flow_scene.c \
    $(UPSTREAM_WORLD)
tests_unit_test_flow_LDADD = $(unit_ldadd)
tests_unit_test_hint_SOURCES = tests/unit/test_hint.c
tests_unit_test_hint_LDADD = $(unit_ldadd)
tests_unit_test_settle_SOURCES = tests/unit/test_settle.c
tests_unit_test_settle_LDADD = $(unit_ldadd)
endif
