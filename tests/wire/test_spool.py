"""What cannot go now is held: the client has its 250, the message leaves when it may, once and unchanged."""
import itertools
import socket
import struct

import pytest

import checker
from checker import Cap, SECOND_NS
from node import program
from process import wait_until
from smtp_client import Client
from spooled import (BLOCK, INSIDE, INTERNAL, OUTSIDE, SENDER, Sent, assert_held, assert_once, assert_relayed, clients, copies, database,
                     late_sim, one_connection, order, pause, queue, reports, resume, route, send, send_many, spool, state,
                     unused_port, wait_empty, wait_waiting, why)


def external_cap(value, period_s):
    return Cap("external", period_s * SECOND_NS, "external", [(0, value)], internal_domains=INTERNAL)


def window(value, period="2s"):
    return {"short": {"scope": "route", "unit": "external", "window": f"{value}/{period}"}}


# accept: relay
def test_what_may_go_leaves_the_spool_untouched(site):
    node = site.node(spool=spool()).start()
    before = database(node)
    sent = [*send_many(node, 5), send(node, INSIDE)]
    for one in sent:
        assert_relayed(one)
    assert database(node) == before and state(node)["messages"] == 0
    assert node.metric("sendgov_messages_total", outcome="spooled") == 0
    assert_once(site.sim, *sent)


def test_over_budget_waits_its_turn_and_never_goes_over(site):
    node = site.node(spool=spool(), limits=window(4), mailboxes=one_connection(site)).start()
    sent = send_many(node, 10)
    assert [s.reply.text.split()[1] for s in sent] == ["relayed"] * 4 + ["queued"] * 6
    for one in sent[4:]:
        assert_held(one, "; held for now: limit short (route contoso) used 4 of 4 external recipients per 2 s; retry after ")
    listed = queue(node)
    assert [m["id"] for m in listed] == [s.queue_id for s in sent[4:]] and {m["waits_for"] for m in listed} == {"limit"}, listed
    assert "used 4 of 4" in why(node, sent[4].queue_id)["why"]
    inside, other = send(node, INSIDE), send(node, INSIDE, sender="other@contoso.com")
    assert_relayed(inside)
    assert_relayed(other)  # nobody's internal mail waits
    site.sim.wait_messages(8)  # two from inside, four, and the first of the second window
    late = send(node)  # there may be room, and older mail of this sender
    assert_held(late)
    wait_empty(node)
    assert order(site.sim, [*sent, late]) == list(range(11))
    assert_once(site.sim, *sent, inside, other, late)
    assert checker.check_cap(site.sim.messages(), external_cap(4, 2)) == []
    assert node.metric("sendgov_overshoot_total") == 0


def test_the_backlogs_of_two_nodes_share_one_cap(site):
    site.sim.limits(connections=None)
    nodes = [site.rig.node(name, spool=spool(), limits=window(4), mailboxes=one_connection(site, 8)).start() for name in ("east", "west")]
    sent = [send(nodes[i % 2]) for i in range(12)]
    assert sum("queued as" in one.reply.text for one in sent) == 8
    for node in nodes:
        wait_empty(node)
    assert_once(site.sim, *sent)
    assert checker.check_cap(site.sim.messages(), external_cap(4, 2)) == []
    assert [node.metric("sendgov_overshoot_total") for node in nodes] == [0, 0]


def test_a_cap_that_rises_lets_waiting_mail_ask_again(site):
    """The other node has the lower cap of an hour: what waits was told so, and need not wait for it when that node goes."""
    site.sim.limits(connections=None)
    low, high = [site.rig.node(name, spool=spool(), limits=window(cap, "1h"), mailboxes=one_connection(site, 8),
                               redis={"group": "rises"}).start() for name, cap in (("low", 2), ("high", 6))]
    wait_until(lambda: high.ctl("--json", "status")["store"].get("limits_differ"), 5, "the nodes to know of each other")
    sent = send_many(high, 5)
    assert ["queued as" in one.reply.text for one in sent] == [False] * 2 + [True] * 3
    assert why(high, sent[-1].queue_id)["in_seconds"] > 1000
    assert low.stop() == 0
    wait_empty(high, timeout_s=12)
    assert_once(site.sim, *sent)


