"""The caps: exact, shared by all nodes, told in words, and charged only for what was offered."""
import concurrent.futures
import re
import time

import pytest

import checker
from checker import Cap, SECOND_NS
from foreign import stamp
from ports import free_port
from process import wait_until
from rig import Rig
from smtp_client import Client, message

DAY = 86400 * SECOND_NS


def send(node, to="u@fabrikam.com", listener="plain", size=0, client=None):
    recipients = [to] if isinstance(to, str) else to
    with Client(node.port(listener)) as c:
        c.ehlo()
        return c.mail("app@contoso.com", recipients, message(message_id=f"<{stamp()}@gov>", to=recipients[0],
                                                             text=b"x" * 70 * (size // 70) + b"\r\n"))


@pytest.fixture
def site(request):
    """A Redis and a stand-in of its own for each test: the counters begin at nothing."""
    with Rig(upstream_tls=False) as rig:
        yield rig


def external_cap(value, period_s, **more):
    return Cap("external", period_s * SECOND_NS, "external", [(0, value)], internal_domains=("contoso.com",), **more)


def two_nodes(rig, **sections):
    return [rig.node(name, **sections).start() for name in ("a", "b")]


def route(rig, **more):
    return {"contoso": {"upstream": f"localhost:{rig.sim.port}", "tls": "off", "domains": ["contoso.com"], **more}}


def test_the_warm_up_cap_holds_over_two_nodes(site):
    nodes = two_nodes(site, routes=route(site, warmup="tiny"),
                      schedules={"tiny": {"curve": "geometric", "first": 7, "growth": 1.4}})
    replies = [send(nodes[i % 2]) for i in range(12)]
    codes = [r.code for r in replies]
    assert codes == [250] * 7 + [451] * 5, codes
    over = replies[-1]
    assert over.enhanced == "4.4.5" and re.search(r"used 7 of 7 external recipients per 24 h; retry after \d+ s", over.text), over
    assert int(re.search(r"retry after (\d+) s", over.text).group(1)) > 80000
    assert send(nodes[0], "colleague@contoso.com").code == 250  # internal mail is not charged
    assert checker.check_cap(site.sim.messages(), external_cap(7, 86400)) == []
    shown = nodes[1].ctl("--json", "warmup", "show")
    assert "7" in str(shown)
    assert nodes[0].metric("sendgov_warmup_cap") == 7 and nodes[0].metric("sendgov_warmup_day") == 1


def test_an_operator_moves_and_holds_a_warm_up(site):
    nodes = two_nodes(site, routes=route(site, warmup="tiny"),
                      schedules={"tiny": {"curve": "linear", "first": 2, "increment": 3}})
    assert [send(nodes[0]).code for _ in range(3)] == [250, 250, 451]
    moved = nodes[1].ctl("--json", "warmup", "set", "contoso", "2", "--reason", "customer's word")
    assert (moved["from"], moved["to"], moved["cap"]) == (1, 2, 5)
    wait_until(lambda: send(nodes[0]).code == 250, 5, "the other node may send more")  # it remembers a refusal for a second
    assert [send(nodes[0]).code for _ in range(3)] == [250, 250, 451]
    said = nodes[1].log_events("warmup-set")[-1]
    assert (said["from"], said["to"], said["reason"]) == (1, 2, "customer's word") and "uid=" in said["actor"]
    nodes[0].ctl("warmup", "hold", "contoso", "--reason", "audit")
    wait_until(lambda: "audit" in nodes[1].ctl("warmup"), 5, "the other node knows who holds it")
    assert nodes[1].metric("sendgov_warmup_held") == 1
    assert nodes[1].ctl("warmup", "resume", "contoso", "--reason", "done").strip() == "resumed"
    assert nodes[1].ctl("warmup", "hold", "contoso", check=False).returncode == 2


def test_the_warm_up_plan_needs_no_daemon_figures(site):
    node = site.node("n", routes=route(site, warmup="tiny"),
                     schedules={"tiny": {"curve": "table", "table": [5, 9, 20]}}).start()
    text = node.ctl("-c", node.file, "warmup", "plan", "--schedule", "tiny")
    assert re.search(r"\b5\b.*\n.*\b9\b.*\n.*\b20\b", text), text


def test_a_rate_with_burst_over_two_nodes(site):
    nodes = two_nodes(site, limits={"spike": {"scope": "client", "unit": "external", "rate": "60/min", "burst": 5}})
    begun = time.monotonic()
    codes = []
    while time.monotonic() - begun < 4:
        codes.append(send(nodes[len(codes) % 2]).code)
    taken = codes.count(250)
    assert codes[:5] == [250] * 5 and codes[5] == 451
    assert 8 <= taken <= 10, taken  # 5 at once, then one a second
    refusal = next(r for r in iter(lambda: send(nodes[0]), None) if r.code == 451)
    assert "limit spike (client local)" in refusal.text and "burst of 5" in refusal.text, refusal


def test_a_limit_in_shadow_tells_what_it_would_have_held(site):
    node = site.node("a", limits={"trial": {"scope": "client", "unit": "external", "window": "3/h", "mode": "shadow"}}).start()
    assert [send(node, to).code for to in ("u@fabrikam.com", ["u@fabrikam.com"] * 3, "u@fabrikam.com")] == [250] * 3
    lines = wait_until(lambda: (seen := node.log_events("message")) and len(seen) == 3 and seen, 5, "three lines")
    assert [line.get("shadow") for line in lines] == [None, "trial", "trial"]
    assert node.metric("sendgov_shadow_total", limit="trial") == 2
    shown = node.ctl("--json", "limits", "show")["limits"]
    row = next(r for r in shown if r["limit"] == "trial" and r["instance"] == "local")
    assert (row["used"], row["cap"], row["remaining"], row["mode"]) == (5, 3, 0, "shadow") and row["frees_after_ms"] > 0


def test_a_spike_holds_what_is_more_than_usual(site):
    nodes = two_nodes(site, limits={"loop": {"scope": "client", "unit": "external", "spike": {"factor": 2.5, "floor": 4}}})
    replies = [send(nodes[i % 2]) for i in range(6)]
    assert [r.code for r in replies] == [250] * 4 + [451] * 2
    assert replies[-1].enhanced == "4.4.5" and re.search(
        r"spike: limit loop \(client local\) used 4 of 4 external recipients in an hour, the least it admits; retry after \d+ s",
        replies[-1].text), replies[-1]
    assert re.search(r"loop +client +local +4 +4 +external +h, usual 0 ", nodes[0].ctl("limits"))
    assert checker.check_cap(site.sim.messages(), external_cap(4, 3600)) == []


@pytest.mark.parametrize("cap", [1, 3, 40])
def test_a_window_is_exact_under_concurrency(site, cap):
    nodes = two_nodes(site, limits={"day": {"scope": "route", "unit": "messages", "window": f"{cap}/d"}},
                      mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password, "connections": 20}})
    site.sim.limits(connections=None)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda i: send(nodes[i % 2]).code, range(cap + 30)))
    assert codes.count(250) == cap and codes.count(451) == 30, codes
    assert len(site.sim.accepted()) == cap


