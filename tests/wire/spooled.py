"""What the tests of the spool share: short times, clients that send, and the views of what waits."""
import collections
import contextlib
import email
import email.policy
import hashlib
import os
import re

from foreign import stamp
from m365sim import Sim
from ports import free_port
from process import Timeout, wait_until
from rig import Rig
from smtp_client import Client, message, stuff

OUTSIDE, INSIDE, SENDER = "u@fabrikam.com", "colleague@contoso.com", "app@contoso.com"
INTERNAL = ("contoso.com",)
QUICK = {"enabled": True, "retry_first": "200ms", "retry_max": "400ms", "uncertain_delay": "1s"}
BLOCK = "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. AS(7230)"


def spool(**more):
    return {**QUICK, **more}


@contextlib.contextmanager
def sites(**options):
    """A Redis and a stand-in without TLS; counters, pauses and rules begin at nothing."""
    with Rig(upstream_tls=False, **options) as rig:
        yield rig


class Site:
    """The rig of a module as a test sees it: a stand-in that remembers nothing, nodes in governor groups of their own."""

    def __init__(self, rig):
        self.rig = rig
        self.before = len(rig.nodes)
        rig.sim.forget()

    def __getattr__(self, name):
        return getattr(self.rig, name)

    def node(self, **sections):
        return self.rig.node(f"n{len(self.rig.nodes)}", alone=True, **sections)

    def end(self):
        if not self.rig.redis.process.alive():
            self.rig.redis.start()
        for node in self.rig.nodes[self.before:]:
            if node.process is not None:
                assert node.process.alive() and node.stop() == 0, node.log()[-3000:]


def route(rig, port=None, **more):
    return {"contoso": {"upstream": f"localhost:{port or rig.sim.port}", "tls": "off", "domains": ["contoso.com"], **more}}


def clients(**more):
    """The client of 127.0.0.1, with more settings."""
    return {"local": {"networks": ["127.0.0.1/32"], "senders": ["@contoso.com"], **more}}


def one_connection(rig, n=1):
    """Transactions one after the other, so that their order is that of release."""
    return {"relay@contoso.com": {"route": "contoso", "password_file": rig.upstream_password, "connections": n}}


def late_sim(rig, port):
    """The upstream that was down listens at last."""
    return rig.adopt(Sim(rig.folder, f"late{port}", bodies=True, options=("--listen", f"127.0.0.1:{port}")))


class Sent:
    """One message as it was sent, and what its client was told."""

    def __init__(self, recipients=OUTSIDE, sender=SENDER, text=b"Hello.\r\n", message_id=None):
        self.recipients = [recipients] if isinstance(recipients, str) else list(recipients)
        self.sender = sender
        self.id = message_id or f"<{stamp()}@spool>"
        self.body = message(sender or SENDER, self.recipients[0], self.id, text=text)
        self.sha256 = hashlib.sha256(self.body).hexdigest()
        self.reply = None

    @property
    def queue_id(self):
        """Our id, out of the reply."""
        return self.reply.text.split(" as ")[1].split(";")[0]


def offer(c, sent, mail="", rcpt=""):
    """Over an open session, whatever recipients are refused; mail, rcpt: parameters. The reply of the last step."""
    reply = c.cmd(f"MAIL FROM:<{sent.sender}>{mail}")
    if reply.code != 250:
        return reply
    codes = [c.cmd(f"RCPT TO:<{to}>{rcpt}") for to in sent.recipients]
    if not any(code.code == 250 for code in codes):
        c.cmd("RSET")
        return codes[-1]
    reply = c.cmd("DATA")
    if reply.code != 354:
        c.cmd("RSET")
        return reply
    c.send(stuff(sent.body) + b".\r\n")
    return c.reply()


def send(node, recipients=OUTSIDE, sender=SENDER, text=b"Hello.\r\n", mail="", rcpt="", source=None, timeout_s=15):
    sent = Sent(recipients, sender, text)
    with Client(node.port("plain"), source=source, timeout_s=timeout_s) as c:
        c.ehlo()
        sent.reply = offer(c, sent, mail, rcpt)
    return sent


