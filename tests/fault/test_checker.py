"""The checker itself: a clean run has no finding, and each planted violation is found."""
import pytest

import checker
from checker import Cap, SECOND_NS

S = SECOND_NS


def upstream(message_id="<1@x>", at_s=0.0, accepted=True, told=True, to=("a@fabrikam.com",), reply="250 2.0.0 OK", sha="h", **more):
    at = int(at_s * S)
    return {"event": "message", "mail_ns": [at, at + 1000], "rcpts": [{"to": t, "ns": [at, at], "reply": "250 2.1.5 ok"} for t in to],
            "mail_reply": "250 2.1.0 ok", "data_reply": "354 go", "reply": reply, "accepted": accepted, "told": told,
            "sha256": "whole", "sha256_below_trace": sha, "message_id": message_id, "said_ns": at + 5000, **more}


def attempt(message_id="<1@x>", outcome="2xx", reply="250 2.0.0 OK", after_dot=True, sha="h", dialog=(), extra=""):
    return {"id": message_id, "sender": "app@contoso.com", "recipients": ["a@fabrikam.com"], "sha256": sha, "begun_ns": 0,
            "ended_ns": 1, "outcome": outcome, "after_dot": after_dot, "reply": reply,
            "dialog": [list(d) for d in dialog], "extra": extra}


def cap(value=3, period_s=2, unit="messages", **more):
    return Cap("c", period_s * S, unit, more.pop("history", [(0, value)]), **more)


def test_a_clean_run_has_no_finding():
    messages = [upstream(f"<{i}@x>", at_s=i) for i in range(5)]
    attempts = [attempt(f"<{i}@x>", dialog=[("banner", "220 x ESMTP"), ("EHLO", "250-x\n250 SIZE 1"), ("MAIL", "250 2.1.0 ok")])
                for i in range(5)]
    ends = [{"name": "n1", "status": 0, "asked": [0], "log": "all is well"}]
    assert checker.check_all(attempts, messages, [cap()], ends=ends) == []


@pytest.mark.parametrize("times, over", [
    ([0, 0.5, 1.0], False),
    ([0, 0.5, 1.0, 1.9], True),
    ([0, 0.5, 1.0, 2.0], False),             # the interval is half open
    ([0, 10, 10.1, 10.2, 11.9], True),       # not only aligned windows
    ([1.5, 1.9, 2.1, 2.4], True),            # over the edge of an aligned window
])
def test_cap_is_judged_in_every_interval(times, over):
    assert bool(checker.check_cap([upstream(at_s=t) for t in times], cap(3))) is over


def test_cap_counts_by_unit():
    two = [upstream(to=("a@fabrikam.com", "b@contoso.com"), at_s=t) for t in (0, 0.1)]
    assert checker.check_cap(two, cap(3, unit="recipients"))
    assert not checker.check_cap(two, cap(2, unit="external", internal_domains=("contoso.com",)))
    assert checker.check_cap(two, cap(1, unit="external", internal_domains=("contoso.com",)))


def test_cap_counts_what_was_offered_also_when_it_was_refused():
    assert checker.check_cap([upstream(at_s=0, accepted=False)] * 4, cap(3))


def test_cap_that_changes():
    raised = cap(history=[(0, 1), (10 * S, 3)])
    assert checker.check_cap([upstream(at_s=t) for t in (5, 5.5)], raised)
    assert not checker.check_cap([upstream(at_s=t) for t in (11, 11.5, 11.7)], raised)
    lowered = cap(history=[(0, 3), (10 * S, 1)])
    assert not checker.check_cap([upstream(at_s=t) for t in (9, 9.1, 9.2)], lowered)
    assert checker.check_cap([upstream(at_s=t) for t in (10.5, 11)], lowered)


def test_cap_does_not_count_what_may_lie_outside():
    unsure = upstream(at_s=1.9)
    unsure["mail_ns"] = [int(1.9 * S), int(2.1 * S)]
    assert not checker.check_cap([upstream(at_s=t) for t in (0, 0.5, 1.0)] + [unsure], cap(3))


def test_cap_covers_only_its_own():
    mine = cap(1, covers=lambda m: m["auth"] == "relay@contoso.com")
    other = [upstream(at_s=t, auth="other@contoso.com") for t in (0, 0.1)]
    assert not checker.check_cap(other + [upstream(auth="relay@contoso.com")], mine)
    assert checker.check_cap([upstream(at_s=t, auth="relay@contoso.com") for t in (0, 0.1)], mine)


def test_loss_is_found():
    assert checker.check_no_loss([attempt()], [])
    assert checker.check_no_loss([attempt()], [upstream(accepted=False)])
    assert not checker.check_no_loss([attempt(outcome="4xx")], [])
    assert not checker.check_no_loss([attempt()], [], spooled=[("<1@x>", "a@fabrikam.com")])
    assert checker.check_no_loss([attempt()], [], spooled=[("<2@x>", "a@fabrikam.com")])
    assert not checker.check_no_loss([attempt()], [], reported=[("<1@x>", "a@fabrikam.com")])
    assert checker.check_no_loss([attempt()], [], reported=[("<1@x>", "b@fabrikam.com")])
    assert checker.check_no_loss([attempt()], [upstream(to=("b@fabrikam.com",))])