def test_a_node_that_just_came_up_gets_its_turn(site):
    """The only connection rests with the first node, which had not heard of the other one when it began to."""
    nodes = two_nodes(site, mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password, "connections": 1}})
    begun = time.monotonic()
    assert [send(node).code for node in nodes] == [250, 250]
    assert time.monotonic() - begun < 6


def test_a_window_opens_again_and_never_over(site):
    node = site.node("n", limits={"short": {"scope": "route", "unit": "external", "window": "5/2s"}}).start()
    begun = time.monotonic()
    while time.monotonic() - begun < 6.5:
        send(node)
    messages = site.sim.messages()
    assert checker.check_cap(messages, external_cap(5, 2)) == []
    assert len(messages) >= 15


def test_what_is_foretold_comes_true(site):
    """Outcome and words are those a client then hears, asking costs nothing, and at the told time it passes."""
    node = site.node("n", limits={"short": {"scope": "route", "unit": "external", "window": "3/3s"},
                                  "apart": {"scope": "recipient_domain", "unit": "external", "window": "9/h", "only": "x.org"}}).start()

    def explain(*words):
        return node.ctl("--json", "limits", "explain", "app@contoso.com", *words, "--client", "127.0.0.1")
    first = explain("u@fabrikam.com", "v@fabrikam.com")
    assert (first["outcome"], first["client"], first["passes_after_ms"]) == ("relayed", "local", 0), first
    assert send(node, ["u@fabrikam.com", "v@fabrikam.com"]).code == 250
    told = explain("u@fabrikam.com", "v@fabrikam.com")
    limit, = [r for r in told["transactions"][0]["limits"] if r["limit"] == "short"]
    assert (limit["used"], limit["cap"], limit["wanted"], limit["binds"]) == (2, 3, 2, True), limit
    assert re.fullmatch(r".*/sendgov\.yaml:\d+", limit["source"]), limit
    heard = send(node, ["u@fabrikam.com", "v@fabrikam.com"])
    assert told["outcome"] == "refused" and heard.code == 451

    def words(text):
        return re.sub(r"\d+ s$", "", text.strip())
    assert words(told["answer"]) == words(f"{heard.code} {heard.text}"), (told, heard)
    assert explain("u@fabrikam.com")["outcome"] == "relayed"  # one still fits
    assert 0 < told["passes_after_ms"] <= 3300
    time.sleep(told["passes_after_ms"] / 1000)
    assert send(node, ["u@fabrikam.com", "v@fabrikam.com"]).code == 250
    text = node.ctl("limits", "explain", "app@contoso.com", "u@fabrikam.com", "--client", "local")
    assert "client     local (as named), accept: relay" in text and "short" in text, text
    apart = explain("u@x.org", "v@fabrikam.com", "w@x.org")["transactions"]  # what leaves by itself is explained by itself
    assert [(t["recipients"], [r["limit"] for r in t["limits"]]) for t in apart] == [
        (["u@x.org", "w@x.org"], ["short", "apart"]), (["v@fabrikam.com"], ["short"])], apart
    assert apart[0]["limits"][1]["instance"] == "x.org" and apart[1]["outcome"] == "refused"
    several = node.ctl("limits", "explain", "app@contoso.com", "u@fabrikam.com", check=False)
    assert several.returncode == 2 and "app, local" in several.stderr, several