def send_many(node, n, recipients=OUTSIDE, sender=SENDER, source=None):
    """One after the other over one session."""
    done = []
    with Client(node.port("plain"), source=source) as c:
        c.ehlo()
        for _ in range(n):
            sent = Sent(recipients, sender)
            sent.reply = offer(c, sent)
            done.append(sent)
    return done


def assert_held(sent, *words):
    assert sent.reply.code == 250 and "queued as " in sent.reply.text, sent.reply
    assert "try again" not in sent.reply.text and "send again" not in sent.reply.text, sent.reply  # it has been said yes to
    for word in words:
        assert word in sent.reply.text, sent.reply


def assert_relayed(sent):
    assert sent.reply.code == 250 and sent.reply.text.startswith("2.0.0 relayed as "), sent.reply


# what waits
def state(node):
    return node.ctl("--json", "status")["spool"]


def queue(node, *filters):
    return node.ctl("--json", "queue", "list", *filters)["messages"]


def why(node, queue_id):
    return node.ctl("--json", "queue", "why", queue_id)


def wait_empty(node, timeout_s=15):
    try:
        wait_until(lambda: state(node)["messages"] == 0, timeout_s, "the spool to be empty", 0.02)
    except Timeout as e:
        raise AssertionError(f"{e}; it is {state(node)}") from e


def wait_waiting(node, n, timeout_s=10):
    wait_until(lambda: state(node)["messages"] == n, timeout_s, f"{n} messages in the spool", 0.02)


def pause(node, *more, reason="maintenance"):
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", reason, *more)
    wait_until(lambda: node.metric("sendgov_paused") >= 1, 5, "the pause")


def resume(node):
    node.ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "all clear")


def reload(node, **sections):
    """Sections replace those there."""
    node.config.update(sections)
    node.write_config()
    node.ctl("reload")


# what arrived
def copies(sim, sent):
    return [m for m in sim.accepted() if m["message_id"] == sent.id]


def assert_once(sim, *messages):
    """Each arrived once, for all its recipients, byte by byte below our trace header."""
    rows = collections.defaultdict(list)
    for row in sim.accepted():
        rows[row["message_id"]].append(row)
    for sent in messages:
        got = rows[sent.id]
        taken = sorted(r["to"] for row in got for r in row["rcpts"] if r["reply"].startswith("250"))
        assert taken == sorted(sent.recipients), (sent.id, taken)
        for row in got:
            assert row["sha256_below_trace"] == sent.sha256 and row["sender"] == sent.sender, row


def order(sim, messages):
    """The positions in `messages` of what arrived, in the order of MAIL."""
    place = {sent.id: i for i, sent in enumerate(messages)}
    rows = sorted((m for m in sim.accepted() if m["message_id"] in place), key=lambda m: m["mail_ns"])
    return [place[m["message_id"]] for m in rows]


def reports(sim, n, timeout_s=10):
    """The n notifications that arrived, as email messages with .row; no more than these."""
    def find():
        return [m for m in sim.accepted() if m["sender"] == ""]
    rows = wait_until(lambda: (lambda r: r if len(r) >= n else None)(find()), timeout_s, f"{n} notifications")
    assert len(rows) == n, rows
    found = []
    for row in rows:
        with open(row["body"], "rb") as f:
            parsed = email.message_from_binary_file(f, policy=email.policy.default)
        parsed.row = row
        found.append(parsed)
    return found


def status_fields(report):
    """Of its second part: the fields about the message, and those about each recipient, without blanks after the type."""
    assert report.get_content_type() == "multipart/report" and report.get_param("report-type") == "delivery-status", report
    groups = report.get_payload()[1].get_payload()

    def fields(group):
        return {name: re.sub("; +", ";", value, count=1) for name, value in group.items()}
    return fields(groups[0]), [fields(group) for group in groups[1:] if group.items()]


def database(node):
    """Size and time of change of each file of its spool."""
    folder = node.config["spool"].get("folder") or os.path.join(node.config["state"], "spool")
    return {name: (s.st_size, s.st_mtime_ns) for name in os.listdir(folder) for s in [os.stat(os.path.join(folder, name))]}


def unused_port():
    return free_port()
