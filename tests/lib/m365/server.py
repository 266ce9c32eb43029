"""The stand-in as a whole: listening sockets, who is connected, what the tenant is."""
import asyncio
import collections
import itertools

from .control import Control
from .ledger import Ledger
from .rules import Limits, Rules
from .session import Session
from .wire import StampedSelector, Wire


class Server:
    def __init__(self, options, tls_context):
        self.users = dict(u.split(":", 1) for u in options.user)
        self.accepted_domains = {d.lower() for d in options.accepted_domain}
        self.implicit_tls = options.implicit_tls
        self.tls_context = tls_context
        self.options = options
        self.hidden = {h.upper() for h in options.hide}
        self.rules = Rules()
        self.limits = Limits()
        self.ledger = Ledger(options.ledger, options.bodies)
        self.sessions = set()
        self.by_mailbox = collections.Counter()
        self.numbers = itertools.count(1)
        self.port = None
        self.mails = 0

    async def start(self, selector, listen, control):
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(lambda: Wire(selector, self._serve), *listen, backlog=512)
        self.port = smtp.sockets[0].getsockname()[1]
        http = await asyncio.start_server(Control(self).serve, *control)
        return self.port, http.sockets[0].getsockname()[1]

    async def _serve(self, wire):
        session = Session(self, wire, next(self.numbers))
        self.sessions.add(session)
        await session.run()

    def on_mail(self, _stamp):
        self.mails += 1

    def authenticated(self, session):
        self.by_mailbox[session.auth] += 1

    def forget(self, session):
        self.sessions.discard(session)
        if session.auth:
            self.by_mailbox[session.auth] -= 1

    def forget_all(self):
        """For the next test. Sessions under way go on in a ledger that nobody reads, until they notice."""
        nobody_reads = Ledger()
        for session in list(self.sessions):
            session.ledger, session.auth = nobody_reads, None
            session.wire.drop("fin")
        self.by_mailbox.clear()
        self.hidden = {h.upper() for h in self.options.hide}
        self.rules, self.limits, self.mails = Rules(), Limits(), 0
        self.ledger.clear()

    def connections_of(self, mailbox):
        return self.by_mailbox[mailbox]

    def is_internal(self, address):
        return address.rpartition("@")[2].lower() in self.accepted_domains


def run(options, tls_context, on_ready):
    selector = StampedSelector()
    loop = asyncio.SelectorEventLoop(selector)
    asyncio.set_event_loop(loop)

    async def main():
        server = Server(options, tls_context)
        on_ready(*await server.start(selector, options.listen, options.control))
        await asyncio.Event().wait()

    try:
        loop.run_until_complete(main())
    except KeyboardInterrupt:
        pass
