"""Only CRLF.CRLF ends a message, however the bytes arrive, and what leaves holds no stray CR or LF."""
import pytest

from foreign import stamp
from smtp_client import Client, message, tls_context

FORMS = {
    "LF . LF": b"\n.\n", "LF . CR": b"\n.\r", "CR . LF": b"\r.\n", "CR . CR": b"\r.\r", "LF . CR LF": b"\n.\r\n",
    "CR . CR LF": b"\r.\r\n", "CR LF . CR CR LF": b"\r\n.\r\r\n", "CR CR LF . CR CR LF": b"\r\r\n.\r\r\n",
    "CR LF NUL . CR LF": b"\r\n\0.\r\n", "CR LF . LF": b"\r\n.\n",
}
assert len(FORMS) == 10
SMUGGLED = (b"MAIL FROM:<smuggled@contoso.com>\r\nRCPT TO:<smuggled@fabrikam.com>\r\nDATA\r\nFrom: <smuggled@contoso.com>\r\n\r\n"
            b"smuggled\r\n")


@pytest.fixture(scope="module")
def node(rig):
    return rig.node("n1").start()


def open_data(rig, node, listener):
    tls = tls_context(rig.ca.cert) if listener == "tls" else None
    c = Client(node.port(listener), tls=tls)
    c.ehlo()
    if listener == "apps":
        c.starttls(tls_context(rig.ca.cert))
    assert c.cmd("MAIL FROM:<app@contoso.com>").code == 250
    assert c.cmd("RCPT TO:<u@fabrikam.com>").code == 250
    assert c.cmd("DATA").code == 354
    return c


def judge(rig, c, mark, normalizes):
    """One reply for the dot, at most one message, nothing of the smuggled envelope."""
    reply = c.reply()
    assert (reply.code == 250) if normalizes else (reply.code in (250, 550, 554)), reply
    after = c.cmd("NOOP")
    assert after.code == 250, f"out of step: {after}"
    assert c.extra(0) == b""
    rows = rig.sim.messages(mark)
    assert len(rows) == (1 if reply.code == 250 else 0), rows
    for row in rows:
        assert "smuggled" not in row["sender"] and all("smuggled" not in r["to"] for r in row["rcpts"])
        with open(row["body"], "rb") as f:
            assert_clean(f.read())
    return reply


def assert_clean(content):
    rest = content.replace(b"\r\n", b"")
    assert b"\r" not in rest and b"\n" not in rest, "a stray CR or LF left"


def content_with(form):
    return message(message_id=f"<{stamp()}@eod>", text=b"before" + form + SMUGGLED + b"after\r\n")


@pytest.mark.parametrize("listener", ["plain", "devices", "apps", "tls"])
@pytest.mark.parametrize("form", FORMS)
def test_a_false_end_does_not_split(rig, node, listener, form):
    mark = rig.sim.mark()
    with open_data(rig, node, listener) as c:
        c.send(content_with(FORMS[form]) + b".\r\n")
        judge(rig, c, mark, listener == "devices")


@pytest.mark.parametrize("listener", ["plain", "devices", "tls"])
@pytest.mark.parametrize("form", FORMS)
def test_a_false_end_in_two_segments(rig, node, listener, form):
    """Split at every offset of the sequence; what the daemon has read of it is waited for by a NOOP-free trick: the next
    write follows once the first one is acknowledged, so both arrive apart."""
    for cut in range(1, len(FORMS[form]) + 1):
        mark = rig.sim.mark()
        content = content_with(FORMS[form]) + b".\r\n"
        at = content.index(FORMS[form] + b"MAIL") + cut
        with open_data(rig, node, listener) as c:
            c.send(content[:at])
            wait_read(c)
            c.send(content[at:])
            judge(rig, c, mark, listener == "devices")


