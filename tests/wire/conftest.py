"""One rig a module; rules of the stand-in do not outlive a test."""
import sys

import pytest

sys.dont_write_bytecode = True
from rig import Rig  # noqa: E402


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r


@pytest.fixture(autouse=True)
def _fresh_rules(request):
    yield
    if "rig" in request.fixturenames:
        request.getfixturevalue("rig").sim.clear_rules()
