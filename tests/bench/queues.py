"""Relays that answer 250 when a message is on stable storage, and deliver later: Postfix, and sendgovd with
its spool. Both keep their queue in the benchmark's folder, thus on one file system.

Beside what a target of procs.py offers: hold() and release() say whether what is accepted leaves; what was
held is never sent. kept() counts it.
"""
import os
import shutil
import signal
import subprocess
import time
import urllib.request

from procs import (BenchError, answers, family_cpu_seconds, free_port, hear_signals, need, signals_wait,
                   wait_for, write)
from sendgov import Sendgov
import spool_table

NO_DISK = ("tmpfs", "ramfs")

# Syncs are as Postfix comes; all the rest is for speed: no look-ups, no rewriting, no waiting, no limits, and
# processes that live long. The second smtpd puts what it accepts on hold, the cheapest way to only accept:
# the queue manager never hears of it.
MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
local_header_rewrite_clients =
smtputf8_enable = no
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
smtp_host_lookup = native
smtp_connection_cache_destinations = [127.0.0.1]:{sink}
in_flow_delay = 0s
default_process_limit = 400
default_destination_concurrency_limit = {concurrency}
initial_destination_concurrency = {concurrency}
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 100000
max_use = 100000
max_idle = 600s
maillog_file = {log}
maillog_file_prefixes = {folder}
"""
MASTER_CF = """\
127.0.0.1:{open} inet n - n - 300 smtpd
127.0.0.1:{held} inet n - n - 300 smtpd
  -o {{ smtpd_recipient_restrictions = check_client_access static:hold }}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - {concurrency} smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def file_system(folder):
    """Its type, as statfs tells; what loses all at a power cut measures nothing here."""
    kind = subprocess.run(["stat", "--file-system", "--format=%T", folder], check=True, timeout=10,
                          capture_output=True, text=True).stdout.strip()
    if kind in NO_DISK:
        raise BenchError(f"{folder} is on {kind}: nothing there is on stable storage; use --folder")
    return kind


def file_cost(folder, n=32):
    """Seconds that n new files take there; they stay."""
    began = time.monotonic()
    for i in range(n):
        with open(os.path.join(folder, str(i)), "x", encoding="ascii"):
            pass
    return time.monotonic() - began


def make_fresh_folder(path):
    """A folder in which files are made fast. ext4 without a journal passes over inodes deleted in the last
    minutes one by one, so an earlier run would triple what a message costs Postfix. With +T each folder gets
    a block group at random; the best of some is taken."""
    trial, found = path + ".trial", []
    os.mkdir(trial)
    subprocess.run(["chattr", "+T", trial], timeout=10, stderr=subprocess.DEVNULL, check=False)
    for i in range(8):
        folder = os.path.join(trial, str(i))
        os.mkdir(folder)
        found.append((file_cost(folder), folder))
    best = min(found)[1]
    os.mkdir(best + ".files")
    for name in os.listdir(best):  # to delete them would spoil the group
        os.rename(os.path.join(best, name), os.path.join(best + ".files", name))
    os.rename(best, path)


