# tests: what ./check runs. Unit tests are listed with the code they test.
EXTRA_DIST += quickstart .ci/run $(wire_tests) $(fault_tests) $(test_libraries)
wire_tests = tests/conftest.py tests/wire/conftest.py tests/wire/m365_sim tests/wire/foreign.py \
    tests/wire/npm/package.json tests/wire/npm/package-lock.json tests/wire/npm/send.js \
    tests/wire/npm/sink.js \
    tests/wire/test_clients.py tests/wire/test_end_of_data.py tests/wire/test_governor.py \
    tests/wire/test_operations.py \
    tests/wire/test_pause.py tests/wire/test_preflight.py tests/wire/test_redis.py \
    tests/wire/test_redis_cluster.py tests/wire/test_redis_failover.py \
    tests/wire/test_relay.py tests/wire/test_session.py \
    tests/wire/test_silent.py tests/wire/test_sim.py tests/wire/spooled.py tests/wire/test_spool.py \
    tests/wire/test_spool_notify.py tests/wire/test_spool_release.py tests/wire/test_spool_trouble.py \
    tests/wire/test_tls.py tests/wire/test_upgrade.py \
    tests/wire/test_upstream_faults.py tests/wire/test_upstreams.py
fault_tests = tests/fault/checker.py tests/fault/checker_spool.py tests/fault/governor_long.py \
    tests/fault/racy_proxy.py tests/fault/spool_run.py tests/fault/spool_scene.py \
    tests/fault/test_checker.py tests/fault/test_checker_spool.py \
    tests/fault/test_runs.py tests/fault/test_spool_damage.py tests/fault/test_spool_faults.py \
    tests/fault/test_spool_many.py tests/fault/test_spool_runs.py tests/fault/test_spool_space.py \
    tests/fault/test_spool_waits.py
test_libraries = tests/lib/certs.py tests/lib/junit_count.py tests/lib/load.py tests/lib/m365sim.py \
    tests/lib/node.py \
    tests/lib/packages.sh tests/lib/ports.py tests/lib/process.py tests/lib/redis_proxy.py \
    tests/lib/redis_cluster.py tests/lib/redis_server.py tests/lib/sentinel.py \
    tests/lib/rig.py tests/lib/smtp_client.py tests/lib/strace.py \
    tests/lib/m365/__init__.py tests/lib/m365/control.py tests/lib/m365/ledger.py tests/lib/m365/rules.py \
    tests/lib/m365/server.py tests/lib/m365/session.py tests/lib/m365/wire.py

# The script ./check has the name of a target: as a file to be distributed it would run all tests each time.
dist-hook:
	cp -p $(srcdir)/check $(distdir)/check

# for tests/fault: a spool of 100 000 messages in seconds
noinst_PROGRAMS += tests/fault/spool_fill
tests_fault_spool_fill_SOURCES = tests/fault/spool_fill.c
tests_fault_spool_fill_LDADD = libsendgov.a
