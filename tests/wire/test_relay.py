"""Who may send, and as whom: without an identity nothing is relayed, on any listener, in any disguise."""
import pytest

from certs import Authority, public_key_pin
from foreign import stamp
from ports import free_port
from rig import CLIENT_PASSWORD
from smtp_client import Client, Closed, message, tls_context

STRANGER = "127.0.0.9"
S, I, L, X = "relay.contoso.com", "127.0.0.1", "contoso.com", "fabrikam.com"

# Sender and recipient as they stand after "MAIL FROM:" and "RCPT TO:" (nmap's smtp-open-relay, the classic lists, ours).
FORMS = {
    1: ("<>", f"<u@{X}>"), 2: (f"<a@{X}>", f"<u@{X}>"), 3: (f"<a@{S}>", f"<u@{X}>"), 4: (f"<a@[{I}]>", f"<u@{X}>"),
    5: (f"<a@{L}>", f"<u@{X}>"), 6: ("<a>", f"<u@{X}>"), 7: ("<a@localhost>", f"<u@{X}>"), 8: (f"<a@[{I}]>", f"<u%{X}@[{I}]>"),
    9: (f"<a@[{I}]>", f"<u%{X}@{S}>"), 10: (f"<a@{L}>", f"<u%{X}@{L}>"), 11: (f"<a@{L}>", f'<"u@{X}">'),
    12: (f"<a@{L}>", f'<"u%{X}">'), 13: (f"<a@{L}>", f"<u@{X}@[{I}]>"), 14: (f"<a@{L}>", f'<"u@{X}"@[{I}]>'),
    15: (f"<a@{L}>", f"<u@{X}@{S}>"), 16: (f"<a@{L}>", f"<@[{I}]:u@{X}>"), 17: (f"<a@{L}>", f"<@{S}:u@{X}>"),
    18: (f"<a@{L}>", f"<{X}!u>"), 19: (f"<a@{L}>", f"<{X}!u@[{I}]>"), 20: (f"<a@{L}>", f"<{X}!u@{S}>"),
    21: (f"<a@{L}>", f'<"{X}!u"@{L}>'), 22: (f"a@{L}", f"u@{X}"), 23: (f"<a@{L}>", "<u@[192.0.2.1]>"), 24: (f"<a@{L}>", f"<u@{X}.>"),
    25: (f"<a@{L}>", "<postmaster>"), 26: (f"<a@{L}> AUTH=<admin@{L}>", f"<u@{X}>"),
}
assert len(FORMS) == 26
LISTENERS = ("plain", "apps", "tls", "devices", "v6")


@pytest.fixture(scope="module")
def node(rig):
    pinned = rig.ca.issue("pinned.contoso.com")
    rig.pinned = pinned
    listeners = {"v6": {"address": f"[::1]:{free_port('::1')}", "tls": "starttls"},
                 "certs": {"address": f"127.0.0.1:{free_port()}", "tls": "required", "client_ca_file": rig.ca.cert}}
    clients = {"device": {"certificates": ["device.contoso.com"], "senders": ["device@contoso.com"]},
               "pinned": {"pins": [public_key_pin(pinned[0])], "senders": ["pinned@contoso.com"]},
               "narrow": {"login": "other", "senders": ["scan@contoso.com"], "null_sender": True, "route": "contoso"}}
    return rig.node("n1", listeners=listeners, clients=clients,
                    smtp={"connections_per_ip": 500, "connections_per_minute": 100000, "connections_burst": 10000,
                          "errors_soft": 900, "errors_hard": 1000, "junk": 1000,
                          "auth_failures_per_ip": 1000}).start()


def connect(rig, node, listener, source=None):
    if listener == "v6":
        return Client(node.port("v6"), host="::1")
    tls = tls_context(rig.ca.cert) if listener == "tls" else None
    return Client(node.port(listener), source=source, tls=tls)


def try_form(c, form, gap=""):
    """The reply that ends the attempt: of MAIL, of RCPT, or of the whole message."""
    sender, recipient = FORMS[form]
    reply = c.cmd(f"MAIL FROM:{gap}{sender}")
    if reply.code == 250:
        reply = c.cmd(f"RCPT TO:{gap}{recipient}")
    if reply.code == 250:
        reply = c.cmd("DATA")
    if reply.code == 354:
        c.send(message(sender=f"a@{L}") + b".\r\n")
        return c.reply()
    c.cmd("RSET")
    return reply


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("before", ["nothing", "failed login", "starttls", "refused XCLIENT", "refused PROXY"])
def test_no_relay_form_passes_without_identity(rig, node, listener, before):
    mark = rig.sim.mark()
    with connect(rig, node, listener, STRANGER) as c:
        c.ehlo()
        if before == "failed login":
            c.auth_plain("app", "wrong")
        elif before == "starttls" and listener in ("apps", "v6"):
            c.starttls(tls_context(rig.ca.cert))
        elif before == "refused XCLIENT":
            assert c.cmd("XCLIENT ADDR=127.0.0.1 LOGIN=app").code >= 500
        elif before == "refused PROXY":
            assert c.cmd("PROXY TCP4 127.0.0.1 127.0.0.1 1 2").code >= 500
        for form in FORMS:
            for gap in ("", "        ", "\t"):
                reply = try_form(c, form, gap)
                assert 500 <= reply.code < 600, f"form {form}: {reply}"
                assert reply.enhanced[:1] == "5", f"form {form}: {reply}"
    assert rig.sim.messages(mark) == []


