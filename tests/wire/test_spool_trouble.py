"""Where only the upstream knows, where it is slow or says not now, and where the daemon ends in the middle; and the books."""
import collections
import concurrent.futures
import os
import threading
import time

import pytest

from node import give
from process import wait_until
from smtp_client import Closed
from spooled import (INSIDE, OUTSIDE, SENDER, assert_held, assert_once, assert_relayed, clients, copies, one_connection, order, pause,
                     queue, reports, resume, send, send_many, sites, spool, state, wait_empty, why)

ENDS = {"yes": {}, "later": {"reply": "451 4.3.0 not now"}, "lost": {"drop": "fin"}, "half": {}}
RECIPIENTS = {"yes": [OUTSIDE, INSIDE], "half": [INSIDE, OUTSIDE]}  # inside is never slow


@pytest.fixture(scope="module", autouse=True)
def slow():
    """An upstream that takes 28 s to answer the dot, and how that ends; it goes on beside the tests of this file, of which the last
    looks at what came of it. Gives the site, its node, and for each end the message with the time its client waited."""
    with sites() as rig, concurrent.futures.ThreadPoolExecutor(4) as pool:
        rig.sim.limits(connections=None)
        node = rig.node(spool=spool(), mailboxes=one_connection(rig, 20)).start()
        for name, end in ENDS.items():
            rig.sim.rule(step="dot", sender=f"{name}@*", recipient="*@fabrikam.com*", delay_ms=28_000, count=1, **end)
        rig.sim.rule(step="rcpt", sender="half@*", recipient=INSIDE, reply="450 4.2.0 not now", count=1)

        def timed(name):
            begun = time.monotonic()
            sent = send(node, RECIPIENTS.get(name, OUTSIDE), sender=f"{name}@contoso.com", timeout_s=40)
            return sent, time.monotonic() - begun
        yield rig, node, {name: pool.submit(timed, name) for name in ENDS}


def tries(sim, sent):
    """The transactions in which its body was offered, by MAIL."""
    return sorted((m for m in sim.messages() if m.get("message_id") == sent.id), key=lambda m: m["mail_ns"])


def wait_state(node, sent, name, timeout_s=10):
    def find():
        return next((m for m in queue(node, "--state", name) if m["id"] == sent.queue_id), None)
    return wait_until(find, timeout_s, f"{sent.id} to be {name}")


# uncertain
@pytest.mark.parametrize("accept", ["relay", "spool"])
def test_lost_after_the_dot_is_tried_once_more_and_then_parked(site, accept):
    node = site.node(spool=spool(), clients=clients(accept=accept), mailboxes=one_connection(site, 20),
                     limits={"day": {"scope": "route", "unit": "external", "window": "10/d"}}).start()
    site.sim.rule(step="dot", recipient=OUTSIDE, drop="fin", count=2)
    sent = send(node)
    assert_held(sent)
    if accept == "relay":
        assert "; held for now: connection to the upstream lost before it said whether it took the message" in sent.reply.text
    row = wait_state(node, sent, "uncertain")
    assert row["attempts"] == 1 and row["waits_for"] == "own-time", row
    assert_relayed(send(node, INSIDE)) if accept == "relay" else assert_held(send(node, INSIDE))
    parked = wait_state(node, sent, "parked")
    assert parked["waits_for"] == "operator" and parked["attempts"] == 2 and "it may have arrived" in why(node, sent.queue_id)["why"], parked
    first, second = tries(site.sim, sent)
    assert second["mail_ns"][1] - first["dot_ns"][0] >= 950_000_000, "tried again before uncertain_delay"
    assert first["sha256"] == second["sha256"] and not first["told"] and not second["told"]
    wait_until(lambda: node.metric("sendgov_limit_used", limit="day") == 2, 5, "a charge for each")
    assert node.metric("sendgov_uncertain_total") == 2 and node.metric("sendgov_spool_messages", state="parked") == 1
    assert [r["id"] for r in node.log_events("message") if r.get("uncertain")] == [sent.queue_id] * 2
    node.stop()
    node.start()
    time.sleep(1.2)  # longer than it waited before: this is the observation itself
    assert len(tries(site.sim, sent)) == 2 and queue(node, "--state", "parked")[0]["id"] == sent.queue_id
    node.ctl("queue", "retry", sent.queue_id)
    wait_empty(node)
    assert len(tries(site.sim, sent)) == 3 and len([m for m in copies(site.sim, sent) if m["told"]]) == 1


