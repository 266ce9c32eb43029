#!/usr/bin/python3
"""governor_long: a long randomised run of all kinds of limits at once, for hours if need be. Not part of ./check.

    SENDGOV_BUILD=$PWD/build tests/fault/governor_long.py --seconds 600 --seed 7

Three nodes, 64 clients, limits by window, rate, spike, recipient domain, new recipients, warm-up and in shadow; on the way, in an
order that the seed decides, nodes are killed, reloaded with other caps and upgraded in place, and Redis is killed, frozen, slowed
and emptied. It ends with status 1 when the checker has a finding; the last line counts the verdicts of the store, those without
a decision included.
"""
import argparse
import asyncio
import collections
import json
import os
import random
import sys
import time

import redis

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import checker  # noqa: E402
from checker import Cap, SECOND_NS  # noqa: E402
from load import Load  # noqa: E402
from process import wait_until  # noqa: E402
from rig import Rig  # noqa: E402

INTERNAL = ("contoso.com",)
HOUR_S, DAY_S = 3600, 86400
GMAIL = (150, 90)  # what the cap of that domain is set to by turns
SENDERS = [f"s{i}@contoso.com" for i in range(3000)]
LIMITS = {
    "all": {"scope": "route", "unit": "external", "window": "1500/10s"},
    "pace": {"scope": "mailbox", "unit": "messages", "rate": "9000/min", "burst": 200},
    "each": {"scope": "sender", "unit": "external", "window": "6/20s"},
    "runaway": {"scope": "sender", "unit": "external", "spike": {"factor": 3, "floor": 40}},
    "gmail": {"scope": "recipient_domain", "unit": "external", "window": f"{GMAIL[0]}/5s", "only": "gmail.com"},
    "strangers": {"scope": "client", "unit": "new_recipients", "window": "400/10s", "known_for": "1d"},
    "trial": {"scope": "route", "unit": "messages", "window": "50/10s", "mode": "shadow"},
}
WARMUP = {"curve": "table", "table": [200000, 300000]}
WARMUP_HOUR = WARMUP["table"][1] // 8  # of the higher step, should midnight come during the run
SOURCES = {"relay": "127.0.0.1", "defer": "127.0.0.2"}
OVER = "451 4.4.5"
VERDICTS, SCRIPTS = "sendgov_decision_seconds_count", "script calls of Redis"
COUNTED = (VERDICTS, "sendgov_decisions_total", "sendgov_shadow_total")


def window(name, cap, period_s, unit, covers=lambda m: True):
    return Cap(name, period_s * SECOND_NS, unit, [(0, cap)], covers, INTERNAL)


def addressed(rand, number):
    if rand.random() < 0.2:
        return [f"stranger{number}.{rand.randrange(10**9)}@fabrikam.com"]
    domain = "gmail.com" if rand.random() < 0.3 else "fabrikam.com"
    return [f"regular{i}@{domain}" for i in rand.sample(range(4000), rand.choice((1, 1, 1, 2)))]


class Attempts(list):
    """What is right about an attempt is seen at once, so that only what later checks need is kept of hundreds of thousands."""

    def __init__(self):
        super().__init__()
        self.findings = []

    def append(self, attempt):
        self.findings += checker.check_protocol([attempt])
        attempt["dialog"], attempt["extra"] = (), ""
        super().append(attempt)