def test_live_mail_does_not_overtake_older_mail_of_its_sender(site):
    """More of the sender waits than may be on its way at once, and there is nothing to wait for any more."""
    node = site.node(spool=spool(), mailboxes=one_connection(site)).start()
    pause(node)
    sent = send_many(node, 70)
    site.sim.rule(step="mail", delay_ms=700, count=1)
    resume(node)
    wait_until(lambda: site.sim.status()["mails"] == 1, 5, "the first to leave")
    behind = send(node)
    assert_held(behind, "; held for now: older mail of this sender waits")
    wait_empty(node)
    assert order(site.sim, [*sent, behind]) == list(range(71))
    assert_once(site.sim, *sent, behind)


def test_an_operators_pause_holds_external_mail_alone(site):
    node = site.node(spool=spool()).start()
    for reason in ("moving house", "moved in"):  # each pause and its end is seen
        pause(node, reason=reason)
        held = send_many(node, 3)
        for one in held:
            assert_held(one, "; held for now: external mail of route contoso paused since ", f"(operator: {reason}); until an operator")
        inside = send(node, INSIDE)
        assert_relayed(inside)
        assert node.get("/ready")[0] == 200
        assert {m["waits_for"] for m in queue(node)} == {"pause"} and not any(copies(site.sim, one) for one in held)
        resume(node)
        wait_empty(node, 5)
        assert_once(site.sim, *held, inside)


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_block_of_the_tenant_holds_what_met_it(site, step):
    node = site.node(spool=spool(), routes=route(site, profile="m365-connector")).start()
    site.sim.rule(step=step, reply=BLOCK, count=1)
    met = send(node)
    assert_held(met, "; held for now: external mail of route contoso is paused until an operator resumes it", "5.7.708")
    wait_until(lambda: node.metric("sendgov_paused") == 1, 2, "the pause")
    later, inside = send(node), send(node, INSIDE)
    assert_held(later, "5.7.708")
    assert_relayed(inside)
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["pause"] * 2, 5, "both to stand at the pause")
    resume(node)
    wait_empty(node, 5)
    assert_once(site.sim, met, later, inside)
    assert reports_none(site)


def reports_none(site):
    return not [m for m in site.sim.messages() if m["sender"] == ""]


def test_redis_away_holds_and_brings_all_when_it_is_back(site):
    node = site.node(spool=spool()).start()
    site.redis.kill()
    held = [send(node), *send_many(node, 3)]
    for one in held:
        assert_held(one, "; held for now: ")
    assert_held(send(node, INSIDE, text=b"inside\r\n"), "; held for now: no budget decision")
    assert site.sim.messages() == []
    assert node.get("/ready")[0] == 503
    site.redis.start()
    wait_empty(node)
    assert_once(site.sim, *held)
    assert len(site.sim.accepted()) == 5


def test_redis_away_at_start(site):
    """A listener is there at once, mail is taken, and leaves within two seconds of a Redis that answers and is settled."""
    site.redis.kill()
    node = site.node(spool=spool(), clients={**clients(), "keeps": {"networks": ["127.0.0.2/32"], "senders": ["@contoso.com"],
                                                                    "accept": "spool"}}).start(ready=False)
    node.wait_live()
    wait_until(lambda: state(node)["state"] == "ready", 5, "the spool")
    held, kept = send(node), send(node, source="127.0.0.2")
    assert_held(held, "; held for now: ")
    assert_held(kept)
    assert node.get("/ready")[0] == 503
    site.redis.start()
    wait_until(node.is_open, 10, "the counters to be open")
    wait_empty(node, 2)
    assert_once(site.sim, held, kept)


