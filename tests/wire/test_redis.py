"""Redis away, slow, wrong or empty: without a decision nothing leaves, the client hears 4xx at once, and it heals by itself."""
import time

import pytest

from foreign import stamp
from process import wait_until
from redis_proxy import RedisProxy
from redis_server import Redis
from rig import Rig
from smtp_client import Client, message

LIMITS = {"day": {"scope": "route", "unit": "external", "window": "1000/d"}}


@pytest.fixture
def site():
    with Rig(upstream_tls=False) as rig:
        yield rig


def send(node, message_id=None):
    begun = time.monotonic()
    with Client(node.port("plain")) as c:
        c.ehlo()
        reply = c.mail("app@contoso.com", "u@fabrikam.com", message(message_id=message_id or f"<{stamp()}@redis>"))
    reply.took_s = time.monotonic() - begun
    return reply


def assert_closed(site, node, within_s=0.9):
    """4xx soon, nothing upstream, not ready but alive."""
    mark = site.sim.mark()
    reply = send(node)
    assert 400 <= reply.code < 500 and reply.enhanced in ("4.3.2", "4.4.5"), reply
    assert reply.took_s < within_s, f"{reply.took_s:.3f} s: {reply}"
    assert site.sim.messages(mark) == []
    return reply


def recovers(node, within_s=8):
    wait_until(lambda: send(node).code == 250, within_s, "mail to flow again", 0.1)
    assert node.get("/ready")[0] == 200


def test_redis_down_at_start(site):
    site.redis.kill()
    node = site.node("n", limits=LIMITS).start(ready=False)
    node.wait_live()
    node.process.wait_log('"event":"store","state":"down"')
    assert node.get("/ready")[0] == 503
    reply = assert_closed(site, node)
    assert reply.enhanced == "4.3.2" and reply.took_s < 0.5, (reply, reply.took_s)
    assert node.metric("sendgov_store_up") == 0
    site.redis.start()
    recovers(node, 4)
    assert node.metric("sendgov_store_up") == 1


def test_redis_killed_and_back_with_its_file(site):
    node = site.node("n", limits=LIMITS).start()
    assert send(node).code == 250
    site.redis.kill()
    assert_closed(site, node)
    site.redis.start()
    recovers(node)
    used = [r for r in node.ctl("--json", "limits")["limits"] if "day" in str(r)][0]["used"]
    assert used >= len([m for m in site.sim.messages()]), "a restart of Redis lowered a count"


def test_redis_frozen_then_late(site):
    """Commands time out; what the thawed Redis executes late only counts more; replies are never mis-paired."""
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "5/d"}}).start()
    assert send(node).code == 250
    site.redis.freeze()
    for _ in range(4):
        assert_closed(site, node)
    site.redis.thaw()
    wait_until(lambda: node.get("/ready")[0] == 200, 8, "the node to be ready")
    codes = [send(node).code for _ in range(8)]
    assert 450 not in codes and codes.count(250) <= 4, codes
    assert len(site.sim.accepted()) <= 5
    assert node.metric("sendgov_overshoot_total") == 0


def test_script_flush_is_not_noticed(site):
    node = site.node("n", limits=LIMITS).start()
    client = site.redis.client()
    for _ in range(10):
        client.script_flush()
        assert send(node).code == 250
    assert node.get("/ready")[0] == 200


ERRORS = {
    "oom": "OOM command not allowed when used memory > 'maxmemory'.", "readonly": "READONLY You can't write against a read only replica.",
    "noreplicas": "NOREPLICAS Not enough good replicas to write.", "misconf": "MISCONF Redis is configured to save RDB snapshots",
    "masterdown": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "clusterdown": "CLUSTERDOWN The cluster is down", "loading": "LOADING Redis is loading the dataset in memory", "busy": "BUSY Redis is busy running a script.",
    "noauth": "NOAUTH Authentication required.", "noperm": "NOPERM this user has no permissions to run the 'evalsha' command",
    "wrongtype": "WRONGTYPE Operation against a key holding the wrong kind of value", "other": "ERR something nobody has seen",
}


@pytest.fixture(scope="module")
def proxied():
    with Rig(upstream_tls=False) as rig:
        proxy = rig.adopt(RedisProxy(rig.redis.port))
        node = rig.node("n", redis={"url": proxy.url, "settle": "200ms"}, limits=LIMITS).start()
        rig.proxy = proxy
        yield rig, node


