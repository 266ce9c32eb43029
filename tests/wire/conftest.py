"""One rig a module; rules of the stand-in do not outlive a test."""
import sys

import pytest

sys.dont_write_bytecode = True
from rig import Rig  # noqa: E402
from spooled import Site, sites  # noqa: E402


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r


@pytest.fixture(scope="module")
def plain_rig():
    """Without TLS towards the stand-in."""
    with sites() as r:
        yield r


@pytest.fixture
def site(plain_rig):
    """As if it were new, for each test."""
    s = Site(plain_rig)
    yield s
    s.end()


@pytest.fixture(autouse=True)
def _fresh_rules(request):
    yield
    if "rig" in request.fixturenames:
        request.getfixturevalue("rig").sim.clear_rules()
