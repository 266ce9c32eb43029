"""Nothing is refused in silence: what the governor or the relay itself refuses is one line and one count."""
import re

import pytest

from foreign import stamp
from process import wait_until
from rig import Rig
from smtp_client import Client, message

OUTSIDE, INSIDE = "u@fabrikam.com", "colleague@contoso.com"


@pytest.fixture
def site():
    with Rig(upstream_tls=False) as rig:
        yield rig


def send(node, to=OUTSIDE, body=None):
    with Client(node.port("plain")) as c:
        c.ehlo()
        return c.mail("app@contoso.com", to, body or message(message_id=f"<{stamp()}@silent>", to=OUTSIDE))


def pause(node):
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "maintenance")
    wait_until(lambda: node.metric("sendgov_paused") == 1, 2, "the pause")


def lines(node, n, event="message"):
    rows = wait_until(lambda: (lambda r: r if len(r) >= n else None)(node.log_events(event)), 5, f"{n} lines of {event}")
    assert len(rows) == n, rows
    return rows


def books(node):
    """What the metrics say of messages and recipients."""
    found = {}
    for outcome in ("relayed", "deferred", "rejected"):
        found[outcome] = node.metric("sendgov_messages_total", outcome=outcome)
        for kind in ("external", "internal"):
            found[outcome + " " + kind] = node.metric("sendgov_recipients_total", **{"class": kind, "outcome": outcome})
    return {name: int(count) for name, count in found.items() if count}


def test_a_pause_leaves_a_line_for_each_message(site):
    node = site.node().start()
    pause(node)
    told = [send(node) for _ in range(2)]
    for row, reply in zip(lines(node, 2), told):
        assert row["outcome"] == "deferred" and row["end"] == "Gp" and row["decision"] == "paused", row
        assert row["client"] == "local" and row["sender"] == "app@contoso.com" and row["route"] == "contoso", row
        assert row["external"] == 1 and "internal" not in row and len(row["id"]) == 22 and row["session"], row
        assert row["answer"] == f"451 {reply.text}", (row, reply)
    assert books(node) == {"deferred": 2, "deferred external": 2}
    assert node.metric("sendgov_decisions_total", decision="paused") == 2


def test_a_pause_of_everything_is_told_at_mail(site):
    node = site.node().start()
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--all", "--reason", "maintenance")
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.cmd("MAIL FROM:<app@contoso.com> SIZE=77").code == 451
    row, = lines(node, 1)
    assert row["end"] == "Gp" and row["bytes"] == 77 and not {"external", "internal"} & row.keys(), row
    assert books(node) == {"deferred": 1}


def test_a_recipient_less_is_told_beside_the_message(site):
    node = site.node().start()
    pause(node)
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.cmd("MAIL FROM:<app@contoso.com>").code == 250
        assert [c.cmd(f"RCPT TO:<{to}>").code for to in (OUTSIDE, "v@fabrikam.com", INSIDE)] == [451, 451, 250]
        assert c.cmd("DATA").code == 354
        c.send(message(to=INSIDE) + b".\r\n")
        assert c.reply().code == 250
    row, = lines(node, 1)
    less, = lines(node, 1, "recipients")
    assert row["outcome"] == "relayed" and row["internal"] == 1 and "external" not in row, row
    assert less["id"] == row["id"] and less["end"] == "Gp" and less["external"] == 2 and "internal" not in less, less
    assert books(node) == {"relayed": 1, "relayed internal": 1, "deferred external": 2}


def test_who_gives_up_because_of_one_recipient_is_one_message(site):
    node = site.node().start()
    pause(node)
    assert send(node, [INSIDE, OUTSIDE]).code == 452
    row, = lines(node, 1)
    assert row["end"] == "Rr" and row["external"] == row["internal"] == 1 and row["answer"].startswith("452 4.5.3 "), row
    assert books(node) == {"deferred": 1, "deferred external": 1, "deferred internal": 1}


def test_who_changes_their_mind_is_no_message(site):
    node = site.node().start()
    with Client(node.port("plain")) as c:
        c.ehlo()
        for last in ("RSET", "QUIT"):
            assert c.cmd("MAIL FROM:<app@contoso.com>").code == 250
            assert c.cmd(f"RCPT TO:<{OUTSIDE}>").code == 250
            c.cmd(last)
    assert send(node).code == 250
    assert lines(node, 1)[0]["outcome"] == "relayed" and books(node) == {"relayed": 1, "relayed external": 1}


@pytest.mark.parametrize("accept", ["relay", "defer"])
def test_over_budget_leaves_a_line(site, accept):
    node = site.node(limits={"day": {"scope": "route", "unit": "external", "window": "1/d"}},
                     clients={"local": {"networks": ["127.0.0.1/32"], "senders": ["@contoso.com"], "accept": accept}}).start()
    assert send(node).code == 250
    told = [send(node) for _ in range(3)]  # by the store, and then by what was learned
    for row, reply in zip(lines(node, 4)[1:], told):
        assert row["end"] == "Gb" and row["limit"] == "day" and row["used"] == "1/1" and row["retry_after_ms"] > 0, row
        assert row["external"] == 1 or reply.text in row["answer"], row
    assert books(node)["deferred"] == 3
    assert node.metric("sendgov_decisions_total", decision="over") == 3


