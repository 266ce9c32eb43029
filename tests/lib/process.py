"""Child processes of a test: started with their output in files, awaited by what they write, ended by their own pid."""
import ctypes
import os
import signal
import subprocess
import time


class Timeout(AssertionError):
    pass


def wait_until(true, timeout_s=10, what="the condition", every_s=0.01):
    """Waits for true() and returns what it gave; Timeout after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


class Process:
    """One child. Its standard output and error go to `log`."""

    def __init__(self, argv, log, env=None, cwd=None, descriptors=()):
        self.argv = argv
        self.log = log
        with open(log, "ab") as out:
            self.start_offset = out.tell()
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                                          cwd=cwd, pass_fds=descriptors)

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def text(self):
        with open(self.log, "rb") as f:
            f.seek(self.start_offset)
            return f.read().decode("utf-8", "replace")

    def wait_log(self, needle, timeout_s=10):
        """Waits for a line that holds needle; returns it."""
        def find():
            for line in self.text().splitlines():
                if needle in line:
                    return line
            if not self.alive():
                raise AssertionError(f"{self.argv[0]} ended with {self.child.returncode}:\n{self.text()[-4000:]}")
            return None
        return wait_until(find, timeout_s, f"{needle!r} in the log of {os.path.basename(self.argv[0])}")

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def wait(self, timeout_s=10):
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{os.path.basename(self.argv[0])} (pid {self.pid}) did not end within {timeout_s} s") from None

    def stop(self, timeout_s=10):
        """SIGTERM, then SIGKILL; returns the exit status."""
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                return self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.wait()

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.child.wait()


PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What a child leaves behind becomes our child, so that its end can be waited for."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


class _Orphan:
    """What Popen is for a child, of a process that is ours only once its parent has ended."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                assert os.path.exists(f"/proc/{self.pid}"), f"{self.pid} ended while its parent lived"
        return self.returncode

    def wait(self, timeout_s=10):
        deadline = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout_s)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)


class Adopted(Process):
    """A process another one of ours started, with the same log. See adopt_orphans."""

    def __init__(self, parent, pid):  # pylint: disable=super-init-not-called
        self.argv, self.log, self.start_offset = parent.argv, parent.log, parent.start_offset
        self.child = _Orphan(pid)