def test_a_second_try_that_is_answered_settles_it(site):
    node = site.node(spool=spool(uncertain_delay="300ms"), mailboxes=one_connection(site, 20)).start()
    site.sim.rule(step="dot", drop="rst", when="mid", count=1)
    sent = send(node)
    assert_held(sent)
    wait_empty(node)
    assert [m["told"] for m in tries(site.sim, sent)] == [False, True]


def test_an_uncertain_message_that_is_deleted_is_not_tried(site):
    node = site.node(spool=spool(uncertain_delay="700ms"), mailboxes=one_connection(site, 20)).start()
    site.sim.rule(step="dot", drop="fin", count=1)
    sent = send(node)
    wait_state(node, sent, "uncertain")
    node.ctl("queue", "delete", sent.queue_id, "--reason", "it arrived")
    wait_empty(node, 2)
    late = send(node, sender="other@contoso.com")
    time.sleep(0.9)  # the time of the second try
    assert len(tries(site.sim, sent)) == 1 and len(copies(site.sim, late)) == 1
    assert node.metric("sendgov_released_total", outcome="deleted") == 1


def test_killed_while_a_message_is_on_its_way(site):
    node = site.node(spool=spool(), clients=clients(accept="spool"), mailboxes=one_connection(site, 20)).start()
    site.sim.rule(step="dot", delay_ms=60_000, count=1)
    sent = send(node)
    assert_held(sent)
    wait_until(lambda: site.sim.status()["mails"] == 1, 5, "MAIL")
    killed_ns = time.monotonic_ns()
    node.kill()
    node.start()
    row, = wait_until(lambda: node.log_events("uncertain"), 5, "the line of the log")
    assert row["id"] == sent.queue_id, row
    assert queue(node)[0]["state"] == "uncertain"
    wait_empty(node)
    last = tries(site.sim, sent)[-1]
    assert last["told"] and last["mail_ns"][1] - killed_ns >= 950_000_000
    assert len(copies(site.sim, sent)) <= 2


def test_killed_between_the_parts_of_a_message(site):
    """A cap lets it go in parts. What the upstream took of it before is not offered again."""
    node = site.node(spool=spool(), limits={"short": {"scope": "route", "unit": "external", "window": "2/1s"}}).start()
    pause(node)
    sent = send(node, [f"u{i}@fabrikam.com" for i in range(6)])
    site.sim.rule(step="dot", delay_ms=1500, count=2)  # time enough for the cap to have room for the next part
    resume(node)
    site.sim.wait_messages(1)
    wait_until(lambda: site.sim.status()["mails"] == 2, 10, "the second part to be on its way")
    node.kill()
    site.sim.clear_rules()
    node.start()
    wait_empty(node, 20)
    taken = collections.Counter(r["to"] for row in copies(site.sim, sent) for r in row["rcpts"])
    first = [r["to"] for r in copies(site.sim, sent)[0]["rcpts"]]
    assert set(taken) == set(sent.recipients) and {taken[to] for to in first} == {1}, taken


def test_stopped_while_a_message_waits_for_its_reply(site):
    """Longer than the drain: the next run finds it uncertain and does not send it at once."""
    node = site.node(spool=spool(), clients=clients(accept="spool"), mailboxes=one_connection(site, 20), drain_timeout="1s").start()
    site.sim.rule(step="dot", delay_ms=60_000, count=1)
    sent = send(node)
    wait_until(lambda: site.sim.status()["mails"] == 1, 5, "MAIL")
    begun = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - begun < 1 + 5 + 1
    node.start()
    assert queue(node)[0]["state"] == "uncertain" and queue(node)[0]["id"] == sent.queue_id
    wait_empty(node)
    assert 1 <= len(copies(site.sim, sent)) <= 2


# for now
def test_waits_grow(site):
    node = site.node(spool=spool(retry_first="100ms", retry_max="800ms")).start()
    rule = site.sim.rule(step="dot", reply="450 4.2.0 not now", count=5)
    sent = send(node)
    assert_held(sent, "450")
    wait_empty(node)
    assert site.sim.hits(rule) == 5
    at = tries(site.sim, sent)
    waits_ms = [(b["mail_ns"][1] - a["said_ns"]) / 1e6 for a, b in zip(at, at[1:])]
    for bound_ms, wait_ms in zip((100, 200, 400, 800, 800), waits_ms):
        assert bound_ms * 0.79 <= wait_ms <= bound_ms * 1.2 + 500, waits_ms


