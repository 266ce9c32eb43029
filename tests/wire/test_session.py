"""The session with a client: parser limits, injection, and manners of the protocol."""
import os

import pytest

from foreign import stamp
from ports import free_port
from process import wait_until
from smtp_client import Client, Closed, message


@pytest.fixture(scope="module")
def node(rig):
    return rig.node("n1", smtp={"connections_per_ip": 500, "connections_per_minute": 100000, "connections_burst": 10000,
                                "message_size": "256KiB", "recipients": 100, "errors_soft": 50, "errors_hard": 60}).start()


@pytest.fixture
def c(node):
    with Client(node.port("plain")) as client:
        client.ehlo()
        yield client


def rss_kib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_what_is_offered(node, c):
    assert {"SIZE", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"} <= set(c.features)
    assert "STARTTLS" not in c.features and "XCLIENT" not in c.features and "CHUNKING" not in c.features
    assert c.features["SIZE"] == str(256 * 1024)


def test_every_reply_has_its_enhanced_class(c):
    for command in ("NOOP", "RSET", "VRFY x", "HELP", "EXPN x", "MAIL FROM:<app@contoso.com>", "RCPT TO:<u@fabrikam.com>", "RSET",
                    "BOGUS", "MAIL FROM:<x y>", "RCPT TO:<u@fabrikam.com>", "MAIL", "RCPT", "DATA", "TURN", "ETRN x"):
        reply = c.cmd(command)
        assert reply.enhanced[:1] == str(reply.code)[0], (command, reply)


def test_pipelined_commands_are_answered_in_order(rig, c):
    c.send(b"MAIL FROM:<app@contoso.com>\r\nRCPT TO:<u@fabrikam.com>\r\nRCPT TO:<bad>\r\nDATA\r\n")
    codes = [c.reply().code for _ in range(4)]
    assert codes[0] == codes[1] == 250 and codes[2] >= 500 and codes[3] == 354
    c.send(message() + b".\r\nRSET\r\nNOOP\r\n")
    assert [c.reply().code for _ in range(3)] == [250, 250, 250]


@pytest.mark.parametrize("path", [
    b'<"a\rRCPT TO:<x@y>"@contoso.com>', b'<a\x00b@contoso.com>', b'<a>@contoso.com>', b'<a@contoso.com\x01>', b"<a@contoso.com> SIZE=1\x00",
    b'<"a\x7f"@contoso.com>', b"<a b@contoso.com>", b"<a@con toso.com>", b"<a@contoso.com", b"<<a@contoso.com>>", b"<a@@contoso.com>",
    b"<@contoso.com>", b"<a@-contoso.com>", b"<" + b"a" * 65 + b"@contoso.com>", b"<a@" + b"b" * 260 + b".com>", b"<\xff\xfe@contoso.com>",
    b'<"a>b"@contoso.com>', b'<"a\\>b"@contoso.com>', b'<"app@contoso.com> X"@contoso.com>', b'<"a<b"@contoso.com>',
    "<ä@contoso.com>".encode(), b"<a@[127.0.0.1>", b"<a@..com>",
])
def test_crooked_paths_are_refused(rig, c, path):
    mark = rig.sim.mark()
    assert 500 <= c.cmd(b"MAIL FROM:" + path).code < 600
    c.cmd("RSET")
    assert c.cmd("MAIL FROM:<app@contoso.com>").code == 250
    if not path.startswith((b"<a@contoso.com> ",)):
        reply = c.cmd(b"RCPT TO:" + path)
        assert 500 <= reply.code < 600, reply
    assert rig.sim.messages(mark) == []


@pytest.mark.parametrize("parameter", [
    "SIZE=1 SIZE=1", "SIZE=x", "SIZE=-1", "SIZE=18446744073709551616", "UNKNOWN=1", "BODY=BINARYMIME", "BODY=9BIT", "AUTH=a+ZZ",
    "SMTPUTF8", "RET=FULL", "ENVID=a b", "SIZE=1\tBODY=8BITMIME", "=1", "SIZE",
])
def test_crooked_parameters_are_refused(c, parameter):
    reply = c.cmd(f"MAIL FROM:<app@contoso.com> {parameter}")
    assert reply.code in (501, 504, 552, 553, 555), reply


def test_parameters_are_not_passed_on_as_they_came(rig, c):
    mark = rig.sim.mark()
    assert c.mail("app@contoso.com", "u@fabrikam.com", message(), " BODY=8BITMIME SIZE=300 AUTH=<>").code == 250
    row = rig.sim.wait_messages(1, mark)[0]
    assert set(p.partition("=")[0] for p in row["parameters"].split()) <= {"SIZE", "BODY"}


@pytest.mark.parametrize("name", ["x" * 1000, "a b c", "<script>", "%n%s", "ü.example", "a\rb", ""])
def test_odd_names_do_not_reach_the_trace_header(rig, node, name):
    mark = rig.sim.mark()
    with Client(node.port("plain")) as c:
        c.send(b"EHLO " + name.encode() + b"\r\n")
        reply = c.reply()
        if reply.code != 250:
            assert reply.code in (500, 501)
            return
        assert c.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    with open(rig.sim.wait_messages(1, mark)[0]["body"], "rb") as f:
        trace = f.read().split(b"\r\nFrom:")[0]
    assert all(len(line) <= 998 for line in trace.split(b"\r\n"))
    assert all(32 <= b < 127 or b in b"\t\r\n" for b in trace), trace


@pytest.mark.parametrize("length, good", [(512, True), (2000, True), (2048, None), (2049, False), (100000, False)])
def test_long_command_lines(c, length, good):
    c.send(b"NOOP " + b"x" * (length - 7) + b"\r\n")
    try:
        reply = c.reply()
    except Closed:
        assert good is False
        return
    assert reply.code == 250 if good else True
    if good is False:
        assert reply.code in (500, 421)
        if reply.code == 500:
            assert c.cmd("NOOP").code == 250  # in step again


def test_a_line_without_end_costs_no_memory(node):
    before = rss_kib(node)
    with Client(node.port("plain")) as c:
        c.ehlo()
        try:
            for _ in range(64):
                c.send(b"x" * 65536)
        except ConnectionError:
            pass
        assert rss_kib(node) - before < 1024


@pytest.mark.parametrize("length, good", [(998, True), (999, True), (65000, True), (70000, False), (200000, False)])
def test_long_body_lines_pass_whole_or_not_at_all(rig, c, length, good):
    mark = rig.sim.mark()
    content = message(message_id=f"<{stamp()}@lines>", text=b"y" * length + b"\r\n")
    reply = c.mail("app@contoso.com", "u@fabrikam.com", content)
    assert (reply.code == 250) if good else (reply.code in (500, 552, 554)), reply
    for row in rig.sim.messages(mark):
        with open(row["body"], "rb") as f:
            assert f.read().endswith(content)
    assert c.cmd("NOOP").code == 250


def test_size_is_enforced_early_and_late(rig, c):
    mark = rig.sim.mark()
    assert c.cmd("MAIL FROM:<app@contoso.com> SIZE=262145").code == 552
    big = message(text=(b"z" * 70 + b"\r\n") * 4000)
    for parameter in ("", " SIZE=100"):  # no SIZE; a SIZE that lies
        reply = c.mail("app@contoso.com", "u@fabrikam.com", big, parameter)
        assert reply.code == 552 and reply.enhanced == "5.3.4", reply
    assert c.cmd("NOOP").code == 250
    assert rig.sim.messages(mark) == []


def test_recipients_over_the_limit_are_put_off(rig, c):
    mark = rig.sim.mark()
    c.cmd("MAIL FROM:<app@contoso.com>")
    codes = [c.cmd(f"RCPT TO:<r{i}@fabrikam.com>").code for i in range(180)]
    assert codes[:100] == [250] * 100 and set(codes[100:]) == {452}
    assert c.cmd("DATA").code == 354
    c.send(message() + b".\r\n")
    assert c.reply().code == 250
    assert len(rig.sim.wait_messages(1, mark)[0]["rcpts"]) == 100


def test_junk_and_errors_end_a_session(node):
    with Client(node.port("plain")) as c:
        c.ehlo()
        with pytest.raises((Closed, ConnectionError)):
            for i in range(200):
                reply = c.cmd("NOOP")
                if reply.code == 421:
                    assert i >= 45 and reply.enhanced == "4.7.0"
                    assert c.closed()
                    raise Closed("as it should")


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
                                  b"SSH-2.0-OpenSSH\r\n", os.urandom(256) + b"\r\n"], ids=["http", "tls", "ssh", "noise"])
