"""The daemon on a spool that is not as it left it (fault P09): it starts, or says why it does not; what is whole is delivered, once;
and it never ends later because of it.

One spool is made with mail that waits, and is copied and damaged for each case. tests/unit/test_spool_damage.c does thousands of
such cases without the daemon.
"""
import os
import pwd
import queue
import random
import shutil
import sqlite3
import threading

import pytest

import strace
from m365sim import Sim
from node import USER
from process import wait_until
from rig import Rig
from spool_scene import Scene

SIZES = [200, 3000, 200, 9000, 200, 70000, 200, 200, 3000, 200, 150000, 200]
PAGE = 4096
AT_ONCE = 4


@pytest.fixture(scope="module")
def rig():
    with Rig(upstream_tls=False) as r:
        yield r


class Template:
    """A spool with len(SIZES) messages of one scene: `clean` after SIGTERM, `killed` after SIGKILL, with all of it in the WAL."""

    def __init__(self, rig):
        self.scene = Scene(rig)
        self.scene.start()
        self.scene.node.wait_ready()
        self.scene.node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "test")
        attempts = self.scene.offer([self.scene.item(size) for size in SIZES], clients=1)
        assert all(a["outcome"] == "2xx" for a in attempts), attempts
        self.scene.node.kill()
        self.killed = shutil.copytree(self.scene.folder, os.path.join(rig.folder, "killed"))
        self.scene.node.start()
        self.scene.node.stop()
        self.clean = shutil.copytree(self.scene.folder, os.path.join(rig.folder, "clean"))
        self.sims = [rig.adopt(Sim(rig.folder, f"sim{n}", bodies=True)) for n in range(AT_ONCE)]
        assert os.listdir(self.clean) == ["spool.db"] and "spool.db-wal" in os.listdir(self.killed)


@pytest.fixture(scope="module")
def template(rig):
    return Template(rig)


def give_all(folder):
    """To the user of the daemon, as it would have left it."""
    user = pwd.getpwnam(USER)
    os.chmod(folder, 0o700)
    for path in (folder, *(os.path.join(folder, n) for n in os.listdir(folder))):
        os.lchown(path, user.pw_uid, user.pw_gid)


# ---- damage: each takes the folder ----
def resize(name, size):
    """size: bytes, or a function of the old size."""
    def damage(folder):
        path = os.path.join(folder, name)
        os.truncate(path, size(os.path.getsize(path)) if callable(size) else size)
    return damage


def flip(name, *offsets, to=None):
    """Other bits at these offsets; to: these bytes instead."""
    def damage(folder):
        with open(os.path.join(folder, name), "r+b") as f:
            for offset in offsets:
                f.seek(offset)
                old = f.read(len(to) if to else 1)
                f.seek(offset)
                f.write(to or bytes([old[0] ^ 0x5a]))
    return damage


def scatter(name, n, seed):
    """n flips anywhere."""
    def damage(folder):
        size = os.path.getsize(os.path.join(folder, name))
        chosen = random.Random(seed)
        flip(name, *(chosen.randrange(size) for _ in range(n)))(folder)
    return damage


def noise(name, page, seed=1):
    """A whole page of the file (from 0) becomes noise."""
    def damage(folder):
        flip(name, page * PAGE, to=random.Random(seed).randbytes(PAGE))(folder)
    return damage


def replace(make):
    """make(path of spool.db) puts something else in its place."""
    def damage(folder):
        path = os.path.join(folder, "spool.db")
        os.unlink(path)
        make(path)
    return damage


def remove(name):
    return lambda folder: os.unlink(os.path.join(folder, name))


def sql(*statements):
    def damage(folder):
        with sqlite3.connect(os.path.join(folder, "spool.db")) as db:
            for statement in statements:
                db.execute(statement)
        db.close()
    return damage


def text_file(path):
    with open(path, "w", encoding="ascii") as f:
        f.write("From: somebody\n" * 1000)


