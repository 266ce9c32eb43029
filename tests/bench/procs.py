"""The processes of the benchmark: started on private ports of 127.0.0.1 in one throw-away folder, ended by
their own pid.

Every target offers an SMTP address that leads, directly or through itself, to the sink.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class BenchError(Exception):
    """What makes the figures worthless: said loudly, and the run ends."""


@contextlib.contextmanager
def signals_wait():
    """What ends the benchmark waits until what is being started is on record: nobody would end it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_signals():
    """In a child that was started while signals wait."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def die_with_parent():
    hear_signals()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def need(program, package):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise BenchError(f"{program} is missing (Debian package {package}): install it, or leave its "
                         "column out with --targets")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, test, seconds=10):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def answers(port):
    """True when something greets there as SMTP does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            return s.recv(4) == b"220 "
    except OSError:
        return False


class Proc:
    """One child, with its log in the folder."""
    started = []  # all of them; a daemon that changes its user does not die with its parent

    def __init__(self, folder, name, argv, **kwargs):
        self.name = name
        self.log = os.path.join(folder, name + ".log")
        with open(self.log, "ab") as log, signals_wait():
            kwargs.setdefault("stdout", log)
            kwargs.setdefault("stdin", subprocess.DEVNULL)
            self.child = subprocess.Popen(argv, stderr=log, preexec_fn=die_with_parent, **kwargs)
            Proc.started.append(self)
        self.pid = self.child.pid

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-8:])

    def check(self):
        if self.child.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.child.returncode}:\n{self.tail()}")

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def stat_fields(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()


def cpu_seconds(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def family_cpu_seconds(pid):
    """Of a process, all that descend from it now, and those of them that ended and were waited for."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat_fields(entry)[1]), []).append(int(entry))
            except OSError:
                continue
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        try:
            total += sum(int(x) for x in stat_fields(one)[11:15]) / TICKS
        except OSError:
            continue
    return total


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * PAGE


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


class Sink:
    def __init__(self, folder, binary, cert, key):
        self.proc = Proc(folder, "sink", [binary, "--cert", cert, "--key", key], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        self.port = int(self.proc.child.stdout.readline().split()[1])

    def stat(self):
        """messages, bytes, connections, open, last_ns: see sink.c."""
        self.proc.check()
        self.proc.child.stdin.write("stat\n")
        self.proc.child.stdin.flush()
        words = self.proc.child.stdout.readline().split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2])}

    def messages(self):
        return self.stat()["messages"]

    def stop(self):
        self.proc.stop()


class Direct:
    """No proxy: the generator speaks to the sink."""
    name, pid = "direct", None

    def __init__(self, _setup, sink):
        self.sink = sink

    def start(self):
        pass

    def port(self, _tls):
        return self.sink.port

    def cpu(self):
        return 0.0

    def stop(self):
        pass


class Haproxy:
    """TCP mode, one thread: bytes pass unread, TLS included."""
    name = "haproxy"

    def __init__(self, setup, sink):
        self.setup, self.sink = setup, sink
        self.listen, self.proc, self.pid = free_port(), None, None

    def start(self):
        program = need("haproxy", "haproxy")
        config = os.path.join(self.setup.folder, "haproxy.cfg")
        write(config, "global\n  nbthread 1\n  maxconn 5000\ndefaults\n  mode tcp\n  timeout connect 5s\n"
              "  timeout client 120s\n  timeout server 120s\nlisten smtp\n"
              f"  bind 127.0.0.1:{self.listen}\n  server sink 127.0.0.1:{self.sink.port}\n")
        self.proc = Proc(self.setup.folder, "haproxy", [program, "-db", "-f", config])
        self.pid = self.proc.pid
        wait_for("haproxy", lambda: self.proc.check() or answers(self.listen))

    def port(self, _tls):
        return self.listen

    def cpu(self):
        self.proc.check()
        return cpu_seconds(self.pid)

    def stop(self):
        if self.proc is not None:
            self.proc.stop()


class Postfix:
    """smtpd with smtpd_proxy_filter: decides before the queue, a connection to the sink for each message.
    It cannot use TLS towards the filter, so its TLS figures are of the client's side only."""
    name = "postfix"

    def __init__(self, setup, sink):
        self.setup, self.sink = setup, sink
        self.config = os.path.join(setup.folder, "postfix")
        self.listen, self.program, self.pid = free_port(), None, None

    def configure(self):
        setup, sink = self.setup, self.sink
        queue, data = self.config + "-queue", self.config + "-data"
        for path in (self.config, queue, data):
            os.mkdir(path, 0o755)
        shutil.chown(data, "postfix")
        log = os.path.join(setup.folder, "postfix.log")
        write(os.path.join(self.config, "main.cf"), f"""\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
smtputf8_enable = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_proxy_filter = 127.0.0.1:{sink.port}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {setup.cert}
smtpd_tls_key_file = {setup.key}
maillog_file = {log}
maillog_file_prefixes = {setup.folder}
""")
        write(os.path.join(self.config, "master.cf"), f"""\
127.0.0.1:{self.listen} inet n - n - 300 smtpd
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
""")

    def start(self):
        program = need("postfix", "postfix")
        self.configure()
        self.program = program
        subprocess.run([self.program, "-c", self.config, "start"], check=True, timeout=30,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("postfix", lambda: answers(self.listen), 30)
        with open(self.config + "-queue/pid/master.pid") as f:
            self.pid = int(f.read())

    def port(self, _tls):
        return self.listen

    def cpu(self):
        return family_cpu_seconds(self.pid)

    def stop(self):
        if self.program is None:
            return
        subprocess.run([self.program, "-c", self.config, "stop"], timeout=60, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
