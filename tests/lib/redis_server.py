"""A private redis-server: own folder, own TCP port, own unix socket, and the faults a test can do to it."""
import os
import shutil
import signal

import redis

from ports import free_port
from process import Process, wait_until


class Redis:
    def __init__(self, folder, name="redis", options=(), tls=None, client_certs=False):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.socket = os.path.join(self.folder, "redis.sock")
        self.tls_port = free_port() if tls else None
        self.argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket,
                     "--unixsocketperm", "777", "--dir", self.folder, "--save", "", "--appendonly", "yes",
                     "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--logfile", "", *options]
        if tls:
            cert, key, ca = tls
            self.argv += ["--tls-port", str(self.tls_port), "--tls-cert-file", cert, "--tls-key-file", key,
                          "--tls-ca-cert-file", ca, "--tls-auth-clients", "yes" if client_certs else "no"]
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self.process = Process(self.argv, os.path.join(self.folder, "log"))
        wait_until(self._answers, 15, "redis-server to answer")
        return self

    def _answers(self):
        if not self.process.alive():
            raise AssertionError("redis-server ended:\n" + self.process.text()[-2000:])
        try:
            return redis.Redis(unix_socket_path=self.socket).ping()
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def client(self):
        return redis.Redis(unix_socket_path=self.socket)

    def kill(self):
        self.process.kill()

    def lose(self):
        """Killed, and all it knew is gone."""
        self.kill()
        for name in os.listdir(self.folder):
            if name.startswith("appendonly") or name.endswith(".rdb"):
                path = os.path.join(self.folder, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        if self.process:
            self.process.stop()
