"""The HTTP channel of the stand-in: plain HTTP/1.0 on loopback, JSON in and out.

    GET    /status                     connections, messages accepted, first and last port
    GET    /ledger?since=N&wait=S      rows after N; with wait, not before there is one (or S seconds passed)
    GET    /accepted?count=N&wait=S    waits until N messages were accepted; the number
    POST   /rules      a rule or a list of rules (rules.py); answers their ids
    GET    /rules      the rules with their hits
    DELETE /rules      forget all rules
    POST   /limits     changes to the limits (rules.py)
    POST   /hide       ["DSN", ...]: what the EHLO answer leaves out from now on
    POST   /forget     {}: as it was at start, with an empty ledger; open connections end, and what they still do is not told
    POST   /drop       {"how": "fin"|"rst"}: every open connection, now
    POST   /say        {"raw": "421 ...\\r\\n", "drop": "fin"}: unasked, on every open connection
"""
import asyncio
import json
import urllib.parse


class Control:
    def __init__(self, server):
        self.server = server

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
            length = 0
            for line in head.split("\r\n")[1:]:
                if line.lower().startswith("content-length:"):
                    length = int(line.split(":", 1)[1])
            body = await reader.readexactly(length) if length else b""
            status, answer = await self._do(method, urllib.parse.urlsplit(target), body)
        except (ValueError, KeyError, TypeError) as e:
            status, answer = 400, {"error": str(e)}
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        data = json.dumps(answer).encode() + b"\n"
        writer.write(b"HTTP/1.0 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data)))
        writer.write(data)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def _do(self, method, url, body):
        query = dict(urllib.parse.parse_qsl(url.query))
        handler = getattr(self, f"_{method.lower()}_{url.path.strip('/')}", None)
        if handler is None:
            return 404, {"error": f"{method} {url.path}: unknown"}
        return 200, await handler(query, json.loads(body) if body else None)

    async def _get_status(self, _query, _body):
        return {"smtp": self.server.port, "connections": len(self.server.sessions), "accepted": self.server.ledger.accepted,
                "rows": len(self.server.ledger.rows), "mails": self.server.mails}

    async def _get_ledger(self, query, _body):
        since = int(query.get("since", 0))
        await self._until(lambda: len(self.server.ledger.rows) > since, float(query.get("wait", 0)))
        return self.server.ledger.rows[since:]

    async def _get_accepted(self, query, _body):
        count = int(query.get("count", 0))
        await self._until(lambda: self.server.ledger.accepted >= count, float(query.get("wait", 0)))
        return self.server.ledger.accepted

    async def _until(self, done, wait_s):
        deadline = asyncio.get_running_loop().time() + wait_s
        while not done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self.server.ledger.changed.wait(), left)
            except asyncio.TimeoutError:
                return

    async def _post_rules(self, _query, body):
        return [self.server.rules.add(rule) for rule in (body if isinstance(body, list) else [body])]

    async def _get_rules(self, _query, _body):
        return self.server.rules.rules

    async def _delete_rules(self, _query, _body):
        self.server.rules.clear()
        return []

    async def _post_limits(self, _query, body):
        self.server.limits.set(body)
        return body

    async def _post_hide(self, _query, body):
        self.server.hidden = {h.upper() for h in body}
        return body

    async def _post_forget(self, _query, _body):
        self.server.forget_all()
        return {}

    async def _post_drop(self, _query, body):
        for session in list(self.server.sessions):
            session.wire.drop((body or {}).get("how", "fin"))
        return {}

    async def _post_say(self, _query, body):
        for session in list(self.server.sessions):
            if session.wire.transport.is_closing():
                continue
            session.wire.say(body["raw"].encode("latin-1"))
            if body.get("drop"):
                session.wire.drop(body["drop"])
        return {}