def wait_read(c):
    """Until the peer's kernel has everything, and a little longer for the daemon to wake up."""
    import fcntl
    import struct
    import termios
    import time
    while struct.unpack("i", fcntl.ioctl(c.sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0] > 0:
        pass
    time.sleep(0.002)


@pytest.mark.parametrize("listener", ["devices", "tls"])
def test_all_false_ends_one_byte_at_a_time(rig, node, listener):
    for form in FORMS.values():
        mark = rig.sim.mark()
        content = content_with(form) + b".\r\n"
        at = content.index(form + b"MAIL")
        with open_data(rig, node, listener) as c:
            c.send(content[:at])
            for i in range(at, at + len(form) + 8):
                c.send(content[i:i + 1])
                wait_read(c)
            c.send(content[at + len(form) + 8:])
            judge(rig, c, mark, listener == "devices")


def test_normalizing_changes_line_ends_only(rig, node):
    raw = b"one\ntwo\rthree\r\r\nfour\n\nfive\r\n"
    mark = rig.sim.mark()
    with open_data(rig, node, "devices") as c:
        c.send(message(message_id="<norm@eod>", text=raw) + b".\r\n")
        assert c.reply().code == 250
    row = rig.sim.wait_messages(1, mark)[0]
    with open(row["body"], "rb") as f:
        content = f.read()
    assert_clean(content)
    words = [w for w in content.split(b"\r\n\r\n", 1)[1].split(b"\r\n") if w]
    assert words == [b"one", b"two", b"three", b"four", b"five"]


@pytest.mark.parametrize("raw", [b"bare\nlf\r\n", b"bare\rcr\r\n", b"cr\r\r\nlf\r\n"])
def test_a_strict_listener_refuses_stray_line_ends(rig, node, raw):
    mark = rig.sim.mark()
    with open_data(rig, node, "plain") as c:
        c.send(message(text=raw) + b".\r\n")
        reply = c.reply()
        assert reply.code in (550, 554) and reply.enhanced in ("5.6.0", "5.5.2"), reply
        assert c.mail("app@contoso.com", "u@fabrikam.com", message(message_id="<good@eod>")).code == 250
    assert [m["message_id"] for m in rig.sim.wait_messages(1, mark)] == ["<good@eod>"]
    assert node.metric("sendgov_messages_total", outcome="relayed") >= 1


@pytest.mark.parametrize("body", [
    b".\r\n", b"..\r\n", b".x\r\n", b"...\r\n.\r\n", b"\r\n.\r\n", b"", b"no end of line",
] + [b"a" * (n - 5) + b"\r\n.dot\r\n" for n in (16382, 16383, 16384, 16385, 16386)],
    ids=lambda b: f"{len(b)} bytes {b[:4]!r}" if isinstance(b, bytes) else None)
def test_dots_survive(rig, node, body):
    mark = rig.sim.mark()
    content = message(message_id=f"<{stamp()}@eod>", text=body)
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.mail("app@contoso.com", "u@fabrikam.com", content).code == 250
    row = rig.sim.wait_messages(1, mark)[0]
    with open(row["body"], "rb") as f:
        got = f.read()
    assert got.endswith(content if content.endswith(b"\r\n") else content + b"\r\n")


@pytest.mark.parametrize("line", [b"MAIL FROM:<a@contoso.com>\nRCPT TO:<u@fabrikam.com>", b"RSET\nQUIT", b"NOOP\n.\nQUIT"])
def test_a_bare_lf_does_not_make_two_commands(rig, node, line):
    with Client(node.port("plain")) as c:
        c.ehlo()
        c.send(line + b"\r\n")
        reply = c.reply()
        assert reply.code in (500, 501, 421, 554), reply
        assert c.extra(0.1) == b""


@pytest.mark.parametrize("size", ["70", "0", "2147483648", "9223372036854775808", "-1", "70x", "70 LAST x"])
def test_bdat_is_refused_without_running_its_octets(rig, node, size):
    mark = rig.sim.mark()
    chunk = b"MAIL FROM:<smuggled@contoso.com>\r\nRCPT TO:<smuggled@fabrikam.com>\r\n"
    with Client(node.port("plain")) as c:
        c.ehlo()
        c.cmd("MAIL FROM:<app@contoso.com>")
        c.cmd("RCPT TO:<u@fabrikam.com>")
        c.send(b"BDAT " + size.encode() + b" LAST\r\n" + chunk)
        assert c.reply().code in (421, 500, 501, 502, 503, 554)
        text = c.extra(0.3)
        assert b"smuggled" not in text
    assert all("smuggled" not in str(m) for m in rig.sim.messages(mark))


def test_data_without_its_turn(rig, node):
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.cmd("DATA").code == 503
        c.cmd("MAIL FROM:<app@contoso.com>")
        assert c.cmd("DATA").code in (503, 554)
        assert c.cmd("RCPT TO:<bad address>").code >= 500
        assert c.cmd("DATA").code in (503, 554)
