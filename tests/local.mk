# tests: what ./check runs. Unit tests are listed with the code they test.
EXTRA_DIST += check tests/conftest.py \
    tests/wire/m365_sim tests/wire/npm/package.json tests/wire/npm/package-lock.json \
    tests/fault/checker.py tests/fault/test_checker.py \
    tests/lib/certs.py tests/lib/junit_count.py tests/lib/m365sim.py tests/lib/packages.sh tests/lib/process.py \
    tests/lib/m365/__init__.py tests/lib/m365/control.py tests/lib/m365/ledger.py tests/lib/m365/rules.py \
    tests/lib/m365/server.py tests/lib/m365/session.py tests/lib/m365/wire.py
