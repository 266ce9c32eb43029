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
AT_ONCE = 4  # scenes beside one another: most of their time is waiting
FILE_CALLS = ["openat", "pread64", "pwrite64", "fdatasync", "ftruncate", "unlink", "newfstatat", "fcntl", "statfs", "close"]
PEER_CALLS = ["writev", "write"]
SIZES = [200, 200, 6000, 200, 70000, 200]  # of one scene's mail: one page, an overflow page, chunks


@pytest.fixture(scope="module")
def rig():
    with Rig(upstream_tls=False) as r:
        yield r


def spread(n, few):
    """few of 1..n, the ends among them."""
    few = n if HOW_MANY == "all" else int(HOW_MANY or few)
    if n <= few:
        return list(range(1, n + 1))
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
    assert len(missed) <= len(runs) // 4, f"the runs differ too much: {missed}"


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
