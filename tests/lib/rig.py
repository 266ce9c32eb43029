"""A rig: certificates, Redis, the stand-in and nodes of one test module, in one folder that ends with it.

    with Rig() as rig:
        node = rig.node("n1", limits={...})
        node.start()
"""
import os
import shutil
import tempfile

from certs import Authority
from m365sim import Sim
from node import Node, SANITIZER, give, users_file, write
from ports import free_port
from redis_server import Redis

UPSTREAM_PASSWORD = "hunter2-upstream"
CLIENT_PASSWORD = "hunter2-client"


class Rig:
    """upstream_tls: the stand-in offers STARTTLS and the nodes demand it."""

    def __init__(self, upstream_tls=True, redis_options=(), sim_options=(), bodies=True):
        self.folder = tempfile.mkdtemp(prefix="sendgov-test-")
        os.chmod(self.folder, 0o755)
        self.nodes, self.others = [], []
        self.upstream_tls = upstream_tls
        self.ca = Authority(os.path.join(self.folder, "ca"))
        self.cert = self.ca.issue("localhost", ("DNS:localhost", "IP:127.0.0.1", "IP:::1"))
        os.chmod(self.ca.folder, 0o755)
        for path in (*self.cert, self.ca.cert):
            give(path)
        self.users_file = users_file(os.path.join(self.folder, "users"), {"app": CLIENT_PASSWORD, "other": "other-password"})
        self.upstream_password = write(os.path.join(self.folder, "upstream.password"), UPSTREAM_PASSWORD + "\n")
        self.redis = Redis(self.folder, options=redis_options).start()
        self.sim = Sim(self.folder, cert=self.cert if upstream_tls else None, bodies=bodies, options=sim_options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def config(self, **sections):
        """A whole configuration; sections replace or, for mappings, join those here."""
        base = {
            "hostname": "relay.contoso.com",
            "users_file": self.users_file,
            "drain_timeout": "5s",
            "log": {"level": "debug", "format": "json"},
            "redis": {"url": self.redis.url, "settle": "200ms"},
            "spool": {"enabled": False},  # most tests want to see each refusal as an answer; those of the spool turn it on
            "tls": {"cert_file": self.cert[0], "key_file": self.cert[1]},
            "smtp": {"connections_per_ip": 500, "connections_per_minute": 100000, "connections_burst": 10000},
            "listeners": {
                "plain": {"address": f"127.0.0.1:{free_port()}", "tls": "off", "auth_without_tls": True},
                "apps": {"address": f"127.0.0.1:{free_port()}", "tls": "starttls"},
                "tls": {"address": f"127.0.0.1:{free_port()}", "tls": "implicit"},
                "devices": {"address": f"127.0.0.1:{free_port()}", "tls": "off", "bare_lf": "normalize"},
            },
            "clients": {
                "app": {"login": "app", "senders": ["@contoso.com"]},
                "local": {"networks": ["127.0.0.1/32"], "senders": ["@contoso.com"]},
            },
            "routes": {"contoso": {"upstream": f"localhost:{self.sim.port}", "domains": ["contoso.com"],
                                   **({"tls_ca_file": self.ca.cert} if self.upstream_tls else {"tls": "off"})}},
            "mailboxes": {"relay@contoso.com": {"route": "contoso", "password_file": self.upstream_password}},
        }
        for name, value in sections.items():
            if isinstance(value, dict) and isinstance(base.get(name), dict):
                base[name] = {**base[name], **value}
            else:
                base[name] = value
        return base

    def node(self, name="n1", alone=False, **sections):
        """alone: in a governor group of its own, so that it shares no counters and connection slots."""
        config = self.config(**sections)
        if alone:
            config["redis"]["group"] = name
        node = Node(self.folder, name, config)
        self.nodes.append(node)
        return node

    def adopt(self, thing):
        """Something else with stop() that ends with the rig."""
        self.others.append(thing)
        return thing

    def ends(self):
        """How every process of the nodes ended, for the checker."""
        return [end for node in self.nodes for end in node.ends]

    def close(self):
        problems = []
        for node in self.nodes:
            if node.process is not None:
                if not node.process.alive():
                    problems.append(f"{node.name} ended by itself with {node.process.child.returncode}:\n{node.log()[-3000:]}")
                elif node.stop() != 0:
                    problems.append(f"{node.name}: SIGTERM gave {node.ends[-1]['status']}:\n{node.log()[-3000:]}")
            found = SANITIZER.search(node.log()) if os.path.exists(os.path.join(node.folder, "log")) else None
            if found:
                problems.append(f"{node.name}: {node.log()[found.start():found.start() + 3000]}")
        for thing in (*reversed(self.others), self.sim, self.redis):
            thing.stop()
        keep = os.environ.get("SENDGOV_KEEP")
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not problems, "\n".join(problems)
