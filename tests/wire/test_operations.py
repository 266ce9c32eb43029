"""What an operator relies on: reload, drain, metrics, health, logs, secrets, sendgovctl."""
import base64
import concurrent.futures
import copy
import json
import os
import re
import shutil
import signal
import socket
import threading
import time

import pytest

from foreign import stamp
from node import check_config, give
from ports import free_port
from process import wait_until
from rig import CLIENT_PASSWORD, UPSTREAM_PASSWORD
from smtp_client import Client, Closed, message, tls_context


@pytest.fixture
def node(rig, request):
    node = rig.node("ops" + str(len(rig.nodes)), alone=True).start()
    yield node
    if node.process is not None:
        assert node.stop() == 0


def send(node, to="u@fabrikam.com", client=None, sender="app@contoso.com", **more):
    recipients = [to] if isinstance(to, str) else to
    with Client(node.port("plain")) as c:
        c.ehlo()
        return c.mail(sender, recipients, message(sender=sender, message_id=f"<{stamp()}@ops>", to=recipients[0], **more))


# reload
BAD = {
    "syntax": lambda c: "listeners: [\n", "unknown key": lambda c: json.dumps({**c, "limmits": {}}, indent=1),
    "zero": lambda c: json.dumps({**c, "limits": {"x": {"scope": "route", "unit": "messages", "window": "0/d"}}}, indent=1),
    "dangling": lambda c: json.dumps({**c, "mailboxes": {"m@contoso.com": {"route": "nowhere"}}}, indent=1),
    "open relay": lambda c: json.dumps({**c, "clients": {"all": {"networks": ["0.0.0.0/0"], "senders": ["*"]}}}, indent=1),
    "bad certificate": lambda c: json.dumps({**c, "tls": {"cert_file": "/etc/passwd", "key_file": "/etc/passwd"}}, indent=1),
    "port in use": None, "empty": lambda c: "", "binary": lambda c: "\x00\x01\x02", "vanished": None,
    "duplicate": lambda c: json.dumps(c, indent=1)[:-2] + ',\n"node": "twice"\n}',
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_changes_nothing(rig, node, case):
    hash_before = [k for k in node.metrics() if k.startswith("sendgov_config_info")]
    with Client(node.port("plain")) as session:
        session.ehlo()
        if case == "vanished":
            os.rename(node.file, node.file + ".gone")
        elif case == "port in use":
            config = {**node.config, "listeners": {**node.config["listeners"], "taken": {"address": f"127.0.0.1:{rig.sim.port}",
                                                                                         "tls": "off"}}}
            with open(node.file, "w", encoding="utf-8") as f:
                json.dump(config, f)
        else:
            with open(node.file, "w", encoding="utf-8") as f:
                f.write(BAD[case](node.config))
        refused = node.ctl("reload", check=False)
        assert refused.returncode == 1, refused
        if case not in ("vanished", "binary"):
            assert re.search(r"sendgov\.yaml:\d+", refused.stdout + refused.stderr), refused
        node.signal(signal.SIGHUP)
        wait_until(lambda: len(node.log_events("reload-refused")) >= 2, 5, "the second refusal in the log")
        assert [k for k in node.metrics() if k.startswith("sendgov_config_info")] == hash_before
        assert session.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    if case not in ("vanished", "port in use"):
        status, text = check_config(node.file)
        assert status == 1 and text.strip(), text


CANNOT_HAVE = {
    "http": lambda rig, c: {"admin": {**c["admin"], "http": f"127.0.0.1:{rig.sim.port}"}},
    "socket": lambda rig, c: {"admin": {**c["admin"], "socket": "/nonexistent/control"}},
    "redis": lambda rig, c: {"redis": {**c["redis"], "url": "rediss://127.0.0.1:1", "ca_file": rig.users_file}},
}


@pytest.mark.parametrize("case", CANNOT_HAVE)
def test_a_refused_reload_takes_nothing_back(rig, case):
    """What was in force stays in force, and is not loaded once more: its files may be gone by now."""
    node = rig.node("noway" + case, alone=True)
    ca = os.path.join(node.folder, "ca.pem")
    shutil.copy(rig.ca.cert, ca)
    give(ca)
    node.config["routes"]["contoso"]["tls_ca_file"] = ca
    node.write_config()
    node.start()
    assert send(node).code == 250
    os.unlink(ca)
    config = copy.deepcopy(node.config)
    config["routes"]["contoso"].update(tls_ca_file=rig.ca.cert, upstream=f"127.0.0.1:{free_port()}")
    config.update(CANNOT_HAVE[case](rig, config))
    with open(node.file, "w", encoding="utf-8") as f:
        json.dump(config, f)
    for _ in range(2):
        assert node.ctl("reload", check=False).returncode == 1
        assert send(node).code == 250  # by the old route
    assert node.stop() == 0


@pytest.mark.parametrize("line, expected", [
    ('{"scope": "route", "unit": "messages", "windo": "5/d"}', "window"), ('{"scope": "rout", "unit": "messages", "window": "5/d"}', "route")])
def test_a_complaint_names_place_and_remedy(rig, line, expected):
    node = rig.node("complaint" + expected)
    node.config["limits"] = {"x": json.loads(line)}
    node.write_config()
    status, text = check_config(node.file)
    assert status == 1 and re.search(r"sendgov\.yaml:\d+:\d+", text) and expected in text, text


def test_good_reloads_under_load_drop_nothing(rig, node):
    stop, problems, sent = threading.Event(), [], [0]

    def stream():
        while not stop.is_set():
            try:
                reply = send(node)
                sent[0] += 1
                if reply.code != 250:
                    problems.append(str(reply))
            except Exception as e:  # pylint: disable=broad-except
                problems.append(repr(e))
    threads = [threading.Thread(target=stream) for _ in range(4)]
    for t in threads:
        t.start()
    hashes = set()
    for i in range(15):
        node.config["limits"] = {"wide": {"scope": "route", "unit": "messages", "window": f"{100000 + i}/d"}}
        node.write_config()
        before = sent[0]
        node.ctl("reload")
        hashes |= {k for k in node.metrics() if k.startswith("sendgov_config_info")}
        wait_until(lambda: sent[0] > before + 4 or problems, 10, "mail between reloads")
    stop.set()
    for t in threads:
        t.join()
    assert problems == [] and len(hashes) == 15


def test_a_reload_moves_a_listener(rig, node):
    old = node.port("plain")
    node.config["listeners"]["plain"]["address"] = f"127.0.0.1:{free_port()}"
    node.write_config()
    node.ctl("reload")
    assert send(node).code == 250
    with pytest.raises(OSError):
        Client(old)


# descriptors
def test_clients_leave_descriptors_for_the_rest(rig):
    """Out of descriptors for clients: mail under way, bodies on disk, new upstream connections, HTTP and control go on."""
    node = rig.node("descriptors", alone=True).start(descriptors=64)
    with Client(node.port("plain")) as honest:
        honest.ehlo()
        crowd = [Client(node.port("plain"), banner=False) for _ in range(120)]
        assert {c.reply().code for c in crowd} == {220, 421}
        assert honest.mail("app@contoso.com", "u@fabrikam.com", message(text=(b"x" * 76 + b"\r\n") * 8000)).code == 250
        assert node.get("/live")[0] == 200 and node.ctl("--json", "status")
        assert node.metric("sendgov_clients_refused_total", reason="descriptors") > 0
        # what is left goes to those who come by HTTP and are slow: the rest of them wait, and nobody spins
        slow = [socket.create_connection(("127.0.0.1", node.http)) for _ in range(60)]
        wait_until(lambda: "admin.http: Too many open files" in node.log(), 5, "HTTP to rest")
        for s in slow:
            s.close()
        for c in crowd:
            c.close()
        wait_until(lambda: node.get("/live")[0] == 200, 5, "HTTP to be back")
        assert honest.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    assert send(node).code == 250
    lines = node.log().splitlines()
    assert [line for line in lines if not line.startswith("{")] == []
    assert sum("admin.http" in line for line in lines) < 10


# the end
def test_sigterm_finishes_what_is_under_way(rig):
    node = rig.node("drain", alone=True).start()
    rule = rig.sim.rule(step="dot", delay_ms=800)
    with Client(node.port("plain")) as idle, concurrent.futures.ThreadPoolExecutor(1) as pool:
        idle.ehlo()
        under_way = pool.submit(send, node)
        wait_until(lambda: rig.sim.hits(rule) == 1, 5, "the message to be upstream")
        node.signal(signal.SIGTERM)
        assert under_way.result(10).code == 250
        try:
            assert idle.reply().code == 421
        except Closed:
            pytest.fail("an idle session was closed without 421")
    assert node.process.wait(10) == 0
    node.process = None
    with pytest.raises(OSError):
        Client(node.port("plain"))


def test_a_second_sigterm_ends_at_once(rig):
    node = rig.node("drain2", alone=True).start()
    rig.sim.rule(step="dot", delay_ms=4000)
    with Client(node.port("plain")) as c:
        c.ehlo()
        for command in ("MAIL FROM:<app@contoso.com>", "RCPT TO:<u@fabrikam.com>", "DATA"):
            c.cmd(command)
        mails = rig.sim.status()["mails"]
        c.send(message() + b".\r\n")
        wait_until(lambda: rig.sim.status()["mails"] > mails, what="the MAIL upstream")
        node.signal(signal.SIGTERM)
        node.process.wait_log('"drain"')
        begun = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.process.wait(3) == 0 and time.monotonic() - begun < 2
    node.process = None


def test_a_reload_does_not_open_what_the_end_has_closed(rig):
    node = rig.node("drain3", alone=True).start()
    rule = rig.sim.rule(step="dot", delay_ms=1500)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(send, node)
        wait_until(lambda: rig.sim.hits(rule) == 1, 5, "the message to be upstream")
        node.signal(signal.SIGTERM)
        node.process.wait_log('"drain"')
        node.signal(signal.SIGHUP)
        refused = node.ctl("reload", check=False)
        assert refused.returncode == 1 and "about to end" in refused.stderr, refused
        with pytest.raises(OSError):
            Client(node.port("plain"))
        assert under_way.result(10).code == 250
    assert node.process.wait(10) == 0
    node.process = None


def test_who_is_too_slow_for_the_end_is_told(rig):
    node = rig.node("drain4", alone=True, drain_timeout="1s").start()
    with Client(node.port("plain")) as c:
        c.ehlo()
        for command in ("MAIL FROM:<app@contoso.com>", "RCPT TO:<u@fabrikam.com>", "DATA"):
            c.cmd(command)
        c.send(b"half a message")
        node.signal(signal.SIGTERM)
        assert c.reply().code == 421
    assert node.process.wait(10) == 0
    node.process = None


# metrics and health
def test_metrics_equal_the_ledgers(rig, node):
    mark = rig.sim.mark()
    told = {"relayed": 0, "deferred": 0, "rejected": 0, "uncertain": 0}
    for reply in ("550 5.1.1 no such user", "450 4.2.0 later"):
        rig.sim.rule(step="rcpt", recipient=reply[0] + "xx@*", reply=reply)
    for to in ["u@fabrikam.com"] * 5 + ["c@contoso.com"] * 3 + ["5xx@fabrikam.com"] * 2 + ["4xx@fabrikam.com"]:
        code = send(node, to).code
        told["relayed" if code == 250 else "deferred" if code < 500 else "rejected"] += 1
    rig.sim.rule(step="dot", drop="rst", count=1)
    assert send(node).code == 451
    told["uncertain"] += 1
    assert told == {"relayed": 8, "deferred": 1, "rejected": 2, "uncertain": 1}
    for outcome, count in told.items():
        assert node.metric("sendgov_messages_total", outcome=outcome) == count, outcome
    rows = rig.sim.messages(mark)
    assert sum(m["accepted"] and m["told"] for m in rows) == 8
    assert node.metric("sendgov_recipients_total", outcome="relayed") == 8
    assert node.metric("sendgov_recipients_total", **{"class": "internal", "outcome": "relayed"}) == 3
    assert node.metric("sendgov_decisions_total", decision="granted") >= len(rows)
    assert node.metric("sendgov_overshoot_total") == 0 and node.metric("sendgov_uncertain_total") == 1


def test_the_exposition_is_well_formed(node):
    send(node)
    begun = time.monotonic()
    status, text = node.get("/metrics")
    assert status == 200 and time.monotonic() - begun < 0.5
    typed = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            assert name not in typed
            typed[name] = kind
        elif line and not line.startswith("#"):
            found = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)', line)
            assert found, line
            base = re.sub(r"_(bucket|sum|count)$", "", found.group(1))
            assert base in typed or found.group(1) in typed, line
            float(found.group(3))
    assert all(name.startswith(("sendgov_", "process_")) for name in typed), typed
    assert {"sendgov_build_info", "sendgov_messages_total", "process_start_time_seconds"} <= set(typed)
    assert len(text.splitlines()) < 500
    assert "contoso.com" not in re.sub(r'instance="[^"]*"', "", text), "an address in a label"