@pytest.mark.parametrize("label", ERRORS)
def test_an_error_is_no_decision(proxied, label):
    site, node = proxied
    site.proxy.mode = "pass"
    recovers(node)
    before = node.metric("sendgov_store_errors_total", error=label)
    said = len([e for e in node.log_events("store") if e["state"] == label])
    site.proxy.mode = "error:" + ERRORS[label]
    reply = assert_closed(site, node)
    assert reply.enhanced == "4.3.2"
    assert node.metric("sendgov_store_errors_total", error=label) > before, node.get("/metrics")[1]
    wait_until(lambda: node.get("/ready")[0] == 503, 5, "/ready to be false")
    assert f"({label}: " in node.get("/ready")[1] and label in node.ctl("status")
    assert_closed(site, node)
    assert len([e for e in node.log_events("store") if e["state"] == label]) == said + 1, "it is not said once"
    site.proxy.mode = "pass"
    recovers(node)


@pytest.mark.parametrize("raw", ["$-1\r\n", "*0\r\n", ":1\r\n", "+OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "$99999999999\r\n", "*1000000\r\n",
                                 "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "%2\r\n"])
def test_garbage_is_no_decision(proxied, raw):
    site, node = proxied
    site.proxy.mode = "pass"
    recovers(node)
    site.proxy.mode = "raw:" + raw
    assert_closed(site, node)
    site.proxy.mode = "pass"
    recovers(node)


@pytest.mark.parametrize("mode", ["hole", "delay:1000", "cut"])
def test_no_answer_is_no_decision(proxied, mode):
    site, node = proxied
    site.proxy.mode = "pass"
    recovers(node)
    site.proxy.mode = mode
    assert_closed(site, node)
    site.proxy.mode = "pass"
    recovers(node)


def test_a_slow_redis_still_decides(proxied):
    site, node = proxied
    site.proxy.mode = "pass"
    recovers(node)
    site.proxy.mode = "delay:100"
    assert send(node).code == 250
    site.proxy.mode = "pass"


def test_lost_counters_close_until_the_operator_opens(site):
    node = site.node("n", limits=LIMITS).start()
    assert send(node).code == 250
    site.redis.client().flushall()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert_closed(site, node)
    assert "lost" in str(send(node))
    node.ctl("open", "--reason", "the test knows")
    wait_until(lambda: send(node).code == 250, 3, "mail to flow")


def test_lost_counters_open_when_the_window_has_passed(site):
    node = site.node("n", limits={"short": {"scope": "route", "unit": "external", "window": "100/3s"}}).start()
    assert send(node).code == 250
    lost = time.monotonic()
    site.redis.client().flushall()
    wait_until(lambda: send(node).code == 451, 2, "the loss to be noticed")
    wait_until(lambda: send(node).code == 250, 10, "the window to pass", 0.1)
    assert time.monotonic() - lost >= 2.9


def test_a_deleted_counter_is_not_zero(site):
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "3/d"}}).start()
    assert [send(node).code for _ in range(3)] == [250] * 3
    client = site.redis.client()
    for key in client.keys("*route*"):
        client.delete(key)
    assert all(send(node).code >= 400 for _ in range(3)), "a deleted counter gave budget"


def test_another_redis_is_noticed(site):
    second = site.adopt(Redis(site.folder, "second").start())
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "2/d"}}).start()
    assert [send(node).code for _ in range(2)] == [250] * 2
    node.config["redis"]["url"] = second.url
    node.write_config()
    node.ctl("reload", check=False)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert send(node).code >= 400


@pytest.mark.parametrize("options, refused", [
    (("--appendonly", "no"), True), (("--maxmemory-policy", "allkeys-lru"), True), ((), False)])
def test_a_redis_that_forgets_is_refused(options, refused):
    with Rig(upstream_tls=False, redis_options=options) as rig:
        node = rig.node("n", limits=LIMITS).start(ready=not refused)
        if refused:
            wait_until(lambda: not node.process.alive() or node.get("/ready")[0] == 503, 10, "a refusal")
            if node.process.alive():
                assert_closed(rig, node)
                assert node.metric("sendgov_store_up") == 0
            else:
                assert node.process.child.returncode == 1
                node.process = None
            assert "appendonly" in node.log() or "noeviction" in node.log()
        else:
            assert send(node).code == 250


