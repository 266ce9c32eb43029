"""Child processes of a test: started with their output in files, awaited by what they write, ended by their own pid."""
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

    def __init__(self, argv, log, env=None, cwd=None):
        self.argv = argv
        self.log = log
        with open(log, "ab") as out:
            self.start_offset = out.tell()
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                                          cwd=cwd)

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
