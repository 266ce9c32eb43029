"""Bytes of one connection, with the time each of them arrived.

A test that judges "never more than N in any interval" needs honest times. The loop can see bytes only when it polls, so an
arrival is known as an interval [lo, hi] in monotonic nanoseconds: not before the poll that did not report it, not after the read that
returned it. A judge counts an event as inside a window only when its whole interval is.
"""
import asyncio
import collections
import selectors
import socket
import struct
import time

SLICE_S = 0.01  # a poll waits no longer, so that little is unknown of what ends it


class Gone(Exception):
    """The peer is away, or a rule said to drop it."""


class StampedSelector(selectors.EpollSelector):
    """Knows since when the events of this turn can have been there: since the poll before, which did not report them.

    That one looked no earlier than it was called or, where it came back with nothing, than its time was over. When a poll came
    back says nothing: on a busy machine the process may get the processor a long time after the kernel looked.
    """

    def __init__(self):
        super().__init__()
        self.looked_ns = self.lo_ns = time.monotonic_ns()

    def _poll(self, wait_s):
        self.lo_ns = self.looked_ns
        self.looked_ns = time.monotonic_ns()
        events = super().select(wait_s)
        if not events:
            self.looked_ns += int(wait_s * 1_000_000_000)
        return events

    def select(self, timeout=None):
        events = self._poll(0)
        until = None if timeout is None else time.monotonic() + timeout
        while not events:
            left_s = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
            if left_s <= 0:
                break
            events = self._poll(left_s)
        return events


class Wire(asyncio.Protocol):
    """One connection: lines in, bytes out. Every method that waits raises Gone when the peer is away."""

    def __init__(self, selector, serve):
        self.selector = selector
        self.serve = serve
        self.transport = None
        self.buffer = bytearray()
        self.taken = 0                      # stream offset of buffer[0]
        self.chunks = collections.deque()   # (stream offset of the first byte, lo, hi)
        self.eof = False
        self.waiter = None
        self.paused = False
        self.writable = asyncio.Event()
        self.writable.set()
        self.tls = ""
        self.lost = False                   # there is no connection any more

    # asyncio.Protocol
    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.task = asyncio.ensure_future(self.serve(self))

    def data_received(self, data):
        self.chunks.append((self.taken + len(self.buffer), self.selector.lo_ns, time.monotonic_ns()))
        self.buffer += data
        if len(self.buffer) > 1 << 20 and not self.paused:
            self.paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self):
        self.eof = True
        self._wake()
        return not self.tls  # half-closed: the answer to what came may still be read

    def connection_lost(self, exc):
        self.eof = self.lost = True
        self.writable.set()
        self._wake()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def _wake(self):
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(None)

    async def _more(self):
        if self.eof:
            raise Gone("closed by peer")
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        self.waiter = asyncio.get_running_loop().create_future()
        await self.waiter

    # reading
    def _stamp(self, offset):
        """[lo, hi] of the byte at this stream offset."""
        while len(self.chunks) > 1 and self.chunks[1][0] <= offset:
            self.chunks.popleft()
        return [self.chunks[0][1], self.chunks[0][2]]

    def _take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        self.taken += n
        return data

    async def line(self, limit=1 << 16):
        """One line with its CRLF taken off, and the arrival of its first byte."""
        looked = 0
        while True:
            end = self.buffer.find(b"\r\n", max(0, looked - 1))
            if end >= 0:
                break
            looked = len(self.buffer)
            if looked > limit:
                raise Gone("line without end")
            await self._more()
        stamp = self._stamp(self.taken)
        return self._take(end + 2)[:-2], stamp

    async def content(self, on_bytes=None):
        """Everything to CRLF.CRLF, dot-stuffing undone, and the arrival of the dot. on_bytes(total) may raise."""
        parts, at_start = [], True
        total = 0
        looked = 0
        while True:
            if at_start and self.buffer.startswith(b".\r\n"):
                end, dot = 0, 0
            else:
                found = self.buffer.find(b"\r\n.\r\n", max(0, looked - 4))
                end, dot = (found + 2, found + 2) if found >= 0 else (-1, -1)
            if end >= 0:
                parts.append(self._take(end))
                stamp = self._stamp(self.taken)
                self._take(3)
                return unstuff(b"".join(parts)), stamp
            looked = len(self.buffer)
            if looked > 1 << 18:  # hand over all but what could begin the end
                parts.append(self._take(looked - 4))
                total += looked - 4
                at_start = False
                looked = 4
            if on_bytes:
                on_bytes(total + len(self.buffer))
            await self._more()

    # writing
    async def send(self, data):
        if self.lost or (self.eof and self.transport.is_closing()):
            raise Gone("closed by peer")
        self.transport.write(data)
        if not self.writable.is_set():
            await self.writable.wait()

    async def start_tls(self, context):
        self.buffer.clear()  # what came before the handshake is void (RFC 3207, 6)
        self.chunks.clear()
        self.taken = 0
        loop = asyncio.get_running_loop()
        try:
            self.transport = await loop.start_tls(self.transport, self, context, server_side=True)
        except (OSError, asyncio.CancelledError) as e:
            raise Gone(f"handshake: {e}") from e
        if self.transport is None:
            raise Gone("closed in handshake")
        ssl_object = self.transport.get_extra_info("ssl_object")
        self.tls = f"{ssl_object.version()}:{ssl_object.cipher()[0]}"

    def say(self, data):
        """Unasked, without waiting for room."""
        if not self.lost and not self.transport.is_closing():
            self.transport.write(data)

    def drop(self, how):
        """fin: an orderly close; rst: the connection is torn. One that closes already is left to it."""
        if self.transport.is_closing():
            return
        if how == "rst":
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()


def unstuff(content):
    """Takes the dots off that the sender put before lines that begin with one."""
    if content.startswith(b".."):
        content = content[1:]
    return content.replace(b"\r\n..", b"\r\n.")
