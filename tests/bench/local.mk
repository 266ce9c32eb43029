# make bench: the programs are built and tried by `make check` too, so that they cannot rot unseen
check_PROGRAMS += tests/bench/load tests/bench/sink
tests_bench_load_SOURCES = tests/bench/load.c tests/bench/load.h tests/bench/load_setup.c tests/bench/wire.c \
    tests/bench/wire.h tests/bench/hist.h
tests_bench_sink_SOURCES = tests/bench/sink.c tests/bench/wire.c tests/bench/wire.h
check_PROGRAMS += tests/bench/governor
tests_bench_governor_SOURCES = tests/bench/governor.c tests/bench/governor.h tests/bench/governor_raw.c \
    tests/bench/governor_store.c tests/bench/hist.h
tests_bench_governor_LDADD = libsendgov.a
EXTRA_DIST += tests/bench/test_bench.py tests/bench/test_scaling.py tests/bench/scaling.py
TESTS += tests/bench/test_bench.py tests/bench/test_scaling.py
EXTRA_DIST += tests/bench/bench.py tests/bench/procs.py tests/bench/sendgov.py tests/bench/table.py
EXTRA_DIST += tests/bench/bench_spool.py tests/bench/queues.py tests/bench/spool_table.py
EXTRA_DIST += tests/bench/bench_governor.py tests/bench/governor_redis.py tests/bench/governor_table.py

.PHONY: bench bench-spool bench-governor
bench: sendgovd tests/bench/load tests/bench/sink
	/usr/bin/python3 $(srcdir)/tests/bench/bench.py --build $(builddir) $(BENCH_ARGS)

# acceptance onto stable storage and delivery from it, beside Postfix; as root
bench-spool: sendgovd sendgovctl tests/bench/load tests/bench/sink
	/usr/bin/python3 $(srcdir)/tests/bench/bench_spool.py --build $(builddir) $(BENCH_ARGS)

# what a charge costs Redis
bench-governor: tests/bench/governor
	/usr/bin/python3 $(srcdir)/tests/bench/bench_governor.py --build $(builddir) $(BENCH_ARGS)
