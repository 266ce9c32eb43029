"""The stand-in itself: other tests rest on it."""
import pytest

from certs import Authority
from m365sim import Sim
from process import wait_until
from smtp_client import Client, Closed, message, tls_context


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("sim"))
    ca = Authority(folder + "/ca")
    sim = Sim(folder, cert=ca.issue("localhost"), users=("relay@contoso.com:pw", "two@contoso.com:pw"))
    yield sim, tls_context(ca.cert)
    sim.stop()


@pytest.fixture
def sim(site):
    yield site[0]
    site[0].clear_rules()
    site[0].limits(connections=3, external=None, per_minute=None, size=157286400)


@pytest.fixture
def client(site):
    return lambda user="relay@contoso.com": login(site, user)


def login(site, user):
    c = Client(site[0].port)
    c.ehlo()
    c.starttls(site[1])
    assert c.auth_login(user, "pw").code == 235
    return c


def test_it_offers_what_microsoft_offers(site):
    with Client(site[0].port) as c:
        assert list(c.ehlo()) == ["SIZE", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "BINARYMIME",
                                  "CHUNKING", "SMTPUTF8"]
        assert c.cmd("AUTH LOGIN").code == 530
        features = c.starttls(site[1])
        assert features["AUTH"] == "LOGIN XOAUTH2" and "STARTTLS" not in features
        assert c.cmd("AUTH PLAIN AGEAYg==").code == 504
        assert c.auth_login("relay@contoso.com", "wrong").code == 535
        assert c.cmd("MAIL FROM:<a@contoso.com>").code == 530


def test_ledger_tells_what_it_saw(sim, client):
    mark = sim.mark()
    body = message(message_id="<ledger@x>", text=b".dot\r\n..\r\nend\r\n")
    with client() as c:
        assert c.mail("a@contoso.com", ["b@fabrikam.com", "c@contoso.com"], body).code == 250
    row = sim.wait_messages(1, mark)[0]
    assert row["size"] == len(body) and row["message_id"] == "<ledger@x>" and row["auth"] == "relay@contoso.com"
    assert [r["to"] for r in row["rcpts"]] == ["b@fabrikam.com", "c@contoso.com"]
    lo, hi = row["mail_ns"]
    assert lo <= hi <= row["dot_ns"][1] and hi - lo < 50_000_000 and row["told"]
    with open(row["body"], "rb") if "body" in row else open("/dev/null", "rb") as f:
        assert f.read() in (body, b"")


