"""A run with the spool on: several nodes over one Redis, clients of all kinds that offer three times the caps, then nothing new
until all has left; what happens on the way is a plan of coroutines. At the end the ledgers of all sides are held against each other.

Each client kind has a source address of its own; every recipient is of one message only, so each offer upstream is known by it,
also one that never came to its content. Recipients that begin with `never` are refused for good.
"""
import asyncio
import collections
import email
import email.policy
import os
import random
import re
import sqlite3
import time

import checker
import checker_spool
from checker import Cap, SECOND_NS
from load import Load

INTERNAL = ("contoso.com",)
BLOCK = "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. AS(7230)"
LIMITS = {"five": (150, 5), "two": (90, 2)}  # name: cap, seconds; the longer one binds, the shorter one shapes
BINDING = "five"
LIFETIME_NS = LIMITS["two"][1] * SECOND_NS // 40
SPOOL = {"enabled": True, "retry_first": "100ms", "retry_max": "400ms", "uncertain_delay": "500ms", "uncertain_tries": 10}
KINDS = {  # source address, sender, share of the load
    "relay": ("127.0.0.1", "app@contoso.com", 0.5),
    "spool": ("127.0.0.2", "scan@contoso.com", 0.28),
    "defer": ("127.0.0.3", "mta@contoso.com", 0.2),
    "null": ("127.0.0.4", "", 0.02),
}
CONNECTING, SENDING = ("connect", "ehlo", "auth"), ("mail", "rcpt", "data", "dot")


def client_section():
    section = {kind: {"networks": [source + "/32"], "senders": ["@contoso.com"], "accept": "relay" if kind == "null" else kind}
               for kind, (source, _, _) in KINDS.items()}
    section["null"].update(accept="spool", null_sender=True, route="contoso")
    return section


def route_section(rig):
    """A profile would bring limits of its own."""
    return {"contoso": {"upstream": f"localhost:{rig.sim.port}", "tls": "off", "domains": ["contoso.com"],
                        "replies": [{"reply": "5xx 5.7.708", "class": "block-tenant"}]}}


def limit_section(limits=None):
    return {name: {"scope": "route", "unit": "external", "window": f"{n}/{s}s"} for name, (n, s) in (limits or LIMITS).items()}


def addressed(kind):
    def recipients(rand, number):
        here = f"{kind}{number}"
        if rand.random() < (0.5 if kind == "null" else 0.03):
            return [f"never.{here}@fabrikam.com"]
        return [f"{here}@fabrikam.com"] if rand.random() < 0.95 else [f"{here}@fabrikam.com", f"{here}@northwind.com"]
    return recipients


