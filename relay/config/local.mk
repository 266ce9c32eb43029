# YAML to typed structs
libsendgov_a_SOURCES += relay/config/config.h relay/config/units.h \
    relay/config/check.c relay/config/check.h relay/config/check_clients.c relay/config/check_limits.c \
    relay/config/check_listeners.c relay/config/check_routes.c relay/config/check_spool.c \
    relay/config/config.c relay/config/draft.c \
    relay/config/draft.h relay/config/dump.c relay/config/files.c relay/config/include.c \
    relay/config/limit.c \
    relay/config/network.c relay/config/node.c relay/config/node.h relay/config/preflight.c \
    relay/config/preflight.h relay/config/profile.c \
    relay/config/reference.c \
    relay/config/reference.h relay/config/schedule.c \
    relay/config/section.c relay/config/setting.h relay/config/setting_table.c relay/config/tenant_limit.c \
    relay/config/type.h relay/config/type_list.c relay/config/type_number.c relay/config/type_redis.c \
    relay/config/type_reply.c relay/config/type_text.c relay/config/units.c

# prints the JSON schema and the manual's list of settings from the table
noinst_PROGRAMS += sendgov-reference
sendgov_reference_SOURCES = relay/config/reference_main.c
sendgov_reference_LDADD = libsendgov.a
dist_man_MANS += relay/config/sendgov.yaml.5

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_units tests/unit/test_config tests/unit/test_config_errors \
    tests/unit/test_config_limits tests/unit/test_config_reference tests/unit/test_preflight
TESTS += tests/unit/test_units tests/unit/test_config tests/unit/test_config_errors \
    tests/unit/test_config_limits tests/unit/test_config_reference tests/unit/test_preflight
tests_unit_test_units_SOURCES = tests/unit/test_units.c
tests_unit_test_units_LDADD = $(unit_ldadd)
config_test_files = tests/unit/config_files.c tests/unit/config_files.h
config_test_cppflags = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_test_config_SOURCES = tests/unit/test_config.c $(config_test_files)
tests_unit_test_config_CPPFLAGS = $(config_test_cppflags)
tests_unit_test_config_LDADD = $(unit_ldadd)
tests_unit_test_config_errors_SOURCES = tests/unit/test_config_errors.c $(config_test_files)
tests_unit_test_config_errors_CPPFLAGS = $(config_test_cppflags)
tests_unit_test_config_errors_LDADD = $(unit_ldadd)
tests_unit_test_config_limits_SOURCES = tests/unit/test_config_limits.c $(config_test_files)
tests_unit_test_config_limits_CPPFLAGS = $(config_test_cppflags)
tests_unit_test_config_limits_LDADD = $(unit_ldadd)
tests_unit_test_config_reference_SOURCES = tests/unit/test_config_reference.c $(config_test_files)
tests_unit_test_config_reference_CPPFLAGS = $(config_test_cppflags)
tests_unit_test_config_reference_LDADD = $(unit_ldadd)
tests_unit_test_preflight_SOURCES = tests/unit/test_preflight.c $(config_test_files)
tests_unit_test_preflight_CPPFLAGS = $(config_test_cppflags)
tests_unit_test_preflight_LDADD = $(unit_ldadd)
# a network file system cannot be mounted everywhere
tests_unit_test_preflight_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=file_is_on_network
endif

EXTRA_DIST += tests/tables/config_errors tests/tables/replies.txt tests/fuzz/fuzz_config.c \
    tests/fuzz/corpus/config

if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz_config
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c
tests_fuzz_fuzz_config_LDADD = libsendgov.a
tests_fuzz_fuzz_config_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
check_PROGRAMS += tests/fuzz/replay_config
TESTS += tests/fuzz/replay_config
tests_fuzz_replay_config_SOURCES = tests/fuzz/fuzz_config.c tests/fuzz/replay.c
tests_fuzz_replay_config_LDADD = libsendgov.a
endif
