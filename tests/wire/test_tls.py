"""TLS on both sides: nothing said in clear counts after STARTTLS, and no credential leaves without a trusted peer."""
import ssl
import time

import pytest

from certs import Authority, self_signed
from m365sim import Sim
from ports import free_port
from process import wait_until
from rig import CLIENT_PASSWORD
from smtp_client import Client, Closed, message, tls_context


@pytest.fixture(scope="module")
def node(rig):
    return rig.node("n1", listeners={
        "required": {"address": f"127.0.0.1:{free_port()}", "tls": "required"},
        "old": {"address": f"127.0.0.1:{free_port()}", "tls": "starttls", "tls_min": "1.0"}}).start()


@pytest.mark.parametrize("injected", [b"EHLO injected\r\n", b"EHLO i\r\nMAIL FROM:<app@contoso.com>\r\nRCPT TO:<u@fabrikam.com>\r\n",
                                      b"NOOP\r\nAUTH PLAIN AGFwcAB4\r\n"])
@pytest.mark.parametrize("late", [False, True])
def test_commands_injected_before_the_handshake_are_void(rig, node, injected, late):
    mark = rig.sim.mark()
    with Client(node.port("apps")) as c:
        c.ehlo()
        c.send(b"STARTTLS\r\n" + (b"" if late else injected))
        reply = c.reply()
        if reply.code == 554 and not late:  # commands behind STARTTLS in one segment: refused, and the session is over
            assert c.closed()
            return
        assert reply.code == 220
        if late:
            c.send(injected)
        try:
            assert c.extra(0) == b""
            c.sock = tls_context(rig.ca.cert).wrap_socket(c.sock, server_hostname="localhost")
            c.sock.settimeout(5)
            assert c.extra(0.2) == b"", "an injected command was answered inside TLS"
            assert c.cmd("MAIL FROM:<app@contoso.com>").code >= 500  # no EHLO yet: all of before is forgotten
            assert c.cmd("EHLO inside").code == 250
        except (ssl.SSLError, Closed, ConnectionError):
            pass
    assert rig.sim.messages(mark) == []


def test_starttls_forgets_and_comes_once(rig, node):
    with Client(node.port("apps")) as c:
        c.ehlo()
        assert c.cmd("STARTTLS now").code == 501
        c.starttls(tls_context(rig.ca.cert))
        assert "STARTTLS" not in c.features
        assert c.cmd("STARTTLS").code in (502, 503, 554)
        assert c.cmd("MAIL FROM:<app@contoso.com>").code == 250
        assert c.cmd("STARTTLS").code in (502, 503, 554)


def test_a_required_listener_takes_no_mail_in_clear(rig, node):
    with Client(node.port("required")) as c:
        features = c.ehlo()
        assert "STARTTLS" in features and "AUTH" not in features
        assert c.cmd("MAIL FROM:<app@contoso.com>").code == 530
        assert c.auth_plain("app", CLIENT_PASSWORD).code in (530, 538)
        assert "AUTH" in c.starttls(tls_context(rig.ca.cert))
        assert c.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250


@pytest.mark.parametrize("version, listener, works", [
    (ssl.TLSVersion.TLSv1, "apps", False), (ssl.TLSVersion.TLSv1_1, "apps", False), (ssl.TLSVersion.TLSv1_2, "apps", True),
    (ssl.TLSVersion.TLSv1_3, "apps", True), (ssl.TLSVersion.TLSv1, "old", True), (ssl.TLSVersion.TLSv1_2, "old", True),
])
def test_tls_versions_of_a_listener(rig, node, version, listener, works):
    context = tls_context(rig.ca.cert)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with Client(node.port(listener)) as c:
        c.ehlo()
        try:
            c.starttls(context)
            assert works, "an old version was taken"
            assert c.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
        except (ssl.SSLError, ConnectionError, Closed):
            assert not works


@pytest.mark.parametrize("where", ["mid body", "after the dot's CR"])
def test_a_connection_cut_in_the_body_sends_nothing(rig, node, where):
    mark = rig.sim.mark()
    with Client(node.port("tls"), tls=tls_context(rig.ca.cert)) as c:
        c.ehlo()
        c.cmd("MAIL FROM:<app@contoso.com>")
        c.cmd("RCPT TO:<u@fabrikam.com>")
        assert c.cmd("DATA").code == 354
        c.send(message() + (b"" if where == "mid body" else b".\r"))
        c.sock._sock.close() if hasattr(c.sock, "_sock") else c.sock.detach()
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.mail("app@contoso.com", "u@fabrikam.com", message(message_id="<after-cut@tls>")).code == 250
    assert [m["message_id"] for m in rig.sim.wait_messages(1, mark)] == ["<after-cut@tls>"]


# towards the upstream
def other_upstream(rig, node_name, cert=None, sim_options=(), route=None):
    sim = rig.adopt(Sim(rig.folder, node_name + "-sim", cert=cert, options=sim_options))
    node = rig.node(node_name, alone=True, routes={"contoso": {
        "upstream": f"localhost:{sim.port}", "tls": "starttls", "tls_ca_file": rig.ca.cert, "domains": ["contoso.com"], **(route or {})}})
    return sim, node.start()


