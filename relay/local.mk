# the daemon's main
sbin_PROGRAMS += sendgovd
sendgovd_SOURCES = relay/sendgovd.c relay/daemon.h relay/daemon.c relay/process.h relay/process.c \
    relay/handover.h relay/upgrade.h relay/upgrade.c \
    relay/predecessor.h relay/predecessor.c relay/successor.h relay/successor.c
sendgovd_LDADD = libsendgov.a

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_successor
TESTS += tests/unit/test_successor
tests_unit_test_successor_SOURCES = tests/unit/test_successor.c relay/handover.h relay/predecessor.h \
    relay/predecessor.c relay/successor.h relay/successor.c
tests_unit_test_successor_LDADD = $(unit_ldadd)
endif