def test_an_upstream_that_is_down(site):
    port = unused_port()
    node = site.node(spool=spool(), routes=route(site, port)).start()
    held = send_many(node, 3)
    assert_held(held[0], "; held for now: no connection to the upstream")
    for one in held[1:]:
        assert_held(one, "; held for now: ")  # the same, or that the first waits
    assert {m["waits_for"] for m in queue(node)} == {"upstream"}
    sim = late_sim(site, port)
    wait_empty(node)
    assert_once(sim, *held)


def held_at(site, node, step, reply, drop=None):
    rule = site.sim.rule(step=step, reply=reply, count=1, **({"drop": drop, "when": "after"} if drop else {}))
    sent = send(node, sender=f"{step}@contoso.com")
    assert_held(sent, "; held for now: ", reply[:3])
    assert site.sim.hits(rule) == 1, step
    wait_empty(node)
    return sent


def test_for_now_at_every_step_is_held_and_tried_again(site):
    site.sim.limits(connections=None)
    node = site.node(spool=spool(), mailboxes=one_connection(site, 50)).start()
    sent = []
    for step in ("mail", "rcpt", "data", "dot"):
        sent += [held_at(site, node, step, "451 4.3.0 later"), held_at(site, node, step, "421 4.3.2 closing", drop="fin")]
    for step in ("connect", "auth"):
        site.sim.drop_all()
        sent.append(held_at(site, node, step, "451 4.3.0 later"))
    assert_once(site.sim, *sent)
    assert node.metric("sendgov_paused") == 0


@pytest.mark.parametrize("reply", ["432 4.3.2 Concurrent connections limit exceeded", "451 4.7.500 Server busy", "450 4.7.3 later"])
def test_a_throttle_is_held_and_pauses_nothing(site, reply):
    """With one connection there is none to give up: it goes on with that one."""
    node = site.node(spool=spool(), routes=route(site, profile="m365-connector"), mailboxes=one_connection(site)).start()
    sent = [held_at(site, node, step, reply) for step in ("mail", "rcpt", "data", "dot")]
    assert_once(site.sim, *sent)
    assert node.metric("sendgov_paused") == 0


# accept: spool
def test_stored_first_before_any_upstream_is_there(site):
    port = unused_port()
    node = site.node(spool=spool(), routes=route(site, port), clients=clients(accept="spool")).start()
    sent = [send(node), send(node, text=(b"x" * 70 + b"\r\n") * 5000), send(node, [INSIDE, OUTSIDE]), send(node, text=b".\r\n..\r\n"),
            send(node, text="Grüße\r\n".encode(), mail=" BODY=8BITMIME")]
    for one in sent:
        assert_held(one)
        assert "held for now" not in one.reply.text, one.reply
    assert node.stop() == 0
    node.start()
    sent.append(send(node))
    node.kill()
    node.start()
    wait_waiting(node, 7)
    sim = late_sim(site, port)
    wait_empty(node)
    assert_once(sim, *sent)
    assert [("BODY=8BITMIME" in m["parameters"]) == (m["message_id"] == sent[4].id) for m in sim.accepted()] == [True] * 7
    assert node.metric("sendgov_uncertain_total") == 0


def test_stored_first_is_delivered_at_once(site):
    node = site.node(spool=spool(), clients=clients(accept="spool")).start()
    sent = send_many(node, 20)
    site.sim.wait_messages(20, timeout_s=5)
    wait_empty(node, 2)
    assert_once(site.sim, *sent)
    assert node.metric("sendgov_messages_total", outcome="spooled") == node.metric("sendgov_released_total", outcome="delivered") == 20


# accept: defer
def test_a_client_that_queues_is_refused_as_before(site):
    node = site.node(spool=spool(), limits=window(1, "d"), clients=clients(accept="defer")).start()
    before = database(node)
    assert_relayed(send(node))
    over = send(node)
    assert over.reply.code == 451 and over.reply.enhanced == "4.4.5" and "used 1 of 1" in over.reply.text, over.reply
    pause(node)
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.cmd(f"MAIL FROM:<{SENDER}>").code == 250
        assert [c.cmd(f"RCPT TO:<{to}>").code for to in (OUTSIDE, "v@fabrikam.com", INSIDE)] == [451, 451, 250]
        assert c.cmd("RSET").code == 250
    assert state(node)["messages"] == 0 and database(node) == before
    assert len(site.sim.accepted()) == 1


