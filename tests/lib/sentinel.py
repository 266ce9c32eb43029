"""A master with its replica and three Sentinels: what a failover needs, on ports of their own."""
import os

import redis

from ports import free_port
from process import Process, wait_until
from redis_server import Redis

NAME = "main"


class Sentinel:
    """One redis-sentinel. tls: (cert, key, ca), then it has no plain port."""

    def __init__(self, folder, number, master_port, quorum, password=None, tls=None):
        self.folder = os.path.join(folder, f"sentinel{number}")
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.password = password
        self.tls = tls
        self.file = os.path.join(self.folder, "sentinel.conf")
        lines = [f"port {0 if tls else self.port}", "bind 127.0.0.1", f"dir {self.folder}",
                 f"sentinel monitor {NAME} 127.0.0.1 {master_port} {quorum}", f"sentinel down-after-milliseconds {NAME} 1000",
                 f"sentinel failover-timeout {NAME} 4000"]
        if password:
            lines.append(f"requirepass {password}")
        if tls:
            lines += [f"tls-port {self.port}", f"tls-cert-file {tls[0]}", f"tls-key-file {tls[1]}", f"tls-ca-cert-file {tls[2]}",
                      "tls-replication yes"]
        with open(self.file, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        self.process = Process(["redis-server", self.file, "--sentinel"], os.path.join(self.folder, "log"))
        wait_until(self._answers, 15, f"sentinel {number} to answer")

    def client(self):
        tls = {"ssl": True, "ssl_ca_certs": self.tls[2], "ssl_certfile": self.tls[0], "ssl_keyfile": self.tls[1]} if self.tls else {}
        return redis.Redis(port=self.port, password=self.password, decode_responses=True, **tls)

    def _answers(self):
        assert self.process.alive(), self.process.text()[-2000:]
        try:
            return self.client().ping()
        except redis.RedisError:
            return False

    def says(self):
        """Port of the master."""
        return int(self.client().execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def knows(self):
        """How many replicas and other sentinels."""
        facts = self.client().execute_command("SENTINEL", "MASTER", NAME)
        if isinstance(facts, list):
            facts = dict(zip(facts[::2], facts[1::2]))
        return int(facts["num-slaves"]), int(facts["num-other-sentinels"])

    def signal(self, number):
        self.process.signal(number)

    def stop(self):
        self.process.stop()


class Group:
    def __init__(self, rig, sentinels=3):
        self.master = rig.redis
        self.replica = rig.adopt(Redis(rig.folder, "replica", ["--replicaof", "127.0.0.1", str(self.master.port)]).start())
        self.master.client().config_set("repl-diskless-sync-delay", 0)
        wait_until(lambda: self.replica.client().info("replication")["master_link_status"] == "up", 15, "the replica to have its master's data")
        self.sentinels = [rig.adopt(Sentinel(rig.folder, i, self.master.port, sentinels // 2 + 1)) for i in range(sentinels)]
        wait_until(lambda: all(s.knows() == (1, sentinels - 1) for s in self.sentinels), 20, "the sentinels to know each other", 0.1)

    @property
    def url(self):
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/{NAME}"

    def wait_replicated(self):
        client = self.master.client()
        client.set("marker", 1)
        assert client.wait(1, 5000) == 1

    def wait_switched(self, timeout_s=30):
        wait_until(lambda: all(s.says() == self.replica.port for s in self.sentinels), timeout_s, "the failover", 0.05)