def test_other_protocols_get_no_further(rig, node, junk):
    mark = rig.sim.mark()
    with Client(node.port("plain")) as c:
        c.send(junk)
        text = c.extra(1)
        assert text == b"" or text[:1] in (b"4", b"5"), text
    assert rig.sim.messages(mark) == []
    assert node.get("/live")[0] == 200


@pytest.mark.parametrize("command", ["VRFY app", "EXPN all", "HELP", "ETRN x", "TURN", "SEND FROM:<a@b>"])
def test_nothing_is_told(c, command):
    reply = c.cmd(command)
    assert reply.code in (214, 252, 500, 502) and "sendgov" not in str(reply).lower().replace("relay.contoso.com", ""), reply


def test_loops_are_ended(rig, c):
    mark = rig.sim.mark()
    hops = b"Received: from a by b; Tue, 24 Nov 2026 10:00:00 +0000\r\n" * 101
    reply = c.mail("app@contoso.com", "u@fabrikam.com", hops + message())
    assert reply.code == 554 and reply.enhanced == "5.4.6", reply
    assert c.mail("app@contoso.com", "u@fabrikam.com", message(message_id="<loop@1>")).code == 250
    with open(rig.sim.wait_messages(1, mark)[0]["body"], "rb") as f:
        ours = f.read().split(b"\r\nFrom:")[0] + b"\r\n"
    once = c.mail("app@contoso.com", "u@fabrikam.com", ours + message())
    twice = c.mail("app@contoso.com", "u@fabrikam.com", ours + ours + message())
    assert twice.code == 554 and twice.enhanced == "5.4.6", (once, twice)