@pytest.mark.parametrize("request_line", [b"POST /metrics HTTP/1.1", b"GET /../../etc/passwd HTTP/1.1", b"GET /nothing HTTP/1.1",
                                          b"DELETE / HTTP/1.1", b"GET " + b"x" * 100000 + b" HTTP/1.1"])
def test_the_pages_are_read_only(node, request_line):
    with Client(node.http, banner=False) as c:
        c.send(request_line + b"\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        answer = c.extra(2)
    assert b" 200 " not in answer.split(b"\r\n")[0] and b"root:" not in answer, answer[:200]
    assert node.get("/live")[0] == 200


def test_live_and_ready_differ(rig, node):
    assert node.get("/live")[0] == 200 and node.get("/ready")[0] == 200
    rig.redis.freeze()
    try:
        wait_until(lambda: node.get("/ready")[0] == 503, 10, "/ready to be false")
        assert node.get("/live")[0] == 200
    finally:
        rig.redis.thaw()
    wait_until(lambda: node.get("/ready")[0] == 200, 10, "/ready to be true again")


# logs
def test_each_event_is_one_json_line(rig, node):
    dirty = ["a\x1b[31mb", "x\u0085y", "\u202e", "q\"q\\"]
    for text in dirty:
        with Client(node.port("plain")) as c:
            c.send(b"EHLO " + text.encode() + b"\r\n")
            c.reply()
            c.cmd(b"MAIL FROM:<" + text.encode() + b"@contoso.com>")
    rig.sim.rule(step="rcpt", raw="550 5.1.1 \x1b[31mred\nline \x9b two\r\n", count=1)
    send(node)
    assert send(node).code in (250, 451)
    for line in node.log().splitlines():
        row = json.loads(line)
        assert isinstance(row, dict) and all(ord(ch) >= 32 and not 0x7f <= ord(ch) < 0xa0 for ch in line), line


def test_one_line_per_settled_message(rig, node):
    rig.sim.rule(step="rcpt", recipient="no@*", reply="550 5.1.1 nobody")
    send(node)
    send(node, "no@fabrikam.com")
    rows = wait_until(lambda: (lambda r: r if len(r) == 2 else None)(node.log_events("message")), 5, "two lines")
    good, bad = rows
    assert good["outcome"] == "relayed" and bad["outcome"] == "rejected"
    for row in rows:
        assert row["client"] == "local" and row["sender"] == "app@contoso.com"
        assert any("5.1.1" in str(v) for v in bad.values()), bad
    assert good.get("id") and good["id"] != bad["id"]


# secrets
def variants(secret):
    plain = secret.encode()
    return {plain, base64.b64encode(plain), base64.b64encode(b"\0app\0" + plain), plain[::-1], plain.hex().encode()}


def test_no_secret_is_told_anywhere(rig, node):
    rig.sim.rule(step="auth", reply="535 5.7.3 Authentication unsuccessful", count=1)
    rig.sim.drop_all()
    send(node)
    for password in (CLIENT_PASSWORD, "wrong-" + CLIENT_PASSWORD):
        with Client(node.port("tls"), tls=tls_context(rig.ca.cert)) as c:
            c.ehlo()
            c.auth_login("app", password)
        with Client(node.port("tls"), tls=tls_context(rig.ca.cert)) as c:
            c.ehlo()
            c.auth_plain("app", password)
    with Client(node.port("apps")) as c:  # sent in clear where it must not be: still not logged
        c.ehlo()
        c.auth_plain("app", CLIENT_PASSWORD)
    node.ctl("reload")
    told = [node.log().encode(), node.get("/metrics")[1].encode(), node.get("/")[1].encode()]
    told += [node.ctl(*words, check=False).stdout.encode() for words in (["config"], ["status"], ["upstreams"], ["--json", "config"])]
    with open(f"/proc/{node.process.pid}/cmdline", "rb") as f:
        told.append(f.read())
    with open(node.config["users_file"], "rb") as f:
        hashes = [line.split(b":", 1)[1].strip() for line in f]
    for needle in [v for s in (CLIENT_PASSWORD, UPSTREAM_PASSWORD) for v in variants(s)] + hashes:
        for text in told:
            assert needle not in text, needle
    wait_until(lambda: not node.ctl("--json", "pauses")["pauses"] or node.ctl(
        "resume", "--scope", "mailbox", "--instance", "relay@contoso.com", "--reason", "test", check=False), 5, "no pause left")


# sendgovctl
@pytest.mark.parametrize("words", [["status"], ["limits"], ["warmup"], ["pauses"], ["upstreams"], ["config"]])
def test_every_question_has_words_and_json(node, words):
    assert node.ctl(*words).strip()
    assert isinstance(node.ctl("--json", *words), dict)


def test_exit_codes(rig, node):
    assert node.ctl("bogus", check=False).returncode == 2
    assert node.ctl("resume", "--scope", "route", "--instance", "contoso", check=False).returncode == 2
    assert node.ctl("pause", "--scope", "route", "--instance", "nowhere", "--reason", "x", check=False).returncode in (1, 2)
    node.stop()
    assert node.ctl("status", check=False).returncode == 3


def test_classify_says_what_it_means(rig):
    node = rig.node("classify", routes={"contoso": {"upstream": f"localhost:{rig.sim.port}", "domains": ["contoso.com"],
                                                    "tls_ca_file": rig.ca.cert, "profile": "m365-submission"}})
    for text, expected in (("550 5.7.708 Access denied, traffic not accepted from this IP", "block-tenant"),
                           ("451 4.7.500 Server busy", "throttle"), ("550 5.1.8 Access denied, bad outbound sender", "block-sender"),
                           ("550;5.7.711 Access denied, bad inbound connector. AS(2204).", "block-connector"),
                           ("250 2.0.0 OK 5.7.708", "ok"), ("550 5.1.10 RecipientNotFound", "message")):
        done = node.ctl("-c", node.file, "classify", text, check=False)
        assert done.returncode == 0 and expected in done.stdout, (text, done)


def test_the_control_socket_is_for_root_and_the_daemon(node):
    path = node.config["admin"]["socket"]
    mode = os.stat(path).st_mode
    assert mode & 0o007 == 0, oct(mode)


def test_drain_by_sendgovctl(rig):
    node = rig.node("drain3", alone=True).start()
    node.ctl("drain")
    assert node.process.wait(15) == 0
    node.process = None
