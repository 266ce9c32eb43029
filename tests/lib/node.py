"""sendgovd nodes of a test: their configuration, life and voices (log, metrics, sendgovctl)."""
import copy
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import subprocess

from ports import free_port
from process import Adopted, Process, adopt_orphans, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("SENDGOV_BUILD", os.path.join(ROOT, "build-check"))
USER = "nobody"  # running on as root is refused
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer)")


def program(name):
    path = os.path.join(BUILD, name)
    assert os.access(path, os.X_OK), f"{path} is not there: build it, or name the build folder in SENDGOV_BUILD"
    return path


def give(path, mode=0o600):
    """To the user the daemon runs as."""
    os.chmod(path, mode)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def write(path, text, mode=0o600):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return give(path, mode)


def users_file(path, users):
    lines = []
    for login, password in users.items():
        done = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, check=True, capture_output=True, text=True)
        lines.append(f"{login}:{done.stdout.strip()}")
    return write(path, "\n".join(lines) + "\n")


def sum_series(metrics, name, **labels):
    """Over all series of this name with these labels, of what Node.metrics gave."""
    total = 0
    for series, value in metrics.items():
        base, _, rest = series.partition("{")
        have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
        if base == name and all(have.get(k) == v for k, v in labels.items()):
            total += value
    return total


class Node:
    """One sendgovd. `config` is the whole configuration as a dict; JSON is YAML, so it is written as such."""

    def __init__(self, folder, name, config):
        self.name = name
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.file = os.path.join(self.folder, "sendgov.yaml")
        profiles = os.path.join(self.folder, "profiles")
        if not os.path.exists(profiles) and os.path.isdir(os.path.join(ROOT, "conf", "profiles")):
            shutil.copytree(os.path.join(ROOT, "conf", "profiles"), profiles)
        self.config = copy.deepcopy(config)
        self.config.update(node=name, state=os.path.join(self.folder, "state"), user=USER)
        self.http = free_port()
        self.config["admin"] = {"socket": os.path.join(self.folder, "control"), "http": f"127.0.0.1:{self.http}"}
        self.process = None
        self.ends = []  # (status, asked for) of earlier lives
        self.write_config()

    def write_config(self):
        write(self.file, json.dumps(self.config, indent=2) + "\n", 0o644)

    def port(self, listener):
        address = self.config["listeners"][listener]["address"]
        return int((address if isinstance(address, str) else address[0]).rpartition(":")[2])

    # life
    def start(self, ready=True, environment=(), descriptors=None, under=(), binary=None, inherits=()):
        """descriptors: how many the process may have. under: words before the command line (strace.under). binary: another
        file than the build's. inherits: descriptors it gets from us."""
        leaks = 0 if under else 1  # LeakSanitizer does not work for a process that is traced
        env = dict(os.environ, ASAN_OPTIONS=f"abort_on_error=0:exitcode=99:detect_leaks={leaks}:allocator_may_return_null=1",
                   UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1", **dict(environment))
        limit = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors)] if descriptors else []
        self.process = Process([*under, *limit, binary or program("sendgovd"), "-c", self.file], os.path.join(self.folder, "log"),
                               env=env, descriptors=inherits)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s=20):
        def ready():
            if not self.process.alive():
                raise AssertionError(f"sendgovd {self.name} ended with {self.process.child.returncode}:\n{self.log()[-4000:]}")
            return self.get("/ready")[0] == 200 and self.is_open()
        wait_until(ready, timeout_s, f"{self.name} to be ready (last answer {self.get('/ready')})", 0.02)

    def is_open(self):
        """Have the counters settled, so that mail may leave?"""
        done = self.ctl("--json", "status", check=False)
        return done.returncode == 0 and json.loads(done.stdout)["store"]["closed_for_ms"] == 0

    def wait_live(self, timeout_s=20):
        wait_until(lambda: self.get("/live")[0] == 200 or not self.process.alive(), timeout_s, f"{self.name} to live", 0.02)
        assert self.process.alive(), self.log()[-4000:]

    def stop(self, timeout_s=40):
        if self.process is None:
            return None
        status = self.process.stop(timeout_s)
        self._ended(status, [0])
        return status

    def kill(self):
        status = self.process.kill()
        self._ended(status, [-9])

    def _ended(self, status, asked):
        self.ends.append({"name": self.name, "status": status, "asked": asked, "log": self.process.text()})
        self.process = None

    def upgrade(self, timeout_s=20):
        """SIGUSR2; returns the process that drains, when the new one serves."""
        adopt_orphans()
        old, before = self.process, len(self.log_events("upgrade"))
        self.signal(signal.SIGUSR2)

        def serving():
            alive = old.alive()  # it may be through as soon as it has said so
            found = [re.match(r"process (\d+) serves now", e["msg"]) for e in self.log_events("upgrade")[before:]]
            assert alive or any(found), self.log()[-4000:]
            return [m.group(1) for m in found if m]
        self.process = Adopted(old, int(wait_until(serving, timeout_s, f"the new process of {self.name} to serve")[0]))
        return old

    def signal(self, number):
        self.process.signal(number)

    # voices
    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_events(self, event=None):
        """The log as dicts (log format json); event: only those."""
        rows = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [r for r in rows if event is None or r.get("event") == event]

    def get(self, path, timeout_s=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metrics(self):
        """{'name{label="x"}': value} of this node now."""
        status, text = self.get("/metrics")
        assert status == 200, f"/metrics said {status}"
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                assert name not in found, f"series twice: {name}"
                found[name] = float(value)
        return found

    def metric(self, name, **labels):
        """Sum over all series of this name with these labels."""
        return sum_series(self.metrics(), name, **labels)

    def ctl(self, *words, check=True):
        """sendgovctl; its output (JSON when --json is among the words)."""
        done = subprocess.run([program("sendgovctl"), "-s", self.config["admin"]["socket"], *words], capture_output=True, text=True,
                              timeout=30)
        if check:
            assert done.returncode == 0, f"sendgovctl {' '.join(words)}: {done.returncode} {done.stdout}{done.stderr}"
            return json.loads(done.stdout) if "--json" in words else done.stdout
        return done


def check_config(path):
    """sendgovd -t: (exit status, what it said)."""
    done = subprocess.run([program("sendgovd"), "-t", "-c", path], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr
