"""The part of the checker for nodes that keep mail: a clean run has no finding, and each planted violation is found."""
import pytest

import checker
import checker_spool
from checker import SECOND_NS
from spool_run import merged
from test_checker import attempt, upstream

S = SECOND_NS
HELO = {25: "n1"}


def told(number, at_s, word="queued", port=25, **more):
    """A message that waited, or not, answered at once."""
    return {**attempt(f"<{number}@x>", reply=f"250 2.0.0 {word} as id{number}", **more), "recipients": [f"u{number}@fabrikam.com"],
            "begun_ns": int(at_s * S), "ended_ns": int(at_s * S) + 1000, "port": port}


def offered(number, at_s, **more):
    return upstream(f"<{number}@x>", at_s, to=(f"u{number}@fabrikam.com",), helo="n1", trace_id=f"id{number}", dot_ns=[0, 0],
                    **{"data_reply": "354 go", **more})


def life(metrics=None, **more):
    return {"name": "n1", "port": 25, "helo": "n1", "begin_ns": 0, "end_ns": 100 * S, "exact": True, "notes": 0, "metrics": metrics, **more}


def books(relayed=1, spooled=1, delivered=1, **more):
    return {'sendgov_messages_total{outcome="relayed"}': relayed, 'sendgov_messages_total{outcome="spooled"}': spooled,
            'sendgov_recipients_total{class="external",outcome="relayed"}': relayed,
            'sendgov_recipients_total{class="external",outcome="spooled"}': spooled,
            'sendgov_recipients_total{class="external",outcome="delivered"}': delivered,
            'sendgov_released_total{outcome="delivered"}': delivered, **more}


ONE_OF_EACH = [told(1, 1, "relayed"), told(2, 2)], [offered(1, 1), offered(2, 5)]


def test_what_leaves_without_a_decision_is_found():
    gone = [(10 * S, 20 * S)]
    assert checker_spool.check_closed([offered(1, 9), offered(2, 10.04), offered(3, 21)], gone, S // 20) == []
    assert checker_spool.check_closed([offered(1, 11)], gone, S // 20)


@pytest.mark.parametrize("times, wrong", [
    ([10, 11, 12], False),
    ([12, 11.5, 11], False),        # side by side
    ([14, 11, 13], True),
    ([14, 11, 11.5], False),
])
def test_who_is_overtaken_for_long_is_found(times, wrong):
    attempts, messages = [told(i, i / 10) for i in range(3)], [offered(i, t) for i, t in enumerate(times)]
    assert bool(checker_spool.check_order(attempts, messages, HELO)) is wrong
    assert checker_spool.check_order(attempts, messages, HELO, exempt={"<0@x>"}) == []


def test_order_is_that_of_one_node_and_one_sender():
    attempts = [told(0, 0), told(1, 1, port=26), told(2, 2, port=26)]
    assert checker_spool.check_order(attempts, [offered(0, 20), offered(1, 11), offered(2, 13)], HELO) == []
    attempts = [told(0, 0), {**told(1, 1), "sender": "other@contoso.com"}, {**told(2, 2), "sender": "other@contoso.com"}]
    assert checker_spool.check_order(attempts, [offered(0, 20), offered(1, 11), offered(2, 13)], HELO) == []


def test_order_is_that_of_the_first_offers():
    attempts, late = [told(i, i / 10) for i in range(3)], [offered(0, 14), offered(1, 11), offered(2, 13)]
    assert checker_spool.check_order(attempts, [offered(0, 10, accepted=False), *late], HELO) == []
    unknown = {**upstream(None, 10, to=(), accepted=False, helo="n1"), "sender": "app@contoso.com"}
    assert checker_spool.check_order(attempts, [unknown, *late], HELO) == []


def test_a_second_copy_that_nobody_announced_is_found():
    assert checker_spool.check_named([offered(1, 1), offered(2, 2)], set()) == []
    assert checker_spool.check_named([offered(1, 1), offered(1, 2)], {"id1"}) == []
    assert checker_spool.check_named([offered(1, 1), offered(1, 2)], {"id2"})


def test_books_that_balance():
    assert checker_spool.check_books(*ONE_OF_EACH, [life(books()), life()]) == []


@pytest.mark.parametrize("wrong", [
    {"relayed": 2}, {"relayed": 0}, {"spooled": 2}, {"spooled": 0}, {"delivered": 2}, {"delivered": 0}, {"sendgov_uncertain_total": 1},
    {'sendgov_released_total{outcome="failed"}': 1}, {'sendgov_messages_total{outcome="deferred"}': 1},
])
def test_books_that_do_not_balance_are_found(wrong):
    assert checker_spool.check_books(*ONE_OF_EACH, [life(books(**wrong))])


def test_books_of_a_life_that_ended_early_may_lack_something():
    assert checker_spool.check_books(*ONE_OF_EACH, [life(books(delivered=0), exact=False)]) == []
    assert checker_spool.check_books(*ONE_OF_EACH, [life(books(delivered=2), exact=False)])


def test_what_only_one_recipient_got_is_a_loss():
    both = {**attempt(), "recipients": ["a@fabrikam.com", "b@fabrikam.com"]}
    assert checker.check_no_loss([both], [upstream()])
    assert not checker.check_no_loss([both], [upstream(), upstream(to=("b@fabrikam.com",))])
    assert not checker.check_duplicates([both], [upstream(), upstream(to=("b@fabrikam.com",))])
    assert checker.check_duplicates([both], [upstream(), upstream(to=("a@fabrikam.com", "b@fabrikam.com"))])


def test_a_report_that_is_not_true_is_found():
    reported = [("<1@x>", "a@fabrikam.com")]
    refused = upstream(accepted=False)
    refused["rcpts"][0]["reply"] = "550 5.1.1 no such mailbox"
    assert checker.check_reports([refused], reported) == []
    assert checker.check_reports([], reported)
    assert checker.check_reports([refused, upstream()], reported)
    refused["rcpts"][0]["reply"] = "550 5.7.708 Service unavailable"
    assert checker.check_reports([refused], reported)


def test_a_notification_of_the_node_is_no_lie():
    assert checker.check_no_lie([], [upstream("<dsn@n1>")])
    assert not checker.check_no_lie([], [upstream("<dsn@n1>")], reports={"<dsn@n1>"})


def test_spans_are_merged():
    assert merged([(5, 6), (1, 3), (2, 4), (6, 7)]) == [(1, 4), (5, 7)]
