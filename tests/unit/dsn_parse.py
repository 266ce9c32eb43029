"""An independent reader of what test_dsn writes: the standard library's parser of mail, in its strict mode.

    dsn_parse.py CASE FILE

FILE is in wire form; it is un-stuffed here, by the rule of RFC 5321 alone. The exit status says whether it is the
notification that CASE should give; what is wrong goes to stderr.
"""

import email
import email.policy
import email.utils
import sys

ARRIVED = 1780000000
NOW = ARRIVED + 3600
UNTIL = ARRIVED + 5 * 86400


def unstuff(wire):
    assert wire.endswith(b"\r\n") and wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n")
    lines = wire[:-2].split(b"\r\n")
    assert b"." not in lines, "the message ends in the middle"
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines) + b"\r\n"


def when(text):
    return email.utils.parsedate_to_datetime(text).timestamp()


def no_defects(part):
    for p in part.walk():
        assert not p.defects, (p.get_content_type(), p.defects)


class Report:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.wire = f.read()
        self.content = unstuff(self.wire)
        self.mail = email.message_from_bytes(self.content, policy=email.policy.strict)
        no_defects(self.mail)
        self.parts = self.mail.get_payload()
        assert self.mail.get_content_type() == "multipart/report"
        assert self.mail.get_param("report-type") == "delivery-status"
        assert [p.get_content_type() for p in self.parts[:2]] == ["text/plain", "message/delivery-status"]
        assert self.mail["Auto-Submitted"] == "auto-replied" and self.mail["MIME-Version"] == "1.0"
        assert self.mail["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example>"
        assert self.mail["Message-ID"] == "<0dsn1a2b3c@relay.example>"
        assert when(self.mail["Date"]) == NOW
        self.words = " ".join(self.parts[0].get_content().split())
        self.fields, *self.recipients = self.parts[1].get_payload()
        assert self.fields["Reporting-MTA"] == "dns; relay.example"
        assert when(self.fields["Arrival-Date"]) == ARRIVED

    def returned(self, content_type):
        assert len(self.parts) == 3
        assert self.parts[2].get_content_type() == content_type
        return self.parts[2]

    def header(self):
        """The returned header, as a message."""
        text = self.returned("text/rfc822-headers").get_payload(decode=True)
        return text, email.message_from_bytes(text, policy=email.policy.default)

    def encoding(self, value):
        assert self.mail.get("Content-Transfer-Encoding") == value
        assert self.parts[2].get("Content-Transfer-Encoding") == value


def values(fields, *names):
    return [fields.get(n) for n in names]


def case_failed(r):
    assert r.mail["To"] == "app@contoso.com"
    assert r.mail["Subject"] == "Your message could not be delivered"
    assert r.fields["Original-Envelope-Id"] == "QQ+1 x=y"
    assert len(r.recipients) == 1
    assert values(r.recipients[0], "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA") == [
        "rfc822;A+B@fabrikam.example", "rfc822;a+b@fabrikam.example", "failed", "5.1.10", "dns; mx.example"]
    assert r.recipients[0]["Diagnostic-Code"] == "smtp; 550 5.1.10 Recipient not found / see the list"
    assert when(r.recipients[0]["Last-Attempt-Date"]) == NOW - 5
    assert r.recipients[0]["Will-Retry-Until"] is None
    assert "<a+b@fabrikam.example> The mail system there refused it." in r.words
    assert "mx.example said: 550 5.1.10 Recipient not found / see the list" in r.words
    assert "this is message 0about, taken by relay.example at" in r.words
    text, header = r.header()
    assert text.startswith(b"Received: from app") and header["Subject"] == "hello"
    assert text.endswith(b"Subject: hello\r\n") and b"secret" not in r.content
    r.encoding(None)


def case_delayed(r):
    assert r.mail["Subject"] == "Your message is delayed"
    assert "Original-Envelope-Id" not in r.fields
    assert values(r.recipients[0], "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date",
                  "Original-Recipient") == ["delayed", "4.0.0", None, None, None, None]
    assert when(r.recipients[0]["Will-Retry-Until"]) == UNTIL
    assert "it will be tried again until Tue, 2 Jun 2026 20:26:40 +0000" in r.words
    r.header()  # RET=FULL counts only for failures


def case_relayed(r):
    assert r.mail["Subject"] == "Your message was handed on"
    assert values(r.recipients[0], "Action", "Status") == ["relayed", "2.1.5"]
    assert r.recipients[0]["Will-Retry-Until"] is None


def case_mixed(r):
    assert r.mail["Subject"] == "Your message could not be delivered"
    assert [p["Action"] for p in r.recipients] == ["delayed", "failed", "relayed", "failed", "failed"]
    assert [p["Status"] for p in r.recipients] == ["4.7.1", "5.4.7", "2.0.0", "5.0.0", "4.2.1"]
    assert [r.words.count(s) for s in ("could not be", "delivered yet", "handed on")] == [1, 1, 1]


def case_full(r):
    part = r.returned("message/rfc822")
    inner = part.get_payload()[0]
    assert inner["Subject"] == "hello" and inner.get_payload() == "..\r\n.x\r\n--0dsn1a2b3c.0\r\nend\r\n"
    assert r.mail.get_boundary() != "0dsn1a2b3c.0"
    r.encoding(None)


def case_full_8bit(r):
    r.encoding("8bit")
    inner = r.returned("message/rfc822").get_payload()[0]
    assert inner.get_payload(decode=True) == "Grüße\r\n".encode()


def case_hdrs_8bit(r):
    r.encoding("8bit")
    text, _ = r.header()
    assert "Subject: Grüße\r\n".encode() in text


def case_body_8bit(r):
    """8-bit bytes that are not returned make nothing 8-bit."""
    r.encoding(None)


def case_long_reply(r):
    blanks = r.recipients[0]["Diagnostic-Code"]
    word = r.recipients[1]["Diagnostic-Code"]
    assert blanks == "smtp; 550 5.0.0 " + " ".join(["word"] * 205)[:1024]
    assert word.replace(" ", "") == "smtp;5505.0.0" + "w" * 1024
    assert max(map(len, r.wire.split(b"\r\n"))) <= 998
    assert "word" * 2 not in r.words


def case_many(r):
    assert len(r.recipients) == 500
    assert [p["Final-Recipient"] for p in r.recipients] == [f"rfc822;u{i}@x.example" for i in range(500)]
    assert all(f"<u{i}@x.example>" in r.words for i in range(500))


def case_huge_header(r):
    text, _ = r.header()
    body = text.split(b"Received: from app", 1)[1].split(b"\r\n", 3)[3]
    lines = body.split(b"\r\n")
    assert 65536 - 100 < len(body) <= 65536 and lines[-1] == b""
    assert {len(line) for line in lines[:-1]} == {66}


def case_huge_line(r):
    text, _ = r.header()
    assert text.endswith(b"Subject: hello\r\n")


def case_no_body(r):
    text, _ = r.header()
    assert text.startswith(b"Received: ") and text.count(b"\r\n") == 3


def main():
    case, path = sys.argv[1:]
    globals()["case_" + case](Report(path))


if __name__ == "__main__":
    main()
