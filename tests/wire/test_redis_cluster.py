"""The counters in a Redis Cluster: found from any node, followed when their slot moves or their master dies."""
import threading

import pytest

from foreign import stamp
from process import wait_until
from redis_cluster import Cluster, slot_of
from rig import Rig
from smtp_client import Client, message

CAP = 30
LIMITS = {"day": {"scope": "route", "unit": "external", "window": f"{CAP}/d"}}
GROUP = "default"


@pytest.fixture(scope="module")
def world():
    with Rig(upstream_tls=False) as rig:
        yield rig, Cluster(rig)


def send(node):
    with Client(node.port("plain")) as c:
        c.ehlo()
        return c.mail("app@contoso.com", "u@fabrikam.com", message(message_id=f"<{stamp()}@cluster>"))


def accepted(rig, mark):
    return len(rig.sim.messages(mark))


def test_any_node_leads_to_the_counters(world):
    rig, cluster = world
    nodes = [rig.node(f"seed{i}", redis={"url": cluster.url(n), "group": "seeds"}, limits=LIMITS).start() for i, n in enumerate(cluster.nodes)]
    mark = rig.sim.mark()
    codes = [send(n).code for n in nodes for _ in range(CAP // 3)]
    assert codes == [250] * CAP, codes
    assert all(400 <= send(n).code < 500 for n in nodes)
    assert accepted(rig, mark) == CAP
    assert not any(n.log_events("store_lost") for n in nodes)
    for n in nodes:
        n.stop()


def test_a_slot_that_nobody_serves(world):
    rig, cluster = world
    owner = cluster.owner("lone")
    node = rig.node("lone", alone=True, redis={"url": cluster.url(*cluster.nodes)}, limits=LIMITS).start()
    mark = rig.sim.mark()
    assert send(node).code == 250
    cluster.order(owner, "CLUSTER", "DELSLOTS", slot_of("lone"))
    wait_until(lambda: "(clusterdown: " in node.get("/ready")[1], 5, "the reason to be said")
    assert 400 <= send(node).code < 500 and accepted(rig, mark) == 1
    assert node.metric("sendgov_store_errors_total", error="clusterdown") >= 1, "it is counted, though nobody asks any more"
    cluster.order(owner, "CLUSTER", "ADDSLOTS", slot_of("lone"))
    wait_until(lambda: send(node).code == 250, 10, "mail to flow", 0.1)
    assert not node.log_events("store_lost")
    node.stop()


def test_a_slot_that_moves_under_load(world):
    """Key by key: between the first and the last of them nothing can be decided, and nothing is counted twice or forgotten."""
    rig, cluster = world
    group = "moving"
    slot, source = slot_of(group), cluster.owner(group)
    target = next(n for n in cluster.nodes if n is not source)
    nodes = [rig.node(f"m{i}", redis={"url": cluster.url(*cluster.nodes), "group": group}, limits=LIMITS).start() for i in range(2)]
    over, mark = threading.Event(), rig.sim.mark()

    def load(node):
        while not over.wait(0.05):
            send(node)

    threads = [threading.Thread(target=load, args=(n,)) for n in nodes]
    for t in threads:
        t.start()
    try:
        wait_until(lambda: accepted(rig, mark) >= 8, 20, "mail to flow")
        cluster.begin_move(slot, source, target)
        keys = cluster.keys(slot, source)
        assert len(keys) >= 5, keys
        cluster.move_key(keys[0], source, target)
        wait_until(lambda: all(n.get("/ready")[0] == 503 for n in nodes), 5, "the nodes to hold")
        assert all("(moved: " in n.get("/ready")[1] for n in nodes), nodes[0].get("/ready")
        for key in keys[1:]:
            cluster.move_key(key, source, target)
        assert cluster.keys(slot, source) == []
        wait_until(lambda: all(n.get("/ready")[0] == 200 for n in nodes), 10, "the nodes to follow ASK")
        now = accepted(rig, mark)
        wait_until(lambda: accepted(rig, mark) >= now + 3, 10, "mail to flow before the slot has its new owner")
        cluster.end_move(slot, target)
        wait_until(lambda: accepted(rig, mark) >= CAP, 20, "the cap to be used up")
        for i in range(10):
            send(nodes[i % 2])
    finally:
        over.set()
        for t in threads:
            t.join()
    assert accepted(rig, mark) == CAP
    assert not any(n.log_events("store_lost") for n in nodes)
    for n in nodes:
        n.stop()


def test_a_master_that_dies(world):
    rig, cluster = world
    owner = cluster.owner(GROUP)
    replica = cluster.add_replica(owner)
    others = [n for n in cluster.nodes if n is not owner]
    nodes = [rig.node(f"d{i}", redis={"url": cluster.url(*others)}, limits=LIMITS).start() for i in range(2)]
    mark = rig.sim.mark()
    assert [send(n).code for n in nodes * 3] == [250] * 6
    client = owner.client()
    client.execute_command("WAIT", 1, 2000)
    wait_until(lambda: client.info("replication")["slave0"]["offset"] == client.info("replication")["master_repl_offset"], 5, "the replica")
    owner.kill()
    wait_until(lambda: all(n.get("/ready")[0] == 503 for n in nodes), 5, "the nodes to hold")
    assert all(400 <= send(n).code < 500 for n in nodes)
    wait_until(lambda: replica.client().info("replication")["role"] == "master", 20, "the replica to be promoted")
    # Somebody whose charges are missing there may still wait for the dead one to answer.
    wait_until(lambda: nodes[0].ctl("--json", "status")["store"]["closed_for_ms"] > 2000, 10, "the new owner to be closed")
    wait_until(lambda: all(send(n).code == 250 for n in nodes), 15, "mail to flow", 0.1)
    for i in range(CAP):
        send(nodes[i % 2])
    assert accepted(rig, mark) == CAP
    owner.start()
    replica.kill()
    for n in nodes:
        n.stop()


def test_without_a_word_of_cluster_it_is_refused(world):
    rig, cluster = world
    node = rig.node("plain", redis={"url": cluster.owner(GROUP).url}, limits=LIMITS).start(ready=False)
    node.wait_live()
    wait_until(lambda: "redis+cluster://" in node.get("/ready")[1], 5, "the refusal to be said")
    assert 400 <= send(node).code < 500
