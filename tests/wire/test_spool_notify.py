"""Who is told by mail what became of a message (RFC 3461, 3464), and who is not."""
import email.utils
import re

import pytest

from process import wait_until
from spooled import (INSIDE, OUTSIDE, SENDER, assert_held, assert_relayed, clients, copies, database, queue, reports, send, spool, state,
                     status_fields, wait_empty)

TEXT = b"a line that must come back\r\n"


def refuse(site, reply="550 5.1.1 <never@fabrikam.com> no such mailbox", **more):
    return site.sim.rule(step="rcpt", recipient="never@*", reply=reply, **more)


def send_half(node, **more):
    """To one who takes it and one who never does."""
    sent = send(node, [OUTSIDE, "never@fabrikam.com"], text=TEXT, **more)
    assert sent.reply.code == 250, sent.reply
    return sent


def no_reports(site):
    return [m for m in site.sim.messages() if m["sender"] == ""] == []


def test_a_report_of_failure(site):
    node = site.node(spool=spool()).start()
    refuse(site)
    sent = send_half(node)
    assert "1 of the recipients were refused, a notification follows: " in sent.reply.text, sent.reply
    report, = reports(site.sim, 1)
    assert [r["to"] for r in report.row["rcpts"]] == [SENDER] and report["To"].addresses[0].addr_spec == SENDER
    assert report["From"].addresses[0].domain and report["Auto-Submitted"] == "auto-replied", report.items()
    assert email.utils.parsedate_to_datetime(report["Date"]) and report["Message-ID"] != sent.id and report["MIME-Version"] == "1.0"
    about, recipients = status_fields(report)
    assert about["Reporting-MTA"] == "dns;relay.contoso.com" and "Original-Envelope-Id" not in about, about
    fields, = recipients
    assert fields["Final-Recipient"].lower() == "rfc822;never@fabrikam.com" and fields["Action"] == "failed", fields
    assert fields["Status"] == "5.1.1" and "no such mailbox" in fields["Diagnostic-Code"] and "Original-Recipient" not in fields, fields
    assert fields["Diagnostic-Code"].startswith("smtp;550") and fields["Remote-MTA"] == "dns;localhost", fields
    words = report.get_payload()[0].get_content()
    assert "never@fabrikam.com" in words and OUTSIDE not in words, words
    returned = report.get_payload()[2]
    assert returned.get_content_type() in ("text/rfc822-headers", "message/rfc822") and sent.id in returned.as_string()
    assert node.metric("sendgov_dsn_total", action="failed") == 1
    wait_empty(node, 5)


@pytest.mark.parametrize("ret, comes_back", [("FULL", True), ("HDRS", False)])
def test_what_the_sender_asked_for_comes_back(site, ret, comes_back):
    node = site.node(spool=spool()).start()
    refuse(site)
    sent = send(node, [OUTSIDE, "never@fabrikam.com"], text=TEXT, mail=f" RET={ret} ENVID=QQ+2B314159",
                rcpt=" NOTIFY=FAILURE ORCPT=rfc822;Never+40home@fabrikam.com")
    assert sent.reply.code == 250, sent.reply
    report, = reports(site.sim, 1)
    about, (fields,) = status_fields(report)
    assert about["Original-Envelope-Id"] == "QQ+314159", about
    assert fields["Original-Recipient"] == "rfc822;Never@home@fabrikam.com", fields
    whole = report.as_string()
    assert sent.id in whole and (TEXT.decode().strip() in whole) == comes_back, whole


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY"])
def test_who_does_not_want_to_hear_of_failures_does_not(site, notify):
    node = site.node(spool=spool()).start()
    refuse(site)
    sent = send_half(node, rcpt=f" NOTIFY={notify}")
    assert "1 of the recipients were refused: " in sent.reply.text, sent.reply
    wait_empty(node, 5)
    inside = send(node, INSIDE)
    site.sim.wait_messages(2)
    assert len(copies(site.sim, sent)) == len(copies(site.sim, inside)) == 1 and no_reports(site)
    assert node.metric("sendgov_dsn_total") == 0


def test_parameters_are_handed_on_where_the_upstream_speaks_dsn(site):
    """What it was handed it reports itself: nothing is said here of a success."""
    node = site.node(spool=spool(), clients=clients(accept="spool")).start()
    sent = send(node, OUTSIDE, mail=" RET=HDRS ENVID=x1", rcpt=f" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{OUTSIDE}")
    row, = site.sim.wait_messages(1)
    assert re.search(r"\bRET=HDRS\b", row["parameters"]) and re.search(r"\bENVID=x1\b", row["parameters"]), row
    parameters = row["rcpts"][0]["parameters"]
    assert "NOTIFY=SUCCESS,FAILURE" in parameters and f"ORCPT=rfc822;{OUTSIDE}" in parameters, row
    wait_empty(node, 5)
    assert len(copies(site.sim, sent)) == 1 and no_reports(site)


