"""One SMTP session, as smtp.office365.com:587 holds it."""
import asyncio
import base64
import binascii
import re
import time

from .wire import Gone

HOST = "FR0P281CA0001.outlook.office365.com"
PATH = re.compile(rb"^(?i:FROM|TO):\s*<([^>]*)>(.*)$")


class Session:
    def __init__(self, server, wire, number):
        self.server = server
        self.wire = wire
        self.number = number
        self.ledger = server.ledger
        self.auth = None
        self.helo = None
        self.message = None
        self.quit = False

    # the session
    async def run(self):
        why = "quit"
        self.ledger.add(event="connect", conn=self.number, ns=time.monotonic_ns())
        try:
            await self._begin()
            while not self.quit:
                line, stamp = await self.wire.line()
                await self._command(line, stamp)
        except Gone as e:
            why = str(e)
        except ConnectionError as e:
            why = f"lost: {e}"
        finally:
            self._end_message()
            self.server.forget(self)
            self.ledger.add(event="close", conn=self.number, why=why)
            self.wire.drop("fin")

    async def _begin(self):
        if self.server.implicit_tls:
            await self._handshake()
        await self.answer("connect", f"220 {HOST} Microsoft ESMTP MAIL Service ready")

    async def _handshake(self):
        rule = self.server.rules.match("handshake")
        if rule:
            await self._apply_drop(rule, b"", "before")
        await self.wire.start_tls(self.server.tls_context)

    async def _command(self, line, stamp):
        verb, _, rest = line.partition(b" ")
        handler = {b"EHLO": self._ehlo, b"HELO": self._ehlo, b"STARTTLS": self._starttls, b"AUTH": self._auth,
                   b"MAIL": self._mail, b"RCPT": self._rcpt, b"DATA": self._data, b"RSET": self._rset, b"NOOP": self._noop,
                   b"QUIT": self._quit}.get(verb.upper())
        if handler is None:
            self.ledger.add(event="bad_command", conn=self.number, line=line[:200].decode("latin-1"))
            await self.answer(None, "500 5.3.3 Unrecognized command '%s'" % verb[:40].decode("latin-1"))
            return
        await handler(rest.strip(), stamp)

    # answers
    async def answer(self, step, ordinary, **subject):
        """Sends the ordinary reply, or what a rule wants; returns the code of what was sent."""
        subject.setdefault("auth", self.auth)
        subject.setdefault("sender", self.message["sender"] if self.message else None)
        rule = self.server.rules.match(step, **subject) if step else None
        text = ordinary
        if rule:
            if rule.get("delay_ms"):
                await asyncio.sleep(rule["delay_ms"] / 1000)
            text = rule.get("reply") or ordinary
        data = text.replace("\n", "\r\n").encode("latin-1") + b"\r\n"
        if rule and "raw" in rule:
            data, text = rule["raw"].encode("latin-1"), rule["raw"]
        if rule and rule.get("drop"):
            self._note(step, text, rule)
            await self._apply_drop(rule, data, rule.get("when", "before"))
        try:
            await self.wire.send(data)
        except Gone:
            self._note(step, text, {"when": "before"})  # it is decided, whoever hears it
            raise
        self._note(step, text, None)
        code = text.split("\n")[-1][:3]
        return int(code) if code.isdigit() else 0

    def _note(self, step, text, dropped):
        """What was said about the message under way; told = the whole reply left."""
        m = self.message
        if m is None or step not in ("mail", "rcpt", "data", "dot"):
            return
        told = dropped is None or dropped.get("when") == "after"
        m["said_ns"] = time.monotonic_ns()
        if step == "rcpt":
            m["rcpts"][-1].update(reply=text, told=told)
        else:
            m["reply" if step == "dot" else step + "_reply"] = text
            m["told"] = told
        if step == "dot":
            m["accepted"] = text.startswith("2")

    async def _apply_drop(self, rule, data, when):
        if when == "after":
            await self.wire.send(data)
        elif when == "mid":
            await self.wire.send(data[:max(1, len(data) // 2)])
        if when != "before":
            await asyncio.sleep(0)
        self.wire.drop(rule["drop"])
        raise Gone(f"dropped by rule {rule['id']}")

    # verbs
    async def _ehlo(self, rest, _stamp):
        self._end_message()
        self.helo = rest.decode("latin-1")
        size = self.server.limits.size
        lines = [f"{HOST} Hello [127.0.0.1]", f"SIZE {size}", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES"]
        if self.wire.tls or self.server.tls_context is None:
            lines.append("AUTH LOGIN XOAUTH2" if self.server.users else None)
        else:
            lines.append("STARTTLS")
        lines += ["8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"]
        lines = [x for x in lines if x and x.split()[0] not in self.server.hidden]
        text = "\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{x}" for i, x in enumerate(lines))
        await self.answer("ehlo_tls" if self.wire.tls else "ehlo", text)

    async def _starttls(self, _rest, _stamp):
        if self.server.tls_context is None or self.wire.tls:
            await self.answer(None, "502 5.3.3 Command not implemented")
            return
        code = await self.answer("starttls", "220 2.0.0 SMTP server ready")
        if code == 220:
            await self._handshake()
            self.auth = self.helo = None

    async def _auth(self, rest, _stamp):
        words = rest.split()
        if self.server.tls_context is not None and not self.wire.tls:
            await self.answer(None, "530 5.7.57 Client not authenticated to send mail")
            return
        if not words or words[0].upper() != b"LOGIN":
            await self.answer(None, "504 5.7.4 Unrecognized authentication type")
            return
        user = _base64(words[1]) if len(words) > 1 else await self._ask("VXNlcm5hbWU6")
        password = await self._ask("UGFzc3dvcmQ6")
        good = self.server.users.get(user) == password and user != ""
        before = self.auth
        self.auth = user
        code = await self.answer("auth", "235 2.7.0 Authentication successful" if good
                                 else "535 5.7.3 Authentication unsuccessful [%s]" % HOST)
        self.auth = user if code == 235 else before
        self.ledger.add(event="auth", conn=self.number, user=user, ok=code == 235, tls=self.wire.tls)
        if code == 235:
            self.server.authenticated(self)

    async def _ask(self, prompt):
        await self.answer(None, "334 " + prompt)
        line, _ = await self.wire.line()
        return _base64(line)

    async def _mail(self, rest, stamp):
        self._end_message()
        found = PATH.match(rest)
        self.message = {"mail_ns": stamp, "sender": found.group(1).decode("latin-1") if found else "",
                        "parameters": found.group(2).strip().decode("latin-1") if found else "", "auth": self.auth,
                        "rcpts": [], "tls": self.wire.tls, "accepted": False, "told": False, "helo": self.helo}
        self.server.on_mail(stamp)
        ordinary = "250 2.1.0 Sender OK"
        if not found:
            ordinary = "501 5.1.7 Invalid address"
        elif self.server.users and self.auth is None:
            ordinary = "530 5.7.57 Client not authenticated to send mail"
        elif _declared_size(self.message["parameters"]) > self.server.limits.size:
            ordinary = "552 5.3.4 Message size exceeds fixed maximum message size"
        code = await self.answer("mail", ordinary)
        if code != 250:
            self._end_message()

    async def _rcpt(self, rest, stamp):
        if self.message is None:
            await self.answer(None, "503 5.5.2 Need mail command")
            return
        found = PATH.match(rest)
        recipient = found.group(1).decode("latin-1") if found else ""
        self.message["rcpts"].append({"to": recipient, "ns": stamp, "reply": None, "told": False,
                                      "parameters": found.group(2).strip().decode("latin-1") if found else ""})
        ordinary = "250 2.1.5 Recipient OK"
        if not found:
            ordinary = "501 5.1.3 Invalid address"
        elif len(self.message["rcpts"]) > self.server.limits.recipients:
            ordinary = "452 4.5.3 Too many recipients"
        await self.answer("rcpt", ordinary, recipient=recipient)

    async def _data(self, _rest, _stamp):
        good = [r for r in self.message["rcpts"] if (r["reply"] or "").startswith("2")] if self.message else []
        if not good:
            await self.answer("data" if self.message else None, "503 5.5.2 Need rcpt command")
            return
        code = await self.answer("data", "354 Start mail input; end with <CRLF>.<CRLF>")
        if code != 354:
            self._end_message()
            return
        recipients = " ".join(r["to"] for r in good)
        body_rule = self.server.rules.match("body", sender=self.message["sender"], auth=self.auth, recipient=recipients)
        self.message["told"] = False  # the reply to the content is what counts now
        content, dot = await self.wire.content(lambda total: self._body_drop(body_rule, total))
        if body_rule:
            self._body_drop(body_rule, len(content))
        self.message.update(self.ledger.keep_body(content), dot_ns=dot)
        await self.answer("dot", await self._judge(good, len(content)), recipient=recipients)
        self._end_message()

    def _body_drop(self, rule, total):
        if rule and total >= rule.get("after_bytes", 1):
            self.wire.drop(rule.get("drop", "rst"))
            raise Gone(f"dropped by rule {rule['id']} in the body")

    async def _judge(self, good, size):
        """The tenant's limits, in the order a client meets them."""
        limits = self.server.limits
        if size > limits.size:
            return "552 5.3.4 Message size exceeds fixed maximum message size"
        if limits.connections and self.auth and self.server.connections_of(self.auth) > limits.connections:
            return ("432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more"
                    f" information. [Hostname={HOST}]")
        wait = limits.minute_wait_s(self.auth)
        while wait > 0:
            if limits.per_minute_mode == "reject":
                return "450 4.2.2 Submission rate for this mailbox exceeded"
            await asyncio.sleep(wait)
            wait = limits.minute_wait_s(self.auth)
        external = sum(1 for r in good if not self.server.is_internal(r["to"]))
        left = limits.external_left()
        if left is not None and external > left:
            return ("550 5.7.233 Your message can't be sent because your tenant has exceeded its daily limit for sending"
                    " email to external recipients (tenant external recipient rate limit)")
        limits.take_external(external)
        return f"250 2.0.0 OK <{self.number}.{len(self.ledger.rows)}@{HOST}> [Hostname={HOST}]"

    async def _rset(self, _rest, _stamp):
        self._end_message()
        await self.answer("rset", "250 2.0.0 Resetting")

    async def _noop(self, _rest, _stamp):
        await self.answer(None, "250 2.0.0 OK")

    async def _quit(self, _rest, _stamp):
        self._end_message()
        self.quit = True
        await self.answer("quit", "221 2.0.0 Service closing transmission channel")

    def _end_message(self):
        if self.message is not None:
            self.ledger.add(event="message", conn=self.number, **self.message)
            self.message = None


def _base64(data):
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _declared_size(parameters):
    found = re.search(r"(?i)\bSIZE=(\d+)", parameters)
    return int(found.group(1)) if found else 0