def refused(node, sim):
    """The client hears 4xx, and nothing of value reached the upstream."""
    with Client(node.port("plain")) as c:
        c.ehlo()
        reply = c.mail("app@contoso.com", "u@fabrikam.com", message())
    assert 400 <= reply.code < 500, reply
    assert not [r for r in sim.rows() if r["event"] in ("auth", "message")], sim.rows()
    return reply


CERTS = {
    "expired": lambda rig: rig.ca.issue("expired.test", days=-1),
    "wrong name": lambda rig: rig.ca.issue("wrong.test", ("DNS:smtp.example",)),
    "name in CN only": lambda rig: rig.ca.issue("localhost2", ("DNS:smtp.example",)),
    "self-signed": lambda rig: self_signed(rig.folder, "localhost"),
    "unknown authority": lambda rig: Authority(rig.folder + "/alien", "alien").issue("localhost"),
    "wildcard of two levels": lambda rig: rig.ca.issue("wild.test", ("DNS:*.*.localhost",)),
    "address only": lambda rig: rig.ca.issue("ip.test", ("IP:127.0.0.1",)),
}


@pytest.mark.parametrize("case", CERTS)
def test_an_untrusted_upstream_gets_nothing(rig, case):
    sim, node = other_upstream(rig, "cert" + str(list(CERTS).index(case)), CERTS[case](rig))
    refused(node, sim)
    assert node.metric("sendgov_upstream_tls_failures_total") >= 1
    node.stop()


@pytest.mark.parametrize("case, rule", [
    ("not offered", None), ("454", "454 4.7.0 not now"), ("500", "500 5.5.1 what"), ("421", "421 4.3.2 bye"), ("354", "354 go"),
])
def test_an_upstream_without_tls_gets_nothing(rig, case, rule):
    sim, node = other_upstream(rig, "tls" + case.replace(" ", ""), rig.cert, ("--hide", "STARTTLS") if rule is None else ())
    if rule:
        sim.rule(step="starttls", reply=rule)
    refused(node, sim)
    node.stop()


def test_what_the_upstream_says_before_the_handshake_is_void(rig):
    """Injected replies: 220, then an EHLO answer and a 235 in one segment, in clear."""
    sim, node = other_upstream(rig, "inject", rig.cert)
    rule = sim.rule(step="starttls", raw="220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n235 ok\r\n")
    with Client(node.port("plain")) as c:
        c.ehlo()
        reply = c.mail("app@contoso.com", "u@fabrikam.com", message())
    assert sim.hits(rule) >= 1
    if reply.code == 250:  # the extra bytes were dropped; then everything was said again inside TLS
        assert all(m["auth"] == "relay@contoso.com" and m["tls"] for m in sim.accepted())
    else:
        assert 400 <= reply.code < 500
    node.stop()


@pytest.mark.parametrize("options", [("--tls-least", "1.0", "--tls-most", "1.1")])
def test_an_old_upstream_is_refused(rig, options):
    sim, node = other_upstream(rig, "oldup", rig.cert, options)
    refused(node, sim)
    node.stop()


def test_implicit_tls_upstream(rig):
    sim, node = other_upstream(rig, "implicit", rig.cert, ("--implicit-tls",), {"tls": "implicit"})
    with Client(node.port("plain")) as c:
        c.ehlo()
        assert c.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    assert sim.accepted()[0]["tls"].startswith("TLSv1.3")
    node.stop()


def test_a_reload_brings_a_new_certificate(rig):
    node = rig.node("rotate", alone=True).start()
    fresh = rig.ca.issue("rotated.test", ("DNS:localhost",))
    from node import give
    for path in fresh:
        give(path)
    with Client(node.port("apps")) as old:
        old.ehlo()
        old.starttls(tls_context(rig.ca.cert))
        node.config["tls"] = {"cert_file": fresh[0], "key_file": fresh[1]}
        node.write_config()
        node.ctl("reload")
        assert old.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250  # it goes on

        def common_name():
            with Client(node.port("tls"), tls=tls_context(rig.ca.cert)) as c:
                return dict(x[0] for x in c.sock.getpeercert()["subject"])["commonName"]
        wait_until(lambda: common_name() == "rotated.test", 2, "the new certificate")
        with open(fresh[1], "w", encoding="ascii") as f:
            f.write("broken\n")
        assert node.ctl("reload", check=False).returncode == 1
        assert common_name() == "rotated.test"
    node.stop()


def test_a_stalled_handshake_does_not_hold_others(rig, node):
    stalled = [Client(node.port("tls"), banner=False) for _ in range(20)]
    begun = time.monotonic()
    with Client(node.port("tls"), tls=tls_context(rig.ca.cert)) as c:
        c.ehlo()
        assert c.mail("app@contoso.com", "u@fabrikam.com", message()).code == 250
    assert time.monotonic() - begun < 5
    for c in stalled:
        c.close()
