"""Many clients at once, offering mail at a steady pace and writing down what they were told.

Each client keeps one connection, offers a message every `every_s`, and offers again later what got 4xx or was lost. What it
writes down is the `attempt` ledger of tests/fault/checker.py.
"""
import asyncio
import hashlib
import itertools
import random
import time

from smtp_client import message


class Lost(Exception):
    pass


class Load:
    """ports: the nodes to send through, in a list that a test may change while it runs.
    addressed: function (random, number) -> recipients of that message, instead of always the same ones.
    source: the address the clients come from. lines: how many lines of text a message may have.
    senders: who else may send. insists: False: what got 4xx is not offered again."""

    def __init__(self, ports, clients, every_s, sender="app@contoso.com", recipient="someone@fabrikam.com", name="load",
                 recipients_per_message=1, seed=1, addressed=None, source=None, lines=(8,), senders=(), insists=True):
        self.ports = ports
        self.clients = clients
        self.every_s = every_s
        self.sender = sender
        self.recipient = recipient
        self.name = name
        self.recipients_per_message = recipients_per_message
        self.addressed = addressed
        self.source = source
        self.lines = lines
        self.senders = senders
        self.again = ("4xx", "lost") if insists else ("lost",)
        self.random = random.Random(seed)
        self.attempts = []
        self.numbers = itertools.count(1)
        self.ending = asyncio.Event()

    async def run(self):
        await asyncio.gather(*(self._client(i) for i in range(self.clients)))
        return self.attempts

    def end(self):
        self.ending.set()

    async def _client(self, index):
        loop = asyncio.get_running_loop()
        due = loop.time() + self.every_s * index / self.clients  # offers are spread evenly
        connection, again = None, []
        while not self.ending.is_set():
            try:
                await asyncio.wait_for(self.ending.wait(), max(0, due - loop.time()))
                break
            except asyncio.TimeoutError:
                pass
            due = max(due + self.every_s, loop.time())
            item = again.pop(0) if again else self._new()
            try:
                if connection is None:
                    connection = await Connection.open(self.random.choice(self.ports), self.source)
                attempt = await connection.offer(item)
            except (Lost, OSError) as e:
                if connection is not None:
                    attempt = connection.lost(item, e)
                    connection.close()
                else:
                    attempt = None
                connection = None
            if attempt is not None:
                self.attempts.append(attempt)
            if attempt is None or attempt["outcome"] in self.again:
                again.append(item)
            if attempt is not None and connection is not None and connection.ended:
                connection.close()
                connection = None
        if connection is not None:
            await connection.quit()

    def _new(self):
        number = next(self.numbers)
        sender = self.random.choice(self.senders) if self.senders else self.sender
        author = sender or "postmaster@contoso.com"
        message_id = f"<{self.name}.{number}@{author.rpartition('@')[2]}>"
        recipients = [self.recipient] if self.recipients_per_message == 1 else [
            f"r{i}.{self.recipient}" for i in range(self.recipients_per_message)]
        if self.addressed is not None:
            recipients = self.addressed(self.random, number)
        body = message(author, recipients[0], message_id, text=b"line of text %d\r\n" % number * self.random.choice(self.lines))
        return {"id": message_id, "sender": sender, "recipients": recipients, "body": body,
                "sha256": hashlib.sha256(body).hexdigest()}


class Connection:
    def __init__(self, reader, writer, port):
        self.reader, self.writer, self.port = reader, writer, port
        self.begun_ns = 0
        self.after_dot = False
        self.dialog = []
        self.ended = False

    @classmethod
    async def open(cls, port, source=None):
        try:
            local = (source, 0) if source else None
            self = cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, local_addr=local), 5), port)
        except asyncio.TimeoutError as e:
            raise Lost("connect") from e
        try:
            await self._reply("banner")
            await self._ask("EHLO", b"EHLO load.example\r\n")
        except Lost as e:
            self.close()
            raise OSError(str(e)) from e
        return self

    async def _reply(self, command):
        lines = []
        while not lines or lines[-1][3:4] == "-":
            try:
                raw = await asyncio.wait_for(self.reader.readline(), 70)
            except (OSError, ValueError, asyncio.TimeoutError) as e:
                raise Lost(str(e) or type(e).__name__) from e
            if not raw.endswith(b"\r\n"):
                raise Lost("closed")
            lines.append(raw[:-2].decode("latin-1"))
        self.dialog.append([command, "\n".join(lines)])
        if lines[0].startswith("421"):
            self.ended = True
        return "\n".join(lines)

    async def _ask(self, command, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as e:
            raise Lost(str(e)) from e
        return await self._reply(command)

    async def offer(self, item):
        self.begun_ns, self.after_dot = time.monotonic_ns(), False
        reply = await self._ask("MAIL", b"MAIL FROM:<%s>\r\n" % item["sender"].encode())
        for recipient in item["recipients"] if reply.startswith("250") else []:
            reply = await self._ask("RCPT", b"RCPT TO:<%s>\r\n" % recipient.encode())
            if not reply.startswith("250"):
                break
        if reply.startswith("250"):
            reply = await self._ask("DATA", b"DATA\r\n")
        if reply.startswith("354"):
            self.after_dot = True
            reply = await self._ask("DOT", item["body"] + b".\r\n")
        elif not self.ended:
            await self._ask("RSET", b"RSET\r\n")
        return self._attempt(item, {"2": "2xx", "4": "4xx", "5": "5xx"}.get(reply[:1], "lost"), reply)

    def lost(self, item, why):
        return self._attempt(item, "lost", str(why))

    def _attempt(self, item, outcome, reply):
        extra = bytes(self.reader._buffer).decode("latin-1")  # pylint: disable=protected-access
        dialog, self.dialog = self.dialog, []
        return {"id": item["id"], "sender": item["sender"], "recipients": item["recipients"], "sha256": item["sha256"],
                "begun_ns": self.begun_ns, "ended_ns": time.monotonic_ns(), "outcome": outcome, "reply": reply,
                "after_dot": self.after_dot, "dialog": dialog, "extra": extra, "port": self.port}

    async def quit(self):
        try:
            await self._ask("QUIT", b"QUIT\r\n")
        except Lost:
            pass
        self.close()

    def close(self):
        self.writer.close()
