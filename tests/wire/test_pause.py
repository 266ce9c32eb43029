"""5.7.708: external mail of the route stops on every node within a second, and stays stopped until somebody resumes it."""
import re
import time

import pytest

import checker
from foreign import stamp
from process import wait_until
from rig import Rig
from smtp_client import Client, message

BLOCK = "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. AS(7230)"


@pytest.fixture(scope="module")
def nodes(rig):
    """Two nodes; the reply table of the profile, and room in its limits."""
    route = {"upstream": f"localhost:{rig.sim.port}", "tls_ca_file": rig.ca.cert, "domains": ["contoso.com"],
             "profile": "m365-connector"}
    both = [rig.node(name, routes={"contoso": route}) for name in ("a", "b")]
    return [node.start() for node in both]


@pytest.fixture(autouse=True)
def resumed(rig, nodes):
    yield
    rig.sim.clear_rules()
    for node in nodes:
        if node.process is None:
            node.start()
    nodes[0].ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "end of a test", check=False)
    wait_until(lambda: all(node.metric("sendgov_paused") == 0 for node in nodes), 5, "the pause to end")


def send(node, to="u@fabrikam.com", message_id=None):
    with Client(node.port("plain")) as c:
        c.ehlo()
        return c.mail("app@contoso.com", to, message(message_id=message_id or f"<{stamp()}@pause>", to=to))


def block(rig, node, step="dot", reply=BLOCK):
    rule = rig.sim.rule(step=step, reply=reply, count=1)
    answer = send(node)
    assert rig.sim.hits(rule) == 1
    return answer


def assert_paused(nodes, within_s=1.0):
    wait_until(lambda: all(node.metric("sendgov_paused", scope="route") >= 1 for node in nodes), within_s, "the pause on all nodes")
    for node in nodes:
        reply = send(node)
        assert reply.code == 451 and reply.enhanced == "4.7.0", reply
        assert "5.7.708" in str(reply) and "contoso" in str(reply), reply


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_block_at_any_step_pauses_all_nodes(rig, nodes, step):
    mark = rig.sim.mark()
    reply = block(rig, nodes[0], step)
    assert 400 <= reply.code < 500 and reply.enhanced == "4.7.0", reply
    assert_paused(nodes)
    for node in nodes:  # internal mail flows
        assert send(node, "colleague@contoso.com").code == 250
    assert checker.check_pause(rig.sim.messages(mark), ("contoso.com",)) == []
    assert all(node.get("/ready")[0] == 200 for node in nodes)


@pytest.mark.parametrize("reply", [
    "550-5.7.708 Service unavailable.\n550 5.7.708 Access denied", "550 5.7.708 service unavailable. access denied, traffic not accepted",
    "554 5.7.708 Service unavailable", "550 5.7.705 Access denied, tenant has exceeded threshold",
    "550;5.7.708 Access denied", "550 5.7.708 - Access denied",
])
def test_forms_of_a_block(rig, nodes, reply):
    block(rig, nodes[0], "rcpt", reply)
    wait_until(lambda: all(node.metric("sendgov_paused", scope="route") >= 1 for node in nodes), 1, "the pause on all nodes")


@pytest.mark.parametrize("reply", ["250 2.0.0 550 5.7.708 is only text", "250 5.7.708 odd", "550 5.1.1 not 5.7.708 at all",
                                   "550 5.7.703 blocked by your organization", "450 4.2.0 later, see 5.7.708"])
def test_the_string_alone_is_no_block(rig, nodes, reply):
    block(rig, nodes[0], "dot", reply)
    assert send(nodes[1]).code == 250
    assert all(node.metric("sendgov_paused") == 0 for node in nodes)


def test_a_pause_is_refused_at_rcpt_without_a_body(rig, nodes):
    block(rig, nodes[0])
    assert_paused(nodes)
    with Client(nodes[1].port("plain")) as c:
        c.ehlo()
        c.cmd("MAIL FROM:<app@contoso.com>")
        assert c.cmd("RCPT TO:<u@fabrikam.com>").code == 451
        assert c.cmd("RCPT TO:<colleague@contoso.com>").code == 250


def test_a_pause_survives_the_restart_of_one_and_of_all(rig, nodes):
    block(rig, nodes[0])
    assert_paused(nodes)
    nodes[1].stop()
    nodes[1].start()
    assert_paused(nodes)
    for node in nodes:
        node.stop()
    for node in nodes:
        node.start()
    assert_paused(nodes)


def test_a_pause_survives_a_kill(rig, nodes):
    block(rig, nodes[0])
    assert_paused(nodes)
    nodes[0].kill()
    nodes[0].start()
    assert_paused(nodes)