def test_a_told_retry_time_is_true(site):
    node = site.node("n", limits={"short": {"scope": "route", "unit": "external", "window": "2/2s"}}).start()
    assert [send(node).code for _ in range(2)] == [250, 250]
    reply = send(node)
    wait_s = int(re.search(r"retry after (\d+) s", reply.text).group(1))
    assert 1 <= wait_s <= 3
    time.sleep(wait_s)
    assert send(node).code == 250


@pytest.mark.parametrize("unit, cap, kept, over", [
    ("recipients", 4, ["a@fabrikam.com", "b@fabrikam.com", "c@fabrikam.com"], ["d@fabrikam.com", "e@fabrikam.com"]),
    ("external", 4, ["a@fabrikam.com", "b@fabrikam.com", "c@fabrikam.com"], ["d@fabrikam.com", "e@fabrikam.com"]),
])
def test_recipients_are_what_counts(site, unit, cap, kept, over):
    node = site.node("n", limits={"many": {"scope": "sender", "unit": unit, "window": f"{cap}/d"}}).start()
    reply = send(node, [f"r{i}@fabrikam.com" for i in range(cap + 1)])
    assert reply.code == 452 and reply.enhanced == "4.5.3", reply  # never passes at once
    assert send(node, kept).code == 250
    assert send(node, over).code == 451  # all or nothing: 3 + 2 > 4, and nothing is taken
    assert send(node, over[:1]).code == 250
    assert send(node, over[:1]).code == 451