class PostfixQueue:
    name = "postfix"

    def __init__(self, setup, sink):
        self.setup, self.sink = setup, sink
        self.config = os.path.join(setup.folder, "postfix")
        self.queue = self.config + "-queue"
        self.ports = {"open": free_port(), "held": free_port()}
        self.at, self.pid, self.folders = "open", None, 0

    def configure(self):
        data, concurrency = self.config + "-data", self.setup.args.pool
        for path in (self.config, self.queue, data):
            os.mkdir(path, 0o755)
        shutil.chown(data, "postfix")
        write(os.path.join(self.config, "main.cf"),
              MAIN_CF.format(queue=self.queue, data=data, sink=self.sink.port, concurrency=concurrency,
                             folder=self.setup.folder, log=os.path.join(self.setup.folder, "postfix.log")))
        write(os.path.join(self.config, "master.cf"), MASTER_CF.format(concurrency=concurrency, **self.ports))

    def refresh_incoming(self):
        """Files are made in incoming and only renamed from there; between two runs it is empty."""
        self.folders += 1
        fresh, incoming = f"{self.config}-incoming{self.folders}", os.path.join(self.queue, "incoming")
        make_fresh_folder(fresh)
        os.chmod(fresh, 0o700)
        shutil.chown(fresh, "postfix")
        if os.path.exists(incoming):
            os.rename(incoming, fresh + ".old")
        os.rename(fresh, incoming)

    def start(self):
        if os.geteuid() != 0:
            raise BenchError("Postfix starts as root only; --targets sendgov leaves it out")
        program = need("postfix", "postfix")
        self.configure()
        with signals_wait():
            subprocess.run([program, "-c", self.config, "start"], check=True, timeout=30,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=hear_signals)
        self.pid = self.master()
        wait_for("postfix", lambda: all(answers(port) for port in self.ports.values()), 30)

    def master(self):
        """Its process, as it noted itself; None: it does not run."""
        try:
            with open(os.path.join(self.queue, "pid", "master.pid")) as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/comm") as f:
                return pid if f.read().strip() == "master" else None
        except (OSError, ValueError):
            return None

    def hold(self):
        self.refresh_incoming()
        self.at = "held"

    def release(self):
        """What is on hold stays there, in nobody's way."""
        self.refresh_incoming()
        self.at = "open"

    def kept(self):
        return sum(len(files) for _, _, files in os.walk(os.path.join(self.queue, "hold")))

    def port(self, _tls):
        return self.ports[self.at]

    def cpu(self):
        return family_cpu_seconds(self.pid)

    def stop(self):
        """The master ends its own children; a start that was cut short may have left one."""
        pid = self.master()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            wait_for("postfix, its end", lambda: self.master() is None, 30)


class SpoolSendgov(Sendgov):
    """sendgovd that answers each message from its spool. accept "relay" is pass-through, where nothing is
    held: it tells what the spool costs."""

    def __init__(self, setup, sink):
        super().__init__(setup, sink)
        self.http, self.held = free_port(), False
        self.spool = os.path.join(self.state, "spool")
        self.accept = setup.args.accept
        sections = f"spool: {{folder: {self.spool}}}\n" if self.accept == "spool" else ""
        self.extra = {"admin": f', http: "127.0.0.1:{self.http}"', "client": f", accept: {self.accept}",
                      "sections": sections}

    def relays(self):
        before = self.sink.messages()
        if not self.takes():
            return False
        wait_for("sendgovd, the first message at the sink", lambda: self.sink.messages() > before, 30)
        return True

    def control(self, *words):
        program = os.path.join(os.path.dirname(self.setup.sendgovd), "sendgovctl")
        done = subprocess.run([program, "-s", os.path.join(self.state, "control"), *words], timeout=30,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"sendgovctl {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def hold(self):
        if self.accept == "spool" and not self.held:
            self.control("pause", "--scope", "route", "--instance", "plain", "--reason", "benchmark", "--all")
            self.held = True

    def release(self):
        if self.held:
            self.empty()
            self.control("resume", "--scope", "route", "--instance", "plain", "--reason", "benchmark")
            wait_for("sendgovd, the first message after the pause", self.relays, 30)
            self.held = False

    def metrics(self):
        return self.page("/metrics")

    def kept(self):
        return spool_table.gauge_sum(self.metrics(), "sendgov_spool_messages")

    def empty(self):
        """The pause outlives this: it is in Redis."""
        self.proc.stop()
        shutil.rmtree(self.spool)
        self.launch()
        wait_for("sendgovd, ready", self.is_ready, 30)

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as page:
            return page.read().decode()

    def is_ready(self):
        self.proc.check()
        try:
            return bool(self.page("/ready"))
        except OSError:  # 503, too
            return False