@pytest.mark.parametrize("listener", ("plain", "apps", "tls", "devices"))
def test_a_known_client_passes_only_what_policy_allows(rig, node, listener):
    """From a listed address: a foreign or malformed sender is refused; what goes upstream is one plain address pair."""
    mark = rig.sim.mark()
    with connect(rig, node, listener) as c:
        c.ehlo()
        for form, (sender, _) in FORMS.items():
            reply = try_form(c, form)
            assert reply.code == 250 or 500 <= reply.code < 600, f"form {form}: {reply}"
            assert reply.code != 250 or sender.startswith((f"<a@{L}>", f"a@{L}")), f"form {form} with a sender that is not ours"
    for row in rig.sim.messages(mark):
        assert row["sender"] == f"a@{L}" and "AUTH" not in row["parameters"].upper()
        for r in row["rcpts"]:
            assert r["to"].rpartition("@")[2] in (X, L, S, "[192.0.2.1]", f"[{I}]"), r
            assert r["to"].count("@") == 1 or r["to"].startswith('"'), r


@pytest.mark.parametrize("sender, why", [
    ("a@fabrikam.com", "foreign domain"), ("a@sub.contoso.com", "a subdomain nobody registered"),
    ("a@contoso.com.fabrikam.com", "suffix"), ("", "null sender"), ("a@xcontoso.com", "prefix"),
])
def test_a_sender_not_its_own_is_refused(rig, node, sender, why):
    mark = rig.sim.mark()
    with connect(rig, node, "plain") as c:
        c.ehlo()
        reply = c.mail(sender, "u@fabrikam.com", message(sender=sender or "app@contoso.com"))
        assert 500 <= reply.code < 600, (why, reply)
    assert rig.sim.messages(mark) == []


def test_the_sender_rule_is_judged_on_the_canonical_address(rig, node):
    with connect(rig, node, "apps", STRANGER) as c:
        c.ehlo()
        c.starttls(tls_context(rig.ca.cert))
        assert c.auth_plain("other", "other-password").code == 235
        for good in ('<scan@contoso.com>', '<SCAN@CONTOSO.COM>', '<"scan"@contoso.com>'):
            assert c.cmd("MAIL FROM:" + good).code == 250, good
            c.cmd("RSET")
        for bad in ('<"scan@contoso.com"@fabrikam.com>', '<scan+x@contoso.com>', '<"sc an"@contoso.com>', "<app@contoso.com>"):
            assert 500 <= c.cmd("MAIL FROM:" + bad).code < 600, bad
            c.cmd("RSET")
        assert c.cmd("MAIL FROM:<>").code == 250  # null_sender: true


def test_the_header_from_is_judged_as_well(rig, node):
    mark = rig.sim.mark()
    with connect(rig, node, "plain") as c:
        c.ehlo()
        for header in (b"From: <ceo@fabrikam.com>\r\n", b"From: a@contoso.com, b@fabrikam.com\r\n",
                       b"From: \"a@contoso.com\" <ceo@fabrikam.com>\r\n"):
            reply = c.mail("a@contoso.com", "u@fabrikam.com", header + b"Subject: x\r\n\r\nx\r\n")
            assert 500 <= reply.code < 600, (header, reply)
        reply = c.mail("a@contoso.com", "u@fabrikam.com", b"From: \"ceo@fabrikam.com\" <b@contoso.com>\r\n\r\nx\r\n")
        assert reply.code == 250, reply
    assert len(rig.sim.accepted(mark)) == 1


# client certificates
def present(rig, node, cert):
    c = Client(node.port("certs"), source=STRANGER)
    c.ehlo()
    c.starttls(tls_context(rig.ca.cert, cert))
    return c


@pytest.mark.parametrize("name, sender", [("device.contoso.com", "device@contoso.com"), ("pinned", "pinned@contoso.com")])
def test_a_certificate_is_an_identity(rig, node, name, sender):
    cert = rig.pinned if name == "pinned" else rig.ca.issue(name)
    with present(rig, node, cert) as c:
        reply = c.mail(sender, "u@fabrikam.com", message(sender=sender))
        assert reply.code == 250, reply
        assert c.mail("other@contoso.com", "u@fabrikam.com", message()).code >= 500


