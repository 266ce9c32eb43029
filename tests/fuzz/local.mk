# Fuzz targets. With --enable-fuzzing (and --enable-sanitizers) libFuzzer programs, `make fuzz` builds them
# all; in every other build the same targets as replay programs that run the corpus within `make check`.
include tests/fuzz/local_upstream.mk
include tests/fuzz/local_store.mk

.PHONY: fuzz

if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz_address tests/fuzz/fuzz_command tests/fuzz/fuzz_body tests/fuzz/fuzz_sasl \
    tests/fuzz/fuzz_header tests/fuzz/fuzz_server tests/fuzz/fuzz_dsn tests/fuzz/fuzz_powershell
fuzz: $(noinst_PROGRAMS)
tests_fuzz_fuzz_address_SOURCES = tests/fuzz/fuzz_address.c
tests_fuzz_fuzz_address_LDADD = libsendgov.a
tests_fuzz_fuzz_address_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_command_SOURCES = tests/fuzz/fuzz_command.c
tests_fuzz_fuzz_command_LDADD = libsendgov.a
tests_fuzz_fuzz_command_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_body_SOURCES = tests/fuzz/fuzz_body.c
tests_fuzz_fuzz_body_LDADD = libsendgov.a
tests_fuzz_fuzz_body_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_sasl_SOURCES = tests/fuzz/fuzz_sasl.c
tests_fuzz_fuzz_sasl_LDADD = libsendgov.a
tests_fuzz_fuzz_sasl_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_header_SOURCES = tests/fuzz/fuzz_header.c
tests_fuzz_fuzz_header_LDADD = libsendgov.a
tests_fuzz_fuzz_header_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_server_SOURCES = tests/fuzz/fuzz_server.c
tests_fuzz_fuzz_server_LDADD = libsendgov.a
tests_fuzz_fuzz_server_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_dsn_SOURCES = tests/fuzz/fuzz_dsn.c
tests_fuzz_fuzz_dsn_LDADD = libsendgov.a
tests_fuzz_fuzz_dsn_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_powershell_SOURCES = tests/fuzz/fuzz_powershell.c
tests_fuzz_fuzz_powershell_LDADD = libsendgovctl.a libsendgov.a
tests_fuzz_fuzz_powershell_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
fuzz:
	@echo 'configure with CC=clang --enable-fuzzing --enable-sanitizers'; exit 1

FUZZ_REPLAYS = tests/fuzz/replay_address tests/fuzz/replay_command tests/fuzz/replay_body \
    tests/fuzz/replay_sasl tests/fuzz/replay_header tests/fuzz/replay_server tests/fuzz/replay_reply \
    tests/fuzz/replay_client tests/fuzz/replay_dsn tests/fuzz/replay_powershell
check_PROGRAMS += $(FUZZ_REPLAYS)
TESTS += $(FUZZ_REPLAYS)
tests_fuzz_replay_address_SOURCES = tests/fuzz/fuzz_address.c tests/fuzz/replay.c
tests_fuzz_replay_address_LDADD = libsendgov.a
tests_fuzz_replay_command_SOURCES = tests/fuzz/fuzz_command.c tests/fuzz/replay.c
tests_fuzz_replay_command_LDADD = libsendgov.a
tests_fuzz_replay_body_SOURCES = tests/fuzz/fuzz_body.c tests/fuzz/replay.c
tests_fuzz_replay_body_LDADD = libsendgov.a
tests_fuzz_replay_sasl_SOURCES = tests/fuzz/fuzz_sasl.c tests/fuzz/replay.c
tests_fuzz_replay_sasl_LDADD = libsendgov.a
tests_fuzz_replay_header_SOURCES = tests/fuzz/fuzz_header.c tests/fuzz/replay.c
tests_fuzz_replay_header_LDADD = libsendgov.a
tests_fuzz_replay_server_SOURCES = tests/fuzz/fuzz_server.c tests/fuzz/replay.c
tests_fuzz_replay_server_LDADD = libsendgov.a
tests_fuzz_replay_reply_SOURCES = tests/fuzz/fuzz_reply.c tests/fuzz/replay.c
tests_fuzz_replay_reply_LDADD = libsendgov.a
tests_fuzz_replay_client_SOURCES = tests/fuzz/fuzz_client.c tests/fuzz/replay.c
tests_fuzz_replay_client_LDADD = libsendgov.a
tests_fuzz_replay_dsn_SOURCES = tests/fuzz/fuzz_dsn.c tests/fuzz/replay.c
tests_fuzz_replay_dsn_LDADD = libsendgov.a
tests_fuzz_replay_powershell_SOURCES = tests/fuzz/fuzz_powershell.c tests/fuzz/replay.c
tests_fuzz_replay_powershell_LDADD = libsendgovctl.a libsendgov.a
endif

