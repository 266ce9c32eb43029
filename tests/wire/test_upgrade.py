"""SIGUSR2: a new process takes the place of the running one, and no client, message or budget notices."""
import collections
import concurrent.futures
import os
import signal
import socket
import threading
import time

import pytest

import strace
from checker import Cap, check_cap
from node import give, program, write
from ports import free_port
from process import Adopted, adopt_orphans, wait_until
from redis_proxy import RedisProxy
from smtp_client import Client, message
from spooled import BLOCK, Sent, assert_held, assert_relayed, clients, offer, route, send, spool, state, wait_empty

DRAIN_S = 30


def drained(node, old):
    """The old process has ended as it should."""
    status = old.wait(DRAIN_S + 5)
    node.ends.append({"name": node.name, "status": status, "asked": [0], "log": ""})
    assert status == 0, node.log()[-3000:]


def begin(node):
    """A session in the middle of a message."""
    c = Client(node.port("plain"))
    c.ehlo()
    for command in ("MAIL FROM:<app@contoso.com>", "RCPT TO:<u@fabrikam.com>", "DATA"):
        c.cmd(command)
    c.send(b"From: app@contoso.com\r\nSubject: slow\r\n\r\nhalf a ")
    return c


def finish(c):
    c.send(b"message\r\n.\r\n")
    return c.reply()


class Stream:
    """A connection each 10 ms, one message by each, in threads."""

    def __init__(self, node, per_s=100):
        self.node, self.every_s = node, 1 / per_s
        self.sent, self.problems = [], []
        self.ending = threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(50)
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.pool.shutdown()

    def _run(self):
        due = time.monotonic()
        while not self.ending.wait(max(0, due - time.monotonic())):
            due += self.every_s
            self.pool.submit(self._one)

    def _one(self):
        sent = Sent()
        try:
            with Client(self.node.port("plain")) as c:
                c.ehlo()
                sent.reply = offer(c, sent)
                c.quit()
            if sent.reply.code != 250:
                self.problems.append(str(sent.reply))
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append(repr(e))
        self.sent.append(sent)

    def grow(self, n):
        want = len(self.sent) + n
        wait_until(lambda: len(self.sent) >= want or self.problems, 20, f"{n} more messages")


def test_nobody_is_refused_and_nothing_is_sent_twice(site):
    node = site.node(spool=spool(), limits={"wide": {"scope": "route", "unit": "messages", "window": "100000/d"}}).start()
    with Stream(node) as stream:
        stream.grow(100)
        for _ in range(3):
            before = node.process.pid
            old = node.upgrade()
            assert node.process.pid != before == old.pid
            stream.grow(100)
            drained(node, old)
            stream.grow(50)
    assert stream.problems == []
    wait_empty(node)
    counts = collections.Counter(m["message_id"] for m in site.sim.messages() if m["accepted"])
    assert counts == collections.Counter(s.id for s in stream.sent)
    assert node.metric("sendgov_overshoot_total") == 0
    assert node.ctl("--json", "status")["store"]["up"]


def test_who_has_begun_finishes_with_the_old_process(site):
    node = site.node(drain_timeout="20s").start()
    fresh, idle, slow = Client(node.port("plain")), Client(node.port("plain")), begin(node)
    fresh.ehlo()
    idle.ehlo()
    assert idle.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    old = node.upgrade()
    assert fresh.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250  # it had said nothing but EHLO
    for c in (idle, fresh):
        assert c.reply().code == 421
    assert old.alive() and finish(slow).code == 250
    assert slow.reply().code == 421
    drained(node, old)
    assert_relayed(send(node))


def test_the_old_process_ends_in_time(site):
    node = site.node(drain_timeout="2s").start()
    slow = begin(node)
    old = node.upgrade()
    begun = time.monotonic()
    assert slow.reply().code == 421
    drained(node, old)
    assert time.monotonic() - begun < 6
    assert_relayed(send(node))


def test_the_spool_follows_when_the_old_process_has_drained(site):
    """One owner at a time; who needs the spool meanwhile waits for it instead of being refused."""
    node = site.node(spool=spool(), drain_timeout="20s", clients=clients(accept="relay")).start()
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    waiting = send(node)
    assert_held(waiting)
    slow = begin(node)
    old = node.upgrade()
    assert state(node)["state"] == "loading" and "replaced" in state(node)["why"]
    assert node.get("/ready")[0] == 200  # it takes mail
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        new = [pool.submit(send, node) for _ in range(5)]
        time.sleep(0.5)
        assert old.alive() and not any(f.done() for f in new)
        assert finish(slow).code == 250
        for f in new:
            assert_held(f.result(20))
    drained(node, old)
    assert state(node)["messages"] == 7
    node.ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    wait_empty(node)
    counts = collections.Counter(m["message_id"] for m in site.sim.messages() if m["accepted"])
    assert sum(counts.values()) == 7 and max(counts.values()) == 1 and counts[waiting.id] == 1


