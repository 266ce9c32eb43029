"""Clients nobody here wrote send through the relay: plain, STARTTLS and implicit TLS, with AUTH, 1 MB, 50 recipients."""
import hashlib

import pytest

from foreign import CLIENTS, big_text, stamp
from rig import CLIENT_PASSWORD
from smtp_client import message

LISTENERS = {"off": "plain", "starttls": "apps", "implicit": "tls"}
LOGIN = ("app", CLIENT_PASSWORD)


@pytest.fixture(scope="module")
def node(rig):
    return rig.node("n1").start()


def offer(rig, node, client, tls, login, recipients, text):
    content = message(message_id=f"<{stamp()}@clients>", to=recipients[0], text=text)
    mark = rig.sim.mark()
    CLIENTS[client](rig, node.port(LISTENERS[tls]), tls, login, "app@contoso.com", recipients, content)
    rows = rig.sim.wait_messages(1, mark, timeout_s=30)
    return content, rows[0]


@pytest.mark.parametrize("tls", LISTENERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_megabyte_to_fifty_recipients_after_login(rig, node, client, tls):
    recipients = [f"r{i}@fabrikam.com" for i in range(50)]
    content, row = offer(rig, node, client, tls, LOGIN, recipients, big_text(1, 1))
    assert sorted(r["to"] for r in row["rcpts"]) == sorted(recipients)
    assert row["auth"] == "relay@contoso.com" and row["sender"] == "app@contoso.com"
    if client == "postfix":  # which puts its own Received on top of the content
        assert row["size"] > len(content)
        with open(row["body"], "rb") as f:
            assert f.read().endswith(content)
    else:
        assert row["sha256_below_trace"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_small_mail_from_a_known_network_without_login(rig, node, client):
    content, row = offer(rig, node, client, "off", None, ["someone@fabrikam.com"], b"Hello.\r\n")
    with open(row["body"], "rb") as f:
        assert f.read().endswith(content)
