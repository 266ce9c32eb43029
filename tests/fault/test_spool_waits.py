"""Mail that waits: moved to another node, behind another client's, and a great many of it.

SENDGOV_WAITING=number of messages, SENDGOV_LONG=seconds they wait.
"""
import asyncio
import collections
import concurrent.futures
import hashlib
import os
import shutil
import socket
import time

import pytest

import checker
import checker_spool
from checker import Cap, SECOND_NS
from load import Connection
from node import give
from process import wait_until
from rig import Rig
from smtp_client import message
from spool_run import INTERNAL, SPOOL, in_spool, route_section, spool_folder

WAITING = int(os.environ.get("SENDGOV_WAITING", 5000))
WATCHED_S = float(os.environ.get("SENDGOV_LONG", 6))
CLIENTS = {name: {"networks": [f"127.0.0.{i}/32"], "senders": ["@contoso.com"], "accept": accept}
           for i, (name, accept) in enumerate([("many", "relay"), ("few", "relay"), ("keeps", "spool")], 1)}


def make_node(rig, name, window, connections=20):
    mailboxes = {"relay@contoso.com": {"route": "contoso", "password_file": rig.upstream_password, "connections": connections}}
    rig.sim.limits(connections=None)
    node = rig.node(name, hostname=f"{name}.contoso.com", routes=route_section(rig), mailboxes=mailboxes, spool=SPOOL,
                    limits={"short": {"scope": "route", "unit": "external", "window": window}}, log={"level": "info", "format": "json"})
    node.config["clients"] = CLIENTS
    node.write_config()
    return node


def make_items(name, n, sender):
    items = []
    for i in range(n):
        message_id, to = f"<{name}.{i}@contoso.com>", f"{name}{i}@fabrikam.com"
        body = message(sender, to, message_id, text=b"text of %d\r\n" % i)
        items.append({"id": message_id, "sender": sender, "recipients": [to], "body": body, "sha256": hashlib.sha256(body).hexdigest()})
    return items


def offer(node, items, source=None):
    """One after the other over one connection; the attempts."""
    async def go():
        connection = await Connection.open(node.port("plain"), source)
        attempts = [await connection.offer(item) for item in items]
        await connection.quit()
        return attempts
    return asyncio.run(go())


def wait_drained(nodes, timeout_s=40):
    def drained():
        return all(node.ctl("--json", "status")["spool"]["messages"] == 0 for node in nodes)
    wait_until(drained, timeout_s, "the spools to be empty", 0.05)


def move_spool(old, new):
    """As docs/spool.md says: both files, given to the user, nobody else's."""
    shutil.rmtree(spool_folder(new))
    shutil.move(spool_folder(old), spool_folder(new))
    for name in os.listdir(spool_folder(new)):
        give(os.path.join(spool_folder(new), name))
    give(spool_folder(new), 0o700)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_spool_that_moves_to_another_node(killed):
    with Rig(upstream_tls=False) as rig:
        old, new = (make_node(rig, name, "40/2s").start() for name in ("old", "new"))
        new.stop()
        attempts = offer(old, make_items("relay", 40, "app@contoso.com"))
        attempts += offer(old, make_items("spool", 40, "scan@contoso.com"), "127.0.0.3")
        if killed:
            rule = rig.sim.rule(step="dot", delay_ms=1000)
            wait_until(lambda: rig.sim.hits(rule), 10, "some to be on their way")
            old.kill()
            rig.sim.clear_rules()
        else:
            old.stop()
            waiting = {to for _, to in in_spool(old)}
            there = {r["to"] for m in rig.sim.accepted() for r in m["rcpts"]}
            assert len(waiting) > 20 and not waiting & there and len(waiting | there) == 80
        move_spool(old, new)
        new.start()
        wait_drained([new])
        new.stop()
        messages, ids = rig.sim.messages(), {to: a["id"] for a in attempts for to in a["recipients"]}
        own = {m["trace_id"]: m["message_id"] for m in messages if m["accepted"]}
        own.update({a["reply"].split(" as ")[1].split(";")[0]: a["id"] for a in attempts})
        uncertain = collections.Counter(own[e["id"]] for e in new.log_events("uncertain"))
        assert all(a["outcome"] == "2xx" for a in attempts) and len(ids) == 80
        findings = checker.check_no_loss(attempts, messages) + checker.check_duplicates(attempts, messages, uncertain)
        findings += checker.check_no_lie(attempts, messages, uncertain) + checker.check_bytes(attempts, messages)
        findings += checker.check_cap(messages, Cap("short", 2 * SECOND_NS, "external", [(0, 40)], internal_domains=INTERNAL))
        findings += checker_spool.check_order(attempts, messages, {}, exempt=set(uncertain)) + checker.check_alive(rig.ends())
        assert findings == [] and in_spool(new) == [], findings
        assert bool(uncertain) == killed and (killed or len(messages) == 80)