# time that we hold costs nothing
def test_nothing_expires_while_we_hold_it(site):
    node = site.node(spool=spool(retry_first="200ms", warn_after="800ms", lifetime="900ms"),
                     limits={"tight": {"scope": "sender", "unit": "external", "window": "1/2s"}}).start()
    site.sim.rule(step="rcpt", sender="refused@*", reply="450 4.2.0 not now", count=1)
    site.sim.rule(step="rcpt", sender="full@*", reply="450 4.2.0 not now", skip=1, count=1)
    refused = send(node, sender="refused@contoso.com")  # its charge is spent, so it stands at the limit, and then at the pause
    assert_held(refused, "450")
    assert_relayed(send(node, sender="full@contoso.com"))
    full = send(node, sender="full@contoso.com")
    pause(node)
    paused = send(node)
    wait_until(lambda: {m["waits_for"] for m in queue(node)} == {"pause"}, 5, "all to stand at the pause")
    wait_until(lambda: min(m["age_ms"] for m in queue(node)) > 2000, 5, "twice its lifetime", 0.1)
    resume(node)
    wait_empty(node)
    assert_once(site.sim, refused, full, paused)
    assert node.metric("sendgov_dsn_total") == 0 and not [m for m in site.sim.messages() if m["sender"] == ""]


# the books
def test_the_books_balance(site):
    """What clients were told, what the upstream saw and what the metrics say are one."""
    node = site.node(spool=spool(), limits={"few": {"scope": "route", "unit": "external", "window": "4/2s"}}).start()
    site.sim.rule(step="rcpt", recipient="never@*", reply="550 5.1.1 no such mailbox")
    site.sim.rule(step="rcpt", recipient="later@*", reply="450 4.2.0 not now", count=2)
    sent = [send(node, to) for to in (OUTSIDE, "never@fabrikam.com", [OUTSIDE, "colleague@contoso.com"], "later@fabrikam.com",
                                      ["never@fabrikam.com", OUTSIDE])]
    sent += send_many(node, 4)
    wait_empty(node)
    told = [s.reply.text.split()[1] if s.reply.code == 250 else "refused" for s in sent]
    assert told == ["relayed", "refused", "relayed", "queued", *["relayed"] * (told[4] == "relayed"), *["queued"] * (told[4] == "queued"),
                    *["queued"] * 4], told
    spooled = told.count("queued")

    def messages(outcome):
        return node.metric("sendgov_messages_total", outcome=outcome)

    def recipients(**labels):
        return node.metric("sendgov_recipients_total", **labels)
    assert (messages("relayed"), messages("rejected"), messages("spooled")) == (told.count("relayed"), 1, spooled)
    assert node.metric("sendgov_messages_total") == len(sent)
    rows = site.sim.accepted()
    got = [r["to"] for m in rows for r in m["rcpts"] if r["reply"].startswith("250") and m["sender"] != ""]
    assert recipients(outcome="relayed") + recipients(outcome="delivered") == len(got) + 1  # and the report
    assert recipients(outcome="rejected") + recipients(outcome="failed") == 2
    assert recipients(outcome="spooled") + 1 == recipients(outcome="delivered") + recipients(outcome="failed")
    report, = reports(site.sim, 1)
    assert SENDER in str(report.row["rcpts"])
    released = node.metric("sendgov_released_total")
    assert released == node.metric("sendgov_released_total", outcome="delivered") + node.metric("sendgov_released_total", outcome="failed")
    assert released == spooled + 1
    assert node.metric("sendgov_held_total", reason="upstream") == 1 and node.metric("sendgov_held_total", reason="limit") >= 1
    assert node.metric("sendgov_dsn_total", action="failed") == 1
    assert node.metric("sendgov_spool_messages") == 0 and node.metric("sendgov_spool_oldest_seconds") == 0
    assert node.metric("sendgov_overshoot_total") == 0


# two daemons
def test_two_daemons_on_one_spool(site):
    node = site.node(spool=spool()).start()
    other = site.node(spool=spool(folder=os.path.join(node.config["state"], "spool")))
    other.start(ready=False)
    assert other.process.wait(10) == 1
    text = other.process.text()
    assert "spool" in text and ("lock" in text or "another" in text or "in use" in text), text
    other.process = None
    assert_relayed(send(node))
    node.stop()
    other.start()
    assert_relayed(send(other))