def test_what_the_old_process_has_under_way_is_left_to_it(site):
    """A released message is offered by the old one while the new one serves: once, and not uncertain."""
    node = site.node(spool=spool(), drain_timeout="20s").start()
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    held = send(node)
    rule = site.sim.rule(step="dot", delay_ms=2000, count=1)
    node.ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
    old = node.upgrade()
    drained(node, old)
    wait_empty(node)
    assert [m["message_id"] for m in site.sim.messages() if m["accepted"]] == [held.id]
    assert node.metric("sendgov_uncertain_total") == 0 and not node.log_events("uncertain")


def test_a_window_holds_over_both(site):
    """Both count, and each sees what the other has counted."""
    period_s, cap = 2, 50
    node = site.node(spool=spool(), drain_timeout="3s",
                     limits={"cap": {"scope": "route", "unit": "messages", "window": f"{cap}/{period_s}s"}}).start()
    with Stream(node, per_s=60) as stream:
        stream.grow(80)
        for _ in range(3):
            drained(node, node.upgrade())
            stream.grow(40)
    assert stream.problems == []
    wait_empty(node, 30)
    messages = site.sim.messages()
    assert len(messages) >= 200
    assert check_cap(messages, Cap("cap", period_s * 1_000_000_000, "messages", [(0, cap)])) == []


def test_connections_of_both_count_together(site):
    rule = site.sim.rule(step="dot", delay_ms=1500, count=1)
    node = site.node(mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                      "connections": 1}}, drain_timeout="20s").start()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, node)
        wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
        old = node.upgrade()
        second = pool.submit(send, node)
        assert_relayed(first.result(15))
        assert_relayed(second.result(15))
    drained(node, old)
    a, b = sorted(site.sim.messages(), key=lambda m: m["mail_ns"])
    assert b["mail_ns"][1] > a["said_ns"]


