# towards apps and devices
libsendgov_a_SOURCES += policy/admit.c relay/front/front.h relay/front/front_conf.h relay/front/front_part.h \
    relay/front/front.c relay/front/plan.c relay/front/accept.c \
    relay/front/session.h relay/front/session.c relay/front/session_identity.c relay/front/session_mail.c \
    relay/front/session_books.c \
    relay/front/identity.h relay/front/identity.c relay/front/sender.h relay/front/sender.c \
    relay/front/trace.h relay/front/trace.c relay/front/users.h relay/front/users.c \
    relay/front/verify.h relay/front/verify.c relay/front/peers.h relay/front/peers.c

if HAVE_CMOCKA
FRONT_TESTS = tests/unit/test_admit tests/unit/test_identity tests/unit/test_logins tests/unit/test_front \
    tests/unit/test_front_retire
check_PROGRAMS += $(FRONT_TESTS)
TESTS += $(FRONT_TESTS)
tests_unit_test_admit_SOURCES = tests/unit/test_admit.c
tests_unit_test_admit_LDADD = $(unit_ldadd)
tests_unit_test_front_SOURCES = tests/unit/test_front.c tests/unit/front_fakes.c tests/unit/front_fakes.h
tests_unit_test_front_LDADD = $(unit_ldadd)
tests_unit_test_front_retire_SOURCES = tests/unit/test_front_retire.c tests/unit/front_fakes.c \
    tests/unit/front_fakes.h
tests_unit_test_front_retire_LDADD = $(unit_ldadd)
tests_unit_test_identity_SOURCES = tests/unit/test_identity.c
tests_unit_test_identity_LDADD = $(unit_ldadd)
tests_unit_test_logins_SOURCES = tests/unit/test_logins.c
tests_unit_test_logins_LDADD = $(unit_ldadd)
endif