def test_lie_is_found():
    assert checker.check_no_lie([attempt(outcome="4xx")], [upstream()])
    assert checker.check_no_lie([attempt(outcome="5xx")], [upstream()])
    assert checker.check_no_lie([], [upstream("<alien@x>")])
    assert not checker.check_no_lie([attempt(outcome="4xx")], [upstream(told=False)])
    assert not checker.check_no_lie([attempt(outcome="4xx"), attempt()], [upstream()])
    assert checker.check_no_lie([attempt(outcome="4xx"), attempt()], [upstream(), upstream()])
    assert not checker.check_no_lie([attempt(outcome="lost")], [upstream()])
    assert checker.check_no_lie([attempt(outcome="lost", after_dot=False)], [upstream()])


def test_duplicate_is_found():
    assert checker.check_duplicates([attempt()], [upstream(), upstream()])
    assert not checker.check_duplicates([attempt()], [upstream(told=False), upstream()])
    assert not checker.check_duplicates([attempt(outcome="lost"), attempt()], [upstream(), upstream()])
    assert checker.check_duplicates([attempt(outcome="lost"), attempt()], [upstream()] * 3)


def test_a_copy_that_the_node_was_uncertain_of_is_explained():
    twice = [upstream(), upstream()]
    assert checker.check_duplicates([attempt()], twice)
    assert not checker.check_duplicates([attempt()], twice, {"<1@x>": 1})
    assert checker.check_duplicates([attempt()], twice, {"<2@x>": 1})
    assert checker.check_no_lie([attempt()], twice)
    assert not checker.check_no_lie([attempt()], twice, {"<1@x>": 1})
    assert checker.check_no_lie([attempt()], [*twice, upstream()], {"<1@x>": 1})


def test_changed_bytes_are_found():
    assert checker.check_bytes([attempt(sha="a")], [upstream(sha="b")])
    assert not checker.check_bytes([attempt(sha="a")], [upstream(sha="a")])


@pytest.mark.parametrize("reply", ["550 5.7.708 Service unavailable AS(7230)", "550-5.7.708 a\n550 5.7.708 b"])
def test_mail_after_a_block_is_found(reply):
    block = upstream(at_s=10, accepted=False, reply=reply)
    inside = upstream("<in@x>", at_s=12, to=("b@contoso.com",))
    late = upstream("<late@x>", at_s=12)
    assert not checker.check_pause([block, inside, upstream("<ok@x>", at_s=10.9)], ("contoso.com",))
    assert checker.check_pause([block, late], ("contoso.com",))
    assert not checker.check_pause([block, late], ("contoso.com",), resumed_ns=[int(11.5 * S)])
    assert checker.check_pause([block, late], ("contoso.com",), resumed_ns=[int(12.5 * S)])


def test_the_string_in_a_2xx_is_no_block():
    accepted = upstream(at_s=10, reply="250 2.0.0 550 5.7.708 just text")
    assert not checker.check_pause([accepted, upstream(at_s=12)], ())


def test_a_block_at_rcpt_counts():
    block = upstream(at_s=10, accepted=False)
    block["rcpts"][0]["reply"] = "550 5.7.708 Service unavailable"
    assert checker.check_pause([block, upstream(at_s=12)], ())


def test_idleness_is_found():
    messages = [upstream(at_s=t / 10) for t in range(100)]
    assert not checker.check_work(messages, cap(10, 1), 0, 10 * S)
    assert checker.check_work(messages[::2], cap(10, 1), 0, 10 * S)
    assert checker.check_work(messages[:50], cap(10, 1), 0, 10 * S)
    assert not checker.check_work(messages[:50], cap(10, 1), 0, 10 * S, outages=[(5 * S, 10 * S)])
    slow = [upstream(at_s=k * 1.2 + i / 100) for k in range(9) for i in range(10)]  # each window 20 % late
    assert checker.check_work(slow, cap(10, 1), 0, int(9.7 * S))


@pytest.mark.parametrize("end", [
    {"name": "n", "status": -11, "asked": [0], "log": ""},
    {"name": "n", "status": 1, "asked": [0, -9], "log": ""},
    {"name": "n", "status": None, "asked": [], "log": "x.c:1:2: runtime error: shift"},
    {"name": "n", "status": 0, "asked": [0], "log": "==1==ERROR: AddressSanitizer: heap-use-after-free"},
])
def test_a_crash_is_found(end):
    assert checker.check_alive([end])


@pytest.mark.parametrize("command, reply", [
    ("MAIL", "250 4.1.0 ok"), ("RCPT", "550 4.7.1 no"), ("DOT", "451 5.3.2 later"), ("MAIL", "250 ok"),
    ("MAIL", "25 x"), ("MAIL", "250-2.1.0 a\n251 2.1.0 b"), ("MAIL", ""),
])
def test_a_bad_reply_is_found(command, reply):
    assert checker.check_protocol([attempt(dialog=[(command, reply)])])


def test_an_unasked_reply_is_found():
    assert checker.check_protocol([attempt(extra="250 2.0.0 twice")])
    assert not checker.check_protocol([attempt(extra="421 4.3.2 going down")])