def test_no_store_leaves_a_line(site):
    node = site.node().start()
    site.redis.kill()
    wait_until(lambda: node.get("/ready")[0] == 503, 10, "/ready to be false")
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert re.match("451 4.3.2 no budget decision", str(c.cmd("MAIL FROM:<app@contoso.com>")))
    row, = lines(node, 1)
    assert row["end"] == "Sb" and row["decision"] == "no_decision" and row["store_error"], row
    assert books(node) == {"deferred": 1}
    site.redis.start()


STRANGER = message("boss@fabrikam.com")
LOOP = b"Received: by relay.contoso.com (sendgov)\r\n" * 101


@pytest.mark.parametrize("body, code, end, reason", [
    (STRANGER, "550 5.7.60", "Rh", "header-from"), (b"From: <a@contoso.com>\r\nFrom: <a@contoso.com>\r\n\r\nx\r\n", "550 5.", "Rh", "header"),
    (LOOP + message(), "554 5.4.6", "Rh", "loop"), (message(text=b"bare\nLF\r\n"), "554 5.6.0", "Ro", "protocol"),
    (message(text=b"x" * 70000 + b"\r\n"), "554 5.6.0", "Ro", "protocol"),
    (message(text=(b"x" * 70 + b"\r\n") * 2000), "552 5.3.4", "Ro", "size"),
], ids=["from", "two-from", "loop", "newline", "line", "size"])
def test_a_rule_after_the_dot_leaves_a_line_each_time(site, body, code, end, reason):
    node = site.node(smtp={"message_size": "100KiB", "header_size": "64KiB"}).start()
    with Client(node.port("plain")) as c:  # on one connection, so from one address at once
        c.ehlo()
        for _ in range(3):
            assert str(c.mail("app@contoso.com", OUTSIDE, body)).startswith(code)
    for row in lines(node, 3):
        assert row["outcome"] == "rejected" and row["end"] == end and row["answer"].startswith(code), row
        assert row["external"] == 1 and row["bytes"] > 0 and row["sender"] == "app@contoso.com", row
    assert books(node) == {"rejected": 3, "rejected external": 3}
    assert node.metric("sendgov_clients_refused_total", reason=reason) == 3


def test_refusals_of_one_address_do_not_hide_each_other(site):
    node = site.node().start()
    with Client(node.port("plain")) as c:
        c.ehlo()
        for sender in ("boss@fabrikam.com", "boss@fabrikam.com", "app@contoso.com> SIZE=999999999999 <"):
            c.cmd(f"MAIL FROM:<{sender}>")
        c.cmd("MAIL FROM:<app@contoso.com>")
        c.cmd("RCPT TO:<u@localhost>")
    rows = node.log_events("refused")
    assert len(rows) == len({row["reason"] for row in rows}) >= 2 and {row["client"] for row in rows} == {"local"}, rows


def test_a_pause_says_who_must_do_what(site):
    route = {"upstream": f"localhost:{site.sim.port}", "tls": "off", "domains": ["contoso.com"], "profile": "m365-connector"}
    node = site.node(routes={"contoso": route}).start()
    site.sim.rule(step="dot", reply="550 5.7.708 Service unavailable. Access denied", count=1)
    reply = send(node)
    assert reply.code == 451 and "paused until an operator resumes it" in reply.text, reply
    row, = lines(node, 1, "pause")
    assert "support ticket" in row["advice"] and row["until"] == "resumed" and "5.7.708" in row["reason"], row
    told = node.ctl("--json", "pauses")["pauses"]
    assert told[0]["advice"] == row["advice"], told
    for page in (node.ctl("pauses"), node.ctl("status"), node.get("/")[1]):
        assert "support ticket" in page, page


def test_what_operators_do_is_one_line_each(site):
    node = site.node().start()
    what = ("resume", "--scope", "route", "--instance", "contoso", "--reason", "all clear")
    pause(node)
    node.ctl(*what)
    node.ctl("reload")
    wait_until(lambda: node.get("/ready")[0] == 200, 5, "/ready")
    pause(node)
    site.redis.kill()
    wait_until(lambda: node.get("/ready")[0] == 503, 10, "/ready to be false")
    assert node.ctl(*what, check=False).returncode != 0
    good, bad = lines(node, 2, "resume")
    assert good["outcome"] == "resumed" and bad["outcome"] == "down", (good, bad)
    for row in (good, bad):
        assert row["reason"] == "all clear" and row["instance"] == "contoso" and row["actor"], row
    row, = lines(node, 1, "reload")
    assert row["actor"] == good["actor"] and len(row["hash"]) > 8, row
    site.redis.start()