def test_bytes_are_counted(site):
    node = site.node("n", limits={"volume": {"scope": "client", "unit": "bytes", "window": "20_000/d"}}).start()
    assert send(node, size=12000).code == 250
    assert send(node, size=12000).code == 451
    assert send(node, size=3000).code == 250
    assert send(node, size=30000).code == 552


def test_deny_is_final(site):
    node = site.node("n", limits={"none": {"scope": "client", "unit": "external", "window": "deny", "only": "local"}}).start()
    reply = send(node)
    assert reply.code == 550 and reply.enhanced == "5.7.1" and "none" in reply.text, reply
    assert send(node, "colleague@contoso.com").code == 250


def test_one_limit_that_denies_leaves_the_others_uncharged(site):
    node = site.node("n", limits={"wide": {"scope": "route", "unit": "messages", "window": "4/d"},
                                  "narrow": {"scope": "sender", "unit": "external", "window": "2/d"}}).start()
    assert [send(node).code for _ in range(4)] == [250, 250, 451, 451]
    assert [send(node, "c@contoso.com").code for _ in range(3)] == [250, 250, 451]  # wide: 2 + 2


def test_defer_is_answered_before_the_body(site):
    node = site.node("n", limits={"day": {"scope": "client", "unit": "external", "window": "1/d"}},
                     clients={"local": {"networks": ["127.0.0.1/32"], "senders": ["@contoso.com"], "accept": "defer"}}).start()
    assert send(node).code == 250
    with Client(node.port("plain")) as c:
        c.ehlo()
        c.cmd("MAIL FROM:<app@contoso.com>")
        reply = c.cmd("RCPT TO:<u@fabrikam.com>")
        if reply.code == 250:
            reply = c.cmd("DATA")
        assert reply.code == 451 and reply.enhanced == "4.4.5", reply


def test_editing_a_limit_keeps_its_usage(site):
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "5/d"}}).start()
    assert [send(node).code for _ in range(3)] == [250] * 3
    for window, expected in (("2/d", [451]), ("4/d", [250, 451]), ("6/d", [250, 250, 451])):
        node.config["limits"]["day"]["window"] = window
        node.write_config()
        node.ctl("reload")
        assert [send(node).code for _ in expected] == expected, window


def test_a_lowered_limit_holds_for_what_waits_already(site):
    """Messages that wait for a connection while the cap sinks go by the new cap."""
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "20/d"}},
                     mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                      "connections": 1}}).start()
    slow = site.sim.rule(step="dot", delay_ms=1500, count=1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(send, node) for _ in range(8)]
        wait_until(lambda: site.sim.hits(slow), 5, "the first message to be offered")
        time.sleep(0.3)  # the others queue for the one connection
        node.config["limits"]["day"]["window"] = "3/d"
        node.write_config()
        node.ctl("reload")
        node.ctl("reload")  # once more: the limits the session began with are gone from memory too
        codes = sorted(w.result().code for w in waiting)
    assert codes == [250] * 3 + [451] * 5, codes


def test_nodes_that_differ_agree_on_the_lowest(site):
    limits = {"day": {"scope": "route", "unit": "external", "window": "5/d"}}
    strict = site.node("strict", limits=limits).start()
    loose = site.node("loose", limits={"day": dict(limits["day"], window="9/d")}).start()
    wait_until(lambda: "5" in str(loose.ctl("--json", "limits")), 5, "the lower cap")
    time.sleep(1.2)  # a heartbeat's time: the lower cap reaches every node
    codes = [send((strict, loose)[i % 2]).code for i in range(9)]
    assert codes.count(250) == 5, codes


