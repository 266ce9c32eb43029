"""Three masters with the slots between them, and a replica of one when it is wanted."""
import redis

from ports import free_port
from process import wait_until
from redis_server import Redis

SLOTS = 16384
OPTIONS = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"]


def slot_of(group):
    return redis.crc.key_slot(group.encode())


class Cluster:
    def __init__(self, rig):
        self.rig = rig
        self.nodes = [self._node(f"cluster{i}") for i in range(3)]
        for i, node in enumerate(self.nodes):
            first, end = SLOTS * i // 3, SLOTS * (i + 1) // 3
            self.order(node, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            self.order(node, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for node in self.nodes[1:]:
            self._meet(node)
        wait_until(lambda: all(self.is_whole(n) for n in self.nodes), 20, "the cluster to be whole", 0.05)

    def _node(self, name):
        return self.rig.adopt(Redis(self.rig.folder, name, [*OPTIONS, "--cluster-port", str(free_port())]).start())

    def _meet(self, node):
        first = self.nodes[0]
        bus = first.argv[first.argv.index("--cluster-port") + 1]
        self.order(node, "CLUSTER", "MEET", "127.0.0.1", first.port, bus)

    @staticmethod
    def order(node, *words):
        client = node.client()
        return client.execute_command(*words)

    def is_whole(self, node):
        info = node.client().execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) >= len(self.nodes)

    @staticmethod
    def knows(node):
        return int(node.client().execute_command("CLUSTER INFO")["cluster_known_nodes"])

    @staticmethod
    def id_of(node):
        return node.client().execute_command("CLUSTER MYID").decode()

    def owner(self, group):
        return self.nodes[slot_of(group) * 3 // SLOTS]

    def add_replica(self, master):
        replica = self._node("replica")
        self._meet(replica)
        wait_until(lambda: self.knows(replica) == 4 and all(self.knows(n) == 4 for n in self.nodes), 20, "the replica to be known", 0.05)
        self.order(replica, "CLUSTER", "REPLICATE", self.id_of(master))
        wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", 20, "the replica to have its master's data", 0.05)
        return replica

    def begin_move(self, slot, source, target):
        self.order(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.order(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def keys(self, slot, node):
        return node.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)

    def move_key(self, key, source, target):
        self.order(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def end_move(self, slot, target):
        for node in [target, *(n for n in self.nodes if n is not target)]:
            self.order(node, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    @staticmethod
    def url(*nodes):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in nodes)
