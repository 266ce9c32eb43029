"""In which order what waits leaves, and what does not hold it up."""
import pytest

import checker
from m365sim import Sim
from process import wait_until
from spooled import (OUTSIDE, assert_held, assert_once, assert_relayed, clients, copies, one_connection, order, pause, queue, reload,
                     resume, send, send_many, spool, state, wait_empty, wait_waiting, why)

NEWS, ALERTS = "127.0.0.2", "127.0.0.3"


def two_clients(**classes):
    return {**clients(), **{name: {"networks": [address + "/32"], "senders": ["@contoso.com"], "class": classes.get(name, "default")}
                            for name, address in (("news", NEWS), ("alerts", ALERTS))}}


# whom a bad message holds up
@pytest.mark.parametrize("step", ["body", "dot"])
def test_a_message_that_breaks_the_connection_holds_up_nobody(site, step):
    node = site.node(spool=spool(uncertain_delay="200ms", uncertain_tries=9), mailboxes=one_connection(site, 50)).start()
    site.sim.limits(connections=None)
    site.sim.rule(step=step, recipient="*poison@*", drop="rst")
    pause(node)
    poison = send(node, ["poison@fabrikam.com"])
    others = send_many(node, 10)
    resume(node)
    site.sim.wait_messages(10 + (step == "dot"))
    wait_waiting(node, 1)
    wait_until(lambda: queue(node)[0]["attempts"] >= 4, 10, "it to be tried again and again")
    assert_relayed(send(node))
    bad = [m for m in site.sim.messages() if m["rcpts"][0]["to"] == "poison@fabrikam.com"]
    waits = [b["mail_ns"][1] - a["mail_ns"][0] for a, b in zip(bad, bad[1:])]
    assert min(waits) >= 150_000_000, waits  # never at once
    assert queue(node)[0]["id"] == poison.queue_id
    assert_once(site.sim, *others)
    node.ctl("queue", "delete", poison.queue_id, "--reason", "poison")
    wait_empty(node, 5)


# fair order
def test_ten_thousand_newsletters_do_not_delay_an_alert(site):
    """Two hundred stand for them. A cap lets few go at a time: of the first ten every second is the other client's."""
    node = site.node(spool=spool(), clients=two_clients(), limits={"few": {"scope": "route", "unit": "external", "window": "12/2s"}},
                     mailboxes=one_connection(site)).start()
    pause(node)
    news = send_many(node, 200, source=NEWS)
    alerts = send_many(node, 5, sender="alert@contoso.com", source=ALERTS)
    wait_waiting(node, 205)
    resume(node)
    site.sim.wait_messages(12)
    places = order(site.sim, [*news, *alerts])[:12]
    assert sorted(p for p in places if p >= 200) == list(range(200, 205)), places
    assert places.index(204) <= 10 and [p for p in places if p < 200] == list(range(7)), places
    wait_until(lambda: {m["waits_for"] for m in queue(node)} == {"limit"}, 5, "the rest to stand at the limit")
    reload(node, limits={})  # an edited cap lets the backlog go at once
    wait_empty(node, 5)
    assert_once(site.sim, *news, *alerts)
    assert order(site.sim, news) == list(range(200))


def test_a_class_of_more_weight_goes_more_often(site):
    node = site.node(spool=spool(), clients=two_clients(news="bulk", alerts="urgent"),
                     classes={"urgent": {"weight": 40}, "bulk": {"weight": 10}}, mailboxes=one_connection(site)).start()
    pause(node)
    news = send_many(node, 50, source=NEWS)
    alerts = send_many(node, 50, source=ALERTS)
    resume(node)
    wait_empty(node)
    first = order(site.sim, [*news, *alerts])[:50]
    assert 38 <= sum(p >= 50 for p in first) <= 42, first
    assert_once(site.sim, *news, *alerts)


