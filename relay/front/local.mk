# towards apps and devices
libsendgov_a_SOURCES += policy/admit.c relay/front/front.h relay/front/front_conf.h

if HAVE_CMOCKA
FRONT_TESTS = tests/unit/test_admit
check_PROGRAMS += $(FRONT_TESTS)
TESTS += $(FRONT_TESTS)
tests_unit_test_admit_SOURCES = tests/unit/test_admit.c
tests_unit_test_admit_LDADD = $(unit_ldadd)
endif