def test_a_block_the_old_process_meets_stops_the_new_one(site):
    """Also when Redis cannot tell of it, and the old one is gone before it can."""
    rule = site.sim.rule(step="dot", delay_ms=2500, reply=BLOCK, count=1)
    node = site.node(drain_timeout="20s", clients=clients(accept="defer"), routes=route(site, profile="m365-connector")).start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(send, node)
        wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
        old = node.upgrade()
        assert not node.ctl("--json", "status")["pauses"]
        site.redis.stop()
        assert blocked.result(15).reply.code in (451, 550)
        drained(node, old)
    assert [p["scope"] for p in node.ctl("--json", "status")["pauses"]] == ["route"]
    site.redis.start()
    wait_until(lambda: node.get("/ready")[0] == 200, 10, "/ready")
    answer = send(node).reply
    assert answer.code == 451 and "paused" in answer.text, answer


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_connections_that_come_do_not_wake_the_old_process(site):
    """It listens no more, although the sockets live on: one that waits for the new process would keep it turning."""
    node = site.node(drain_timeout="20s").start()
    slow = begin(node)
    old = node.upgrade()
    wait_until(lambda: node.log_events("upgrade")[-1]["msg"].endswith("drains"), 5, "the old process to listen no more")
    node.signal(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", node.port("plain"))):
        before = cpu_ticks(old.pid)
        time.sleep(0.5)  # nothing is to happen
        assert cpu_ticks(old.pid) - before < 10
    node.signal(signal.SIGCONT)
    assert finish(slow).code == 250
    drained(node, old)


def test_connections_of_the_control_page_end_with_their_process(site):
    """The third process has nothing of what the second one has accepted."""
    node = site.node(drain_timeout="2s").start()
    drained(node, node.upgrade())
    with socket.create_connection(("127.0.0.1", node.http)) as page:
        page.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert page.recv(4096).startswith(b"HTTP/1.1 200")
        drained(node, node.upgrade())

        def reset():
            try:
                page.sendall(b"\r\n")
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True
        wait_until(reset, 3, "nobody to have the connection")


def test_a_control_socket_that_moves_leaves_no_file(site):
    node = site.node(spool=spool(), drain_timeout="20s")
    before, after = (os.path.join(node.config["state"], name) for name in ("before", "after"))
    node.config["admin"]["socket"] = before
    node.write_config()
    node.start()
    node.config["admin"]["socket"] = after
    node.write_config()
    slow = begin(node)
    old = node.upgrade()
    wait_until(lambda: not os.path.exists(before), 5, "the file to go, although its process lives")
    assert finish(slow).code == 250
    drained(node, old)
    goes_on(node)
    drained(node, node.upgrade())
    goes_on(node)


# ---- what goes wrong ----

def refused(node, *words):
    adopted = len(node.log_events("upgrade-refused"))
    node.signal(signal.SIGUSR2)
    wait_until(lambda: len(node.log_events("upgrade-refused")) > adopted, 25, "the refusal in the log")
    msg = node.log_events("upgrade-refused")[-1]["msg"]
    for word in words:
        assert word in msg, msg


def goes_on(node):
    """The old process is what it was: it has its name, its state folder, its spool and its clients."""
    wait_until(lambda: node.get("/ready")[0] == 200, 10, "/ready")
    wait_until(lambda: state(node)["state"] == "ready", 5, "the spool")
    assert_relayed(send(node))
    status = node.ctl("--json", "status")
    assert status["node"] == node.name and status["store"]["up"], status


def test_a_bad_configuration_changes_nothing(site):
    node = site.node(spool=spool()).start()
    good = dict(node.config)
    with Client(node.port("plain")) as session:
        session.ehlo()
        node.config["limmits"] = {}
        node.write_config()
        refused(node, "sendgov.yaml:", "limmits")
        assert session.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    goes_on(node)
    node.config = good
    for change, word in (({"node": "another"}, "another"), ({"state": node.folder + "/other"}, "state"),
                         ({"spool": {"enabled": False}}, "spool")):
        node.config = {**good, **change}
        node.write_config()
        if "state" in change:
            os.mkdir(change["state"])
            give(change["state"], 0o700)
            write(os.path.join(change["state"], "lock"), "")
        refused(node, word, "restart")
        goes_on(node)
    node.config = good
    node.write_config()
    drained(node, node.upgrade())
    goes_on(node)


def test_a_new_process_without_redis_does_not_take_over(site):
    node = site.node(spool=spool()).start()
    good = dict(node.config)
    node.config = {**good, "redis": {**good["redis"], "url": f"redis://127.0.0.1:{free_port()}"}}
    node.write_config()
    refused(node, "Redis cannot be reached")
    goes_on(node)
    node.config = good
    node.write_config()
    drained(node, node.upgrade())
    goes_on(node)


def test_no_upgrade_while_redis_is_away(site):
    node = site.node(spool=spool()).start()
    site.redis.stop()
    wait_until(lambda: node.get("/ready")[0] == 503, 10, "/ready to be false")
    refused(node, "Redis")
    site.redis.start()
    goes_on(node)


# What a program does that is no sendgovd of this version. Its end of the link comes after the sockets.
FAKE = """#!/usr/bin/python3
import os, socket, sys, time
link = socket.socket(fileno=int(os.environ["SENDGOV_PREDECESSOR"].split(",")[0]))
link.setblocking(True)
{body}
"""
FAKES = {
    "ends at once": ("sys.exit(3)", "ended"),
    "says nonsense": ("link.send(b'hello'); time.sleep(60)", "makes no sense"),
    "ends when it may begin": ("link.send(b'ready {identity}'); assert link.recv(100).startswith(b'go '); sys.exit(3)", "ended"),
    "says so": ("link.send(b'ready {identity}'); link.recv(100); link.send(b'failed no luck'); time.sleep(60)", "no luck"),
}


@pytest.mark.parametrize("case", FAKES)
def test_a_program_that_fails_leaves_the_old_process(site, case):
    node = site.node(spool=spool())
    binary = os.path.join(node.folder, "sendgovd")
    os.symlink(program("sendgovd"), binary)
    node.start(binary=binary)
    with Client(node.port("plain")) as session:
        session.ehlo()
        os.unlink(binary)
        body, word = FAKES[case]
        identity = f"node {node.name}, state {node.config['state']}, spool {node.config['state']}/spool"
        write(binary, FAKE.format(body=body.format(identity=identity)), 0o755)
        refused(node, word)
        assert session.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    goes_on(node)
    os.unlink(binary)
    refused(node, "could not be started: No such file or directory")
    goes_on(node)
    os.symlink(program("sendgovd"), binary)
    drained(node, node.upgrade())
    goes_on(node)


@pytest.mark.parametrize("number", ["SIGHUP", "SIGUSR2"])
def test_a_signal_to_a_process_that_only_starts_waits(site, number):
    """It comes with the lock of the state folder, long before the loop turns."""
    adopt_orphans()
    node = site.node()
    log = os.path.join(node.folder, "strace.log")
    node.start(ready=False, under=strace.under(log, [f"flock:signal={number}:when=1"], trace="flock"))
    if number == "SIGHUP":
        wait_until(lambda: node.log_events("reload") or not node.process.alive(), 10, "the reload")
    else:
        old = node.process
        said = wait_until(lambda: [e["msg"] for e in node.log_events("upgrade") if "serves now" in e["msg"]], 10, "the upgrade")
        node.process = Adopted(old, int(said[0].split()[1]))
        drained(node, old)
    strace.detach(node.process.pid)
    node.wait_ready()
    assert_relayed(send(node))


def test_a_second_upgrade_waits_for_the_first(site):
    """Of three, the last might have the spool before the one between, whose clients wait for it."""
    node = site.node(spool=spool(), drain_timeout="20s").start()
    node.ctl("pause", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    slow = begin(node)
    old = node.upgrade()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waits = pool.submit(send, node)
        refused(node, "still has the spool")
        old.signal(signal.SIGUSR2)  # it is about to end, and hands over nothing more
        wait_until(lambda: "about to end" in node.log_events("upgrade-refused")[-1]["msg"], 5, "the refusal")
        assert not waits.done() and finish(slow).code == 250
        drained(node, old)
        assert_held(waits.result(20))
    node.ctl("resume", "--scope", "route", "--instance", "contoso", "--reason", "a test")
    drained(node, node.upgrade())
    goes_on(node)


def test_two_processes_drain_where_there_is_no_spool(site):
    node = site.node(drain_timeout="20s").start()
    slow = begin(node)
    older = node.upgrade()
    second_slow = begin(node)
    second = node.upgrade()
    assert finish(slow).code == finish(second_slow).code == 250
    drained(node, older)
    drained(node, second)
    assert_relayed(send(node))


def test_sigterm_gives_the_messages_of_the_old_process_their_time(site):
    node = site.node(spool=spool(), drain_timeout="20s").start()
    slow, idle = begin(node), Client(node.port("plain"))
    idle.ehlo()
    old = node.upgrade()
    old.signal(signal.SIGTERM)
    assert idle.reply().code == 421
    assert old.alive() and finish(slow).code == 250
    drained(node, old)
    goes_on(node)


def test_the_death_of_the_new_process_is_said(site):
    """Who drains cannot serve again, but it is the only one who can tell."""
    node = site.node(spool=spool(), drain_timeout="20s").start()
    slow = begin(node)
    old = node.upgrade()
    node.signal(signal.SIGKILL)
    wait_until(lambda: "ended by signal 9" in node.log_events("upgrade")[-1]["msg"], 5, "a word about it")
    node.process = old
    assert finish(slow).code == 250
    drained(node, old)
    node.start()
    goes_on(node)


def test_a_pause_met_while_the_new_process_begins_is_not_lost(site):
    """The new one hears of it from the first moment it can, and the old one writes it down when the new one fails."""
    rule = site.sim.rule(step="dot", delay_ms=2000, reply=BLOCK, count=1)
    node = site.node(spool=spool(), drain_timeout="20s", routes=route(site, profile="m365-connector"))
    binary = os.path.join(node.folder, "sendgovd")
    os.symlink(program("sendgovd"), binary)
    node.start(binary=binary)
    os.unlink(binary)
    identity = f"node {node.name}, state {node.config['state']}, spool {node.config['state']}/spool"
    body = f"link.send(b'ready {identity}'); link.recv(100); link.send(b'failed it heard ' + link.recv(4096)); time.sleep(60)"
    write(binary, FAKE.format(body=body), 0o755)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(send, node)
        wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
        refused(node, "it heard pause new", "5.7.708")
        blocked.result(15)
    with open(os.path.join(node.config["state"], "store.pauses"), encoding="utf-8") as f:
        assert "5.7.708" in f.read()


def test_slots_of_a_killed_old_process_are_free(site):
    """It can give nothing back any more, and its slots are not those of an earlier run of the node."""
    rule = site.sim.rule(step="dot", delay_ms=20000, count=1)
    node = site.node(mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                      "connections": 1}}, drain_timeout="20s").start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        cut = pool.submit(send, node)
        wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
        old = node.upgrade()
        old.signal(signal.SIGKILL)
        assert old.wait() == -signal.SIGKILL
        assert cut.exception(15) is not None
    assert_relayed(send(node))