class SpoolRun:
    def __init__(self, rig, n_nodes, load_s, clients=16, seed=1):
        self.rig, self.load_s, self.seed = rig, load_s, seed
        self.random = random.Random(seed)
        rig.sim.limits(connections=None)
        rig.sim.rule(step="rcpt", recipient="never.*", reply="550 5.1.1 no such mailbox")
        mailboxes = {"relay@contoso.com": {"route": "contoso", "password_file": rig.upstream_password, "connections": 20}}
        self.nodes = [rig.node(f"n{i}", hostname=f"n{i}.contoso.com", limits=limit_section(), mailboxes=mailboxes, spool=SPOOL,
                               routes=route_section(rig), clients=client_section(), log={"level": "info", "format": "json"})
                      for i in range(n_nodes)]
        for node in self.nodes:
            del node.config["clients"]["app"], node.config["clients"]["local"]
            node.write_config()
        self.lives, self.open_lives = [], {}
        for node in self.nodes:
            self._start(node)
        n, s = LIMITS[BINDING]
        ports = [node.port("plain") for node in self.nodes]
        self.loads = [Load(ports, max(1, round(clients * share)), max(1, round(clients * share)) / (3 * n / s * share), sender=sender,
                           name=f"{kind}-{seed}", seed=seed + i, addressed=addressed(kind), source=source, lines=[8] * 40 + [4000])
                      for i, (kind, (source, sender, share)) in enumerate(KINDS.items())]
        self.caps = {name: Cap(name, s * SECOND_NS, "external", [(0, n)], internal_domains=INTERNAL) for name, (n, s) in LIMITS.items()}
        self.resumed, self.outages, self.closed, self.happened = [], [], [], []
        self.most_waiting = self.kills = 0

    # lives of nodes
    def _start(self, node, ready=True):
        noted = len(node.log_events("uncertain")) if os.path.exists(os.path.join(node.folder, "log")) else 0
        self.open_lives[node.name] = (time.monotonic_ns(), noted)
        node.start(ready)

    def _end_life(self, node, end, metrics=None, exact=False):
        begun, noted = self.open_lives.pop(node.name)
        status = end()
        self.lives.append({"name": f"{node.name} until {time.monotonic():.1f}", "port": node.port("plain"), "begin_ns": begun,
                           "end_ns": time.monotonic_ns(), "helo": node.config["hostname"], "exact": exact, "metrics": metrics,
                           "notes": len(node.log_events("uncertain")) - noted})
        return status

    # the run
    async def go(self, *happenings):
        """happenings: coroutine functions, one after the other, from the second second on."""
        loads = [asyncio.create_task(load.run()) for load in self.loads]
        self.begin_ns = time.monotonic_ns()
        plan = asyncio.create_task(self._happen(happenings))
        try:
            await asyncio.sleep(self.load_s)
            for load in self.loads:
                load.end()
            await asyncio.wait_for(asyncio.gather(*loads), 100)
            await plan
            await asyncio.to_thread(self._until_all_ready)
            await self._drained()
        finally:
            plan.cancel()
            for load in self.loads:
                load.end()
        self.end_ns = time.monotonic_ns()

    async def _happen(self, happenings):
        await asyncio.sleep(1)
        for happening in happenings:
            begun = time.monotonic_ns()
            await happening()
            self.happened.append((happening.__name__, begun, time.monotonic_ns()))
            await asyncio.sleep(self.random.uniform(0.2, 0.8))

    def waiting(self, node):
        return node.ctl("--json", "status")["spool"]["messages"]

    async def _drained(self, timeout_s=120):
        deadline = time.monotonic() + timeout_s
        while True:
            waiting = [await asyncio.to_thread(self.waiting, node) for node in self.nodes]
            self.most_waiting = max(self.most_waiting, sum(waiting))
            if not any(waiting):
                return
            assert time.monotonic() < deadline, f"seed {self.seed}: still in the spools: {waiting}"
            if await asyncio.to_thread(self.nodes[0].metric, "sendgov_paused"):
                await self._resume()  # Redis lost that it was lifted, before all nodes had heard of it
            await asyncio.sleep(0.1)

    def _until_all_ready(self):
        for node in self.nodes:
            node.wait_ready(30)

    def _broken(self, begun, more_s=0.0):
        self.outages.append((begun, time.monotonic_ns() + int(more_s * SECOND_NS)))

    # happenings
    async def kill_a_node(self):
        """The one with the most messages that the upstream thinks over."""
        rule = await asyncio.to_thread(lambda: self.rig.sim.rule(step="dot", delay_ms=700, count=20))
        await self._until_hit(rule)
        self.outages.append((time.monotonic_ns(), time.monotonic_ns() + 7 * SECOND_NS // 10))
        busy = [(await asyncio.to_thread(node.metric, "sendgov_upstream_connections", state="busy"), self.random.random(), node)
                for node in self.nodes]
        node = max(busy, key=lambda b: b[:2])[2]
        await asyncio.to_thread(self._end_life, node, node.kill)
        self.kills += 1
        await asyncio.sleep(self.random.uniform(0.1, 1))
        await asyncio.to_thread(self._start, node, False)

    async def stop_a_node(self):
        node = self.random.choice(self.nodes)
        metrics = await asyncio.to_thread(node.metrics)
        status = await asyncio.to_thread(self._end_life, node, node.stop, metrics)
        assert status == 0
        await asyncio.sleep(self.random.uniform(0, 1))
        await asyncio.to_thread(self._start, node, False)

    async def kill_redis(self):
        await self._without_redis(self.rig.redis.kill)

    async def lose_redis(self):
        await self._without_redis(self.rig.redis.lose)

    async def _without_redis(self, end):
        await asyncio.to_thread(self._until_all_ready)
        begun = time.monotonic_ns()
        end()
        gone = time.monotonic_ns()
        await asyncio.sleep(1)
        self.closed.append((gone, time.monotonic_ns()))
        await asyncio.to_thread(self.rig.redis.start)
        await asyncio.to_thread(self._until_all_ready)
        self._broken(begun)

    async def flush_scripts(self):
        await asyncio.to_thread(self.rig.redis.client().script_flush)

    async def refuse_at_each_step(self):
        begun = time.monotonic_ns()
        for step in (*self._connecting(), *SENDING):
            words = self.random.choice(["451 4.3.0 later", "421 4.4.2 closing"])  # 4.3.2 means too many connections
            await asyncio.to_thread(lambda: self.rig.sim.rule(step=step, reply=words, count=1))  # pylint: disable=cell-var-from-loop
        await self._new_connections()
        self._broken(begun, 1)

    async def break_at_each_step(self):
        begun = time.monotonic_ns()
        for step in (*self._connecting(), *SENDING, "body", "dot", "dot", "dot"):
            rule = {"step": step, "drop": self.random.choice(["fin", "rst"]), "count": 1}
            rule.update({"after_bytes": 100} if step == "body" else {"when": self.random.choice(["before", "mid", "after"])})
            await asyncio.to_thread(lambda: self.rig.sim.rule(**rule))  # pylint: disable=cell-var-from-loop
        await self._new_connections()
        self._broken(begun, 1)

    def _connecting(self):
        """Not all, for after each try in vain a node waits twice as long."""
        return self.random.sample(CONNECTING, 2)

    async def _new_connections(self):
        """Those there end, so that the steps before MAIL happen again."""
        await asyncio.to_thread(self.rig.sim.drop_all)
        await asyncio.sleep(1)

    async def block_and_resume(self):
        rule = await asyncio.to_thread(lambda: self.rig.sim.rule(step=self.random.choice(["mail", "rcpt", "data", "dot"]), reply=BLOCK,
                                                                 count=1, sender="*@contoso.com"))
        begun = time.monotonic_ns()
        if not await self._until_hit(rule):
            return
        await asyncio.sleep(2.5)
        await self._resume()
        self._broken(begun, 1)

    async def _resume(self):
        self.resumed.append(time.monotonic_ns())
        await asyncio.to_thread(self.nodes[0].ctl, "resume", "--scope", "route", "--instance", "contoso", "--reason", "run")

    async def _until_hit(self, rule, timeout_s=8):
        """False: there was nothing left to hit."""
        deadline = time.monotonic() + timeout_s
        while not await asyncio.to_thread(self.rig.sim.hits, rule):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def edit_a_cap(self):
        """Lower, for a while, and back; a node that is away reads it when it starts."""
        await self._set_cap(BINDING, LIMITS[BINDING][0] * 2 // 3)
        await asyncio.sleep(LIMITS[BINDING][1])
        await self._set_cap(BINDING, LIMITS[BINDING][0])

    async def _set_cap(self, name, value):
        cap, begun = self.caps[name], time.monotonic_ns()
        for node in self.nodes:
            node.config["limits"][name]["window"] = f"{value}/{LIMITS[name][1]}s"
            node.write_config()
            await asyncio.to_thread(node.ctl, "reload")
        raised = value > cap.history[-1][1]
        cap.history.append((begun if raised else time.monotonic_ns(), value))
        self._broken(begun, LIMITS[name][1])

    # judgement
    def finish(self):
        """All clients and spools are done: the books of each life that still runs, and a clean end."""
        for node in self.nodes:
            assert self._end_life(node, node.stop, node.metrics(), True) == 0
        self.messages = self.rig.sim.messages()
        self.attempts = [a for load in self.loads for a in load.attempts]
        self.ids = {to: a["id"] for a in self.attempts for to in a["recipients"]}

    def uncertain(self):
        """Counter by Message-ID of what a node called uncertain when it started."""
        by_own_id = {m.get("trace_id") or (m.get("message_id") or "").strip("<").partition("@")[0]: m["message_id"]
                     for m in self.messages if m.get("message_id")}
        by_own_id.update(own_ids(self.attempts))
        said = [e["id"] for node in self.nodes for e in node.log_events("uncertain")]
        return collections.Counter(by_own_id.get(i, i) for i in said)

    def came_at_a_start(self):
        """The ids of what a node took before it had read its spool: nothing was known to wait."""
        starts = [(life["port"], life["begin_ns"]) for life in self.lives]
        return {a["id"] for a in self.attempts for port, at in starts if a["port"] == port and at <= a["begun_ns"] < at + SECOND_NS}

    def named(self):
        """What a node called uncertain, at a start or when a connection was lost."""
        return {e["id"] for node in self.nodes for e in node.log_events()
                if e["event"] == "uncertain" or e.get("outcome") == "uncertain"}

    def reported(self, reports):
        """(id, recipient) of what a notification, or the log where there is no sender, called failed."""
        found = [(self.ids.get(to), to) for r in reports for to in re.findall(r"(?m)^Final-Recipient: rfc822; ?(\S+)$", r)]
        return found + [(self.ids.get(e["recipient"]), e["recipient"]) for node in self.nodes for e in node.log_events("undeliverable")]

    def findings(self):
        rows = [m for m in self.messages if m["accepted"] and m["sender"] == "" and m["message_id"] not in self.ids.values()]
        reported = self.reported([read_report(m["body"]) for m in rows])
        uncertain, spooled = self.uncertain(), [(self.ids.get(to), to) for node in self.nodes for _, to in in_spool(node)]
        attempts, messages = self.attempts, self.messages
        found = [f for cap in self.caps.values() for f in checker.check_cap(messages, cap)]
        found += checker.check_no_loss(attempts, messages, spooled, reported)
        found += checker.check_no_lie(attempts, messages, uncertain, {m["message_id"] for m in rows})
        found += checker.check_reports(messages, reported)
        found += checker.check_duplicates(attempts, messages, uncertain)
        found += checker.check_bytes(attempts, messages)
        found += checker.check_pause(messages, INTERNAL, self.resumed)
        found += checker.check_alive(self.rig.ends()) + checker.check_protocol(attempts)
        found += checker_spool.check_closed(messages, self.closed, LIFETIME_NS + SECOND_NS // 5)
        found += checker_spool.check_order(attempts, messages, {node.port("plain"): node.config["hostname"] for node in self.nodes},
                                           exempt=set(uncertain) | self.came_at_a_start())
        found += checker_spool.check_named(messages, self.named())
        found += checker_spool.check_books(attempts, messages, self.lives)
        found += [f"3 lie: {a['id']} was told {a['reply']!r}" for a in attempts
                  if a["outcome"] == "5xx" and not a["recipients"][0].startswith("never.")]
        found += [f"1 cap: {life['name']}: overshoot" for life in self.lives
                  if life["metrics"] and checker_spool.sum_series(life["metrics"], "sendgov_overshoot_total")]
        return found + [f"{i} {to} is left in a spool" for i, to in spooled]

    def last_offer_ns(self):
        """Until then some mail waits nearly all the time: the load is three times the caps, and what is left leaves in windows."""
        return max(m["mail_ns"][0] for m in self.messages if self.caps[BINDING].weight(m))

    def share(self):
        """Used of the cap until the last offer, over all nodes."""
        return checker.used_share(self.messages, self.caps[BINDING], self.begin_ns, self.last_offer_ns(), merged(self.outages))

    def report(self):
        left_out = sum(e - b for b, e in merged(self.outages)) / (self.end_ns - self.begin_ns)
        share = f"{self.share():.1%} of the cap used, " if left_out < 0.3 else ""
        outcomes = collections.Counter(a["outcome"] for a in self.attempts)
        worst = {name: f"{most_used(self.messages, cap)} of {cap.history[0][1]}" for name, cap in self.caps.items()}
        copies = sum(m["accepted"] for m in self.messages) - len({m["message_id"] for m in self.messages if m["accepted"]})
        print(f"seed {self.seed}: {len(self.attempts)} offers {dict(outcomes)}, {len(self.messages)} upstream, {copies} copies, "
              f"{sum(self.uncertain().values())} uncertain at a start, {self.kills} kills, {self.most_waiting} waited, worst windows {worst}, "
              f"{share}{left_out:.0%} of {(self.end_ns - self.begin_ns) / 1e9:.1f} s paused or broken")


def merged(spans):
    """Without the parts that are there twice."""
    found = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def most_used(messages, cap):
    """In the fullest interval of the cap's length."""
    events = sorted((m["mail_ns"][0], cap.weight(m)) for m in messages if cap.covers(m))
    return max((sum(n for at, n in events[i:] if at < begin + cap.period_ns) for i, (begin, _) in enumerate(events)), default=0)


def own_ids(attempts):
    """{the node's id: Message-ID} of what clients were told."""
    found = {}
    for a in attempts:
        said = re.match(r"250 2\.0\.0 (?:relayed|queued) as ([0-9a-z]+)", a["reply"])
        if said:
            found[said.group(1)] = a["id"]
    return found


def read_report(path):
    """The fields of a notification as text."""
    with open(path, "rb") as f:
        parsed = email.message_from_binary_file(f, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report", parsed
    return "\n".join(f"{k}: {v}" for group in parsed.get_payload()[1].get_payload() for k, v in group.items())


def spool_folder(node):
    return node.config["spool"].get("folder", os.path.join(node.config["state"], "spool"))


def in_spool(node):
    """(our id, recipient) of what lies in the file of a node that was stopped."""
    assert node.process is None
    path = os.path.join(spool_folder(node), "spool.db")
    database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        return database.execute("SELECT m.id, r.address FROM message m JOIN recipient r ON r.seq = m.seq").fetchall()
    finally:
        database.close()