def test_a_limit_of_one_sender_holds_up_no_other(site):
    node = site.node(spool=spool(), limits={"mine": {"scope": "sender", "unit": "external", "window": "1/d"}}).start()
    senders = [f"s{i}@contoso.com" for i in range(5)]
    first = [send(node, sender=sender) for sender in senders]
    second = [send(node, sender=sender) for sender in senders]
    for one in first:
        assert_relayed(one)
    for one in second:
        assert_held(one, "limit mine")
    assert state(node)["waiting"]["limit"] == 5
    reload(node, limits={"mine": {"scope": "sender", "unit": "external", "window": "2/d"}})
    wait_empty(node, 5)
    assert_once(site.sim, *first, *second)


# reload
def test_mail_of_a_client_that_was_taken_out_stays(site):
    node = site.node(spool=spool(), clients=two_clients()).start()
    pause(node)
    gone, there = send(node, source=NEWS), send(node)
    everybody = node.config["clients"]
    reload(node, clients={name: client for name, client in everybody.items() if name != "news"})
    resume(node)
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["node"], 5, "the other one to leave")
    assert 'no client "news"' in why(node, gone.queue_id)["why"], why(node, gone.queue_id)
    assert_once(site.sim, there)
    reload(node, clients=everybody)
    wait_empty(node, 3)
    assert_once(site.sim, gone)


def test_mail_of_a_route_that_was_taken_out_stays(site):
    routes, mailboxes = site.config()["routes"], site.config()["mailboxes"]
    second = {"upstream": f"localhost:{site.sim.port}", "tls": "off", "domains": ["tailspin.com"]}
    box = {"relay@tailspin.com": {"route": "second", "password_file": site.upstream_password, "user": "relay@contoso.com"}}
    node = site.node(spool=spool(), routes={**routes, "second": second}, mailboxes={**mailboxes, **box},
                     clients=clients(senders=["@contoso.com", "@tailspin.com"])).start()
    node.ctl("pause", "--scope", "route", "--instance", "second", "--reason", "maintenance")
    gone = send(node, sender="a@tailspin.com")
    assert_held(gone, "maintenance")
    reload(node, routes=routes, mailboxes=mailboxes, clients=clients())
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["node"], 5, "it to have no way out")
    node.stop()
    node.start()
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["node"], 5, "the same after a restart")
    told = why(node, gone.queue_id)["why"]
    assert 'route "second"' in told and "any more" in told, told
    assert_relayed(send(node))
    reload(node, routes={**routes, "second": second}, mailboxes={**mailboxes, **box}, clients=clients(senders=["@contoso.com", "@tailspin.com"]))
    node.ctl("resume", "--scope", "route", "--instance", "second", "--reason", "done")
    wait_empty(node, 5)
    assert_once(site.sim, gone)


def test_a_mailbox_of_another_name_does_not_take_over_what_waits(site):
    """Held mail goes out by the mailbox of the proven client, or not at all."""
    node = site.node(spool=spool()).start()
    pause(node)
    sent = send(node)
    reload(node, mailboxes={"other@contoso.com": {"route": "contoso", "password_file": site.upstream_password, "user": "relay@contoso.com"}})
    resume(node)
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["node"], 5, "it to have no mailbox")
    assert "relay@contoso.com" in why(node, sent.queue_id)["why"] and site.sim.messages() == []
    reload(node, mailboxes=one_connection(site))
    wait_empty(node, 3)
    assert_once(site.sim, sent)


def test_a_mailbox_that_moved_to_another_route_takes_nothing_along(site):
    """Its password is for the upstream of its route: it is not told to that of the route it was of."""
    elsewhere = site.rig.adopt(Sim(site.rig.folder, "elsewhere"))
    routes = {**site.config()["routes"], "second": {"upstream": f"localhost:{elsewhere.port}", "tls": "off", "domains": ["tailspin.com"]}}
    node = site.node(spool=spool(), routes=routes).start()
    pause(node)
    sent = send(node)
    reload(node, mailboxes={"relay@contoso.com": {"route": "second", "password_file": site.upstream_password}})
    resume(node)
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["node"], 5, "it to have no mailbox")
    assert "any more" in why(node, sent.queue_id)["why"]
    assert [row for row in site.sim.rows() + elsewhere.rows() if row["event"] == "auth"] == []
    reload(node, mailboxes=one_connection(site))
    wait_empty(node, 3)
    assert_once(site.sim, sent)