def test_volatile_is_allowed_when_said(site):
    site.redis.client().config_set("appendonly", "no")
    node = site.node("n", redis={"url": site.redis.url, "settle": "200ms", "allow_volatile": True}).start()
    assert send(node).code == 250


@pytest.mark.parametrize("kind", ["unix", "password", "acl", "tls", "client certificate"])
def test_ways_to_reach_redis(kind):
    with Rig(upstream_tls=False) as rig:
        from node import write
        secret = write(rig.folder + "/redis.password", "s3cret-redis\n")
        if kind == "tls":
            redis = rig.adopt(Redis(rig.folder, "tls", tls=(rig.cert[0], rig.cert[1], rig.ca.cert)).start())
            conf = {"url": f"rediss://localhost:{redis.tls_port}/0", "ca_file": rig.ca.cert}
        elif kind == "client certificate":
            redis = rig.adopt(Redis(rig.folder, "tls", tls=(*rig.cert, rig.ca.cert), client_certs=True).start())
            conf = {"url": f"rediss://localhost:{redis.tls_port}/0", "ca_file": rig.ca.cert, "cert_file": rig.cert[0],
                    "key_file": rig.cert[1]}
        elif kind == "unix":
            conf = {"url": "unix:" + rig.redis.socket}
        elif kind == "password":
            rig.redis.client().config_set("requirepass", "s3cret-redis")
            conf = {"url": rig.redis.url, "password_file": secret}
        else:
            rig.redis.client().execute_command("ACL", "SETUSER", "sendgov", "on", ">s3cret-redis", "~*", "+@all", "-@dangerous", "+info",
                                               "+config|get")
            conf = {"url": f"redis://sendgov@127.0.0.1:{rig.redis.port}/0", "password_file": secret}
        node = rig.node("n", redis={**conf, "settle": "200ms"}, limits=LIMITS).start()
        assert send(node).code == 250
        if kind in ("password", "acl"):
            assert "s3cret-redis" not in node.log()


@pytest.mark.parametrize("wrong, why", [("name", "hostname mismatch"), ("authority", "self-signed certificate"), ("no certificate", "")])
def test_tls_to_redis_is_not_taken_on_trust(site, wrong, why):
    """A certificate of another name, or of an authority nobody named; and a Redis that wants to see ours."""
    cert, key = site.ca.issue("redis.fabrikam.com", ("DNS:redis.fabrikam.com",)) if wrong == "name" else site.cert
    redis = site.adopt(Redis(site.folder, "tls-" + wrong.replace(" ", "-"), tls=(cert, key, site.ca.cert), client_certs=why == "").start())
    conf = {"url": f"rediss://localhost:{redis.tls_port}/0"}
    if wrong != "authority":
        conf["ca_file"] = site.ca.cert
    node = site.node("n", redis=conf, limits=LIMITS).start(ready=False)
    node.wait_live()
    wait_until(lambda: node.log_events("store"), 5, "the refusal to be logged")
    assert_closed(site, node)
    assert why in node.log_events("store")[-1]["detail"], node.log_events("store")
    assert redis.client().dbsize() == 0


def test_a_wrong_password_is_no_decision(site):
    from node import write
    site.redis.client().config_set("requirepass", "right")
    secret = write(site.folder + "/wrong.password", "wrong\n")
    node = site.node("n", redis={"url": site.redis.url, "password_file": secret}, limits=LIMITS).start(ready=False)
    node.wait_live()
    assert_closed(site, node)
    assert node.metric("sendgov_store_errors_total", error="noauth") >= 1 or "WRONGPASS" in node.log() or "noauth" in node.log()


def test_a_redis_without_auth_does_not_make_the_password_known(site):
    from node import write
    redis = site.adopt(Redis(site.folder, "no-auth", ["--rename-command", "AUTH", ""]).start())
    secret = write(site.folder + "/redis.password", "s3cret-redis\n")
    node = site.node("n", redis={"url": redis.url, "password_file": secret}, limits=LIMITS).start(ready=False)
    node.wait_live()
    wait_until(lambda: "ERR unknown command" in node.log(), 5, "the refusal of AUTH to be logged")
    assert "s3cret-redis" not in node.log() + node.ctl("status") + node.get("/ready")[1]