def test_slots_of_both_are_free_when_both_were_killed(site):
    """Nobody lives who was told by what the old one went."""
    rule = site.sim.rule(step="dot", delay_ms=20000, count=1)
    node = site.node(mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                      "connections": 1}}, drain_timeout="20s").start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        cut = pool.submit(send, node)
        wait_until(lambda: site.sim.hits(rule) == 1, 5, "the message to be upstream")
        old = node.upgrade()
        for process in (old, node.process):
            process.signal(signal.SIGKILL)
        assert old.wait() == node.process.wait() == -signal.SIGKILL
        assert cut.exception(15) is not None
    node.start()
    assert_relayed(send(node))
    wait_until(lambda: not os.path.exists(os.path.join(node.config["state"], "store.guests")), 5, "nobody to be remembered")


def test_slots_are_the_nodes_again_when_an_upgrade_fails_without_redis(site):
    """Redis is gone at the moment the guest's slots are to be given up: it hears of it later."""
    proxy = site.adopt(RedisProxy(site.redis.port))
    node = site.node(spool=spool(), mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                                     "connections": 1}})
    node.config["redis"]["url"] = proxy.url
    node.write_config()
    binary = os.path.join(node.folder, "sendgovd")
    os.symlink(program("sendgovd"), binary)
    node.start(binary=binary)
    assert_relayed(send(node))
    os.unlink(binary)
    identity = f"node {node.name}, state {node.config['state']}, spool {node.config['state']}/spool"
    begun = os.path.join(node.folder, "state", "begun")
    body = f"link.send(b'ready {identity}'); link.recv(100); open('{begun}', 'w').close(); time.sleep(1); link.send(b'failed no luck')"
    write(binary, FAKE.format(body=body), 0o755)
    node.signal(signal.SIGUSR2)
    wait_until(lambda: os.path.exists(begun), 5, "the guest")
    proxy.mode = "hole"
    wait_until(lambda: node.log_events("upgrade-refused"), 5, "the end of the upgrade")
    wait_until(lambda: node.get("/ready")[0] == 503, 10, "Redis to be missed")
    proxy.mode = "pass"
    wait_until(lambda: node.get("/ready")[0] == 200, 10, "/ready")
    slots = f"sendgov:{{{node.name}}}:l:1:relay@contoso.com:connections"
    wait_until(lambda: len(site.redis.client().zrange(slots, 0, -1)) <= 1, 5, "the guest's slot to be free")