def test_what_was_never_offered_is_given_back(site):
    """A connection that dies before MAIL costs nothing; one refused at RCPT was offered and stays counted."""
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "3/d"}}).start()
    rule = site.sim.rule(step="connect", drop="rst")
    assert [send(node).code for _ in range(2)] == [451, 451]
    site.sim.clear_rules()
    del rule
    wait_until(lambda: send(node, "c@contoso.com").code == 250, 30, "the pool to come back", 0.2)
    site.sim.rule(step="rcpt", recipient="u@*", reply="550 5.1.1 no", count=1)
    assert send(node).code == 550
    assert [send(node).code for _ in range(3)] == [250, 250, 451]


def test_connections_are_shared_by_all_nodes(site):
    """Two nodes, three slots: the stand-in never sees a fourth connection of the mailbox."""
    nodes = two_nodes(site, mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                             "connections": 3}})
    site.sim.limits(connections=3)
    site.sim.rule(step="dot", delay_ms=50)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda i: send(nodes[i % 2]).code, range(60)))
    assert codes.count(250) == 60, codes
    assert not [m for m in site.sim.messages() if (m.get("reply") or "").startswith("432")]


def test_of_different_numbers_of_connections_the_lowest_holds(site):
    """One node may have three, the other two: the stand-in never sees a third."""
    nodes = [site.node(name, mailboxes={"relay@contoso.com": {"route": "contoso", "password_file": site.upstream_password,
                                                              "connections": connections}}).start()
             for name, connections in (("a", 3), ("b", 2))]
    site.sim.limits(connections=2)
    for node in nodes:
        wait_until(lambda node=node: node.ctl("--json", "status")["store"]["limits_differ"], 5, "the nodes to compare")
    site.sim.rule(step="dot", delay_ms=50)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda i: send(nodes[i % 2]).code, range(60)))
    assert codes.count(250) == 60, codes
    assert not [m for m in site.sim.messages() if (m.get("reply") or "").startswith("432")]


def test_limits_are_shown_with_use_and_time(site):
    node = site.node("n", limits={"day": {"scope": "route", "unit": "external", "window": "5/d"}}).start()
    send(node)
    rows = node.ctl("--json", "limits")
    assert "day" in str(rows) and re.search(r"'used': 1\b", str(rows)), rows
    wait_until(lambda: node.metric("sendgov_limit_used", limit="day") == 1, 5, "the metric")
    assert node.metric("sendgov_limit", limit="day") == 5


def test_another_tenants_keys_are_not_touched(site):
    node = site.node("n", limits={"day": {"scope": "sender", "unit": "external", "window": "5/d"}}).start()
    client = site.redis.client()
    with Client(node.port("plain")) as c:
        c.ehlo()
        for local in ("a{b}c", '"x y"', "q*?[z]", "o'brien", "a" * 64):
            c.mail(f"{local}@contoso.com", "u@fabrikam.com", message(sender="app@contoso.com"))
    keys = [k.decode() for k in client.keys("*")]
    assert keys and all(len(re.findall(r"\{[^{}]+\}", k)) >= 1 and k.count("{") == 1 for k in keys), keys
    assert len({re.search(r"\{([^{}]+)\}", k).group(1) for k in keys}) == 1
    assert all(client.ttl(k) > 0 for k in keys), [(k, client.ttl(k)) for k in keys if client.ttl(k) <= 0]


def test_a_second_listener_for_devices_shares_the_budget(site):
    node = site.node("n", listeners={"more": {"address": f"127.0.0.1:{free_port()}", "tls": "off"}},
                     limits={"day": {"scope": "route", "unit": "external", "window": "3/d"}}).start()
    assert [send(node, listener=x).code for x in ("plain", "devices", "more", "plain", "more")] == [250, 250, 250, 451, 451]