EXTRA_DIST += tests/fuzz/replay.c tests/fuzz/fuzz_address.c tests/fuzz/fuzz_command.c tests/fuzz/fuzz_body.c \
    tests/fuzz/fuzz_sasl.c tests/fuzz/fuzz_header.c tests/fuzz/fuzz_server.c tests/fuzz/fuzz_dsn.c \
    tests/fuzz/fuzz_powershell.c \
    tests/fuzz/corpus/address/bare \
    tests/fuzz/corpus/address/injection \
    tests/fuzz/corpus/address/literal \
    tests/fuzz/corpus/address/null \
    tests/fuzz/corpus/address/number \
    tests/fuzz/corpus/address/plain \
    tests/fuzz/corpus/address/quoted \
    tests/fuzz/corpus/address/route \
    tests/fuzz/corpus/address/utf8 \
    tests/fuzz/corpus/command/bdat \
    tests/fuzz/corpus/command/ehlo \
    tests/fuzz/corpus/command/get \
    tests/fuzz/corpus/command/huge \
    tests/fuzz/corpus/command/mail \
    tests/fuzz/corpus/command/mail_dsn \
    tests/fuzz/corpus/command/rcpt \
    tests/fuzz/corpus/command/rcpt_dsn \
    tests/fuzz/corpus/command/rcpt_dsn_bad \
    tests/fuzz/corpus/command/rcpt_dsn_type \
    tests/fuzz/corpus/command/spaces \
    tests/fuzz/corpus/command/utf8 \
    tests/fuzz/corpus/command/xtext \
    tests/fuzz/corpus/body/dots \
    tests/fuzz/corpus/body/empty \
    tests/fuzz/corpus/body/end \
    tests/fuzz/corpus/body/form00 \
    tests/fuzz/corpus/body/form01 \
    tests/fuzz/corpus/body/form02 \
    tests/fuzz/corpus/body/form03 \
    tests/fuzz/corpus/body/form04 \
    tests/fuzz/corpus/body/form05 \
    tests/fuzz/corpus/body/form06 \
    tests/fuzz/corpus/body/form07 \
    tests/fuzz/corpus/body/form08 \
    tests/fuzz/corpus/body/form09 \
    tests/fuzz/corpus/powershell/csv \
    tests/fuzz/corpus/powershell/json \
    tests/fuzz/corpus/powershell/list \
    tests/fuzz/corpus/powershell/list_utf16 \
    tests/fuzz/corpus/powershell/table \
    tests/fuzz/corpus/sasl/authzid \
    tests/fuzz/corpus/sasl/junk \
    tests/fuzz/corpus/sasl/login \
    tests/fuzz/corpus/sasl/message \
    tests/fuzz/corpus/sasl/pad \
    tests/fuzz/corpus/sasl/plain \
    tests/fuzz/corpus/dsn/eightbit \
    tests/fuzz/corpus/dsn/full \
    tests/fuzz/corpus/dsn/no_body \
    tests/fuzz/corpus/dsn/no_end \
    tests/fuzz/corpus/dsn/plain \
    tests/fuzz/corpus/dsn/said \
    tests/fuzz/corpus/dsn/stray \
    tests/fuzz/corpus/header/folded \
    tests/fuzz/corpus/header/group \
    tests/fuzz/corpus/header/junk \
    tests/fuzz/corpus/header/own \
    tests/fuzz/corpus/header/plain \
    tests/fuzz/corpus/header/two \
    tests/fuzz/corpus/server/auth_login \
    tests/fuzz/corpus/server/auth_plain \
    tests/fuzz/corpus/server/bdat \
    tests/fuzz/corpus/server/cancel \
    tests/fuzz/corpus/server/dsn \
    tests/fuzz/corpus/server/errors \
    tests/fuzz/corpus/server/get \
    tests/fuzz/corpus/server/injection \
    tests/fuzz/corpus/server/long \
    tests/fuzz/corpus/server/mail \
    tests/fuzz/corpus/server/many \
    tests/fuzz/corpus/server/newline \
    tests/fuzz/corpus/server/strict \
    tests/fuzz/corpus/server/tls