# recipients inside and outside
def test_recipients_of_both_kinds_are_two_transactions(site):
    node = site.node(spool=spool(), limits={"day": {"scope": "route", "unit": "external", "window": "10/d"},
                                            "all": {"scope": "route", "unit": "messages", "window": "10/d"}}).start()
    sent = send(node, [OUTSIDE, INSIDE, "v@fabrikam.com"])
    assert_relayed(sent)
    assert sorted(sorted(r["to"] for r in m["rcpts"]) for m in site.sim.accepted()) == [[INSIDE], [OUTSIDE, "v@fabrikam.com"]]
    assert_once(site.sim, sent)
    wait_until(lambda: [node.metric("sendgov_limit_used", limit=name) for name in ("day", "all")] == [2, 2], 5, "the charges")
    pause(node)
    half = send(node, [INSIDE, OUTSIDE])
    assert_held(half, "; held for now: external mail of route contoso paused since ")
    assert [r["to"] for m in copies(site.sim, half) for r in m["rcpts"]] == [INSIDE]
    listed, = queue(node)
    assert listed["recipients"] == 1 and listed["first_recipient"] == OUTSIDE, listed
    resume(node)
    wait_empty(node, 5)
    assert_once(site.sim, half)


def test_as_many_recipients_go_as_there_is_room_for(site):
    node = site.node(spool=spool(), limits=window(3)).start()
    sent = send(node, [f"r{i}@fabrikam.com" for i in range(5)])
    assert_held(sent, "used 3 of 3")
    first, = copies(site.sim, sent)
    assert len(first["rcpts"]) == 3
    assert queue(node)[0]["recipients"] == 2
    wait_empty(node)
    assert [len(m["rcpts"]) for m in copies(site.sim, sent)] == [3, 2]
    assert_once(site.sim, sent)
    assert checker.check_cap(site.sim.messages(), external_cap(3, 2)) == []


# each recipient its own fate
REPLIES = {"taken": None, "later": "450 4.2.0 mailbox busy", "never": "550 5.1.1 no such mailbox"}


def test_each_recipient_has_its_own_fate(site):
    node = site.node(spool=spool()).start()
    for name in ("later", "never"):
        for i in range(6):
            site.sim.rule(step="rcpt", recipient=f"{name}{i}@*", reply=REPLIES[name], count=1)
    sent = []
    for i, names in enumerate(itertools.permutations(REPLIES)):
        one = send(node, [f"{name}{i}@fabrikam.com" for name in names])
        assert_held(one)
        sent.append(one)
    wait_empty(node)
    for i, one in enumerate(sent):
        got = [sorted(r["to"] for r in m["rcpts"] if r["reply"].startswith("250")) for m in copies(site.sim, one)]
        assert got == [[f"taken{i}@fabrikam.com"], [f"later{i}@fabrikam.com"]], got
        assert [len(m["rcpts"]) for m in copies(site.sim, one)] == [3, 1]  # done is done
    told = reports(site.sim, 6)
    assert sorted(str(r.get_payload()[1]).count("Final-Recipient") for r in told) == [1] * 6
    for i in range(6):
        assert sum(f"never{i}@fabrikam.com" in str(r.get_payload()[1]) for r in told) == 1


def test_a_message_that_nobody_takes_is_refused_to_the_client(site):
    node = site.node(spool=spool()).start()
    site.sim.rule(step="rcpt", reply="550 5.1.1 no such mailbox")
    before = database(node)
    sent = send(node, [OUTSIDE, "v@fabrikam.com"])
    assert sent.reply.code == 550 and sent.reply.enhanced == "5.1.1", sent.reply
    site.sim.clear_rules()
    site.sim.rule(step="dot", reply="554 5.6.0 not this", count=1)
    assert send(node).reply.code == 554
    assert_relayed(send(node))
    assert database(node) == before and reports_none(site)
    assert node.metric("sendgov_messages_total", outcome="rejected") == 2


