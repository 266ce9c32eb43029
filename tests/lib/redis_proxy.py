"""A proxy between a node and Redis that answers script calls badly when it is told to.

    mode "pass"             everything goes through
    mode "error:OOM text"   script calls are answered with this error and not passed on
    mode "raw:..."          script calls are answered with these bytes
    mode "delay:300"        answers come so many ms later, in order
    mode "cut"              the connection is closed on the next script call, after Redis has run it
    mode "hole"             nothing is answered
"""
import socket
import threading
import time

SCRIPTS = (b"EVALSHA", b"EVAL", b"FCALL", b"SCRIPT")


class RedisProxy:
    def __init__(self, target_port):
        self.target_port = target_port
        self.mode = "pass"
        self.calls = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = set()
        self.ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                if self.ended:
                    return
                client.close()
                continue
            self.open |= {client, server}
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client, server):
        """Commands, one by one."""
        stream = client.makefile("rb")
        try:
            while True:
                command = _read_command(stream)
                if command is None:
                    break
                raw, words = command
                script = words[0].upper() in SCRIPTS
                self.calls += script
                kind, _, value = self.mode.partition(":")
                if script and kind == "error":
                    client.sendall(b"-" + value.encode() + b"\r\n")
                elif script and kind == "raw":
                    client.sendall(value.encode("latin-1"))
                elif kind != "hole":
                    server.sendall(raw)
        except OSError:
            pass
        self._close(client, server)

    def _down(self, client, server):
        try:
            while True:
                data = server.recv(65536)
                if not data:
                    break
                kind, _, value = self.mode.partition(":")
                if kind == "delay":
                    time.sleep(int(value) / 1000)
                if kind == "cut":
                    break
                client.sendall(data)
        except OSError:
            pass
        self._close(client, server)

    def _close(self, *sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
            self.open.discard(s)

    def stop(self):
        self.ended = True
        self._close(self.listener, *list(self.open))


def _read_command(stream):
    head = stream.readline()
    if not head:
        return None
    if not head.startswith(b"*"):
        return head, head.split() or [b""]
    raw, words = [head], []
    for _ in range(int(head[1:])):
        length = stream.readline()
        data = stream.read(int(length[1:]) + 2)
        raw += [length, data]
        words.append(data[:-2])
    return b"".join(raw), words