def test_pipelined_commands_are_stamped_apart(sim, client):
    with client() as c:
        c.send(b"MAIL FROM:<a@contoso.com>\r\nRCPT TO:<b@fabrikam.com>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(3)] == [250, 250, 354]
        c.send(b"x\r\n.\r\nMAIL FROM:<a2@contoso.com>\r\n")
        assert [c.reply().code for _ in range(2)] == [250, 250]


def test_the_ledger_has_the_parameters_of_each_recipient(sim, client):
    mark = sim.mark()
    with client() as c:
        c.cmd("MAIL FROM:<a@contoso.com> RET=HDRS")
        for parameters in (" NOTIFY=NEVER", ""):
            c.cmd(f"RCPT TO:<b@fabrikam.com>{parameters}")
        c.cmd("DATA")
        c.send(message() + b".\r\n")
        assert c.reply().code == 250
    row, = sim.wait_messages(1, mark)
    assert row["parameters"] == "RET=HDRS" and [r["parameters"] for r in row["rcpts"]] == ["NOTIFY=NEVER", ""], row


def test_a_rule_at_the_dot_knows_the_accepted_recipients(sim, client):
    sim.rule(step="rcpt", recipient="refused@*", reply="550 5.1.1 no")
    sim.rule(step="dot", recipient="*refused@*", reply="554 5.6.0 never applies")
    rule = sim.rule(step="dot", recipient="*bad@*", reply="554 5.6.0 no", count=1)
    with client() as c:
        for recipients, code in ((["x@fabrikam.com"], 250), (["x@fabrikam.com", "bad@fabrikam.com"], 554)):
            assert c.mail("a@contoso.com", recipients, message()).code == code
        assert c.cmd("MAIL FROM:<a@contoso.com>").code == 250
        assert [c.cmd(f"RCPT TO:<{to}@fabrikam.com>").code for to in ("refused", "x")] == [550, 250]
        c.cmd("DATA")
        c.send(message() + b".\r\n")
        assert c.reply().code == 250
    assert sim.hits(rule) == 1


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_rule_answers_at_its_step_and_so_often(sim, client, step):
    rule = sim.rule(step=step, reply="550 5.7.708 Service unavailable AS(7230)", count=1)
    with client() as c:
        reply = c.mail("a@contoso.com", "b@fabrikam.com", message())
        assert str(reply).startswith("550 5.7.708")
        assert c.mail("a@contoso.com", "b@fabrikam.com", message()).code == 250
    assert sim.hits(rule) == 1


def test_a_rule_matches_and_skips(sim, client):
    sim.rule(step="rcpt", recipient="BAD@*", skip=1, reply="450-4.2.0 a\n450 4.2.0 b")
    with client() as c:
        c.cmd("MAIL FROM:<a@contoso.com>")
        assert c.cmd("RCPT TO:<bad@x.example>").code == 250
        assert len(c.cmd("RCPT TO:<bad@x.example>").lines) == 2
        assert c.cmd("RCPT TO:<good@x.example>").code == 250


@pytest.mark.parametrize("rule, accepted", [
    ({"step": "mail", "drop": "fin"}, 0), ({"step": "data", "drop": "rst"}, 0),
    ({"step": "body", "after_bytes": 20, "drop": "rst"}, 0), ({"step": "dot", "drop": "fin"}, 1),
    ({"step": "dot", "drop": "rst", "when": "mid"}, 1),
])
def test_a_rule_drops(sim, client, rule, accepted):
    mark = sim.mark()
    sim.rule(count=1, **rule)
    with client() as c, pytest.raises((Closed, ConnectionError)):
        c.mail("a@contoso.com", "b@fabrikam.com", message())
        pytest.fail("not dropped")
    rows = wait_until(lambda: sim.messages(mark), what="the row")
    assert sum(r["accepted"] for r in rows) == accepted and not rows[0]["told"]


def test_a_drop_after_the_reply_tells_it(sim, client):
    mark = sim.mark()
    sim.rule(step="dot", drop="fin", when="after", count=1)
    with client() as c:
        assert c.mail("a@contoso.com", "b@fabrikam.com", message()).code == 250
        assert c.closed()
    assert sim.wait_messages(1, mark)[0]["told"]


def test_a_fourth_connection_of_a_mailbox_is_refused_after_data(sim, client):
    with client() as a, client() as b, client() as c, client("two@contoso.com") as other:
        assert all(x.mail("a@contoso.com", "b@fabrikam.com", message()).code == 250 for x in (a, b, c, other))
        with client() as d:
            assert str(d.mail("a@contoso.com", "b@fabrikam.com", message())).startswith("432 4.3.2")


def test_the_tenants_external_limit(sim, client):
    sim.limits(external=2, external_window_s=3600)
    with client() as c:
        assert c.mail("a@contoso.com", ["a@x.example", "b@contoso.com"], message()).code == 250
        assert c.mail("a@contoso.com", ["a@x.example", "b@x.example"], message()).enhanced == "5.7.233"
        assert c.mail("a@contoso.com", "b@x.example", message()).code == 250


def test_message_size_and_minute_rate(sim, client):
    sim.limits(size=1000, per_minute=2, per_minute_mode="reject")
    with client("two@contoso.com") as c:
        assert c.mail("a@contoso.com", "b@x.example", message(text=b"x" * 70 + b"\r\n")).code == 250
        assert c.mail("a@contoso.com", "b@x.example", message(text=b"x" * 2000)).code == 552
        assert c.cmd("MAIL FROM:<a@contoso.com> SIZE=1001").code == 552
        assert c.mail("a@contoso.com", "b@x.example", message()).code == 250
        assert c.mail("a@contoso.com", "b@x.example", message()).code == 450


def test_a_wrong_rule_is_refused(sim):
    with pytest.raises(AssertionError, match="unknown step"):
        sim.rule(step="dott")
    with pytest.raises(AssertionError, match="unknown key"):
        sim.rule(step="dot", replly="x")


def test_it_forgets_as_if_it_were_new(sim, client):
    sim.rule(step="dot", sender="slow@*", delay_ms=300)
    sim.limits(external=0)
    sim.hide("DSN")
    with client() as slow:
        assert "DSN" not in slow.ehlo()
        slow.cmd("MAIL FROM:<slow@contoso.com>")
        slow.cmd("RCPT TO:<b@contoso.com>")
        slow.cmd("DATA")
        slow.send(message() + b".\r\n")
        wait_until(lambda: sim.status()["mails"] >= 1, 5, "MAIL")
        sim.forget()
        assert slow.closed()
    with client() as c:
        assert "DSN" in c.ehlo()
        assert c.mail("slow@contoso.com", "b@fabrikam.com", message(message_id="<new@x>")).code == 250
    rows = sim.messages()
    assert [m["message_id"] for m in rows] == ["<new@x>"] and sim.status()["accepted"] == sim.status()["mails"] == 1, rows
