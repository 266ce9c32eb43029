"""pytest finds the libraries of the tests here, and the one place where programs under test are named.

SENDGOV_BUILD: the build folder with sendgovd and sendgovctl (./check sets it)."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("lib", "fault"):
    sys.path.insert(0, os.path.join(HERE, folder))