# the client leaves
def test_a_client_that_leaves_in_the_middle_leaves_nothing(site):
    node = site.node(spool=spool(), clients=clients(accept="spool")).start()
    with Client(node.port("plain")) as c:
        c.ehlo()
        for command in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{OUTSIDE}>", "DATA"):
            c.cmd(command)
        c.send(Sent().body)
    wait_until(lambda: node.metric("sendgov_connections", listener="plain") == 0, 5, "the end of the session")
    after = send(node)
    site.sim.wait_messages(1)
    wait_empty(node)
    assert_once(site.sim, after)
    assert len(site.sim.messages()) == 1


def send_and_leave(node, sent, when):
    """Resets its connection after the dot, when that is true."""
    c = Client(node.port("plain"))
    c.ehlo()
    for command in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{OUTSIDE}>", "DATA"):
        c.cmd(command)
    c.send(sent.body + b".\r\n")
    wait_until(when, 5, "the time to leave")
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def test_a_client_that_leaves_while_its_message_is_offered_is_not_served_twice(site):
    """It hears no 250 and will send again; what the upstream says then comes too late to be kept."""
    node = site.node(spool=spool()).start()
    for i, (reply, outcome) in enumerate(((None, "relayed"), ("451 4.3.0 not now", "deferred"))):
        site.sim.rule(step="dot", delay_ms=500, count=1, **({"reply": reply} if reply else {}))
        sent = Sent()
        send_and_leave(node, sent, lambda: site.sim.status()["mails"] == i + 1)  # pylint: disable=cell-var-from-loop
        row = wait_until(lambda: node.log_events("message")[i:], 5, "the log line")[0]  # pylint: disable=cell-var-from-loop
        assert row["client_left"] and row["outcome"] == outcome, row
        assert len(copies(site.sim, sent)) == (outcome == "relayed") and state(node)["messages"] == 0


def test_a_client_that_leaves_before_its_message_is_offered_leaves_nothing(site):
    node = site.node(spool=spool()).start()
    rule = site.sim.rule(step="connect", delay_ms=500, count=1)
    send_and_leave(node, Sent(), lambda: site.sim.hits(rule) == 1)
    row, = wait_until(lambda: node.log_events("message"), 5, "the log line")
    assert row["client_left"] and row["end"] == "Cb", row
    after = send(node)
    assert_relayed(after)
    assert [m["message_id"] for m in site.sim.messages()] == [after.id] and state(node)["messages"] == 0


# sizes
def high_water_kib(node):
    with open(f"/proc/{node.process.child.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


@pytest.mark.parametrize("accept", ["relay", "spool"])
def test_a_large_message_is_never_whole_in_memory(site, accept):
    """In and out again, 30 MB. The first fills SQLite's cache of 16 MiB, the second finds it full. A sanitizer keeps what was
    freed, so there only the bytes are looked at."""
    text = b"".join(b"%07d %s\r\n" % (i, b"x" * 60) for i in range(30_000_000 // 70))
    node = site.node(spool=spool(), clients=clients(accept=accept)).start()
    peaks = [high_water_kib(node)]
    for _ in range(2):
        pause(node)
        large = send(node, OUTSIDE, text=text, timeout_s=60)
        assert_held(large)
        resume(node)
        wait_empty(node, timeout_s=30)
        assert_once(site.sim, large)
        peaks.append(high_water_kib(node))
    with open(program("sendgovd"), "rb") as f:
        is_sanitized = b"__asan_init" in f.read()
    assert is_sanitized or (peaks[1] - peaks[0] < 20480 and peaks[2] - peaks[1] < 1024), peaks