# an operator
def test_what_an_operator_holds_stays_until_it_is_released(site):
    node = site.node(spool=spool()).start()
    pause(node)
    held, other = send(node), send(node)
    node.ctl("queue", "hold", held.queue_id, "--reason", "ask the sender first")
    resume(node)
    wait_waiting(node, 1)
    row, = queue(node, "--state", "held")
    assert row["id"] == held.queue_id and row["held_why"] == "ask the sender first" and row["waits_for"] == "operator", row
    node.stop()
    node.start()
    assert queue(node, "--state", "held")[0]["held_why"] == "ask the sender first" and copies(site.sim, held) == []
    node.ctl("queue", "release", held.queue_id)
    wait_empty(node, 5)
    assert_once(site.sim, held, other)


# gauges
def test_the_gauges_tell_what_waits(site):
    node = site.node(spool=spool()).start()
    pause(node)
    send_many(node, 3)
    held = send(node)
    node.ctl("queue", "hold", held.queue_id, "--reason", "look at it")
    wait_until(lambda: node.metric("sendgov_spool_messages", state="held") == 1, 2, "the gauge")
    assert node.metric("sendgov_spool_messages", state="waiting") == 3 and node.metric("sendgov_spool_oldest_seconds") > 0
    assert node.get("/ready")[0] == 200


# limits of some recipients only
def test_a_full_domain_holds_up_no_other(site):
    node = site.node(spool=spool(), limits={"gmail": {"scope": "recipient_domain", "unit": "external", "window": "3/2s",
                                                      "only": "gmail.com"}}).start()
    mixed = send(node, [OUTSIDE, *(f"u{i}@Gmail.com" for i in range(3))])
    late = [send(node, f"v{i}@gmail.com") for i in range(4)]
    both = send(node, ["w@gmail.com", OUTSIDE])
    others = [send(node) for _ in range(3)]
    for sent in (mixed, *others):
        assert_relayed(sent)
    assert_held(late[0], "limit gmail (recipient_domain gmail.com) used 3 of 3 external recipients per 2 s")
    for sent in (*late, both):
        assert_held(sent)
    assert len(copies(site.sim, both)) == 1  # to the other domain, at once
    wait_empty(node)
    mixed.recipients[1:] = [to.lower() for to in mixed.recipients[1:]]
    assert_once(site.sim, mixed, both, *late, *others)
    cap = checker.Cap("gmail", 2 * checker.SECOND_NS, "external", [(0, 3)], internal_domains=("fabrikam.com",))
    assert checker.check_cap(site.sim.messages(), cap) == []
    shown = node.ctl("--json", "limits", "--scope", "recipient_domain")["limits"]
    assert [(row["instance"], row["cap"]) for row in shown] == [("gmail.com", 3)], shown


def test_strangers_hold_up_nobody_who_is_known(site):
    """Of each message the known go at once, and the strangers when there is room for strangers."""
    node = site.node(spool=spool(), limits={"strangers": {"scope": "sender", "unit": "new_recipients", "window": "2/3s",
                                                          "known_for": "1d"}}).start()
    a, b, c, d = (f"{name}@fabrikam.com" for name in "abcd")
    assert_relayed(send(node, [a, b]))
    mixed = send(node, [c, a])
    assert_held(mixed, "limit strangers (sender app@contoso.com) used 2 of 2 new recipients per 3 s")
    assert [r["to"] for m in copies(site.sim, mixed) for r in m["rcpts"]] == [a]
    stranger = send(node, d)
    assert_held(stranger)
    wait_until(lambda: [m["waits_for"] for m in queue(node)] == ["limit", "limit"], 5, "the strangers to stand at their limit")
    assert_relayed(send(node, [b, a]))
    wait_empty(node)
    assert_once(site.sim, mixed, stranger)
    assert_relayed(send(node, [c, d, a]))  # known by now
    assert node.metric("sendgov_overshoot_total") == 0
