"""A private redis-server on a unix socket, the program that asks it for charges, and what the server says of
its memory."""
import json
import os
import socket
import subprocess

from procs import BenchError, Proc, need, wait_for

GROUP = "bench"


class Connection:
    """As much of RESP as INFO, SCAN and the like need."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.replies = self.socket.makefile("rb")

    def close(self):
        self.replies.close()
        self.socket.close()

    def _reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self.replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        raise BenchError(f"redis-server answered {line!r}")

    def many(self, commands):
        out = b""
        for words in commands:
            words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
            out += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        self.socket.sendall(out)
        return [self._reply() for _ in commands]

    def one(self, *words):
        return self.many([words])[0]

    def info(self, section):
        lines = self.one("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def keys(self):
        """All of them, some hundreds at a time."""
        cursor = b"0"
        while True:
            cursor, found = self.one("SCAN", cursor, "COUNT", 500)
            yield found
            if cursor == b"0":
                return


class Server:
    def __init__(self, folder):
        self.socket = os.path.join(folder, "redis.sock")
        self.proc = Proc(folder, "redis", [
            need("redis-server", "redis-server"), "--port", "0", "--unixsocket", self.socket, "--dir", folder,
            "--save", "", "--appendonly", "no", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0",
            "--maxmemory-policy", "noeviction"])
        wait_for("redis-server", lambda: self.proc.check() or self.answers())
        self.link = Connection(self.socket)

    def answers(self):
        try:
            link = Connection(self.socket)
        except OSError:
            return False
        try:
            return link.one("PING") == b"PONG"
        finally:
            link.close()

    def used_bytes(self):
        return int(self.link.info("memory")["used_memory"])

    def append_only(self):
        """From now on every write goes to the disk as well, as a real one must do it."""
        self.link.one("CONFIG", "SET", "appendonly", "yes")

        def is_written():
            found = self.link.info("persistence")
            return found["aof_enabled"] == "1" and found["aof_rewrite_in_progress"] == "0" \
                and found.get("aof_rewrite_scheduled", "0") == "0"
        wait_for("the append-only file", is_written, 120)

    def append_only_bytes(self):
        return int(self.link.info("persistence")["aof_current_size"])

    def without_end(self):
        """Keys that would stay for ever."""
        found = []
        for keys in self.link.keys():
            ends = self.link.many([("PTTL", key) for key in keys]) if keys else []
            found += [key for key, end in zip(keys, ends) if end < 0]
        return found

    def state_bytes(self, scope):
        """Mean MEMORY USAGE of the counters of an instance of this scope, and how many there are."""
        prefix, sizes, count = f"sendgov:{{{GROUP}}}:s:{scope}:".encode(), [], 0
        for keys in self.link.keys():
            keys = [key for key in keys if key.startswith(prefix)]
            count += len(keys)
            if keys and len(sizes) < 2000:
                sizes += self.link.many([("MEMORY", "USAGE", key) for key in keys])
        return (sum(sizes) / len(sizes) if sizes else 0.0), count

    def stop(self):
        self.link.close()
        self.proc.stop()


class Governor:
    """tests/bench/governor: what it answers to one line."""

    def __init__(self, folder, binary, server):
        self.proc = Proc(folder, "governor", [binary, "--socket", server.socket, "--folder", folder,
                                              "--server-pid", str(server.proc.pid)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        try:
            self.proc.child.stdin.write(line + "\n")
            self.proc.child.stdin.flush()
            text = self.proc.child.stdout.readline()
        except BrokenPipeError:
            text = ""
        if not text:
            self.proc.child.wait(10)
            raise BenchError(f"the governor gave up at \"{line}\":\n{self.proc.tail()}")
        return json.loads(text)

    def stop(self):
        self.proc.child.stdin.close()
        self.proc.stop()
        self.proc.child.stdout.close()