@pytest.mark.parametrize("accept", ["relay", "spool"])
def test_success_is_told_where_the_upstream_cannot(site, accept):
    site.sim.hide("DSN")
    node = site.node(spool=spool(), clients=clients(accept=accept)).start()
    sent = send(node, [OUTSIDE, "v@fabrikam.com"], mail=" ENVID=x1", rcpt=" NOTIFY=SUCCESS")
    assert sent.reply.code == 250, sent.reply
    report, = reports(site.sim, 1)
    row, = copies(site.sim, sent)
    assert "ENVID" not in row["parameters"] and not any(r["parameters"] for r in row["rcpts"]), row
    about, recipients = status_fields(report)
    assert about["Original-Envelope-Id"] == "x1", about
    assert [(f["Action"], f["Status"][:2]) for f in recipients] == [("relayed", "2.")] * 2, recipients
    wait_empty(node, 5)
    assert_relayed(send(node, OUTSIDE)) if accept == "relay" else assert_held(send(node, OUTSIDE))
    site.sim.wait_messages(3)
    wait_empty(node, 5)
    assert len(reports(site.sim, 1)) == 1  # without NOTIFY no word of a success


def test_late_is_told_once_and_in_the_end_that_it_failed(site):
    node = site.node(spool=spool(retry_first="200ms", retry_max="200ms", warn_after="500ms", lifetime="1500ms")).start()
    site.sim.rule(step="rcpt", recipient="slow@*", reply="450 4.2.1 mailbox busy")
    sent = send(node, ["slow@fabrikam.com", OUTSIDE], text=TEXT, mail=" RET=FULL ENVID=late")
    assert_held(sent, "450")
    wait_empty(node)
    delayed, failed = reports(site.sim, 2)
    about, (fields,) = status_fields(delayed)
    assert about["Original-Envelope-Id"] == "late" and fields["Action"] == "delayed" and fields["Status"] == "4.2.1", fields
    assert "slow@fabrikam.com" in fields["Final-Recipient"] and fields["Will-Retry-Until"], fields
    about, (fields,) = status_fields(failed)
    assert about["Original-Envelope-Id"] == "late" and fields["Action"] == "failed" and fields["Status"] == "4.4.7", fields
    assert "450" in fields["Diagnostic-Code"] and TEXT.decode().strip() in failed.as_string(), fields
    assert len(copies(site.sim, sent)) == 1  # for the other recipient, once
    tries = sum(r["to"] == "slow@fabrikam.com" for m in site.sim.messages() for r in m["rcpts"])
    assert 7 <= tries <= 11, tries  # 1.5 s in waits of 160-240 ms
    assert (node.metric("sendgov_dsn_total", action="delayed"), node.metric("sendgov_dsn_total", action="failed")) == (1, 1)
    assert node.metric("sendgov_released_total", outcome="failed") == 1


@pytest.mark.parametrize("how", ["refused", "expired"])
def test_a_report_that_fails_ends_in_the_log(site, how):
    node = site.node(spool=spool(retry_first="100ms", retry_max="100ms", warn_after="200ms", lifetime="300ms")).start()
    refuse(site)
    site.sim.rule(step="rcpt", recipient=SENDER, reply="550 5.1.1 no sender" if how == "refused" else "450 4.2.0 not now")
    send_half(node)
    row, = wait_until(lambda: node.log_events("undeliverable"), 10, "the line of the log")
    assert row["recipient"] == SENDER and row["what"] == "notification" and row["reply"], row
    wait_empty(node, 5)
    assert site.sim.accepted()[1:] == [] and node.metric("sendgov_dsn_total") == 1


def test_mail_without_sender_is_never_reported(site):
    node = site.node(spool=spool(), clients=clients(null_sender=True, route="contoso")).start()
    refuse(site)
    sent = send_half(node, sender="")
    row, = wait_until(lambda: node.log_events("undeliverable"), 5, "the line of the log")
    assert row["recipient"] == "never@fabrikam.com" and "null sender" in row["what"], row
    assert row["reply"] == "550 <never@fabrikam.com> no such mailbox" and row["enhanced"] == "5.1.1", row
    wait_empty(node, 5)
    assert [m["message_id"] for m in site.sim.accepted()] == [sent.id]


def test_reports_wait_for_nothing_that_holds_external_mail(site):
    """It goes inside, so no external cap and no pause of external mail holds it."""
    node = site.node(spool=spool(), limits={"day": {"scope": "route", "unit": "external", "window": "2/d"}}).start()
    refuse(site)
    sent = send_half(node)
    held = send(node, OUTSIDE)
    assert_held(held, "used 2 of 2")
    report, = reports(site.sim, 1)
    assert sent.id in report.as_string()
    wait_until(lambda: [m["id"] for m in queue(node)] == [held.queue_id], 5, "nothing else to wait")


def test_a_report_that_cannot_be_stored_first_is_not_promised(site):
    """Everything alike was said to the client itself, so there is nothing to store."""
    node = site.node(spool=spool()).start()
    refuse(site)
    before = database(node)
    sent = send(node, ["never@fabrikam.com", "never@contoso.com"], rcpt=" NOTIFY=FAILURE")
    assert sent.reply.code == 550, sent.reply
    assert database(node) == before and state(node)["messages"] == 0 and no_reports(site)