@pytest.mark.parametrize("case", ["other name", "other authority", "expired", "none", "look-alike"])
def test_no_other_certificate_is(rig, node, case):
    if case == "other authority":
        cert = Authority(rig.folder + "/ca2", "sendgov test CA").issue("device.contoso.com")
    elif case == "none":
        cert = None
    else:
        name = {"other name": "printer.contoso.com", "expired": "device.contoso.com",
                "look-alike": "d\N{CYRILLIC SMALL LETTER IE}vice.contoso.com"}[case]
        cert = Authority.issue(rig.ca, name, days=-1 if case == "expired" else 365)
    mark = rig.sim.mark()
    try:
        with present(rig, node, cert) as c:
            assert c.mail("device@contoso.com", "u@fabrikam.com", message()).code in (530, 550)
    except (OSError, Closed):
        pass  # the handshake itself was refused
    assert rig.sim.messages(mark) == []


# AUTH
def test_login_is_not_offered_and_not_taken_in_clear(rig, node):
    with connect(rig, node, "apps", STRANGER) as c:
        assert "AUTH" not in c.ehlo()
        reply = c.auth_plain("app", CLIENT_PASSWORD)
        assert reply.code in (530, 538, 502, 503), reply
        assert c.cmd("MAIL FROM:<a@contoso.com>").code >= 500 or c.cmd("RCPT TO:<u@fabrikam.com>").code >= 500


@pytest.mark.parametrize("lines", [
    [b"AUTH"], [b"AUTH PLAIN ="], [b"AUTH PLAIN *"], [b"AUTH PLAIN", b"*"], [b"AUTH PLAIN !!!!"], [b"AUTH PLAIN YQ=="],
    [b"AUTH PLAIN AAAA"], [b"AUTH LOGIN", b"*"], [b"AUTH LOGIN", b"YXBw", b"*"], [b"AUTH LOGIN", b"", b""],
    [b"AUTH LOGIN YXBw", b"d3Jvbmc="], [b"AUTH CRAM-MD5"], [b"AUTH XOAUTH2 AAAA"], [b"AUTH NTLM"],
    [b"AUTH PLAIN " + b"A" * 20000], [b"AUTH PLAIN", b"A" * 20000],
    [b"AUTH PLAIN b3RoZXIAYXBwAGh1bnRlcjItY2xpZW50"],  # authzid "other", authcid "app"
])
def test_no_crooked_login_succeeds(rig, node, lines):
    with connect(rig, node, "tls", STRANGER) as c:
        c.ehlo()
        try:
            reply = c.cmd(lines[0])
            for line in lines[1:]:
                if reply.code == 334:
                    reply = c.cmd(line)
            if reply.code == 334:
                reply = c.cmd("*")
            assert reply.code >= 400, (lines, reply)
            assert c.cmd("MAIL FROM:<a@contoso.com>").code >= 500 or c.cmd("RCPT TO:<u@fabrikam.com>").code >= 500
        except Closed:
            pass  # a line that long may end the session


def test_login_rules_of_a_session(rig, node):
    with connect(rig, node, "tls", STRANGER) as c:
        c.ehlo()
        assert c.auth_login("app", CLIENT_PASSWORD).code == 235
        assert c.auth_plain("app", CLIENT_PASSWORD).code == 503
        c.cmd("RSET")
        c.ehlo()
        assert c.cmd("MAIL FROM:<a@contoso.com>").code == 250  # identity outlives RSET and EHLO
        assert c.auth_plain("app", CLIENT_PASSWORD).code == 503
        assert c.cmd("RCPT TO:<u@fabrikam.com>").code == 250


def test_three_failures_end_a_session(rig, node):
    with connect(rig, node, "tls", "127.0.0.7") as c:
        c.ehlo()
        with pytest.raises(Closed):
            for _ in range(4):
                assert c.auth_plain("app", "wrong").code in (535, 421, 454)
        with connect(rig, node, "tls", "127.0.0.8") as other:
            other.ehlo()
            assert other.auth_plain("app", CLIENT_PASSWORD).code == 235


def test_an_identity_uses_its_mailbox_only(rig, node):
    """Two clients in turn over pooled connections: each message under the mailbox of its route."""
    mark = rig.sim.mark()
    with connect(rig, node, "plain") as a, connect(rig, node, "tls", STRANGER) as b:
        a.ehlo()
        b.ehlo()
        b.auth_plain("app", CLIENT_PASSWORD)
        for i in range(20):
            for c in (a, b):
                assert c.mail("app@contoso.com", "u@fabrikam.com", message(message_id=f"<{stamp()}@id>")).code == 250
    assert {m["auth"] for m in rig.sim.wait_messages(40, mark)} == {"relay@contoso.com"}