@pytest.mark.parametrize("case, words", [("open to others", "has mode 0777"), ("a link", "is a symbolic link"), ("of another user", "belongs to uid 1")])
def test_a_spool_that_cannot_be_trusted_is_refused(site, case, words):
    node = site.node(spool=spool())
    folder = os.path.join(os.path.dirname(node.config["state"]), "kept")
    node.config["spool"]["folder"] = folder
    node.write_config()
    os.mkdir(folder + ".real" if case == "a link" else folder, 0o700)
    if case == "open to others":
        os.chmod(folder, 0o777)
    elif case == "a link":
        os.symlink(give(folder + ".real", 0o700), folder)
    else:
        os.chown(folder, 1, 1)
    node.start(ready=False)
    assert node.process.wait(10) == 1
    text = node.process.text()
    assert words in text and folder in text, text
    node.process = None


# drain
def test_a_backlog_at_the_end_is_delivered_by_the_next_run(site):
    node = site.node(spool=spool(), clients=clients(accept="spool"), mailboxes=one_connection(site)).start()
    pause(node, "--all")
    sent = send_many(node, 60)
    site.sim.rule(step="dot", delay_ms=60)
    resume(node)
    site.sim.wait_messages(5)
    begun = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - begun < 10
    site.sim.clear_rules()
    left = 60 - len(site.sim.accepted())
    assert left > 20
    node.start()
    assert state(node)["messages"] <= left
    wait_empty(node)
    assert_once(site.sim, *sent)
    assert order(site.sim, sent) == list(range(60)) and node.log_events("uncertain") == []


def test_killed_at_any_time_loses_nothing(site):
    """Clients stream, the daemon is killed three times: what was told 250 is there, once but for what was on its way."""
    node = site.node(spool=spool(uncertain_delay="100ms", uncertain_tries=9), clients=clients(accept="spool"), mailboxes=one_connection(site, 3)).start()
    site.sim.limits(connections=None)
    site.sim.rule(step="dot", delay_ms=5)
    told, stop = [], threading.Event()

    def stream():
        while not stop.is_set():
            try:
                for sent in send_many(node, 1):
                    told.append(sent)
            except (OSError, Closed, ValueError):
                time.sleep(0.01)
    threads = [threading.Thread(target=stream, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        at = len(told)
        wait_until(lambda: len(told) >= at + 40, 10, "mail to be taken")  # pylint: disable=cell-var-from-loop
        node.kill()
        node.start()
    stop.set()
    for thread in threads:
        thread.join()
    wait_empty(node)
    good = [sent for sent in told if sent.reply.code == 250]
    assert len(good) >= 120
    unsure = collections.Counter(row["id"] for row in node.log_events("uncertain"))
    arrived = [(sent.queue_id, len(copies(site.sim, sent)), unsure[sent.queue_id]) for sent in good]
    wrong = [row for row in arrived if not 1 <= row[1] <= 1 + row[2]]  # each further copy was called uncertain first
    assert wrong == [], wrong
    doubled = [row for row in arrived if row[1] > 1]
    assert len(doubled) <= 3 * 5, doubled  # what may be out for one mailbox, each time


# the upstream is slow after the dot
def test_an_upstream_slow_after_the_dot(slow):
    """A late yes, a late no for now, a connection lost late, and one that was refused for now by somebody else before."""
    site, node, results = slow
    sent = {}
    for name, result in results.items():
        sent[name], took_s = result.result(40)
        assert_held(sent[name], "the upstream has it and has not answered yet")
        assert 24 < took_s < 27, took_s
    yes, later, lost, half = (sent[name] for name in ENDS)
    busy = node.ctl("queue", "delete", later.queue_id, "--reason", "no", check=False)
    assert busy.returncode == 1, busy
    wait_empty(node)
    assert_once(site.sim, yes, later, half)
    assert [m["accepted"] for m in tries(site.sim, later)] == [False, True]
    first, second = tries(site.sim, lost)
    assert second["told"] and second["mail_ns"][1] - first["dot_ns"][0] >= 28_900_000_000
    assert [r["id"] for r in node.log_events("message") if r.get("uncertain")] == [lost.queue_id]
    assert node.metric("sendgov_uncertain_total") == 1
    assert node.metric("sendgov_messages_total", outcome="spooled") == 4
    assert node.metric("sendgov_released_total", outcome="delivered") == 6  # of two both halves
