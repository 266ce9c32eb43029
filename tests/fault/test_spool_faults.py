"""Nothing is lost and nothing is doubled, wherever the node is killed and whatever the disk says (faults P01, P03, P04, H07).

strace kills the node, or makes a call fail, at the N-th call of a kind; what clients were told is then held against what the
stand-in saw. The calls are those of the spool's files, and for kills also those that write to peers.

SENDGOV_FAULTS=all takes every N instead of a spread; SENDGOV_FAULTS=number so many of each call.
"""
import collections
import concurrent.futures
import os
import re

import pytest

import strace
from process import wait_until
from rig import Rig
from spool_scene import Scene

HOW_MANY = os.environ.get("SENDGOV_FAULTS", "")
AT_ONCE = 6  # scenes beside one another: most of their time is waiting
FILE_CALLS = ["openat", "pread64", "pwrite64", "fdatasync", "ftruncate", "unlink", "newfstatat", "fcntl", "statfs", "close"]
PEER_CALLS = ["writev", "write"]
SIZES = [200, 200, 6000, 200, 70000, 200]  # of one scene's mail: one page, an overflow page, chunks


@pytest.fixture(scope="module")
def rig():
    with Rig(upstream_tls=False) as r:
        yield r


def spread(n, few):
    """few of 1..n. Only all of them have the last fifth: how many calls there are differs, for commits go in groups."""
    if HOW_MANY == "all":
        return list(range(1, n + 1))
    few, n = int(HOW_MANY or few), max(1, n * 4 // 5)
    return sorted({1 + i * (n - 1) // max(1, few - 1) for i in range(few)})


def side_by_side(run, cases):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, cases))


def most_of_one_thread(log):
    """How often one thread made each call: what `when` counts."""
    counted = collections.Counter((c[0], c[1]) for c in strace.calls(log))
    most = collections.Counter()
    for (_, name), n in counted.items():
        most[name] = max(most[name], n)
    return most


def traffic(scene):
    """What each scene does from its start on: mail, until all of it left, and SIGTERM; the node may die on the way."""
    if scene.node.process.alive():
        scene.offer([scene.item(size) for size in SIZES])
    wait_until(lambda: not scene.node.process.alive() or _is_drained(scene), 20, f"{scene.name} to drain or die", 0.02)
    scene.stop_or_die()


def _is_drained(scene):
    status, text = scene.node.get("/metrics")
    return status == 200 and re.search(r'(?m)^sendgov_released_total\{outcome="delivered"\} %d$' % len(SIZES), text)


# P01
def count_calls(rig, calls, paths):
    scene = Scene(rig)
    scene.start(under=strace.under(scene.log_file, paths=scene.paths if paths else (), trace=",".join(calls)))
    traffic(scene)
    assert scene.judge() == []
    return most_of_one_thread(scene.log_file)


def kill_at(rig, call, n, paths):
    scene = Scene(rig)
    fault = strace.inject(call, when=n, kill=True)
    scene.start(under=strace.under(scene.log_file, [fault], scene.paths if paths else (), trace=call))
    traffic(scene)
    reached = scene.node.ends[0]["status"] != 0
    took = scene.restart()
    return {"at": f"{call} {n}", "reached": reached, "took": took, "findings": [f"{call} {n}: {f}" for f in scene.end()],
            "told": sum(a["outcome"] == "2xx" for a in scene.attempts), "uncertain": sum(scene.uncertain().values())}


@pytest.mark.parametrize("calls, paths, few", [(FILE_CALLS, True, 4), (PEER_CALLS, False, 6)], ids=["files", "peers"])
def test_killed_at_a_system_call(rig, calls, paths, few):
    most = count_calls(rig, calls, paths)
    needed = ("pwrite64", "fdatasync", "openat") if paths else ("writev", "write")
    assert all(most[c] > 0 for c in needed), f"the spool does not call {needed}: {most}"
    cases = [(c, n) for c in calls if most[c] for n in spread(most[c], few * 3 if c == "pwrite64" else few)]
    runs = side_by_side(lambda case: kill_at(rig, *case, paths), cases)
    findings = [f for r in runs for f in r["findings"]]
    missed = [r["at"] for r in runs if not r["reached"]]
    print(f"{len(runs)} kills at {dict(most)}; {sum(r['told'] for r in runs)} messages told 250, {sum(r['uncertain'] for r in runs)} "
          f"uncertain, ready again after {max(r['took'] for r in runs):.2f} s at most; not reached: {missed}")
    assert findings == [], "\n".join(findings[:20])
    assert len(missed) <= len(runs) // 3, f"the runs differ too much: {missed}"


# P03
QUEUED = re.compile(r'(?<!\\)"250 2\.0\.0 queued as ([0-9a-z]+)')


def findings_of_order(calls, message_ids):
    """For each `250 2.0.0 queued as ID`: pages with the row and with the text of this message were written to the WAL, and a
    sync of it that began after that ended well before the reply began. message_ids: {our id: Message-ID in the text}."""
    wal = [c for c in calls if "spool.db-wal" in c[2].split(">")[0]]
    syncs = [(begin, end) for _, name, _, result, begin, end in wal if name in ("fdatasync", "fsync") and result == 0]
    findings, seen = [], set()
    for _, name, text, _, begin, _ in calls:
        for own_id in QUEUED.findall(text) if name in ("writev", "write", "sendto", "sendmsg") else ():
            seen.add(own_id)
            for what in (own_id, message_ids.get(own_id, "no client was told this id")):
                writes = [c[5] for c in wal if c[1] == "pwrite64" and what in c[2] and c[3] and c[3] > 0 and c[5] < begin]
                if not writes:
                    findings.append(f"16 durable: 250 for {own_id} before {what} was written")
                elif not any(writes[0] < sync_begin and sync_end < begin for sync_begin, sync_end in syncs):
                    findings.append(f"16 durable: 250 for {own_id} after {what} was written, before that was synced")
    return findings + [f"16 durable: no reply for {i} was seen" for i in message_ids if i not in seen]


def test_the_data_is_synced_before_the_reply(rig):
    scene = Scene(rig)
    scene.start()
    with strace.Attached(scene.node.process.pid, scene.log_file, trace="pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg",
                         text_bytes=5000):
        scene.offer([scene.item(size) for size in SIZES * 2], clients=4)
        scene.wait_empty()
    queued = {a["reply"].split("queued as ")[1].split()[0]: a["id"] for a in scene.attempts}
    assert len(queued) == 2 * len(SIZES)
    assert findings_of_order(strace.calls(scene.log_file), queued) == []
    assert scene.end() == []


ORDER = {
    "write": '1 pwrite64(9</s/spool.db-wal>, "id1 <m1>", 4096, 0) = 4096',
    "sync": "1 fdatasync(9</s/spool.db-wal>) = 0",
    "sync begins": "1 fdatasync(9</s/spool.db-wal> <unfinished ...>",
    "sync ends": "1 <... fdatasync resumed>) = 0",
    "sync fails": "1 fdatasync(9</s/spool.db-wal>) = -1 EIO (Input/output error)",
    "other sync": "1 fdatasync(9</s/journal>) = 0",
    "reply": r'2 writev(5<TCP:[1]>, [{iov_base="250 2.0.0 queued as id1\r\n", iov_len=9}], 1) = 9',
    "log": r'2 write(2</s/log>, "{\"answer\":\"250 2.0.0 queued as id1\"}\n", 9) = 9',
}


@pytest.mark.parametrize("order, good", [
    (["write", "sync", "reply"], True),
    (["log", "write", "sync", "log", "reply"], True),
    (["write", "sync begins", "log", "sync ends", "reply"], True),
    (["write", "reply", "sync"], False),
    (["sync", "write", "reply"], False),
    (["sync", "reply"], False),
    (["write", "sync fails", "reply"], False),
    (["write", "other sync", "reply"], False),
    (["write", "sync begins", "reply", "sync ends"], False),
    (["sync begins", "write", "sync ends", "reply"], False),
    (["write", "sync", "log"], False),
], ids=lambda v: " ".join(v).replace(" ", "-") if isinstance(v, list) else "")
def test_a_wrong_order_is_found(tmp_path, order, good):
    log = tmp_path / "log"
    log.write_text("".join(ORDER[o] + "\n" for o in order), encoding="ascii")
    assert (findings_of_order(strace.calls(str(log)), {"id1": "<m1>"}) == []) is good


# P04: the disk says no
SICK = "451 4.3.0", "452 4.3.1"
STARTING = ["openat", "pread64", "pwrite64", "fdatasync", "ftruncate", "unlink"]
RUNNING = {"pwrite64": ("EIO", "ENOSPC", "EDQUOT"), "fdatasync": ("EIO", "ENOSPC", "EDQUOT")}


def findings_of_replies(scene, begin=0):
    """Only 250, 451 4.3.0 and 452 4.3.1; after RCPT, after the dot, or at MAIL."""
    return [f"{scene.name}: {a['reply']!r}" for a in scene.attempts[begin:] if a["outcome"] != "2xx" and not a["reply"].startswith(SICK)]


def fail_while_running(rig, call, error, n, for_good):
    """n: the first call that fails; for_good: all that follow as well. The node is ended while it is so, by SIGKILL or (even n) by
    SIGTERM, and must keep its word.

    What was refused because its sync failed may be on disk whole all the same; a node that is killed before it could erase it
    sends it, once."""
    scene = Scene(rig)
    scene.start()
    scene.node.wait_ready()
    fault = strace.inject(call, f"{n}+" if for_good else n, error)
    with strace.Attached(scene.node.process.pid, scene.log_file, [fault], scene.paths, trace=call):
        scene.offer([scene.item(size) for size in SIZES])
        relay = scene.offer_relay(scene.item())
        findings = findings_of_replies(scene)
        if call == "pwrite64" and error in ("ENOSPC", "EDQUOT"):
            findings += [f"{a['reply']!r} for want of space" for a in scene.attempts
                         if a["outcome"] != "2xx" and not a["reply"].startswith("452 4.3.1")]
        hit = any(c[3] == -1 for c in strace.calls(scene.log_file))
        if for_good and hit and scene.status()["state"] == "sick":
            findings += findings_of_sickness(scene)
        if relay.code != 250:
            findings.append(f"{scene.name}: a relay client heard {relay}")
        if n % 2:
            scene.node.kill()
        elif scene.node.stop(20) != 0:
            findings.append(f"{scene.name}: SIGTERM gave {scene.node.ends[-1]['status']}")
    scene.restart()
    scene.node.stop()
    at = f"{call} {error} {n}{'+' if for_good else ''}"
    arrived = {m["message_id"] for m in scene.messages() if m["accepted"]}
    return {"at": at, "hit": hit, "refused": sum(a["outcome"] != "2xx" for a in scene.attempts),
            "came": sum(a["outcome"] == "4xx" and a["id"] in arrived for a in scene.attempts),
            "findings": [f"{at}: {f}" for f in findings + scene.judge(delivered_though_refused=True)]}


def findings_of_sickness(scene):
    findings = []
    status, text = scene.node.get("/ready")
    if status != 503 or "spool" not in text:
        findings.append(f"{scene.name}: /ready says {status} {text!r}")
    if not any(e.get("state") == "sick" and e.get("why") for e in scene.node.log_events("spool")):
        findings.append(f"{scene.name}: no event=spool state=sick in the log")
    if scene.node.get("/live")[0] != 200:
        findings.append(f"{scene.name}: not live")
    return findings


def test_a_call_that_fails_while_mail_comes(rig):
    scene = Scene(rig)
    scene.start()
    with strace.Attached(scene.node.process.pid, scene.log_file, paths=scene.paths, trace=",".join(RUNNING)):
        scene.offer([scene.item(size) for size in SIZES])
        scene.wait_empty()
    assert scene.end() == []
    most = most_of_one_thread(scene.log_file)
    cases = [(call, error, n, for_good) for call, errors in RUNNING.items() for error in errors for for_good in (True, False)
             for n in spread(most[call], 4)]
    runs = side_by_side(lambda case: fail_while_running(rig, *case), cases)
    findings = [f for r in runs for f in r["findings"]]
    print(f"{len(runs)} faults at {dict(most)}, {sum(r['hit'] for r in runs)} met; {sum(r['refused'] for r in runs)} messages refused, "
          f"of which {sum(r['came'] for r in runs)} were on disk when the node was killed")
    assert findings == [], "\n".join(findings[:20])
    assert all(r["came"] == 0 for r in runs if not r["at"].startswith("fdatasync")), "only a sync may fail with all of it on disk"
    assert sum(r["hit"] for r in runs) >= len(runs) // 2
    assert all(r["refused"] for r in runs if r["at"].endswith(" 1+"))


def fail_from_the_start(rig, call, error, n):
    """The folder cannot be opened: the node refuses to start and says so. The spool in it cannot: the node lives, relays what
    need not be held, and opens it when the disk is back."""
    scene = Scene(rig)
    at = f"{call} {error} {n} from the start"
    fault = strace.inject(call, f"{n}+", error)
    scene.node.start(ready=False, under=strace.under(scene.log_file, [fault], scene.paths, trace=call))
    wait_until(lambda: scene.node.get("/live")[0] == 200 or not scene.node.process.alive(), 10, "life or death")
    if not scene.node.process.alive():
        status = scene.stop_or_die()
        scene.node.ends[-1]["asked"] = [1]
        good = status == 1 and f"spool.folder: cannot open {scene.folder}: " in scene.node.log()
        return {"at": at, "state": "refused", "findings": [] if good else [f"{at}: {status} {scene.node.log()[-500:]}"]}
    state = wait_until(lambda: scene.status()["state"] not in ("closed", "loading") and scene.status()["state"], 10, "an opinion")
    wait_until(scene.node.is_open, 10, "the counters to settle")
    findings = findings_of_sickness(scene) if state == "sick" else []
    relay = scene.offer_relay(scene.item())
    if relay.code != 250:
        findings.append(f"{scene.name}: a relay client heard {relay}")
    scene.offer([scene.item()])
    findings += findings_of_replies(scene)
    strace.detach(scene.node.process.pid)
    scene.wait_state("ready")
    scene.offer([scene.item() for _ in range(3)])
    if any(a["outcome"] != "2xx" for a in scene.attempts[-3:]):
        findings.append(f"{scene.name}: still {scene.attempts[-1]['reply']!r}")
    scene.wait_empty()
    return {"at": at, "state": state, "findings": [f"{at}: {f}" for f in findings + scene.end()]}


def test_a_call_that_fails_from_the_start(rig):
    most = count_calls(rig, STARTING, True)
    cases = [(call, "EIO", n) for call in STARTING for n in (1, 2) if n <= most[call]]
    cases += [("openat", "EMFILE", 1), ("openat", "ENOSPC", 1), ("pwrite64", "ENOSPC", 1), ("ftruncate", "EDQUOT", 1), ("fdatasync", "EDQUOT", 1)]
    runs = side_by_side(lambda case: fail_from_the_start(rig, *case), cases)
    print("; ".join(f"{r['at']}: {r['state']}" for r in runs))
    findings = [f for r in runs for f in r["findings"]]
    assert findings == [], "\n".join(findings[:20])
    assert sum(r["state"] == "sick" for r in runs) >= len(runs) // 2


def recover_from(rig, call, error):
    """While it lasts nothing is promised that is not kept; when it ends the spool works again, without a restart, and what was
    refused has not arrived."""
    scene = Scene(rig)
    scene.start()
    scene.node.wait_ready()
    scene.offer([scene.item(size) for size in SIZES])
    with strace.Attached(scene.node.process.pid, scene.log_file, [strace.inject(call, "3+", error)], scene.paths, trace=call):
        scene.offer([scene.item(size) for size in SIZES])
        scene.offer([scene.item(size) for size in SIZES])
        findings = findings_of_replies(scene)
    scene.wait_state("ready")
    begin = len(scene.attempts)
    scene.offer([scene.item(size) for size in SIZES])
    findings += [f"{scene.name}: still {a['reply']!r}" for a in scene.attempts[begin:] if a["outcome"] != "2xx"]
    scene.wait_empty()
    return [f"{call} {error}: {f}" for f in findings + scene.end()]


def test_it_recovers_by_itself(rig):
    cases = [("pwrite64", "EIO"), ("fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("pwrite64", "EDQUOT"), ("fdatasync", "ENOSPC"), ("pread64", "EIO")]
    findings = [f for found in side_by_side(lambda case: recover_from(rig, *case), cases) for f in found]
    assert findings == [], "\n".join(findings[:20])


# H07
def deliver_but_not_remove(rig, killed):
    """The upstream takes it, and the removal of the row fails."""
    scene = Scene(rig)
    scene.start()
    scene.node.wait_ready()
    sender = f"{scene.name}@contoso.com"
    rule = rig.sim.rule(step="dot", sender=sender, delay_ms=1500, count=1)
    scene.offer([scene.item(sender=sender)])
    wait_until(lambda: rig.sim.hits(rule), 10, "the dot")
    with strace.Attached(scene.node.process.pid, scene.log_file, [strace.inject("pwrite64,fdatasync", "1+", "EIO")], scene.paths):
        wait_until(lambda: any(m["accepted"] for m in scene.messages()), 10, "the message upstream")
        scene.wait_state("sick")
        findings = findings_of_sickness(scene)
        if killed:
            scene.node.kill()
    if killed:
        scene.restart()
    scene.wait_empty()
    copies = len([m for m in scene.messages() if m["accepted"]])
    uncertain = sum(scene.uncertain().values())
    if (copies, uncertain) != ((2, 1) if killed else (1, 0)):
        findings.append(f"{scene.name}: {copies} copies, {uncertain} times uncertain")
    return findings + scene.end()


@pytest.mark.parametrize("killed", [False, True], ids=["the disk comes back", "the node is killed first"])
def test_delivered_but_the_removal_fails(rig, killed):
    assert deliver_but_not_remove(rig, killed) == []
