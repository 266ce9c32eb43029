# the wire protocol, pure
libsendgov_a_SOURCES += relay/smtp/address.h relay/smtp/address.c relay/smtp/envelope.h \
    relay/smtp/envelope.c \
    relay/smtp/reply.h relay/smtp/command.h relay/smtp/command.c relay/smtp/param.h relay/smtp/param.c \
    relay/smtp/sasl.h relay/smtp/sasl.c relay/smtp/body.h relay/smtp/body.c \
    relay/smtp/body_lines.h relay/smtp/body_lines.c \
    relay/smtp/header.h relay/smtp/header.c relay/smtp/header_authors.c \
    relay/smtp/server.h relay/smtp/server_part.h relay/smtp/server.c relay/smtp/server_command.c \
    relay/smtp/server_auth.c relay/smtp/xtext.h relay/smtp/xtext.c

EXTRA_DIST += tests/lib/body_reference.h

if HAVE_CMOCKA
SMTP_TESTS = tests/unit/test_address tests/unit/test_command tests/unit/test_sasl \
    tests/unit/test_body tests/unit/test_header tests/unit/test_server
check_PROGRAMS += $(SMTP_TESTS)
TESTS += $(SMTP_TESTS)
tests_unit_test_address_SOURCES = tests/unit/test_address.c
tests_unit_test_address_LDADD = $(unit_ldadd)
tests_unit_test_command_SOURCES = tests/unit/test_command.c
tests_unit_test_command_LDADD = $(unit_ldadd)
tests_unit_test_sasl_SOURCES = tests/unit/test_sasl.c
tests_unit_test_sasl_LDADD = $(unit_ldadd)
tests_unit_test_body_SOURCES = tests/unit/test_body.c
tests_unit_test_body_LDADD = $(unit_ldadd)
tests_unit_test_header_SOURCES = tests/unit/test_header.c
tests_unit_test_header_LDADD = $(unit_ldadd)
tests_unit_test_server_SOURCES = tests/unit/test_server.c
tests_unit_test_server_LDADD = $(unit_ldadd)
endif