def test_a_pause_survives_flushall(rig, nodes):
    block(rig, nodes[0])
    assert_paused(nodes)
    rig.redis.client().flushall()
    mark = rig.sim.mark()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:  # while the counters settle, and after
        for node in nodes:
            assert 400 <= send(node).code < 500
    assert not any("fabrikam" in str(m["rcpts"]) for m in rig.sim.messages(mark))
    for node in nodes:  # bring the counters back for the tests that follow
        node.ctl("open", "--reason", "test", check=False)


def test_resume_lets_mail_flow_and_is_logged(rig, nodes):
    block(rig, nodes[0])
    assert_paused(nodes)
    refused = nodes[0].ctl("resume", "--scope", "route", "--instance", "contoso", check=False)
    assert refused.returncode == 2, "a reason is mandatory"
    nodes[1].ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "support case 42")
    wait_until(lambda: all(node.metric("sendgov_paused") == 0 for node in nodes), 2, "the end of the pause")
    for node in nodes:
        assert send(node).code == 250
    assert any("support case 42" in str(row) for row in nodes[1].log_events()), "no log line with the reason"


def test_an_operators_pause(rig, nodes):
    nodes[0].ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "maintenance at noon")
    wait_until(lambda: all(node.metric("sendgov_paused", scope="route") >= 1 for node in nodes), 2, "the pause on all nodes")
    reply = send(nodes[1])
    assert reply.code == 451 and "maintenance at noon" in str(reply), reply


@pytest.mark.parametrize("reply, scope", [
    ("550 5.1.8 Access denied, bad outbound sender", "sender"), ("550 5.7.750 Client blocked from sending from unregistered domains", "sender_domain"),
])
def test_a_narrow_block_pauses_narrowly(rig, nodes, reply, scope):
    block(rig, nodes[0], "dot", reply)
    wait_until(lambda: all(node.metric("sendgov_paused", scope=scope) >= 1 for node in nodes), 1, "the pause")
    assert all(node.metric("sendgov_paused", scope="route") == 0 for node in nodes)
    assert send(nodes[1]).code == 451
    instance = "app@contoso.com" if scope == "sender" else "contoso.com"
    nodes[0].ctl("resume", "--scope", scope, "--instance", instance, "--reason", "end of a test")
    wait_until(lambda: send(nodes[1]).code == 250, 3, "mail to flow")


def test_a_block_while_many_are_under_way(rig, nodes):
    """Transactions in flight may finish; no MAIL leaves any node later than a second after the block."""
    import threading
    mark = rig.sim.mark()
    stop = threading.Event()

    def stream(node):
        while not stop.is_set():
            try:
                send(node)
            except Exception:  # pylint: disable=broad-except
                if not stop.is_set():
                    raise
    threads = [threading.Thread(target=stream, args=(node,), daemon=True) for node in nodes for _ in range(4)]
    for t in threads:
        t.start()
    rig.sim.wait_messages(20, mark)
    rig.sim.rule(step="dot", reply=BLOCK, count=1)
    wait_until(lambda: any(checker._block_time(m) for m in rig.sim.messages(mark)), 5, "the block")
    time.sleep(2.5)  # the time in which nothing may leave: this is the observation itself
    stop.set()
    for t in threads:
        t.join()
    assert checker.check_pause(rig.sim.messages(mark), ("contoso.com",)) == []


def test_redis_gone_and_paused(nodes):
    """A node that knows of a pause keeps it when Redis is away."""
    with Rig() as other:
        node = other.node("solo", routes={"contoso": {"upstream": f"localhost:{other.sim.port}", "tls_ca_file": other.ca.cert,
                                                      "domains": ["contoso.com"], "profile": "m365-connector"}}).start()
        other.sim.rule(step="dot", reply=BLOCK, count=1)
        assert send(node).code == 451
        other.redis.kill()
        assert send(node).code == 451
        node.stop()
        other.redis.start()
        node.start()
        reply = send(node)
        assert reply.code == 451 and reply.enhanced == "4.7.0", reply


# a mailbox that may not log in
def test_a_mailbox_resumed_is_not_paused_by_an_old_refusal(rig, nodes):
    rig.sim.drop_all()
    rule = rig.sim.rule(step="auth", reply="535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", count=1)
    wait_until(lambda: send(nodes[0]).code == 451, 5, "the refused log-in")
    assert rig.sim.hits(rule) == 1
    told = str(send(nodes[0]))
    assert "535 5.7.139" in told and 800 < int(re.search(r"retry after (\d+) s", told).group(1)) <= 901, told
    nodes[0].ctl("resume", "--scope", "mailbox", "--instance", "relay@contoso.com", "--reason", "password corrected")
    wait_until(lambda: send(nodes[0]).code == 250, 5, "mail after the resume")
    assert nodes[0].metric("sendgov_paused") == 0
