"""strace as a hand in a process' system calls: to write them down, to make them fail, to end the process at one of them.

Two ways: under() is what a program is started with, so that its first call is seen; attach() takes a running one. In both the
process stays the test's own child and outlives detach(), which ends the faults. Counts (`when`) are per thread.
"""
import os
import signal
import subprocess

from process import Timeout, wait_until

PROGRAM = "strace"


def inject(calls, when="1+", error=None, kill=False):
    """The value of -e inject=: each of `calls` fails with error, or the process is killed, at the `when`-th (N, N+, N..M)."""
    return f"{calls}:{'signal=SIGKILL' if kill else 'error=' + error}:when={when}"


def _options(log, faults, paths, trace, text_bytes):
    """-P: only calls on these paths, or on descriptors of them, are seen and count."""
    options = [PROGRAM, "-f", "-qq", "-y", "-I2", "-o", log, "-s", str(text_bytes)]
    for path in paths:
        options += ["-P", path]
    if trace:
        options += ["-e", f"trace={trace}"]
    for fault in faults:
        options += ["-e", f"inject={fault}"]
    return options


def tracer_of(pid):
    """The pid of whoever traces this process; 0: nobody, or it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("TracerPid:"))
    except (OSError, StopIteration):
        return 0


def _threads(pid):
    try:
        return [int(t) for t in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def under(log, faults=(), paths=(), trace=None, text_bytes=32):
    """The words before a command line. -D: the tracer is the grandchild, and the program the child."""
    return [*_options(log, faults, paths, trace, text_bytes), "-D"]


class Attached:
    """with Attached(pid, log, faults=[...], paths=[...]): the process meets them inside."""

    def __init__(self, pid, log, faults=(), paths=(), trace=None, text_bytes=32):
        self.pid = pid
        self.child = subprocess.Popen([*_options(log, faults, paths, trace, text_bytes), "-p", str(pid)], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(self._holds, 10, "strace to hold the process")
        except Timeout:
            self.child.kill()
            raise AssertionError(f"strace: {self.child.communicate()[1]}") from None

    def _holds(self):
        assert self.child.poll() is None, f"strace ended: {self.child.communicate()[1]}"
        threads = _threads(self.pid)
        return threads and all(tracer_of(f"{self.pid}/task/{t}") for t in threads)

    def detach(self):
        """The process goes on alone."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        self.child.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()


def detach(pid):
    """Ends the tracing of a process that was started with under()."""
    tracer = tracer_of(pid)
    if tracer:
        os.kill(tracer, signal.SIGTERM)
        wait_until(lambda: not tracer_of(pid), 10, "strace to let go")


def calls(log):
    """The lines of a log as (pid, name, text, result, begin, end): begin and end are line numbers, apart where other threads
    came in between; result None: it never returned."""
    found, open_calls = [], {}
    with open(log, encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f):
            pid, _, rest = line.rstrip("\n").partition(" ")
            rest = rest.strip()
            if rest.startswith("<... "):
                call = open_calls.pop(pid, None)
                if call:
                    call[2] += rest.partition("resumed>")[2]
                    call[3], call[5] = _result(rest), number
                continue
            name, paren, text = rest.partition("(")
            if not paren or not name.isidentifier():
                continue
            call = [pid, name, text, None, number, number]
            if rest.endswith("<unfinished ...>"):
                call[2] = text.removesuffix("<unfinished ...>")
                call[5] = None
                open_calls[pid] = call
            else:
                call[3] = _result(rest)
            found.append(call)
    return found


def _result(text):
    """What stands behind the last ' = '."""
    value = text.rpartition(" = ")[2].split(" ")[0]
    return int(value) if value.lstrip("-").isdigit() else None