def test_a_few_behind_many_leave_in_turn():
    """However long the backlog of another client is: each of the few waits for one of the many."""
    with Rig(upstream_tls=False) as rig:
        node = make_node(rig, "n", "10/1s", connections=1).start()
        offer(node, make_items("many", 120, "news@contoso.com"))
        told = time.monotonic_ns()
        few = make_items("few", 10, "alert@contoso.com")
        assert all("held for now" in a["reply"] for a in offer(node, few, "127.0.0.2"))
        all_told = time.monotonic_ns()
        wanted = {item["recipients"][0] for item in few}
        wait_until(lambda: len(wanted & {r["to"] for m in rig.sim.accepted() for r in m["rcpts"]}) == 10, 20, "the few to arrive", 0.1)
        node.stop()
        after = sorted((m["mail_ns"][0], m["rcpts"][0]["to"]) for m in rig.sim.messages() if m["mail_ns"][0] > told)
        places = [i for i, (_, to) in enumerate(after) if to in wanted]
        early = sum(at < all_told for at, _ in after)
        assert all(place <= 2 * k + 4 + early for k, place in enumerate(places)), (places, early)


# many
def fill(node, n, clients=8):
    """n messages into the spool, as fast as it takes them."""
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        sessions = [range(i, min(i + 500, n)) for i in range(0, n, 500)]  # an open session may send 1000
        list(pool.map(lambda numbers: fill_session(node, numbers), sessions))


def fill_session(node, numbers, senders=50):
    with socket.create_connection(("127.0.0.1", node.port("plain")), 30, ("127.0.0.3", 0)) as s, s.makefile("rb") as replies:
        replies.readline()
        s.sendall(b"EHLO many.example\r\n")
        while replies.readline()[3:4] == b"-":
            pass
        for i in numbers:
            sender = f"s{i % senders}@contoso.com"
            s.sendall(f"MAIL FROM:<{sender}>\r\nRCPT TO:<m{i}@fabrikam.com>\r\nDATA\r\n".encode())
            heard = [replies.readline()[:3] for _ in range(3)]
            s.sendall(message(sender, f"m{i}@fabrikam.com", f"<m.{i}@contoso.com>") + b".\r\n")
            heard.append(replies.readline()[:3])
            assert heard == [b"250", b"250", b"354", b"250"], heard
        s.sendall(b"QUIT\r\n")
        replies.readline()


def cost(rig, node, seconds):
    """What the node does in that time: CPU seconds, scripts run by Redis, messages offered."""
    def now():
        with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        scripts = rig.redis.client().info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), scripts, rig.sim.status()["mails"]
    before = now()
    time.sleep(seconds)
    return tuple(a - b for a, b in zip(now(), before))


def test_many_that_wait_cost_nothing():
    """Behind one limit that lets five go every three seconds. Redis is asked by heartbeats, by each that leaves, and in vain once for
    each opening and not more often than some left, for while it opens several ask at a time."""
    with Rig(upstream_tls=False) as rig:
        node = make_node(rig, "n", "5/3s", connections=1).start()
        idle_cpu, idle_scripts, _ = cost(rig, node, 3)
        begun = time.monotonic()
        fill(node, WAITING)
        filled_s = time.monotonic() - begun
        wait_until(lambda: node.metric("sendgov_spool_messages", state="in_flight") == 0, 10, "rest")
        cpu, scripts, left = cost(rig, node, WATCHED_S)
        waiting = node.metric("sendgov_spool_messages")
        print(f"{waiting:.0f} wait (filled in {filled_s:.1f} s): {cpu / WATCHED_S:.2%} of a CPU (idle {idle_cpu / 3:.2%}), "
              f"{scripts} scripts in {WATCHED_S:g} s (idle {idle_scripts} in 3 s), {left} left")
        assert waiting > WAITING - 200 and left >= 5 * (WATCHED_S // 3 - 1)
        assert cpu <= 0.02 * WATCHED_S + 0.02, f"{cpu / WATCHED_S:.2%}"
        openings = WATCHED_S / 3 + 1
        assert scripts <= (idle_scripts + 2) * WATCHED_S / 3 + openings + 2 * left, scripts
        node.stop()
        assert len(in_spool(node)) == WAITING - sum(m["accepted"] for m in rig.sim.messages())