def test_a_header_block_over_its_limits_is_refused(rig, c):
    for header in (b"X: " + b"y" * 900 + b"\r\n") * 300, b"X: y\r\n" * 1100:
        reply = c.mail("app@contoso.com", "u@fabrikam.com", header + message())
        assert reply.code in (552, 554), reply


def test_internal_and_external_recipients_come_apart(rig, c):
    c.cmd("MAIL FROM:<app@contoso.com>")
    assert c.cmd("RCPT TO:<u@fabrikam.com>").code == 250
    reply = c.cmd("RCPT TO:<u@contoso.com>")
    assert reply.code == 452 and reply.enhanced == "4.5.3", reply
    assert c.cmd("RCPT TO:<u2@fabrikam.com>").code == 250


def test_the_output_of_a_client_that_does_not_read_is_bounded(node):
    before = rss_kib(node)
    with Client(node.port("plain"), timeout_s=3) as c:
        c.ehlo()
        try:
            for _ in range(2000):
                c.send(b"VRFY someone\r\n" * 100)
        except OSError:
            pass
        assert rss_kib(node) - before < 4096


def test_too_many_connections_of_one_address(rig):
    node = rig.node("few", alone=True, smtp={"connections_per_ip": 5, "connections_per_minute": 1000, "connections_burst": 1000}).start()
    held = [Client(node.port("plain")) for _ in range(5)]
    with Client(node.port("plain")) as c:
        assert c.banner.code == 421 and c.banner.enhanced == "4.7.0"
    with Client(node.port("plain"), source="127.0.0.3") as c:
        assert c.banner.code == 220
    for c in held:
        c.close()

    def again():
        with Client(node.port("plain")) as c:
            return c.banner.code == 220
    wait_until(again, 5, "a place to be free again")
    node.stop()


def test_silent_and_slow_clients_are_dropped(rig):
    node = rig.node("slow", alone=True, smtp={"first_mail_timeout": "1s", "command_timeout": "1s", "idle_timeout": "1s",
                                  "connections_per_ip": 100}).start()
    with Client(node.port("plain")) as silent, Client(node.port("plain")) as slow:
        slow.send(b"EHL")
        for c in (silent, slow):
            assert c.reply().code == 421
            assert c.closed()
    node.stop()


def test_a_second_daemon_on_one_state_folder_is_refused(rig, node):
    import copy
    from node import Node
    second = Node(rig.folder, "n1-second", node.config)
    second.config = copy.deepcopy(node.config)
    second.config["listeners"] = {"plain": {"address": f"127.0.0.1:{free_port()}", "tls": "off", "auth_without_tls": True}}
    second.config["admin"] = {"socket": second.folder + "/control"}
    second.write_config()
    second.start(ready=False)
    assert second.process.wait(10) == 1
    assert "another sendgovd" in second.log()
    second.process = None
