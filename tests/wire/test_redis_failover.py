"""A master that fails over by Sentinel: mail is held meanwhile, moves again by itself, and never is more of it than the cap."""
import signal
import threading

import pytest

from foreign import stamp
from node import write
from process import wait_until
from redis_server import Redis
from rig import Rig
from sentinel import NAME, Group, Sentinel
from smtp_client import Client, message

CAP = 30


@pytest.fixture
def site():
    with Rig(upstream_tls=False) as rig:
        yield rig


def limits(cap=CAP):
    return {"day": {"scope": "route", "unit": "external", "window": f"{cap}/d"}}


def send(node):
    with Client(node.port("plain")) as c:
        c.ehlo()
        return c.mail("app@contoso.com", "u@fabrikam.com", message(message_id=f"<{stamp()}@failover>"))


def state(node):
    return node.log_events("store")[-1]["state"]


def test_a_killed_master_fails_over(site):
    group = Group(site)
    nodes = [site.node(n, redis={"url": group.url}, limits=limits()).start() for n in ("n1", "n2")]
    assert [send(n).code for n in nodes * 4] == [250] * 8
    group.wait_replicated()
    group.master.kill()
    mark = site.sim.mark()
    wait_until(lambda: all(n.get("/ready")[0] == 503 for n in nodes), 5, "both nodes to notice")
    assert all(400 <= send(n).code < 500 for n in nodes) and site.sim.messages(mark) == []
    # The first at the new master waits until nobody can use the old one any more, dead as it is here.
    wait_until(lambda: nodes[0].ctl("--json", "status")["store"]["closed_for_ms"] > 2000, 30, "the new master to be closed")
    group.wait_switched()
    wait_until(lambda: all(send(n).code == 250 for n in nodes), 15, "mail to flow from both", 0.1)
    group.master.start()  # with its old data; the Sentinels make a replica of it
    wait_until(lambda: group.master.client().info("replication")["role"] == "slave", 30, "the old master to be a replica")
    codes = {send(nodes[i % 2]).code for i in range(CAP)}
    assert codes <= {250, 450, 451} and 250 in codes, codes
    assert len(site.sim.accepted()) == CAP, "nothing was lost, so all of the cap can be used, and no more"
    assert all(n.metric("sendgov_overshoot_total") == 0 for n in nodes)


def test_a_master_that_is_replaced_alive(site):
    """The old master goes on taking writes for seconds. Two nodes send all the while."""
    group = Group(site)
    nodes = [site.node(n, redis={"url": group.url}, limits=limits()).start() for n in ("n1", "n2")]
    over, codes = threading.Event(), []

    def load(node):
        while not over.wait(0.02):
            codes.append(send(node).code)

    threads = [threading.Thread(target=load, args=(n,)) for n in nodes]
    for t in threads:
        t.start()
    try:
        wait_until(lambda: len(site.sim.accepted()) >= CAP // 3, 20, "a third of the mail")
        group.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", NAME)
        group.wait_switched()
        wait_until(lambda: all(f":{group.replica.port} " in n.log_events("store_master")[-1]["msg"] for n in nodes), 5,
                   "the nodes to hear of it")
        wait_until(lambda: len(site.sim.accepted()) >= CAP or any(e for n in nodes for e in n.log_events("store_lost")), 30,
                   "the cap to be used up, or a loss to be noticed")
    finally:
        over.set()
        for t in threads:
            t.join()
    assert len(site.sim.accepted()) <= CAP, len(site.sim.accepted())


def test_a_minority_of_sentinels_is_no_word(site):
    group = Group(site)
    node = site.node("n", redis={"url": group.url}, limits=limits()).start()
    assert send(node).code == 250
    for s in group.sentinels[1:]:
        s.signal(signal.SIGSTOP)
    wait_until(lambda: node.get("/ready")[0] == 503, 5, "the node to hold")
    assert 400 <= send(node).code < 500
    wait_until(lambda: "(nomaster: 1 of 3 sentinels name a master" in node.get("/ready")[1], 2, "the reason to be said")
    for s in group.sentinels[1:]:
        s.signal(signal.SIGCONT)
    wait_until(lambda: send(node).code == 250, 15, "mail to flow", 0.1)
    group.sentinels[0].signal(signal.SIGSTOP)  # a majority remains
    assert all(send(node).code == 250 for _ in range(5))
    group.sentinels[0].signal(signal.SIGCONT)


def test_sentinels_with_tls_and_password(site):
    tls = (*site.cert, site.ca.cert)
    master = site.adopt(Redis(site.folder, "tls", tls=tls, client_certs=True).start())
    sentinel = site.adopt(Sentinel(site.folder, 0, master.tls_port, 1, password="s3cret-sentinel", tls=tls))
    conf = {"url": f"rediss+sentinel://127.0.0.1:{sentinel.port}/{NAME}", "ca_file": site.ca.cert, "cert_file": site.cert[0],
            "key_file": site.cert[1], "sentinel_password_file": write(site.folder + "/sentinel.password", "s3cret-sentinel\n")}
    node = site.node("n", redis=conf, limits=limits()).start()
    assert send(node).code == 250
    node.stop()
    write(site.folder + "/sentinel.password", "wrong\n")
    node.start(ready=False)
    node.wait_live()
    wait_until(lambda: "WRONGPASS" in node.get("/ready")[1], 5, "the refusal of the password to be said")
    assert 400 <= send(node).code < 500
    assert "s3cret-sentinel" not in node.log()
