"""A node with a spool between clients that number their mail and the stand-in, and the ledgers of what both saw.

One Scene is one node with a state folder and counters of its own; Redis and the stand-in are the rig's. Its clients:
    devices   accept: spool     the `devices` listener
    plain     accept: relay     the `plain` listener, after AUTH (Offers.relay)
"""
import asyncio
import collections
import hashlib
import itertools
import os
import re
import time

import checker
from load import Connection, Lost
from process import wait_until
from rig import CLIENT_PASSWORD
from smtp_client import Client, message

_names = itertools.count(1)
SPOOL = {"enabled": True, "uncertain_delay": "100ms", "uncertain_tries": 5, "retry_first": "100ms", "retry_max": "200ms"}
READY_S = 2


class Scene:
    def __init__(self, rig, spool=(), sim=None, **sections):
        self.rig = rig
        self.sim = sim or rig.sim
        self.name = f"s{next(_names)}"
        self.sim.limits(connections=None)
        clients = {"local": {"networks": ["127.0.0.1/32"], "senders": ["@contoso.com"], "accept": "spool"},
                   "app": {"login": "app", "senders": ["@contoso.com"]}}
        self.node = rig.node(self.name, alone=True, spool={**SPOOL, **dict(spool)}, clients={**clients, **sections.pop("clients", {})},
                             **sections)
        spool_section = self.node.config["spool"]
        self.folder = spool_section.get("folder", os.path.join(self.node.config["state"], "spool"))
        self.attempts = []
        self.numbers = itertools.count(1)
        self.mark = self.sim.mark()

    @property
    def paths(self):
        """What strace binds faults to."""
        return [self.folder, *(os.path.join(self.folder, "spool.db" + end) for end in ("", "-wal", "-journal", "-shm"))]

    @property
    def log_file(self):
        return os.path.join(self.node.folder, "strace.log")

    # the clients' side
    def item(self, size=200, sender="app@contoso.com"):
        number = next(self.numbers)
        message_id = f"<{self.name}.{number:06d}@contoso.com>"
        text = b"This is the text of %s.\r\n" % message_id.encode()
        body = message(sender, "someone@fabrikam.com", message_id, text=text * (size // len(text) + 1))
        return {"id": message_id, "sender": sender, "recipients": ["someone@fabrikam.com"], "body": body,
                "sha256": hashlib.sha256(body).hexdigest()}

    def offer(self, items, clients=3):
        """Each client offers its share, once, and stops when its connection ends. Returns the attempts, which are kept too."""
        attempts = asyncio.run(_offer(self.node.port("devices"), items, clients))
        self.attempts += attempts
        return attempts

    def offer_relay(self, item):
        """One message of the client that is not a spool client; the reply."""
        with Client(self.node.port("plain")) as client:
            client.ehlo()
            assert client.auth_plain("app", CLIENT_PASSWORD).code == 235
            reply = client.mail(item["sender"], item["recipients"], item["body"])
        self.attempts.append(_attempt(item, {2: "2xx", 4: "4xx", 5: "5xx"}[reply.code // 100], str(reply)))
        return reply

    # the node's side
    def status(self):
        return self.node.ctl("--json", "status")["spool"]

    def wait_state(self, state, timeout_s=15):
        return wait_until(lambda: (lambda s: s if s["state"] == state else None)(self.status()), timeout_s, f"the spool to be {state}", 0.02)

    def wait_empty(self, timeout_s=20):
        def empty():
            status = self.status()
            return status["state"] in ("ready", "full") and status["messages"] == 0
        wait_until(empty, timeout_s, f"{self.name} to drain its spool (last: {self.status()})", 0.02)

    def start(self, **how):
        """Starts and waits until it is ready or dead; how long that took in seconds."""
        begun = time.monotonic()
        self.node.start(ready=False, **how)

        def settled():
            return not self.node.process.alive() or self.node.get("/ready")[0] == 200
        wait_until(settled, 30, f"{self.name} to be ready", 0.01)
        return time.monotonic() - begun

    def stop_or_die(self):
        """SIGTERM to a node that may be killed on the way."""
        process = self.node.process
        self.node.stop(15)
        self.node.ends[-1]["asked"] = [0, -9]
        return process.child.returncode

    def restart(self):
        """After an end: it must come up, soon, and drain."""
        took = self.start()
        assert self.node.process.alive(), f"{self.name} ended with {self.node.process.child.returncode}:\n{self.node.log()[-3000:]}"
        assert took < READY_S, f"{self.name} was ready after {took:.2f} s"
        self.node.wait_ready()
        self.wait_empty()
        return took

    # the ledgers
    def messages(self):
        ours = f"<{self.name}."
        return [m for m in self.sim.messages(self.mark) if (m.get("message_id") or "").startswith(ours)]

    def uncertain(self):
        """Counter by Message-ID of what the node called uncertain; the node's own ids are in the trace headers upstream."""
        said = collections.Counter(e["id"] for e in self.node.log_events() if "id" in e and
                                   (e["event"] == "uncertain" or e.get("outcome") == "uncertain"))
        counted = collections.Counter()
        own = collections.defaultdict(set)
        for m in self.messages():
            if m["accepted"]:
                own[m["message_id"]].add(_own_id(m["body"]))
        for message_id, ids in own.items():
            counted[message_id] = sum(said[i] for i in ids)
        return counted

    def judge(self, delivered_though_refused=False):
        """All that was told holds. delivered_though_refused: what was refused may have arrived, once."""
        messages, uncertain = self.messages(), self.uncertain()
        findings = checker.check_no_loss(self.attempts, messages)
        findings += checker.check_duplicates(self.attempts, messages, uncertain)
        findings += checker.check_bytes(self.attempts, messages)
        findings += checker.check_protocol(self.attempts)
        findings += checker.check_alive(self.node.ends)
        if not delivered_though_refused:
            findings += checker.check_no_lie(self.attempts, messages, uncertain)
        return [f"{self.name}: {f}" for f in findings]

    def end(self):
        """Stops the node and judges; what the spool folder holds then is the database alone."""
        status = self.node.stop()
        left = sorted(os.listdir(self.folder))
        findings = self.judge()
        if status != 0:
            findings.append(f"{self.name}: SIGTERM gave {status}")
        if set(left) - {"spool.db"}:
            findings.append(f"{self.name}: left in the spool folder: {left}")
        return findings


def _own_id(body_file):
    with open(body_file, "rb") as f:
        found = re.search(rb"(?i)\bid ([0-9a-z]+)", f.read(2000))
    return found.group(1).decode() if found else None


def _attempt(item, outcome, reply):
    return {"id": item["id"], "sender": item["sender"], "recipients": item["recipients"], "sha256": item["sha256"], "begun_ns": 0,
            "ended_ns": time.monotonic_ns(), "outcome": outcome, "reply": reply, "after_dot": True, "dialog": [], "extra": ""}


async def _offer(port, items, clients):
    shares = [items[i::clients] for i in range(clients)]
    done = await asyncio.gather(*(_client(port, share) for share in shares if share))
    return [attempt for attempts in done for attempt in attempts]


async def _client(port, items):
    attempts = []
    try:
        connection = await Connection.open(port)
    except (Lost, OSError):
        return attempts
    for item in items:
        try:
            attempts.append(await connection.offer(item))
        except (Lost, OSError) as e:
            attempts.append(connection.lost(item, e))
            connection.close()
            return attempts
    await connection.quit()
    return attempts
