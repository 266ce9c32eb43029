#!/usr/bin/python3
"""Prints "passed failed" of a pytest JUnit file; skipped tests count as failed."""
import sys
import xml.etree.ElementTree as tree

suites = tree.parse(sys.argv[1]).getroot().iter("testsuite")
passed = failed = 0
for suite in suites:
    bad = sum(int(suite.get(key, 0)) for key in ("failures", "errors", "skipped"))
    passed += int(suite.get("tests", 0)) - bad
    failed += bad
print(passed, failed)
