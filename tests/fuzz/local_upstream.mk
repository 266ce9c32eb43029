# client machine and reply reader
if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz_reply tests/fuzz/fuzz_client
tests_fuzz_fuzz_reply_SOURCES = tests/fuzz/fuzz_reply.c
tests_fuzz_fuzz_reply_LDADD = libsendgov.a
tests_fuzz_fuzz_reply_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_client_SOURCES = tests/fuzz/fuzz_client.c
tests_fuzz_fuzz_client_LDADD = libsendgov.a
tests_fuzz_fuzz_client_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
endif
EXTRA_DIST += tests/fuzz/fuzz_reply.c tests/fuzz/fuzz_client.c \
    tests/fuzz/corpus/reply/bad \
    tests/fuzz/corpus/reply/bare \
    tests/fuzz/corpus/reply/block \
    tests/fuzz/corpus/reply/control \
    tests/fuzz/corpus/reply/dash \
    tests/fuzz/corpus/reply/disagree \
    tests/fuzz/corpus/reply/line2 \
    tests/fuzz/corpus/reply/multi \
    tests/fuzz/corpus/reply/ok \
    tests/fuzz/corpus/reply/pipelined \
    tests/fuzz/corpus/reply/semicolon \
    tests/fuzz/corpus/client/all_or_nothing \
    tests/fuzz/corpus/client/dsn \
    tests/fuzz/corpus/client/helo \
    tests/fuzz/corpus/client/implicit_plain \
    tests/fuzz/corpus/client/in_body \
    tests/fuzz/corpus/client/injection \
    tests/fuzz/corpus/client/lockstep_mixed \
    tests/fuzz/corpus/client/lone_dot \
    tests/fuzz/corpus/client/pipelined \
    tests/fuzz/corpus/client/starttls_login \
    tests/fuzz/corpus/client/uncertain