class LongRun:
    def __init__(self, rig, seconds, seed):
        self.rig, self.seconds, self.seed = rig, seconds, seed
        self.random = random.Random(seed)
        rig.sim.limits(connections=None)
        self.nodes = [self._node(f"n{i}").start() for i in range(3)]
        ports = [node.port("plain") for node in self.nodes]
        self.loads = [Load(ports, 32, 0.001, name=name, seed=seed + i, addressed=addressed, source=source, lines=(2,),
                           senders=SENDERS, insists=False) for i, (name, source) in enumerate(SOURCES.items())]
        self.attempts = Attempts()
        for load in self.loads:
            load.attempts = self.attempts
        self.gmail = Cap("gmail", 5 * SECOND_NS, "recipients", [(0, GMAIL[0])], lambda m: _domain(m) == "gmail.com")
        self.forgotten = []  # (Redis was empty from, until an operator opened)
        self.redis = redis.Redis(port=rig.redis.port, socket_timeout=0.2)
        self.counted, self.last = collections.Counter(), {}
        self.happened = collections.Counter()

    def _node(self, name):
        rig = self.rig
        return rig.node(name, limits=LIMITS, schedules={"steep": WARMUP}, log={"level": "info", "format": "json"},
                        mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": rig.upstream_password, "connections": 60}},
                        routes={"contoso": {"upstream": f"localhost:{rig.sim.port}", "tls": "off", "domains": ["contoso.com"],
                                            "warmup": "steep"}},
                        clients={"mta": {"networks": [SOURCES["defer"] + "/32"], "senders": ["@contoso.com"], "accept": "defer"}})

    # the run
    async def go(self):
        tasks = [asyncio.create_task(load.run()) for load in self.loads]
        counting = asyncio.create_task(self._count_always())
        try:
            await self._happen()
        finally:
            counting.cancel()
            for load in self.loads:
                load.end()
            await asyncio.wait_for(asyncio.gather(*tasks), 100)
        await asyncio.to_thread(self._count)

    async def _happen(self):
        end, plan = time.monotonic() + self.seconds, []
        while time.monotonic() < end:
            plan = plan or self.random.sample(self._happenings(), len(self._happenings()))
            await asyncio.sleep(self.random.uniform(1, 4))
            happening = plan.pop()
            await happening()
            self.happened[happening.__name__] += 1
            await asyncio.to_thread(self._until_all_ready)

    def _happenings(self):
        return [self.kill_a_node, self.kill_redis, self.freeze_redis, self.slow_redis, self.empty_redis, self.flush_scripts,
                self.reload, self.reload, self.upgrade]

    def _until_all_ready(self):
        """A Redis that was killed may have lost what it had not written: then it takes an operator, as after FLUSHALL."""
        wait_until(lambda: all(self._is_ready(node) for node in self.nodes), 60, "all nodes to be ready", 0.1)

    def _is_ready(self, node):
        begun = time.monotonic_ns()
        done = node.ctl("--json", "status", check=False)
        closed_ms = json.loads(done.stdout)["store"]["closed_for_ms"] if done.returncode == 0 else 0
        if closed_ms > 60000:
            self._open(begun)
        return done.returncode == 0 and closed_ms == 0 and node.get("/ready")[0] == 200

    def _open(self, lost_ns):
        opened = time.monotonic_ns()
        self.nodes[0].ctl("open", "--reason", "the run knows what was lost")
        self.forgotten.append((lost_ns, opened))

    async def _count_always(self):
        while True:
            await asyncio.to_thread(self._count)
            await asyncio.sleep(0.5)

    def _count(self):
        """Counters begin anew with each process; what one counted in its last half second is not known."""
        for node in self.nodes:
            status, text = node.get("/metrics")
            for line in text.splitlines() if status == 200 else ():
                series, _, value = line.rpartition(" ")
                name = series.partition("{")[0]
                if name in COUNTED:
                    self._add((node.name, series), name if name == VERDICTS else series, float(value))
        try:
            calls = self.redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
            self._add(("redis", SCRIPTS), SCRIPTS, calls)
        except redis.RedisError:
            pass

    def _add(self, source, name, value):
        last = self.last.get(source, 0)
        self.counted[name] += value - last if value >= last else value
        self.last[source] = value

    # happenings
    async def kill_a_node(self):
        node = self.random.choice(self.nodes)
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start, False)

    async def kill_redis(self):
        self.rig.redis.kill()
        await asyncio.sleep(self.random.uniform(0.1, 2))
        await asyncio.to_thread(self.rig.redis.start)

    async def freeze_redis(self):
        self.rig.redis.freeze()
        await asyncio.sleep(self.random.uniform(0.2, 3))
        self.rig.redis.thaw()

    async def slow_redis(self):
        for _ in range(40):
            self.rig.redis.freeze()
            await asyncio.sleep(self.random.uniform(0.005, 0.12))
            self.rig.redis.thaw()
            await asyncio.sleep(0.02)

    async def empty_redis(self):
        """Until an operator opens, nothing may leave: the day of the warm-up would have to pass."""
        await asyncio.to_thread(self.rig.redis.client().flushall)
        begun = time.monotonic_ns()
        await asyncio.sleep(4)
        await asyncio.to_thread(self._open, begun)

    async def flush_scripts(self):
        await asyncio.to_thread(self.rig.redis.client().script_flush)

    async def reload(self):
        """The cap of one limit changes, on one node after the other: the lower one is in force as soon as one node has it."""
        lower = self.gmail.history[-1][1] == GMAIL[0]
        cap = GMAIL[1] if lower else GMAIL[0]
        begun = time.monotonic_ns()
        for node in self.nodes:
            node.config["limits"] = {**LIMITS, "gmail": {**LIMITS["gmail"], "window": f"{cap}/5s"}}
            node.write_config()
            await asyncio.to_thread(node.ctl, "reload")
        self.gmail.history.append((time.monotonic_ns() + SECOND_NS if lower else begun, cap))  # a charge is good for a second

    async def upgrade(self):
        node = self.random.choice(self.nodes)
        old = await asyncio.to_thread(node.upgrade)
        status = await asyncio.to_thread(old.wait, 40)
        node.ends.append({"name": node.name, "status": status, "asked": [0], "log": ""})

    # judgement
    def findings(self):
        for node in self.nodes:
            node.stop()
        messages = self.rig.sim.messages()
        found = list(self.attempts.findings)
        for era in self._eras(messages):
            found += self._over(era)
        found += checker.check_no_loss(self.attempts, messages) + checker.check_no_lie(self.attempts, messages)
        found += checker.check_duplicates(self.attempts, messages) + checker.check_bytes(self.attempts, messages)
        found += checker.check_alive(self.rig.ends()) + self._early(messages) + self._told()
        return found, messages

    def _eras(self, messages):
        """An operator who opens after a loss of memory lets the windows begin anew."""
        borders = [opened for _, opened in self.forgotten] + [float("inf")]
        eras = collections.defaultdict(list)
        for m in messages:
            eras[sum(border <= m["mail_ns"][0] for border in borders)].append(m)
        return eras.values()

    def _over(self, messages):
        found = [f for cap in (
            window("all", 1500, 10, "external"), window("warm-up day", WARMUP["table"][1], DAY_S, "external"),
            window("warm-up hour", WARMUP_HOUR, HOUR_S, "external"), window("pace", 200 + 150 * 6, 5, "messages"), self.gmail)
            for f in checker.check_cap(messages, cap)]
        by_sender = collections.defaultdict(list)
        for m in messages:
            by_sender[m["sender"]].append(m)
        for sender, own in by_sender.items():
            for cap in (window(f"each {sender}", 6, 20, "external"), window(f"runaway {sender}", 40, HOUR_S, "external")):
                found += checker.check_cap(own, cap)
        for name in SOURCES:
            found += checker.check_cap(self._to_strangers(name, messages), window(f"strangers {name}", 400, 10, "recipients"))
        return found

    def _to_strangers(self, name, messages):
        """The first mail of this client to each person whom no earlier, failed attempt may have made known."""
        doubtful, known, first = set(), set(), []
        for a in self.attempts:
            if a["id"].startswith(f"<{name}.") and a["outcome"] != "2xx" and not a["reply"].startswith(OVER):
                doubtful.update(a["recipients"])
        for m in sorted(messages, key=lambda m: m["mail_ns"][0]):
            if (m.get("message_id") or "").startswith(f"<{name}."):
                rcpts = [r for r in m["rcpts"] if r["to"] not in known and r["to"] not in doubtful]
                known.update(r["to"] for r in m["rcpts"])
                first += [{**m, "rcpts": rcpts}] if rcpts else []
        return first

    def _early(self, messages):
        """Between the loss and the operator's word; a charge is good for a second."""
        return [f"1 lost memory: mail of {m['sender']} left {(m['mail_ns'][0] - begun) / 1e9:.3f} s after it"
                for begun, opened in self.forgotten for m in messages
                if begun + 1.1 * SECOND_NS < m["mail_ns"][0] and m["mail_ns"][1] < opened]

    def _told(self):
        found = [f"1 overshoot: {node.name}: {e['reason']}, after {e['charge_age_ms']} of {e['lifetime_ms']} ms"
                 for node in self.nodes for e in node.log_events("overshoot")]
        return found + [f"shadow: {a['id']} was held: {a['reply']}" for a in self.attempts if "limit trial" in a["reply"]]

    def tell(self, messages, found):
        outcomes = collections.Counter(a["outcome"] for a in self.attempts)
        held = collections.Counter(a["reply"].partition("limit ")[2].partition(" ")[0] or a["reply"][:60]
                                   for a in self.attempts if a["outcome"] != "2xx")
        print(json.dumps({"outcomes": outcomes, "held by": dict(held.most_common(12)), "happened": self.happened,
                          "counted": {k: int(v) for k, v in self.counted.items() if v}}, indent=1))
        for finding in found[:40]:
            print(finding)
        print(f"seed {self.seed}: {self.counted[VERDICTS]:.0f} verdicts in {self.counted[SCRIPTS]:.0f} script calls, {len(self.attempts)} offers, "
              f"{len(messages)} upstream, {sum(self.happened.values())} faults, {len(found)} findings")


def _domain(message):
    return message["rcpts"][0]["to"].rpartition("@")[2] if message["rcpts"] else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    with Rig(upstream_tls=False, bodies=False) as rig:
        run = LongRun(rig, options.seconds, options.seed)
        asyncio.run(run.go())
        found, messages = run.findings()
        run.tell(messages, found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
