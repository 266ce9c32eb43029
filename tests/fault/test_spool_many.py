"""A node that starts with 100 000 waiting messages (fault P10): it is up at once, knows them all soon, what each costs in memory is
bounded, and they leave in order.

SENDGOV_MANY=number takes so many instead.
"""
import os
import re
import subprocess
import time

import pytest

from node import program
from process import wait_until
from rig import Rig
from spool_scene import Scene
from test_spool_damage import give_all

MANY = int(os.environ.get("SENDGOV_MANY", 100_000))
SENDERS = 100
DRAINED = 3000
ROUTE = ("--scope", "route", "--instance", "contoso", "--reason", "test")


@pytest.fixture(scope="module")
def rig():
    with Rig(upstream_tls=False, bodies=False) as r:
        yield r


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


def is_sanitized():
    with open(program("sendgovd"), "rb") as f:
        return b"__asan_init" in f.read()


def fill(scene, count):
    """A spool of so many messages in place of the one there is."""
    for name in os.listdir(scene.folder):
        os.unlink(os.path.join(scene.folder, name))
    subprocess.run([program("tests/fault/spool_fill"), scene.folder, str(count), str(SENDERS)], check=True, timeout=120)
    give_all(scene.folder)


def start_with(scene, count):
    """(seconds until it lives, until it knows all, bytes of memory then)"""
    fill(scene, count)
    begun = time.monotonic()
    scene.node.start(ready=False)
    scene.node.wait_live()
    live = time.monotonic() - begun

    def knows_all():
        status = scene.status()
        return status["state"] == "ready" and status["messages"] == count == sum(status["waiting"].values())
    wait_until(knows_all, 30, f"all {count} to be known", 0.02)
    return live, time.monotonic() - begun, rss_bytes(scene.node.process.pid)


def test_many_messages_wait(rig):
    scene = Scene(rig, spool={"folder": os.path.join(rig.folder, "many")})
    scene.start()
    scene.node.wait_ready()
    scene.node.ctl("pause", *ROUTE)
    empty = rss_bytes(scene.node.process.pid)
    scene.node.stop()

    _, _, some = start_with(scene, MANY * 6 // 10)  # more than SQLite's cache holds, as the whole is
    scene.node.stop()
    live, known, all_of_it = start_with(scene, MANY)
    each = (all_of_it - some) / (MANY - MANY * 6 // 10)
    whole = (all_of_it - empty) / MANY
    print(f"{MANY} messages: live after {live:.2f} s, all known after {known:.2f} s; memory: {each:.0f} bytes for each further message, "
          f"{whole:.0f} bytes a message with caches and all ({empty >> 20} -> {all_of_it >> 20} MiB)")
    assert live < 2 and known < 10
    if not is_sanitized():  # which keeps what is freed, and more
        assert each < 200
        assert whole < 400  # SQLite's cache of 16 MiB is 168 of it

    begun = time.monotonic()
    mark = rig.sim.mark()
    scene.node.ctl("resume", *ROUTE)
    wait_until(lambda: rig.sim.status()["rows"] >= mark + DRAINED, 60, f"{DRAINED} messages upstream", 0.1)
    scene.node.ctl("pause", *ROUTE)
    took = time.monotonic() - begun
    accepted = rig.sim.accepted(mark)
    print(f"{len(accepted)} left in {took:.1f} s")
    by_sender = {}
    for m in accepted:
        n = int(re.match(r"<fill\.(\d+)@", m["message_id"]).group(1))
        by_sender.setdefault(m["sender"], []).append(n)
        assert m["sender"] == f"s{n % SENDERS}@contoso.com"
    numbers = [n for sent in by_sender.values() for n in sent]
    assert len(numbers) == len(set(numbers)), "doubled"
    wrong = {s: [(a, b) for a, b in zip(sent, sent[1:]) if b < a][:3] for s, sent in by_sender.items() if sent != sorted(sent)}
    assert not wrong, f"{len(wrong)} of {len(by_sender)} senders out of order: {list(wrong.items())[:5]}"
    assert len(by_sender) == SENDERS and max(numbers) < 2 * len(numbers) + 1000, "the oldest did not leave first"
    assert scene.node.stop() == 0