def test_other_nodes_see_each_slot_once_after_an_upgrade_failed(site):
    """Nobody came who would have given back what stood under the name before."""
    node = site.node(spool=spool())
    binary = os.path.join(node.folder, "sendgovd")
    os.symlink(program("sendgovd"), binary)
    node.start(binary=binary)
    assert_relayed(send(node))
    slots = f"sendgov:{{{node.name}}}:l:1:relay@contoso.com:connections"
    before, = site.redis.client().zrange(slots, 0, -1)
    os.unlink(binary)
    identity = f"node {node.name}, state {node.config['state']}, spool {node.config['state']}/spool"
    write(binary, FAKE.format(body=FAKES["says so"][0].format(identity=identity)), 0o755)
    refused(node, "no luck")
    wait_until(lambda: before not in site.redis.client().zrange(slots, 0, -1), 5, "the slot to be said under one name only")
    goes_on(node)


# ---- sockets of a service manager ----

def test_sockets_of_a_service_manager_are_used(site):
    node = site.node()
    sockets = []
    for name in ("plain", "apps"):
        s = socket.create_server(("127.0.0.1", node.port(name)))
        sockets.append(s)
    stray = socket.create_server(("127.0.0.1", free_port()))
    stray_port = stray.getsockname()[1]
    numbers = [s.fileno() for s in (*sockets, stray)]
    # systemd passes them as 3, 4, ...
    move = "".join(f"exec {100 + i}<&{n}; " for i, n in enumerate(numbers)) + "".join(
        f"exec {3 + i}<&{100 + i} {100 + i}<&-; " for i in range(len(numbers)))
    shell = move + f"LISTEN_FDS={len(numbers)} LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$@\""
    node.start(under=("/bin/bash", "-c", shell, "bash"), inherits=numbers)
    assert_relayed(send(node))
    for s in (*sockets, stray):
        s.close()
    assert_relayed(send(node))
    unwanted = [e["msg"] for e in node.log_events("inherited")]
    assert len(unwanted) == 1 and f" port {stray_port} " in unwanted[0], unwanted
