# metrics, control socket, status
libsendgov_a_SOURCES += relay/admin/admin.h 
libsendgov_a_SOURCES += relay/base/nearest.h relay/base/nearest.c
if HAVE_CMOCKA
ADMIN_TESTS = tests/unit/test_nearest
check_PROGRAMS += $(ADMIN_TESTS)
TESTS += $(ADMIN_TESTS)
tests_unit_test_nearest_SOURCES = tests/unit/test_nearest.c
tests_unit_test_nearest_LDADD = $(unit_ldadd)
endif