def foreign_database(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks(url)")
    db.close()


def link_elsewhere(path):
    target = path + ".elsewhere"
    text_file(target)
    os.symlink(target, path)


def mode(bits, name=""):
    return lambda folder: os.chmod(os.path.join(folder, name), bits)


def nothing(_):
    pass


ALL = len(SIZES)
# name: (which template, damage, least number of messages that must arrive, what the log must say besides)
DELIVERS = {
    "untouched": ("clean", nothing, ALL, None),
    "untouched after a kill": ("killed", nothing, ALL, None),
    "old things put aside lie there": ("clean", lambda f: shutil.copy(f + "/spool.db", f + "/spool.db.damaged-20260101T000000Z"), ALL, None),
    "file without its end": ("clean", resize("spool.db", lambda n: n - 1), 1, "damaged"),
    "half a file": ("clean", resize("spool.db", lambda n: n // 2 // PAGE * PAGE), 0, "damaged"),
    "one page": ("clean", resize("spool.db", PAGE), 0, "how many cannot be known"),
    "100 bytes": ("clean", resize("spool.db", 100), 0, "how many cannot be known"),
    "zero length": ("clean", resize("spool.db", 0), 0, "how many cannot be known"),
    "file longer than it should be": ("clean", resize("spool.db", lambda n: n + 5000), ALL, None),
    "magic": ("clean", flip("spool.db", 3), ALL, "damaged"),
    "page size": ("clean", flip("spool.db", 16, to=b"\x20\x00"), ALL, "damaged"),
    "versions": ("clean", flip("spool.db", 18, to=b"\x09\x09"), ALL, "damaged"),
    "number of pages": ("clean", flip("spool.db", 30), ALL, "damaged"),
    "freelist": ("clean", flip("spool.db", 35, 39), ALL, "damaged"),
    "encoding": ("clean", flip("spool.db", 59, to=b"\x07"), ALL, "damaged"),
    "a page of noise": ("clean", noise("spool.db", 4), 0, "damaged"),
    "the schema is noise": ("clean", flip("spool.db", 100, to=b"\xff" * 400), ALL, "damaged"),
    "the first page is noise": ("clean", noise("spool.db", 0), ALL, "damaged"),
    "the first page is noise after a kill": ("killed", noise("spool.db", 0), ALL, "damaged"),
    "the first two pages are noise": ("clean", lambda f: flip("spool.db", 0, to=random.Random(7).randbytes(2 * PAGE))(f), ALL, "damaged"),
    "a page of a body": ("clean", noise("spool.db", 40), ALL - 2, None),
    "ten flips": ("clean", scatter("spool.db", 10, 1), 0, None),
    "a thousand flips": ("clean", scatter("spool.db", 1000, 2), 0, "damaged"),
    "a row changed by hand": ("clean", sql("UPDATE recipient SET address = 'else@fabrikam.com' WHERE seq = (SELECT min(seq) FROM message)"),
                              ALL - 1, "damaged"),
    "a body changed by hand": ("clean", sql("UPDATE chunk SET bytes = x'00' WHERE id = (SELECT min(id) FROM chunk)"), ALL - 1, "damaged"),
    "a chunk is missing": ("clean", sql("DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk)"), ALL - 1, "damaged"),
    "recipients without a message": ("clean", sql("DELETE FROM message WHERE seq = (SELECT min(seq) FROM message)"), ALL - 1, None),
    "half a log": ("killed", resize("spool.db-wal", lambda n: n // 2), 0, None),
    "an empty log": ("killed", resize("spool.db-wal", 0), 0, None),
    "a log of noise": ("killed", lambda f: flip("spool.db-wal", 0, to=random.Random(5).randbytes(40000))(f), 0, "how many cannot be known"),
    "a flip in the log": ("killed", flip("spool.db-wal", 60000), 0, "how many cannot be known"),
    "no log": ("killed", remove("spool.db-wal"), 0, None),
    "a log without its file": ("killed", remove("spool.db"), 0, "how many cannot be known"),
    "a wrong version": ("clean", sql("PRAGMA user_version = 99"), ALL, "damaged"),
    "a text file": ("clean", replace(text_file), 0, "how many cannot be known"),
    "a pipe": ("clean", replace(os.mkfifo), 0, "how many cannot be known"),
    "somebody else's database": ("clean", replace(foreign_database), 0, "how many cannot be known"),
}
# The spool stays shut, the file as it is, and the log has these words.
SHUT = {
    "a newer version": (sql("PRAGMA user_version = 99", "UPDATE meta SET value = 99 WHERE key = 'schema'"), "newer sendgov"),
    "a folder": (replace(os.mkdir), "spool.db"),
    "a link": (replace(link_elsewhere), "spool.db"),
    "mode 0": (mode(0, "spool.db"), "spool.db"),
}
# Which read of the spool's files fails first, and whether all that follow do.
READ_ERRORS = {f"read {n}{'+' if for_good else ''} of a {which} spool fails": (which, n, for_good)
               for which in ("clean", "killed") for n in (1, 2, 3, 5, 8, 13, 21, 34, 55) for for_good in (True, False)}
# The daemon refuses to start, and says so.
REFUSED = {
    "a folder for others": (mode(0o777), "chmod"),
    "a folder nobody may enter": (mode(0), "chmod"),
}


class Case(Scene):
    """A node on a damaged copy; the mail in it is the template's."""

    def __init__(self, rig, template, sim, which):
        super().__init__(rig, sim=sim, routes={"contoso": {"upstream": f"localhost:{sim.port}", "tls": "off", "domains": ["contoso.com"]}})
        self.template = template
        os.mkdir(os.path.dirname(self.folder))
        shutil.copytree(getattr(template, which), self.folder)
        give_all(os.path.dirname(self.folder))
        give_all(self.folder)

    def messages(self):
        ours = tuple(f"<{s.name}." for s in (self, self.template.scene))
        return [m for m in self.sim.messages(self.mark) if (m.get("message_id") or "").startswith(ours)]

    def arrived(self):
        sent = {a["id"] for a in self.template.scene.attempts}
        return [m["message_id"] for m in self.messages() if m["accepted"] and m["message_id"] in sent]

    def opinion(self):
        wait_until(lambda: self.node.get("/live")[0] == 200 or not self.node.process.alive(), 15, "life or death")
        if not self.node.process.alive():
            return "refused"
        return wait_until(lambda: self.status()["state"] not in ("closed", "loading") and self.status()["state"], 15, f"{self.name}'s opinion")


def deliver(rig, template, sim, name):
    which, damage, least, words = DELIVERS[name]
    case = Case(rig, template, sim, which)
    damage(case.folder)
    case.node.start(ready=False)
    state = case.opinion()
    if state != "ready":
        case.stop_or_die()
        return [f"{name}: the spool is {state}: {case.node.log()[-600:]}"]
    case.node.wait_ready()
    case.offer([case.item()])
    case.wait_empty()
    arrived = case.arrived()
    status = case.status()
    log = case.node.log()
    case.node.stop(15)
    findings = [f for f in case.judge() if not f.startswith(f"{case.name}: 3 lie: <{template.scene.name}.")]
    if any(a["outcome"] != "2xx" for a in case.attempts):
        findings.append(f"new mail heard {case.attempts[-1]['reply']}")
    if len(arrived) != len(set(arrived)):
        findings.append("messages arrived twice")
    if len(set(arrived)) < least:
        findings.append(f"{len(set(arrived))} of at least {least} messages arrived")
    sent = {a["id"]: a["sha256"] for a in template.scene.attempts}
    findings += [f"{m['message_id']} arrived changed" for m in case.messages()
                 if m["message_id"] in sent and m["accepted"] and m["sha256_below_trace"] != sent[m["message_id"]]]
    findings += [f"{m['message_id']} went to {m['rcpts']}" for m in case.messages() if [r["to"] for r in m["rcpts"]] != ["someone@fabrikam.com"]]
    if words and words not in log:
        findings.append(f"the log does not say {words!r}")
    if "put aside" in log and status["damaged"] < 1:
        findings.append("what was put aside is not counted")
    if len(set(arrived)) < ALL - status["damaged"] and which == "clean" and "cannot be known" not in log:
        findings.append(f"{status['damaged']} are said to be lost")
    if len(set(arrived)) < ALL and which == "clean" and "damage" not in log and "lost" not in log:
        findings.append("the log does not say that something is damaged or lost")
    print(f"  {name}: {len(set(arrived))} of {ALL} arrived, damaged {status['damaged']}")
    return [f"{name}: {f}" for f in findings]


def stay_shut(rig, template, sim, name):
    damage, words = SHUT[name]
    case = Case(rig, template, sim, "clean")
    damage(case.folder)
    path = os.path.join(case.folder, "spool.db")
    before = os.lstat(path)
    case.node.start(ready=False)
    state = case.opinion()
    findings = []
    if state == "refused":
        status = case.stop_or_die()
        return [] if status == 1 and words in case.node.log() else [f"{name}: ended with {status}: {case.node.log()[-500:]}"]
    if state != "sick":
        findings.append(f"the spool is {state}")
    why = case.status()["why"]
    if words not in why:
        findings.append(f"it says {why!r}")
    if case.node.get("/ready")[0] != 503:
        findings.append("/ready is not 503")
    wait_until(case.node.is_open, 10, "the counters to settle")
    relay = case.offer_relay(case.item())
    if relay.code != 250:
        findings.append(f"a relay client heard {relay}")
    after = os.lstat(path)
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        findings.append("the file was touched")
    if case.node.stop(15) != 0:
        findings.append("SIGTERM does not end it")
    return [f"{name}: {f}" for f in findings + case.judge()]


def start_with_read_errors(rig, template, sim, name):
    """A disk that cannot be read, once or from some time on, says nothing about the file: it is neither put aside nor emptied."""
    which, n, for_good = READ_ERRORS[name]
    case = Case(rig, template, sim, which)
    fault = strace.inject("pread64,read", f"{n}+" if for_good else n, "EIO")
    case.node.start(ready=False, under=strace.under(case.log_file, [fault], case.paths, trace="pread64,read"))
    state = case.opinion()
    case.node.kill()
    left = os.listdir(case.folder)
    took = case.restart()
    arrived = case.arrived()
    case.node.stop(15)
    findings = []
    twice = len(arrived) - len(set(arrived))  # at most what was on its way when the node was killed
    if set(arrived) != {a["id"] for a in template.scene.attempts} or twice > len(case.node.log_events("uncertain")):
        findings.append(f"{state}: {len(arrived)} messages arrived, {len(set(arrived))} different ones")
    if any("damaged-" in file for file in left + os.listdir(case.folder)) or "damaged" in case.node.log():
        findings.append(f"{state}: taken for damage: {left}")
    print(f"  {name}: {state}, ready again after {took:.2f} s")
    return [f"{name}: {f}" for f in findings]


def refuse(rig, template, sim, name):
    damage, words = REFUSED[name]
    case = Case(rig, template, sim, "clean")
    damage(case.folder)
    case.node.start(ready=False)
    state = case.opinion()
    status = case.stop_or_die()
    if state == "refused" and status == 1 and words in case.node.log():
        return []
    return [f"{name}: {state}, {status}: {case.node.log()[-500:]}"]


@pytest.mark.parametrize("run, names", [(deliver, DELIVERS), (stay_shut, SHUT), (refuse, REFUSED), (start_with_read_errors, READ_ERRORS)],
                         ids=["delivers", "stays shut", "refuses", "read errors"])
def test_damage(rig, template, run, names):
    """Four at a time, each with a stand-in of its own: the cases bring the same mail."""
    todo, findings = queue.Queue(), []
    for name in names:
        todo.put((run, name))

    def work(n):
        sim = template.sims[n]
        while True:
            try:
                run, name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                findings.extend(run(rig, template, sim, name))
            except AssertionError as e:
                findings.append(f"{name}: {e}")
    workers = [threading.Thread(target=work, args=(n,)) for n in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert findings == [], "\n".join(findings)
