"""Upstreams nobody here wrote receive the bytes that were sent."""
import pytest

from foreign import MaildirPostfix, SmtpServer, big_text, stamp
from ports import free_port
from smtp_client import Client, message

BODIES = {
    "dots": b".\r\n..\r\n.x\r\n...\r\n\r\n.\r\n",
    "a megabyte": big_text(1, 2),
    "long line": b"y" * 997 + b"\r\n",
    "eight bit": "Grüße, 你好, naïve\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "tabs and spaces": b" \t \r\n\t\r\n trailing \r\n",
    "dot at a buffer's edge": b"z" * 70 + b"\r\n" + (b"a" * 70 + b"\r\n") * 227 + b".\r\n..end\r\n",
}


@pytest.fixture(scope="module")
def postfix(rig):
    server = MaildirPostfix(rig)
    node = rig.node("pf", alone=True, mailboxes=None, routes={"contoso": {
        "upstream": f"localhost:{server.port}", "tls": "starttls", "tls_ca_file": rig.ca.cert, "domains": ["contoso.com"]}})
    node.config.pop("mailboxes")
    node.write_config()
    return server, node.start()


@pytest.fixture(scope="module")
def smtp_server(rig):
    server = SmtpServer(rig)
    node = rig.node("ss", alone=True, routes={"contoso": {
        "upstream": f"localhost:{server.port}", "tls": "starttls", "tls_ca_file": rig.ca.cert, "domains": ["contoso.com"]}},
        listeners={"plain": {"address": f"127.0.0.1:{free_port()}", "tls": "off"}})
    return server, node.start()


def send(node, text):
    needle = f"<{stamp()}@upstreams>"
    content = message(message_id=needle, text=text)
    with Client(node.port("plain")) as c:
        c.ehlo()
        reply = c.mail("app@contoso.com", ["a@fabrikam.com", "b@fabrikam.com"], content, " BODY=8BITMIME")
    assert reply.code == 250, reply
    return content, needle.encode()


@pytest.mark.parametrize("body", BODIES)
def test_postfix_receives_the_same_bytes(postfix, body):
    server, node = postfix
    content, needle = send(node, BODIES[body])
    for data in server.wait_mail(needle, 2):  # one file a recipient, in the local form of line ends
        assert data.endswith(content.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("body", BODIES)
def test_smtp_server_receives_the_same_bytes(smtp_server, body):
    server, node = smtp_server
    content, needle = send(node, BODIES[body])
    envelope, data = server.wait_mail(needle)
    assert data.endswith(content) and data.startswith(b"Received:")
    assert data[:len(data) - len(content)].count(b"\r\n\r\n") == 0
    assert envelope == {"from": "app@contoso.com", "to": ["a@fabrikam.com", "b@fabrikam.com"], "user": "relay@contoso.com",
                        "secure": True}
