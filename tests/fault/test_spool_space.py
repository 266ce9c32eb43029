"""A disk without room: the guard that keeps some free, and small file systems that are really full (faults P04, P05).

The file systems are tmpfs of their own, which only root can mount.
"""
import contextlib
import os
import pwd
import subprocess

import pytest

from node import USER
from process import wait_until
from rig import Rig
from smtp_client import Client
from spool_scene import Scene

KIB = 1024


@pytest.fixture(scope="module")
def rig():
    with Rig(upstream_tls=False) as r:
        yield r


@contextlib.contextmanager
def small_disk(rig, name, kib, inodes=1000):
    """A folder of its own on a file system of so many KiB and inodes."""
    assert os.geteuid() == 0, "these tests mount file systems: run them as root"
    user = pwd.getpwnam(USER)
    folder = os.path.join(rig.folder, name)
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,nr_inodes={inodes},uid={user.pw_uid},gid={user.pw_gid},mode=0700",
                    "sendgov-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a test that fails leaves its node running


class Small(Scene):
    """A scene whose spool lies on a small disk, with mail of 64 KiB at most."""

    def __init__(self, rig, folder):
        super().__init__(rig, spool={"folder": folder}, smtp={"message_size": "64KiB", "header_size": "16KiB", "connections_per_ip": 500})
        self.filler = os.path.join(folder, "filler")

    def fill(self, leave_kib):
        """Somebody else's file takes all but so much."""
        disk = os.statvfs(self.folder)
        with open(self.filler, "wb") as f, contextlib.suppress(OSError):
            f.write(bytes(max(0, disk.f_bavail * disk.f_frsize - leave_kib * KIB)))

    def make_room(self):
        os.unlink(self.filler)

    def pause(self):
        self.node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "test")

    def resume(self):
        self.node.ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "test")

    def offer_until_full(self, size):
        """Mail until it is refused; what the refusal was."""
        for _ in range(1000):
            attempt = self.offer([self.item(size)], clients=1)[0]
            if attempt["outcome"] != "2xx":
                return attempt
        raise AssertionError("it is never full")

    def restart_full(self):
        """Killed and started on the full disk, which must not keep it from starting."""
        self.node.kill()
        self.node.start(ready=False)
        self.node.wait_live()
        wait_until(self.node.is_open, 10, "the counters to settle")
        return wait_until(lambda: self.status()["state"] not in ("closed", "loading") and self.status()["state"], 10, "an opinion")


def test_the_guard_refuses_at_mail_and_lets_go(rig):
    with small_disk(rig, "guard", 8192) as disk:
        scene = Small(rig, disk)
        scene.start()
        scene.node.wait_ready()
        scene.pause()
        assert all(a["outcome"] == "2xx" for a in scene.offer([scene.item() for _ in range(5)]))
        scene.fill(300)
        status = scene.wait_state("full")
        assert "MiB free" in status["why"] or "KiB free" in status["why"], status
        refused = scene.offer([scene.item()])[0]
        assert refused["reply"].startswith("452 4.3.1") and [c for c, _ in refused["dialog"][:3]] == ["banner", "EHLO", "MAIL"], refused
        scene.resume()
        wait_until(lambda: scene.status()["messages"] == 0, 10, "what waits to leave a full spool")
        assert scene.offer_relay(scene.item()).code == 250
        scene.make_room()
        scene.wait_state("ready", 3)
        assert scene.offer([scene.item()])[0]["outcome"] == "2xx"
        scene.wait_empty()
        assert any(e["state"] == "full" for e in scene.node.log_events("spool"))
        assert scene.end() == []


@pytest.mark.parametrize("kib", [256, 1024, 4096])
def test_full_of_our_own_mail(rig, kib):
    """Mail that waits fills the disk. Nothing of it is lost, also when the node is killed there; it leaves when it may."""
    with small_disk(rig, f"own{kib}", kib) as disk:
        scene = Small(rig, disk)
        scene.start()
        scene.node.wait_ready()
        scene.pause()
        refused = scene.offer_until_full(6000)
        assert refused["reply"].startswith("452 4.3.1"), refused
        kept = sum(a["outcome"] == "2xx" for a in scene.attempts)
        state = scene.restart_full()
        scene.resume()
        left = scene.status()["messages"]
        print(f"{kib} KiB: {kept} messages of 6 KB, then {refused['reply']!r}; after a kill {state} with {left}; {os.listdir(disk)}")
        scene.wait_empty()
        scene.wait_state("ready")  # and gives the space back
        assert scene.offer([scene.item()])[0]["outcome"] == "2xx"
        scene.wait_empty()
        assert scene.end() == []


@pytest.mark.parametrize("killed", [False, True], ids=["stays", "killed"])
def test_full_of_something_else(rig, killed):
    """Not a byte is left while mail waits. It is neither lost nor doubled, and leaves when there is room."""
    with small_disk(rig, f"other{killed}", 2048) as disk:
        scene = Small(rig, disk)
        scene.start()
        scene.node.wait_ready()
        scene.pause()
        assert all(a["outcome"] == "2xx" for a in scene.offer([scene.item() for _ in range(8)]))
        scene.fill(0)
        attempts = scene.offer([scene.item() for _ in range(6)], clients=6)  # what the WAL has room for, it takes
        assert all(a["reply"].startswith(("250", "452 4.3.1", "451 4.7.0")) for a in attempts), [a["reply"] for a in attempts]
        scene.wait_state("full")
        assert scene.offer([scene.item()])[0]["reply"].startswith("452 4.3.1")
        state = scene.restart_full() if killed else "full"
        assert scene.node.get("/live")[0] == 200
        scene.resume()
        assert scene.offer_relay(scene.item()).code == 250
        print(f"full of something else: {state}, {scene.status()['messages']} wait")
        scene.make_room()
        scene.wait_state("ready")
        assert scene.offer([scene.item()])[0]["outcome"] == "2xx"
        scene.wait_empty(30)
        assert scene.end() == []


def test_no_inodes(rig):
    with small_disk(rig, "inodes", 4096, inodes=20) as disk:
        scene = Small(rig, disk)
        taken = []

        def take_all():
            for n in range(100):
                name = os.path.join(disk, f"inode{n}")
                try:
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL))
                except OSError:
                    return
                taken.append(name)

        def give_back():
            while taken:
                os.unlink(taken.pop())
        take_all()
        scene.node.start(ready=False)
        scene.node.wait_live()
        scene.wait_state("sick")
        assert scene.node.get("/ready")[0] == 503
        give_back()
        scene.wait_state("ready")
        scene.node.wait_ready()
        assert scene.offer([scene.item()])[0]["outcome"] == "2xx"
        take_all()
        assert "inodes" in scene.wait_state("full")["why"]
        with Client(scene.node.port("devices")) as client:
            client.ehlo()
            assert str(client.cmd("MAIL FROM:<app@contoso.com>")).startswith("452 4.3.1")
        give_back()
        scene.wait_state("ready", 3)
        assert scene.offer([scene.item()])[0]["outcome"] == "2xx"
        scene.wait_empty()
        assert scene.end() == []
